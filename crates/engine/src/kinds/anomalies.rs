//! Pictures unlike the good ones.

use kindling_data::{Dataset, View, load_exact};
use kindling_export::{AnomalyMetrics, CardMetrics, FaultMetrics, ObjectiveValue};
use kindling_graph::Graph;
use kindling_models::tasks::anomaly_detection::{
    Metrics, Verdict, auroc, choice, log_odds, metrics, places, threshold,
};
use kindling_models::tasks::{calibration::reliability, image_classification};
use kindling_spec::{ErrorCode, Objective, Split, TaskSpec};
use kindling_train::{Examples, GoodExamples, RungOutcome, TrialConfig, spoil};

use super::classification::{card_metrics, mistakes};
use super::{Description, Kind, Right, Settled, Validated};
use crate::release::Release;
use crate::{EngineError, Plan};

/// Good examples that a side needs: with fewer a threshold promises nothing.
const LEAST: [(Split, usize); 2] = [(Split::Train, 10), (Split::Validation, 3)];
/// Pictures that defects are drawn on to measure with, at most.
const DRAWN_ON: usize = 512;

#[derive(Debug)]
pub(super) struct Anomalies {
    /// The good class, then the others as one.
    view: View,
    /// The data set's class of each test picture, where it is faulty: a place in `faults`.
    kinds: Vec<Option<usize>>,
    /// The data set's classes that are faulty.
    faults: Vec<String>,
    false_alarms: f64,
}

impl Anomalies {
    pub(super) fn new(
        dataset: &Dataset,
        groups: &[(String, Vec<String>)],
        spec: &TaskSpec,
    ) -> Result<Self, EngineError> {
        let view = View::of_good(dataset, groups)?;
        for (split, least) in LEAST {
            let side = if split == Split::Train { &view.train } else { &view.validation };
            let count = side.iter().filter(|(_, label)| *label == 0).count();
            if count < least {
                let good = &view.classes[0];
                let what = format!("`{good}` has {count} pictures in its {split} split, at least {least} are needed");
                return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
            }
        }
        let faults = groups.get(1).map(|(_, names)| names.clone()).unwrap_or_default();
        let manifest = dataset.manifest();
        let fault = |(example, _): &(usize, usize)| {
            let name = &manifest.classes[manifest.examples[*example].class];
            faults.iter().position(|fault| fault == name)
        };
        let kinds = view.test.iter().map(fault).collect();
        Ok(Self { view, kinds, faults, false_alarms: spec.false_alarms.unwrap_or(TaskSpec::FALSE_ALARMS) })
    }

    fn side(&self, split: Split) -> &[(usize, usize)] {
        match split {
            Split::Train => &self.view.train,
            Split::Validation => &self.view.validation,
            Split::Test => &self.view.test,
        }
    }

    /// Good pictures of the validation split.
    fn good(&self) -> usize {
        self.view.validation.iter().filter(|(_, label)| *label == 0).count()
    }

    /// Good pictures of a side with a defect drawn on each, at the network's size.
    fn spoiled(
        &self,
        split: Split,
        most: usize,
        dataset: &Dataset,
        graph: &Graph,
    ) -> Result<(usize, Vec<f32>), EngineError> {
        let good: Vec<_> = self.side(split).iter().filter(|(_, label)| *label == 0).copied().collect();
        let step = good.len().div_ceil(most).max(1);
        let picks: Vec<_> = good.into_iter().step_by(step).collect();
        let input = &graph.input;
        let mut images = load_exact(dataset, &picks, input.height, &input.mean, &input.std)?;
        spoil(input, &mut images)?;
        Ok((picks.len(), images))
    }

    /// The figures of pictures whose labels and answers these are.
    fn figures(&self, answers: &[f32], labels: &[usize], objective: ObjectiveValue) -> CardMetrics {
        let found = image_classification::metrics(answers, 2, labels, &Objective::default(), &self.view.classes);
        card_metrics(&found, &reliability(answers, 2, labels), objective)
    }
}

impl Kind for Anomalies {
    fn classes(&self) -> &[String] {
        &self.view.classes
    }

    fn picks(&self, split: Split) -> Vec<(usize, usize)> {
        self.side(split).to_vec()
    }

    /// What is strange is learned late: on the sample's soap boxes the area under the curve was 0.78 after 1,600 pictures, 0.90
    /// after 4,800 and 0.98 after 43,000.
    fn least_images(&self) -> usize {
        4_800
    }

    fn counts(&self, split: Split) -> Vec<u64> {
        let faulty = self.side(split).iter().filter(|(_, label)| *label != 0).count() as u64;
        vec![self.side(split).len() as u64 - faulty, faulty]
    }

    fn trained(&self, graph: Graph) -> Result<Graph, EngineError> {
        Ok(places(&graph)?)
    }

    fn examples<'a>(&'a self, dataset: &'a Dataset, _: &'a Objective, _: Option<&'a [f32]>) -> Box<dyn Examples + 'a> {
        Box::new(GoodExamples { dataset, view: &self.view })
    }

    fn validate(&self, graph: &Graph, answers: &[f32], _: &Objective) -> Result<Validated, EngineError> {
        let scores = GoodExamples::scores(graph, answers);
        let (clean, rest) = scores.split_at(self.good());
        let (spoiled, real) = rest.split_at(self.good());
        let value = choice(&scores, self.good());
        let metrics = serde_json::json!({
            "image_auroc": auroc(clean, real), "drawn_auroc": auroc(clean, spoiled), "objective": value,
        });
        Ok(Validated { value, metrics })
    }

    /// Sets the threshold and the scale of the network's last layer.
    fn settle(&self, plan: &Plan, trained: &TrialConfig, outcome: &RungOutcome) -> Result<Settled, EngineError> {
        let scores = GoodExamples::scores(&trained.graph, &outcome.validation_answers);
        let good = self.good();
        let found = threshold(&scores[..good], self.false_alarms);
        let allowed = found.map_or(0.0, |found| found.value as f32);
        // Half way to the next, so that rounding does not make an alarm of the last that is none.
        let next = scores.iter().copied().filter(|score| *score > allowed).fold(f32::INFINITY, f32::min);
        let threshold = if next.is_finite() { (allowed + next) / 2.0 } else { allowed + 1e-3 * (1.0 + allowed.abs()) };
        let faulty: Vec<bool> = (0..scores.len()).map(|at| at >= good).collect();
        let verdict = Verdict::calibrated(threshold, &scores, &faulty);
        let graph = plan.graph(&trained.genome)?;
        let weights = verdict.complete(&graph, &outcome.weights)?;
        let answers = verdict.probabilities(&scores);
        Ok(Settled { graph, weights, answers, temperature: Some(1.0 / f64::from(verdict.scale)) })
    }

    fn describe(&self, release: &Release<'_>, test: &[f32]) -> Result<Description, EngineError> {
        let metric = release.plan.spec().objective.metric;
        let (good, answers) = (self.good(), release.validation_answers);
        let scores = log_odds(answers);
        let promised = threshold(&scores[..good], self.false_alarms).map_or(1.0, |found| found.false_alarms);
        let card = |found: Metrics, drawn_auroc: Option<f64>| AnomalyMetrics {
            image_auroc: found.image_auroc,
            drawn_auroc,
            false_alarms: found.false_alarms,
            false_alarms_ci: found.false_alarms_ci,
            false_alarms_promised: promised,
            recall: found.recall,
            recall_ci: found.recall_ci,
            per_class: found
                .per_kind
                .into_iter()
                .map(|kind| FaultMetrics {
                    label: kind.kind,
                    support: kind.support,
                    recall: kind.recall,
                    image_auroc: kind.image_auroc,
                })
                .collect(),
        };

        // Of the validation split the good ones and the real faulty ones, without those that were drawn on.
        let real = |all: &[f32], each: usize| [&all[..good * each], &all[2 * good * each..]].concat();
        let labels: Vec<usize> = (0..scores.len() - good).map(|at| usize::from(at >= good)).collect();
        let kinds: Vec<Option<usize>> = labels.iter().map(|label| (*label > 0).then_some(0)).collect();
        let value = ObjectiveValue { metric, value: choice(&scores, good) };
        let mut validation = self.figures(&real(answers, 2), &labels, value);
        let found = metrics(&real(&scores, 1), &kinds, &[], 0.0);
        validation.anomalies = Some(card(found, auroc(&scores[..good], &scores[good..2 * good])));

        let scores = log_odds(test);
        let (count, images) = self.spoiled(Split::Test, DRAWN_ON, release.dataset, release.graph)?;
        let drawn = kindling_train::predict(release.device, release.graph, release.weights, &images, count)?;
        let clean: Vec<f32> =
            scores.iter().zip(&self.kinds).filter(|(_, kind)| kind.is_none()).map(|(s, _)| *s).collect();
        let found = metrics(&scores, &self.kinds, &self.faults, 0.0);
        let drawn_auroc = auroc(&clean, &log_odds(&drawn));
        let value = ObjectiveValue { metric, value: found.image_auroc.or(drawn_auroc).unwrap_or(0.0) };
        let labels: Vec<usize> = self.view.test.iter().map(|(_, label)| *label).collect();
        let mut tested = self.figures(test, &labels, value);
        tested.anomalies = Some(card(found, drawn_auroc));
        Ok(Description {
            validation: validation.into(),
            test: tested.into(),
            decision: None,
            unknown: None,
            at_least: None,
            mistakes: mistakes(&self.view, test),
        })
    }

    /// Half of them with defects, so that the range of what is strange is known.
    fn calibration(&self, dataset: &Dataset, graph: &Graph, most: usize) -> Result<(usize, Vec<f32>), EngineError> {
        let step = self.view.validation.len().div_ceil((most / 2).max(1)).max(1);
        let picks: Vec<_> = self.view.validation.iter().copied().step_by(step).collect();
        let input = &graph.input;
        let mut images = load_exact(dataset, &picks, input.height, &input.mean, &input.std)?;
        let (count, spoiled) = self.spoiled(Split::Validation, most / 2, dataset, graph)?;
        images.extend(spoiled);
        Ok((picks.len() + count, images))
    }

    fn file_answer(&self, _: &Graph, answer: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(answer.to_vec())
    }

    fn right(&self) -> Right<'_> {
        Right::Classes(self.view.test.iter().map(|(_, label)| *label).collect())
    }
}
