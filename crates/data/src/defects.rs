//! Defects drawn on good pictures, so that a network can learn what strange looks like without having seen a faulty
//! picture: pieces pasted elsewhere (Li et al. 2021, "CutPaste"), areas of another look with the outline of noise
//! (Zavrtanik et al. 2021, "DRAEM"), scratches, shades, pieces moved or blurred.

use crate::DataError;
use crate::rng::SplitMix;
use crate::sample::noise::{Noise, lerp};
use rayon::prelude::*;

/// How defects are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defects {
    /// Share of the pictures that get some, 0 to 1.
    pub share: f32,
    /// Least change of any channel, as a share of white, that counts as to be seen.
    pub least: f32,
    /// A cell's target is the share of it that is covered, times this, at most 1.
    pub gain: f32,
}

impl Default for Defects {
    /// On the sample's soap boxes shares of 0.5 and 0.9 learned worse: 0.934 and 0.947 of the area under the ROC curve beside
    /// 0.967 after 52 epochs.
    fn default() -> Self {
        Self { share: 0.7, least: 0.08, gain: 4.0 }
    }
}

/// One picture's planes, 0 to 1.
struct Planes<'a> {
    side: usize,
    values: &'a [f32],
}

impl Planes<'_> {
    /// The colour at a place, which may lie beyond the edge: the picture is repeated.
    fn at(&self, x: isize, y: isize) -> [f32; 3] {
        let side = self.side as isize;
        let place = (y.rem_euclid(side) * side + x.rem_euclid(side)) as usize;
        std::array::from_fn(|c| self.values[c * self.side * self.side + place])
    }

    fn mean(&self) -> [f32; 3] {
        let plane = self.side * self.side;
        std::array::from_fn(|c| self.values[c * plane..][..plane].iter().sum::<f32>() / plane as f32)
    }
}

impl Defects {
    /// Draws defects on a batch's pictures in place and gives where they are. What is drawn on a picture depends on the
    /// seed (see [`crate::epoch_seed`]), its place in the batch and the batch's pictures only.
    ///
    /// # Shapes
    /// `images` `[N, 3, resolution, resolution]`, normalised as `(x / 255 - mean) / std`; `mean` and `std` `[3]`; returns
    /// `[N, grid * grid]`, 0 to 1.
    ///
    /// # Errors
    /// [`DataError::BatchSize`] if the images are no such batch or the grid is finer than the pictures.
    pub fn draw(
        &self,
        images: &mut [f32],
        resolution: usize,
        grid: usize,
        mean: &[f32],
        std: &[f32],
        seed: u64,
    ) -> Result<Vec<f32>, DataError> {
        let (plane, cells) = (resolution * resolution, grid * grid);
        let whole = images.len() / (3 * plane).max(1);
        for (expected, given) in [(3, mean.len()), (3, std.len()), (whole * 3 * plane, images.len())] {
            if expected != given {
                return Err(DataError::BatchSize { expected, given });
            }
        }
        if cells == 0 || grid > resolution {
            return Err(DataError::BatchSize { expected: resolution, given: grid });
        }
        let plain = |value: f32, c: usize| (value * std[c] + mean[c]).clamp(0.0, 1.0);
        // Pieces come from pictures as they were before any was spoiled.
        let before: Vec<f32> = images.iter().enumerate().map(|(i, v)| plain(*v, i / plane % 3)).collect();
        let picture = |n: usize| Planes { side: resolution, values: &before[n * 3 * plane..][..3 * plane] };
        let mut targets = vec![0.0; whole * cells];
        images.par_chunks_exact_mut(3 * plane).zip(targets.par_chunks_exact_mut(cells)).enumerate().for_each(
            |(n, (image, target))| {
                let rng = &mut SplitMix::new(seed ^ 0xDEFE_C7ED, n as u64);
                if !rng.chance(self.share) {
                    return;
                }
                let mut values = picture(n).values.to_vec();
                let mut covered = vec![0.0f32; plane];
                for _ in 0..1 + usize::from(rng.chance(0.4)) + usize::from(rng.chance(0.2)) {
                    let other = picture(rng.below(whole));
                    self.one(&mut values, &mut covered, resolution, &other, rng);
                }
                for (i, (to, value)) in image.iter_mut().zip(&values).enumerate() {
                    *to = (value - mean[i / plane % 3]) / std[i / plane % 3];
                }
                pool(&covered, resolution, grid, target);
                target.iter_mut().for_each(|t| *t = (*t * self.gain).min(1.0));
            },
        );
        Ok(targets)
    }

    /// One defect; what of it is to be seen is covered.
    fn one(&self, values: &mut [f32], covered: &mut [f32], side: usize, other: &Planes<'_>, rng: &mut SplitMix) {
        let plane = side * side;
        let scratch = rng.chance(0.25);
        let mut mask = if scratch { scratch_mask(side, rng) } else { area_mask(side, rng) };
        if rng.chance(0.4) {
            mask.values = mask.blurred(&mask.values);
        }
        let opaque = if rng.chance(0.6) { rng.range(0.4, 1.0) } else { 1.0 };
        let before = values.to_vec();
        let own = Planes { side, values: &before };
        let fill = Fill::draw(&own, scratch, rng);
        let mut seen = vec![0.0f32; mask.values.len()];
        for (i, cover) in mask.values.iter().enumerate().filter(|(_, cover)| **cover > 0.0) {
            let (x, y) = (mask.left + i % mask.width, mask.top + i / mask.width);
            let colour = fill.colour(&own, other, x as isize, y as isize);
            let mut change = 0.0f32;
            for c in 0..3 {
                let value = &mut values[c * plane + y * side + x];
                let new = lerp(*value, colour[c].clamp(0.0, 1.0), cover * opaque);
                change = change.max((new - *value).abs());
                *value = new;
            }
            seen[i] = f32::from(u8::from(change > self.least));
        }
        // What looks as before is no defect, single pixels among others that changed are.
        for (i, _) in mask.blurred(&seen).into_iter().enumerate().filter(|(_, around)| *around > 0.3) {
            let covered = &mut covered[(mask.top + i / mask.width) * side + mask.left + i % mask.width];
            *covered = covered.max(mask.values[i]);
        }
    }
}

/// What a defect is filled with.
enum Fill {
    /// A piece from elsewhere, of the same picture or another, turned by quarters, brighter or darker.
    Piece { own: bool, shift: [isize; 2], turn: usize, gain: f32, offset: f32 },
    /// One colour.
    Colour([f32; 3]),
    /// The same, lighter or darker.
    Shade(f32),
    /// Noise about a colour.
    Grain { colour: [f32; 3], strength: f32, scale: f32, noise: Noise },
    /// The mean of so many pixels each way.
    Blur(isize),
}

impl Fill {
    fn draw(own: &Planes<'_>, scratch: bool, rng: &mut SplitMix) -> Self {
        let side = own.side;
        let any = |rng: &mut SplitMix| [rng.below(side) as isize, rng.below(side) as isize];
        match rng.unit() {
            p if p < 0.4 => {
                let gain = if rng.chance(0.5) { rng.range(0.7, 1.3) } else { 1.0 };
                let offset = if rng.chance(0.5) { rng.range(-0.1, 0.1) } else { 0.0 };
                Self::Piece { own: p < 0.2, shift: any(rng), turn: rng.below(4), gain, offset }
            }
            p if p < 0.6 => Self::Shade(rng.range(0.12, 0.8).exp().powf(if rng.chance(0.5) { 1.0 } else { -1.0 })),
            p if p < 0.7 => {
                let (strength, scale) = (rng.range(0.1, 0.5), rng.range(0.12, 0.5));
                Self::Grain { colour: own.mean(), strength, scale, noise: Noise(rng.next()) }
            }
            p if p < 0.8 && !scratch => {
                let reach = side as f32 / 6.0;
                let shift = [rng.range(-reach, reach) as isize, rng.range(-reach, reach) as isize];
                Self::Piece { own: true, shift, turn: 0, gain: 1.0, offset: 0.0 }
            }
            p if p < 0.85 && !scratch => Self::Blur(side as isize / 16 + 1),
            _ => match rng.below(4) {
                0 => Self::Colour(std::array::from_fn(|_| rng.unit())),
                1 => Self::Colour([rng.unit(); 3]),
                _ => {
                    let [x, y] = any(rng);
                    Self::Colour(own.at(x, y))
                }
            },
        }
    }

    fn colour(&self, own: &Planes<'_>, other: &Planes<'_>, x: isize, y: isize) -> [f32; 3] {
        match self {
            Self::Piece { own: from_own, shift, turn, gain, offset } => {
                let (x, y) = match turn {
                    0 => (x, y),
                    1 => (y, -x),
                    2 => (-x, -y),
                    _ => (-y, x),
                };
                let from = if *from_own { own } else { other };
                from.at(x + shift[0], y + shift[1]).map(|v| v * gain + offset)
            }
            Self::Colour(colour) => *colour,
            Self::Shade(factor) => own.at(x, y).map(|v| v * factor),
            Self::Grain { colour, strength, scale, noise } => {
                let grain = strength * noise.at(x as f32 * scale, y as f32 * scale);
                colour.map(|v| v + grain)
            }
            Self::Blur(reach) => {
                let offsets = [-reach, 0, *reach];
                let sum = offsets.iter().flat_map(|dy| offsets.map(|dx| own.at(x + dx, y + dy)));
                sum.fold([0.0; 3], |sum, v| std::array::from_fn(|c| sum[c] + v[c] / 9.0))
            }
        }
    }
}

/// Uniform in the logarithm, so that small ones are as frequent as large ones.
fn log_range(rng: &mut SplitMix, low: f32, high: f32) -> f32 {
    rng.range(low.ln(), high.ln()).exp()
}

/// How much of each pixel a shape covers, in the part of the picture that it lies in.
struct Mask {
    left: usize,
    top: usize,
    width: usize,
    values: Vec<f32>,
}

impl Mask {
    /// By a shape's depth inside its outline, in shares of the side; nothing of it is further than `reach` from its middle.
    fn by(side: usize, middle: [f32; 2], reach: f32, depth: impl Fn(f32, f32) -> f32) -> Self {
        let scale = side as f32;
        // A little more, for what is blurred.
        let span = |at: f32| {
            let low = ((at - reach) * scale - 2.0).max(0.0) as usize;
            low..(((at + reach) * scale + 3.0).max(0.0) as usize).min(side)
        };
        let (columns, rows) = (span(middle[0]), span(middle[1]));
        let place = |i: usize| (i as f32 + 0.5) / scale;
        let row = |y: usize| {
            let depth = &depth;
            columns.clone().map(move |x| (depth(place(x), place(y)) * scale + 0.5).clamp(0.0, 1.0))
        };
        let values = rows.clone().flat_map(row).collect();
        Self { left: columns.start, top: rows.start, width: columns.len(), values }
    }

    /// The mean of each of its pixels and its neighbours, the edge repeated.
    fn blurred(&self, values: &[f32]) -> Vec<f32> {
        let (width, height) = (self.width, values.len() / self.width.max(1));
        let line = |get: &dyn Fn(usize) -> f32, count: usize, out: &mut dyn FnMut(usize, f32)| {
            for i in 0..count {
                out(i, (get(i.saturating_sub(1)) + get(i) + get((i + 1).min(count - 1))) / 3.0);
            }
        };
        let mut across = vec![0.0; values.len()];
        for y in 0..height {
            line(&|x| values[y * width + x], width, &mut |x, mean| across[y * width + x] = mean);
        }
        let mut both = vec![0.0; values.len()];
        for x in 0..width {
            line(&|y| across[y * width + x], height, &mut |y, mean| both[y * width + x] = mean);
        }
        both
    }
}

/// A turned rectangle, or a blob with the outline of noise.
fn area_mask(side: usize, rng: &mut SplitMix) -> Mask {
    let [cx, cy] = [rng.range(0.05, 0.95), rng.range(0.05, 0.95)];
    if rng.chance(0.53) {
        let (half_u, half_v) = (log_range(rng, 0.04, 0.3), log_range(rng, 0.04, 0.3));
        let angle = if rng.chance(0.5) { rng.range(0.0, std::f32::consts::PI) } else { 0.0 };
        let (sin, cos) = angle.sin_cos();
        return Mask::by(side, [cx, cy], half_u.hypot(half_v), |x, y| {
            let (dx, dy) = (x - cx, y - cy);
            (half_u - (dx * cos + dy * sin).abs()).min(half_v - (dy * cos - dx * sin).abs())
        });
    }
    let (radius, stretch) = (log_range(rng, 0.02, 0.3), rng.range(-0.5, 0.5).exp());
    let (noise, cells) = (Noise(rng.next()), rng.range(2.0, 9.0));
    let depth = |x: f32, y: f32| {
        let away = (x - cx).hypot((y - cy) * stretch);
        // Further out no noise reaches.
        if away > 1.7 * radius {
            return -1.0;
        }
        radius * (1.0 + 0.5 * noise.at(x * cells, y * cells)) - away
    };
    Mask::by(side, [cx, cy], 1.5 * radius * (1.0 / stretch).max(1.0), depth)
}

/// A thin, more or less wavy line.
fn scratch_mask(side: usize, rng: &mut SplitMix) -> Mask {
    let [cx, cy] = [rng.range(0.05, 0.95), rng.range(0.05, 0.95)];
    let (sin, cos) = rng.range(0.0, std::f32::consts::PI).sin_cos();
    let (length, width) = (log_range(rng, 0.06, 0.5), rng.range(0.25, 1.5) / 64.0);
    let (noise, cells, wave) = (Noise(rng.next()), rng.range(3.0, 8.0), rng.range(0.0, 0.1));
    Mask::by(side, [cx, cy], length + width + wave, |x, y| {
        let (dx, dy) = (x - cx, y - cy);
        let straight = dy * cos - dx * sin;
        if straight.abs() > 1.2 * wave + 2.0 * width {
            return -1.0;
        }
        let across = straight + wave * noise.at(x * cells, y * cells);
        (length - (dx * cos + dy * sin).abs()).min(width - across.abs())
    })
}

/// The mean over each cell of a grid; a pixel between two cells counts for both.
fn pool(values: &[f32], side: usize, grid: usize, out: &mut [f32]) {
    let range = |cell: usize| cell * side / grid..((cell + 1) * side).div_ceil(grid);
    for (i, to) in out.iter_mut().enumerate() {
        let (rows, columns) = (range(i / grid), range(i % grid));
        let count = rows.len() * columns.len();
        let sum: f32 = rows.flat_map(|y| values[y * side..][columns.clone()].iter()).sum();
        *to = sum / count as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    const STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// Pictures of smooth noise, normalised.
    fn batch(count: usize, side: usize) -> Vec<f32> {
        let value = |i: usize| {
            let (plane, place) = (i / (side * side), i % (side * side));
            let noise = Noise(plane as u64);
            0.5 + 0.3 * noise.at((place % side) as f32 * 0.2, (place / side) as f32 * 0.2)
        };
        (0..count * 3 * side * side)
            .map(|i| (value(i) - MEAN[i / (side * side) % 3]) / STD[i / (side * side) % 3])
            .collect()
    }

    #[test]
    fn targets_say_what_changed() {
        let (side, grid, count) = (32, 8, 200);
        let before = batch(count, side);
        let mut after = before.clone();
        let defects = Defects::default();
        let targets = defects.draw(&mut after, side, grid, &MEAN, &STD, 3).unwrap();
        assert_eq!(targets.len(), count * grid * grid);
        let (mut spoiled, mut outside) = (0, 0);
        for n in 0..count {
            let target = &targets[n * grid * grid..][..grid * grid];
            let mut change = vec![0.0f32; side * side];
            for (i, (a, b)) in before[n * 3 * side * side..].iter().zip(&after[n * 3 * side * side..]).enumerate() {
                if i < 3 * side * side {
                    let place = i % (side * side);
                    change[place] = change[place].max((a - b).abs() * STD[i / (side * side)]);
                }
            }
            spoiled += usize::from(target.iter().any(|t| *t > 0.0));
            let cell = |place: usize| place / side * grid / side * grid + place % side * grid / side;
            // A cell with a target has been changed, and what was changed much is in a cell with a target.
            for (c, t) in target.iter().enumerate() {
                let most = (0..side * side).filter(|p| cell(*p) == c).map(|p| change[p]).fold(0.0, f32::max);
                assert!(*t < 0.5 || most > 0.01, "picture {n}, cell {c}: {t} but {most}");
                outside += usize::from(*t == 0.0 && most > 0.2);
            }
        }
        assert!((0.5..0.72).contains(&(spoiled as f32 / count as f32)), "{spoiled}");
        assert!(outside < 20, "{outside}");
    }

    #[test]
    fn untouched_pictures_stay_as_they_are() {
        let before = batch(4, 24);
        let mut after = before.clone();
        let none = Defects { share: 0.0, ..Defects::default() };
        assert!(none.draw(&mut after, 24, 6, &MEAN, &STD, 3).unwrap().iter().all(|t| *t == 0.0));
        assert_eq!(before, after);
    }

    #[test]
    fn the_seed_decides() {
        let draw = |seed| {
            let mut images = batch(6, 24);
            let targets = Defects { share: 1.0, ..Defects::default() }.draw(&mut images, 24, 6, &MEAN, &STD, seed);
            (images, targets.unwrap())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn cells_by_hand() {
        let mut out = [0.0; 4];
        pool(&[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0], 4, 2, &mut out);
        assert_eq!(out, [0.75, 0.0, 0.0, 0.5]);
        // Three pixels in two cells: the middle one counts for both.
        pool(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0], 3, 2, &mut out);
        assert_eq!(out, [1.5, 2.5, 1.5, 2.5]);
    }

    #[test]
    fn a_batch_of_another_size_is_refused() {
        let mut images = vec![0.0; 100];
        let defects = Defects::default();
        assert!(matches!(defects.draw(&mut images, 8, 4, &MEAN, &STD, 0), Err(DataError::BatchSize { .. })));
        let mut images = batch(1, 8);
        assert!(matches!(defects.draw(&mut images, 8, 9, &MEAN, &STD, 0), Err(DataError::BatchSize { .. })));
        assert!(matches!(defects.draw(&mut images, 8, 4, &[0.5], &STD, 0), Err(DataError::BatchSize { .. })));
    }
}
