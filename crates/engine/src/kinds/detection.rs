//! Objects with their boxes.

use kindling_data::{BoxView, Boxed, Dataset};
use kindling_export::{BoxClassMetrics, BoxMetrics, ObjectiveValue, objects_answer};
use kindling_graph::{Found, Graph, GraphError, find_objects};
use kindling_models::tasks::object_detection::{
    Figures, Seen, Truth, USUAL_OVERLAP, figures, iou, mean_precision, seen,
};
use kindling_spec::{ErrorCode, Objective, Split, TaskKind};
use kindling_train::{BoxedExamples, Examples, RungOutcome, TrialConfig, truths};

use super::{Description, Kind, Right, Settled, Validated};
use crate::release::Release;
use crate::{EngineError, Mistake, Plan};

#[derive(Debug)]
pub(super) struct Detection {
    view: BoxView,
}

impl Detection {
    pub(super) fn new(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, EngineError> {
        Ok(Self { view: BoxView::new(dataset, groups)? })
    }

    /// For tasks whose pictures have one object at most.
    pub(super) fn of_one(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, EngineError> {
        let this = Self::new(dataset, groups)?;
        let all = this.view.train.iter().chain(&this.view.validation).chain(&this.view.test);
        let several: Vec<&Boxed> = all.filter(|boxed| boxed.boxes.len() > 1).collect();
        let Some(first) = several.first() else { return Ok(this) };
        let path = &dataset.manifest().examples[first.example].path;
        let what = format!(
            "{} pictures have several boxes of these classes, `{path}` for one; take `{}`, or classes of which each picture has one",
            several.len(),
            TaskKind::ObjectDetection
        );
        Err(EngineError::refused(ErrorCode::InvalidRequest, what))
    }

    fn side(&self, split: Split) -> &[Boxed] {
        match split {
            Split::Train => &self.view.train,
            Split::Validation => &self.view.validation,
            Split::Test => &self.view.test,
        }
    }

    fn seen(&self, split: Split, graph: &Graph, answers: &[f32]) -> Result<Vec<Seen>, EngineError> {
        let truths = self.side(split).iter().map(|boxed| truths(&boxed.boxes)).collect();
        Ok(seen(answers, map_shape(graph)?, truths))
    }
}

/// The map's shape.
fn map_shape(graph: &Graph) -> Result<[usize; 3], EngineError> {
    let shape = graph.output_shape()?;
    let wrong = |_| GraphError::Graph("its output is no map of objects; this is a fault of ours".to_owned());
    Ok(<[usize; 3]>::try_from(shape).map_err(wrong)?)
}

impl Kind for Detection {
    fn classes(&self) -> &[String] {
        &self.view.classes
    }

    fn picks(&self, split: Split) -> Vec<(usize, usize)> {
        self.side(split).iter().map(|boxed| (boxed.example, 0)).collect()
    }

    fn counts(&self, split: Split) -> Vec<u64> {
        let mut counts = vec![0; self.view.classes.len()];
        for found in self.side(split).iter().flat_map(|boxed| &boxed.boxes) {
            counts[found.class] += 1;
        }
        counts
    }

    fn examples<'a>(
        &'a self,
        dataset: &'a Dataset,
        objective: &'a Objective,
        _: Option<&'a [f32]>,
    ) -> Box<dyn Examples + 'a> {
        Box::new(BoxedExamples { dataset, view: &self.view, objective })
    }

    fn validate(&self, graph: &Graph, answers: &[f32], objective: &Objective) -> Result<Validated, EngineError> {
        let seen = self.seen(Split::Validation, graph, answers)?;
        let found = figures(&seen, &self.view.classes, objective, None);
        Ok(Validated { value: found.objective, metrics: serde_json::to_value(found)? })
    }

    fn settle(&self, _: &Plan, trained: &TrialConfig, outcome: &RungOutcome) -> Result<Settled, EngineError> {
        let (graph, weights) = (trained.graph.clone(), outcome.weights.clone());
        Ok(Settled { graph, weights, answers: outcome.validation_answers.clone(), temperature: None })
    }

    fn describe(&self, release: &Release<'_>, test: &[f32]) -> Result<Description, EngineError> {
        let (objective, names) = (&release.plan.spec().objective, &self.view.classes);
        let validation = self.seen(Split::Validation, release.graph, release.validation_answers)?;
        let validation = figures(&validation, names, objective, None);
        let seen = self.seen(Split::Test, release.graph, test)?;
        let found = figures(&seen, names, objective, Some(validation.at_least));
        let at_least = Some(validation.at_least);
        let mistakes = mistakes(&self.view, &seen, validation.at_least);
        let card = |figures| card_metrics(figures, objective).into();
        Ok(Description {
            validation: card(validation),
            test: card(found),
            decision: None,
            unknown: None,
            at_least,
            mistakes,
        })
    }

    fn file_answer(&self, graph: &Graph, answer: &[f32]) -> Result<Vec<f32>, EngineError> {
        Ok(objects_answer(&find_objects(answer, map_shape(graph)?, 0.0)))
    }

    fn right(&self) -> Right<'_> {
        Right::Boxes(Box::new(|found: &[Vec<Found>]| {
            let pairs = found.iter().zip(&self.view.test);
            let seen: Vec<Seen> = pairs.map(|(found, boxed)| Seen::new(found, truths(&boxed.boxes))).collect();
            let precision = mean_precision(&seen, self.view.classes.len());
            [precision.map50.unwrap_or(0.0), precision.map.unwrap_or(0.0)]
        }))
    }
}

fn card_metrics(figures: Figures, objective: &Objective) -> BoxMetrics {
    let there = figures.boxes > 0;
    let per_class = figures.per_class.into_iter().map(|class| BoxClassMetrics {
        label: class.class,
        ap50: class.ap50,
        ap: class.ap,
        precision: class.precision,
        recall: class.recall,
        boxes: class.boxes,
    });
    BoxMetrics {
        examples: figures.examples,
        boxes: figures.boxes,
        map50: there.then_some(figures.map50),
        map: there.then_some(figures.map),
        centroid_f1: there.then_some(figures.centroid_f1),
        precision: there.then_some(figures.precision),
        recall: there.then_some(figures.recall),
        localization_accuracy: figures.localization_accuracy,
        per_class: per_class.collect(),
        objective: ObjectiveValue { metric: objective.metric, value: figures.objective },
    }
}

/// The pictures in which something is missed or wrongly said, the surest of what is wrong first.
fn mistakes(view: &BoxView, seen: &[Seen], at_least: f64) -> Vec<Mistake> {
    let mut wrong: Vec<Mistake> = Vec::new();
    for (boxed, picture) in view.test.iter().zip(seen) {
        let sure: Vec<_> = picture.detections.iter().filter(|found| found.score >= at_least).collect();
        let mut free = vec![true; picture.truths.len()];
        let mut surest: Option<f64> = None;
        for found in &sure {
            let matches = |truth: &Truth| truth.class == found.class && iou(&truth.rect, &found.rect) >= USUAL_OVERLAP;
            match picture.truths.iter().enumerate().find(|(at, truth)| free[*at] && matches(truth)) {
                Some((at, _)) => free[at] = false,
                None => surest = Some(surest.map_or(found.score, |most: f64| most.max(found.score))),
            }
        }
        if surest.is_none() && free.iter().all(|free| !free) {
            continue;
        }
        let list = |classes: Vec<usize>| {
            let names: Vec<&str> = classes.into_iter().map(|class| view.classes[class].as_str()).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        wrong.push(Mistake {
            example: boxed.example,
            truth: list(picture.truths.iter().map(|truth| truth.class).collect()),
            predicted: list(sure.iter().map(|found| found.class).collect()),
            probability: surest.unwrap_or(0.0) as f32,
        });
    }
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.example.cmp(&b.example)));
    wrong
}
