//! Convolution where each output sees every input channel of its group; `Gemm` is one whose kernel is
//! the whole map.
//!
//! Forward and the input's gradient are the same work: each output pixel gathers runs of neighbouring
//! numbers and multiplies them with a matrix of weights, a few pixels by a few vectors of channels at a
//! time, all sums in registers (the micro-kernel of Goto and van de Geijn 2008, without its packing of
//! the input, since channels-last pixels are already in order).

mod gather;
mod gradient;

pub(crate) use gather::Start;

use crate::lanes::{LANES, dispatch};
use crate::plane::{Buffer, Plane};
use crate::window::Window;
use gather::{Gather, Product, Run};
use gradient::{Lines, WeightGradient};
use std::ops::Range;

/// A convolution between two planes, in its groups.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    forward: Vec<Gather>,
    backward: Vec<Gather>,
    lines: Vec<Lines>,
    /// Of the input's gradient: pixels that no output has seen.
    unseen: Vec<u32>,
    /// Groups whose channels do not fill whole vectors are one group with zeros between.
    spread: Option<Spread>,
}

/// The weights of groups, and where each is in the matrix of one group.
#[derive(Debug, Clone)]
struct Spread {
    len: usize,
    places: Vec<u32>,
}

impl Dense {
    /// # Shapes
    /// Weights `[to, from / group, kH, kW]`. `gradient` is where the output's gradient lies and
    /// `back` where the input's is to be; `None` when nobody wants it.
    pub(crate) fn new(
        window: &Window,
        from: &Plane,
        to: &Plane,
        group: usize,
        gradient: &Plane,
        back: Option<&Plane>,
    ) -> Self {
        let whole = |channels: usize| channels.is_multiple_of(LANES);
        let (each_from, each_to) = (from.channels / group, to.channels / group);
        let taps = window.kernel[0] * window.kernel[1];
        if group > 1 && !(whole(each_to) && (back.is_none() || whole(each_from))) {
            let places = (0..to.channels * each_from * taps)
                .map(|i| {
                    let (channel, rest) = (i / (each_from * taps), i % (each_from * taps));
                    (channel * from.channels * taps + channel / each_to * each_from * taps + rest) as u32
                })
                .collect();
            let one = Self::new(window, from, to, 1, gradient, back);
            return Self { spread: Some(Spread { len: to.channels * from.channels * taps, places }), ..one };
        }
        let (mut forward, mut backward, mut lines, mut unseen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for part in 0..group {
            let weights = part * each_to * each_from * taps;
            let place = |out: usize, into: usize, tap: usize| (weights + (out * each_from + into) * taps + tap) as u32;
            // A kernel's row is one run where pixels have no padding channels between them.
            let (mut runs, mut rows) = (Vec::new(), Vec::new());
            for y in 0..window.kernel[0] {
                for x in 0..window.kernel[1] {
                    push(&mut runs, y * from.row() + x * from.step + part * each_from, each_from);
                    rows.extend((0..each_from).map(|c| place(0, c, y * window.kernel[1] + x)));
                }
            }
            let gather = Gather::new(from, to, &window.grid(from, to), runs, rows);
            let gather = gather.with_lanes(each_to, part * each_to, each_from * taps);
            lines.push(Lines::new(window, from, gradient, &gather));
            forward.push(gather);
            let Some(back) = back else { continue };
            for phase in window.phases(gradient) {
                let grid = phase.grid(gradient, back);
                if phase.taps.is_empty() {
                    unseen.extend(grid.pixels().map(|(_, to)| to as u32));
                    continue;
                }
                let (mut runs, mut rows) = (Vec::new(), Vec::new());
                for tap in &phase.taps {
                    push(&mut runs, tap.at + part * each_to, each_to);
                    rows.extend((0..each_to).map(|c| place(c, 0, tap.tap)));
                }
                let gather = Gather::new(gradient, back, &grid, runs, rows);
                backward.push(gather.with_lanes(each_from, part * each_from, taps));
            }
        }
        Self { forward, backward, lines, unseen, spread: None }
    }

    /// Numbers of the forward weights once packed.
    pub(crate) fn packed_len(&self) -> usize {
        self.forward.iter().map(Gather::packed_len).sum()
    }

    /// Numbers of the backward weights once packed.
    pub(crate) fn packed_back_len(&self) -> usize {
        self.backward.iter().map(Gather::packed_len).sum()
    }

    /// Lays ONNX's weights out for the kernels.
    pub(crate) fn pack(&self, weights: &[f32], forward: &mut [f32], backward: &mut [f32]) {
        let spread = self.spread.as_ref().map(|spread| {
            let mut whole = vec![0.0; spread.len];
            weights.iter().zip(&spread.places).for_each(|(w, place)| whole[*place as usize] = *w);
            whole
        });
        let weights = spread.as_deref().unwrap_or(weights);
        for (gathers, mut to) in [(&self.forward, forward), (&self.backward, backward)] {
            for gather in gathers {
                let (own, rest) = to.split_at_mut(gather.packed_len());
                gather.each_weight(|packed, place| own[packed] = weights[place]);
                to = rest;
            }
        }
    }

    /// Adds a packed gradient to ONNX's weights' gradient.
    pub(crate) fn unpack_gradient(&self, mut packed: &[f32], gradient: &mut [f32]) {
        let mut whole = self.spread.as_ref().map(|spread| vec![0.0; spread.len]);
        let to = whole.as_deref_mut().unwrap_or(&mut *gradient);
        for gather in &self.forward {
            let (own, rest) = packed.split_at(gather.packed_len());
            gather.each_weight(|packed, place| to[place] += own[packed]);
            packed = rest;
        }
        if let (Some(whole), Some(spread)) = (&whole, &self.spread) {
            gradient.iter_mut().zip(&spread.places).for_each(|(g, place)| *g += whole[*place as usize]);
        }
    }

    pub(crate) fn forward(
        &self,
        mut weights: &[f32],
        x: &Buffer,
        y: &mut Buffer,
        start: Start<'_>,
        images: Range<usize>,
    ) {
        for gather in &self.forward {
            dispatch(Product { gather, weights, from: x, to: y, start, images: images.clone() });
            weights = &weights[gather.packed_len()..];
        }
    }

    /// The input's gradient, written or (`sum`) added.
    pub(crate) fn backward(
        &self,
        mut weights: &[f32],
        dy: &Buffer,
        dx: (&mut Buffer, &Plane),
        sum: bool,
        images: Range<usize>,
    ) {
        let (dx, plane) = dx;
        let start = if sum { Start::Sum } else { Start::Zero };
        for gather in &self.backward {
            dispatch(Product { gather, weights, from: dy, to: dx, start, images: images.clone() });
            weights = &weights[gather.packed_len()..];
        }
        if !sum {
            for image in images {
                for at in &self.unseen {
                    dx[image * plane.image() + *at as usize..][..plane.step].fill(0.0);
                }
            }
        }
    }

    /// Adds to the weights' gradient, packed as the forward weights are.
    pub(crate) fn weight_gradient(&self, x: &Buffer, dy: &Buffer, mut gradient: &mut [f32], images: Range<usize>) {
        for (gather, lines) in self.forward.iter().zip(&self.lines) {
            let (own, rest) = gradient.split_at_mut(gather.packed_len());
            dispatch(WeightGradient { gather, lines, x, dy, gradient: own, images: images.clone() });
            gradient = rest;
        }
    }
}

/// Adds a run, or lengthens the last one if it goes on where that ends.
fn push(runs: &mut Vec<Run>, at: usize, len: usize) {
    match runs.last_mut() {
        Some(last) if last.at + last.len == at => last.len += len,
        _ => runs.push(Run { at, len }),
    }
}
