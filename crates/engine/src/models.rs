//! Finished models: ranked, opened, asked.

use image::RgbImage;
use kindling_data::decode_image;
use kindling_export::OnnxModel;
use kindling_graph::{Answer, Found};
use kindling_search::pareto_front;
use kindling_spec::{ErrorCode, ModelId, TaskId, TrialId};
use kindling_store::{FileRecord, ModelRecord, TrialRecord};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::error::blocking;
use crate::{EngineError, Service};

/// The file of a bundle that answers.
pub(crate) const ONNX: &str = "model.onnx";

/// One model of a study.
#[derive(Debug, Clone, Serialize)]
pub struct LeaderboardEntry {
    /// The model.
    pub model: ModelId,
    /// The trial it comes from.
    pub trial: TrialId,
    /// That trial's number.
    pub trial_number: u32,
    /// The rung it was exported after.
    pub rung: u32,
    /// The family of its network.
    pub family: String,
    /// The side of its input in pixels.
    pub resolution: i64,
    /// The objective on the validation split.
    pub value: f64,
    /// The objective on the test split.
    pub test_value: f64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Bytes of the weights as deployed.
    pub weights_bytes: u64,
    /// Multiply-accumulates to answer one image.
    pub macs: u64,
    /// Peak bytes of activations.
    pub ram_bytes: u64,
    /// Milliseconds to answer one image.
    pub latency_ms: f64,
    /// No other model is at least as good in value, size and latency, and better in one.
    pub pareto: bool,
    /// What it is picked for among the study's models, if for anything.
    pub picks: Vec<Pick>,
    /// When it was made, Unix milliseconds.
    pub created_at: i64,
}

/// A study's models in order. It says nothing that may change while these are its models.
pub(crate) struct Leaderboard {
    /// Which they are, oldest first.
    models: Vec<ModelId>,
    /// The best first.
    pub(crate) entries: Vec<LeaderboardEntry>,
}

/// What a model may be picked for. A point is a hundredth of the objective on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The best value.
    MostAccurate,
    /// The fewest bytes of weights among those within a point of the best.
    SmallestWithinAPoint,
    /// The least latency among those within a point of the best.
    FastestWithinAPoint,
}

impl Pick {
    /// For people.
    pub fn about(self) -> &'static str {
        match self {
            Self::MostAccurate => "most accurate",
            Self::SmallestWithinAPoint => "smallest within a point",
            Self::FastestWithinAPoint => "fastest within a point",
        }
    }
}

/// Marks the three picks; `entries` are the best first, of equals the smaller.
fn pick(entries: &mut [LeaderboardEntry]) {
    let Some(best) = entries.first().map(|entry| entry.value) else { return };
    // Values are shares of so many examples: a difference of exactly a point may come out a rounding above it.
    let close = |entry: &LeaderboardEntry| best - entry.value <= 0.01 + 1e-9;
    let least = |by: fn(&LeaderboardEntry) -> f64| {
        let close = entries.iter().enumerate().filter(|(_, entry)| close(entry));
        close.min_by(|(_, a), (_, b)| by(a).total_cmp(&by(b))).map(|(place, _)| place)
    };
    let places = [Some(0), least(|entry| entry.weights_bytes as f64), least(|entry| entry.latency_ms)];
    let picks = [Pick::MostAccurate, Pick::SmallestWithinAPoint, Pick::FastestWithinAPoint];
    for (place, pick) in places.into_iter().zip(picks) {
        if let Some(entry) = place.and_then(|place| entries.get_mut(place)) {
            entry.picks.push(pick);
        }
    }
}

/// A model's answer to one image.
#[derive(Debug, Clone, Serialize)]
pub struct Prediction {
    /// What the model says.
    pub said: Said,
    /// The image's width in pixels.
    pub width: u32,
    /// The image's height in pixels.
    pub height: u32,
    /// Milliseconds the network and its preprocessing took.
    pub milliseconds: f64,
}

/// What a model says of an image, by its kind of task.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// One class of several.
    Class {
        /// The likeliest.
        label: String,
        /// Each class with its probability, in the order of the model's outputs.
        probabilities: Vec<(String, f32)>,
        /// Whether the likeliest class is so unlikely that the image is probably of none; absent if the model cannot tell.
        unknown: Option<bool>,
        /// The class that the task is after, and whether it is there by the threshold on the card.
        decision: Option<(String, bool)>,
    },
    /// What is where.
    Objects {
        /// The surest first.
        objects: Vec<Object>,
        /// The score that each has at least.
        at_least: f32,
    },
}

/// Something in an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Object {
    /// Its class.
    pub label: String,
    /// How sure the model is, 0 to 1.
    pub score: f32,
    /// Left, top, right and bottom in shares of the image's width and height, 0 to 1.
    pub sides: [f32; 4],
}

/// A test example that a model answered wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mistake {
    /// The example's number in the data set.
    pub example: usize,
    /// Its label.
    pub truth: String,
    /// The model's answer.
    pub predicted: String,
    /// The probability the model gave its answer.
    pub probability: f32,
}

/// The revisions there may be: as it was released, and with the files that are made last.
pub(crate) const REVISIONS: [u32; 2] = [0, 1];

/// The key of a model's bundle among the files; each revision has its own.
pub(crate) fn bundle_key(id: &ModelId, revision: u32) -> String {
    match revision {
        0 => format!("models/{id}"),
        revision => format!("models/{id}-{revision}"),
    }
}

/// The key of what is kept about a model beside its bundle.
pub(crate) fn mistakes_key(id: &ModelId) -> String {
    format!("mistakes/{id}.json")
}

/// The key of a model's answers on the test split.
pub(crate) fn answers_key(id: &ModelId) -> String {
    format!("answers/{id}.json")
}

/// What a model said of every test example when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestAnswers {
    /// The examples' numbers in the data set, in order.
    pub examples: Vec<usize>,
    /// `[examples, classes]`, row by row, in the order of the model's labels.
    pub probabilities: Vec<f32>,
}

impl Service {
    /// A study's models, the best on the validation split first; of equals the smaller.
    ///
    /// # Errors
    /// There is no task of this id.
    pub async fn leaderboard(&self, task: &TaskId) -> Result<Vec<LeaderboardEntry>, EngineError> {
        let entries = self.board(task).await?.entries.clone();
        if entries.is_empty() {
            self.task(task).await?;
        }
        Ok(entries)
    }

    /// The same; empty also where there is no such task.
    pub(crate) async fn board(&self, task: &TaskId) -> Result<Arc<Leaderboard>, EngineError> {
        let models = self.store().meta.model_ids(task).await?;
        if let Some(known) = self.board_cache().get(task).filter(|known| known.models == models) {
            return Ok(known);
        }
        let models = self.store().meta.models(task).await?;
        let ids = models.iter().map(|model| model.id.clone()).collect();
        let trials = self.store().meta.all_trials(task).await?;
        let points: Vec<Vec<f64>> =
            models.iter().map(|m| vec![-m.value, m.weights_bytes as f64, m.latency_ms]).collect();
        let front = pareto_front(&points);
        let mut entries: Vec<_> = models
            .into_iter()
            .enumerate()
            .filter_map(|(i, m)| {
                let trial = trials.iter().find(|t| t.id == m.trial)?;
                Some(entry(m, trial, front.contains(&i)))
            })
            .collect();
        entries.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.weights_bytes.cmp(&b.weights_bytes)));
        pick(&mut entries);
        let board = Arc::new(Leaderboard { models: ids, entries });
        self.board_cache().put(task, board.clone());
        Ok(board)
    }

    /// One model with its card and files.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn model(&self, id: &ModelId) -> Result<ModelRecord, EngineError> {
        Ok(self.store().meta.model(id).await?)
    }

    /// One file of a model, and where it is on the local disk.
    ///
    /// # Errors
    /// There is no such model, or it has no such file.
    pub async fn model_file(&self, id: &ModelId, name: &str) -> Result<(FileRecord, PathBuf), EngineError> {
        let model = self.model(id).await?;
        let Some(file) = model.files.iter().find(|f| f.name == name) else {
            let known: Vec<_> = model.files.iter().map(|f| f.name.as_str()).collect();
            let detail = format!("model {id} has no file of this name; it has {}", known.join(", "));
            return Err(EngineError::refused(ErrorCode::FileNotFound, detail));
        };
        let folder = self.store().files.fetch_dir(&bundle_key(id, model.revision)).await?;
        Ok((file.clone(), folder.join(&file.name)))
    }

    /// Runs the model's own ONNX file on an image file's bytes. Of objects those are said whose score is `at_least`, or where
    /// that is not given what the model's card says.
    ///
    /// # Errors
    /// There is no such model, it was not exported as ONNX, or the image cannot be read or is too large.
    pub async fn predict(&self, id: &ModelId, image: &[u8], at_least: Option<f32>) -> Result<Prediction, EngineError> {
        let model = self.open_model(id).await?;
        let (bytes, limits) = (image.to_vec(), self.limits().clone());
        blocking(move || {
            let image = decode_image(&bytes, &limits)?;
            let started = Instant::now();
            let said = say(&model, &image, at_least)?;
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            Ok(Prediction { said, width: image.width(), height: image.height(), milliseconds })
        })
        .await
    }

    pub(crate) async fn open_model(&self, id: &ModelId) -> Result<Arc<OnnxModel>, EngineError> {
        // What is open may be another project's: whether there is such a model is for the records to say.
        let (_, path) = self.model_file(id, ONNX).await?;
        if let Some(open) = self.model_cache().get(id) {
            return Ok(open);
        }
        let bytes = tokio::fs::read(&path).await.map_err(EngineError::io(&path))?;
        let open = Arc::new(blocking(move || Ok(OnnxModel::load(&bytes)?)).await?);
        self.model_cache().put(id, open.clone());
        Ok(open)
    }

    /// The test examples the model answered wrong, the surest of its errors first.
    ///
    /// # Errors
    /// There is no model of this id.
    pub async fn mistakes(&self, id: &ModelId) -> Result<Vec<Mistake>, EngineError> {
        self.model(id).await?;
        let bytes = self.store().files.get(&mistakes_key(id)).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// What the model said of every test example when it was made, from the original files.
    ///
    /// # Errors
    /// There is no model of this id, or it was made by a version that did not keep this.
    pub async fn test_answers(&self, id: &ModelId) -> Result<TestAnswers, EngineError> {
        self.model(id).await?;
        let bytes = self.store().files.get(&answers_key(id)).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// What a model says of an image.
///
/// # Errors
/// The file cannot be run.
pub fn say(model: &OnnxModel, image: &RgbImage, at_least: Option<f32>) -> Result<Said, EngineError> {
    let (width, height) = image.dimensions();
    if model.answer() == Answer::Map {
        let at_least = at_least.unwrap_or_else(|| model.at_least());
        let name = |class: usize| model.labels().get(class).cloned().unwrap_or_default();
        let mut found = model.detect(image.as_raw(), width, height, at_least)?;
        found.truncate(model.at_most());
        let object = |found: Found| Object { label: name(found.class), score: found.score, sides: found.sides };
        return Ok(Said::Objects { objects: found.into_iter().map(object).collect(), at_least });
    }
    let answers = model.predict(image.as_raw(), width, height)?;
    let probabilities: Vec<_> = model.labels().iter().cloned().zip(answers).collect();
    let best = probabilities.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let label = best.map(|(name, _)| name.clone()).unwrap_or_default();
    let unknown = best.zip(model.unknown_below()).map(|((_, probability), below)| *probability < below);
    let decision = model.decision().and_then(|(name, at_least)| {
        let (_, probability) = probabilities.iter().find(|(label, _)| *label == name)?;
        Some((name, *probability >= at_least))
    });
    Ok(Said::Class { label, probabilities, unknown, decision })
}

fn entry(model: ModelRecord, trial: &TrialRecord, pareto: bool) -> LeaderboardEntry {
    LeaderboardEntry {
        model: model.id,
        trial: model.trial,
        trial_number: trial.number,
        rung: model.rung,
        family: trial.genome.family.clone(),
        resolution: trial.genome.int("resolution").unwrap_or(0),
        value: model.value,
        test_value: model.test_value,
        parameters: model.parameters,
        weights_bytes: model.weights_bytes,
        macs: model.macs,
        ram_bytes: model.ram_bytes,
        latency_ms: model.latency_ms,
        pareto,
        picks: Vec::new(),
        created_at: model.created_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_and_the_fastest_are_picked_within_a_point() {
        let entry = |value: f64, weights_bytes: u64, latency_ms: f64| LeaderboardEntry {
            model: ModelId::new(),
            trial: TrialId::new(),
            trial_number: 0,
            rung: 0,
            family: "plain".into(),
            resolution: 32,
            value,
            test_value: value,
            parameters: 0,
            weights_bytes,
            macs: 0,
            ram_bytes: 0,
            latency_ms,
            pareto: false,
            picks: Vec::new(),
            created_at: 0,
        };
        let mut entries = [entry(0.95, 90, 2.0), entry(0.945, 50, 3.0), entry(0.94, 80, 1.0), entry(0.93, 10, 0.1)];
        pick(&mut entries);
        let picks = entries.map(|entry| entry.picks);
        let (best, small, fast) = (Pick::MostAccurate, Pick::SmallestWithinAPoint, Pick::FastestWithinAPoint);
        assert_eq!(picks, [vec![best], vec![small], vec![fast], vec![]]);
        let mut one = [entry(0.5, 1, 1.0)];
        pick(&mut one);
        assert_eq!(one[0].picks, [best, small, fast]);
        assert_eq!(serde_json::to_value(fast).unwrap(), "fastest_within_a_point");
        pick(&mut []);
    }
}
