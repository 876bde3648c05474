//! Which picture an annotation means, and where in it a box lies.

use crate::boxes::Marked;
use crate::boxes::document::{RawBox, Unit};
use crate::boxes::find::{Finder, side_of};
use crate::boxes::place::place;
use crate::{Augment, BatchSource, Dataset, LabelledBox};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use kindling_spec::Split;

#[test]
fn the_picture_that_fits_best_is_found() {
    let files: Vec<String> = [
        "set/train/images/1.jpg",
        "set/val/images/1.jpg",
        "set/val/images/2.png",
        "set/val/images/2.txt",
        "deep/a/3.jpg",
        "deep/b/3.jpg",
    ]
    .map(str::to_owned)
    .into();
    let finder = Finder::new(&files);
    let found = |name: &str, from: &str| finder.by_name(name, from);
    assert_eq!(found("train/images/1.jpg", "a.json"), Ok("set/train/images/1.jpg"));
    assert_eq!(found("C:\\data\\val\\images\\1.jpg", "a.json"), Ok("set/val/images/1.jpg"));
    assert_eq!(found("/home/me/2.png", "a.json"), Ok("set/val/images/2.png"));
    assert_eq!(found("1.jpg", "annotations/instances_val2017.json"), Ok("set/val/images/1.jpg"));
    assert_eq!(found("1.jpg", "set/train/_annotations.coco.json"), Ok("set/train/images/1.jpg"));
    assert_eq!(found("3.jpg", "deep/b/boxes.json"), Ok("deep/b/3.jpg"));
    assert!(found("3.jpg", "boxes.json").unwrap_err().contains("with its folder"));
    assert!(found("4.jpg", "boxes.json").unwrap_err().contains("no picture `4.jpg`"));
    assert!(found("2.txt", "boxes.json").is_err());
    assert_eq!(finder.by_stem("set/val/labels/2.xml"), Ok("set/val/images/2.png"));
    assert_eq!(finder.by_stem("set/train/labels/1.xml"), Ok("set/train/images/1.jpg"));
}

#[test]
fn paths_tell_the_side() {
    for (path, side) in [
        ("train/images/a.jpg", Some(Split::Train)),
        ("x/images/val2017/a.jpg", Some(Split::Validation)),
        ("train/sub/test/a.jpg", Some(Split::Test)),
        ("images/train.jpg", None),
        ("annotations/instances_train2017.json", Some(Split::Train)),
        ("valid/_annotations.coco.json", Some(Split::Validation)),
        ("a/boxes.json", None),
        ("trainer/a.jpg", None),
    ] {
        assert_eq!(side_of(path), side, "{path}");
    }
}

fn marked(unit: Unit, edges: &[[f32; 4]]) -> Marked {
    let boxes = edges.iter().map(|edges| RawBox { class: 0, at: 0, edges: *edges }).collect();
    Marked { source: None, unit, given: None, boxes, crowds: Vec::new() }
}

fn at(placed: &[LabelledBox]) -> Vec<[f32; 4]> {
    placed.iter().map(|b| [b.x, b.y, b.width, b.height]).collect()
}

#[test]
fn boxes_are_clipped_and_those_without_area_left_out() {
    let upright = Orientation::NoTransforms;
    let edges = [
        [8.0, 4.0, 16.0, 8.0],
        // A pixel over is rounding, and is cut off without being told of.
        [-1.0, 0.0, 9.0, 17.0],
        [-8.0, 0.0, 16.0, 16.0],
        [24.0, 0.0, 16.0, 8.0],
        [40.0, 0.0, 16.0, 8.0],
        [8.0, 4.0, 0.0, 8.0],
        [8.0, 4.0, -3.0, 8.0],
    ];
    let placed = place(&marked(Unit::Pixels(None), &edges), (32, 16), upright).unwrap();
    let whole = [0.25, 0.25, 0.5, 0.5];
    assert_eq!(at(&placed.boxes), [whole, [0.0, 0.0, 0.25, 1.0], [0.0, 0.0, 0.25, 1.0], [0.75, 0.0, 0.25, 0.5]]);
    assert_eq!((placed.outside.len(), placed.no_area.len()), (3, 2));
    let shares = place(&marked(Unit::Shares, &[whole, [0.5, 0.0, 1.5, 1e7]]), (32, 16), upright).unwrap();
    assert_eq!(at(&shares.boxes), [whole, [0.5, 0.0, 0.5, 1.0]]);
    // Scaled after it was annotated: the annotation's own size counts. Of another picture: it says so.
    let scaled =
        place(&marked(Unit::Pixels(Some((320, 160))), &[[80.0, 40.0, 160.0, 80.0]]), (32, 16), upright).unwrap();
    assert_eq!(at(&scaled.boxes), [whole]);
    let other = place(&marked(Unit::Pixels(Some((30, 30))), &[whole]), (32, 16), upright).unwrap_err();
    assert!(other.contains("30x30") && other.contains("32x16"), "{other}");
}

/// The box around what is bright.
fn bright(picture: &RgbImage) -> [f32; 4] {
    let inside = || picture.enumerate_pixels().filter(|(_, _, p)| p[0] > 128).map(|(x, y, _)| (x, y));
    let (left, right) = (inside().map(|p| p.0).min().unwrap(), inside().map(|p| p.0).max().unwrap() + 1);
    let (top, bottom) = (inside().map(|p| p.1).min().unwrap(), inside().map(|p| p.1).max().unwrap() + 1);
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    [left as f32 / width, top as f32 / height, (right - left) as f32 / width, (bottom - top) as f32 / height]
}

#[test]
fn boxes_turn_with_their_picture() {
    let lit = |x: u32, y: u32| (3..11).contains(&x) && (2..6).contains(&y);
    let picture = RgbImage::from_fn(32, 16, |x, y| image::Rgb([if lit(x, y) { 255 } else { 0 }; 3]));
    for exif in 1..=8 {
        let orientation = Orientation::from_exif(exif).unwrap();
        let mut turned = DynamicImage::ImageRgb8(picture.clone());
        turned.apply_orientation(orientation);
        let turned = turned.to_rgb8();
        let wanted = bright(&turned);
        let near = |placed: Vec<LabelledBox>| {
            assert_eq!(placed.len(), 1);
            assert!(
                at(&placed)[0].iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6),
                "{exif}: {placed:?} {wanted:?}"
            );
        };
        // Annotated as people see it: with the upright size, or without one.
        let (w, h) = turned.dimensions();
        let pixels = [wanted[0] * w as f32, wanted[1] * h as f32, wanted[2] * w as f32, wanted[3] * h as f32];
        near(place(&marked(Unit::Pixels(Some((w, h))), &[pixels]), (32, 16), orientation).unwrap().boxes);
        near(place(&marked(Unit::Pixels(None), &[pixels]), (32, 16), orientation).unwrap().boxes);
        near(place(&marked(Unit::Shares, &[wanted]), (32, 16), orientation).unwrap().boxes);
        // Annotated as it is stored, which the size gives away when it lies on its side.
        if exif > 4 {
            let stored = marked(Unit::Pixels(Some((32, 16))), &[[3.0, 2.0, 8.0, 4.0]]);
            near(place(&stored, (32, 16), orientation).unwrap().boxes);
        }
    }
}

/// Bright rectangles on black, so that a varied picture shows where its box should be.
#[test]
fn boxes_are_varied_with_their_picture() {
    const SIDE: usize = 96;
    let dir = tempfile::tempdir().unwrap();
    let mut rows = "path,label,x_min,y_min,x_max,y_max\n".to_owned();
    for i in 0..40u32 {
        let (x, y, w, h) = (i * 7 % 50, i * 11 % 40, 20 + i % 17, 16 + i % 23);
        let lit = |px: u32, py: u32| (x..x + w).contains(&px) && (y..y + h).contains(&py);
        let picture = RgbImage::from_fn(96, 96, |px, py| image::Rgb([if lit(px, py) { 255 } else { 0 }; 3]));
        std::fs::create_dir_all(dir.path().join("in")).unwrap();
        picture.save(dir.path().join(format!("in/{i}.png"))).unwrap();
        rows += &format!("{i}.png,lit,{x},{y},{},{}\n", x + w, y + h);
    }
    std::fs::write(dir.path().join("in/boxes.csv"), rows).unwrap();
    super::read_dir(&dir.path().join("in"), &dir.path().join("out")).unwrap();
    let dataset = Dataset::open(&dir.path().join("out")).unwrap();
    let examples = &dataset.manifest().examples;
    let picks: Vec<(usize, &[LabelledBox])> =
        examples.iter().enumerate().map(|(i, e)| (i, e.boxes.as_slice())).collect();
    let source = BatchSource::new(&dataset);
    let length = 3 * SIDE * SIDE;
    let mut out = vec![0.0; picks.len() * length];
    let fill = |augment: &Augment, seed, out: &mut [f32]| {
        source.fill_boxes(&picks, SIDE, &[0.0; 3], &[1.0; 3], Some((augment, seed)), out).unwrap()
    };
    let augment = Augment { flip: true, crop: 0.5, ..Augment::default() };
    let (mut kept, mut moved, mut dropped) = (0, 0, 0);
    for seed in 0..6 {
        let carried = fill(&augment, seed, &mut out);
        let labels: Vec<(usize, usize)> = picks.iter().map(|(i, _)| (*i, 0)).collect();
        let mut same = vec![0.0; out.len()];
        source.fill(&labels, SIDE, &[0.0; 3], &[1.0; 3], Some((&augment, seed)), &mut same).unwrap();
        assert_eq!(out, same, "the pictures are those of `fill`");
        for ((pixels, boxes), (_, before)) in out.chunks_exact(length).zip(&carried).zip(&picks) {
            let picture = RgbImage::from_fn(96, 96, |x, y| {
                image::Rgb([(pixels[y as usize * SIDE + x as usize] * 255.0).round() as u8; 3])
            });
            let Some(one) = boxes.first() else {
                let seen = picture.pixels().filter(|p| p[0] > 128).count() as f32;
                // Of a box of this size at most 30% were left, zoomed in by a half and more.
                assert!(seen < 0.31 * before[0].area() * (SIDE * SIDE) as f32 * 4.0, "{seen}");
                dropped += 1;
                continue;
            };
            // Where the picture's edge is repeated beyond itself, so is what touches it.
            let touches = before[0].x == 0.0 || before[0].y == 0.0;
            let wanted = bright(&picture);
            let close = at(boxes)[0].iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1.6 / SIDE as f32);
            assert!(close || touches, "{:?} {wanted:?}", at(boxes));
            kept += 1;
            moved += usize::from(one != &before[0]);
        }
    }
    println!("{kept} kept, {moved} moved, {dropped} dropped");
    assert!(kept > 150 && moved == kept && dropped > 3);
    // The seed is all that matters: not the batch, nor the place in it.
    let alone =
        source.fill_boxes(&picks[5..6], SIDE, &[0.0; 3], &[1.0; 3], Some((&augment, 3)), &mut out[..length]).unwrap();
    let all = fill(&augment, 3, &mut out);
    assert_eq!(alone[0], all[5]);
    assert_ne!(all, fill(&augment, 4, &mut out));
    let as_they_are = source.fill_boxes(&picks, SIDE, &[0.0; 3], &[1.0; 3], None, &mut out).unwrap();
    assert!(as_they_are.iter().zip(&picks).all(|(a, (_, b))| a == b));
    // A hole over nearly all of the picture leaves nothing of any box.
    let hole = Augment { cutout: 1.0, ..Augment::default() };
    let left: usize = fill(&hole, 1, &mut out).iter().map(Vec::len).sum();
    assert!(left < picks.len(), "{left}");
}
