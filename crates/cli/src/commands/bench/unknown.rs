//! `kindling bench unknown`.

use crate::commands::audit;
use crate::failure::{Exit, Failure};
use crate::study::{self, Request};
use crate::{output, running};
use kindling_data::{Dataset, View, load_exact};
use kindling_export::network_files;
use kindling_graph::{Graph, Op, Source, Tensor, Weights, execute_with};
use kindling_models::tasks::unknown::{Known, Score, Seen, auroc, threshold};
use kindling_spec::Split;
use serde_json::json;
use std::path::PathBuf;

/// Holds each class of a data set out in turn, searches a model for the others, and prints how well each score tells pictures of
/// the class that it never saw from those of the classes that it knows.
#[derive(clap::Args)]
pub(crate) struct Unknown {
    /// Data sets of at least three classes: a folder with one folder a class, or an archive of one.
    #[arg(required = true, value_name = "DIR|ZIP")]
    sets: Vec<PathBuf>,
    /// Seconds of each search.
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    seconds: f64,
    /// The most bytes the network's weights may have.
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    max_weights_bytes: u64,
    /// Classes held out, the first so many of each data set; by default all.
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Known test pictures that the threshold turns away.
const REFUSED: f64 = 0.05;
/// Pictures at once.
const BLOCK: usize = 32;

impl Unknown {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = running::runtime()?;
        let mut rows = Vec::new();
        for set in &self.sets {
            let name = set.file_stem().map_or_else(|| set.display().to_string(), |n| n.to_string_lossy().into_owned());
            let scratch = tempfile::tempdir()
                .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
            let sealed = scratch.path().join("dataset");
            audit::read(set, &sealed)?;
            let dataset = Dataset::open(&sealed)?;
            let classes = dataset.manifest().classes.clone();
            if classes.len() < 3 {
                let what = format!("it has {} classes; at least three are needed, that two are left", classes.len());
                return Err(Failure::new(Exit::Refused, what).at(set.display().to_string()));
            }
            for held in classes.iter().take(self.classes.unwrap_or(usize::MAX)) {
                let others: Vec<&String> = classes.iter().filter(|class| *class != held).collect();
                let work = tempfile::tempdir()
                    .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
                let label = format!("{name} without {held}");
                let spec = json!({
                    "version": 1,
                    "name": label,
                    "kind": "image-classification",
                    "classes": others,
                    "constraints": {"max_weights_bytes": self.max_weights_bytes},
                    "budget": {"seconds": self.seconds},
                    "exports": ["safetensors"],
                    "warm_start": "off",
                });
                let outcome = runtime.block_on(study::run(Request {
                    data: set,
                    after: None,
                    spec,
                    work: work.path(),
                    backbones: work.path(),
                    device: &self.device,
                    workers: None,
                    label: &label,
                }))?;
                let folder = outcome.files.first().and_then(|(_, path)| path.parent());
                let folder = folder.ok_or_else(|| Failure::new(Exit::NoModel, "the model has no files"))?;
                let (graph, weights) = network_files(folder).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
                rows.extend(compare(&dataset, held, &graph, &weights)?.into_iter().map(|(score, area, found)| {
                    json!({"set": name, "held_out": held, "score": score.name(), "auroc": area, "refused": found,
                        "accuracy": outcome.best.test_value})
                }));
            }
        }
        runtime.shutdown_background();
        if self.json {
            return output::say_json(&rows);
        }
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                let share = |key: &str| row[key].as_f64().map_or("-".to_owned(), output::percent);
                let area = row["auroc"].as_f64().map_or("-".to_owned(), |area| format!("{area:.3}"));
                vec![text("set"), text("held_out"), text("score"), area, share("refused"), share("accuracy")]
            })
            .collect();
        let head = ["data set", "held out", "score", "AUROC", "unknown refused at 5% of known", "accuracy on known"];
        output::say(&output::table(&head, &cells));
        Ok(())
    }
}

/// A score, its area, and the share of the unknown that it refuses.
type Row = (Score, Option<f64>, Option<f64>);

/// For each score the area, and the share of the unknown that is refused where 5% of the known validation pictures are.
fn compare(dataset: &Dataset, held: &str, graph: &Graph, weights: &Weights) -> Result<Vec<Row>, Failure> {
    let manifest = dataset.manifest();
    let groups: Vec<(String, Vec<String>)> = manifest
        .classes
        .iter()
        .filter(|class| *class != held)
        .map(|class| (class.clone(), vec![class.clone()]))
        .collect();
    let view = View::new(dataset, &groups)?;
    let unknown: Vec<(usize, usize)> = (0..manifest.examples.len())
        .filter(|at| {
            manifest.examples[*at].split == Split::Test && manifest.classes[manifest.examples[*at].class] == held
        })
        .map(|at| (at, 0))
        .collect();
    let look = |picks: &[(usize, usize)]| see(dataset, graph, weights, picks);
    let labels: Vec<usize> = view.train.iter().map(|(_, label)| *label).collect();
    let known = Known::fit(&look(&view.train)?, &labels, groups.len());
    let known = known.ok_or_else(|| Failure::new(Exit::Failed, "the network has no features to score by"))?;
    let (validation, test, unknown) = (look(&view.validation)?, look(&view.test)?, look(&unknown)?);
    let compare = |score: Score| {
        let (of_test, of_unknown) = (known.scores(&test, score), known.scores(&unknown, score));
        let limit = threshold(&known.scores(&validation, score), REFUSED);
        let refused = limit.map(|limit| {
            of_unknown.iter().filter(|score| **score < limit).count() as f64 / of_unknown.len().max(1) as f64
        });
        (score, auroc(&of_test, &of_unknown), refused)
    };
    Ok(Score::ALL.map(compare).to_vec())
}

/// What the network makes of pictures: what its last layer reads, and its logits.
fn see(dataset: &Dataset, graph: &Graph, weights: &Weights, picks: &[(usize, usize)]) -> Result<Seen, Failure> {
    let failed = |error: kindling_graph::GraphError| Failure::new(Exit::Failed, error.to_string());
    let mut last = graph.output;
    while let (Op::Softmax, Some(Source::Node(before))) = (&graph.nodes[last].op, graph.nodes[last].inputs.first()) {
        last = *before;
    }
    let input = &graph.input;
    let mut seen = Seen { count: picks.len(), ..Seen::default() };
    for block in picks.chunks(BLOCK) {
        let images = load_exact(dataset, block, input.height, &input.mean, &input.std)?;
        let shape = vec![block.len(), input.channels, input.height, input.width];
        let images = Tensor::new(shape, images).map_err(failed)?;
        execute_with(graph, weights, &images, &mut |id, value| {
            if graph.nodes[last].inputs.first() == Some(&Source::Node(id)) {
                seen.features.extend(&value.data);
            }
            if id == last {
                seen.logits.extend(&value.data);
            }
        })
        .map_err(failed)?;
    }
    Ok(seen)
}
