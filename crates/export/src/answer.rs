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
        Answer::Map => {
            let least = [least(left), least(right)].into_iter().fold(LEAST_SCORE, f32::max) + tolerance;
            most(unmatched(left, right, least), unmatched(right, left, least))
        }
    }
}

/// How many objects of two answers have one in the other that is no further than `tolerance`, and how many there are; those that
/// need none left out.
pub(crate) fn partners(left: &[f32], right: &[f32], tolerance: f32) -> [usize; 2] {
    let count = |from: &[f32], to: &[f32]| {
        let sure = from.chunks_exact(OBJECT_NUMBERS).filter(|object| object[1] > LEAST_SCORE + tolerance);
        let (near, far): (Vec<_>, Vec<_>) = sure.partition(|object| unmatched(object, to, 0.0) <= tolerance);
        [near.len(), near.len() + far.len()]
    };
    let [one, other] = [count(left, right), count(right, left)];
    [one[0] + other[0], one[1] + other[1]]
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

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: [f32; 6] = [0.0, 0.9, 0.1, 0.1, 0.5, 0.5];

    fn moved(mut object: [f32; 6], at: usize, by: f32) -> [f32; 6] {
        object[at] += by;
        object
    }

    #[test]
    fn objects_are_compared_with_the_nearest_of_their_class() {
        let far = |a: &[f32], b: &[f32]| difference(Answer::Map, a, b, 1e-4);
        let two = moved(ONE, 4, 0.3);
        assert_eq!(far(&[ONE, two].concat(), &[two, ONE].concat()), 0.0);
        assert!((far(&ONE, &moved(ONE, 3, 0.02)) - 0.02).abs() < 1e-6);
        assert!((far(&ONE, &moved(ONE, 1, -0.03)) - 0.03).abs() < 1e-6);
        // Another class, or nothing: the score of what is missing.
        assert_eq!(far(&ONE, &moved(ONE, 0, 1.0)), 0.9);
        assert_eq!(far(&ONE, &[]), 0.9);
        assert_eq!(far(&[], &ONE), 0.9);
        // One that is hardly said need not be.
        assert_eq!(far(&[0.0, 0.05, 0.1, 0.1, 0.5, 0.5], &[]), 0.0);
        assert_eq!(partners(&[ONE, two].concat(), &moved(ONE, 1, 0.01), 0.1), [2, 3]);
        assert!(far(&[0.0, f32::NAN, 0.1, 0.1, 0.5, 0.5], &ONE).is_nan() && far(&ONE, &ONE[..5]).is_nan());
        assert_eq!(difference(Answer::Classes, &[0.25, 0.75], &[0.5, 0.5], 1e-4), 0.25);
    }

    #[test]
    fn places_that_are_all_but_equal_may_be_a_peak_or_not() {
        // One class on 1 x 4 places; the first two are a peak but for rounding, the last is one beyond doubt.
        let mut map = vec![1.0, 1.0 + 1e-6, -1.0, 2.0];
        map.extend([0.0; 16]);
        let shape = [5, 1, 4];
        let at = |places: &[usize]| {
            objects_answer(&places.iter().map(|place| object_at(&map, shape, *place)).collect::<Vec<_>>())
        };
        let far = |places: &[usize]| difference_from_map(&at(places), &map, shape, 1e-4);
        assert_eq!(map_answer(&map, shape), at(&[3, 1]));
        for said in [&[3, 1][..], &[3, 0], &[3, 0, 1]] {
            assert!(far(said) < 1e-6, "{said:?}");
        }
        // The last is missing; a place that is no peak is said.
        assert!(far(&[1]) > 0.4 && far(&[3, 1, 2]) > 0.2);
        let mut other = at(&[3, 1]);
        other[2] += 0.1;
        assert!((difference_from_map(&other, &map, shape, 1e-4) - 0.1).abs() < 1e-6);
        assert!(difference_from_map(&at(&[3, 1]), &map[1..], shape, 1e-4) > 0.5);
    }
}
