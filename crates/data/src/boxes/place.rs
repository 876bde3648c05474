//! From what annotations say to boxes in shares of the upright picture.

use super::document::{RawBox, Unit};
use super::first::First;
use super::{Marked, Marks};
use crate::pack::{Fault, Faulty, Packed};
use crate::{BoxAudit, Broken, DataError, LabelledBox, Limits, Listed, OddBox, decode};
use image::metadata::Orientation;
use rayon::prelude::*;

/// The share of boxes that may reach out of their pictures.
const MOST_OUTSIDE: f64 = 0.05;
/// How far the sides' ratio may be from the annotation's: pictures are scaled to whole pixels.
const SAME_RATIO: f64 = 0.02;
/// Boxes narrower or lower than this share have no area.
const SMALLEST: f32 = 1e-6;

/// One picture's boxes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Placed {
    /// Each with its class as in the marks.
    pub(crate) boxes: Vec<LabelledBox>,
    pub(crate) outside: Vec<RawBox>,
    pub(crate) no_area: Vec<RawBox>,
}

/// Gives each file its boxes and its class, and takes away those that cannot have any. Returns the classes that have a
/// box, sorted, and what is to be told.
pub(crate) fn place_all(
    marks: &Marks,
    files: &mut Vec<Packed>,
    faulty: &mut Vec<Faulty>,
    pack: &[u8],
    limits: &Limits,
) -> Result<(Vec<String>, BoxAudit), DataError> {
    let placed: Vec<Result<Placed, String>> = files
        .par_iter()
        .map(|file| {
            let Some(marked) = marks.pictures.get(&file.path) else { return Ok(Placed::default()) };
            let bytes = pack.get(file.offset as usize..(file.offset + file.bytes) as usize).unwrap_or_default();
            match decode::shape(bytes, limits) {
                Ok((size, orientation)) => {
                    place(marked, size, orientation).map_err(|why| format!("{why} (in `{}`)", marks.source(marked)))
                }
                // Decoding will tell.
                Err(_) => Ok(Placed::default()),
            }
        })
        .collect();
    let (mut clipped, mut no_area, mut crowds) = (First::default(), First::default(), First::default());
    let (mut total, mut kept) = (0, Vec::with_capacity(files.len()));
    for (mut file, placed) in std::mem::take(files).into_iter().zip(placed) {
        let Placed { boxes, outside, no_area: flat } = match placed {
            Ok(placed) => placed,
            Err(reason) => {
                let broken = Broken { path: file.path, reason };
                faulty.push(Faulty { class: 0, fault: Fault::Unreadable, broken });
                continue;
            }
        };
        if let Some(marked) = marks.pictures.get(&file.path) {
            total += marked.boxes.len();
            let odd = |raw: &RawBox| marks.odd(&file.path, marked, raw);
            clipped.extend(outside.iter().map(odd));
            no_area.extend(flat.iter().map(odd));
            crowds.extend(marked.crowds.iter().map(odd));
        }
        file.boxes = boxes;
        kept.push(file);
    }
    refuse_if_many_outside(&clipped, total, marks)?;

    let mut used = vec![false; marks.classes.len()];
    kept.iter().flat_map(|file| &file.boxes).for_each(|b| used[b.class] = true);
    let mut classes: Vec<String> =
        marks.classes.iter().zip(&used).filter(|(_, used)| **used).map(|(name, _)| name.clone()).collect();
    classes.sort();
    let number: Vec<usize> = marks.classes.iter().map(|name| classes.binary_search(name).unwrap_or(0)).collect();
    for file in &mut kept {
        file.boxes.iter_mut().for_each(|b| b.class = number[b.class]);
        file.boxes.sort_by_key(LabelledBox::key);
        // The same box twice says nothing more.
        file.boxes.dedup();
        file.class = class_of(&file.boxes);
    }
    *files = kept;
    let silent = Listed::of(marks.without_annotation.clone());
    let audit = BoxAudit {
        clipped: clipped.into_listed(),
        no_area: no_area.into_listed(),
        crowds: crowds.into_listed(),
        without_picture: marks.without_picture.clone().into_listed(),
        without_annotation: silent,
        silence_is_empty: marks.silence_is_empty,
        ..BoxAudit::default()
    };
    Ok((classes, audit))
}

/// The class of the largest box, of equals the first; 0 without boxes.
pub(crate) fn class_of(boxes: &[LabelledBox]) -> usize {
    boxes.iter().min_by(|a, b| b.area().total_cmp(&a.area()).then(a.class.cmp(&b.class))).map_or(0, |b| b.class)
}

fn refuse_if_many_outside(outside: &First<OddBox>, total: usize, marks: &Marks) -> Result<(), DataError> {
    let Some(example) = outside.first() else { return Ok(()) };
    if outside.total() as f64 <= MOST_OUTSIDE * total as f64 {
        return Ok(());
    }
    let OddBox { path, place, class, given: [left, top, width, height] } = example;
    Err(DataError::InvalidLayout(format!(
        "{} of {total} boxes reach out of their pictures, more than 5%: the numbers are not what {} should hold. One of \
         class `{class}` ({place}) begins at {left}, {top} and is {width} wide and {height} high, in the picture `{path}`. \
         {}",
        outside.total(),
        marks.format.name(),
        marks.format.numbers(),
    )))
}

/// One picture's boxes, or why its annotation is none of this picture.
pub(crate) fn place(marked: &Marked, stored: (u32, u32), orientation: Orientation) -> Result<Placed, String> {
    let upright = if swaps(orientation) { (stored.1, stored.0) } else { stored };
    let (size, turned) = match marked.unit {
        Unit::Shares => ((1.0, 1.0), false),
        Unit::Pixels(None) => (float(upright), false),
        // Annotated upright, or as the file has it, or before it was scaled. A tool that shows pictures upright says so
        // by the sides; where they do not differ, upright is what tools show today.
        Unit::Pixels(Some(said)) if said == upright || same_ratio(said, upright) => (float(said), false),
        Unit::Pixels(Some(said)) if said == stored || same_ratio(said, stored) => (float(said), true),
        Unit::Pixels(Some((width, height))) => {
            return Err(format!(
                "its annotation is of a picture of {width}x{height} pixels, but it has {}x{}; annotate it again or leave it out",
                upright.0, upright.1
            ));
        }
    };
    let mut placed = Placed::default();
    for raw in &marked.boxes {
        let [x, y, w, h] = raw.edges;
        let share = [x / size.0, y / size.1, w / size.0, h / size.1];
        let [x, y, w, h] = if turned { turn(share, orientation) } else { share };
        if w < SMALLEST || h < SMALLEST {
            placed.no_area.push(*raw);
            continue;
        }
        let pixel = [1.0 / upright.0 as f32, 1.0 / upright.1 as f32].map(|p| p * 1.001);
        if x < -pixel[0] || y < -pixel[1] || x + w > 1.0 + pixel[0] || y + h > 1.0 + pixel[1] {
            placed.outside.push(*raw);
        }
        // In doubles, so that what lies within stays as it was to the last bit.
        let clip = |start: f32, length: f32| {
            if start >= 0.0 && f64::from(start) + f64::from(length) <= 1.0 {
                return (start, length);
            }
            let end = (f64::from(start) + f64::from(length)).min(1.0);
            let start = start.clamp(0.0, 1.0);
            (start, ((end - f64::from(start)) as f32).max(0.0))
        };
        let ((x, width), (y, height)) = (clip(x, w), clip(y, h));
        if width >= SMALLEST && height >= SMALLEST {
            placed.boxes.push(LabelledBox { class: raw.class as usize, x, y, width, height });
        }
    }
    Ok(placed)
}

fn float((width, height): (u32, u32)) -> (f32, f32) {
    (width as f32, height as f32)
}

fn same_ratio(a: (u32, u32), b: (u32, u32)) -> bool {
    let ratio = |(width, height): (u32, u32)| f64::from(width) / f64::from(height.max(1));
    (ratio(a) / ratio(b) - 1.0).abs() <= SAME_RATIO
}

/// Whether width and height change places.
fn swaps(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Moves a box as the picture is moved to stand upright.
fn turn([x, y, w, h]: [f32; 4], orientation: Orientation) -> [f32; 4] {
    let mirrored = |[x, y, w, h]: [f32; 4]| [1.0 - (x + w), y, w, h];
    match orientation {
        Orientation::NoTransforms => [x, y, w, h],
        Orientation::FlipHorizontal => mirrored([x, y, w, h]),
        Orientation::FlipVertical => [x, 1.0 - (y + h), w, h],
        Orientation::Rotate180 => [1.0 - (x + w), 1.0 - (y + h), w, h],
        Orientation::Rotate90 => [1.0 - (y + h), x, h, w],
        Orientation::Rotate270 => [y, 1.0 - (x + w), h, w],
        Orientation::Rotate90FlipH => mirrored([1.0 - (y + h), x, h, w]),
        Orientation::Rotate270FlipH => mirrored([y, 1.0 - (x + w), h, w]),
    }
}
