//! What is to be made best.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TaskKind;
use crate::state::words;

words!(
    /// A figure computed from a model's answers on a split; all lie in 0..=1.
    Metric {
        /// Share of examples answered right.
        Accuracy = "accuracy",
        /// Mean over classes of the share of that class answered right.
        BalancedAccuracy = "balanced_accuracy",
        /// Mean over classes of the harmonic mean of precision and recall.
        F1Macro = "f1_macro",
        /// Highest recall of one class at any threshold whose precision reaches a stated value.
        RecallAtPrecision = "recall_at_precision",
        /// Mean over classes of the average precision of boxes, right where they overlap a true one by half (intersection
        /// over union), as pycocotools computes it.
        Map50 = "map50",
        /// The same, mean over overlaps from .5 to .95: COCO's AP.
        Map = "map",
        /// Share of images whose one object is found, overlapping the true box by half and of its class, or in which rightly
        /// nothing is.
        LocalizationAccuracy = "localization_accuracy",
        /// The probability that a faulty image is found stranger than a good one: the area under the ROC curve.
        ImageAuroc = "image_auroc",
    }
);

words!(
    /// Which way is better.
    Direction {
        /// More is better.
        Maximize = "maximize",
        /// Less is better.
        Minimize = "minimize",
    }
);

/// The figure a study works towards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The figure.
    pub metric: Metric,
    /// Which way is better; every metric so far is one to maximize.
    #[serde(default = "maximize")]
    pub direction: Direction,
    /// With `recall_at_precision`: the class to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// With `recall_at_precision`: the least precision, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
}

fn maximize() -> Direction {
    Direction::Maximize
}

impl Metric {
    /// Whether it is a figure of tasks of this kind.
    pub fn is_of(self, kind: TaskKind) -> bool {
        match self {
            Self::Accuracy | Self::BalancedAccuracy | Self::F1Macro | Self::RecallAtPrecision => {
                kind == TaskKind::ImageClassification
            }
            Self::Map50 | Self::Map => kind == TaskKind::ObjectDetection,
            Self::LocalizationAccuracy => kind == TaskKind::ObjectLocalization,
            Self::ImageAuroc => kind == TaskKind::AnomalyDetection,
        }
    }
}

impl Objective {
    /// What is made best in tasks of this kind, unless something else is asked for.
    pub fn of(kind: TaskKind) -> Self {
        match kind {
            TaskKind::ImageClassification => Self::default(),
            TaskKind::ObjectDetection => Self { metric: Metric::Map50, ..Self::default() },
            TaskKind::ObjectLocalization => Self { metric: Metric::LocalizationAccuracy, ..Self::default() },
            TaskKind::AnomalyDetection => Self { metric: Metric::ImageAuroc, ..Self::default() },
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self { metric: Metric::Accuracy, direction: Direction::Maximize, class: None, precision: None }
    }
}
