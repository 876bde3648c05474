//! Batches: from the packed cache with augmentation for training, from the originals for
//! measurements that must agree with the exported files.

use crate::rng::{SplitMix, mix};
use crate::{DataError, Dataset, LabelledBox, resize_f32};
use rayon::prelude::*;

/// How training pictures are varied. All zero and false: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Augment {
    /// Mirror left and right, half of the time.
    pub flip: bool,
    /// Shift and zoom: up to this share of the side, 0 to 0.5.
    pub crop: f32,
    /// Strength of changes of brightness, contrast, saturation and tint, 0 to 1.
    pub colour: f32,
    /// Side of a square that is blanked out, as a share of the picture's, 0 to 1
    /// (DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with
    /// cutout").
    pub cutout: f32,
}

impl Augment {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The seed to hand to [`BatchSource::fill`] in an epoch, so that a picture is varied anew in each.
pub fn epoch_seed(seed: u64, epoch: u32) -> u64 {
    mix(seed ^ mix(u64::from(epoch).wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

/// Fills batches from a data set's packed caches.
#[derive(Clone, Copy)]
pub struct BatchSource<'a> {
    dataset: &'a Dataset,
}

impl<'a> BatchSource<'a> {
    /// Batches of this data set.
    pub fn new(dataset: &'a Dataset) -> Self {
        Self { dataset }
    }

    /// Writes the pictures of `picks` (example, label) at a resolution to `out`, normalised as
    /// `(x / 255 - mean) / std`.
    ///
    /// With `augment`, each picture is varied by the seed (see [`epoch_seed`]) and its own number
    /// only: the same in any batch, at any place, with any number of threads.
    ///
    /// # Shapes
    /// `mean` and `std` `[3]`, `out` `[picks, 3, resolution, resolution]`.
    ///
    /// # Errors
    /// [`DataError::UnknownResolution`], [`DataError::UnknownExample`], [`DataError::BatchSize`].
    pub fn fill(
        &self,
        picks: &[(usize, usize)],
        resolution: usize,
        mean: &[f32],
        std: &[f32],
        augment: Option<(&Augment, u64)>,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let cache = self.dataset.cache(resolution)?;
        let norm = Normalise::new(mean, std)?;
        let len = 3 * resolution * resolution;
        check_size(picks.len() * len, out.len())?;
        let augment = augment.filter(|(augment, _)| !augment.is_nothing());
        out.par_chunks_exact_mut(len).with_min_len(8).zip(picks).try_for_each(|(out, (index, _))| {
            let count = self.dataset.manifest().examples.len();
            let pixels =
                cache.get(index * len..(index + 1) * len).ok_or(DataError::UnknownExample { index: *index, count })?;
            match augment {
                None => norm.write(pixels.iter().map(|v| f32::from(*v)), out),
                Some((augment, seed)) => {
                    Variation::draw(augment, seed, *index, resolution).paint(pixels, resolution, &norm, out);
                }
            }
            Ok(())
        })
    }

    /// [`Self::fill`] for pictures with boxes (example, boxes as in [`crate::BoxView`]): the same pictures, and where each
    /// one's boxes lie in what was written, in shares of its sides. Boxes are flipped, shifted and scaled with their
    /// picture and cut off at its edge; one of which less than 30% is left to be seen, outside the edge and the hole
    /// taken off, is left out.
    ///
    /// # Shapes
    /// As [`Self::fill`]; returns `[picks]`.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_boxes(
        &self,
        picks: &[(usize, &[LabelledBox])],
        resolution: usize,
        mean: &[f32],
        std: &[f32],
        augment: Option<(&Augment, u64)>,
        out: &mut [f32],
    ) -> Result<Vec<Vec<LabelledBox>>, DataError> {
        let examples: Vec<(usize, usize)> = picks.iter().map(|(index, _)| (*index, 0)).collect();
        self.fill(&examples, resolution, mean, std, augment, out)?;
        // The same numbers are drawn again: that is little beside the painting.
        let augment = augment.filter(|(augment, _)| !augment.is_nothing());
        Ok(picks
            .iter()
            .map(|(index, boxes)| match augment {
                None => boxes.to_vec(),
                Some((augment, seed)) => {
                    let variation = Variation::draw(augment, seed, *index, resolution);
                    boxes.iter().filter_map(|one| variation.carry(one, resolution)).collect()
                }
            })
            .collect())
    }
}

/// The share of a box that must be left to be seen.
const LEAST_SEEN: f32 = 0.3;

/// The pictures of `picks` by the exact float path from their originals: what the exported files
/// compute, without the cache's rounding. Decoded in parallel.
///
/// # Shapes
/// `mean` and `std` `[3]`; returns `[picks, 3, resolution, resolution]`.
///
/// # Errors
/// [`DataError::UnknownExample`], [`DataError::BatchSize`], and those of [`Dataset::image`].
pub fn load_exact(
    dataset: &Dataset,
    picks: &[(usize, usize)],
    resolution: usize,
    mean: &[f32],
    std: &[f32],
) -> Result<Vec<f32>, DataError> {
    let norm = Normalise::new(mean, std)?;
    let len = 3 * resolution * resolution;
    let mut out = vec![0.0; picks.len() * len];
    out.par_chunks_exact_mut(len.max(1)).zip(picks).try_for_each(|(out, (index, _))| {
        let pixels = resize_f32(&dataset.image(*index)?, resolution);
        norm.write(pixels.into_iter(), out);
        Ok::<(), DataError>(())
    })?;
    Ok(out)
}

fn check_size(expected: usize, given: usize) -> Result<(), DataError> {
    if expected == given { Ok(()) } else { Err(DataError::BatchSize { expected, given }) }
}

/// `value * scale + shift` for each channel.
struct Normalise {
    scale: [f32; 3],
    shift: [f32; 3],
}

impl Normalise {
    fn new(mean: &[f32], std: &[f32]) -> Result<Self, DataError> {
        check_size(3, mean.len())?;
        check_size(3, std.len())?;
        Ok(Self {
            scale: std::array::from_fn(|c| 1.0 / (255.0 * std[c])),
            shift: std::array::from_fn(|c| -mean[c] / std[c]),
        })
    }

    /// Interleaved pixels to normalised planes.
    fn write(&self, pixels: impl Iterator<Item = f32>, out: &mut [f32]) {
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let mut pixels = pixels;
        for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
            for (c, to) in [r, g, b].into_iter().enumerate() {
                *to = pixels.next().unwrap_or_default() * self.scale[c] + self.shift[c];
            }
        }
    }
}

/// Where an output row or column looks: two source places and the weight of the second.
#[derive(Clone, Copy)]
struct Look {
    near: usize,
    far: usize,
    weight: f32,
}

/// The widest resolution; looks are kept on the stack.
const WIDEST: usize = 160;

/// How one axis is looked at: zoomed about the middle, shifted, perhaps mirrored, edges repeated.
struct Axis {
    scale: f32,
    shift: f32,
    mirror: bool,
}

impl Axis {
    fn looks(&self, size: usize) -> [Look; WIDEST] {
        let middle = size as f32 / 2.0;
        let last = size.saturating_sub(1);
        std::array::from_fn(|i| {
            let i = if self.mirror { size as f32 - 1.0 - i as f32 } else { i as f32 };
            let at = ((i + 0.5 - middle) * self.scale + middle + self.shift - 0.5).clamp(0.0, last as f32);
            let near = at as usize;
            Look { near, far: (near + 1).min(last), weight: at - near as f32 }
        })
    }

    /// Where a stretch of the picture, in shares of its side, lies in what is painted: the looks the other way round.
    fn carry(&self, start: f32, length: f32, size: usize) -> (f32, f32) {
        let seen = |at: f32| {
            let at = (at - 0.5 - self.shift / size as f32) / self.scale + 0.5;
            if self.mirror { 1.0 - at } else { at }
        };
        let (a, b) = (seen(start), seen(start + length));
        (a.min(b), a.max(b))
    }
}

/// How one picture is varied.
struct Variation {
    columns: Axis,
    rows: Axis,
    colour: Colour,
    /// Columns and rows that are blanked out.
    hole: [std::ops::Range<usize>; 2],
}

impl Variation {
    fn draw(augment: &Augment, seed: u64, index: usize, size: usize) -> Self {
        // Every number is drawn whether it is used or not, so that switching one kind of variation off
        // leaves the others as they were.
        let rng = &mut SplitMix::new(seed, index as u64);
        let mirror = rng.chance(0.5) && augment.flip;
        let crop = augment.crop.clamp(0.0, 0.5);
        let zoom = 1.0 + crop * rng.range(-1.0, 0.5);
        let stretch = 1.0 + 0.3 * crop * rng.range(-1.0, 1.0);
        let shift = [rng.range(-1.0, 1.0), rng.range(-1.0, 1.0)].map(|u| u * crop * 0.5 * size as f32);
        let colour = Colour::draw(augment.colour.clamp(0.0, 1.0), rng);
        let side = augment.cutout.clamp(0.0, 1.0) * size as f32;
        let hole = [rng.unit(), rng.unit()].map(|u| u * size as f32);
        let hole =
            hole.map(|centre| (centre - side / 2.0).round().max(0.0) as usize..(centre + side / 2.0).round() as usize);
        Self {
            columns: Axis { scale: zoom * stretch, shift: shift[0], mirror },
            rows: Axis { scale: zoom / stretch, shift: shift[1], mirror: false },
            colour,
            hole,
        }
    }

    /// Where a box lies in what is painted, or nothing if too little of it is to be seen.
    fn carry(&self, one: &LabelledBox, size: usize) -> Option<LabelledBox> {
        let (left, right) = self.columns.carry(one.x, one.width, size);
        let (top, bottom) = self.rows.carry(one.y, one.height, size);
        let whole = (right - left) * (bottom - top);
        let (x, y) = (left.clamp(0.0, 1.0), top.clamp(0.0, 1.0));
        let (right, bottom) = (right.clamp(0.0, 1.0), bottom.clamp(0.0, 1.0));
        let [across, down] = [(x, right, &self.hole[0]), (y, bottom, &self.hole[1])].map(|(from, to, hole)| {
            let [start, end] = [hole.start, hole.end].map(|at| at as f32 / size as f32);
            (to.min(end) - from.max(start)).max(0.0)
        });
        let (width, height) = (right - x, bottom - y);
        let is_seen = width * height - across * down >= LEAST_SEEN * whole;
        (is_seen && width > 0.0 && height > 0.0).then_some(LabelledBox { class: one.class, x, y, width, height })
    }

    /// One pass: sample, colour, blank out, normalise, and lay out as planes.
    fn paint(&self, pixels: &[u8], size: usize, norm: &Normalise, out: &mut [f32]) {
        let (columns, rows) = (self.columns.looks(size), self.rows.looks(size));
        let (colour, hole) = (&self.colour, &self.hole);
        let plane = size * size;
        let mut line = [0.0f32; 3 * WIDEST];
        let mut sampled = [[0.0f32; WIDEST]; 3];
        for (y, row) in rows.iter().enumerate().take(size) {
            // Down the columns first, which are neighbours in memory; then along the row, which is short.
            let upper = &pixels[row.near * size * 3..][..size * 3];
            let lower = &pixels[row.far * size * 3..][..size * 3];
            for ((to, upper), lower) in line.iter_mut().zip(upper).zip(lower) {
                *to = blend(f32::from(*upper), f32::from(*lower), row.weight);
            }
            for (x, column) in columns.iter().enumerate().take(size) {
                let (a, b) = (&line[column.near * 3..][..3], &line[column.far * 3..][..3]);
                for c in 0..3 {
                    sampled[c][x] = blend(a[c], b[c], column.weight);
                }
            }
            let [red, green, blue] = &sampled;
            let (reds, rest) = out.split_at_mut(plane);
            let (greens, blues) = rest.split_at_mut(plane);
            let rows = [reds, greens, blues].map(|channel| &mut channel[y * size..][..size]);
            let [reds, greens, blues] = rows;
            let seen = red.iter().zip(green).zip(blue);
            for (((red, green), blue), to) in seen.zip(reds.iter_mut().zip(greens).zip(blues)) {
                let rgb = colour.apply([*red, *green, *blue]);
                let ((r, g), b) = to;
                for (c, to) in [r, g, b].into_iter().enumerate() {
                    *to = rgb[c] * norm.scale[c] + norm.shift[c];
                }
            }
        }
        // A hole is the mean colour, which is 0 once normalised.
        for y in hole[1].start.min(size)..hole[1].end.min(size) {
            for channel in out.chunks_exact_mut(plane) {
                channel[y * size + hole[0].start.min(size)..y * size + hole[0].end.min(size)].fill(0.0);
            }
        }
    }
}

fn blend(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

/// An affine change of colours.
struct Colour {
    saturation: f32,
    gain: [f32; 3],
    offset: f32,
}

impl Colour {
    fn draw(strength: f32, rng: &mut SplitMix) -> Self {
        let mut about_one = |spread: f32| 1.0 + spread * strength * rng.range(-1.0, 1.0);
        let (brightness, contrast, saturation) = (about_one(0.4), about_one(0.4), about_one(0.5));
        let tint = [about_one(0.1), about_one(0.1), about_one(0.1)];
        Self {
            saturation,
            gain: tint.map(|t| t * brightness * contrast),
            // Contrast turns about middle grey.
            offset: 127.5 * (1.0 - contrast),
        }
    }

    fn apply(&self, rgb: [f32; 3]) -> [f32; 3] {
        let grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
        std::array::from_fn(|c| {
            ((grey + self.saturation * (rgb[c] - grey)) * self.gain[c] + self.offset).clamp(0.0, 255.0)
        })
    }
}
