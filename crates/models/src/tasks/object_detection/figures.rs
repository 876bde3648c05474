//! Every figure reported about a detector's answers on a split.

use super::{Counts, Detection, Rect, Seen, Truth, USUAL_OVERLAP, count_at, count_centroids, iou, mean_precision};
use kindling_graph::{Found, find_objects};
use kindling_spec::{Metric, Objective};
use serde::{Deserialize, Serialize};

/// Detections below this score count in no figure: there are many and they change little.
const LEAST_SCORE: f32 = 0.01;

/// What a detector's answers on a split are worth. Shares are 0 where they would be 0/0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The figure the study works towards.
    pub objective: f64,
    /// Pictures.
    pub examples: u64,
    /// Boxes in them.
    pub boxes: u64,
    /// mAP@.5.
    pub map50: f64,
    /// mAP@.5:.95.
    pub map: f64,
    /// The score from which on it is said that an object is there.
    pub at_least: f64,
    /// Share of what is said to be there that is, overlapping a true box by half.
    pub precision: f64,
    /// Share of the true boxes that are found so.
    pub recall: f64,
    /// Harmonic mean of precision and recall where only the places count: right is what lies in a true box.
    pub centroid_f1: f64,
    /// Where each picture has one object at most: the share in which it is found, or rightly nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localization_accuracy: Option<f64>,
    /// Each class.
    pub per_class: Vec<ClassFigures>,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Its name.
    pub class: String,
    /// Average precision at an overlap of .5; absent without boxes, as the next.
    pub ap50: Option<f64>,
    /// Mean over overlaps from .5 to .95.
    pub ap: Option<f64>,
    /// Share right of what is said; absent if nothing is.
    pub precision: Option<f64>,
    /// Share found; absent if there is nothing to find.
    pub recall: Option<f64>,
    /// Boxes.
    pub boxes: u64,
}

/// Answers beside what there is.
///
/// # Shapes
/// `answers` `[pictures, shape]`, the maps that [`find_objects`] reads; `truths` in shares of each picture's sides.
pub fn seen(answers: &[f32], shape: [usize; 3], truths: Vec<Vec<Truth>>) -> Vec<Seen> {
    let maps = answers.chunks_exact(shape.iter().product::<usize>().max(1));
    maps.zip(truths).map(|(map, truths)| Seen::new(&find_objects(map, shape, LEAST_SCORE), truths)).collect()
}

impl Seen {
    /// What was found beside what there is; what is less sure than counts in any figure is left out.
    pub fn new(found: &[Found], truths: Vec<Truth>) -> Self {
        let detection = |found: &Found| {
            let [x, y, right, bottom] = found.sides.map(f64::from);
            let rect = Rect { x, y, width: right - x, height: bottom - y };
            Detection { class: found.class, score: f64::from(found.score), rect }
        };
        Self { truths, detections: found.iter().filter(|f| f.score >= LEAST_SCORE).map(detection).collect() }
    }
}

/// Computes every figure; the score from which on objects are said to be there is `at_least`, or that with the best F1, or where
/// one object is looked for with the most pictures right.
pub fn figures(seen: &[Seen], names: &[String], objective: &Objective, at_least: Option<f64>) -> Figures {
    let classes = names.len();
    let one = objective.metric == Metric::LocalizationAccuracy;
    let at_least = at_least.unwrap_or_else(|| match one {
        true => best_score(|score| located(seen, score)),
        false => choose_score(seen, classes),
    });
    let localization_accuracy = one.then(|| located(seen, at_least));
    let precision = mean_precision(seen, classes);
    let counts = count_at(seen, classes, at_least, USUAL_OVERLAP);
    let all = Counts::sum(&counts);
    let (map50, map) = (precision.map50.unwrap_or(0.0), precision.map.unwrap_or(0.0));
    let per_class = names.iter().zip(&precision.classes).zip(&counts).map(|((name, precision), counts)| ClassFigures {
        class: name.clone(),
        ap50: precision.map(|p| p.ap50),
        ap: precision.map(|p| p.ap),
        precision: counts.precision(),
        recall: counts.recall(),
        boxes: (counts.right + counts.missed) as u64,
    });
    Figures {
        objective: match localization_accuracy {
            Some(accuracy) => accuracy,
            None if objective.metric == Metric::Map => map,
            None => map50,
        },
        examples: seen.len() as u64,
        boxes: seen.iter().map(|picture| picture.truths.len() as u64).sum(),
        map50,
        map,
        at_least,
        precision: all.precision().unwrap_or(0.0),
        recall: all.recall().unwrap_or(0.0),
        centroid_f1: Counts::sum(&count_centroids(seen, classes, at_least)).f1().unwrap_or(0.0),
        localization_accuracy,
        per_class: per_class.collect(),
    }
}

/// The share of pictures whose one object is the surest that is said, by class and an overlap of half, or in which there is none
/// and none is said.
fn located(seen: &[Seen], at_least: f64) -> f64 {
    let is_right = |picture: &&Seen| {
        let said = picture.detections.iter().filter(|found| found.score >= at_least);
        match (said.max_by(|a, b| a.score.total_cmp(&b.score)), picture.truths.first()) {
            (None, None) => true,
            (Some(said), Some(truth)) => said.class == truth.class && iou(&said.rect, &truth.rect) >= USUAL_OVERLAP,
            _ => false,
        }
    };
    seen.iter().filter(is_right).count() as f64 / seen.len().max(1) as f64
}

/// The score from which on saying that an object is there is right most often: that with the best F1 of all classes
/// together, of equals the highest.
pub fn choose_score(seen: &[Seen], classes: usize) -> f64 {
    best_score(|score| Counts::sum(&count_at(seen, classes, score, USUAL_OVERLAP)).f1().unwrap_or(0.0))
}

fn best_score(worth: impl Fn(f64) -> f64) -> f64 {
    let scores = (5..=95).step_by(2).map(|hundredth| f64::from(hundredth) / 100.0).map(|score| (score, worth(score)));
    scores.max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0))).map_or(0.5, |(score, _)| score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_become_figures() {
        // One class on 1 x 2 places; boxes two places wide and two of one row high, cut off at the edges.
        let map = |left: f32, right: f32| vec![left, right, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let truth = |x| vec![Truth { class: 0, rect: Rect { x, y: 0.0, width: 0.75, height: 1.0 } }];
        let answers = [map(2.0, -4.0), map(1.0, -4.0), map(-1.0, -4.0)].concat();
        let seen = seen(&answers, [5, 1, 2], vec![truth(0.0), truth(0.0), Vec::new()]);
        let found = figures(&seen, &["fire".to_owned()], &Objective::default(), None);
        assert_eq!((found.examples, found.boxes), (3, 2));
        assert!((found.map50 - 1.0).abs() < 1e-9 && (found.map - 1.0).abs() < 1e-9, "{found:?}");
        assert_eq!((found.precision, found.recall, found.centroid_f1), (1.0, 1.0, 1.0));
        // The wrong one has 0.27, the less sure right one 0.73.
        assert!(found.at_least > 0.27 && found.at_least < 0.731_06, "{}", found.at_least);
        assert_eq!(found.per_class[0].boxes, 2);
        let strict = figures(&seen, &["fire".to_owned()], &Objective::default(), Some(0.8));
        assert_eq!((strict.precision, strict.recall), (1.0, 0.5));
        let lax = figures(&seen, &["fire".to_owned()], &Objective::default(), Some(0.2));
        assert!((lax.precision - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(lax.localization_accuracy, None);
        // Where one is looked for, all three pictures are right at a score between; below it the empty one is not.
        let one = Objective { metric: Metric::LocalizationAccuracy, ..Objective::default() };
        let found = figures(&seen, &["fire".to_owned()], &one, None);
        assert_eq!((found.objective, found.localization_accuracy), (1.0, Some(1.0)));
        assert!(found.at_least > 0.27 && found.at_least < 0.731_06, "{}", found.at_least);
        assert!((figures(&seen, &["fire".to_owned()], &one, Some(0.2)).objective - 2.0 / 3.0).abs() < 1e-9);
    }
}
