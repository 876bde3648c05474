//! What would make a task's models better: more examples, a larger limit, or more time; each measured,
//! with an interval.
//!
//! Examples: the study's best network is trained on parts of the examples and the curve is followed to
//! twice as many. Size and time: the study's own trials are read the same way, the best error at each
//! size and after each time. All three say the change of the share answered wrong on the validation split.

use kindling_search::{Forecast, Measured, PowerLaw, binomial_variance};
use kindling_spec::{AnalysisKind, ErrorCode, TaskId, TaskKind};
use kindling_store::{AnalysisRecord, TaskRecord, TrialRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;

use crate::analysis::{AnalysisView, Found, Work, device};
use crate::curve::{CurveInput, CurvePoint, learning_curve, measured, training_noise};
use crate::error::blocking;
use crate::{EngineError, Service};

/// Images shown in all when the epochs are not said, within [`EPOCHS`].
const IMAGES: usize = 300_000;
/// Fewest and most epochs on all examples when they are not said.
const EPOCHS: (usize, usize) = (6, 40);
/// Shares of the training examples, in eighths.
const SHARES: [usize; 3] = [2, 4, 8];

/// How the learning curve is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdviceOptions {
    /// Trainings of each share of the examples, 1 to 5; 2 when not said.
    #[serde(default)]
    pub repeats: Option<u32>,
    /// Epochs on all examples, 1 to 200; when not said, as many as show 300,000 pictures, from 6 to 40.
    #[serde(default)]
    pub epochs: Option<u32>,
}

impl AdviceOptions {
    fn check(&self) -> Result<(), EngineError> {
        let refuse = |what: String| Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        match (self.repeats, self.epochs) {
            (Some(n), _) if !(1..=5).contains(&n) => refuse(format!("`repeats` must be from 1 to 5, not {n}")),
            (_, Some(n)) if !(1..=200).contains(&n) => refuse(format!("`epochs` must be from 1 to 200, not {n}")),
            _ => Ok(()),
        }
    }
}

/// A mean with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<Forecast> for Interval {
    fn from(Forecast { mean, low, high }: Forecast) -> Self {
        Self { mean, low, high }
    }
}

/// What may be given more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lever {
    /// Twice the examples.
    Examples,
    /// Twice the bytes of weights.
    Size,
    /// Twice the seconds of search.
    Time,
}

/// One thing that may be doubled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// What.
    pub lever: Lever,
    /// What there is of it now: training examples, bytes, seconds.
    pub now: f64,
    /// By how much the share answered wrong would fall if it were doubled; `None` where too little is known.
    pub gain: Option<Interval>,
    /// Why nothing can be said, if so.
    pub note: Option<String>,
}

/// What twice the examples would do for one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassAdvice {
    /// The class.
    pub class: String,
    /// Its share of the training examples.
    pub share: f64,
    /// The share of its validation examples answered wrong, with all training examples.
    pub error: f64,
    /// By how much the share of all validation examples answered wrong would fall on its account.
    pub gain: Option<Interval>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdviceReport {
    /// The family of the network measured: the study's best.
    pub family: String,
    /// The number of its trial.
    pub trial: u32,
    /// Validation examples it was measured on.
    pub validation: usize,
    /// Epochs on all examples.
    pub epochs: u32,
    /// The learning curve.
    pub curve: Vec<CurvePoint>,
    /// The error that will be measured with twice the examples.
    pub doubled: Option<Interval>,
    /// The levers, the most promising first, those of which nothing is known last.
    pub advice: Vec<Advice>,
    /// The classes, the one whose examples promise most first.
    pub classes: Vec<ClassAdvice>,
    /// Seconds it took.
    pub seconds: f64,
}

/// Runs the analysis of a record.
pub(crate) async fn run(work: &Work<'_>) -> Result<Found, EngineError> {
    let start = Instant::now();
    let options: AdviceOptions = serde_json::from_value(work.record.options.clone())?;
    let id: TaskId =
        work.record.subject.parse().map_err(|e| EngineError::refused(ErrorCode::TaskNotFound, format!("{e}")))?;
    let (service, meta) = (work.service, &work.service.store().meta);
    let task = meta.task(&id).await?;
    let plan = service.plan(&task).await?;
    let dataset = service.open_dataset(&task.dataset).await?;
    let trials = meta.all_trials(&id).await?;
    let best = service.leaderboard(&id).await?.into_iter().next().ok_or_else(|| no_model(&id))?;
    let trial = meta.trial(&best.trial).await?;
    // It is trained from its beginning.
    let config = service.trial_config(&plan, &TrialRecord { checkpoint: None, ..trial.clone() }).await?;
    let repeats = options.repeats.unwrap_or(2);
    let each = plan.view()?.train.len().max(1) * SHARES.len() * repeats as usize;
    let epochs = options.epochs.unwrap_or_else(|| (IMAGES / each).clamp(EPOCHS.0, EPOCHS.1) as u32);
    let (device, signals, at) = (device(work.device).await?, work.signals.clone(), plan.clone());
    let curve = blocking(move || {
        let view = at.view()?;
        let input = CurveInput { config: &config, dataset: &dataset, view, parts: &SHARES, repeats, epochs };
        learning_curve(&device, &input, &mut |share| signals.tell(share), &signals.cancel)
    })
    .await?;

    let view = plan.view()?;
    let validation = view.validation.len();
    let noise = training_noise(&curve);
    let (now, law) = (view.train.len() as f64, PowerLaw::fit(&measured(&curve, validation, noise, CurvePoint::error)));
    let few = "too few examples of a class to train on a part of them";
    let mut advice = vec![
        Advice {
            lever: Lever::Examples,
            now,
            gain: law.as_ref().map(|law| law.gain(now, 2.0 * now).into()),
            note: law.is_none().then(|| few.to_owned()),
        },
        size_advice(&task, &trials, validation),
        time_advice(&task, &trials, validation),
    ];
    let mean = |gain: &Option<Interval>| gain.map_or(f64::MIN, |g| g.mean);
    advice.sort_by(|a, b| mean(&b.gain).total_cmp(&mean(&a.gain)));
    let mut classes: Vec<ClassAdvice> = view
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let of = |picks: &[(usize, usize)]| picks.iter().filter(|(_, label)| *label == class).count();
            let (weight, own) = (of(&view.validation) as f64 / validation.max(1) as f64, of(&view.validation));
            let error = |point: &CurvePoint| point.class_errors.get(class).copied().unwrap_or(f64::NAN);
            let law = PowerLaw::fit(&measured(&curve, own, noise, error));
            let gain = law.map(|law| {
                let Forecast { mean, low, high } = law.gain(now, 2.0 * now);
                Interval { mean: mean * weight, low: low * weight, high: high * weight }
            });
            let share = of(&view.train) as f64 / view.train.len().max(1) as f64;
            ClassAdvice { class: name.clone(), share, error: curve.last().map_or(0.0, error), gain }
        })
        .collect();
    classes.sort_by(|a, b| mean(&b.gain).total_cmp(&mean(&a.gain)));
    let report = AdviceReport {
        family: trial.genome.family,
        trial: trial.number,
        validation,
        epochs,
        doubled: law.map(|law| law.predict(2.0 * now, validation, noise).into()),
        curve,
        advice,
        classes,
        seconds: start.elapsed().as_secs_f64(),
    };
    let summary = json!({
        "advice": report.advice,
        "class": report.classes.first().map(|c| &c.class),
        "doubled": report.doubled,
        "seconds": report.seconds,
    });
    Found::new(summary, &report)
}

/// A finished rung as size and time see it.
struct Rung {
    bytes: f64,
    finished_at: i64,
    error: f64,
}

fn rungs(trials: &[TrialRecord]) -> Vec<Rung> {
    trials
        .iter()
        .flat_map(|trial| {
            let bytes = trial.cost.get("weights_bytes").and_then(Value::as_f64);
            trial.results.iter().filter_map(move |result| {
                let accuracy = result.metrics.get("accuracy").and_then(Value::as_f64)?;
                Some(Rung { bytes: bytes?, finished_at: result.finished_at, error: 1.0 - accuracy })
            })
        })
        .collect()
}

/// The least error of those within each of some halvings of an amount, where there is one.
fn incumbents(rungs: &[Rung], amount: f64, of: impl Fn(&Rung) -> f64, validation: usize) -> Vec<Measured> {
    (0..4)
        .map(|halving| amount / f64::from(1 << halving))
        .filter_map(|most| {
            let within = rungs.iter().filter(|rung| of(rung) <= most).map(|rung| rung.error);
            let error = within.reduce(f64::min)?;
            Some(Measured { amount: most, error, variance: binomial_variance(error, validation) })
        })
        .collect()
}

fn lever(lever: Lever, now: f64, points: &[Measured], note: &str) -> Advice {
    let gain = (points.len() >= 3).then(|| PowerLaw::fit(points)).flatten();
    let note = gain.is_none().then(|| note.to_owned());
    Advice { lever, now, gain: gain.map(|law| law.gain(now, 2.0 * now).into()), note }
}

fn size_advice(task: &TaskRecord, trials: &[TrialRecord], validation: usize) -> Advice {
    let rungs = rungs(trials);
    let Some(limit) = task.spec.constraints.max_float_weights_bytes() else {
        let largest = rungs.iter().map(|r| r.bytes).fold(0.0, f64::max);
        let note = Some("the task sets no limit on the weights' bytes".to_owned());
        return Advice { lever: Lever::Size, now: largest, gain: None, note };
    };
    let points = incumbents(&rungs, limit as f64, |rung| rung.bytes, validation);
    lever(Lever::Size, limit as f64, &points, "too few networks of half and a quarter of the limit were trained")
}

fn time_advice(task: &TaskRecord, trials: &[TrialRecord], validation: usize) -> Advice {
    let rungs = rungs(trials);
    let Some(start) = task.started_at else {
        return lever(Lever::Time, task.spent_seconds, &[], "the search has not begun");
    };
    // Up to the last result: what a pause before a resumption adds is not told apart.
    let after = |rung: &Rung| (rung.finished_at - start).max(1) as f64 / 1e3;
    let end = rungs.iter().map(after).fold(0.0, f64::max);
    let points = incumbents(&rungs, end, after, validation);
    lever(Lever::Time, task.spent_seconds.max(1e-3), &scaled(points, end, task.spent_seconds), "too few results yet")
}

/// Times by the clock as seconds of the budget.
fn scaled(mut points: Vec<Measured>, clock: f64, spent: f64) -> Vec<Measured> {
    points.iter_mut().for_each(|point| point.amount *= spent.max(1e-3) / clock.max(1e-3));
    points
}

fn no_model(id: &TaskId) -> EngineError {
    let detail = format!("task {id} has no model yet; advice is measured with its best one");
    EngineError::refused(ErrorCode::TaskState, detail)
}

impl Service {
    /// Asks what would make a task's models better; it is measured in the background.
    ///
    /// # Errors
    /// The task is unknown or has no model yet, an option is out of its range, or the same is under way
    /// ([`ErrorCode::AnalysisBusy`]).
    pub async fn seek_advice(&self, id: &TaskId, options: &AdviceOptions) -> Result<AnalysisRecord, EngineError> {
        options.check()?;
        let task = self.task(id).await?;
        if task.spec.kind != TaskKind::ImageClassification {
            let what = format!("advice is measured for tasks of the kind `{}` only", TaskKind::ImageClassification);
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        if self.leaderboard(id).await?.is_empty() {
            return Err(no_model(id));
        }
        self.ask_for(AnalysisKind::Advice, id.as_str(), serde_json::to_value(options)?).await
    }

    /// The newest advice on a task.
    ///
    /// # Errors
    /// There is no task of this id, or none was asked for ([`ErrorCode::AnalysisNotFound`]).
    pub async fn advice(&self, id: &TaskId) -> Result<AnalysisView<AdviceReport>, EngineError> {
        self.task(id).await?;
        self.look_up(AnalysisKind::Advice, id.as_str()).await?.ok_or_else(|| {
            let detail = format!("nobody has asked for advice on task {id} yet; POST to the same address");
            EngineError::refused(ErrorCode::AnalysisNotFound, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(bytes: f64, seconds: i64, error: f64) -> Rung {
        Rung { bytes, finished_at: seconds * 1000, error }
    }

    #[test]
    fn the_best_within_each_halving_is_read_off_the_trials() {
        let rungs = [rung(100.0, 1, 0.4), rung(200.0, 2, 0.3), rung(150.0, 3, 0.35), rung(400.0, 8, 0.2)];
        let found: Vec<_> = incumbents(&rungs, 400.0, |r| r.bytes, 500).iter().map(|m| (m.amount, m.error)).collect();
        assert_eq!(found, [(400.0, 0.2), (200.0, 0.3), (100.0, 0.4)]);
        let gain = lever(Lever::Size, 400.0, &incumbents(&rungs, 400.0, |r| r.bytes, 500), "few").gain;
        assert!(gain.is_some_and(|g| g.mean > 0.01 && g.low >= 0.0 && g.high < 0.2), "{gain:?}");
        let few = lever(Lever::Size, 400.0, &incumbents(&rungs[3..], 400.0, |r| r.bytes, 500), "few");
        assert_eq!((few.gain, few.note.as_deref()), (None, Some("few")));
    }

    #[test]
    fn a_search_that_has_settled_promises_little_of_more_time() {
        let settled: Vec<_> = (1..=64).map(|s| rung(1.0, s, if s < 6 { 0.3 } else { 0.1 })).collect();
        let falling: Vec<_> = (1..=64).map(|s| rung(1.0, s, 0.4 * (s as f64).powf(-0.4))).collect();
        let gain = |rungs: &[Rung]| {
            let points = incumbents(rungs, 64.0, |r| r.finished_at as f64 / 1e3, 2000);
            lever(Lever::Time, 64.0, &points, "few").gain.unwrap().mean
        };
        assert!(gain(&settled) < 0.005 && gain(&falling) > 0.01, "{} {}", gain(&settled), gain(&falling));
    }
}
