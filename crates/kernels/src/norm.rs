//! Normalisation by the batch's own statistics (Ioffe and Szegedy 2015), joined with the activation
//! after it, in passes over a few images at a time.

use crate::activation::{Activation, Function, WithFunction, choose};
use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::plane::{Buffer, Plane};
use std::ops::Range;

/// A channel's numbers at once, each padded to whole vectors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coefficients {
    /// What the batch's numbers are multiplied with, and what is added then.
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    /// One over the deviation.
    pub(crate) inverse: Vec<f64>,
    /// The gradient is `scale * slope + by_value * x + constant`.
    pub(crate) by_value: Vec<f32>,
    pub(crate) constant: Vec<f32>,
}

impl Coefficients {
    pub(crate) fn new(step: usize) -> Self {
        let zeros = || vec![0.0; step];
        Self {
            scale: zeros(),
            shift: zeros(),
            mean: zeros(),
            inverse: vec![0.0; step],
            by_value: zeros(),
            constant: zeros(),
        }
    }
}

/// Count, mean and sum of squared distances from it, by channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    count: f64,
    pub(crate) mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    pub(crate) fn new(channels: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    pub(crate) fn clear(&mut self) {
        self.count = 0.0;
        self.mean.fill(0.0);
        self.squares.fill(0.0);
    }

    /// Biased, as the normalisation uses it.
    pub(crate) fn variance(&self, channel: usize) -> f64 {
        self.squares[channel] / self.count.max(1.0)
    }

    pub(crate) fn count(&self) -> f64 {
        self.count
    }

    /// Joins those of other numbers (Chan, Golub and LeVeque 1983).
    pub(crate) fn merge(&mut self, other: &Self) {
        let total = self.count + other.count;
        if other.count == 0.0 {
            return;
        }
        for channel in 0..self.mean.len() {
            let apart = other.mean[channel] - self.mean[channel];
            self.mean[channel] += apart * other.count / total;
            self.squares[channel] += other.squares[channel] + apart * apart * self.count * other.count / total;
        }
        self.count = total;
    }
}

/// Adds the images' moments.
pub(crate) fn measure(x: &Buffer, plane: &Plane, images: Range<usize>, into: &mut Moments) {
    let count = images.len() * plane.pixels();
    if count == 0 {
        return;
    }
    let mut sums = vec![0.0; plane.step];
    dispatch(Sums { x, plane, images: images.clone(), sums: &mut sums, from: None });
    let mean: Vec<f32> = sums.iter().map(|sum| (f64::from(*sum) / count as f64) as f32).collect();
    let mut squares = vec![0.0; plane.step];
    let mut off = vec![0.0; plane.step];
    dispatch(Sums { x, plane, images, sums: &mut squares, from: Some((&mean, &mut off)) });
    let channels = into.mean.len();
    let exact = |c: usize| {
        // What rounding left out of the mean, found while the squares were summed.
        let correction = f64::from(off[c]) / count as f64;
        let squares = f64::from(squares[c]) - correction * correction * count as f64;
        (f64::from(mean[c]) + correction, squares.max(0.0))
    };
    let (mean, squares) = (0..channels).map(exact).unzip();
    into.merge(&Moments { count: count as f64, mean, squares });
}

/// Sums by channel; with `from` a mean, of the distances from it and of their squares.
struct Sums<'a> {
    x: &'a [f32],
    plane: &'a Plane,
    images: Range<usize>,
    sums: &'a mut [f32],
    from: Option<(&'a [f32], &'a mut [f32])>,
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    fn run<V: Lanes>(mut self) {
        let step = self.plane.step;
        let mut lane = 0;
        while lane < step {
            lane += match step - lane {
                8 | 24 => self.block::<V, 1>(lane),
                16 => self.block::<V, 2>(lane),
                _ => self.block::<V, 4>(lane),
            };
        }
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn block<V: Lanes, const NV: usize>(&mut self, lane: usize) -> usize {
        let wide = lane..lane + NV * LANES;
        let load = |from: &[f32]| -> [V; NV] {
            let from = from.as_chunks::<LANES>().0;
            std::array::from_fn(|j| V::load(&from[j]))
        };
        let rows = self.plane.rows(self.images.clone());
        let pixels = rows.flat_map(|at| self.x[at..at + self.plane.line()].chunks_exact(self.plane.step));
        let mut sums = [V::splat(0.0); NV];
        let save = |to: &mut [f32], sums: [V; NV]| {
            let to = to[wide.clone()].as_chunks_mut::<LANES>().0;
            to.iter_mut().zip(sums).for_each(|(to, sum)| sum.store(to));
        };
        match &mut self.from {
            None => {
                for pixel in pixels {
                    let x = load(&pixel[wide.clone()]);
                    sums = std::array::from_fn(|j| sums[j].add(x[j]));
                }
            }
            Some((mean, off)) => {
                let mean = load(&mean[wide.clone()]);
                let mut offs = [V::splat(0.0); NV];
                for pixel in pixels {
                    let x = load(&pixel[wide.clone()]);
                    for j in 0..NV {
                        let apart = x[j].sub(mean[j]);
                        offs[j] = offs[j].add(apart);
                        sums[j] = apart.mul_add(apart, sums[j]);
                    }
                }
                save(off, offs);
            }
        }
        save(self.sums, sums);
        NV * LANES
    }
}

/// `activation(scale * x + shift)` by channel.
pub(crate) fn apply(
    coefficients: &Coefficients,
    activation: Activation,
    x: (&Buffer, &Plane),
    y: (&mut Buffer, &Plane),
    images: Range<usize>,
) {
    dispatch(Apply { coefficients, activation, x, y, images });
}

struct Apply<'a> {
    coefficients: &'a Coefficients,
    activation: Activation,
    x: (&'a Buffer, &'a Plane),
    y: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
}

impl Kernel for Apply<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        choose::<V, _>(self.activation, self);
    }
}

impl WithFunction for Apply<'_> {
    #[inline(always)]
    fn run<V: Lanes, F: Function>(self, function: F) {
        let ((x, x_plane), (y, y_plane)) = (self.x, self.y);
        let step = x_plane.step;
        let scale = self.coefficients.scale[..step].as_chunks::<LANES>().0;
        let shift = self.coefficients.shift[..step].as_chunks::<LANES>().0;
        for (from, to) in x_plane.rows(self.images.clone()).zip(y_plane.rows(self.images)) {
            let from = x[from..from + x_plane.line()].as_chunks::<LANES>().0;
            let to = y[to..to + y_plane.line()].as_chunks_mut::<LANES>().0;
            for (from, to) in from.chunks_exact(scale.len()).zip(to.chunks_exact_mut(scale.len())) {
                for (((from, to), scale), shift) in from.iter().zip(to).zip(scale).zip(shift) {
                    function.value(V::load(from).mul_add(V::load(scale), V::load(shift))).store(to);
                }
            }
        }
    }
}

/// Sums by channel of the slope, and of the slope times the distance from the mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlopeSums {
    pub(crate) slope: Vec<f64>,
    pub(crate) by_distance: Vec<f64>,
}

impl SlopeSums {
    pub(crate) fn new(channels: usize) -> Self {
        Self { slope: vec![0.0; channels], by_distance: vec![0.0; channels] }
    }

    pub(crate) fn clear(&mut self) {
        self.slope.fill(0.0);
        self.by_distance.fill(0.0);
    }

    fn add(&mut self, slope: &[f32], by_distance: &[f32]) {
        self.slope.iter_mut().zip(slope).for_each(|(sum, part)| *sum += f64::from(*part));
        self.by_distance.iter_mut().zip(by_distance).for_each(|(sum, part)| *sum += f64::from(*part));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.slope.iter_mut().zip(&other.slope).for_each(|(sum, part)| *sum += part);
        self.by_distance.iter_mut().zip(&other.by_distance).for_each(|(sum, part)| *sum += part);
    }
}

/// The first pass back: what the gradient needs to know of the whole batch.
pub(crate) fn sum_slopes(
    coefficients: &Coefficients,
    activation: Activation,
    x: (&Buffer, &Plane),
    dy: (&Buffer, &Plane),
    images: Range<usize>,
    into: &mut SlopeSums,
) {
    let (mut slope, mut by_distance) = (vec![0.0; x.1.step], vec![0.0; x.1.step]);
    let sums = (slope.as_mut_slice(), by_distance.as_mut_slice());
    dispatch(Slopes { coefficients, activation, x, dy, images, sums });
    into.add(&slope, &by_distance);
}

struct Slopes<'a> {
    coefficients: &'a Coefficients,
    activation: Activation,
    x: (&'a Buffer, &'a Plane),
    dy: (&'a Buffer, &'a Plane),
    images: Range<usize>,
    sums: (&'a mut [f32], &'a mut [f32]),
}

impl Kernel for Slopes<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        choose::<V, _>(self.activation, self);
    }
}

impl WithFunction for Slopes<'_> {
    #[inline(always)]
    fn run<V: Lanes, F: Function>(mut self, function: F) {
        let step = self.x.1.step;
        let mut lane = 0;
        while lane < step {
            lane += match step - lane {
                8 | 24 => self.block::<V, F, 1>(function, lane),
                _ => self.block::<V, F, 2>(function, lane),
            };
        }
    }
}

impl Slopes<'_> {
    #[inline(always)]
    fn block<V: Lanes, F: Function, const NV: usize>(&mut self, function: F, lane: usize) -> usize {
        let wide = lane..lane + NV * LANES;
        let load = |from: &[f32]| -> [V; NV] {
            let from = from[wide.clone()].as_chunks::<LANES>().0;
            std::array::from_fn(|j| V::load(&from[j]))
        };
        let ((x, x_plane), (dy, dy_plane)) = (self.x, self.dy);
        let Coefficients { scale, shift, mean, .. } = self.coefficients;
        let (scale, shift, mean) = (load(scale), load(shift), load(mean));
        let mut slopes = [V::splat(0.0); NV];
        let mut by_distance = [V::splat(0.0); NV];
        for (from, back) in x_plane.rows(self.images.clone()).zip(dy_plane.rows(self.images.clone())) {
            let from = x[from..from + x_plane.line()].chunks_exact(x_plane.step);
            let back = dy[back..back + dy_plane.line()].chunks_exact(x_plane.step);
            for (x, dy) in from.zip(back) {
                let (x, dy) = (load(x), load(dy));
                for j in 0..NV {
                    let slope = function.slope(x[j].mul_add(scale[j], shift[j]), dy[j]);
                    slopes[j] = slopes[j].add(slope);
                    by_distance[j] = slope.mul_add(x[j].sub(mean[j]), by_distance[j]);
                }
            }
        }
        for (to, sums) in [(&mut *self.sums.0, slopes), (&mut *self.sums.1, by_distance)] {
            let to = to[wide.clone()].as_chunks_mut::<LANES>().0;
            to.iter_mut().zip(sums).for_each(|(to, sum)| sum.store(to));
        }
        NV * LANES
    }
}

/// The second pass back: the output's gradient becomes the input's, in its place.
pub(crate) fn apply_slopes(
    coefficients: &Coefficients,
    activation: Activation,
    x: (&Buffer, &Plane),
    gradient: (&mut Buffer, &Plane),
    images: Range<usize>,
) {
    dispatch(ApplySlopes { coefficients, activation, x, gradient, images });
}

struct ApplySlopes<'a> {
    coefficients: &'a Coefficients,
    activation: Activation,
    x: (&'a Buffer, &'a Plane),
    gradient: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
}

impl Kernel for ApplySlopes<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        choose::<V, _>(self.activation, self);
    }
}

impl WithFunction for ApplySlopes<'_> {
    #[inline(always)]
    fn run<V: Lanes, F: Function>(self, function: F) {
        let ((x, x_plane), (gradient, g_plane)) = (self.x, self.gradient);
        let vectors = x_plane.step / LANES;
        let Coefficients { scale, shift, by_value, constant, .. } = self.coefficients;
        let [scale, shift, by_value, constant] =
            [scale, shift, by_value, constant].map(|numbers| &numbers.as_chunks::<LANES>().0[..vectors]);
        for (from, to) in x_plane.rows(self.images.clone()).zip(g_plane.rows(self.images)) {
            let from = x[from..from + x_plane.line()].as_chunks::<LANES>().0;
            let to = gradient[to..to + g_plane.line()].as_chunks_mut::<LANES>().0;
            for (from, to) in from.chunks_exact(vectors).zip(to.chunks_exact_mut(vectors)) {
                for j in 0..vectors {
                    let (x, scale) = (V::load(&from[j]), V::load(&scale[j]));
                    let slope = function.slope(x.mul_add(scale, V::load(&shift[j])), V::load(&to[j]));
                    let rest = x.mul_add(V::load(&by_value[j]), V::load(&constant[j]));
                    slope.mul_add(scale, rest).store(&mut to[j]);
                }
            }
        }
    }
}

/// Adds each channel's sum.
pub(crate) fn sum_channels(x: &Buffer, plane: &Plane, images: Range<usize>, into: &mut [f32]) {
    let mut sums = vec![0.0; plane.step];
    dispatch(Sums { x, plane, images, sums: &mut sums, from: None });
    into.iter_mut().zip(&sums).for_each(|(to, sum)| *to += *sum);
}
