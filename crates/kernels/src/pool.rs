//! Pools: the greatest or the mean of each window, the padding never counting.

use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::plane::{Buffer, Plane};
use crate::window::Window;
use std::ops::Range;

/// Which pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Max,
    Mean,
}

/// A pool between two planes of as many channels.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    kind: Kind,
    /// For each output pixel, its place and the places it sees, of the first image.
    windows: Vec<Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    /// Row and column of the output.
    to: [usize; 2],
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Pool {
    pub(crate) fn new(kind: Kind, window: &Window, from: &Plane, to: &Plane) -> Self {
        let span = |axis: usize, out: usize, size: usize| {
            let begin = out * window.strides[axis];
            let pad = window.pads[axis];
            begin.saturating_sub(pad)..(begin + window.kernel[axis]).saturating_sub(pad).min(size)
        };
        let windows = (0..to.height)
            .flat_map(|y| (0..to.width).map(move |x| [y, x]))
            .map(|to| Seen { to, rows: span(0, to[0], from.height), columns: span(1, to[1], from.width) })
            .collect();
        Self { kind, windows }
    }

    pub(crate) fn forward(&self, x: (&Buffer, &Plane), y: (&mut Buffer, &Plane), images: Range<usize>) {
        dispatch(Forward { pool: self, x, y, images });
    }

    /// The input's gradient, written or (`sum`) added. Of equal greatest numbers the first has it all.
    pub(crate) fn backward(
        &self,
        x: (&Buffer, &Plane),
        y: (&Buffer, &Plane),
        dy: (&Buffer, &Plane),
        dx: (&mut Buffer, &Plane),
        sum: bool,
        images: Range<usize>,
    ) {
        if !sum {
            for at in dx.1.rows(images.clone()) {
                dx.0[at..at + dx.1.line()].fill(0.0);
            }
        }
        dispatch(Backward { pool: self, x, y, dy, dx, images });
    }
}

impl Seen {
    /// The places of the pixels seen, in one image of a plane.
    fn pixels(&self, plane: &Plane, image: usize) -> impl Iterator<Item = usize> {
        let base = image * plane.image() + plane.origin();
        let (row, step) = (plane.row(), plane.step);
        self.rows.clone().flat_map(move |y| self.columns.clone().map(move |x| base + y * row + x * step))
    }

    fn output(&self, plane: &Plane, image: usize) -> usize {
        image * plane.image() + plane.origin() + self.to[0] * plane.row() + self.to[1] * plane.step
    }
}

#[inline(always)]
fn vector<V: Lanes>(from: &[f32], at: usize) -> V {
    match from[at..].first_chunk() {
        Some(numbers) => V::load(numbers),
        None => V::splat(0.0),
    }
}

#[inline(always)]
fn put<V: Lanes>(value: V, to: &mut [f32], at: usize) {
    if let Some(to) = to[at..].first_chunk_mut() {
        value.store(to);
    }
}

struct Forward<'a> {
    pool: &'a Pool,
    x: (&'a Buffer, &'a Plane),
    y: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let ((x, x_plane), (y, y_plane)) = (self.x, self.y);
        for image in self.images {
            for seen in &self.pool.windows {
                let to = seen.output(y_plane, image);
                let share = 1.0 / (seen.rows.len() * seen.columns.len()).max(1) as f32;
                for lane in (0..x_plane.step).step_by(LANES) {
                    let numbers = seen.pixels(x_plane, image).map(|at| vector::<V>(x, at + lane));
                    let value = match self.pool.kind {
                        Kind::Max => numbers.reduce(V::max).unwrap_or(V::splat(f32::NEG_INFINITY)),
                        Kind::Mean => numbers.fold(V::splat(0.0), V::add).mul(V::splat(share)),
                    };
                    put(value, y, to + lane);
                }
            }
        }
    }
}

struct Backward<'a> {
    pool: &'a Pool,
    x: (&'a Buffer, &'a Plane),
    y: (&'a Buffer, &'a Plane),
    dy: (&'a Buffer, &'a Plane),
    dx: (&'a mut Buffer, &'a Plane),
    images: Range<usize>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (x, y, dy, (dx, dx_plane)) = (self.x, self.y, self.dy, self.dx);
        for image in self.images {
            for seen in &self.pool.windows {
                let (out, back) = (seen.output(y.1, image), seen.output(dy.1, image));
                let share = 1.0 / (seen.rows.len() * seen.columns.len()).max(1) as f32;
                for lane in (0..dx_plane.step).step_by(LANES) {
                    let gradient = vector::<V>(dy.0, back + lane);
                    let greatest = vector::<V>(y.0, out + lane);
                    let (mut left, part) = (gradient, gradient.mul(V::splat(share)));
                    for (from, to) in seen.pixels(x.1, image).zip(seen.pixels(dx_plane, image)) {
                        let part = match self.pool.kind {
                            Kind::Mean => part,
                            Kind::Max => {
                                let less = greatest.sub(vector::<V>(x.0, from + lane));
                                let part = left.sub(less.where_positive(left));
                                left = left.sub(part);
                                part
                            }
                        };
                        put(vector::<V>(dx, to + lane).add(part), dx, to + lane);
                    }
                }
            }
        }
    }
}
