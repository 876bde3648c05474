//! `kindling predict`.

use crate::failure::{Exit, Failure};
use crate::output;
use kindling_data::{Limits, decode_image};
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
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) label: String,
    pub(crate) probabilities: Vec<(String, f32)>,
    /// Whether the image is likely of none of the classes, where the model can tell.
    pub(crate) unknown: Option<bool>,
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
                .and_then(|b| ask(&model, &b))
            {
                Ok(answer) if self.json => {
                    let all: Map<String, Value> =
                        answer.probabilities.iter().map(|(l, p)| (l.clone(), json!(p))).collect();
                    answers.push(
                        json!({"image": path, "label": answer.label, "probabilities": all, "unknown": answer.unknown}),
                    );
                }
                Ok(answer) => {
                    let mut all = answer.probabilities;
                    all.sort_by(|a, b| b.1.total_cmp(&a.1));
                    let all: Vec<_> = all.iter().map(|(l, p)| format!("{l} {p:.4}")).collect();
                    let unsure = if answer.unknown == Some(true) { " (perhaps none of these)" } else { "" };
                    output::say(&format!("{}: {}{unsure}", path.display(), all.join(", ")));
                }
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
pub(crate) fn ask(model: &OnnxModel, file: &[u8]) -> Result<Answer, Failure> {
    let image = decode_image(file, &Limits::default())?;
    let (width, height) = image.dimensions();
    let values = model
        .predict(image.as_raw(), width, height)
        .map_err(|error| Failure::new(Exit::Failed, format!("the model did not run: {error}")))?;
    let probabilities: Vec<(String, f32)> = model.labels().iter().cloned().zip(values).collect();
    let best = probabilities.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let label = best.map(|(label, _)| label.clone()).unwrap_or_default();
    let unknown = best.zip(model.unknown_below()).map(|((_, probability), below)| *probability < below);
    Ok(Answer { label, probabilities, unknown })
}
