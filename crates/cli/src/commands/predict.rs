//! `kindling predict`.

use crate::failure::{Exit, Failure};
use crate::output;
use kindling_data::{Limits, decode_image};
use kindling_engine::{Object, Said, say};
use kindling_export::OnnxModel;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Asks a model about images. Runs `model.onnx` itself, with the preprocessing inside it.
#[derive(clap::Args)]
pub(crate) struct Predict {
    /// A model.onnx made by Kindling, or the folder it is in.
    model: PathBuf,
    /// The images: PNG, JPEG, WebP, BMP or TIFF.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Of a model that finds objects: say those with at least this score, 0 to 1, in place of what its card says.
    #[arg(long, value_name = "SCORE")]
    at_least: Option<f32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Predict {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let model = load(&self.model)?;
        let mut refused = None;
        let mut answers = Vec::new();
        for path in &self.images {
            // One bad image does not keep the others from being answered.
            match std::fs::read(path)
                .map_err(Failure::io(path, "the image cannot be read"))
                .and_then(|b| ask(&model, &b, self.at_least))
            {
                Ok(said) if self.json => answers.push(as_json(path, &said)),
                Ok(said) => output::say(&format!("{}: {}", path.display(), in_words(said))),
                Err(failure) => {
                    let failure = failure.at(path.display().to_string());
                    if self.json {
                        answers.push(json!({"image": path, "error": failure.to_string()}));
                    } else {
                        eprintln!("{failure}");
                    }
                    refused = Some(failure.exit);
                }
            }
        }
        if self.json {
            output::say_json(&answers)?;
        }
        match refused {
            Some(exit) => Err(Failure::new(exit, "not every image could be answered")),
            None => Ok(()),
        }
    }
}

/// Loads a model file, or the one in a bundle's folder.
pub(crate) fn load(path: &Path) -> Result<OnnxModel, Failure> {
    let file = if path.is_dir() { path.join("model.onnx") } else { path.to_owned() };
    let bytes = std::fs::read(&file).map_err(|error| {
        Failure::new(Exit::Refused, format!("the model cannot be read: {error}"))
            .at(file.display().to_string())
            .mend("give a model.onnx, or the folder that holds one")
    })?;
    OnnxModel::load(&bytes)
        .map_err(|error| Failure::new(Exit::Refused, error.to_string()).at(file.display().to_string()))
}

/// Decodes an image file and asks the model.
pub(crate) fn ask(model: &OnnxModel, file: &[u8], at_least: Option<f32>) -> Result<Said, Failure> {
    let image = decode_image(file, &Limits::default())?;
    say(model, &image, at_least).map_err(|error| Failure::new(Exit::Failed, format!("the model did not run: {error}")))
}

fn as_json(path: &Path, said: &Said) -> Value {
    match said {
        Said::Class { label, probabilities, unknown, .. } => {
            let all: Map<String, Value> = probabilities.iter().map(|(l, p)| (l.clone(), json!(p))).collect();
            json!({"image": path, "label": label, "probabilities": all, "unknown": unknown})
        }
        Said::Objects { objects, at_least } => {
            let object = |o: &Object| json!({"label": o.label, "score": o.score, "box": o.sides});
            let all: Vec<Value> = objects.iter().map(object).collect();
            json!({"image": path, "objects": all, "at_least": at_least})
        }
    }
}

fn in_words(said: Said) -> String {
    match said {
        Said::Class { mut probabilities, unknown, .. } => {
            probabilities.sort_by(|a, b| b.1.total_cmp(&a.1));
            let all: Vec<_> = probabilities.iter().map(|(l, p)| format!("{l} {p:.4}")).collect();
            let unsure = if unknown == Some(true) { " (perhaps none of these)" } else { "" };
            format!("{}{unsure}", all.join(", "))
        }
        Said::Objects { objects, at_least } if objects.is_empty() => {
            format!("nothing from a score of {at_least:.2} on")
        }
        Said::Objects { objects, .. } => {
            let object = |o: &Object| {
                let [left, top, right, bottom] = o.sides.map(|side| side * 100.0);
                format!("{} {:.2} at {left:.0}-{right:.0}% x {top:.0}-{bottom:.0}%", o.label, o.score)
            };
            objects.iter().map(object).collect::<Vec<_>>().join(", ")
        }
    }
}
