//! The sample data set for anomaly detection: soap boxes on a conveyor, the good ones to learn from, the faulty ones
//! only to be tested with.

use super::canvas::Canvas;
use super::noise::Noise;
use super::soap_box::{self, Fault};
use crate::DataError;
use crate::rng::{SplitMix, mix};
use image::{GrayImage, ImageFormat, RgbImage};
use rayon::prelude::*;
use std::path::Path;

/// How a box can be; only the first is right.
pub const CONDITIONS: [&str; 4] = ["good", "empty", "open", "torn"];

/// The folder of the masks, as MVTec AD (Bergmann et al. 2019) calls it.
pub const MASKS: &str = "ground_truth";

/// Pictures a part, for one of the good ones to train on.
const TO_EACH_OTHER: usize = 4;

/// Draws one box of a condition (an index into [`CONDITIONS`]) and where it is faulty: white on black. The same
/// arguments always give the same picture.
///
/// Light, belt, place, rotation, print and soap vary; so does the camera's noise.
pub fn draw_soap_box(condition: usize, index: u64, size: u32, seed: u64) -> (RgbImage, GrayImage) {
    let side = size.max(8) as usize;
    let condition = condition % CONDITIONS.len();
    let fault = [None, Some(Fault::Empty), Some(Fault::Open), Some(Fault::Torn)][condition];
    let base = mix(seed ^ mix(index.wrapping_mul(CONDITIONS.len() as u64).wrapping_add(condition as u64)));
    let rng = &mut SplitMix::new(base, 7);
    let mut canvas = Canvas::new(side);
    let covered = soap_box::draw(&mut canvas, rng, fault);
    expose(&mut canvas, rng);
    let bytes = canvas.pixels.iter().flatten().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    let mask = covered.iter().map(|cover| if *cover > 0.5 { 255 } else { 0 }).collect();
    let side = side as u32;
    let picture = RgbImage::from_raw(side, side, bytes).unwrap_or_default();
    (picture, GrayImage::from_raw(side, side, mask).unwrap_or_default())
}

/// A lamp at one side, exposure, colour cast, and the sensor's noise: the same for every condition.
fn expose(canvas: &mut Canvas, rng: &mut SplitMix) {
    let gain = rng.range(0.65, 1.3);
    let cast: [f32; 3] = std::array::from_fn(|_| gain * rng.range(0.93, 1.07));
    let (slope_x, slope_y) = (rng.range(-0.3, 0.3), rng.range(-0.3, 0.3));
    let (grain, patches) = (rng.range(0.004, 0.022), Noise(rng.next()));
    let mut own = SplitMix::new(rng.next(), 1);
    canvas.paint(|x, y, old| {
        let lamp = 1.0 + slope_x * (x - 0.5) + slope_y * (y - 0.5) + 0.05 * patches.at(x * 2.0, y * 2.0);
        std::array::from_fn(|c| old[c] * cast[c] * lamp + grain * own.range(-1.7, 1.7))
    });
}

/// Writes the sample: PNG files of `size`x`size` pixels, `images` of them in `train/good`, a quarter as many (at least
/// one) in each of `validation/good`, `test/good`, `test/empty`, `test/open` and `test/torn`. For each faulty picture
/// `test/CONDITION/NUMBER.png` there is a mask `ground_truth/CONDITION/NUMBER_mask.png`, 255 where the fault is.
/// The same arguments always write the same files. Gives the number of pictures.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Exists`] when one of the folders is there already.
pub fn soap_boxes(dir: &Path, images: usize, size: u32, seed: u64) -> Result<usize, DataError> {
    let fewer = images.div_ceil(TO_EACH_OTHER).max(1);
    let mut parts = vec![("train", 0, images), ("validation", 0, fewer)];
    parts.extend((0..CONDITIONS.len()).map(|condition| ("test", condition, fewer)));
    for top in ["train", "validation", "test", MASKS] {
        let folder = dir.join(top);
        if folder.exists() {
            return Err(DataError::Exists(folder));
        }
    }
    let mut jobs = Vec::new();
    let mut good = 0;
    for (side, condition, count) in parts {
        let name = CONDITIONS[condition];
        let folder = dir.join(side).join(name);
        std::fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
        let masks = (condition > 0).then(|| dir.join(MASKS).join(name));
        if let Some(masks) = &masks {
            std::fs::create_dir_all(masks).map_err(DataError::io(masks))?;
        }
        // No good box is drawn twice, whichever side it is on.
        let first = if condition == 0 { good } else { 0 };
        good += if condition == 0 { count } else { 0 };
        jobs.extend((0..count).map(|i| (condition, folder.clone(), masks.clone(), i, first + i)));
    }
    jobs.par_iter().try_for_each(|(condition, folder, masks, number, index)| {
        let (picture, mask) = draw_soap_box(*condition, *index as u64, size, seed);
        let path = folder.join(format!("{number:05}.png"));
        picture.save_with_format(&path, ImageFormat::Png).map_err(failed(&path))?;
        let Some(masks) = masks else { return Ok(()) };
        let path = masks.join(format!("{number:05}_mask.png"));
        mask.save_with_format(&path, ImageFormat::Png).map_err(failed(&path))
    })?;
    Ok(jobs.len())
}

fn failed(path: &Path) -> impl FnOnce(image::ImageError) -> DataError + '_ {
    move |error| DataError::Io { path: path.to_owned(), source: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_where_the_masks_say() {
        for (condition, name) in CONDITIONS.iter().enumerate().skip(1) {
            for index in 0..12 {
                let (_, mask) = draw_soap_box(condition, index, 64, 5);
                let share = mask.pixels().filter(|p| p[0] == 255).count() as f32 / (64.0 * 64.0);
                assert!((0.004..0.2).contains(&share), "{name} {index}: {share}");
            }
        }
        assert!(draw_soap_box(0, 3, 64, 5).1.pixels().all(|p| p[0] == 0));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(draw_soap_box(2, 4, 48, 1), draw_soap_box(2, 4, 48, 1));
        assert_ne!(draw_soap_box(2, 4, 48, 1).0, draw_soap_box(2, 4, 48, 2).0);
        assert_ne!(draw_soap_box(2, 4, 48, 1).0, draw_soap_box(2, 5, 48, 1).0);
    }

    #[test]
    fn the_mean_gives_nothing_away() {
        let mean = |condition: usize, index: u64| {
            let (picture, _) = draw_soap_box(condition, index, 32, 0);
            picture.as_raw().iter().map(|v| f64::from(*v)).sum::<f64>()
        };
        let good: Vec<f64> = (0..90).map(|i| mean(0, i)).collect();
        let bad: Vec<f64> = (0..90).map(|i| mean(1 + i as usize % 3, i)).collect();
        let above = good.iter().flat_map(|g| bad.iter().map(move |b| f64::from(u8::from(b > g)))).sum::<f64>();
        let auroc = above / (good.len() * bad.len()) as f64;
        assert!((0.2..0.8).contains(&auroc), "{auroc}");
    }

    #[test]
    fn folders_are_as_promised_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(soap_boxes(dir.path(), 8, 16, 0).unwrap(), 8 + 5 * 2);
        let count = |folder: &str| std::fs::read_dir(dir.path().join(folder)).unwrap().count();
        assert_eq!((count("train"), count("train/good"), count("validation/good")), (1, 8, 2));
        for condition in CONDITIONS {
            assert_eq!(count(&format!("test/{condition}")), 2);
        }
        assert_eq!((count(MASKS), count("ground_truth/torn")), (3, 2));
        let bytes = |path: &str| std::fs::read(dir.path().join(path)).unwrap();
        assert_ne!(bytes("train/good/00000.png"), bytes("validation/good/00000.png"));
        assert!(matches!(soap_boxes(dir.path(), 8, 16, 0), Err(DataError::Exists(_))));
    }
}
