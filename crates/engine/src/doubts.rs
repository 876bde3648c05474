//! Labels that are probably wrong: a small network is cross-fitted over all examples, and what it says
//! of those it did not see is held against their labels.

use kindling_data::{Dataset, Labels, View, deal_folds, find_doubts};
use kindling_models::build_graph;
use kindling_spec::{AnalysisKind, DatasetId, ErrorCode, Genome};
use kindling_store::AnalysisRecord;
use kindling_train::{CrossFit, OpenDevice, TrialConfig, cross_fit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::analysis::{AnalysisView, Found, Work, device};
use crate::error::blocking;
use crate::{EngineError, Service, space::first_genomes};

/// Images shown in all when the epochs are not said, within [`EPOCHS`].
const IMAGES: usize = 200_000;
/// Fewest and most epochs when they are not said.
const EPOCHS: (usize, usize) = (6, 60);

/// How the networks are trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoubtOptions {
    /// Parts that are held out in turn, 2 to 20; 4 when not said.
    #[serde(default)]
    pub folds: Option<u32>,
    /// Epochs of each network, 1 to 200; when not said, as many as show 200,000 pictures, from 6 to 60.
    #[serde(default)]
    pub epochs: Option<u32>,
    /// Seeds folds and networks; 0 when not said.
    #[serde(default)]
    pub seed: Option<u64>,
}

impl DoubtOptions {
    /// # Errors
    /// A value is out of its range.
    fn check(&self) -> Result<(), EngineError> {
        let refuse = |what: String| Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        match (self.folds, self.epochs) {
            (Some(folds), _) if !(2..=20).contains(&folds) => {
                refuse(format!("`folds` must be from 2 to 20, not {folds}"))
            }
            (_, Some(epochs)) if !(1..=200).contains(&epochs) => {
                refuse(format!("`epochs` must be from 1 to 200, not {epochs}"))
            }
            _ => Ok(()),
        }
    }

    fn folds(&self) -> usize {
        self.folds.unwrap_or(4) as usize
    }

    fn epochs(&self, examples: usize) -> u32 {
        let each = examples.max(1) * (self.folds() - 1).max(1);
        self.epochs.unwrap_or_else(|| (IMAGES / each).clamp(EPOCHS.0, EPOCHS.1) as u32)
    }
}

/// A label that is probably wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoubtEntry {
    /// The example's number in the data set.
    pub example: usize,
    /// Its path in the upload.
    pub path: String,
    /// The side of the split it is on.
    pub split: String,
    /// The label it has.
    pub given: String,
    /// The label it should probably have.
    pub suggested: String,
    /// How doubtful the label is, 0 to 1.
    pub score: f64,
    /// The classes' probabilities, in the order of [`DoubtReport::classes`].
    pub probabilities: Vec<f32>,
}

/// What the search for doubtful labels found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoubtReport {
    /// The data set's classes.
    pub classes: Vec<String>,
    /// Examples looked at: all there are.
    pub examples: usize,
    /// Folds held out in turn.
    pub folds: usize,
    /// Epochs each network was trained.
    pub epochs: u32,
    /// What seeded it.
    pub seed: u64,
    /// Share of the labels that the networks which did not see them gave too.
    pub agreement: f64,
    /// Labels that are wrong by the calibrated confident joint. The networks' own mistakes count in, so that
    /// weak networks make it too high.
    pub estimated: f64,
    /// For each class from which probability on an example counts as confidently of it.
    pub thresholds: Vec<Option<f64>>,
    /// How many examples of each label (row) are confidently of each class.
    pub joint: Vec<Vec<u64>>,
    /// Seconds it took.
    pub seconds: f64,
    /// The doubtful labels, the most doubtful first.
    pub doubts: Vec<DoubtEntry>,
}

/// Cross-fits a small network over all examples of a data set and lists the labels that are probably
/// wrong. `on_progress` is told the share done, 0 to 1.
///
/// # Errors
/// An option is out of its range, an example group is too large to be held out, or training failed.
pub fn find_doubtful_labels(
    device: &OpenDevice,
    dataset: &Dataset,
    options: &DoubtOptions,
    on_progress: &mut dyn FnMut(f64),
    cancel: &AtomicBool,
) -> Result<DoubtReport, EngineError> {
    options.check()?;
    let start = Instant::now();
    let manifest = dataset.manifest();
    let labels: Vec<usize> = manifest.examples.iter().map(|e| e.class).collect();
    let picks: Vec<(usize, usize)> = labels.iter().copied().enumerate().collect();
    let groups: Vec<u32> = manifest.examples.iter().map(|e| e.group).collect();
    let seed = options.seed.unwrap_or(0);
    let folds = deal_folds(&labels, &groups, options.folds(), seed);
    let classes = &manifest.classes;
    let all = View { classes: classes.clone(), train: picks.clone(), validation: Vec::new(), test: Vec::new() };
    let genome = looker(&all)?;
    let config = TrialConfig { graph: build_graph(&genome, classes.len())?, genome, seed, initial: None };
    let epochs = options.epochs(picks.len());
    let fit = CrossFit { config: &config, dataset, classes, picks: &picks, folds: &folds, epochs };
    let probabilities = cross_fit(device, fit, on_progress, cancel)?;

    let found = find_doubts(&probabilities, classes.len(), &labels);
    let row = |at: usize| &probabilities[at * classes.len()..(at + 1) * classes.len()];
    let top = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
    let agreed = labels.iter().enumerate().filter(|(at, label)| top(row(*at)) == **label).count();
    let doubts = found.list.iter().map(|doubt| {
        let example = &manifest.examples[doubt.at];
        DoubtEntry {
            example: doubt.at,
            path: example.path.clone(),
            split: example.split.as_str().to_owned(),
            given: classes[example.class].clone(),
            suggested: classes[doubt.suggested].clone(),
            score: doubt.score,
            probabilities: row(doubt.at).to_vec(),
        }
    });
    Ok(DoubtReport {
        examples: labels.len(),
        folds: options.folds(),
        epochs,
        seed,
        agreement: agreed as f64 / labels.len().max(1) as f64,
        estimated: found.estimated,
        thresholds: found.thresholds,
        joint: found.joint,
        seconds: start.elapsed().as_secs_f64(),
        doubts: doubts.collect(),
        classes: classes.clone(),
    })
}

/// The network that looks: the first of the small ones that sees 48 pixels, else the first there is.
fn looker(view: &View) -> Result<Genome, EngineError> {
    let genomes = first_genomes(view);
    let sharp = |genome: &&Genome| genome.family == "residual" && genome.int("resolution") == Some(48);
    let found = genomes.iter().find(sharp).or(genomes.first()).cloned();
    found.ok_or_else(|| EngineError::refused(ErrorCode::Internal, "no family of networks has a genome to begin with"))
}

/// Runs the analysis of a record.
pub(crate) async fn run(work: &Work<'_>) -> Result<Found, EngineError> {
    let options: DoubtOptions = serde_json::from_value(work.record.options.clone())?;
    let id: DatasetId =
        work.record.subject.parse().map_err(|e| EngineError::refused(ErrorCode::DatasetNotFound, format!("{e}")))?;
    let dataset = work.service.open_dataset(&id).await?;
    let (device, signals) = (device(work.device).await?, work.signals.clone());
    let report = blocking(move || {
        find_doubtful_labels(&device, &dataset, &options, &mut |share| signals.tell(share), &signals.cancel)
    })
    .await?;
    let summary = json!({
        "examples": report.examples,
        "doubtful": report.doubts.len(),
        "estimated": report.estimated,
        "agreement": report.agreement,
        "folds": report.folds,
        "epochs": report.epochs,
        "seed": report.seed,
        "seconds": report.seconds,
    });
    Found::new(summary, &report)
}

impl Service {
    /// Asks for the doubtful labels of a data set; they are searched for in the background.
    ///
    /// # Errors
    /// The data set is unknown or not ready, an option is out of its range, or a search is under way
    /// ([`ErrorCode::AnalysisBusy`]).
    pub async fn search_doubts(&self, id: &DatasetId, options: &DoubtOptions) -> Result<AnalysisRecord, EngineError> {
        options.check()?;
        if self.open_dataset(id).await?.manifest().labels == Labels::Boxes {
            let detail = format!(
                "the labels of data set {id} are boxes; doubtful labels are looked for where each picture has a class"
            );
            return Err(EngineError::refused(ErrorCode::InvalidRequest, detail));
        }
        self.ask_for(AnalysisKind::Doubts, id.as_str(), serde_json::to_value(options)?).await
    }

    /// The newest search for doubtful labels of a data set, with what it found.
    ///
    /// # Errors
    /// There is no data set of this id, or none was asked for ([`ErrorCode::AnalysisNotFound`]).
    pub async fn doubts(&self, id: &DatasetId) -> Result<AnalysisView<DoubtReport>, EngineError> {
        self.dataset(id).await?;
        self.look_up(AnalysisKind::Doubts, id.as_str()).await?.ok_or_else(|| {
            let detail = format!("nobody has searched data set {id} for doubtful labels yet; POST to the same address");
            EngineError::refused(ErrorCode::AnalysisNotFound, detail)
        })
    }
}
