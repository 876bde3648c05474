//! The formats a model is written in. To add one: a file here with its [`Format`], and its line in
//! [`FORMATS`]; the tests loop over the registry.

mod c;
mod code;
mod onnx;
mod onnx_boxes;
mod onnx_int8;
mod onnx_preprocess;
mod pack;
mod python;
mod rust;
mod safetensors;
mod web;

pub(crate) use onnx::{DECISION, UNKNOWN_BELOW, network_only};
pub use onnx::{INPUT, OPSET, OUTPUT};
pub use onnx_boxes::OUTPUTS as BOX_OUTPUTS;
pub(crate) use onnx_boxes::{AT_LEAST_KEY, AT_MOST_KEY};
pub(crate) use onnx_int8::{FILE as INT8_FILE, INT8_TOLERANCE};
pub(crate) use safetensors::read as read_network;

use crate::answer::{difference, difference_from_map};
use crate::preprocess::{level_picture, preprocess};
use crate::{AT_LEAST, Check, ExportError, Judge, TOLERANCE};
use kindling_graph::{Answer, Graph, Quantized, Weights, execute, fold_batch_norm};
use kindling_spec::ExportFormat;
use std::path::Path;

/// One file format, or a group of files that only serve together.
///
/// # Contract
/// `write` gives the same bytes for the same source. `verify` reads the files back **from disk**, runs
/// them, and fails with [`ExportError::Disagrees`] when an answer is further than
/// [`TOLERANCE`](crate::TOLERANCE) from a judge's.
pub trait Format: Sync {
    /// Its word in a task's `exports`.
    fn format(&self) -> ExportFormat;

    /// The files.
    ///
    /// # Errors
    /// [`ExportError::Unsupported`] when the format cannot express the graph.
    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError>;

    /// Re-runs the files of `write` that now lie in `dir`: one check a file that can be run.
    ///
    /// # Errors
    /// [`ExportError::Disagrees`], [`ExportError::ReadBack`], or what reading and running them says.
    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError>;

    /// Runs those of its files in `dir` that can be run on this machine, with nothing but what lies in `dir`.
    ///
    /// # Errors
    /// What reading and running them says.
    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError>;
}

/// A picture of any size.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// `[height, width, 3]`: rows from the top, red, green, blue.
    pub rgb: &'a [u8],
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// What one file answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its name.
    pub file: &'static str,
    /// By what it was run.
    pub by: &'static str,
    /// Whether it is of the 8-bit network.
    pub int8: bool,
    /// For each picture the probability of each label, or its objects as [`objects_answer`](crate::objects_answer) lists them.
    pub answers: Vec<Vec<f32>>,
}

/// Every format written here, in the order the files are listed. `burnpack` is not among them: it
/// needs burn, so the caller hands it in with its own check.
pub static FORMATS: &[&dyn Format] =
    &[&onnx::Onnx, &onnx_int8::OnnxInt8, &code::C, &code::Rust, &code::Web, &safetensors::Safetensors, &python::Python];

/// What all formats are written from.
pub struct Source<'a> {
    /// The graph as trained.
    pub graph: &'a Graph,
    /// Its weights, running statistics included.
    pub weights: &'a Weights,
    /// The graph as deployed: normalisation folded, nothing that only training needs.
    pub folded: (Graph, Weights),
    /// The same in 8 bits, for the formats that are of it.
    pub quantized: Option<&'a Quantized>,
    /// The classes' names in the order of the outputs.
    pub labels: &'a [String],
    /// The task's name, for the files' metadata.
    pub task: &'a str,
    /// An answer with a lesser probability is likely for a picture of none of the labels.
    pub unknown_below: Option<f64>,
    /// A class, and from which probability on to say that it is there.
    pub decision: Option<(&'a str, f64)>,
    /// The score from which on to say that an object is there; [`AT_LEAST`](crate::AT_LEAST) if absent.
    pub at_least: Option<f64>,
    /// How many objects to say at most; `None` for all.
    pub at_most: Option<usize>,
}

impl<'a> Source<'a> {
    /// Checks that the parts belong together and folds the graph.
    ///
    /// # Errors
    /// [`ExportError::Graph`] or [`ExportError::Input`] saying which part does not fit.
    pub fn new(
        graph: &'a Graph,
        weights: &'a Weights,
        quantized: Option<&'a Quantized>,
        labels: &'a [String],
        task: &'a str,
    ) -> Result<Self, ExportError> {
        graph.check_weights(weights)?;
        let shape = graph.output_shape()?;
        let fits = match (graph.answer, shape.as_slice()) {
            (Answer::Classes, [classes]) => *classes == labels.len(),
            (Answer::Map, [channels, ..]) => *channels == labels.len() + 4,
            _ => false,
        };
        if labels.is_empty() || !fits {
            let wanted = match graph.answer {
                Answer::Classes => "they must be as many",
                Answer::Map => "a map of objects has one channel a label and four more",
            };
            return Err(ExportError::Input(format!(
                "there are {} labels and the network's output has the shape {shape:?}; {wanted}",
                labels.len()
            )));
        }
        if let Some((name, _)) = weights.iter().find(|(_, tensor)| tensor.data.iter().any(|v| !v.is_finite())) {
            return Err(ExportError::Input(format!("the weight `{name}` holds numbers that are not finite")));
        }
        Ok(Self {
            graph,
            weights,
            folded: fold_batch_norm(graph, weights)?,
            quantized,
            labels,
            task,
            unknown_below: None,
            decision: None,
            at_least: None,
            at_most: None,
        })
    }

    /// How the answers are to be read.
    pub(crate) fn answer(&self) -> Answer {
        self.graph.answer
    }

    /// The score from which on to say that an object is there.
    pub(crate) fn score_at_least(&self) -> f64 {
        self.at_least.unwrap_or(AT_LEAST)
    }

    /// How far a float file's answer is from the trained network's.
    pub(crate) fn far_from(&self, judge: &Judge, answer: &[f32]) -> Result<f32, ExportError> {
        let far = difference(self.answer(), answer, &judge.answer, TOLERANCE);
        if self.answer() == Answer::Classes || far <= TOLERANCE {
            return Ok(far);
        }
        // Places that are all but equal may have been a peak here and none there; the map tells.
        let (graph, weights) = &self.folded;
        let input = preprocess(&judge.rgb, judge.width, judge.height, &graph.input)?;
        let map = execute(graph, weights, &input)?.data;
        let shape = onnx_boxes::map_shape(self)?;
        let [ours, theirs] = [answer, &judge.answer].map(|answer| difference_from_map(answer, &map, shape, TOLERANCE));
        Ok(if ours <= TOLERANCE && theirs <= TOLERANCE { ours.max(theirs) } else { far })
    }

    /// How far an 8-bit file's answer is from that of the 8-bit network in whole numbers.
    pub(crate) fn far_from_int8(&self, judge: &Judge, answer: &[f32]) -> Result<f32, ExportError> {
        let quantized = self.quantized()?;
        let levels = level_picture(&judge.rgb, judge.width, judge.height, &quantized.lowered.input)?;
        let expected = quantized.answer(&levels)?;
        Ok(match self.answer() {
            Answer::Classes => difference(Answer::Classes, answer, &expected, INT8_TOLERANCE),
            Answer::Map => difference_from_map(answer, &expected, onnx_boxes::map_shape(self)?, INT8_TOLERANCE),
        })
    }

    /// The 8-bit network, for a format that is of nothing else.
    pub(crate) fn quantized(&self) -> Result<&'a Quantized, ExportError> {
        self.quantized.ok_or_else(|| ExportError::Input("the network was not rounded to 8 bits".into()))
    }
}

/// One file, not yet on disk.
pub struct Written {
    /// Its name in the bundle.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
    /// As in HTTP's Content-Type.
    pub media_type: &'static str,
    /// What it is, for people.
    pub about: &'static str,
}
