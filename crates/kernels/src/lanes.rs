//! Eight numbers at a time, on whatever the processor has.
//!
//! Kernels are written once, generic over [`Lanes`], and [`dispatch`] runs them with the widest
//! instructions found at run time: AVX2 with FMA, NEON, or plain Rust.

/// How many numbers a [`Lanes`] holds. Every channel axis is padded to a multiple of it.
pub(crate) const LANES: usize = 8;

/// Eight 32-bit reals.
///
/// # Contract
/// A value of an implementation exists only below [`dispatch`], which has checked that the processor
/// has its instructions. Every method is lane by lane.
pub(crate) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self * by + plus`, rounded once where the processor can.
    fn mul_add(self, by: Self, plus: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    /// `value` where `self > 0`, else 0.
    fn where_positive(self, value: Self) -> Self;

    /// # Safety
    /// Eight numbers can be read at `from`.
    #[inline(always)]
    unsafe fn load_at(from: *const f32) -> Self {
        // SAFETY: the caller's; an array of reals has the alignment of one.
        Self::load(unsafe { &*from.cast() })
    }

    /// # Safety
    /// Eight numbers can be written at `to`, and nothing else refers to them.
    #[inline(always)]
    unsafe fn store_at(self, to: *mut f32) {
        // SAFETY: the caller's; an array of reals has the alignment of one.
        self.store(unsafe { &mut *to.cast() });
    }
}

/// Work that [`dispatch`] runs. `run` must be `#[inline(always)]`, or it loses the instructions.
pub(crate) trait Kernel {
    fn run<V: Lanes>(self);
}

/// Tests set it to run every kernel in plain Rust.
#[cfg(test)]
pub(crate) static PLAIN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Runs a kernel with the best instructions of this processor.
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    #[cfg(test)]
    if PLAIN.load(std::sync::atomic::Ordering::Relaxed) {
        return kernel.run::<Portable>();
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the instructions were just found.
        return unsafe { with_avx2(kernel) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    return kernel.run::<neon::Neon>();
    #[cfg(not(all(target_arch = "aarch64", not(miri))))]
    kernel.run::<Portable>();
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<K: Kernel>(kernel: K) {
    kernel.run::<avx2::Avx2>();
}

/// Plain Rust, for any processor and for Miri.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, by: Self, plus: Self) -> Self {
        self.mul(by).add(plus)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn where_positive(self, value: Self) -> Self {
        self.with(value, |a, b| if a > 0.0 { b } else { 0.0 })
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2 {
    use super::{LANES, Lanes};
    use std::arch::x86_64::*;

    /// One AVX register.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(__m256);

    // SAFETY of each block: by the trait's contract the processor has AVX2 and FMA.
    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            Self(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn where_positive(self, value: Self) -> Self {
            Self(unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps()), value.0) })
        }
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod neon {
    use super::{LANES, Lanes};
    use std::arch::aarch64::*;

    /// Two NEON registers.
    #[derive(Clone, Copy)]
    pub(super) struct Neon(float32x4_t, float32x4_t);

    // SAFETY of each block: every 64-bit ARM processor that Rust's std runs on has NEON; pointers come
    // from arrays of eight.
    impl Lanes for Neon {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            unsafe { Self(vdupq_n_f32(value), vdupq_n_f32(value)) }
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            unsafe { Self(vld1q_f32(from.as_ptr()), vld1q_f32(from.as_ptr().add(4))) }
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            unsafe {
                vst1q_f32(to.as_mut_ptr(), self.0);
                vst1q_f32(to.as_mut_ptr().add(4), self.1);
            }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            unsafe { Self(vaddq_f32(self.0, other.0), vaddq_f32(self.1, other.1)) }
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            unsafe { Self(vsubq_f32(self.0, other.0), vsubq_f32(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            unsafe { Self(vmulq_f32(self.0, other.0), vmulq_f32(self.1, other.1)) }
        }
        #[inline(always)]
        fn mul_add(self, by: Self, plus: Self) -> Self {
            unsafe { Self(vfmaq_f32(plus.0, self.0, by.0), vfmaq_f32(plus.1, self.1, by.1)) }
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            unsafe { Self(vmaxq_f32(self.0, other.0), vmaxq_f32(self.1, other.1)) }
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            unsafe { Self(vminq_f32(self.0, other.0), vminq_f32(self.1, other.1)) }
        }
        #[inline(always)]
        fn where_positive(self, value: Self) -> Self {
            let zero = unsafe { vdupq_n_f32(0.0) };
            let keep = |a, b| unsafe { vbslq_f32(vcgtq_f32(a, zero), b, zero) };
            Self(keep(self.0, value.0), keep(self.1, value.1))
        }
    }
}
