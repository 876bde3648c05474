//! The product that forward and the input's gradient share: pixels that gather runs of numbers, times weights.

use crate::lanes::{Kernel, LANES, Lanes};
use crate::plane::Plane;
use crate::window::Grid;
use std::ops::Range;

/// Most pixels (or rows of the weights' gradient) by vectors whose sums fit in sixteen registers,
/// beside the vectors and one broadcast: 8x1, 6x2, 4x3.
pub(super) const HEIGHT: [usize; 4] = [0, 8, 6, 4];

/// Numbers that lie one after another in the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) at: usize,
    pub(super) len: usize,
}

/// Where an output pixel reads and is written, in its own image.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    from: u32,
    to: u32,
}

/// A few vectors of output channels and where their weights begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) vectors: usize,
    pub(super) lane: usize,
    pub(super) weights: usize,
}

/// One gathering product: which runs each pixel reads, and which weight meets each number.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    pixels: Vec<Pixel>,
    pub(super) runs: Vec<Run>,
    pub(super) blocks: Vec<Block>,
    from_image: usize,
    to_image: usize,
    /// For each number of the runs, the place of its weight for the first output channel.
    rows: Vec<u32>,
    /// From an output channel's weight to the next one's.
    lane_step: usize,
    pub(super) lanes: usize,
    /// The first output channel among the pixel's.
    pub(super) first_lane: usize,
    /// The end of what is read and written for the first image.
    reads: usize,
    writes: usize,
}

impl Gather {
    pub(super) fn new(from: &Plane, to: &Plane, grid: &Grid, runs: Vec<Run>, rows: Vec<u32>) -> Self {
        let (reads, writes) = grid.last().unwrap_or_default();
        let reads = reads + runs.iter().map(|run| run.at + run.len).max().unwrap_or(0);
        let pixels = grid.pixels().map(|(from, to)| Pixel { from: from as u32, to: to as u32 }).collect();
        let (from_image, to_image) = (from.image(), to.image());
        let (blocks, lane_step, lanes, first_lane) = (Vec::new(), 0, 0, 0);
        Self { pixels, runs, blocks, from_image, to_image, rows, lane_step, lanes, first_lane, reads, writes }
    }

    /// The output channels: how many, from which, and how far apart their weights are.
    pub(super) fn with_lanes(mut self, lanes: usize, first_lane: usize, lane_step: usize) -> Self {
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
    pub(super) fn packed_len(&self) -> usize {
        self.rows.len() * self.lanes.next_multiple_of(LANES)
    }

    /// Calls `each` with the place in the packed weights and in ONNX's.
    pub(super) fn each_weight(&self, mut each: impl FnMut(usize, usize)) {
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

pub(super) struct Product<'a> {
    pub(super) gather: &'a Gather,
    pub(super) weights: &'a [f32],
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
    pub(super) start: Start<'a>,
    pub(super) images: Range<usize>,
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
pub(super) fn tiles(total: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = total.div_ceil(most);
    let (each, more) = (total / count.max(1), total % count.max(1));
    (0..count).map(move |i| if i < more { each + 1 } else { each })
}
