//! `predict.py`: a short program that runs the ONNX files, for those who have Python and nothing of ours.

use super::{Format, Picture, Run, Source, Written};
use crate::{Check, ExportError, Judge, bundle};
use kindling_spec::ExportFormat;
use std::path::Path;

const FILE: &str = "predict.py";
const TEXT: &str = include_str!("python/predict.py");

/// See the module.
pub(super) struct Python;

impl Format for Python {
    fn format(&self) -> ExportFormat {
        ExportFormat::Python
    }

    fn write(&self, _: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        Ok(vec![Written {
            name: FILE,
            bytes: TEXT.into(),
            media_type: "text/x-python; charset=utf-8",
            about: "runs model.onnx or model.int8.onnx on pictures, or measures accuracy on a folder, or draws boxes; needs onnxruntime, numpy, pillow",
        }])
    }

    /// It holds nothing of the model, so that reading it back is all there is to check.
    fn verify(&self, dir: &Path, _: &Source<'_>, _: &[Judge]) -> Result<Vec<Check>, ExportError> {
        match bundle::read(&dir.join(FILE))? == TEXT.as_bytes() {
            true => Ok(Vec::new()),
            false => Err(ExportError::ReadBack { file: FILE.into(), what: "the text differs".into() }),
        }
    }

    fn run(&self, _: &Path, _: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        Ok(Vec::new())
    }
}
