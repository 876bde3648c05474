//! The one definition of preprocessing, written plainly: what every exported file must do to an image
//! before the network sees it. Used to judge the files that carry no preprocessing of their own.

use crate::ExportError;
use kindling_graph::{InputSpec, Tensor};

/// Checks that `rgb` is `height * width * 3` bytes of at least one pixel.
pub(crate) fn check_image(rgb: &[u8], width: usize, height: usize) -> Result<(), ExportError> {
    if width == 0 || height == 0 {
        return Err(ExportError::Image(format!("it is {width} x {height} pixels; it needs at least one")));
    }
    match width.checked_mul(height).and_then(|n| n.checked_mul(3)) {
        Some(n) if n == rgb.len() => Ok(()),
        _ => Err(ExportError::Image(format!(
            "{width} x {height} RGB pixels take {} bytes, {} were given",
            width.saturating_mul(height).saturating_mul(3),
            rgb.len()
        ))),
    }
}

/// The rows of weights that make `output` samples of `input` ones: an antialiased triangle filter
/// whose half-width is the scale when shrinking and one pixel when growing, sample centres at +0.5,
/// each row normalised to sum 1. Row-major `[output, input]`.
fn triangle(input: usize, output: usize) -> Vec<f64> {
    let scale = input as f64 / output as f64;
    let support = scale.max(1.0);
    let mut weights = vec![0.0; input * output];
    for (o, row) in weights.chunks_exact_mut(input).enumerate() {
        let centre = (o as f64 + 0.5) * scale - 0.5;
        for (i, weight) in row.iter_mut().enumerate() {
            *weight = (1.0 - (i as f64 - centre).abs() / support).max(0.0);
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
    weights
}

/// One image as the network's input `[1, 3, height, width]`: resized without regard to its aspect,
/// not rounded, divided by 255, normalised.
pub(crate) fn preprocess(rgb: &[u8], width: u32, height: u32, spec: &InputSpec) -> Result<Tensor, ExportError> {
    let levels = resize(rgb, width, height, spec)?;
    let channel = |(c, (mean, std)): (usize, (&f32, &f32))| {
        let levels = levels.iter().skip(c).step_by(3);
        levels.map(|level| ((level / 255.0 - f64::from(*mean)) / f64::from(*std)) as f32).collect::<Vec<_>>()
    };
    let data = spec.mean.iter().zip(&spec.std).enumerate().flat_map(channel).collect();
    Ok(Tensor::new(vec![1, spec.channels, spec.height, spec.width], data)?)
}

/// One image at the network's size in bytes, `[height, width, 3]`: resized likewise, rounded, halves up.
pub(crate) fn level_picture(rgb: &[u8], width: u32, height: u32, spec: &InputSpec) -> Result<Vec<u8>, ExportError> {
    // A half of which floats fall a little short is a half.
    Ok(resize(rgb, width, height, spec)?.iter().map(|level| (level + 0.5 + 1e-9).floor() as u8).collect())
}

/// Levels 0 to 255, `[height, width, 3]`.
fn resize(rgb: &[u8], width: u32, height: u32, spec: &InputSpec) -> Result<Vec<f64>, ExportError> {
    let (width, height) = (width as usize, height as usize);
    check_image(rgb, width, height)?;
    let (rows, columns) = (triangle(height, spec.height), triangle(width, spec.width));
    // Columns first: [height, spec.width, 3].
    let mut narrow = vec![0.0f64; height * spec.width * 3];
    for (source, target) in rgb.chunks_exact(width * 3).zip(narrow.chunks_exact_mut(spec.width * 3)) {
        for (weights, pixel) in columns.chunks_exact(width).zip(target.chunks_exact_mut(3)) {
            for (weight, from) in weights.iter().zip(source.chunks_exact(3)).filter(|(weight, _)| **weight != 0.0) {
                pixel.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * f64::from(*value));
            }
        }
    }
    let mut levels = vec![0.0f64; spec.height * spec.width * 3];
    for (weights, target) in rows.chunks_exact(height).zip(levels.chunks_exact_mut(spec.width * 3)) {
        for (weight, row) in
            weights.iter().zip(narrow.chunks_exact(spec.width * 3)).filter(|(weight, _)| **weight != 0.0)
        {
            target.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    Ok(levels)
}

/// Logits to probabilities.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|x| f64::from(x - greatest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

/// The greatest difference of two lists; not a number if either holds one or they differ in length.
pub(crate) fn difference(left: &[f32], right: &[f32]) -> f32 {
    if left.len() != right.len() {
        return f32::NAN;
    }
    left.iter()
        .zip(right)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m, d| if d.is_nan() || m.is_nan() { f32::NAN } else { m.max(d) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_weights_are_the_triangle_filter_worked_by_hand() {
        assert_eq!(triangle(4, 4), [1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1.]);
        // Shrinking by 2: centre 0.5, half-width 2: 3/4, 3/4, 1/4 of sum 7/4; mirrored at the other end.
        let expected = [3. / 7., 3. / 7., 1. / 7., 0., 0., 1. / 7., 3. / 7., 3. / 7.];
        triangle(4, 2).iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
        // Growing by 2: plain bilinear, the edge held.
        let expected = [1., 0., 0.75, 0.25, 0.25, 0.75, 0., 1.];
        triangle(2, 4).iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
    }

    #[test]
    fn a_difference_that_is_not_a_number_is_not_hidden() {
        assert!(difference(&[f32::NAN, 0.5], &[0.1, 0.5]).is_nan());
        assert!(difference(&[0.5], &[0.1, 0.5]).is_nan());
        assert_eq!(difference(&[0.5, 0.25], &[0.5, 0.5]), 0.25);
    }

    #[test]
    fn an_image_of_the_wrong_size_is_refused() {
        assert!(check_image(&[0; 11], 2, 2).unwrap_err().to_string().contains("12 bytes"));
        assert!(check_image(&[], 0, 2).is_err());
        assert!(check_image(&[0; 12], usize::MAX, usize::MAX).is_err());
    }
}
