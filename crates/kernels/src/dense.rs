//! Convolution where each output sees every input channel of its group; `Gemm` is one whose kernel is
//! the whole map.
//!
//! Forward and the input's gradient are the same work: each output pixel gathers runs of neighbouring
//! numbers and multiplies them with a matrix of weights, a few pixels by a few vectors of channels at a
//! time, all sums in registers (the micro-kernel of Goto and van de Geijn 2008, without its packing of
//! the input, since channels-last pixels are already in order).

use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::plane::{Buffer, Plane};
use crate::window::{Grid, Window};
use std::ops::Range;

/// Most pixels (or rows of the weights' gradient) by vectors whose sums fit in sixteen registers,
/// beside the vectors and one broadcast: 8x1, 6x2, 4x3.
const HEIGHT: [usize; 4] = [0, 8, 6, 4];

/// Numbers that lie one after another in the input.
#[derive(Debug, Clone, Copy)]
struct Run {
    at: usize,
    len: usize,
}

/// Where an output pixel reads and is written, in its own image.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    from: u32,
    to: u32,
}

/// A few vectors of output channels and where their weights begin.
#[derive(Debug, Clone, Copy)]
struct Block {
    vectors: usize,
    lane: usize,
    weights: usize,
}

/// One gathering product: which runs each pixel reads, and which weight meets each number.
#[derive(Debug, Clone)]
struct Gather {
    pixels: Vec<Pixel>,
    runs: Vec<Run>,
    blocks: Vec<Block>,
    from_image: usize,
    to_image: usize,
    /// For each number of the runs, the place of its weight for the first output channel.
    rows: Vec<u32>,
    /// From an output channel's weight to the next one's.
    lane_step: usize,
    lanes: usize,
    /// The first output channel among the pixel's.
    first_lane: usize,
    /// The end of what is read and written for the first image.
    reads: usize,
    writes: usize,
}

impl Gather {
    fn new(from: &Plane, to: &Plane, grid: &Grid, runs: Vec<Run>, rows: Vec<u32>) -> Self {
        let (reads, writes) = grid.last().unwrap_or_default();
        let reads = reads + runs.iter().map(|run| run.at + run.len).max().unwrap_or(0);
        let pixels = grid.pixels().map(|(from, to)| Pixel { from: from as u32, to: to as u32 }).collect();
        let (from_image, to_image) = (from.image(), to.image());
        let (blocks, lane_step, lanes, first_lane) = (Vec::new(), 0, 0, 0);
        Self { pixels, runs, blocks, from_image, to_image, rows, lane_step, lanes, first_lane, reads, writes }
    }

    /// The output channels: how many, from which, and how far apart their weights are.
    fn with_lanes(mut self, lanes: usize, first_lane: usize, lane_step: usize) -> Self {
        (self.lanes, self.first_lane, self.lane_step) = (lanes, first_lane, lane_step);
        let (mut lane, mut weights, mut left) = (0, 0, lanes.div_ceil(LANES));
        while left > 0 {
            let vectors = match left {
                1 => 1,
                3 => 3,
                odd if odd % 2 == 1 => 3,
                _ => 2,
            };
            self.blocks.push(Block { vectors, lane, weights });
            lane += vectors * LANES;
            weights += vectors * LANES * self.rows.len();
            left -= vectors;
        }
        self.writes += first_lane + lane;
        self
    }

    /// Numbers of the packed weights.
    fn packed_len(&self) -> usize {
        self.rows.len() * self.lanes.next_multiple_of(LANES)
    }

    /// Calls `each` with the place in the packed weights and in ONNX's.
    fn each_weight(&self, mut each: impl FnMut(usize, usize)) {
        for block in &self.blocks {
            let lanes = block.lane..(block.lane + block.vectors * LANES).min(self.lanes);
            for (k, row) in self.rows.iter().enumerate() {
                let packed = block.weights + k * block.vectors * LANES;
                for (lane, channel) in lanes.clone().enumerate() {
                    each(packed + lane, *row as usize + channel * self.lane_step);
                }
            }
        }
    }
}

/// What the outputs are added to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing.
    Zero,
    /// What is there.
    Sum,
    /// One number a channel, padded to whole vectors.
    Bias(&'a [f32]),
}

struct Product<'a> {
    gather: &'a Gather,
    weights: &'a [f32],
    from: &'a [f32],
    to: &'a mut [f32],
    start: Start<'a>,
    images: Range<usize>,
}

impl Kernel for Product<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let g = self.gather;
        if g.pixels.is_empty() || self.images.is_empty() {
            return;
        }
        // Everything below reads and writes within these.
        let last = self.images.end - 1;
        assert!(last * g.from_image + g.reads <= self.from.len());
        assert!(last * g.to_image + g.writes <= self.to.len());
        assert!(g.packed_len() <= self.weights.len());
        if let Start::Bias(bias) = self.start {
            assert!(g.first_lane + g.lanes.next_multiple_of(LANES) <= bias.len());
        }
        let (from, to) = (self.from.as_ptr(), self.to.as_mut_ptr());
        for block in &g.blocks {
            let work = Tiles {
                gather: g,
                weights: self.weights[block.weights..].as_ptr(),
                from,
                // SAFETY: within `to`, as asserted.
                to: unsafe { to.add(g.first_lane + block.lane) },
                start: match self.start {
                    Start::Zero => None,
                    Start::Sum => Some(None),
                    Start::Bias(bias) => Some(Some(bias[g.first_lane + block.lane..].as_ptr())),
                },
            };
            // SAFETY: the extents were asserted above.
            unsafe {
                match block.vectors {
                    1 => work.all::<V, 1>(self.images.clone()),
                    2 => work.all::<V, 2>(self.images.clone()),
                    _ => work.all::<V, 3>(self.images.clone()),
                }
            }
        }
    }
}

/// One block's tiles.
struct Tiles<'a> {
    gather: &'a Gather,
    weights: *const f32,
    from: *const f32,
    to: *mut f32,
    start: Option<Option<*const f32>>,
}

/// Walks the pixels of several images in order.
struct Walk<'a> {
    pixels: &'a [Pixel],
    next: usize,
    from: *const f32,
    to: *mut f32,
    from_image: usize,
    to_image: usize,
}

impl Walk<'_> {
    /// # Safety
    /// There is another pixel, and the images' extents hold.
    #[inline(always)]
    unsafe fn step(&mut self) -> (*const f32, *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            if self.next == self.pixels.len() {
                self.next = 0;
                self.from = self.from.add(self.from_image);
                self.to = self.to.add(self.to_image);
            }
            let pixel = self.pixels.get_unchecked(self.next);
            self.next += 1;
            (self.from.add(pixel.from as usize), self.to.add(pixel.to as usize))
        }
    }
}

impl Tiles<'_> {
    /// # Safety
    /// The images lie within what `from` and `to` point to.
    #[inline(always)]
    unsafe fn all<V: Lanes, const NV: usize>(&self, images: Range<usize>) {
        let g = self.gather;
        let total = images.len() * g.pixels.len();
        // SAFETY: the caller's.
        unsafe {
            let mut walk = Walk {
                pixels: &g.pixels,
                next: 0,
                from: self.from.add(images.start * g.from_image),
                to: self.to.add(images.start * g.to_image),
                from_image: g.from_image,
                to_image: g.to_image,
            };
            for height in tiles(total, HEIGHT[NV]) {
                match height {
                    1 => self.tile::<V, 1, NV>(&mut walk),
                    2 => self.tile::<V, 2, NV>(&mut walk),
                    3 => self.tile::<V, 3, NV>(&mut walk),
                    4 => self.tile::<V, 4, NV>(&mut walk),
                    5 => self.tile::<V, 5, NV>(&mut walk),
                    6 => self.tile::<V, 6, NV>(&mut walk),
                    7 => self.tile::<V, 7, NV>(&mut walk),
                    _ => self.tile::<V, 8, NV>(&mut walk),
                }
            }
        }
    }

    /// `R` pixels by `NV` vectors of channels.
    ///
    /// # Safety
    /// As [`Tiles::all`], and there are `R` more pixels.
    #[inline(always)]
    unsafe fn tile<V: Lanes, const R: usize, const NV: usize>(&self, walk: &mut Walk<'_>) {
        if R > HEIGHT[NV] {
            return;
        }
        // SAFETY: the caller's; the packed weights hold `NV` vectors for each number of the runs.
        unsafe {
            let mut from = [std::ptr::null::<f32>(); R];
            let mut to = [std::ptr::null_mut::<f32>(); R];
            for r in 0..R {
                (from[r], to[r]) = walk.step();
            }
            let mut sums = [[V::splat(0.0); NV]; R];
            match self.start {
                None => {}
                Some(None) => {
                    for r in 0..R {
                        for (j, sum) in sums[r].iter_mut().enumerate() {
                            *sum = V::load_at(to[r].add(j * LANES));
                        }
                    }
                }
                Some(Some(bias)) => {
                    for j in 0..NV {
                        let bias = V::load_at(bias.add(j * LANES));
                        sums.iter_mut().for_each(|sums| sums[j] = bias);
                    }
                }
            }
            let mut weights = self.weights;
            for run in &self.gather.runs {
                for k in run.at..run.at + run.len {
                    let mut w = [V::splat(0.0); NV];
                    for (j, w) in w.iter_mut().enumerate() {
                        *w = V::load_at(weights.add(j * LANES));
                    }
                    weights = weights.add(NV * LANES);
                    for r in 0..R {
                        let x = V::splat(*from[r].add(k));
                        for j in 0..NV {
                            sums[r][j] = x.mul_add(w[j], sums[r][j]);
                        }
                    }
                }
            }
            for r in 0..R {
                for (j, sum) in sums[r].iter().enumerate() {
                    sum.store_at(to[r].add(j * LANES));
                }
            }
        }
    }
}

/// Splits a count into parts of at most `most`, as even as can be: a thin last tile would keep the
/// multipliers waiting.
#[inline(always)]
fn tiles(total: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = total.div_ceil(most);
    let (each, more) = (total / count.max(1), total % count.max(1));
    (0..count).map(move |i| if i < more { each + 1 } else { each })
}

/// The gradient of one gather's weights: for each number of the runs and each output channel, the sum
/// over all pixels of their product.
struct WeightGradient<'a> {
    gather: &'a Gather,
    lines: &'a Lines,
    x: &'a [f32],
    dy: &'a [f32],
    gradient: &'a mut [f32],
    images: Range<usize>,
}

/// The pixels of the input and of the output's gradient, and the end of what is read of each.
#[derive(Debug, Clone, Copy)]
struct Lines {
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

impl Lines {
    fn new(window: &Window, x: &Plane, dy: &Plane, gather: &Gather) -> Self {
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
