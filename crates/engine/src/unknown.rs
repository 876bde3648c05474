//! What to make of probabilities: when a class is there, and which answers are too unsure to be answers.

use kindling_data::{View, load_exact};
use kindling_export::{CardDecision, CardUnknown, Refused};
use kindling_models::tasks::image_classification::top;
use kindling_models::tasks::unknown::threshold;

use crate::EngineError;
use crate::release::Release;

/// Validation pictures whose answers are given up, so that unknown ones are turned away with them.
const REFUSED: f64 = 0.05;
/// With fewer validation pictures the threshold would follow chance.
const LEAST_EXAMPLES: usize = 20;
/// Pictures of each kind that the threshold is tried on, at most.
const PROBES: usize = 200;
/// Tiles in a row of a picture that is cut up.
const TILES: usize = 4;

impl Release<'_> {
    /// The probability below which an answer is likely for a picture of none of the classes, and what it turns away: known
    /// pictures, pictures of classes that the task leaves out, and pictures cut into tiles in another order, which have the
    /// colours and textures of known ones and show nothing. `test` and the validation's answers are `[N, classes]`.
    ///
    /// The greatest probability is the score (Hendrycks and Gimpel 2017) because every file gives it already; on held-out classes
    /// the others were not enough better to be worth a second output (BENCHMARKS.md).
    pub(crate) fn unknown(&self, view: &View, test: &[f32]) -> Result<Option<CardUnknown>, EngineError> {
        let classes = view.classes.len().max(1);
        let scores = |answers: &[f32]| -> Vec<f64> {
            answers.chunks_exact(classes).map(|row| row.get(top(row)).copied().map_or(0.0, f64::from)).collect()
        };
        let validation = scores(self.validation_answers);
        let Some(below) = threshold(&validation, REFUSED).filter(|_| validation.len() >= LEAST_EXAMPLES) else {
            return Ok(None);
        };
        let mut refused = Vec::new();
        let mut add = |of: &str, answers: &[f32]| {
            let scores = scores(answers);
            let images = scores.len() as u64;
            let share = scores.iter().filter(|score| **score < below).count() as f64 / images.max(1) as f64;
            refused.extend((images > 0).then(|| Refused { of: of.to_owned(), images, share }));
        };
        add("validation images (by which the limit was set)", self.validation_answers);
        add("test images", test);
        add("images of classes that the task leaves out", &self.answer(&self.others(view), false)?);
        let step = view.test.len().div_ceil(PROBES).max(1);
        let some: Vec<_> = view.test.iter().copied().step_by(step).collect();
        add("test images cut into 16 tiles and put together wrongly", &self.answer(&some, true)?);
        Ok(Some(CardUnknown { below, refused }))
    }

    /// From which probability on to say that the objective's class is there: `threshold`, which the validation split chose,
    /// measured on the test split.
    pub(crate) fn decision(&self, view: &View, threshold: Option<f64>, test: &[f32]) -> Option<CardDecision> {
        let label = self.plan.spec().objective.class.clone()?;
        let class = view.classes.iter().position(|name| *name == label)?;
        let at_least = threshold?;
        let (mut told, mut there, mut both) = (0u64, 0u64, 0u64);
        for (row, (_, truth)) in test.chunks_exact(view.classes.len().max(1)).zip(&view.test) {
            let (says, is) = (f64::from(row[class]) >= at_least, *truth == class);
            told += u64::from(says);
            there += u64::from(is);
            both += u64::from(says && is);
        }
        let share = |of: u64| (of > 0).then(|| both as f64 / of as f64);
        Some(CardDecision { label, at_least, precision: share(told), recall: share(there) })
    }

    /// Examples that the task leaves out.
    fn others(&self, view: &View) -> Vec<(usize, usize)> {
        let count = self.dataset.manifest().examples.len();
        let mut left_out = vec![true; count];
        for (example, _) in view.train.iter().chain(&view.validation).chain(&view.test) {
            left_out[*example] = false;
        }
        let others: Vec<usize> = (0..count).filter(|example| left_out[*example]).collect();
        let step = others.len().div_ceil(PROBES).max(1);
        others.into_iter().step_by(step).map(|example| (example, 0)).collect()
    }

    fn answer(&self, picks: &[(usize, usize)], cut: bool) -> Result<Vec<f32>, EngineError> {
        if picks.is_empty() {
            return Ok(Vec::new());
        }
        let input = &self.graph.input;
        let mut images = load_exact(self.dataset, picks, input.height, &input.mean, &input.std)?;
        if cut {
            images.chunks_exact_mut((input.height * input.width).max(1)).for_each(|plane| cut_up(plane, input.width));
        }
        Ok(kindling_train::predict(self.device, self.graph, self.weights, &images, picks.len())?)
    }
}

/// Moves every tile of a channel to another place; what is left over at the right and below stays.
fn cut_up(plane: &mut [f32], width: usize) {
    let (wide, high) = (width / TILES, plane.len() / width.max(1) / TILES);
    let before = plane.to_vec();
    for tile in 0..TILES * TILES {
        // 7 and 16 have no common divisor, so each place is taken once; 6 n = 13 has no solution modulo 16, so none stays.
        let from = (tile * 7 + 3) % (TILES * TILES);
        let corner = |tile: usize| tile / TILES * high * width + tile % TILES * wide;
        for row in 0..high {
            let (to, from) = (corner(tile) + row * width, corner(from) + row * width);
            plane[to..to + wide].copy_from_slice(&before[from..from + wide]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_goes_elsewhere_and_none_is_lost() {
        for width in [8, 10] {
            let before: Vec<f32> = (0..width * width).map(|i| i as f32).collect();
            let mut after = before.clone();
            cut_up(&mut after, width);
            let side = width / TILES * TILES;
            for (i, (a, b)) in before.iter().zip(&after).enumerate() {
                let inside = i / width < side && i % width < side;
                assert_eq!(a != b, inside, "{width}: {i}");
            }
            after.sort_by(f32::total_cmp);
            assert_eq!(before, after);
        }
    }
}
