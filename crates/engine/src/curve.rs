//! A learning curve: the same network trained on parts of the training examples, cheaply.

use kindling_data::{Dataset, View, deal_folds};
use kindling_models::tasks::image_classification::metrics;
use kindling_search::{Measured, binomial_variance};
use kindling_spec::Objective;
use kindling_train::{OpenDevice, Progress, TrialConfig, train_once};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicBool;

use crate::EngineError;

/// Parts that the training examples are dealt to; a share of them is a number of parts.
pub(crate) const PARTS: usize = 8;
/// What one training is taken to differ from another by, before any was seen: a point's worth of error, as
/// if it had been seen in so many trainings.
const PRIOR: (f64, f64) = (1e-4, 2.0);

/// The network trained on a share of the training examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Share of the training examples.
    pub share: f64,
    /// How many they are.
    pub examples: usize,
    /// The error on the validation split, one a training.
    pub errors: Vec<f64>,
    /// For each class the mean share of its validation examples that are answered wrong.
    pub class_errors: Vec<f64>,
}

impl CurvePoint {
    /// The mean error.
    pub(crate) fn error(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
    }
}

/// What is trained for a learning curve.
pub(crate) struct CurveInput<'a> {
    pub(crate) config: &'a TrialConfig,
    pub(crate) dataset: &'a Dataset,
    pub(crate) view: &'a View,
    /// The shares, each a number of the [`PARTS`].
    pub(crate) parts: &'a [usize],
    /// Trainings of each share.
    pub(crate) repeats: u32,
    /// Epochs on all examples; on fewer examples there are more, so that each training has as many steps.
    pub(crate) epochs: u32,
}

/// Trains the network on each share, several times with another seed and other examples each, and measures
/// it on the whole validation split. Shares are nested, groups of look-alikes whole, classes level. A share
/// that lacks a class is left out.
pub(crate) fn learning_curve(
    device: &OpenDevice,
    input: &CurveInput<'_>,
    on_progress: &mut dyn FnMut(f64),
    cancel: &AtomicBool,
) -> Result<Vec<CurvePoint>, EngineError> {
    let CurveInput { config, dataset, view, parts, repeats, epochs } = input;
    let classes = view.classes.len();
    let labels: Vec<usize> = view.train.iter().map(|(_, label)| *label).collect();
    let groups: Vec<u32> = view.train.iter().map(|(at, _)| dataset.manifest().examples[*at].group).collect();
    let truth: Vec<usize> = view.validation.iter().map(|(_, label)| *label).collect();
    let (mut done, all) = (0.0, parts.len() as f64 * f64::from(*repeats));
    let mut points: Vec<CurvePoint> = Vec::new();
    for part in *parts {
        let mut point = CurvePoint {
            share: *part as f64 / PARTS as f64,
            examples: 0,
            errors: Vec::new(),
            class_errors: vec![0.0; classes],
        };
        for repeat in 0..*repeats {
            let seed = config.seed.wrapping_add(u64::from(repeat));
            let dealt = deal_folds(&labels, &groups, PARTS, seed);
            let train: Vec<_> = view.train.iter().zip(&dealt).filter(|(_, d)| *d < part).map(|(p, _)| *p).collect();
            if (0..classes).any(|class| train.iter().all(|(_, label)| *label != class)) {
                continue;
            }
            point.examples += train.len();
            let part_view = View { train, ..(*view).clone() };
            let epochs = (*epochs as usize * PARTS).div_ceil(*part).max(1) as u32;
            let mut tell = |p: Progress| {
                let epoch = f64::from(p.epoch) + f64::from(p.batch) / f64::from(p.batches.max(1));
                on_progress((done + epoch / f64::from(epochs)) / all);
            };
            let config = TrialConfig { seed, ..(*config).clone() };
            let trained = train_once(device, &config, dataset, &part_view, epochs, &mut tell, cancel)?;
            done += 1.0;
            let found = metrics(&trained.validation_answers, classes, &truth, &Objective::default(), &view.classes);
            point.errors.push(1.0 - found.accuracy);
            point.class_errors.iter_mut().zip(&found.per_class).for_each(|(sum, class)| *sum += 1.0 - class.recall);
        }
        if !point.errors.is_empty() {
            let count = point.errors.len();
            point.examples /= count;
            point.class_errors.iter_mut().for_each(|sum| *sum /= count as f64);
            points.push(point);
        }
    }
    Ok(points)
}

/// The variance of the error from one training to another, pooled over the curve.
pub(crate) fn training_noise(points: &[CurvePoint]) -> f64 {
    let (mut squares, mut freedom) = (PRIOR.0 * PRIOR.1, PRIOR.1);
    for point in points {
        let mean = point.error();
        squares += point.errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>();
        freedom += point.errors.len().saturating_sub(1) as f64;
    }
    squares / freedom
}

/// The curve as points to fit; `error` chooses the figure, measured on so many examples.
pub(crate) fn measured(
    points: &[CurvePoint],
    examples: usize,
    noise: f64,
    error: impl Fn(&CurvePoint) -> f64,
) -> Vec<Measured> {
    points
        .iter()
        .map(|point| {
            let seen = error(point);
            let variance = binomial_variance(seen, examples) + noise / point.errors.len().max(1) as f64;
            Measured { amount: point.examples as f64, error: seen, variance }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::first_genomes;
    use kindling_data::{Limits, ingest, sample};
    use kindling_models::build_graph;
    use kindling_search::PowerLaw;

    /// The error with all examples, held back, lies within what is said from an eighth, a quarter and a half.
    #[test]
    fn what_is_held_back_lies_within_the_interval() {
        let dir = tempfile::tempdir().unwrap();
        // Many to be asked about, so that it is the curve that is checked and not their luck.
        for (side, each, seed) in [("train", 120, 21), ("validation", 150, 22), ("test", 10, 23)] {
            sample::fire_smoke(&dir.path().join("pictures").join(side), each, 32, seed).unwrap();
        }
        let out = dir.path().join("sealed");
        ingest(&dir.path().join("pictures"), &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
        let dataset = Dataset::open(&out).unwrap();
        let groups: Vec<_> = dataset.manifest().classes.iter().map(|c| (c.clone(), vec![c.clone()])).collect();
        let view = View::new(&dataset, &groups).unwrap();
        let genome = first_genomes(&view)[0].clone();
        let config = TrialConfig { graph: build_graph(&genome, 3).unwrap(), genome, seed: 3, initial: None };
        let device = kindling_train::open_device("flex").unwrap();
        let input = CurveInput {
            config: &config,
            dataset: &dataset,
            view: &view,
            parts: &[1, 2, 4, 8],
            repeats: 2,
            epochs: 30,
        };
        let mut shares = Vec::new();
        let points = learning_curve(&device, &input, &mut |share| shares.push(share), &AtomicBool::new(false)).unwrap();
        assert!(shares.is_sorted() && shares.last().is_some_and(|s| *s > 0.99));
        assert_eq!(points.iter().map(|p| p.share).collect::<Vec<_>>(), [0.125, 0.25, 0.5, 1.0]);
        let (known, held) = points.split_at(3);
        let (noise, examples) = (training_noise(known), view.validation.len());
        let law = PowerLaw::fit(&measured(known, examples, noise, CurvePoint::error)).unwrap();
        let said = law.predict(held[0].examples as f64, examples, noise);
        eprintln!("{:?}; said {said:?}, noise {noise:.5}", points.iter().map(|p| &p.errors).collect::<Vec<_>>());
        assert!(held[0].errors.iter().all(|e| (said.low..=said.high).contains(e)), "{said:?} {:?}", held[0].errors);
        assert!(said.high - said.low < 0.35, "an interval of everything says nothing: {said:?}");
        assert!((said.mean - held[0].error()).abs() < 0.1, "{said:?} {:?}", held[0].errors);
        assert!(points[0].error() > points[3].error());
    }

    #[test]
    fn the_noise_of_training_is_pooled_and_never_nothing() {
        let point =
            |errors: &[f64]| CurvePoint { share: 1.0, examples: 10, errors: errors.to_vec(), class_errors: vec![] };
        assert!(training_noise(&[]) > 0.0);
        let same = training_noise(&[point(&[0.1, 0.1]), point(&[0.2, 0.2])]);
        let apart = training_noise(&[point(&[0.1, 0.2]), point(&[0.2, 0.3])]);
        assert!((same - 5e-5).abs() < 1e-9 && (apart - (2e-4 + 0.01) / 4.0).abs() < 1e-9, "{same} {apart}");
    }
}
