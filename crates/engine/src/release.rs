//! From a trained trial to a model: measured on the test split, written, re-run, recorded.

use kindling_data::{Dataset, load_exact};
use kindling_export::{
    AuditSummary, BundleInput, CARD_VERSION, Card, CardData, Check, Energy, FileInfo, Judge, MakingCost, ModelCost,
    OWNERSHIP, SplitSummary, TOLERANCE, Versions, hash_of_hashes, measure_latency, write_bundle,
};
use kindling_graph::{Graph, Weights};
use kindling_models::Network;
use kindling_spec::{ExportFormat, ModelId, Split};
use kindling_store::{FileRecord, ModelRecord, TaskRecord, TrialRecord};
use kindling_train::OpenDevice;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::finishing::formats_at_once;
use crate::kinds::Kind;
use crate::{EngineError, Mistake, Plan, clock::now_ms, models::TestAnswers};

/// What a folder of unfinished export starts with.
pub(crate) const EXPORT_PREFIX: &str = "export-";
/// The version of burn this is built with; the workspace pins it.
const BURN: &str = "0.22.1";
/// Test images decoded at once: bounds the memory at any size of test split.
const CHUNK: usize = 256;
/// Test images each written file is re-run on.
const JUDGES: usize = 16;

/// Files by name.
type ExtraFiles = Vec<(String, Vec<u8>)>;

/// What a model is made from.
pub(crate) struct Release<'a> {
    pub(crate) device: &'a OpenDevice,
    pub(crate) plan: &'a Plan,
    pub(crate) dataset: &'a Dataset,
    pub(crate) task: &'a TaskRecord,
    pub(crate) trial: &'a TrialRecord,
    pub(crate) graph: &'a Graph,
    pub(crate) weights: &'a Weights,
    /// By what the logits of the weights were divided.
    pub(crate) temperature: Option<f64>,
    /// Its answers on the validation split.
    pub(crate) validation_answers: &'a [f32],
    pub(crate) making: MakingCost,
    pub(crate) scratch: &'a Path,
}

/// A model whose files lie in a folder of their own, not yet recorded.
pub(crate) struct Released {
    pub(crate) record: ModelRecord,
    pub(crate) folder: PathBuf,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) answers: TestAnswers,
}

impl Release<'_> {
    /// Measures, writes and re-runs the model.
    ///
    /// # Errors
    /// A file disagrees with the trained network, or something cannot be read or written; then
    /// nothing is left.
    pub(crate) fn make(self) -> Result<Released, EngineError> {
        let kind = self.plan.kind();
        let id = ModelId::new();
        let picks = kind.picks(Split::Test);
        let answers = self.answer_test(&picks)?;
        let said = kind.describe(&self, &answers)?;
        let judges = judges(self.dataset, self.plan, self.graph, &answers)?;
        let cost = self.graph.cost()?;
        let latency = measure_latency(self.graph, Some(self.weights))?;
        let latency_ms = latency.median_ms;
        let (extra_files, extra_checks) = self.burnpack(&picks)?;
        let formats = formats_at_once(&self.task.spec.exports);
        let card = Card {
            version: CARD_VERSION,
            model: id.to_string(),
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            task: self.task.spec.clone(),
            labels: kind.classes().to_vec(),
            data: self.data(kind),
            validation: said.validation,
            test: said.test,
            temperature: self.temperature,
            decision: said.decision,
            unknown: said.unknown,
            at_least: said.at_least,
            int8: None,
            cost: ModelCost {
                parameters: cost.parameters,
                weights_bytes: cost.weights_bytes,
                macs: cost.macs,
                peak_ram_bytes: cost.peak_ram_bytes,
                resolution: [self.graph.input.height as u64, self.graph.input.width as u64],
                latency: Some(latency.into()),
            },
            making: self.making.clone(),
            genome: self.trial.genome.clone(),
            graph_sha256: self.graph.hash(),
            seed: self.plan.trial_seed(self.trial.number),
            device: self.device.name.clone(),
            versions: Versions { kindling: env!("CARGO_PKG_VERSION").to_owned(), burn: BURN.to_owned() },
            ownership: OWNERSHIP.to_owned(),
            checks: Vec::new(),
            files: Vec::new(),
            how_to_check: Vec::new(),
        };
        let (value, test_value) = (card.validation.objective().value, card.test.objective().value);
        let folder = self.scratch.join(format!("{EXPORT_PREFIX}{id}"));
        let files = write_bundle(
            &BundleInput {
                graph: self.graph,
                weights: self.weights,
                int8: None,
                labels: kind.classes(),
                card,
                judges: &judges,
                formats: &formats,
                extra_files,
                extra_checks,
            },
            &folder,
        )?;
        // The card on disk is the one with its checks filled in.
        let path = folder.join("card.json");
        let card = std::fs::read(&path).map_err(EngineError::io(&path))?;
        let record = ModelRecord {
            id,
            task: self.task.id.clone(),
            trial: self.trial.id.clone(),
            rung: self.trial.rung,
            value,
            test_value,
            parameters: cost.parameters,
            weights_bytes: cost.weights_bytes,
            macs: cost.macs,
            ram_bytes: cost.peak_ram_bytes,
            latency_ms,
            card: serde_json::from_slice(&card)?,
            files: files.into_iter().map(file_record).collect(),
            revision: 0,
            created_at: now_ms(),
        };
        let examples = picks.iter().map(|(example, _)| *example).collect();
        let answers = TestAnswers { examples, probabilities: answers };
        Ok(Released { record, folder, mistakes: said.mistakes, answers })
    }

    /// The trained network's answers on the test split, from the original files and without rounding,
    /// as the exported files see them.
    fn answer_test(&self, picks: &[(usize, usize)]) -> Result<Vec<f32>, EngineError> {
        let input = &self.graph.input;
        let mut answers = Vec::new();
        for picks in picks.chunks(CHUNK) {
            let images = load_exact(self.dataset, picks, input.height, &input.mean, &input.std)?;
            answers.extend(kindling_train::predict(self.device, self.graph, self.weights, &images, picks.len())?);
        }
        Ok(answers)
    }

    /// burn's own file, read back by burn and run.
    fn burnpack(&self, picks: &[(usize, usize)]) -> Result<(ExtraFiles, Vec<Check>), EngineError> {
        if !self.task.spec.exports.contains(&ExportFormat::Burnpack) {
            return Ok((Vec::new(), Vec::new()));
        }
        let picks = &picks[..picks.len().min(JUDGES)];
        let input = &self.graph.input;
        let images = load_exact(self.dataset, picks, input.height, &input.mean, &input.std)?;
        let bytes = Network::from_weights(self.graph, self.weights, &self.device.device)?.burnpack()?;
        let again = Network::init(self.graph, 0, &self.device.device)?.load_burnpack(&bytes)?.weights()?;
        let answer = |weights| kindling_train::predict(self.device, self.graph, weights, &images, picks.len());
        let (before, after) = (answer(self.weights)?, answer(&again)?);
        let name = "model.burnpack".to_owned();
        let max_difference = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if !max_difference.is_finite() || max_difference > TOLERANCE {
            let why = format!("its answers differ by {max_difference} from the trained network's");
            return Err(kindling_export::ExportError::ReadBack { file: name, what: why }.into());
        }
        let check = Check {
            file: name.clone(),
            how: "read back by burn into a network of other weights and run".to_owned(),
            images: picks.len() as u64,
            max_difference,
            tolerance: TOLERANCE,
        };
        Ok((vec![(name, bytes)], vec![check]))
    }

    fn data(&self, kind: &dyn Kind) -> CardData {
        let manifest = self.dataset.manifest();
        let split = |split| {
            let (picks, class_counts) = (kind.picks(split), kind.counts(split));
            let hashes = picks.iter().map(|(example, _)| &manifest.examples[*example].sha256);
            SplitSummary { split, examples: picks.len() as u64, class_counts, sha256: hash_of_hashes(hashes) }
        };
        let audit = &manifest.audit;
        CardData {
            dataset: self.task.spec.dataset.clone(),
            sha256: manifest.hash.clone(),
            splits: vec![split(Split::Train), split(Split::Validation), split(Split::Test)],
            audit: AuditSummary {
                broken: audit.broken.total as u64,
                exact_duplicate_groups: audit.exact_duplicates.total as u64,
                near_duplicate_groups: audit.near_duplicates.total as u64,
                label_conflicts: audit.label_conflicts.total as u64,
                warnings: audit.warnings.clone(),
            },
        }
    }
}

/// Test images spread over the split, each with the trained network's answer; `answers` are those of the whole split.
pub(crate) fn judges(
    dataset: &Dataset,
    plan: &Plan,
    graph: &Graph,
    answers: &[f32],
) -> Result<Vec<Judge>, EngineError> {
    let (kind, picks) = (plan.kind(), plan.kind().picks(Split::Test));
    let each = answers.len() / picks.len().max(1);
    let step = picks.len().div_ceil(JUDGES).max(1);
    (0..picks.len())
        .step_by(step)
        .map(|row| {
            let (example, _) = picks[row];
            let image = dataset.image(example)?;
            let name = dataset.manifest().examples[example].path.clone();
            let answer = kind.file_answer(graph, &answers[row * each..(row + 1) * each])?;
            Ok(Judge { name, width: image.width(), height: image.height(), rgb: image.into_raw(), answer })
        })
        .collect()
}

pub(crate) fn file_record(file: FileInfo) -> FileRecord {
    let FileInfo { name, bytes, sha256, media_type, about } = file;
    FileRecord { name, bytes, sha256, media_type, about }
}

/// What the search has cost so far, from its records.
pub(crate) fn making_cost(plan: &Plan, task: &TaskRecord, trials: &[TrialRecord], energy: Energy) -> MakingCost {
    let epochs: u64 = trials.iter().map(|t| u64::from(t.epochs)).sum();
    MakingCost {
        trials: trials.len() as u64,
        epochs,
        images: epochs * plan.kind().picks(Split::Train).len() as u64,
        seconds: task.spent_seconds,
        energy,
    }
}
