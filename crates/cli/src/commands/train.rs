//! `kindling train`.

use crate::failure::{Exit, Failure};
use crate::study::{self, Outcome, Request};
use crate::{commands::sample::refuse_full, output, running};
use kindling_export::Card;
use kindling_spec::{Json, TaskSpec};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Searches and trains without a service, then writes the best model's files.
#[derive(clap::Args)]
pub(crate) struct Train {
    /// The task specification, a JSON file; `-` reads standard input. `kindling schema` prints its schema.
    spec: PathBuf,
    /// The examples: a folder with one folder a class, or an archive of one.
    #[arg(long, value_name = "DIR|ZIP")]
    data: PathBuf,
    /// Where the model's files go; made if need be, must be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Where `kindling fetch backbone` put the weights of backbones.
    #[arg(long, default_value = "./kindling-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Worker processes; by default one a core, or one a graphics card.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let spec = read_spec(&self.spec)?;
        refuse_full(&self.out)?;
        let parent = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(Failure::io(parent, "the folder cannot be made"))?;
        // Beside the target, so that the files get there by a rename: all of them or none.
        let work = tempfile::Builder::new()
            .prefix(".kindling-")
            .tempdir_in(parent)
            .map_err(Failure::io(parent, "a folder for the work cannot be made"))?;
        let request = Request {
            data: &self.data,
            after: None,
            spec: spec.clone(),
            work: &work.path().join("data"),
            backbones: &self.data_dir,
            device: &self.device,
            workers: self.workers.map(usize::from),
            label: "search",
        };
        let runtime = running::runtime()?;
        let outcome = runtime.block_on(study::run(request));
        runtime.shutdown_background();
        let outcome = outcome?;
        deliver(&outcome, &work.path().join("bundle"), &self.out)?;
        self.tell(&outcome, &spec)
    }

    fn tell(&self, outcome: &Outcome, spec: &Value) -> Result<(), Failure> {
        if self.json {
            return output::say_json(&json!({
                "out": self.out,
                "model": outcome.best.id,
                "dataset": outcome.dataset.summary,
                "progress": outcome.progress,
                "leaderboard": outcome.leaderboard,
                "card": outcome.best.card,
                "files": outcome.best.files,
                "seconds": outcome.seconds,
                "first_model_seconds": outcome.first_model,
            }));
        }
        let board: Vec<Value> = outcome.leaderboard.iter().filter_map(|e| serde_json::to_value(e).ok()).collect();
        let metric = spec.pointer("/objective/metric").and_then(Value::as_str).unwrap_or("accuracy");
        output::say(&study::board(board.iter(), metric, 10));
        let card: Card = serde_json::from_value(outcome.best.card.clone())
            .map_err(|e| Failure::new(Exit::Failed, format!("the model card cannot be read: {e}")))?;
        output::say(&format!("\nOn the test split:\n{}", output::figures(&card)));
        output::say(&format!(
            "\n{} trials in {:.0} s. The best model's files are in {}",
            outcome.progress.trials_started,
            outcome.seconds,
            self.out.display()
        ));
        for file in &outcome.best.files {
            output::say(&format!("  {:<22} {:>9}  {}", file.name, output::bytes(file.bytes), file.about));
        }
        Ok(())
    }
}

/// Reads a JSON file; `-` is standard input.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|t| text = t)
    };
    let at = path.display().to_string();
    read.map_err(|e| Failure::new(Exit::Refused, format!("the specification cannot be read: {e}")).at(at.clone()))?;
    serde_json::from_str::<Json>(&text)
        .map(|Json(value)| value)
        .map_err(|e| Failure::new(Exit::Refused, format!("the specification is not JSON: {e}")).at(at))
}

/// Reads a specification, filling in what there is to fill in without a service.
fn read_spec(path: &Path) -> Result<Value, Failure> {
    let at = path.display().to_string();
    let mut spec = read_json(path)?;
    if let Value::Object(map) = &mut spec {
        map.entry("dataset").or_insert_with(|| json!(TaskSpec::LOCAL_DATASET));
    }
    let parsed = TaskSpec::from_json(&spec).map_err(|e| Failure::from(e).at(at.clone()))?;
    if parsed.dataset != TaskSpec::LOCAL_DATASET {
        return Err(Failure::new(
            Exit::Refused,
            format!("`dataset` is {:?}, but --data gives the data", parsed.dataset),
        )
        .at(at)
        .mend("leave `dataset` out, or write \"local\""));
    }
    Ok(spec)
}

/// Copies the files beside the target, then moves them there in one step.
fn deliver(outcome: &Outcome, bundle: &Path, out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(bundle).map_err(Failure::io(bundle, "a folder cannot be made"))?;
    for (file, path) in &outcome.files {
        let to = bundle.join(&file.name);
        std::fs::copy(path, &to).map_err(Failure::io(&to, "a file cannot be written"))?;
    }
    if out.is_dir() {
        std::fs::remove_dir(out).map_err(Failure::io(out, "the folder cannot be replaced"))?;
    }
    std::fs::rename(bundle, out).map_err(Failure::io(out, "the files cannot be moved there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_spec(file.path())
    }

    #[test]
    fn the_data_set_may_be_left_out_or_local_and_nothing_else() {
        let body = r#""version":1,"name":"n","kind":"image-classification","budget":{"trials":1}"#;
        assert_eq!(read(&format!("{{{body}}}")).unwrap()["dataset"], "local");
        assert!(read(&format!("{{{body},\"dataset\":\"local\"}}")).is_ok());
        let refused = read(&format!("{{{body},\"dataset\":\"ds_1\"}}")).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused);
        assert!(refused.to_string().contains("--data"), "{refused}");
    }

    #[test]
    fn every_violation_is_told() {
        let refused =
            read(r#"{"version":1,"name":"n","kind":"image-classification","budget":{},"colour":1}"#).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("/budget") && text.contains("/colour"), "{text}");
    }
}
