//! The part of a genome that says how to train.

use crate::TrainError;
use kindling_data::Augment;
use kindling_spec::{Domain, Genome, Param, TaskKind};

/// The rule by which gradients change weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019); `momentum` is its first beta.
    AdamW,
    /// Stochastic gradient descent with Nesterov momentum and decoupled weight decay. Its steps are
    /// ten times `learning_rate`, so that one range of rates suits both rules.
    Sgd,
}

/// How a trial is trained, read from its genome.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparameters {
    /// The rule.
    pub optimizer: OptimizerKind,
    /// Highest learning rate of each rung.
    pub learning_rate: f64,
    /// Share of each weight taken away at each step, times the learning rate; biases and normalisation are spared.
    pub weight_decay: f64,
    /// How much of the last steps' direction is kept.
    pub momentum: f64,
    /// Examples a step.
    pub batch_size: usize,
    /// Share of each rung's steps in which the learning rate climbs.
    pub warmup: f64,
    /// Share of the target spread over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// Alpha of mixup's Beta distribution, 0 for none (Zhang et al. 2018).
    pub mixup: f64,
    /// Decay of the moving average of the weights (Polyak and Juditsky 1992).
    pub ema: f64,
    /// Whether each class counts the same however many examples it has.
    pub class_weights: bool,
    /// Share of the target that is the teacher's answer where there is a teacher (Hinton et al. 2015), the rest
    /// being the label; 0 when the genome does not say.
    pub distillation: f64,
    /// How pictures are varied.
    pub augment: Augment,
}

impl Default for Hyperparameters {
    /// AdamW with nothing beside it: no warmup, no smoothing, no variation.
    fn default() -> Self {
        Self {
            optimizer: OptimizerKind::AdamW,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            momentum: 0.9,
            batch_size: 32,
            warmup: 0.0,
            label_smoothing: 0.0,
            mixup: 0.0,
            ema: 0.9,
            class_weights: false,
            distillation: 0.0,
            augment: Augment::default(),
        }
    }
}

/// The parameter that is searched as well when a study has a teacher.
pub fn distillation() -> Param {
    Param::float("distillation", 0.0, 1.0)
}

/// The parameters a sampler chooses, the same for every family.
pub fn params() -> Vec<Param> {
    vec![
        Param::words("optimizer", &["adamw", "sgd"]),
        Param::log_float("learning_rate", 5e-4, 3e-2),
        Param::log_float("weight_decay", 1e-4, 1e-1),
        Param::float("momentum", 0.8, 0.97),
        Param::choice("batch_size", &[16, 32, 64, 128]),
        Param::float("warmup", 0.02, 0.3),
        Param::float("label_smoothing", 0.0, 0.15),
        Param::float("mixup", 0.0, 0.4),
        Param::float("ema", 0.9, 0.999),
        Param::words("class_weights", &["off", "on"]),
        Param::words("flip", &["on", "off"]),
        Param::float("crop", 0.0, 0.4),
        Param::float("colour", 0.0, 0.6),
        Param::float("cutout", 0.0, 0.4),
    ]
}

/// Those of [`params`] that mean something in tasks of a kind.
pub fn params_of(kind: TaskKind) -> Vec<Param> {
    let without: &[&str] = match kind {
        TaskKind::ImageClassification => &[],
        TaskKind::ObjectDetection | TaskKind::ObjectLocalization => &CLASSES_ONLY,
        // A hole is a defect, and is drawn as one.
        TaskKind::AnomalyDetection => &["label_smoothing", "mixup", "class_weights", "cutout"],
    };
    params().into_iter().filter(|param| !without.contains(&param.name.as_str())).collect()
}

/// What changes targets that are classes; without it they are as they are.
const CLASSES_ONLY: [&str; 3] = ["label_smoothing", "mixup", "class_weights"];

impl Hyperparameters {
    /// Reads and checks every parameter of [`params`]; those that not all kinds of tasks have may be left out.
    ///
    /// # Errors
    /// [`TrainError::Genome`] naming the first that is missing or not finite, or has no meaning.
    /// Values outside the range that is searched are taken as long as they have a meaning, so that
    /// a person may try them.
    pub fn from_genome(genome: &Genome) -> Result<Self, TrainError> {
        let wrong = |name: &str, what: &str| TrainError::Genome { name: name.into(), what: what.into() };
        let real = |name: &str, low: f64, high: f64| {
            let value = genome.float(name).ok_or_else(|| wrong(name, "is missing or not a number"))?;
            let fits = value.is_finite() && (low..=high).contains(&value);
            if fits { Ok(value) } else { Err(wrong(name, &format!("is {value}; it must be from {low} to {high}"))) }
        };
        let word = |name: &str| {
            let value = genome.word(name).ok_or_else(|| wrong(name, "is missing or not a word"))?;
            let known = params().into_iter().find(|p| p.name == name).is_some_and(|p| match p.domain {
                Domain::Choice { options } => options.contains(&kindling_spec::Value::Word(value.into())),
                _ => false,
            });
            if known { Ok(value) } else { Err(wrong(name, &format!("is `{value}`, which is not known"))) }
        };
        let has = |name: &str| genome.params.contains_key(name);
        let batch_size = genome.int("batch_size").ok_or_else(|| wrong("batch_size", "is missing or not whole"))?;
        if !(1..=65_536).contains(&batch_size) {
            return Err(wrong("batch_size", &format!("is {batch_size}; it must be from 1 to 65536")));
        }
        Ok(Self {
            optimizer: if word("optimizer")? == "sgd" { OptimizerKind::Sgd } else { OptimizerKind::AdamW },
            learning_rate: real("learning_rate", 0.0, f64::MAX)?,
            weight_decay: real("weight_decay", 0.0, 100.0)?,
            momentum: real("momentum", 0.0, 0.9999)?,
            batch_size: batch_size as usize,
            warmup: real("warmup", 0.0, 1.0)?,
            label_smoothing: if has("label_smoothing") { real("label_smoothing", 0.0, 0.9)? } else { 0.0 },
            mixup: if has("mixup") { real("mixup", 0.0, 1.0)? } else { 0.0 },
            ema: real("ema", 0.0, 0.99999)?,
            class_weights: has("class_weights") && word("class_weights")? == "on",
            distillation: if has("distillation") { real("distillation", 0.0, 1.0)? } else { 0.0 },
            augment: Augment {
                flip: word("flip")? == "on",
                crop: real("crop", 0.0, 0.5)? as f32,
                colour: real("colour", 0.0, 1.0)? as f32,
                cutout: if has("cutout") { real("cutout", 0.0, 1.0)? as f32 } else { 0.0 },
            },
        })
    }
}
