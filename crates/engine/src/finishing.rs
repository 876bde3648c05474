//! The files that take longer than a search can wait for each of its models: made once a study is over, for the models that
//! it picks, and added to their bundles.

use kindling_data::{Dataset, load_exact};
use kindling_export::{BundleInput, Card, Int8, Truth, network_files, write_bundle};
use kindling_graph::{Graph, Quantized, Tensor, Weights, quantize};
use kindling_spec::{ExportFormat, ModelId, Split, TaskId};
use kindling_store::{ModelRecord, Outage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

use crate::error::blocking;
use crate::kinds::{Kind, Right};
use crate::models::{TestAnswers, bundle_key};
use crate::release::{EXPORT_PREFIX, file_record, judges};
use crate::{EngineError, Plan, Service, clock::now_ms};

/// The formats that are written of the 8-bit network, which is calibrated and measured first.
const LATER: [ExportFormat; 4] = [ExportFormat::OnnxInt8, ExportFormat::C, ExportFormat::Rust, ExportFormat::Web];
/// Validation images by which the ranges of an 8-bit network are chosen, at most.
const CALIBRATION: usize = 64;
/// Images decoded at once.
const CHUNK: usize = 256;
/// How long to wait before what storage did not take is made again.
const AGAIN: Duration = Duration::from_secs(5);
/// burn's own file, which only a program with burn can make.
const BURNPACK: &str = "model.burnpack";

/// What is written as soon as a model is made. The network itself is among it where something is to be made of it later.
pub(crate) fn formats_at_once(wanted: &[ExportFormat]) -> Vec<ExportFormat> {
    let mut formats: Vec<ExportFormat> = wanted.iter().copied().filter(|format| !LATER.contains(format)).collect();
    if formats.len() < wanted.len() && !formats.contains(&ExportFormat::Safetensors) {
        formats.push(ExportFormat::Safetensors);
    }
    formats
}

/// Whether files of the model are still to be made.
fn is_open(model: &ModelRecord, wanted: &[ExportFormat]) -> bool {
    model.revision == 0
        && wanted.iter().any(|format| LATER.contains(format))
        && model.files.iter().any(|file| file.name == "weights.safetensors")
}

impl Service {
    /// The models that a study picks and whose files are not all made, the best first.
    pub(crate) async fn unfinished(&self, task: &TaskId) -> Result<Vec<ModelId>, EngineError> {
        let wanted = self.store().meta.task(task).await?.spec.exports;
        let mut open = Vec::new();
        for entry in self.leaderboard(task).await?.into_iter().filter(|entry| !entry.picks.is_empty()) {
            if is_open(&self.model(&entry.model).await?, &wanted) {
                open.push(entry.model);
            }
        }
        Ok(open)
    }

    /// Makes them one after another, beside everything else. A model of which that fails is left as it is.
    pub(crate) fn finish_models(&self, open: Vec<ModelId>) -> JoinHandle<()> {
        let service = self.clone();
        tokio::spawn(async move {
            for model in open {
                while let Err(error) = service.finish_model(&model).await {
                    if Outage::of(&error).is_none() {
                        tracing::error!(%model, %error, "files of a model could not be made; it has those it had");
                        break;
                    }
                    tracing::warn!(%model, %error, "files of a model could not be made yet; it is tried again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        })
    }

    /// Makes the files of a model that are made last, checks all its files again, and adds them with a new card. `false` if there
    /// is nothing to make, or another has made it.
    ///
    /// # Errors
    /// There is no such model, its files or its data cannot be read, or what was made does not answer as it should; the
    /// model is then as it was.
    pub async fn finish_model(&self, id: &ModelId) -> Result<bool, EngineError> {
        let _one_at_a_time = self.finishing().lock().await;
        let model = self.model(id).await?;
        let task = self.store().meta.task(&model.task).await?;
        if !is_open(&model, &task.spec.exports) {
            return Ok(false);
        }
        let (plan, dataset) = (self.plan(&task).await?, self.open_dataset(&task.dataset).await?);
        let answers = self.test_answers(id).await?;
        let key = bundle_key(id, model.revision);
        let from = self.store().files.fetch_dir(&key).await?;
        let folder = self.scratch().join(format!("{EXPORT_PREFIX}{id}-{}", model.revision + 1));
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(EngineError::io(&folder)(error)),
            // What an attempt before this left.
            _ => {}
        }
        let made = Finishing { plan, dataset, card: serde_json::from_value(model.card.clone())?, answers, from };
        let (out, wanted) = (folder.clone(), task.spec.exports.clone());
        let files = blocking(move || made.write(&wanted, &out)).await?;
        // The new files take the old ones' place.
        let (old, new) = (model.files.iter().map(|f| f.bytes).sum(), files.iter().map(|f| f.bytes).sum::<u64>());
        if let Err(refused) = self.check_room(&task.project, new.saturating_sub(old)).await {
            tokio::fs::remove_dir_all(&folder).await.map_err(EngineError::io(&folder))?;
            return Err(refused);
        }
        let path = folder.join("card.json");
        let card = std::fs::read(&path).map_err(EngineError::io(&path))?;
        let (card, files) = (serde_json::from_slice(&card)?, files.into_iter().map(file_record).collect::<Vec<_>>());

        // Files first, then the record that names them, then the old ones go.
        let store = self.store();
        let new_key = bundle_key(id, model.revision + 1);
        store.files.delete_prefix(&new_key).await?;
        store.files.move_dir(&new_key, &folder).await?;
        let revised = store.meta.revise_model(id, model.revision, &card, &files, now_ms()).await?;
        if revised {
            self.model_cache().forget(id);
            store.files.delete_prefix(&key).await?;
        } else if self.model(id).await.is_err() {
            // It was deleted meanwhile; what another has added is under the same key.
            store.files.delete_prefix(&new_key).await?;
        }
        Ok(revised)
    }
}

/// What is needed to write a bundle anew.
struct Finishing {
    plan: Arc<Plan>,
    dataset: Arc<Dataset>,
    card: Card,
    answers: TestAnswers,
    from: PathBuf,
}

impl Finishing {
    fn write(mut self, wanted: &[ExportFormat], out: &Path) -> Result<Vec<kindling_export::FileInfo>, EngineError> {
        let kind = self.plan.kind();
        let (graph, weights) = network_files(&self.from)?;
        let judges = judges(&self.dataset, &self.plan, &graph, &self.answers.probabilities)?;
        let right = kind.right();
        let truth = match &right {
            Right::Classes(labels) => Truth::Classes(labels),
            Right::Boxes(measure) => Truth::Boxes(measure),
        };
        let (quantized, pictures) = match rounded(&graph, &weights, &self.dataset, kind) {
            Ok(quantized) => (Some(quantized), levels(&graph, &self.dataset, &kind.picks(Split::Test))?),
            // So many inputs to one layer that 32 bits do not hold the sum: there are files of floats alone.
            Err(EngineError::Graph(error)) => {
                tracing::warn!(model = %self.card.model, %error, "the network has no files of 8 bits");
                (None, Vec::new())
            }
            Err(error) => return Err(error),
        };
        let mut formats = wanted.to_vec();
        formats.retain(|format| quantized.is_some() || *format != ExportFormat::OnnxInt8);
        if !formats.contains(&ExportFormat::Safetensors) {
            formats.push(ExportFormat::Safetensors);
        }
        let burnpack = self.from.join(BURNPACK);
        let mut extra_files = Vec::new();
        if burnpack.is_file() {
            extra_files.push((BURNPACK.to_owned(), std::fs::read(&burnpack).map_err(EngineError::io(&burnpack))?));
        }
        let checks = std::mem::take(&mut self.card.checks);
        let labels = kind.classes().to_vec();
        Ok(write_bundle(
            &BundleInput {
                graph: &graph,
                weights: &weights,
                int8: quantized.as_ref().map(|quantized| Int8 { quantized, pictures: &pictures, truth }),
                labels: &labels,
                card: self.card,
                judges: &judges,
                formats: &formats,
                extra_files,
                extra_checks: checks.into_iter().filter(|check| check.file == BURNPACK).collect(),
            },
            out,
        )?)
    }
}

/// The network in 8 bits, its ranges chosen on validation images.
fn rounded(graph: &Graph, weights: &Weights, dataset: &Dataset, kind: &dyn Kind) -> Result<Quantized, EngineError> {
    let (count, images) = kind.calibration(dataset, graph, CALIBRATION)?;
    let shape = [vec![count], graph.input.shape()].concat();
    Ok(quantize(graph, weights, &Tensor::new(shape, images)?)?)
}

/// Pictures as files of 8 bits see them: at the network's size, in bytes, `[picks, height, width, 3]`.
fn levels(graph: &Graph, dataset: &Dataset, picks: &[(usize, usize)]) -> Result<Vec<u8>, EngineError> {
    let input = &graph.input;
    let plane = input.height * input.width;
    let mut levels = Vec::with_capacity(picks.len() * plane * input.channels);
    for picks in picks.chunks(CHUNK) {
        // Not normalised: 0 to 1.
        let (zeros, ones) = (vec![0.0; input.channels], vec![1.0; input.channels]);
        let images = load_exact(dataset, picks, input.height, &zeros, &ones)?;
        for image in images.chunks_exact(plane * input.channels) {
            for at in 0..plane {
                levels.extend(
                    (0..input.channels).map(|c| (f64::from(image[c * plane + at]) * 255.0 + 0.5).floor() as u8),
                );
            }
        }
    }
    Ok(levels)
}
