//! The one resize of the whole project: antialiased bilinear to a square, in floats.

use image::RgbImage;

/// Scales to `size`x`size`, ignoring the aspect ratio. Returns `[size, size, 3]` (height, width,
/// RGB), 0 to 255, not rounded.
///
/// Each axis is a weighted mean with a triangle filter whose half-width is `max(scale, 1)` source
/// pixels, pixel centres at +0.5, weights cut at the borders and normalised to sum 1. The exported
/// files carry the same as two matrix products; Pillow's `BILINEAR` is the same but for its
/// rounding.
pub fn resize_f32(image: &RgbImage, size: usize) -> Vec<f32> {
    resize_all(image, &[size]).pop().unwrap_or_default()
}

/// Scales to several sizes while reading the image once.
pub(crate) fn resize_all(image: &RgbImage, sizes: &[usize]) -> Vec<Vec<f32>> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let row_len = width * 3;
    let mut down: Vec<Axis> = sizes.iter().map(|size| Axis::new(height, *size)).collect();
    let mut squeezed: Vec<Vec<f32>> = sizes.iter().map(|size| vec![0.0; size * row_len]).collect();
    let mut row = vec![0.0f32; row_len];
    for (y, bytes) in image.as_raw().chunks_exact(row_len.max(1)).enumerate() {
        for (to, from) in row.iter_mut().zip(bytes) {
            *to = f32::from(*from);
        }
        for (axis, rows) in down.iter_mut().zip(&mut squeezed) {
            // A source row reaches a run of neighbouring outputs that moves down as y grows.
            while axis.first < axis.taps.len() && axis.taps[axis.first].end() <= y {
                axis.first += 1;
            }
            for (out, taps) in axis.taps.iter().enumerate().skip(axis.first) {
                if taps.start > y {
                    break;
                }
                let Some(weight) = taps.weights.get(y - taps.start).copied() else { continue };
                for (to, from) in rows[out * row_len..][..row_len].iter_mut().zip(&row) {
                    *to += weight * from;
                }
            }
        }
    }
    sizes.iter().zip(squeezed).map(|(size, rows)| squeeze_rows(&rows, width, *size)).collect()
}

/// Scales each of the rows to `size` pixels.
fn squeeze_rows(rows: &[f32], width: usize, size: usize) -> Vec<f32> {
    let across = Axis::new(width, size);
    let mut out = Vec::with_capacity(size * size * 3);
    for row in rows.chunks_exact((width * 3).max(1)) {
        for taps in &across.taps {
            let mut sum = [0.0f32; 3];
            for (weight, pixel) in taps.weights.iter().zip(row[taps.start * 3..].chunks_exact(3)) {
                for c in 0..3 {
                    sum[c] += weight * pixel[c];
                }
            }
            out.extend_from_slice(&sum);
        }
    }
    out
}

/// The source pixels that make one output pixel.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.start + self.weights.len()
    }
}

/// One axis of a resize.
struct Axis {
    taps: Vec<Taps>,
    /// The first output that rows still to come may reach.
    first: usize,
}

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let support = scale.max(1.0);
        let taps = (0..to).map(|out| {
            let centre = (out as f64 + 0.5) * scale;
            let start = ((centre - support - 0.5).floor().max(0.0)) as usize;
            let end = ((centre + support + 0.5).ceil() as usize).min(from);
            let mut weights: Vec<f64> =
                (start..end).map(|i| (1.0 - ((i as f64 + 0.5 - centre) / support).abs()).max(0.0)).collect();
            let leading = weights.iter().take_while(|w| **w == 0.0).count();
            weights.drain(..leading);
            let kept = weights.len() - weights.iter().rev().take_while(|w| **w == 0.0).count();
            weights.truncate(kept);
            let sum: f64 = weights.iter().sum();
            Taps { start: start + leading, weights: weights.iter().map(|w| (w / sum) as f32).collect() }
        });
        Self { taps: taps.collect(), first: 0 }
    }
}

/// Rounds to whole levels.
pub(crate) fn to_u8(values: &[f32]) -> Vec<u8> {
    values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix;
    use fast_image_resize as fir;

    fn noisy(width: u32, height: u32) -> RgbImage {
        let mut rng = SplitMix::new(u64::from(width), u64::from(height));
        RgbImage::from_fn(width, height, |_, _| image::Rgb(std::array::from_fn(|_| rng.below(256) as u8)))
    }

    #[test]
    fn agrees_with_an_independent_implementation() {
        for (width, height, size) in
            [(275, 183, 32), (64, 64, 64), (7, 5, 24), (1, 300, 48), (97, 31, 96), (640, 480, 24)]
        {
            let image = noisy(width, height);
            let floats: Vec<f32> = image.as_raw().iter().map(|v| f32::from(*v)).collect();
            let bytes: Vec<u8> = floats.iter().flat_map(|v| v.to_ne_bytes()).collect();
            let source = fir::images::Image::from_vec_u8(width, height, bytes, fir::PixelType::F32x3).unwrap();
            let mut target = fir::images::Image::new(size, size, fir::PixelType::F32x3);
            let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear));
            fir::Resizer::new().resize(&source, &mut target, &options).unwrap();
            let ours = resize_f32(&image, size as usize);
            let theirs = target.buffer().chunks_exact(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap()));
            for (a, b) in ours.iter().zip(theirs) {
                assert!((a - b).abs() < 2e-3, "{width}x{height} to {size}: {a} and {b}");
            }
        }
    }

    #[test]
    fn several_sizes_at_once_are_the_same_as_each_alone() {
        let image = noisy(131, 77);
        for (size, all) in crate::RESOLUTIONS.iter().zip(resize_all(&image, crate::RESOLUTIONS)) {
            assert_eq!(all, resize_f32(&image, *size));
        }
    }

    #[test]
    fn an_image_of_the_wanted_size_is_left_as_it_is() {
        let image = noisy(32, 32);
        assert_eq!(to_u8(&resize_f32(&image, 32)), *image.as_raw());
    }
}
