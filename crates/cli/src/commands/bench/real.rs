//! `kindling bench real`.

use crate::failure::{Exit, Failure};
use crate::study::{self, Request};
use crate::{output, running};
use kindling_export::{Card, SplitMetrics};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Runs a study on each data set and prints a table and the confusion matrices.
#[derive(clap::Args)]
pub(crate) struct Real {
    /// Data sets (a folder with one folder a class, or an archive of one), or folders of such.
    #[arg(required = true, value_name = "DIR|ZIP")]
    sets: Vec<PathBuf>,
    /// Seconds for each.
    #[arg(long, default_value_t = 600.0, value_name = "N")]
    seconds: f64,
    /// The most bytes the network's weights may have.
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    max_weights_bytes: u64,
    /// Count the bytes of the 8-bit network.
    #[arg(long)]
    int8: bool,
    /// A backbone whose first blocks may be fine-tuned.
    #[arg(long, value_name = "NAME")]
    backbone: Option<String>,
    /// Let the networks be taught by the whole backbone's answers as well.
    #[arg(long, requires = "backbone")]
    distillation: bool,
    /// A data set that an earlier study learns first, with the same budget; each study may begin from its model.
    #[arg(long, value_name = "DIR|ZIP")]
    after: Option<PathBuf>,
    /// Seeds each search.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Where `kindling fetch backbone` put the weights of backbones.
    #[arg(long, default_value = "./kindling-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Worker processes; by default one a core, or one a graphics card.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Where the figures are written as JSON.
    #[arg(long, default_value = "kindling-bench.json", value_name = "FILE")]
    out: PathBuf,
    /// Print the JSON instead of the table.
    #[arg(long)]
    json: bool,
}

impl Real {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let sets = find(&self.sets)?;
        let runtime = running::runtime()?;
        let (mut results, mut rows, mut matrices) = (Vec::new(), Vec::new(), Vec::new());
        for set in &sets {
            let name = set.file_stem().map_or_else(|| set.display().to_string(), |n| n.to_string_lossy().into_owned());
            match runtime.block_on(self.measure(set, &name)) {
                Ok((result, card)) => {
                    rows.push(row(&name, &result, &card));
                    matrices.push(format!("{name}\n{}", output::figures(&card)));
                    results.push(result);
                }
                Err(failure) if failure.exit == Exit::Interrupted => return Err(failure),
                // One bad set does not keep the others from being measured.
                Err(failure) => {
                    eprintln!("{name}: {failure}");
                    results.push(json!({"name": name, "path": set, "error": failure.to_string()}));
                }
            }
            // After each, so that a long run that is stopped leaves what it has measured.
            self.write(&results)?;
        }
        runtime.shutdown_background();
        if self.json {
            output::say_json(&results)?;
        } else {
            let head = [
                "data set",
                "classes",
                "images",
                "test accuracy (95%)",
                "balanced",
                "trials",
                "weights",
                "MACs",
                "ms",
                "first s",
                "s",
            ];
            output::say(&output::table(&head, &rows));
            for matrix in &matrices {
                output::say(&format!("\n{matrix}"));
            }
            output::say(&format!("\nAll figures are in {}", self.out.display()));
        }
        match rows.len() == sets.len() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, "not every data set could be measured")),
        }
    }

    async fn measure(&self, set: &Path, name: &str) -> Result<(Value, Card), Failure> {
        let work = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
        let spec = json!({
            "version": 1,
            "name": name,
            "kind": "image-classification",
            "constraints": {
                "data_type": if self.int8 { "int8" } else { "float32" },
                "max_weights_bytes": self.max_weights_bytes,
            },
            "budget": {"seconds": self.seconds},
            "backbone": self.backbone,
            "distillation": self.distillation,
            "seed": self.seed,
        });
        let outcome = study::run(Request {
            data: set,
            after: self.after.as_deref(),
            spec: spec.clone(),
            work: work.path(),
            backbones: &self.data_dir,
            device: &self.device,
            workers: self.workers.map(usize::from),
            label: name,
        })
        .await?;
        let card: Card = serde_json::from_value(outcome.best.card.clone())
            .map_err(|e| Failure::new(Exit::Failed, format!("the model card cannot be read: {e}")))?;
        let result = json!({
            "name": name,
            "path": set,
            "spec": spec,
            "dataset": {"sha256": outcome.dataset.hash, "summary": outcome.dataset.summary},
            "progress": outcome.progress,
            "seconds": outcome.seconds,
            "first_model_seconds": outcome.first_model,
            "leaderboard": outcome.leaderboard,
            "card": card,
        });
        Ok((result, card))
    }

    fn write(&self, results: &[Value]) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(results)
            .map_err(|e| Failure::new(Exit::Failed, format!("the figures cannot be written as JSON: {e}")))?;
        std::fs::write(&self.out, text).map_err(Failure::io(&self.out, "the figures cannot be written"))
    }
}

fn row(name: &str, result: &Value, card: &Card) -> Vec<String> {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let (good, other) = match &card.test {
        SplitMetrics::Classes(test) => {
            let [low, high] = test.accuracy_ci.map(output::percent);
            (format!("{} ({low} to {high})", output::percent(test.accuracy)), output::percent(test.balanced_accuracy))
        }
        SplitMetrics::Boxes(test) => {
            let share = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), output::percent);
            (format!("mAP@.5 {}", share(test.map50)), format!("mAP {}", share(test.map)))
        }
    };
    vec![
        name.to_owned(),
        card.labels.len().to_string(),
        card.data.splits.iter().map(|s| s.examples).sum::<u64>().to_string(),
        good,
        other,
        number("/progress/trials_started").map_or_else(|| "?".into(), |t| format!("{t:.0}")),
        output::bytes(card.cost.weights_bytes),
        output::count(card.cost.macs),
        card.cost.latency.as_ref().map_or_else(|| "?".into(), |l| format!("{:.2}", l.median_ms)),
        number("/first_model_seconds").map_or_else(|| "?".into(), |s| format!("{s:.0}")),
        number("/seconds").map_or_else(|| "?".into(), |s| format!("{s:.0}")),
    ]
}

/// The data sets among what was named: each itself, or those inside it.
fn find(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut sets = Vec::new();
    for path in named {
        if path.is_file() || (path.is_dir() && is_set(path)) {
            sets.push(path.clone());
            continue;
        }
        let read = std::fs::read_dir(path).map_err(|error| {
            Failure::new(Exit::Refused, format!("the data set cannot be read: {error}")).at(path.display().to_string())
        })?;
        let mut inside: Vec<_> =
            read.filter_map(|e| Some(e.ok()?.path())).filter(|p| is_archive(p) || (p.is_dir() && is_set(p))).collect();
        if inside.is_empty() {
            return Err(Failure::new(Exit::Refused, "no data set is here")
                .at(path.display().to_string())
                .mend("give a folder with one folder of pictures a class, an archive of one, or a folder of such"));
        }
        inside.sort();
        sets.append(&mut inside);
    }
    Ok(sets)
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    path.is_file() && [".zip", ".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

/// Whether it has at least two folders with pictures, split folders, or a label file.
fn is_set(dir: &Path) -> bool {
    let inside = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).map(|e| e.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default()
    };
    let picture = |path: &PathBuf| {
        let end = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"].contains(&end.as_str())
    };
    let entries = inside(dir);
    let named = |path: &&PathBuf, names: &[&str]| {
        path.file_name().is_some_and(|n| names.contains(&n.to_string_lossy().to_ascii_lowercase().as_str()))
    };
    entries.iter().any(|p| named(&p, &["labels.csv"]))
        || entries.iter().any(|p| p.is_dir() && named(&p, &["train", "training"]))
        || entries.iter().filter(|p| p.is_dir() && inside(p).iter().any(picture)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_are_found_one_level_down() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        };
        for path in
            ["a/cat/1.png", "a/dog/2.JPG", "b.zip", "c/train/x/1.png", "d/labels.csv", "e/images/1.png", "f.txt"]
        {
            make(path);
        }
        let names = |sets: Vec<PathBuf>| -> Vec<String> {
            sets.iter().map(|s| s.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(find(&[root.path().to_owned()]).unwrap()), ["a", "b.zip", "c", "d"]);
        assert_eq!(names(find(&[root.path().join("a")]).unwrap()), ["a"]);
        assert_eq!(find(&[root.path().join("e")]).unwrap_err().exit, Exit::Refused);
    }
}
