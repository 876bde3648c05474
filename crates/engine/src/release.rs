//! From a trained trial to a model: measured on the test split, written, re-run, recorded.

use kindling_data::{Dataset, View, load_exact};
use kindling_export::{
    AuditSummary, BundleInput, CARD_VERSION, Card, CardData, CardMetrics, Check, ClassMetrics, Energy, FileInfo, Judge,
    MakingCost, ModelCost, OWNERSHIP, ObjectiveValue, ReliabilityBin, SplitSummary, TOLERANCE, Versions,
    hash_of_hashes, measure_latency, write_bundle,
};
use kindling_graph::{Graph, Weights};
use kindling_models::Network;
use kindling_models::tasks::calibration::{Bin, Reliability, reliability};
use kindling_models::tasks::image_classification::{Metrics, metrics, top};
use kindling_spec::{ExportFormat, ModelId, Objective, Split};
use kindling_store::{FileRecord, ModelRecord, TaskRecord, TrialRecord};
use kindling_train::OpenDevice;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::finishing::formats_at_once;
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
    pub(crate) temperature: f64,
    pub(crate) validation: &'a Metrics,
    /// `[validation examples, classes]`.
    pub(crate) validation_probabilities: &'a [f32],
    pub(crate) validation_reliability: &'a Reliability,
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
        let (view, objective) = (self.plan.view(), &self.plan.spec().objective);
        let id = ModelId::new();
        let probabilities = self.answer_test()?;
        let labels: Vec<usize> = view.test.iter().map(|(_, label)| *label).collect();
        let test = metrics(&probabilities, view.classes.len(), &labels, objective, &view.classes);
        let judges = judges(self.dataset, view, &probabilities)?;
        let cost = self.graph.cost()?;
        let latency = measure_latency(self.graph, Some(self.weights))?;
        let latency_ms = latency.median_ms;
        let (extra_files, extra_checks) = self.burnpack()?;
        let formats = formats_at_once(&self.task.spec.exports);
        let card = Card {
            version: CARD_VERSION,
            model: id.to_string(),
            created: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            task: self.task.spec.clone(),
            labels: view.classes.clone(),
            data: self.data(view),
            validation: card_metrics(self.validation, self.validation_reliability, objective),
            test: card_metrics(&test, &reliability(&probabilities, view.classes.len(), &labels), objective),
            temperature: Some(self.temperature),
            decision: self.decision(&probabilities),
            unknown: self.unknown(&probabilities)?,
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
        let folder = self.scratch.join(format!("{EXPORT_PREFIX}{id}"));
        let files = write_bundle(
            &BundleInput {
                graph: self.graph,
                weights: self.weights,
                int8: None,
                labels: &view.classes,
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
            value: self.validation.objective,
            test_value: test.objective,
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
        let mistakes = mistakes(view, &probabilities);
        let answers = TestAnswers { examples: view.test.iter().map(|(example, _)| *example).collect(), probabilities };
        Ok(Released { record, folder, mistakes, answers })
    }

    /// The trained network's answers on the test split, from the original files and without rounding,
    /// as the exported files see them, `[test examples, classes]`.
    fn answer_test(&self) -> Result<Vec<f32>, EngineError> {
        let input = &self.graph.input;
        let mut answers = Vec::new();
        for picks in self.plan.view().test.chunks(CHUNK) {
            let images = load_exact(self.dataset, picks, input.height, &input.mean, &input.std)?;
            answers.extend(kindling_train::predict(self.device, self.graph, self.weights, &images, picks.len())?);
        }
        Ok(answers)
    }

    /// burn's own file, read back by burn and run.
    fn burnpack(&self) -> Result<(ExtraFiles, Vec<Check>), EngineError> {
        if !self.task.spec.exports.contains(&ExportFormat::Burnpack) {
            return Ok((Vec::new(), Vec::new()));
        }
        let picks: Vec<_> = self.plan.view().test.iter().copied().take(JUDGES).collect();
        let input = &self.graph.input;
        let images = load_exact(self.dataset, &picks, input.height, &input.mean, &input.std)?;
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

    fn data(&self, view: &View) -> CardData {
        let manifest = self.dataset.manifest();
        let split = |split, picks: &[(usize, usize)]| {
            let mut class_counts = vec![0u64; view.classes.len()];
            for (_, label) in picks {
                class_counts[*label] += 1;
            }
            let hashes = picks.iter().map(|(example, _)| &manifest.examples[*example].sha256);
            SplitSummary { split, examples: picks.len() as u64, class_counts, sha256: hash_of_hashes(hashes) }
        };
        let audit = &manifest.audit;
        CardData {
            dataset: self.task.spec.dataset.clone(),
            sha256: manifest.hash.clone(),
            splits: vec![
                split(Split::Train, &view.train),
                split(Split::Validation, &view.validation),
                split(Split::Test, &view.test),
            ],
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

/// Test images spread over the split, each with the trained network's answer.
pub(crate) fn judges(dataset: &Dataset, view: &View, probabilities: &[f32]) -> Result<Vec<Judge>, EngineError> {
    let classes = view.classes.len();
    let step = view.test.len().div_ceil(JUDGES).max(1);
    (0..view.test.len())
        .step_by(step)
        .map(|row| {
            let (example, _) = view.test[row];
            let image = dataset.image(example)?;
            let name = dataset.manifest().examples[example].path.clone();
            let probabilities = probabilities[row * classes..(row + 1) * classes].to_vec();
            Ok(Judge { name, width: image.width(), height: image.height(), rgb: image.into_raw(), probabilities })
        })
        .collect()
}

fn card_metrics(metrics: &Metrics, reliability: &Reliability, objective: &Objective) -> CardMetrics {
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
        objective: ObjectiveValue { metric: objective.metric, value: metrics.objective },
        per_class,
        confusion: metrics.confusion.clone(),
    }
}

pub(crate) fn file_record(file: FileInfo) -> FileRecord {
    let FileInfo { name, bytes, sha256, media_type, about } = file;
    FileRecord { name, bytes, sha256, media_type, about }
}

/// The wrong answers, the surest first.
fn mistakes(view: &View, probabilities: &[f32]) -> Vec<Mistake> {
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

/// What the search has cost so far, from its records.
pub(crate) fn making_cost(plan: &Plan, task: &TaskRecord, trials: &[TrialRecord], energy: Energy) -> MakingCost {
    let epochs: u64 = trials.iter().map(|t| u64::from(t.epochs)).sum();
    MakingCost {
        trials: trials.len() as u64,
        epochs,
        images: epochs * plan.view().train.len() as u64,
        seconds: task.spent_seconds,
        energy,
    }
}
