//! The sample data sets: small drawn scenes with fire, with smoke, or with neither; and soap boxes on a conveyor.
//!
//! Made to try Kindling without downloading anything. They are no substitute for photographs: a model
//! grown from them has learned drawings.

mod canvas;
pub(crate) mod noise;
mod plume;
mod scene;
mod soap_box;
mod soap_boxes;

use crate::DataError;
use crate::rng::{SplitMix, mix};
use canvas::Canvas;
use image::RgbImage;
use noise::Noise;
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;

pub use soap_boxes::{CONDITIONS, MASKS, draw_soap_box, soap_boxes};

/// The classes, in the order of their folders.
pub const CLASSES: [&str; 3] = ["fire", "neither", "smoke"];

/// Something to be found in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// `fire` or `smoke`.
    pub what: &'static str,
    /// Left, top, width and height in pixels.
    pub bbox: [u32; 4],
}

/// Draws one picture of a class (an index into [`CLASSES`]) and says where its fire and smoke are.
/// The same arguments always give the same picture.
///
/// A picture is of class `fire` whenever there is a fire in it, with smoke or without.
pub fn draw(class: usize, index: u64, size: u32, seed: u64) -> (RgbImage, Vec<Found>) {
    let side = size.max(8) as usize;
    let base = mix(seed ^ mix(index.wrapping_mul(3).wrapping_add(class as u64)));
    let mut last = None;
    // What cannot be seen cannot be learned: a hidden fire or plume is drawn anew.
    for attempt in 0..20 {
        let (canvas, found, seen) = attempt_to_draw(class, side, &mut SplitMix::new(base, attempt));
        last = Some((canvas, found));
        if seen {
            break;
        }
    }
    let (canvas, found) = last.unwrap_or_else(|| (Canvas::new(side), Vec::new()));
    let bytes = canvas.pixels.iter().flatten().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    (RgbImage::from_raw(side as u32, side as u32, bytes).unwrap_or_default(), found)
}

fn attempt_to_draw(class: usize, side: usize, rng: &mut SplitMix) -> (Canvas, Vec<Found>, bool) {
    let mut canvas = Canvas::new(side);
    let place = scene::draw(&mut canvas, rng);
    let before = canvas.pixels.clone();
    let mut found = Vec::new();
    let mut covered = vec![0.0f32; side * side];
    let mut add = |what, cover: Vec<f32>| {
        found.extend(bounds(&cover, side).map(|bbox| Found { what, bbox }));
        covered.iter_mut().zip(cover).for_each(|(a, b)| *a = a.max(b));
    };
    let at = [rng.range(0.18, 0.82), place.ground];
    match CLASSES[class % 3] {
        "fire" => {
            let size = rng.range(0.24, 0.5);
            if rng.chance(0.4) {
                let top = [at[0], at[1] - 0.3 * size];
                let size = rng.range(0.6, 1.0);
                add("smoke", plume::smoke(&mut canvas, rng, &place, top, size));
            }
            add("fire", plume::fire(&mut canvas, rng, &place, at, size));
            if rng.chance(0.3) {
                let beside = [(at[0] + rng.range(0.2, 0.4)) % 0.9 + 0.05, at[1]];
                add("fire", plume::fire(&mut canvas, rng, &place, beside, size * 0.6));
            }
        }
        "smoke" => {
            let size = rng.range(0.75, 1.25);
            add("smoke", plume::smoke(&mut canvas, rng, &place, at, size));
        }
        _ => {}
    }
    let seen = class % 3 == 1 || is_seen(&before, &canvas.pixels, &covered);
    finish(&mut canvas, rng);
    (canvas, found, seen)
}

/// Exposure, a little colour cast, and the sensor's noise: the same for every class.
fn finish(canvas: &mut Canvas, rng: &mut SplitMix) {
    let gain = rng.range(0.8, 1.2);
    let cast: [f32; 3] = std::array::from_fn(|_| gain * rng.range(0.92, 1.08));
    let (grain, noise) = (rng.range(0.005, 0.03), Noise(rng.next()));
    let mut own = SplitMix::new(rng.next(), 1);
    canvas.paint(|x, y, old| {
        let soft = 1.0 + 0.03 * noise.at(x * 3.0, y * 3.0);
        std::array::from_fn(|c| old[c] * cast[c] * soft + grain * own.range(-1.7, 1.7))
    });
}

/// Whether enough of the picture is covered, and differs from what is behind.
fn is_seen(before: &[[f32; 3]], after: &[[f32; 3]], covered: &[f32]) -> bool {
    let (mut area, mut change) = (0.0, 0.0);
    for ((a, b), cover) in before.iter().zip(after).zip(covered).filter(|(_, cover)| **cover > 0.3) {
        area += cover;
        change += (0..3).map(|c| (a[c].min(1.0) - b[c].min(1.0)).abs()).sum::<f32>() / 3.0;
    }
    area > 0.03 * before.len() as f32 && change > 0.14 * area
}

/// The box around what is covered by more than a quarter.
fn bounds(cover: &[f32], side: usize) -> Option<[u32; 4]> {
    let inside =
        || cover.iter().enumerate().filter(|(_, v)| **v > 0.25).map(|(i, _)| ((i % side) as u32, (i / side) as u32));
    let (left, right) = (inside().map(|p| p.0).min()?, inside().map(|p| p.0).max()?);
    let (top, bottom) = (inside().map(|p| p.1).min()?, inside().map(|p| p.1).max()?);
    Some([left, top, right - left + 1, bottom - top + 1])
}

#[derive(Serialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoBox>,
    categories: Vec<CocoCategory>,
}

#[derive(Serialize)]
struct CocoImage {
    id: usize,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct CocoBox {
    id: usize,
    image_id: usize,
    category_id: usize,
    bbox: [u32; 4],
    area: u32,
    iscrowd: u8,
}

#[derive(Serialize)]
struct CocoCategory {
    id: usize,
    name: &'static str,
}

/// Writes the sample data set: `fire/`, `neither/` and `smoke/` with `images_per_class` PNG files
/// each of `size`x`size` pixels, and the boxes of fire and smoke in `annotations.json` (COCO).
/// The same arguments always write the same files.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Exists`] when one of the folders is there already.
pub fn fire_smoke(dir: &Path, images_per_class: usize, size: u32, seed: u64) -> Result<(), DataError> {
    for class in CLASSES {
        let folder = dir.join(class);
        if folder.exists() {
            return Err(DataError::Exists(folder));
        }
        std::fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
    }
    let drawn: Vec<(CocoImage, Vec<Found>)> = (0..images_per_class * CLASSES.len())
        .into_par_iter()
        .map(|i| {
            let (class, index) = (i / images_per_class, i % images_per_class);
            let (image, found) = draw(class, index as u64, size, seed);
            let file_name = format!("{}/{index:05}.png", CLASSES[class]);
            let path = dir.join(&file_name);
            let write = |error| DataError::Io { path: path.clone(), source: std::io::Error::other(error) };
            image.save_with_format(&path, image::ImageFormat::Png).map_err(write)?;
            Ok((CocoImage { id: i + 1, file_name, width: image.width(), height: image.height() }, found))
        })
        .collect::<Result<_, DataError>>()?;
    let categories = vec![CocoCategory { id: 1, name: "fire" }, CocoCategory { id: 2, name: "smoke" }];
    let mut coco = Coco { images: Vec::new(), annotations: Vec::new(), categories };
    for (image, found) in drawn {
        for Found { what, bbox } in found {
            let id = coco.annotations.len() + 1;
            let category_id = if what == "fire" { 1 } else { 2 };
            let area = bbox[2] * bbox[3];
            coco.annotations.push(CocoBox { id, image_id: image.id, category_id, bbox, area, iscrowd: 0 });
        }
        coco.images.push(image);
    }
    let path = dir.join("annotations.json");
    let text = serde_json::to_vec(&coco).map_err(|e| DataError::Io { path: path.clone(), source: e.into() })?;
    std::fs::write(&path, text).map_err(DataError::io(&path))
}
