//! Runs `model.onnx` with tract: for `predict`, and as the judge of what was written.

use crate::answer::{AT_LEAST, LEAST_SCORE, objects_answer};
use crate::formats::{AT_LEAST_KEY, AT_MOST_KEY, BOX_OUTPUTS, DECISION, INPUT, OUTPUT, UNKNOWN_BELOW};
use crate::onnx_proto::{Dimension, GraphProto, ModelProto, ValueInfoProto, data_type};
use crate::{ExportError, preprocess::check_image};
use kindling_graph::{Answer, Found};
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec, Tensor,
    TractResult, TypedRunnableModel, tvec,
};

/// The greatest file read; the networks made here are a thousand times smaller.
const MAX_BYTES: usize = 256 << 20;
/// Plans kept: one an image size, the least recently used goes first.
const MAX_PLANS: usize = 8;
/// The operators that are written here and thus run here. Others are refused before tract sees them.
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Equal",
    "Exp",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "Gemm",
    "GlobalAveragePool",
    "HardSwish",
    "Identity",
    "MatMul",
    "Max",
    "MaxPool",
    "Mul",
    "QuantizeLinear",
    "Range",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Sub",
    "TopK",
    "Transpose",
];

type Plan = Arc<TypedRunnableModel>;

/// A `model.onnx` made here, ready to answer. Shared freely between threads.
pub struct OnnxModel {
    labels: Vec<String>,
    answer: Answer,
    metadata: Vec<(String, String)>,
    model: InferenceModel,
    plans: Mutex<VecDeque<([usize; 3], Plan)>>,
}

impl std::fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxModel").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl OnnxModel {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ExportError::Model`] if it is too large, not ONNX, or not one made here: the input, the output,
    /// the labels and the operators are checked before anything runs.
    pub fn load(bytes: &[u8]) -> Result<Self, ExportError> {
        if bytes.len() > MAX_BYTES {
            let what = format!("{} bytes are more than the {MAX_BYTES} that are read", bytes.len());
            return Err(ExportError::Model(what));
        }
        let proto = ModelProto::decode(bytes)
            .map_err(|error| ExportError::Model(format!("it is not an ONNX file, or it is cut short ({error})")))?;
        let graph = proto.graph.as_ref().ok_or_else(|| ExportError::Model("it holds no graph; is it ONNX?".into()))?;
        check_operators(graph)?;
        let (labels, answer) = read_labels(&proto, graph)?;
        let failed = |error| ExportError::runtime("model.onnx", error);
        let model = tract_onnx::onnx().model_for_read(&mut &bytes[..]).map_err(failed)?;
        let metadata = proto.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Ok(Self { labels, answer, metadata, model, plans: Mutex::default() })
    }

    /// What it says of a picture: probabilities ([`predict`](Self::predict)) or objects ([`detect`](Self::detect)).
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// The score from which on to say that an object is there.
    pub fn at_least(&self) -> f32 {
        let written = self.metadata(AT_LEAST_KEY).and_then(|text| text.parse().ok());
        written.filter(|score: &f32| score.is_finite()).unwrap_or(AT_LEAST as f32)
    }

    /// How many objects to say at most: one where one is looked for.
    pub fn at_most(&self) -> usize {
        self.metadata(AT_MOST_KEY).and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
    }

    /// The classes' names in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The probability below which an answer is likely for a picture of none of the labels, if the file names one.
    pub fn unknown_below(&self) -> Option<f32> {
        self.metadata(UNKNOWN_BELOW)?.parse().ok().filter(|below: &f32| below.is_finite())
    }

    /// A label, and from which probability on to say that it is there, if the file names one.
    pub fn decision(&self) -> Option<(String, f32)> {
        serde_json::from_str(self.metadata(DECISION)?).ok().filter(|(label, _)| self.labels.contains(label))
    }

    /// An entry of the file's metadata: `labels` (a JSON array), `task`, `graph_sha256`, `kindling_version`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The probability of each label for one image: `rgb` is `height * width * 3` bytes, rows from the
    /// top, red, green, blue.
    ///
    /// The first image of a size takes longer, a plan being made for it; the last few plans are kept.
    ///
    /// # Errors
    /// [`ExportError::Image`] if the bytes are not such an image; [`ExportError::Model`] if the file finds objects;
    /// [`ExportError::Runtime`] if tract fails.
    pub fn predict(&self, rgb: &[u8], width: u32, height: u32) -> Result<Vec<f32>, ExportError> {
        let (width, height) = (width as usize, height as usize);
        check_image(rgb, width, height)?;
        self.is_of(Answer::Classes)?;
        self.probabilities(rgb, [1, height, width])
    }

    /// [`predict`](Self::predict) for several images of one size, one after another in `rgb`.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_batch(
        &self,
        rgb: &[u8],
        images: usize,
        width: u32,
        height: u32,
    ) -> Result<Vec<Vec<f32>>, ExportError> {
        self.is_of(Answer::Classes)?;
        let answers = self.probabilities(rgb, batch_size(rgb, images, width, height)?)?;
        Ok(answers.chunks_exact(self.labels.len()).map(<[f32]>::to_vec).collect())
    }

    /// The objects in one image whose score is at least `at_least`, the surest first, at most a hundred: `rgb` as for
    /// [`predict`](Self::predict). [`at_least`](Self::at_least) is the score that the file itself names.
    ///
    /// # Errors
    /// [`ExportError::Image`] if the bytes are not such an image; [`ExportError::Model`] if the file tells classes apart;
    /// [`ExportError::Runtime`] if tract fails.
    pub fn detect(&self, rgb: &[u8], width: u32, height: u32, at_least: f32) -> Result<Vec<Found>, ExportError> {
        Ok(self.detect_batch(rgb, 1, width, height, at_least)?.pop().unwrap_or_default())
    }

    /// [`detect`](Self::detect) for several images of one size, one after another in `rgb`.
    ///
    /// # Errors
    /// As [`detect`](Self::detect).
    pub fn detect_batch(
        &self,
        rgb: &[u8],
        images: usize,
        width: u32,
        height: u32,
        at_least: f32,
    ) -> Result<Vec<Vec<Found>>, ExportError> {
        self.is_of(Answer::Map)?;
        let size = batch_size(rgb, images, width, height)?;
        let read = || -> TractResult<(Vec<f32>, Vec<f32>, Vec<i64>)> {
            let outputs = self.run(rgb, size)?;
            let [boxes, scores, classes] = outputs.as_slice() else { return Ok(Default::default()) };
            let classes = classes.to_plain_array_view::<i64>()?.iter().copied().collect();
            Ok((numbers(std::slice::from_ref(boxes))?, numbers(std::slice::from_ref(scores))?, classes))
        };
        let (boxes, scores, classes) = read().map_err(|error| ExportError::runtime("model.onnx", error))?;
        let (boxes, _) = boxes.as_chunks::<4>();
        if boxes.len() != scores.len() || classes.len() != scores.len() || !scores.len().is_multiple_of(images) {
            let reason =
                format!("it gave {} boxes, {} scores and {} classes", boxes.len(), scores.len(), classes.len());
            return Err(ExportError::runtime("model.onnx", reason));
        }
        let mut found = vec![Vec::new(); images];
        let each = scores.len() / images;
        for (at, ((sides, score), class)) in boxes.iter().zip(scores).zip(classes).enumerate() {
            let class = usize::try_from(class).ok().filter(|class| *class < self.labels.len());
            let class = class.ok_or_else(|| ExportError::runtime("model.onnx", "it gave a class without a label"))?;
            // A score of 0 fills the list up.
            if score > 0.0 && score >= at_least {
                found[at / each].push(Found { class, score, sides: *sides });
            }
        }
        Ok(found)
    }

    /// The answer for one image in numbers, as a [`Judge`](crate::Judge) has it.
    pub(crate) fn answer_for(&self, rgb: &[u8], width: u32, height: u32) -> Result<Vec<f32>, ExportError> {
        match self.answer {
            Answer::Classes => self.predict(rgb, width, height),
            Answer::Map => Ok(objects_answer(&self.detect(rgb, width, height, LEAST_SCORE)?)),
        }
    }

    fn is_of(&self, wanted: Answer) -> Result<(), ExportError> {
        match (wanted, self.answer) {
            (Answer::Classes, Answer::Map) => {
                Err(ExportError::Model("it finds objects and gives no probabilities; ask it to detect".into()))
            }
            (Answer::Map, Answer::Classes) => {
                Err(ExportError::Model("it tells classes apart and finds no objects; ask it to predict".into()))
            }
            _ => Ok(()),
        }
    }

    /// What comes out for images of one size, `[images, height, width]`.
    fn run(&self, rgb: &[u8], size: [usize; 3]) -> TractResult<TVec<TValue>> {
        let [images, height, width] = size;
        let plan = self.plan(size)?;
        let input = Tensor::from_shape::<u8>(&[images, height, width, 3], rgb)?;
        plan.run(tvec!(input.into_tvalue()))
    }

    fn probabilities(&self, rgb: &[u8], size: [usize; 3]) -> Result<Vec<f32>, ExportError> {
        let [images, ..] = size;
        let answer = self.run(rgb, size).and_then(|outputs| numbers(&outputs));
        let answer = answer.map_err(|error| ExportError::runtime("model.onnx", error))?;
        if answer.len() != images * self.labels.len() {
            let reason =
                format!("it gave {} numbers for {images} images of {} labels", answer.len(), self.labels.len());
            return Err(ExportError::runtime("model.onnx", reason));
        }
        Ok(answer)
    }

    /// The plan for this size. Two threads that miss at once both make one; that wastes a little and
    /// blocks nobody.
    fn plan(&self, size: [usize; 3]) -> TractResult<Plan> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = plans.iter().position(|(key, _)| *key == size)
            && let Some((key, plan)) = plans.remove(place)
        {
            plans.push_front((key, Arc::clone(&plan)));
            return Ok(plan);
        }
        drop(plans);
        let [images, height, width] = size;
        let fact = InferenceFact::dt_shape(u8::datum_type(), [images, height, width, 3]);
        let plan = self.model.clone().with_input_fact(0, fact)?.into_optimized()?.into_runnable()?;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push_front((size, Arc::clone(&plan)));
        plans.truncate(MAX_PLANS);
        Ok(plan)
    }
}

/// Checks a batch; gives `[images, height, width]`.
fn batch_size(rgb: &[u8], images: usize, width: u32, height: u32) -> Result<[usize; 3], ExportError> {
    let (width, height) = (width as usize, height as usize);
    if images == 0 || !rgb.len().is_multiple_of(images) {
        return Err(ExportError::Image(format!("{} bytes are not {images} images", rgb.len())));
    }
    check_image(rgb.get(..rgb.len() / images).unwrap_or_default(), width, height)?;
    Ok([images, height, width])
}

/// The numbers of the first output.
pub(crate) fn numbers(outputs: &[tract_onnx::prelude::TValue]) -> TractResult<Vec<f32>> {
    let Some(output) = outputs.first() else { return Ok(Vec::new()) };
    Ok(output.to_plain_array_view::<f32>()?.iter().copied().collect())
}

fn check_operators(graph: &GraphProto) -> Result<(), ExportError> {
    for node in &graph.node {
        if !node.domain.is_empty() || !OPERATORS.contains(&node.op_type.as_str()) {
            let name: String = node.op_type.chars().take(60).collect();
            return Err(ExportError::Model(format!("it has the operator `{name}`, which Kindling does not write")));
        }
    }
    if graph.initializer.iter().any(|tensor| tensor.data_location != 0) {
        return Err(ExportError::Model("its weights lie in another file".into()));
    }
    Ok(())
}

/// Checks what goes in and comes out; gives the labels, and how what comes out is to be read.
fn read_labels(proto: &ModelProto, graph: &GraphProto) -> Result<(Vec<String>, Answer), ExportError> {
    let foreign =
        |what: &str| ExportError::Model(format!("{what}; only `model.onnx` files made by Kindling are run here"));
    let [input] = graph.input.as_slice() else { return Err(foreign("it does not have one input")) };
    let (kind, dims) = shape(input);
    if input.name != INPUT || kind != data_type::UINT8 || !matches!(dims.as_slice(), [_, _, _, Some(3)]) {
        return Err(foreign("its input is not `image`, uint8 [N, H, W, 3]"));
    }
    let entry = proto.metadata_props.iter().find(|entry| entry.key == "labels");
    let entry = entry.ok_or_else(|| foreign("its metadata has no `labels`"))?;
    let labels: Vec<String> =
        serde_json::from_str(&entry.value).map_err(|_| foreign("its `labels` are not a JSON array of words"))?;
    let classes = Some(labels.len() as i64);
    let outputs: Vec<_> = graph.output.iter().map(|output| (output.name.as_str(), shape(output))).collect();
    let outputs: Vec<_> = outputs.iter().map(|(name, (kind, dims))| (*name, *kind, dims.as_slice())).collect();
    let [boxes, scores, numbers] = BOX_OUTPUTS;
    let answer = match outputs.as_slice() {
        [(name, data_type::FLOAT, [_, n])] if *name == OUTPUT && *n == classes => Answer::Classes,
        [
            (first, data_type::FLOAT, [_, Some(a), Some(4)]),
            (second, data_type::FLOAT, [_, Some(b)]),
            (third, data_type::INT64, [_, Some(c)]),
        ] if [*first, *second, *third] == [boxes, scores, numbers] && a == b && b == c => Answer::Map,
        _ => {
            let what =
                "its outputs are neither `probabilities`, float [N, labels], nor `boxes`, `scores` and `classes`";
            return Err(foreign(what));
        }
    };
    match labels.is_empty() {
        true => Err(foreign("it has no labels")),
        false => Ok((labels, answer)),
    }
}

/// Type and dimensions, those that are not fixed as `None`.
fn shape(info: &ValueInfoProto) -> (i32, Vec<Option<i64>>) {
    let Some(tensor) = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()) else { return (0, Vec::new()) };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| match dim.value {
        Some(Dimension::Value(length)) => Some(length),
        _ => None,
    });
    (tensor.elem_type, dims.collect())
}
