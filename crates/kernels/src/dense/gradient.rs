//! The gradient of the weights.

use super::gather::{Gather, HEIGHT, tiles};
use crate::lanes::{Kernel, LANES, Lanes};
use crate::plane::Plane;
use crate::window::{Grid, Window};
use std::ops::Range;

/// The gradient of one gather's weights: for each number of the runs and each output channel, the sum
/// over all pixels of their product.
pub(super) struct WeightGradient<'a> {
    pub(super) gather: &'a Gather,
    pub(super) lines: &'a Lines,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) gradient: &'a mut [f32],
    pub(super) images: Range<usize>,
}

/// The pixels of the input and of the output's gradient, and the end of what is read of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    grid: Grid,
    x_image: usize,
    y_image: usize,
    x_reads: usize,
    y_reads: usize,
}

impl Kernel for WeightGradient<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (g, lines) = (self.gather, self.lines);
        let Some(last) = self.images.end.checked_sub(1) else { return };
        assert!(last * lines.x_image + lines.x_reads <= self.x.len());
        assert!(last * lines.y_image + lines.y_reads <= self.dy.len());
        assert!(g.packed_len() <= self.gradient.len());
        for block in &g.blocks {
            let gradient = self.gradient[block.weights..].as_mut_ptr();
            let lane = g.first_lane + block.lane;
            // SAFETY: the extents were asserted above.
            unsafe {
                match block.vectors {
                    1 => self.block::<V, 1>(gradient, lane),
                    2 => self.block::<V, 2>(gradient, lane),
                    _ => self.block::<V, 3>(gradient, lane),
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// # Safety
    /// The images lie within `x` and `dy`, and `gradient` holds the block.
    #[inline(always)]
    unsafe fn block<V: Lanes, const NV: usize>(&self, mut gradient: *mut f32, lane: usize) {
        for run in &self.gather.runs {
            let mut at = run.at;
            for height in tiles(run.len, HEIGHT[NV]) {
                // SAFETY: the caller's; the gradient has a row for each number of the runs.
                unsafe {
                    match height {
                        1 => self.tile::<V, 1, NV>(gradient, at, lane),
                        2 => self.tile::<V, 2, NV>(gradient, at, lane),
                        3 => self.tile::<V, 3, NV>(gradient, at, lane),
                        4 => self.tile::<V, 4, NV>(gradient, at, lane),
                        5 => self.tile::<V, 5, NV>(gradient, at, lane),
                        6 => self.tile::<V, 6, NV>(gradient, at, lane),
                        7 => self.tile::<V, 7, NV>(gradient, at, lane),
                        _ => self.tile::<V, 8, NV>(gradient, at, lane),
                    }
                    gradient = gradient.add(height * NV * LANES);
                }
                at += height;
            }
        }
    }

    /// # Safety
    /// As [`WeightGradient::block`].
    #[inline(always)]
    unsafe fn tile<V: Lanes, const R: usize, const NV: usize>(&self, gradient: *mut f32, at: usize, lane: usize) {
        if R > HEIGHT[NV] {
            return;
        }
        let (lines, grid) = (self.lines, self.lines.grid);
        let mut sums = [[V::splat(0.0); NV]; R];
        // SAFETY: the caller's.
        unsafe {
            for image in self.images.clone() {
                for row in 0..grid.rows {
                    let mut x = self.x.as_ptr().add(image * lines.x_image + grid.from + row * grid.from_row + at);
                    let mut y = self.dy.as_ptr().add(image * lines.y_image + grid.to + row * grid.to_row + lane);
                    for _ in 0..grid.columns {
                        let mut dy = [V::splat(0.0); NV];
                        for (j, dy) in dy.iter_mut().enumerate() {
                            *dy = V::load_at(y.add(j * LANES));
                        }
                        for r in 0..R {
                            let x = V::splat(*x.add(r));
                            for j in 0..NV {
                                sums[r][j] = x.mul_add(dy[j], sums[r][j]);
                            }
                        }
                        x = x.wrapping_add(grid.from_step);
                        y = y.wrapping_add(grid.to_step);
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (j, sum) in sums.iter().enumerate() {
                    let to = gradient.add((r * NV + j) * LANES);
                    V::load_at(to).add(*sum).store_at(to);
                }
            }
        }
    }
}

impl Lines {
    pub(super) fn new(window: &Window, x: &Plane, dy: &Plane, gather: &Gather) -> Self {
        let grid = window.grid(x, dy).joined();
        let (x_reads, y_reads) = grid.last().unwrap_or_default();
        Self {
            grid,
            x_image: x.image(),
            y_image: dy.image(),
            x_reads: x_reads + gather.runs.iter().map(|run| run.at + run.len).max().unwrap_or(0),
            y_reads: y_reads + gather.first_lane + gather.lanes.next_multiple_of(LANES),
        }
    }
}
