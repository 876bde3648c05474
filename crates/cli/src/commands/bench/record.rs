//! `kindling bench record`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use flate2::{Compression, write::GzEncoder};
use kindling_data::{BatchSource, Dataset, Limits, View, ingest};
use kindling_engine::Plan;
use kindling_models::tasks::image_classification::{Metrics, metrics};
use kindling_search::{Ladder, Sampler, derive_seed, samplers::Random};
use kindling_spec::{Domain, Genome, Objective, SearchSpace, TaskSpec};
use kindling_train::{LabelledExamples, OpenDevice, RungInput, TrialConfig, open_device, predict, run_rung};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Trains many genomes up the whole ladder on small data sets and writes what each reached at each rung.
///
/// `kindling bench search` then replays the table in place of training, so that searches are compared over
/// many seeds in milliseconds on results that were trained. A run that was stopped goes on where it was.
#[derive(clap::Args)]
pub(crate) struct Record {
    /// Data sets: folders with one folder a class, or archives of one.
    #[arg(required = true, value_name = "DIR|ZIP")]
    sets: Vec<PathBuf>,
    /// Genomes, the same on each set.
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    genomes: u16,
    /// Trainings of each genome on each set.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    seeds: u16,
    /// Training examples used of each set; as many are used to validate and twice as many to test.
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    examples: u32,
    /// The most multiply-accumulates of a network.
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    max_macs: u64,
    /// Epochs of the first rung; each of the three after it is three times longer.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    first: u16,
    /// Trainings at a time, one thread each.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Where the table is written, gzip-compressed JSON.
    #[arg(long, default_value = "search_table.json.gz", value_name = "FILE")]
    out: PathBuf,
}

const ETA: u32 = 3;
const TOP: u32 = 3;
/// Parameters of training that every recorded genome shares, so that few hundred genomes lie close together
/// in what is left to choose.
const SHARED: [&str; 12] = [
    "momentum",
    "warmup",
    "label_smoothing",
    "mixup",
    "ema",
    "class_weights",
    "flip",
    "cutout",
    "dropout",
    "head",
    "activation",
    "stem_stride",
];

/// One training of one genome.
#[derive(Serialize, Deserialize)]
struct Row {
    set: usize,
    genome: usize,
    seed: usize,
    /// Accuracy on the validation split at each rung.
    validation: Vec<f64>,
    /// Cross-entropy on it.
    log_loss: Vec<f64>,
    /// Accuracy on the test split.
    test: Vec<f64>,
}

/// A data set as it is trained on.
struct Set {
    name: String,
    dataset: Dataset,
    view: View,
    _work: tempfile::TempDir,
}

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, what.to_string())
}

impl Record {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let sets = self.sets.iter().map(|path| self.open(path)).collect::<Result<Vec<_>, _>>()?;
        let spec = self.spec()?;
        // The limits bind by the number of classes, so the genomes are made to fit the set with most of them.
        let widest = sets.iter().max_by_key(|s| s.view.classes.len()).ok_or_else(|| failed("no data set is given"))?;
        let plan = Plan::new(&spec, &widest.dataset)?;
        let (space, genomes) = self.draw(&plan)?;
        let graphs = |set: &Set| -> Result<Vec<_>, Failure> {
            let plan = Plan::new(&spec, &set.dataset)?;
            Ok(genomes.iter().map(|genome| plan.graph(genome)).collect::<Result<_, _>>()?)
        };
        let graphs = sets.iter().map(graphs).collect::<Result<Vec<_>, _>>()?;

        let partial = self.out.with_extension("partial");
        let mut rows: Vec<Row> = read_rows(&partial);
        let done = |rows: &[Row], s, g, k| rows.iter().any(|r| (r.set, r.genome, r.seed) == (s, g, k));
        let mut work = Vec::new();
        for seed in 0..usize::from(self.seeds) {
            for genome in 0..genomes.len() {
                work.extend(
                    (0..sets.len()).map(|set| (set, genome, seed)).filter(|(s, g, k)| !done(&rows, *s, *g, *k)),
                );
            }
        }
        let device = open_device("flex").map_err(failed)?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&partial);
        let file = Mutex::new(file.map_err(Failure::io(&partial, "the rows cannot be kept"))?);
        let meter = Mutex::new(Meter::new("trainings", work.len() as u64, Unit::Items));
        let next = AtomicUsize::new(0);
        let worker = || -> Result<Vec<Row>, Failure> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(failed)?;
            let mut made = Vec::new();
            while let Some((set, genome, seed)) = work.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                let config = TrialConfig {
                    graph: graphs[set][genome].clone(),
                    genome: genomes[genome].clone(),
                    seed: derive_seed(genome as u64, seed as u64),
                    initial: None,
                };
                let row = pool.install(|| self.train(&device, &sets[set], &config, (set, genome, seed)))?;
                let mut line = serde_json::to_vec(&row).map_err(failed)?;
                line.push(b'\n');
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.write_all(&line).map_err(Failure::io(&partial, "the rows cannot be kept"))?;
                made.push(row);
                let meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.set(next.load(Ordering::Relaxed).min(work.len()) as u64);
            }
            Ok(made)
        };
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.workers).map(|_| scope.spawn(worker)).collect();
            let ended = threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(failed("a training panicked"))));
            ended.collect::<Result<Vec<_>, _>>()
        })?;
        rows.extend(made.into_iter().flatten());
        self.write(&sets, &space, &genomes, &graphs, &rows)?;
        std::fs::remove_file(&partial).map_err(Failure::io(&partial, "it cannot be removed"))?;
        output::say(&format!("{} trainings are in {}", rows.len(), self.out.display()));
        Ok(())
    }

    fn spec(&self) -> Result<TaskSpec, Failure> {
        let value = json!({
            "version": 1,
            "name": "record",
            "kind": "image-classification",
            "constraints": {"max_macs": self.max_macs},
            "budget": {"trials": 1},
        });
        TaskSpec::from_json(&value).map_err(failed)
    }

    fn open(&self, path: &Path) -> Result<Set, Failure> {
        let work = tempfile::tempdir().map_err(|e| failed(format!("a temporary folder cannot be made: {e}")))?;
        let dir = work.path().join("dataset");
        ingest(path, &dir, &Limits::default(), &|_| {}, &AtomicBool::new(false))
            .map_err(|error| Failure::from(error).at(path.display().to_string()))?;
        let dataset = Dataset::open(&dir)?;
        let groups: Vec<_> = dataset.manifest().classes.iter().map(|c| (c.clone(), vec![c.clone()])).collect();
        let mut view = View::new(&dataset, &groups)?;
        let examples = self.examples as usize;
        view.train = spread(&view.train, examples);
        view.validation = spread(&view.validation, examples);
        view.test = spread(&view.test, 2 * examples);
        let name = path.file_stem().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Set { name, dataset, view, _work: work })
    }

    /// What may be chosen, and the genomes.
    fn draw(&self, plan: &Plan) -> Result<(SearchSpace, Vec<Genome>), Failure> {
        let model = plan.portfolio().first().ok_or_else(|| failed("no network meets the limit"))?.clone();
        let shared: BTreeMap<_, _> =
            SHARED.iter().filter_map(|name| Some(((*name).to_owned(), model.params.get(*name)?.clone()))).collect();
        let mut genomes: Vec<Genome> = Vec::new();
        for number in 0..u32::from(self.genomes) * 20 {
            if genomes.len() == usize::from(self.genomes) {
                break;
            }
            let Some(mut genome) = Random.suggest(plan.space(), &[], 0, number, 0) else { continue };
            genome.params.extend(shared.clone());
            let Some(mut genome) = plan.fit(genome) else { continue };
            genome.params.extend(shared.clone());
            if plan.fit(genome.clone()).as_ref() == Some(&genome) && !genomes.contains(&genome) {
                genomes.push(genome);
            }
        }
        let mut space = plan.space().clone();
        for family in &mut space.families {
            family.params.retain(|p| !shared.contains_key(&p.name));
            for param in &mut family.params {
                // Of a choice only what was recorded is left.
                if let Domain::Choice { options } = &mut param.domain {
                    options.retain(|option| {
                        genomes.iter().any(|g| g.family == family.family && g.params.get(&param.name) == Some(option))
                    });
                }
            }
        }
        Ok((space, genomes))
    }

    fn train(
        &self,
        device: &OpenDevice,
        set: &Set,
        config: &TrialConfig,
        (number, genome, seed): (usize, usize, usize),
    ) -> Result<Row, Failure> {
        let objective = Objective::default();
        let mut row = Row { set: number, genome, seed, validation: Vec::new(), log_loss: Vec::new(), test: Vec::new() };
        let (mut checkpoint, mut from_epoch): (Option<Vec<u8>>, u32) = (None, 0);
        for rung in 0..=TOP {
            let to_epoch = self.ladder().epochs(rung);
            let input = RungInput {
                config,
                dataset: &set.dataset,
                examples: &LabelledExamples {
                    dataset: &set.dataset,
                    view: &set.view,
                    teacher: None,
                    objective: &objective,
                },
                checkpoint: checkpoint.as_deref(),
                from_epoch,
                to_epoch,
                finish_by: None,
            };
            let outcome = match run_rung(device, input, &mut |_| {}, &AtomicBool::new(false)) {
                Ok(outcome) => outcome,
                // A genome whose loss is no number stays at chance from there on.
                Err(kindling_train::TrainError::Diverged { .. }) => break,
                Err(error) => return Err(failed(error)),
            };
            let measured = |probabilities: &[f32], picks: &[(usize, usize)]| -> Metrics {
                let labels: Vec<usize> = picks.iter().map(|(_, label)| *label).collect();
                metrics(probabilities, set.view.classes.len(), &labels, &objective, &set.view.classes)
            };
            let validation = measured(&outcome.validation_answers, &set.view.validation);
            let graph = &config.graph;
            let mut images = vec![0.0; set.view.test.len() * graph.input.shape().iter().product::<usize>()];
            BatchSource::new(&set.dataset).fill(
                &set.view.test,
                graph.input.height,
                &graph.input.mean,
                &graph.input.std,
                None,
                &mut images,
            )?;
            let answers = predict(device, graph, &outcome.weights, &images, set.view.test.len()).map_err(failed)?;
            row.validation.push(round(validation.accuracy));
            row.log_loss.push(round(validation.log_loss));
            row.test.push(round(measured(&answers, &set.view.test).accuracy));
            (checkpoint, from_epoch) = (Some(outcome.checkpoint), to_epoch);
        }
        Ok(row)
    }

    fn ladder(&self) -> Ladder {
        Ladder { first: self.first.into(), eta: ETA, top: TOP }
    }

    fn write(
        &self,
        sets: &[Set],
        space: &SearchSpace,
        genomes: &[Genome],
        graphs: &[Vec<kindling_graph::Graph>],
        rows: &[Row],
    ) -> Result<(), Failure> {
        let told: Vec<_> = sets
            .iter()
            .zip(graphs)
            .enumerate()
            .map(|(number, (set, graphs))| {
                let of = |pick: fn(&Row) -> &Vec<f64>| -> Vec<Vec<&Vec<f64>>> {
                    let seeds = |genome| {
                        let mut own: Vec<&Row> =
                            rows.iter().filter(|r| r.set == number && r.genome == genome).collect();
                        own.sort_by_key(|r| r.seed);
                        own.into_iter().map(pick).collect()
                    };
                    (0..genomes.len()).map(seeds).collect()
                };
                let macs: Vec<u64> = graphs.iter().map(|g| g.cost().map_or(0, |c| c.macs)).collect();
                json!({
                    "name": set.name,
                    "sha256": set.dataset.manifest().hash,
                    "classes": set.view.classes,
                    "examples": {
                        "train": set.view.train.len(),
                        "validation": set.view.validation.len(),
                        "test": set.view.test.len(),
                    },
                    "macs": macs,
                    "validation": of(|r| &r.validation),
                    "log_loss": of(|r| &r.log_loss),
                    "test": of(|r| &r.test),
                })
            })
            .collect();
        let epochs: Vec<u32> = (0..=TOP).map(|rung| self.ladder().epochs(rung)).collect();
        // What all share is not repeated.
        let own = |genome: &Genome| {
            let family = space.family(&genome.family);
            let known = |name: &str| family.is_some_and(|f| f.params.iter().any(|p| p.name == name));
            let params = genome.params.iter().filter(|(name, _)| known(name));
            Genome { family: genome.family.clone(), params: params.map(|(n, v)| (n.clone(), v.clone())).collect() }
        };
        let trained = genomes;
        let genomes: Vec<Genome> = trained.iter().map(own).collect();
        let shared =
            trained.first().map(|genome| genome.params.iter().filter(|(name, _)| SHARED.contains(&name.as_str())));
        let shared: BTreeMap<_, _> = shared.into_iter().flatten().collect();
        let table = json!({"epochs": epochs, "space": space, "shared": shared, "genomes": genomes, "sets": told});
        let file = std::fs::File::create(&self.out).map_err(Failure::io(&self.out, "the table cannot be written"))?;
        let mut to = GzEncoder::new(file, Compression::best());
        serde_json::to_writer(&mut to, &table).map_err(failed)?;
        to.finish().map_err(Failure::io(&self.out, "the table cannot be written"))?;
        Ok(())
    }
}

/// At most so many, evenly spread, so that every class keeps its share.
fn spread(picks: &[(usize, usize)], most: usize) -> Vec<(usize, usize)> {
    let count = picks.len().min(most);
    (0..count).map(|i| picks[i * picks.len() / count]).collect()
}

/// Rows that an earlier run kept; a last line cut off in the middle is left out.
fn read_rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Four digits tell more than a few hundred pictures can.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
