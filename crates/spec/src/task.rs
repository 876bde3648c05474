//! The task specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::{ids::ModelId, metric::Objective, schema, state::words, validate};

/// The only version of the specification so far.
pub(crate) const VERSION: u32 = 1;

words!(
    /// What sort of answer is wanted.
    TaskKind {
        /// One class of several for each image.
        ImageClassification = "image-classification",
        /// What is where in each image: boxes with classes.
        ObjectDetection = "object-detection",
        /// Where the one object of each image is, if there is one.
        ObjectLocalization = "object-localization",
        /// Whether each image is unlike the good ones that are given to learn from, and where.
        AnomalyDetection = "anomaly-detection",
    }
);

impl TaskKind {
    /// Whether its examples are boxes in images, which need not be told from anything.
    pub fn is_of_boxes(self) -> bool {
        matches!(self, Self::ObjectDetection | Self::ObjectLocalization)
    }
}

words!(
    /// A file format a model can be downloaded in. `labels.json`, the card and the checksums always
    /// come with it.
    ExportFormat {
        /// `model.onnx`, preprocessing inside.
        Onnx = "onnx",
        /// `model.int8.onnx`, weights and activations of 8 bits.
        OnnxInt8 = "onnx-int8",
        /// `weights.safetensors` and `graph.json`.
        Safetensors = "safetensors",
        /// `model.burnpack`, read by burn's own tools.
        Burnpack = "burnpack",
        /// `model.c`, `model.h`, the same of 8 bits, and `arduino.zip`: C99 for anything from a microcontroller up.
        C = "c",
        /// `model.rs` and the same of 8 bits: a Rust module without the standard library.
        Rust = "rust",
        /// `model.html`, a page that opens from a disk, and `model.js`, a JavaScript module.
        Web = "web",
        /// `predict.py`, a short program that runs the ONNX files.
        Python = "python",
    }
);

words!(
    /// A network that others trained on many pictures, `kindling fetch backbone` gets it.
    BackboneName {
        /// EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet.
        EfficientNetLite0 = "efficientnet-lite0",
    }
);

words!(
    /// The numbers that a model is deployed in.
    DataType {
        /// Reals of 32 bits.
        Float32 = "float32",
        /// Whole numbers of 8 bits, as in `model.int8.onnx` and the source code of 8 bits; biases have 16.
        Int8 = "int8",
    }
);

/// What a study begins from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WarmStart {
    /// The best model of whichever earlier task tells most of these classes apart, if one does.
    #[default]
    Auto,
    /// Nothing.
    Off,
    /// This model.
    Model(ModelId),
}

impl TryFrom<String> for WarmStart {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::Model).map_err(|_| {
                let shown: String = text.chars().take(60).collect();
                format!("`{shown}` is not known; use `auto`, `off` or the id of a model")
            }),
        }
    }
}

impl From<WarmStart> for String {
    fn from(from: WarmStart) -> Self {
        match from {
            WarmStart::Auto => "auto".to_owned(),
            WarmStart::Off => "off".to_owned(),
            WarmStart::Model(id) => id.into(),
        }
    }
}

impl JsonSchema for WarmStart {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WarmStart".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let model = format!("|{}_[0-9a-f]{{32}}", ModelId::PREFIX);
        schemars::json_schema!({ "type": "string", "pattern": format!("^(auto|off{model})$") })
    }
}

/// Which of the data set's classes are told apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Classes {
    /// Only these; examples of others are left out.
    Subset(Vec<String>),
    /// New class name to the data set's classes it is made of; examples of others are left out.
    Mapping(BTreeMap<String, Vec<String>>),
}

impl Classes {
    /// The names the model will answer with, in order, each with the data set's classes it covers.
    pub fn groups(&self) -> Vec<(String, Vec<String>)> {
        match self {
            Self::Subset(names) => {
                let sorted: BTreeSet<_> = names.iter().cloned().collect();
                sorted.into_iter().map(|name| (name.clone(), vec![name])).collect()
            }
            Self::Mapping(map) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }
}

/// What the model may cost. What is left out is not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// The numbers whose bytes `max_weights_bytes` and `max_ram_bytes` count: `float32` if not said. With `int8` a network may have
    /// four times the weights; the files of 8 bits are then those to deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<DataType>,
    /// Bytes of the weights as deployed (normalisation folded into the convolutions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weights_bytes: Option<u64>,
    /// Peak bytes of activations while one image is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ram_bytes: Option<u64>,
    /// Multiply-accumulates to answer one image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u64>,
    /// Milliseconds to answer one image on this machine, one thread, median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<f64>,
}

impl Constraints {
    /// Whether bytes are those of 8-bit numbers.
    pub fn is_int8(&self) -> bool {
        self.data_type == Some(DataType::Int8)
    }

    /// About how many bytes the weights may have as 32-bit reals.
    pub fn max_float_weights_bytes(&self) -> Option<u64> {
        let times = if self.is_int8() { 4 } else { 1 };
        self.max_weights_bytes.map(|bytes| bytes.saturating_mul(times))
    }
}

/// When the search ends: at whichever comes first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Seconds from the first trial's start to the last file's writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Candidates started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<u32>,
}

/// What a person wants told apart, and at what cost.
///
/// Parse it with [`TaskSpec::from_json`], which reports every violation at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// The version of this format: 1.
    pub version: u32,
    /// A name for people, 1 to 200 characters.
    pub name: String,
    /// What sort of answer is wanted.
    pub kind: TaskKind,
    /// The id of a data set; `local` with `kindling train --data`.
    #[serde(default = "local")]
    pub dataset: String,
    /// Which classes are told apart; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// With `anomaly-detection`: the data set's class whose examples are good; every other is faulty, and is only looked at to
    /// choose and to measure. May be left out where that class is called `good`, or is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<String>,
    /// With `anomaly-detection`: the share of good images that may be called faulty, above 0 and at most 0.5; 0.02 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_alarms: Option<f64>,
    /// What is to be made best; when left out accuracy, where objects are found mAP@.5, where one is the share found, where
    /// anomalies are the area under the ROC curve.
    #[serde(default)]
    pub objective: Objective,
    /// What the model may cost.
    #[serde(default)]
    pub constraints: Constraints,
    /// When the search ends; `seconds`, `trials` or both.
    pub budget: Budget,
    /// A pretrained network whose first blocks may be fine-tuned, beside networks that begin from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneName>,
    /// Whether the networks are also taught by the whole backbone's answers; needs `backbone`.
    #[serde(default)]
    pub distillation: bool,
    /// The model that the search begins from: `auto` when left out, `off`, or a model's id. A task that is posted
    /// with `auto` shows what was found.
    #[serde(default)]
    pub warm_start: WarmStart,
    /// The formats to write; all when left out.
    #[serde(default = "all_exports")]
    pub exports: Vec<ExportFormat>,
    /// Seeds everything random; 0 when left out.
    #[serde(default)]
    pub seed: u64,
}

pub(crate) fn local() -> String {
    TaskSpec::LOCAL_DATASET.to_owned()
}

pub(crate) fn all_exports() -> Vec<ExportFormat> {
    ExportFormat::ALL.to_vec()
}

impl TaskSpec {
    /// The data set's name where there is no server.
    pub const LOCAL_DATASET: &'static str = "local";
    /// What the class of the good examples is usually called, where anomalies are found.
    pub const GOOD: &'static str = "good";
    /// What a model calls an example that is none of them.
    pub const FAULTY: &'static str = "faulty";
    /// [`TaskSpec::false_alarms`] where it is left out.
    pub const FALSE_ALARMS: f64 = 0.02;

    /// Reads a specification.
    ///
    /// # Errors
    /// Every violation there is, each with its JSON pointer and how to mend it.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, validate::SpecError> {
        validate::check(value)?;
        let spec: Self =
            serde_json::from_value(value.clone()).map_err(|error| validate::SpecError::one("", error.to_string()))?;
        let objective = if value.get("objective").is_some() { spec.objective } else { Objective::of(spec.kind) };
        Ok(Self { objective, ..spec })
    }

    /// Checks the parts that depend on the data set: the classes named must be among `classes`.
    ///
    /// # Errors
    /// Every violation there is.
    pub fn check_classes(&self, classes: &[String]) -> Result<(), validate::SpecError> {
        validate::check_classes(self, classes)
    }

    /// The class of the good examples, if it is known.
    pub fn good_class(&self, dataset_classes: &[String]) -> Option<String> {
        let usual = || match dataset_classes {
            [only] => Some(only.clone()),
            several => several.iter().find(|name| *name == Self::GOOD).cloned(),
        };
        self.good.clone().or_else(usual)
    }

    /// The names the model answers with, each with the data set's classes it covers.
    pub fn groups(&self, dataset_classes: &[String]) -> Vec<(String, Vec<String>)> {
        if self.kind == TaskKind::AnomalyDetection {
            let good = self.good_class(dataset_classes).unwrap_or_default();
            let others = dataset_classes.iter().filter(|name| **name != good).cloned().collect();
            return vec![(good.clone(), vec![good]), (Self::FAULTY.to_owned(), others)];
        }
        match &self.classes {
            Some(classes) => classes.groups(),
            None => dataset_classes.iter().map(|name| (name.clone(), vec![name.clone()])).collect(),
        }
    }

    /// The published JSON Schema.
    pub fn json_schema() -> serde_json::Value {
        schema::task(schemars::schema_for!(Self).to_value())
    }
}
