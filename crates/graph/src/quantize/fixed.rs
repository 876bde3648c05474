//! Whole-number arithmetic that is the same in every language the code is generated in.

/// Bits after the point of the logits.
pub const LOGIT_BITS: u32 = 16;

/// A positive factor as `value / 2^shift` (Jacob et al. 2018, section 2.2, with one rounding).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Multiplier {
    /// 2^30 to below 2^31, or 0.
    pub value: i32,
    /// 1 to 62.
    pub shift: u8,
}

impl Multiplier {
    /// The nearest to a factor; 0 for what is too small to matter, the greatest for what is too large.
    pub fn new(factor: f64) -> Self {
        // Also what is not a number.
        if factor.is_nan() || factor <= 0.0 {
            return Self { value: 0, shift: 31 };
        }
        let mut shift = 30 - factor.log2().floor().clamp(-1000.0, 1000.0) as i32;
        let mut value = (factor * f64::from(shift).exp2()).round();
        if value >= 2f64.powi(31) {
            (value, shift) = (value / 2.0, shift - 1);
        }
        match shift {
            1..=62 => Self { value: value as i32, shift: shift as u8 },
            63.. => Self { value: 0, shift: 31 },
            _ => Self { value: i32::MAX, shift: 1 },
        }
    }

    /// `accumulator * factor`, rounded to the nearest, halves up.
    pub fn apply(self, accumulator: i32) -> i32 {
        let half = 1i64 << (self.shift - 1);
        let scaled = (i64::from(accumulator) * i64::from(self.value) + half) >> self.shift;
        scaled.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

/// The two factors of a sum, as whole numbers over `2^shift`, such that all fits in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumFactors {
    /// Of the first and the second value.
    pub factors: [i32; 2],
    /// The same for both; 1 to 30.
    pub shift: u8,
}

impl SumFactors {
    /// The nearest to two factors.
    pub fn new(factors: [f64; 2]) -> Self {
        let greatest = factors[0].max(factors[1]).max(f64::MIN_POSITIVE);
        // |a - zero| is at most 255, so that two products of 2^21 and the rounding fit in 31 bits.
        let shift = (20 - greatest.log2().floor().clamp(-1000.0, 1000.0) as i32).clamp(1, 30);
        let fixed = |factor: f64| (factor * f64::from(shift).exp2()).round().clamp(0.0, f64::from(1 << 21)) as i32;
        Self { factors: factors.map(fixed), shift: shift as u8 }
    }

    /// The rounded sum of `left` and `right`, each at most 255 from 0, times their factors.
    pub fn apply(self, left: i32, right: i32) -> i32 {
        (left * self.factors[0] + right * self.factors[1] + (1 << (self.shift - 1))) >> self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_kept_to_thirty_bits() {
        for factor in [1.0, 0.5, 0.75, 1e-3, 3.7e-5, 0.999_999_999, 12.5, 1000.0] {
            let found = Multiplier::new(factor);
            let back = f64::from(found.value) / f64::from(found.shift).exp2();
            assert!((back / factor - 1.0).abs() < 1e-9, "{factor}: {found:?}");
            for x in [0, 1, -1, 12_345, -12_345, 1_000_000] {
                let exact = (f64::from(x) * factor + 0.5).floor();
                assert!((f64::from(found.apply(x)) - exact).abs() <= 1.0, "{x} * {factor}");
            }
        }
        assert_eq!(Multiplier::new(0.5).apply(1), 1);
        assert_eq!(Multiplier::new(0.5).apply(-1), 0);
        assert_eq!(Multiplier::new(0.0).apply(i32::MAX), 0);
        assert_eq!(Multiplier::new(1e-30).apply(i32::MAX), 0);
        assert_eq!(Multiplier::new(1e30).apply(i32::MAX), i32::MAX);
        assert_eq!(Multiplier::new(1.0).apply(i32::MIN), i32::MIN);
    }

    #[test]
    fn a_sum_stays_in_32_bits() {
        for factors in [[1.0, 1.0], [0.3, 0.001], [1e-9, 1e-9], [200.0, 0.5], [1.999_999_9, 1.999_999_9]] {
            let sum = SumFactors::new(factors);
            for (a, b) in [(255, 255), (-255, -255), (255, -255), (1, 0), (0, 7)] {
                let exact = (f64::from(a) * factors[0] + f64::from(b) * factors[1] + 0.5).floor();
                assert!((f64::from(sum.apply(a, b)) - exact).abs() <= 1.0 + exact.abs() * 1e-5, "{a} {b} {factors:?}");
            }
        }
    }
}
