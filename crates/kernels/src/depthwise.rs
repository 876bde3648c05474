//! Convolution of each channel with a kernel of its own: vectors of channels, the kernel in registers
//! while a row passes.

use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::plane::{Buffer, Plane};
use crate::window::{Grid, Tap, Window};
use std::ops::Range;

/// Sums over taps, for each pixel of a grid.
#[derive(Debug, Clone)]
struct Sweep {
    grid: Grid,
    taps: Vec<Tap>,
    from_image: usize,
    to_image: usize,
    step: usize,
}

impl Sweep {
    /// Panics unless the images of the range lie within what there is.
    fn check(&self, from: usize, to: usize, images: &Range<usize>) {
        if let (Some((x, y)), Some(last)) = (self.grid.last(), images.end.checked_sub(1)) {
            let reach = self.taps.iter().map(|tap| tap.at).max().unwrap_or(0);
            assert!(last * self.from_image + x + reach + self.step <= from);
            assert!(last * self.to_image + y + self.step <= to);
        }
    }
}

struct Correlate<'a> {
    sweep: &'a Sweep,
    /// `[tap][channel]`, padded to whole vectors.
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    from: &'a [f32],
    to: &'a mut [f32],
    sum: bool,
    images: Range<usize>,
}

impl Kernel for Correlate<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let sweep = self.sweep;
        sweep.check(self.from.len(), self.to.len(), &self.images);
        assert!(sweep.taps.iter().all(|tap| (tap.tap + 1) * sweep.step <= self.weights.len()));
        assert!(self.bias.is_none_or(|bias| sweep.step <= bias.len()));
        // SAFETY: the extents were asserted above.
        unsafe {
            match sweep.taps.len() {
                1 => self.taps::<V, 1>(),
                2 => self.taps::<V, 2>(),
                4 => self.taps::<V, 4>(),
                9 => self.taps::<V, 9>(),
                _ => self.any::<V>(),
            }
        }
    }
}

impl Correlate<'_> {
    /// # Safety
    /// As asserted in `run`, and there are `T` taps.
    #[inline(always)]
    unsafe fn taps<V: Lanes, const T: usize>(self) {
        let base = self.to.as_mut_ptr();
        let Sweep { grid, taps, from_image, to_image, step } = self.sweep;
        // SAFETY: the caller's.
        unsafe {
            let mut at = [0; T];
            for (at, tap) in at.iter_mut().zip(taps) {
                *at = tap.at;
            }
            for image in self.images.clone() {
                for row in 0..grid.rows {
                    for lane in (0..*step).step_by(LANES) {
                        let mut weights = [V::splat(0.0); T];
                        for (w, tap) in weights.iter_mut().zip(taps) {
                            *w = V::load_at(self.weights.as_ptr().add(tap.tap * step + lane));
                        }
                        let bias = self.bias.map_or(V::splat(0.0), |bias| V::load_at(bias.as_ptr().add(lane)));
                        let from = self.from.as_ptr().add(image * from_image + grid.from + row * grid.from_row + lane);
                        let to = base.add(image * to_image + grid.to + row * grid.to_row + lane);
                        for column in 0..grid.columns {
                            let from = from.add(column * grid.from_step);
                            let to = to.add(column * grid.to_step);
                            let mut sum = if self.sum { V::load_at(to) } else { bias };
                            for t in 0..T {
                                sum = V::load_at(from.add(at[t])).mul_add(weights[t], sum);
                            }
                            sum.store_at(to);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// As asserted in `run`.
    #[inline(always)]
    unsafe fn any<V: Lanes>(self) {
        let Sweep { grid, taps, from_image, to_image, step } = self.sweep;
        // SAFETY: the caller's.
        unsafe {
            for image in self.images.clone() {
                for row in 0..grid.rows {
                    for column in 0..grid.columns {
                        let from = image * from_image + grid.from + row * grid.from_row + column * grid.from_step;
                        let to = image * to_image + grid.to + row * grid.to_row + column * grid.to_step;
                        for lane in (0..*step).step_by(LANES) {
                            let from = self.from.as_ptr().add(from + lane);
                            let to = self.to.as_mut_ptr().add(to + lane);
                            let bias = self.bias.map_or(V::splat(0.0), |bias| V::load_at(bias.as_ptr().add(lane)));
                            let mut sum = if self.sum { V::load_at(to) } else { bias };
                            for tap in taps {
                                let w = V::load_at(self.weights.as_ptr().add(tap.tap * step + lane));
                                sum = V::load_at(from.add(tap.at)).mul_add(w, sum);
                            }
                            sum.store_at(to);
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the kernels.
struct KernelGradient<'a> {
    sweep: &'a Sweep,
    x: &'a [f32],
    dy: &'a [f32],
    gradient: &'a mut [f32],
    images: Range<usize>,
}

impl Kernel for KernelGradient<'_> {
    #[inline(always)]
    fn run<V: Lanes>(mut self) {
        let sweep = self.sweep;
        sweep.check(self.x.len(), self.dy.len(), &self.images);
        assert!(sweep.taps.iter().all(|tap| (tap.tap + 1) * sweep.step <= self.gradient.len()));
        let mut done = 0;
        while done < sweep.taps.len() {
            let count = (sweep.taps.len() - done).min(9);
            let taps = &sweep.taps[done..done + count];
            // SAFETY: the extents were asserted above.
            unsafe {
                match count {
                    1 => self.taps::<V, 1>(taps),
                    2 => self.taps::<V, 2>(taps),
                    3 => self.taps::<V, 3>(taps),
                    4 => self.taps::<V, 4>(taps),
                    5 => self.taps::<V, 5>(taps),
                    6 => self.taps::<V, 6>(taps),
                    7 => self.taps::<V, 7>(taps),
                    8 => self.taps::<V, 8>(taps),
                    _ => self.taps::<V, 9>(taps),
                }
            }
            done += count;
        }
    }
}

impl KernelGradient<'_> {
    /// # Safety
    /// As asserted in `run`, and there are `T` taps.
    #[inline(always)]
    unsafe fn taps<V: Lanes, const T: usize>(&mut self, taps: &[Tap]) {
        let Sweep { grid, from_image, to_image, step, .. } = self.sweep;
        for lane in (0..*step).step_by(LANES) {
            let mut sums = [V::splat(0.0); T];
            // SAFETY: the caller's.
            unsafe {
                let mut at = [0; T];
                for (at, tap) in at.iter_mut().zip(taps) {
                    *at = tap.at;
                }
                for image in self.images.clone() {
                    for row in 0..grid.rows {
                        let x = self.x.as_ptr().add(image * from_image + grid.from + row * grid.from_row + lane);
                        let dy = self.dy.as_ptr().add(image * to_image + grid.to + row * grid.to_row + lane);
                        for column in 0..grid.columns {
                            let x = x.add(column * grid.from_step);
                            let dy = V::load_at(dy.add(column * grid.to_step));
                            for t in 0..T {
                                sums[t] = V::load_at(x.add(at[t])).mul_add(dy, sums[t]);
                            }
                        }
                    }
                }
                for (sum, tap) in sums.iter().zip(taps) {
                    let to = self.gradient.as_mut_ptr().add(tap.tap * step + lane);
                    V::load_at(to).add(*sum).store_at(to);
                }
            }
        }
    }
}

/// A depthwise convolution between two planes of as many channels.
#[derive(Debug, Clone)]
pub(crate) struct Depthwise {
    forward: Sweep,
    gradient: Sweep,
    backward: Vec<Sweep>,
    channels: usize,
    taps: usize,
}

impl Depthwise {
    /// `gradient` is where the output's gradient lies, `back` where the input's is to be, if anybody wants it.
    pub(crate) fn new(window: &Window, from: &Plane, to: &Plane, gradient: &Plane, back: Option<&Plane>) -> Self {
        let sweep = |grid, taps, from: &Plane, to: &Plane| Sweep {
            grid,
            taps,
            from_image: from.image(),
            to_image: to.image(),
            step: from.step,
        };
        let backward = |back: &Plane| {
            let phases = window.phases(gradient).into_iter();
            phases.map(|phase| sweep(phase.grid(gradient, back), phase.taps, gradient, back)).collect()
        };
        Self {
            forward: sweep(window.grid(from, to), window.taps(from), from, to),
            gradient: sweep(window.grid(from, gradient), window.taps(from), from, gradient),
            backward: back.map(backward).unwrap_or_default(),
            channels: from.channels,
            taps: window.kernel[0] * window.kernel[1],
        }
    }

    pub(crate) fn packed_len(&self) -> usize {
        self.taps * self.forward.step
    }

    /// `[C, 1, kH, kW]` to `[tap][channel]`.
    pub(crate) fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        for (tap, row) in packed.chunks_exact_mut(self.forward.step).enumerate() {
            for (channel, to) in row.iter_mut().take(self.channels).enumerate() {
                *to = weights[channel * self.taps + tap];
            }
        }
    }

    pub(crate) fn unpack_gradient(&self, packed: &[f32], gradient: &mut [f32]) {
        for (tap, row) in packed.chunks_exact(self.forward.step).enumerate() {
            for (channel, from) in row.iter().take(self.channels).enumerate() {
                gradient[channel * self.taps + tap] += *from;
            }
        }
    }

    pub(crate) fn forward(
        &self,
        weights: &[f32],
        bias: Option<&[f32]>,
        x: &Buffer,
        y: &mut Buffer,
        images: Range<usize>,
    ) {
        dispatch(Correlate { sweep: &self.forward, weights, bias, from: x, to: y, sum: false, images });
    }

    pub(crate) fn backward(&self, weights: &[f32], dy: &Buffer, dx: &mut Buffer, sum: bool, images: Range<usize>) {
        for sweep in &self.backward {
            dispatch(Correlate { sweep, weights, bias: None, from: dy, to: dx, sum, images: images.clone() });
        }
    }

    pub(crate) fn weight_gradient(&self, x: &Buffer, dy: &Buffer, gradient: &mut [f32], images: Range<usize>) {
        dispatch(KernelGradient { sweep: &self.gradient, x, dy, gradient, images });
    }
}
