//! Each specialist against the single model, on its own class and the same test examples.
//!
//! Everything is computed from the answers that the released models gave on the test split, kept when each model was
//! made and measured; nothing is estimated from other figures.

use kindling_models::tasks::image_classification::{recall_at_precision, wilson};
use kindling_spec::{ErrorCode, FleetId, ModelId, TaskId};
use kindling_store::{FleetRecord, ModelRecord};
use serde::Serialize;

use super::compare::{Ranking, bootstrap, middle, paired_difference};
use crate::error::blocking;
use crate::models::TestAnswers;
use crate::{EngineError, Service};

/// What [`FleetReport::method`] says.
const METHOD: &str = "Both models answered the same test examples, which took no part in the search. Recall is the \
     highest at any threshold whose precision on these examples reaches the stated one, chosen for each model alike; \
     its interval (Wilson) and that of the difference (Newcombe, paired) take the threshold as given. Average \
     precision needs no threshold; its intervals are of a paired, stratified bootstrap with 1000 resamples, and left \
     out where the examples are ranked without a mistake, which a bootstrap cannot doubt. All intervals are of 95%. \
     Latency is the median for one image and one thread on the machine that made the model; a fleet's is the sum.";

/// The comparison of a fleet's models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetReport {
    /// The fleet.
    pub fleet: FleetId,
    /// Every task is over: the report will not change unless one is resumed.
    pub complete: bool,
    /// The precision at which recalls are compared.
    pub precision: f64,
    /// Test examples that the models were asked about.
    pub test_examples: u64,
    /// A comparison for each class with a specialist.
    pub classes: Vec<FleetComparison>,
    /// The specialists there are, together.
    pub specialists: FleetCost,
    /// The single model, once there is one.
    pub single: Option<FleetCost>,
    /// How all this was measured.
    pub method: &'static str,
}

/// What models cost that answer together.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct FleetCost {
    /// How many.
    pub models: u64,
    /// Bytes of their weights.
    pub weights_bytes: u64,
    /// Multiply-accumulates to answer one image.
    pub macs: u64,
    /// Milliseconds to answer one image, one model after another.
    pub latency_ms: f64,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetComparison {
    /// The class.
    pub class: String,
    /// Test examples of it.
    pub positives: u64,
    /// Its specialist, once there is one.
    pub specialist: Option<FleetSide>,
    /// The single model on this class, once there is one.
    pub single: Option<FleetSide>,
    /// The specialist's figures less the single model's.
    pub difference: Option<FleetDifference>,
}

/// One model on one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetSide {
    /// The task it is of.
    pub task: TaskId,
    /// The model, the best of its study on the validation split.
    pub model: ModelId,
    /// Recall at the report's precision; 0 where no threshold reaches it.
    pub recall: f64,
    /// Its 95% interval.
    pub recall_ci: [f64; 2],
    /// The threshold that gives it.
    pub threshold: Option<f64>,
    /// Average precision.
    pub average_precision: f64,
    /// Its 95% interval.
    pub average_precision_ci: Option<[f64; 2]>,
    /// Bytes of the weights as deployed.
    pub weights_bytes: u64,
    /// Multiply-accumulates to answer one image.
    pub macs: u64,
    /// Peak bytes of activations.
    pub ram_bytes: u64,
    /// Milliseconds to answer one image.
    pub latency_ms: f64,
}

/// The specialist's figures less the single model's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FleetDifference {
    /// Of the recalls at the report's precision.
    pub recall: f64,
    /// Its 95% interval.
    pub recall_ci: [f64; 2],
    /// Of the average precisions.
    pub average_precision: f64,
    /// Its 95% interval.
    pub average_precision_ci: Option<[f64; 2]>,
}

/// A released model and what it said of the test split.
struct Asked {
    model: ModelRecord,
    labels: Vec<String>,
    answers: TestAnswers,
}

/// A model's figures on one class, with what the comparison needs.
struct Judged {
    side: FleetSide,
    ranking: Ranking,
    found: Vec<bool>,
}

impl Service {
    /// The comparison of a fleet's models as far as there are any.
    ///
    /// # Errors
    /// There is no fleet of this id, or what was kept of a model cannot be read.
    pub async fn fleet_report(&self, id: &FleetId) -> Result<FleetReport, EngineError> {
        let fleet = self.fleet(id).await?;
        let open = self.open_dataset(&fleet.dataset).await?;
        let (mut complete, mut single, mut specialists) = (true, None, Vec::new());
        for member in &fleet.members {
            let task = self.task(&member.task).await?;
            complete &= task.state.is_over();
            let asked = match &task.best_model {
                Some(model) => Some(self.asked(model).await?),
                None => None,
            };
            match &member.class {
                Some(class) => specialists.push((class.clone(), asked)),
                None => single = asked,
            }
        }
        blocking(move || {
            let manifest = open.manifest();
            let class_of = |example: usize| {
                let class = manifest.examples.get(example)?.class;
                manifest.classes.get(class).map(String::as_str)
            };
            compare(&fleet, complete, single.as_ref(), &specialists, class_of)
        })
        .await
    }

    async fn asked(&self, id: &ModelId) -> Result<Asked, EngineError> {
        let model = self.model(id).await?;
        let labels = model.card.get("labels").cloned().unwrap_or_default();
        Ok(Asked { labels: serde_json::from_value(labels)?, answers: self.test_answers(id).await?, model })
    }
}

fn compare<'d>(
    fleet: &FleetRecord,
    complete: bool,
    single: Option<&Asked>,
    specialists: &[(String, Option<Asked>)],
    class_of: impl Fn(usize) -> Option<&'d str>,
) -> Result<FleetReport, EngineError> {
    let precision = fleet.spec.objective.precision;
    let models = || specialists.iter().filter_map(|(_, asked)| asked.as_ref());
    let first = single.or_else(|| models().next());
    let examples = first.map(|asked| asked.answers.examples.as_slice()).unwrap_or_default();
    if models().chain(single).any(|asked| asked.answers.examples != examples) {
        let what = "the models of a fleet answered different test examples";
        return Err(EngineError::refused(ErrorCode::Internal, what));
    }
    let mut classes = Vec::new();
    for (number, (class, asked)) in specialists.iter().enumerate() {
        let of_class: Vec<bool> = examples.iter().map(|example| class_of(*example) == Some(class.as_str())).collect();
        let judge = |asked: &Asked| judge(asked, class, &of_class, precision);
        let mut judged = [asked.as_ref().map(judge).transpose()?, single.map(judge).transpose()?];
        let seed = kindling_search::derive_seed(fleet.spec.seed, number as u64);
        let difference = intervals(&mut judged, &of_class, seed);
        let [specialist, single] = judged.map(|judged| judged.map(|j| j.side));
        let positives = of_class.iter().filter(|is| **is).count() as u64;
        classes.push(FleetComparison { class: class.clone(), positives, specialist, single, difference });
    }
    Ok(FleetReport {
        fleet: fleet.id.clone(),
        complete,
        precision,
        test_examples: examples.len() as u64,
        classes,
        specialists: models().fold(FleetCost::default(), |cost, asked| cost.with(&asked.model)),
        single: single.map(|asked| FleetCost::default().with(&asked.model)),
        method: METHOD,
    })
}

impl FleetCost {
    fn with(self, model: &ModelRecord) -> Self {
        Self {
            models: self.models + 1,
            weights_bytes: self.weights_bytes + model.weights_bytes,
            macs: self.macs + model.macs,
            latency_ms: self.latency_ms + model.latency_ms,
        }
    }
}

fn judge(asked: &Asked, class: &str, of_class: &[bool], precision: f64) -> Result<Judged, EngineError> {
    let Asked { model, labels, answers } = asked;
    let column = labels.iter().position(|label| label == class);
    let rows = answers.probabilities.chunks_exact(labels.len().max(1));
    let (Some(column), true) = (column, rows.len() == of_class.len()) else {
        let what = format!("the test answers of model {} do not fit its labels", model.id);
        return Err(EngineError::refused(ErrorCode::Internal, what));
    };
    let scores: Vec<f64> = rows.map(|row| f64::from(row[column])).collect();
    let scored = scores.iter().copied().zip(of_class.iter().copied()).collect();
    let threshold = recall_at_precision(scored, precision).map(|(_, threshold)| threshold);
    let found: Vec<bool> =
        scores.iter().zip(of_class).map(|(s, is)| *is && threshold.is_some_and(|t| *s >= t)).collect();
    let positives = of_class.iter().filter(|is| **is).count() as u64;
    let hits = found.iter().filter(|hit| **hit).count() as u64;
    let ranking = Ranking::new(scores);
    let side = FleetSide {
        task: model.task.clone(),
        model: model.id.clone(),
        recall: if positives == 0 { 0.0 } else { hits as f64 / positives as f64 },
        recall_ci: wilson(hits, positives),
        threshold,
        average_precision: ranking.average_precision(of_class, &vec![1; of_class.len()]),
        average_precision_ci: None,
        weights_bytes: model.weights_bytes,
        macs: model.macs,
        ram_bytes: model.ram_bytes,
        latency_ms: model.latency_ms,
    };
    Ok(Judged { side, ranking, found })
}

/// Fills in the intervals of average precision, and compares the two where there are two.
fn intervals(judged: &mut [Option<Judged>; 2], of_class: &[bool], seed: u64) -> Option<FleetDifference> {
    let rankings: Vec<&Ranking> = judged.iter().flatten().map(|j| &j.ranking).collect();
    let resampled = bootstrap(&rankings, of_class, seed);
    // Of a perfect ranking every resample is perfect, which says nothing of the next mistake.
    let perfect = |j: &Judged| j.side.average_precision >= 1.0 - 1e-12;
    let difference = match (&judged[0], &judged[1], resampled.as_slice()) {
        (Some(a), Some(b), [of_a, of_b]) => {
            let both = |x: bool, y: bool| {
                let hits = a.found.iter().zip(&b.found).zip(of_class);
                hits.filter(|((p, q), is)| **is && **p == x && **q == y).count() as u64
            };
            let recall_ci =
                paired_difference(both(true, true), both(true, false), both(false, true), both(false, false));
            let differences = || of_a.iter().zip(of_b).map(|(x, y)| x - y).collect();
            Some(FleetDifference {
                recall: a.side.recall - b.side.recall,
                recall_ci,
                average_precision: a.side.average_precision - b.side.average_precision,
                average_precision_ci: (!(perfect(a) && perfect(b))).then(|| middle(differences())),
            })
        }
        _ => None,
    };
    for (judged, resampled) in judged.iter_mut().flatten().zip(resampled) {
        judged.side.average_precision_ci = (!perfect(judged)).then(|| middle(resampled));
    }
    difference
}
