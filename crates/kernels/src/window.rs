//! Where a sliding window looks, forwards and backwards.

use crate::plane::Plane;

/// A kernel's size, its steps and the zeros around the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
}

/// One of the kernel's numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    /// From a pixel's base to what this number meets.
    pub(crate) at: usize,
    /// Row times width plus column in the kernel.
    pub(crate) tap: usize,
}

/// Those of the input's pixels that the same taps reach: with a stride of 2 every other row and column.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    first: [usize; 2],
    strides: [usize; 2],
    pub(crate) taps: Vec<Tap>,
}

/// Pixels evenly spaced in two planes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) from: usize,
    pub(crate) from_row: usize,
    pub(crate) from_step: usize,
    pub(crate) to: usize,
    pub(crate) to_row: usize,
    pub(crate) to_step: usize,
}

impl Window {
    /// Where the first output's window begins. The plane's border holds the padding.
    pub(crate) fn corner(&self, from: &Plane) -> usize {
        (from.border[0] - self.pads[0]) * from.row() + (from.border[1] - self.pads[1]) * from.step
    }

    /// The outputs, each from its window's corner.
    pub(crate) fn grid(&self, from: &Plane, to: &Plane) -> Grid {
        Grid {
            rows: to.height,
            columns: to.width,
            from: self.corner(from),
            from_row: self.strides[0] * from.row(),
            from_step: self.strides[1] * from.step,
            to: to.origin(),
            to_row: to.row(),
            to_step: to.step,
        }
    }

    /// The kernel's numbers, from a window's corner.
    pub(crate) fn taps(&self, from: &Plane) -> Vec<Tap> {
        let [rows, columns] = self.kernel;
        let tap = |i: usize| Tap { at: i / columns * from.row() + i % columns * from.step, tap: i };
        (0..rows * columns).map(tap).collect()
    }

    /// On one axis, the outputs that see an input, as (kernel's place, output minus base): those with
    /// `first + pad - k` a multiple of the stride.
    fn reach(&self, axis: usize, first: usize) -> impl Iterator<Item = (usize, isize)> + use<> {
        let (stride, pad) = (self.strides[axis] as isize, self.pads[axis] as isize);
        (0..self.kernel[axis]).filter_map(move |k| {
            let at = first as isize + pad - k as isize;
            (at.rem_euclid(stride) == 0).then(|| (k, at.div_euclid(stride)))
        })
    }

    /// The border of zeros that the output's gradient needs, so that the input's can be gathered from it.
    pub(crate) fn gradient_border(&self, input: [usize; 2], output: [usize; 2]) -> [usize; 4] {
        let mut border = [0; 4];
        for axis in 0..2 {
            for first in 0..self.strides[axis].min(input[axis]) {
                let last = ((input[axis] - 1 - first) / self.strides[axis]) as isize;
                for (_, ahead) in self.reach(axis, first) {
                    border[axis] = border[axis].max((-ahead).max(0) as usize);
                    let over = last + ahead - (output[axis] as isize - 1);
                    border[axis + 2] = border[axis + 2].max(over.max(0) as usize);
                }
            }
        }
        border
    }

    /// The input's gradient, gathered from the output's.
    pub(crate) fn phases(&self, gradient: &Plane) -> Vec<Phase> {
        let mut phases = Vec::new();
        for row in 0..self.strides[0] {
            for column in 0..self.strides[1] {
                let mut taps = Vec::new();
                for (ky, dy) in self.reach(0, row) {
                    for (kx, dx) in self.reach(1, column) {
                        // Not negative for any pixel that exists: the border holds it.
                        let y = dy + gradient.border[0] as isize;
                        let x = dx + gradient.border[1] as isize;
                        let at = y * gradient.row() as isize + x * gradient.step as isize;
                        taps.push(Tap { at: at.max(0) as usize, tap: ky * self.kernel[1] + kx });
                    }
                }
                taps.sort_by_key(|tap| tap.at);
                phases.push(Phase { first: [row, column], strides: self.strides, taps });
            }
        }
        phases
    }
}

impl Phase {
    /// The phase's pixels of the input's gradient `to`, each with its base in the output's gradient `from`.
    pub(crate) fn grid(&self, from: &Plane, to: &Plane) -> Grid {
        let count = |axis: usize, size: usize| size.saturating_sub(self.first[axis]).div_ceil(self.strides[axis]);
        Grid {
            rows: count(0, to.height),
            columns: count(1, to.width),
            from: 0,
            from_row: from.row(),
            from_step: from.step,
            to: to.origin() + self.first[0] * to.row() + self.first[1] * to.step,
            to_row: self.strides[0] * to.row(),
            to_step: self.strides[1] * to.step,
        }
    }
}

impl Grid {
    /// Each pixel's place in both planes.
    pub(crate) fn pixels(&self) -> impl Iterator<Item = (usize, usize)> {
        let each = |row: usize, column: usize| {
            (
                self.from + row * self.from_row + column * self.from_step,
                self.to + row * self.to_row + column * self.to_step,
            )
        };
        (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| each(row, column)))
    }

    /// The places of the last pixel, the furthest of all; `None` of no pixels.
    pub(crate) fn last(&self) -> Option<(usize, usize)> {
        let (row, column) = (self.rows.checked_sub(1)?, self.columns.checked_sub(1)?);
        Some((
            self.from + row * self.from_row + column * self.from_step,
            self.to + row * self.to_row + column * self.to_step,
        ))
    }

    /// The same pixels as one long row, where both planes allow it.
    pub(crate) fn joined(mut self) -> Self {
        let line = (self.columns * self.from_step, self.columns * self.to_step);
        if (self.from_row, self.to_row) == line {
            (self.columns, self.rows) = (self.columns * self.rows, 1);
        }
        self
    }
}
