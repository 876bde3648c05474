//! Finding objects: boxes compared, doubles suppressed, and how good detections are.
//!
//! Average precision is that of pycocotools (`COCOeval` with `iouType="bbox"`, all areas, at most 100 detections a
//! picture and class), which papers and peers report; a test holds this file to it.

mod figures;
mod targets;

pub use figures::{ClassFigures, Figures, choose_score, figures, seen};
pub use targets::Targets;

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Detections of one class in one picture that count at most: pycocotools' `maxDets`.
const MOST_DETECTIONS: usize = 100;
/// Recalls at which precision is looked at: pycocotools' `recThrs`.
const RECALLS: usize = 101;
/// Overlaps that are asked for, from .5 to .95: pycocotools' `iouThrs`.
const OVERLAPS: usize = 10;
/// The overlap at which a detection counts as right where only one is asked for.
pub const USUAL_OVERLAP: f64 = 0.5;

/// An upright box by its left upper corner. The unit does not matter, as long as it is one: pixels, or shares of the
/// picture's sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    /// Of the left side.
    pub x: f64,
    /// Of the upper side.
    pub y: f64,
    /// To the right.
    pub width: f64,
    /// Downwards.
    pub height: f64,
}

impl Rect {
    /// Its middle.
    pub fn centre(&self) -> [f64; 2] {
        [self.x + self.width / 2.0, self.y + self.height / 2.0]
    }

    fn is_finite(&self) -> bool {
        [self.x, self.y, self.width, self.height].iter().all(|v| v.is_finite())
    }

    fn contains(&self, [x, y]: [f64; 2]) -> bool {
        (self.x..=self.x + self.width).contains(&x) && (self.y..=self.y + self.height).contains(&y)
    }
}

/// What is in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Its class.
    pub class: usize,
    /// Where it is.
    pub rect: Rect,
}

/// What a network says is in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The class.
    pub class: usize,
    /// How sure it is; only the order matters here.
    pub score: f64,
    /// Where.
    pub rect: Rect,
}

/// A picture that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// What is in it.
    pub truths: Vec<Truth>,
    /// What was found in it.
    pub detections: Vec<Detection>,
}

/// Intersection over union, 0 to 1; 0 where there is no area.
pub fn iou(a: &Rect, b: &Rect) -> f64 {
    let side = |a: f64, aw: f64, b: f64, bw: f64| (a + aw).min(b + bw) - a.max(b);
    let (width, height) = (side(a.x, a.width, b.x, b.width), side(a.y, a.height, b.y, b.height));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    shared / (a.width * a.height + b.width * b.height - shared)
}

/// The surest first. Of equals the earlier stays first, as in numpy's mergesort, which pycocotools asks for.
fn by_score(a: &Detection, b: &Detection) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal)
}

/// Non-maximum suppression, greedy and class by class: the surest detection stays, and what overlaps one that stays,
/// of its class, by more than `overlap` goes, as in ONNX's operator. What is not finite goes too. The surest come first.
pub fn suppress(detections: &[Detection], overlap: f64) -> Vec<Detection> {
    let mut sorted: Vec<Detection> = finite(detections).copied().collect();
    sorted.sort_by(by_score);
    let mut kept: Vec<Detection> = Vec::new();
    for detection in sorted {
        let double = |other: &Detection| other.class == detection.class && iou(&other.rect, &detection.rect) > overlap;
        if !kept.iter().any(double) {
            kept.push(detection);
        }
    }
    kept
}

fn finite(detections: &[Detection]) -> impl Iterator<Item = &Detection> {
    detections.iter().filter(|d| d.score.is_finite() && d.rect.is_finite())
}

/// One class's average precision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassPrecision {
    /// Where an overlap of .5 counts as right.
    pub ap50: f64,
    /// The mean over overlaps from .5 to .95.
    pub ap: f64,
    /// The boxes there are of it.
    pub truths: usize,
}

/// Average precision of all classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeanPrecision {
    /// mAP@.5. None where there is no box at all.
    pub map50: Option<f64>,
    /// mAP@.5:.95, which COCO calls AP.
    pub map: Option<f64>,
    /// Each class; None of a class without boxes, which counts in no mean.
    pub classes: Vec<Option<ClassPrecision>>,
}

/// Average precision as pycocotools computes it. Detections need not be sorted; of each class in each picture the 100
/// surest count.
pub fn mean_precision(seen: &[Seen], classes: usize) -> MeanPrecision {
    let each: Vec<Option<ClassPrecision>> = (0..classes).map(|class| class_precision(seen, class)).collect();
    let mean = |of: fn(&ClassPrecision) -> f64| {
        let values: Vec<f64> = each.iter().flatten().map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    MeanPrecision { map50: mean(|c| c.ap50), map: mean(|c| c.ap), classes: each }
}

fn class_precision(seen: &[Seen], class: usize) -> Option<ClassPrecision> {
    let mut truths = 0;
    // Score, and whether it is right at each of the overlaps.
    let mut all: Vec<(f64, [bool; OVERLAPS])> = Vec::new();
    for picture in seen {
        let pairs = Pairs::new(picture, class, MOST_DETECTIONS);
        truths += pairs.truths;
        let mut right = vec![[false; OVERLAPS]; pairs.scores.len()];
        for (at, overlap) in overlaps().into_iter().enumerate() {
            let matched = pairs.matched(overlap);
            right.iter_mut().zip(matched).for_each(|(right, matched)| right[at] = matched.is_some());
        }
        all.extend(pairs.scores.iter().copied().zip(right));
    }
    if truths == 0 {
        return None;
    }
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal));
    let at: [f64; OVERLAPS] = std::array::from_fn(|at| area(all.iter().map(|(_, right)| right[at]), truths));
    Some(ClassPrecision { ap50: at[0], ap: at.iter().sum::<f64>() / OVERLAPS as f64, truths })
}

/// As `numpy.linspace(.5, .95, 10)` computes them, to the last bit.
fn overlaps() -> [f64; OVERLAPS] {
    let step = (0.95 - 0.5) / (OVERLAPS - 1) as f64;
    std::array::from_fn(|i| if i == OVERLAPS - 1 { 0.95 } else { 0.5 + i as f64 * step })
}

/// The mean, over 101 recalls, of the highest precision at that recall or a higher one.
fn area(right: impl Iterator<Item = bool>, truths: usize) -> f64 {
    let (mut hits, mut total) = (0usize, 0usize);
    let mut curve: Vec<(f64, f64)> = right
        .map(|right| {
            total += 1;
            hits += usize::from(right);
            // The little that is added is numpy's `spacing(1)`, as in pycocotools.
            (hits as f64 / truths as f64, hits as f64 / (total as f64 + f64::EPSILON))
        })
        .collect();
    for i in (1..curve.len()).rev() {
        curve[i - 1].1 = curve[i - 1].1.max(curve[i].1);
    }
    let mut at = 0;
    let sum: f64 = (0..RECALLS)
        .map(|i| {
            let wanted = if i == RECALLS - 1 { 1.0 } else { i as f64 * 0.01 };
            at += curve[at..].iter().take_while(|(recall, _)| *recall < wanted).count();
            curve.get(at).map_or(0.0, |(_, precision)| *precision)
        })
        .sum();
    sum / RECALLS as f64
}

/// One class's truths and detections in one picture.
struct Pairs {
    truths: usize,
    /// The surest first.
    scores: Vec<f64>,
    /// `[detections][truths]`.
    overlaps: Vec<Vec<f64>>,
}

impl Pairs {
    fn new(picture: &Seen, class: usize, most: usize) -> Self {
        let truths: Vec<&Truth> = picture.truths.iter().filter(|t| t.class == class).collect();
        let mut detections: Vec<&Detection> = finite(&picture.detections).filter(|d| d.class == class).collect();
        detections.sort_by(|a, b| by_score(a, b));
        detections.truncate(most);
        let overlaps = detections.iter().map(|d| truths.iter().map(|t| iou(&t.rect, &d.rect)).collect()).collect();
        Self { truths: truths.len(), scores: detections.iter().map(|d| d.score).collect(), overlaps }
    }

    /// The truth that each detection is matched with: the surest choose first, each the truth it overlaps most of those
    /// that are free; of equals the last, as in pycocotools.
    fn matched(&self, overlap: f64) -> Vec<Option<usize>> {
        let mut free = vec![true; self.truths];
        let choose = |row: &Vec<f64>| {
            let mut best = overlap.min(1.0 - 1e-10);
            let mut chosen = None;
            for (truth, overlap) in row.iter().enumerate() {
                if free[truth] && *overlap >= best {
                    best = *overlap;
                    chosen = Some(truth);
                }
            }
            if let Some(truth) = chosen {
                free[truth] = false;
            }
            chosen
        };
        self.overlaps.iter().map(choose).collect()
    }
}

/// How many detections are right and wrong, and how many truths were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Detections with a truth of their own.
    pub right: usize,
    /// Detections without.
    pub wrong: usize,
    /// Truths without a detection.
    pub missed: usize,
}

impl Counts {
    /// The share of detections that are right; None without detections.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.right + self.wrong)
    }

    /// The share of truths that were found; None without truths.
    pub fn recall(&self) -> Option<f64> {
        share(self.right, self.right + self.missed)
    }

    /// The harmonic mean of both; None where there was nothing to find and nothing was found.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }

    /// Of several classes together.
    pub fn sum(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, one| Self {
            right: sum.right + one.right,
            wrong: sum.wrong + one.wrong,
            missed: sum.missed + one.missed,
        })
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Each class's counts, of the detections whose score is at least `score`; right is what overlaps its truth by at
/// least `overlap`.
pub fn count_at(seen: &[Seen], classes: usize, score: f64, overlap: f64) -> Vec<Counts> {
    let of = |class: usize| {
        let of_picture = |picture: &Seen| {
            let pairs = Pairs::new(picture, class, usize::MAX);
            let sure = pairs.scores.iter().filter(|s| **s >= score).count();
            // The surest come first, so that the others take nothing from them.
            let right = pairs.matched(overlap).iter().take(sure).flatten().count();
            Counts { right, wrong: sure - right, missed: pairs.truths - right }
        };
        Counts::sum(&seen.iter().map(of_picture).collect::<Vec<_>>())
    };
    (0..classes).map(of).collect()
}

/// Each class's counts where only places are answered (Edge Impulse's FOMO): right is a detection whose middle lies in a
/// truth of its class that no surer one has taken; of several the one whose middle is nearest.
pub fn count_centroids(seen: &[Seen], classes: usize, score: f64) -> Vec<Counts> {
    let of_picture = |picture: &Seen, class: usize| {
        let truths: Vec<&Truth> = picture.truths.iter().filter(|t| t.class == class).collect();
        let mut sure: Vec<&Detection> =
            finite(&picture.detections).filter(|d| d.class == class && d.score >= score).collect();
        sure.sort_by(|a, b| by_score(a, b));
        let mut free = vec![true; truths.len()];
        let mut right = 0;
        for detection in &sure {
            let at = detection.rect.centre();
            let distance = |truth: &Truth| {
                let centre = truth.rect.centre();
                (centre[0] - at[0]).powi(2) + (centre[1] - at[1]).powi(2)
            };
            let nearest = (0..truths.len())
                .filter(|i| free[*i] && truths[*i].rect.contains(at))
                .min_by(|a, b| distance(truths[*a]).total_cmp(&distance(truths[*b])));
            if let Some(truth) = nearest {
                free[truth] = false;
                right += 1;
            }
        }
        Counts { right, wrong: sure.len() - right, missed: truths.len() - right }
    };
    (0..classes)
        .map(|class| Counts::sum(&seen.iter().map(|picture| of_picture(picture, class)).collect::<Vec<_>>()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn rect(x: f64, y: f64, width: f64, height: f64) -> Rect {
        Rect { x, y, width, height }
    }

    fn found(class: usize, score: f64, rect: Rect) -> Detection {
        Detection { class, score, rect }
    }

    #[test]
    fn overlaps_by_hand() {
        let a = rect(0.0, 0.0, 2.0, 2.0);
        assert_eq!(iou(&a, &a), 1.0);
        assert_eq!(iou(&a, &rect(1.0, 1.0, 2.0, 2.0)), 1.0 / 7.0);
        assert_eq!(iou(&a, &rect(2.0, 0.0, 2.0, 2.0)), 0.0);
        assert_eq!(iou(&rect(1.0, 1.0, 0.0, 0.0), &rect(1.0, 1.0, 0.0, 0.0)), 0.0);
        assert_eq!(iou(&a, &rect(0.5, 0.5, -1.0, 1.0)), 0.0);
    }

    #[test]
    fn doubles_of_a_class_are_suppressed_and_no_others() {
        let a = rect(0.0, 0.0, 1.0, 1.0);
        let near = rect(0.1, 0.0, 1.0, 1.0);
        let all = [found(0, 0.5, near), found(0, 0.9, a), found(1, 0.4, near), found(0, 0.3, rect(5.0, 0.0, 1.0, 1.0))];
        let scores = |overlap| suppress(&all, overlap).iter().map(|d| d.score).collect::<Vec<_>>();
        assert_eq!(scores(0.5), [0.9, 0.4, 0.3]);
        assert_eq!(scores(0.9), [0.9, 0.5, 0.4, 0.3]);
        let odd = [found(0, f64::NAN, a), found(0, 0.1, rect(f64::INFINITY, 0.0, 1.0, 1.0)), found(0, 0.2, a)];
        assert_eq!(suppress(&odd, 0.5).len(), 1);
        // What was suppressed suppresses nothing: a chain keeps its every other link.
        let link = |i| found(0, 1.0 - f64::from(i) / 10.0, rect(f64::from(i) * 0.3, 0.0, 1.0, 1.0));
        assert_eq!(suppress(&(0..5).map(link).collect::<Vec<_>>(), 0.5).len(), 3);
    }

    #[test]
    fn counts_by_hand() {
        let truth = |class, rect| Truth { class, rect };
        let here = rect(0.0, 0.0, 1.0, 1.0);
        let there = rect(3.0, 3.0, 1.0, 1.0);
        let seen = [
            Seen {
                truths: vec![truth(0, here), truth(0, there), truth(1, there)],
                // Twice the same, one a little off, one of another class and one that is not sure enough.
                detections: vec![
                    found(0, 0.8, here),
                    found(0, 0.9, rect(0.2, 0.0, 1.0, 1.0)),
                    found(0, 0.2, there),
                    found(1, 0.7, here),
                ],
            },
            Seen { truths: Vec::new(), detections: vec![found(1, 0.5, here)] },
        ];
        let counts = count_at(&seen, 3, 0.5, USUAL_OVERLAP);
        assert_eq!(counts[0], Counts { right: 1, wrong: 1, missed: 1 });
        assert_eq!(counts[1], Counts { right: 0, wrong: 2, missed: 1 });
        assert_eq!((counts[2].precision(), counts[2].recall(), counts[2].f1()), (None, None, None));
        assert_eq!((counts[0].precision(), counts[0].recall(), counts[0].f1()), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(Counts::sum(&counts), Counts { right: 1, wrong: 3, missed: 2 });
        // The surer one overlaps by 2/3 only, and leaves the other nothing.
        assert_eq!(count_at(&seen, 1, 0.5, 0.7)[0], Counts { right: 1, wrong: 1, missed: 1 });
        assert_eq!(count_at(&seen, 1, 0.85, 0.7)[0], Counts { right: 0, wrong: 1, missed: 2 });

        // A point is enough where places are asked for, and its size does not matter.
        let at = |score, x: f64, y: f64| found(0, score, rect(x, y, 0.0, 0.0));
        let points = Seen {
            truths: vec![truth(0, rect(0.0, 0.0, 4.0, 4.0)), truth(0, rect(2.0, 2.0, 1.0, 1.0)), truth(0, there)],
            detections: vec![at(0.9, 2.5, 2.6), at(0.8, 2.4, 2.5), at(0.7, 8.0, 0.0), at(0.1, 3.5, 3.5)],
        };
        assert_eq!(count_centroids(&[points], 1, 0.5)[0], Counts { right: 2, wrong: 1, missed: 1 });
    }

    #[test]
    fn without_boxes_there_is_no_precision() {
        let nothing = Seen { truths: Vec::new(), detections: vec![found(0, 0.5, rect(0.0, 0.0, 1.0, 1.0))] };
        assert_eq!(mean_precision(&[nothing], 2), MeanPrecision { map50: None, map: None, classes: vec![None, None] });
    }

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        classes: usize,
        pictures: Vec<Pictured>,
        expected: Expected,
    }

    #[derive(Deserialize)]
    struct Pictured {
        truths: Vec<(usize, [f64; 4])>,
        detections: Vec<(usize, f64, [f64; 4])>,
    }

    #[derive(Deserialize)]
    struct Expected {
        map50: f64,
        map: f64,
        /// AP@.5 and AP; -1 of a class without boxes.
        classes: Vec<[f64; 2]>,
    }

    fn check(text: &str) {
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert!(golden.cases.len() >= 3);
        for case in golden.cases {
            let seen: Vec<Seen> = (case.pictures.iter())
                .map(|p| Seen {
                    truths: (p.truths.iter())
                        .map(|(class, [x, y, w, h])| Truth { class: *class, rect: rect(*x, *y, *w, *h) })
                        .collect(),
                    detections: (p.detections.iter())
                        .map(|(class, score, [x, y, w, h])| found(*class, *score, rect(*x, *y, *w, *h)))
                        .collect(),
                })
                .collect();
            let ours = mean_precision(&seen, case.classes);
            let agrees = |ours: Option<f64>, theirs: f64| (ours.unwrap_or(-1.0) - theirs).abs() < 1e-9;
            let (name, theirs) = (&case.name, &case.expected);
            assert!(agrees(ours.map50, theirs.map50), "{name}: {:?} and {}", ours.map50, theirs.map50);
            assert!(agrees(ours.map, theirs.map), "{name}: {:?} and {}", ours.map, theirs.map);
            assert_eq!(ours.classes.len(), theirs.classes.len());
            for (ours, [ap50, ap]) in ours.classes.iter().zip(&theirs.classes) {
                assert!(agrees(ours.map(|c| c.ap50), *ap50) && agrees(ours.map(|c| c.ap), *ap), "{name}: {ours:?}");
            }
        }
    }

    /// The file says of itself how it was made.
    #[test]
    fn precision_is_that_of_pycocotools_on_what_it_once_answered() {
        check(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/coco/golden.json")));
    }

    #[test]
    fn precision_is_that_of_pycocotools() {
        let asked_for = std::env::var("KINDLING_TEST_PYTHON").ok();
        let python = asked_for.clone().unwrap_or_else(|| "python3".into());
        let has = Command::new(&python).args(["-c", "import pycocotools, numpy"]).output();
        if !has.is_ok_and(|o| o.status.success()) {
            assert!(asked_for.is_none(), "KINDLING_TEST_PYTHON={python} has no pycocotools and numpy");
            println!(
                "only the golden file is compared: {python} has no pycocotools; set KINDLING_TEST_PYTHON to one that has"
            );
            return;
        }
        for seed in 1..5 {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/coco/judge.py");
            let ran = Command::new(&python).args([script, &seed.to_string()]).output().unwrap();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            check(&String::from_utf8(ran.stdout).unwrap());
        }
    }
}
