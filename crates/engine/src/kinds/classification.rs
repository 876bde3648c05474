//! One class of several for each picture.

use kindling_data::{Dataset, View};
use kindling_export::{CardMetrics, ClassMetrics, ObjectiveValue, ReliabilityBin};
use kindling_graph::{Graph, scale_logits};
use kindling_models::tasks::calibration::{Bin, Reliability, reliability, temperature, with_temperature};
use kindling_models::tasks::image_classification::{Metrics, metrics, top};
use kindling_spec::{Objective, Split};
use kindling_train::{Examples, LabelledExamples, RungOutcome, TrialConfig};

use super::{Description, Kind, Right, Settled, Validated};
use crate::release::Release;
use crate::{EngineError, Mistake, Plan};

#[derive(Debug)]
pub(super) struct Classification {
    view: View,
}

impl Classification {
    pub(super) fn new(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, EngineError> {
        Ok(Self { view: View::new(dataset, groups)? })
    }

    fn side(&self, split: Split) -> &[(usize, usize)] {
        match split {
            Split::Train => &self.view.train,
            Split::Validation => &self.view.validation,
            Split::Test => &self.view.test,
        }
    }

    fn labels(&self, split: Split) -> Vec<usize> {
        self.side(split).iter().map(|(_, label)| *label).collect()
    }

    fn metrics(&self, split: Split, answers: &[f32], objective: &Objective) -> Metrics {
        metrics(answers, self.view.classes.len(), &self.labels(split), objective, &self.view.classes)
    }
}

impl Kind for Classification {
    fn classes(&self) -> &[String] {
        &self.view.classes
    }

    fn picks(&self, split: Split) -> Vec<(usize, usize)> {
        self.side(split).to_vec()
    }

    fn counts(&self, split: Split) -> Vec<u64> {
        let mut counts = vec![0; self.view.classes.len()];
        for (_, label) in self.side(split) {
            counts[*label] += 1;
        }
        counts
    }

    fn view(&self) -> Option<&View> {
        Some(&self.view)
    }

    fn examples<'a>(
        &'a self,
        dataset: &'a Dataset,
        objective: &'a Objective,
        teacher: Option<&'a [f32]>,
    ) -> Box<dyn Examples + 'a> {
        Box::new(LabelledExamples { dataset, view: &self.view, teacher, objective })
    }

    fn validate(&self, _: &Graph, answers: &[f32], objective: &Objective) -> Result<Validated, EngineError> {
        let found = self.metrics(Split::Validation, answers, objective);
        Ok(Validated { value: found.objective, metrics: serde_json::to_value(found)? })
    }

    /// Tempers the probabilities.
    fn settle(&self, _: &Plan, trained: &TrialConfig, outcome: &RungOutcome) -> Result<Settled, EngineError> {
        let (graph, weights, answers) = (&trained.graph, &outcome.weights, &outcome.validation_answers);
        let classes = self.view.classes.len();
        let told = temperature(answers, classes, &self.labels(Split::Validation));
        let scaled = scale_logits(graph, weights, (1.0 / told) as f32)?;
        let told = if scaled.is_some() { told } else { 1.0 };
        let answers = with_temperature(answers, classes, told);
        let weights = scaled.unwrap_or_else(|| weights.clone());
        Ok(Settled { graph: graph.clone(), weights, answers, temperature: Some(told) })
    }

    fn describe(&self, release: &Release<'_>, test: &[f32]) -> Result<Description, EngineError> {
        let (objective, classes) = (&release.plan.spec().objective, self.view.classes.len());
        let card = |split: Split, answers: &[f32]| {
            let found = self.metrics(split, answers, objective);
            let value = ObjectiveValue { metric: objective.metric, value: found.objective };
            let card = card_metrics(&found, &reliability(answers, classes, &self.labels(split)), value);
            (found, card.into())
        };
        let (validation, validation_card) = card(Split::Validation, release.validation_answers);
        let (_, test_card) = card(Split::Test, test);
        Ok(Description {
            validation: validation_card,
            test: test_card,
            decision: release.decision(&self.view, validation.threshold, test),
            unknown: release.unknown(&self.view, test)?,
            at_least: None,
            mistakes: mistakes(&self.view, test),
        })
    }

    fn file_answer(&self, _: &Graph, answer: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(answer.to_vec())
    }

    fn right(&self) -> Right<'_> {
        Right::Classes(self.labels(Split::Test))
    }
}

pub(super) fn card_metrics(metrics: &Metrics, reliability: &Reliability, objective: ObjectiveValue) -> CardMetrics {
    let per_class = metrics
        .per_class
        .iter()
        .enumerate()
        .map(|(class, c)| {
            let answered = metrics.confusion.iter().any(|row| row.get(class).is_some_and(|n| *n > 0));
            let present = c.support > 0;
            ClassMetrics {
                label: c.class.clone(),
                precision: answered.then_some(c.precision),
                recall: present.then_some(c.recall),
                f1: (answered || present).then_some(c.f1),
                support: c.support,
            }
        })
        .collect();
    CardMetrics {
        examples: metrics.examples,
        accuracy: metrics.accuracy,
        accuracy_ci: metrics.accuracy_ci,
        balanced_accuracy: metrics.balanced_accuracy,
        f1_macro: metrics.f1_macro,
        log_loss: metrics.log_loss,
        calibration_error: Some(reliability.ece),
        reliability: reliability
            .bins
            .iter()
            .map(|Bin { count, confidence, accuracy }| ReliabilityBin {
                count: *count,
                confidence: *confidence,
                accuracy: *accuracy,
            })
            .collect(),
        objective,
        anomalies: None,
        per_class,
        confusion: metrics.confusion.clone(),
    }
}

/// The wrong answers, the surest first.
pub(super) fn mistakes(view: &View, probabilities: &[f32]) -> Vec<Mistake> {
    let rows = view.test.iter().zip(probabilities.chunks_exact(view.classes.len().max(1)));
    let mut wrong: Vec<Mistake> = rows
        .map(|((example, label), row)| (*example, *label, top(row), row))
        .filter(|(_, label, answer, _)| label != answer)
        .map(|(example, label, answer, row)| Mistake {
            example,
            truth: view.classes[label].clone(),
            predicted: view.classes[answer].clone(),
            probability: row[answer],
        })
        .collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.example.cmp(&b.example)));
    wrong
}
