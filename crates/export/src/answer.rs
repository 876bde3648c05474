//! Answers of files as lists of numbers, and how far two are apart.

use crate::preprocess;
use kindling_graph::{Answer, Found, MOST_OBJECTS, find_objects, object_at};

/// Numbers that an object takes in the answer of a network that finds objects: class, score, left, top, right, bottom.
pub const OBJECT_NUMBERS: usize = 6;
/// Objects with a lesser score are in no such answer.
pub const LEAST_SCORE: f32 = 0.05;
/// The score from which on a file says that an object is there, where its card names none.
pub const AT_LEAST: f64 = 0.3;

/// The answer that says these objects: `[class, score, left, top, right, bottom]` each, those below [`LEAST_SCORE`] left out.
pub fn objects_answer(objects: &[Found]) -> Vec<f32> {
    let sure = objects.iter().filter(|found| found.score >= LEAST_SCORE);
    sure.flat_map(|found| [&[found.class as f32, found.score][..], &found.sides].concat()).collect()
}

/// The answer of a map.
pub(crate) fn map_answer(map: &[f32], shape: [usize; 3]) -> Vec<f32> {
    objects_answer(&find_objects(map, shape, LEAST_SCORE))
}

/// How far two answers are apart; not a number if either is none.
///
/// Probabilities: the greatest difference. Objects: the greatest difference of a score or a side from the nearest object of the
/// class in the other answer, and the score of any that has none; one whose score is within `tolerance` of [`LEAST_SCORE`], or
/// of the last that is said where a hundred are, needs none.
pub(crate) fn difference(kind: Answer, left: &[f32], right: &[f32], tolerance: f32) -> f32 {
    match kind {
        Answer::Classes => preprocess::difference(left, right),
        Answer::Boxes => {
            let least = [least(left), least(right)].into_iter().fold(LEAST_SCORE, f32::max) + tolerance;
            most(unmatched(left, right, least), unmatched(right, left, least))
        }
    }
}

/// How far an answer is from a map's, `tolerance` being what a score may be off by.
///
/// Two places of a map that are all but equal are a peak in the one or the other. So each object said must be one of those that
/// the map may have within the tolerance, and each that it has beyond doubt must be said.
pub(crate) fn difference_from_map(answer: &[f32], map: &[f32], shape: [usize; 3], tolerance: f32) -> f32 {
    let [sure, possible] = [-tolerance, tolerance].map(|slack| peaks(map, shape, slack));
    let hundredth = possible.get(MOST_OBJECTS - 1).map_or(0.0, |found| found.score);
    let [sure, possible] = [sure, possible].map(|found| numbers(&found));
    let least_sure = LEAST_SCORE.max(hundredth).max(least(answer)) + tolerance;
    most(unmatched(answer, &possible, LEAST_SCORE + tolerance), unmatched(&sure, answer, least_sure))
}

/// The objects of places whose score is no less than those around it less `slack`, the surest first: more than there are
/// peaks, or fewer.
fn peaks(map: &[f32], shape: [usize; 3], slack: f32) -> Vec<Found> {
    let [channels, height, width] = shape;
    let (classes, plane) = (channels.saturating_sub(4), height * width);
    if map.len() != channels * plane {
        return Vec::new();
    }
    let score = |at: usize| 1.0 / (1.0 + (-map[at]).exp());
    let is_peak = |at: &usize| {
        let (class, y, x) = (at / plane, at % plane / width, at % width);
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        let mut rows = y.saturating_sub(1)..(y + 2).min(height);
        let least = |other: usize| other == *at || score(*at) + slack >= score(other);
        rows.all(|y| columns.clone().all(|x| least(class * plane + y * width + x)))
    };
    let mut found: Vec<Found> = (0..classes * plane)
        .filter(|at| score(*at) + slack.abs() >= LEAST_SCORE)
        .filter(is_peak)
        .map(|at| object_at(map, shape, at))
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

fn numbers(found: &[Found]) -> Vec<f32> {
    found.iter().flat_map(|found| [&[found.class as f32, found.score][..], &found.sides].concat()).collect()
}

/// The greatest distance of an object on the left from the nearest on the right.
fn unmatched(left: &[f32], right: &[f32], least: f32) -> f32 {
    if !left.len().is_multiple_of(OBJECT_NUMBERS) || left.iter().chain(right).any(|number| !number.is_finite()) {
        return f32::NAN;
    }
    let far = |object: &[f32]| {
        let same = right.chunks_exact(OBJECT_NUMBERS).filter(|other| other[0] == object[0]);
        let apart = same.map(|other| object.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max));
        // One that is nowhere near is another.
        let nearest = apart.fold(object[1], f32::min);
        if object[1] <= least { 0.0 } else { nearest }
    };
    left.chunks_exact(OBJECT_NUMBERS).map(far).fold(0.0, f32::max)
}

/// The least score of an answer that is as long as any may be.
fn least(answer: &[f32]) -> f32 {
    let scores = answer.iter().skip(1).step_by(OBJECT_NUMBERS);
    if answer.len() < MOST_OBJECTS * OBJECT_NUMBERS { 0.0 } else { scores.copied().fold(f32::INFINITY, f32::min) }
}

fn most(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}
