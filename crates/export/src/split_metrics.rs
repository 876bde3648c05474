//! A card's figures on one split, by the kind of the task.

use crate::{CardMetrics, ObjectiveValue};
use serde::{Deserialize, Serialize};

/// Figures on one split, by the kind of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SplitMetrics {
    /// Of one class an image.
    Classes(CardMetrics),
    /// Of boxes in images.
    Boxes(BoxMetrics),
}

impl SplitMetrics {
    /// Those of one class an image, if they are.
    pub fn classes(&self) -> Option<&CardMetrics> {
        match self {
            Self::Classes(metrics) => Some(metrics),
            Self::Boxes(_) => None,
        }
    }

    /// Those of boxes, if they are.
    pub fn boxes(&self) -> Option<&BoxMetrics> {
        match self {
            Self::Classes(_) => None,
            Self::Boxes(metrics) => Some(metrics),
        }
    }

    /// Examples measured.
    pub fn examples(&self) -> u64 {
        match self {
            Self::Classes(metrics) => metrics.examples,
            Self::Boxes(metrics) => metrics.examples,
        }
    }

    /// The task's objective.
    pub fn objective(&self) -> &ObjectiveValue {
        match self {
            Self::Classes(metrics) => &metrics.objective,
            Self::Boxes(metrics) => &metrics.objective,
        }
    }
}

impl From<CardMetrics> for SplitMetrics {
    fn from(metrics: CardMetrics) -> Self {
        Self::Classes(metrics)
    }
}

impl From<BoxMetrics> for SplitMetrics {
    fn from(metrics: BoxMetrics) -> Self {
        Self::Boxes(metrics)
    }
}

/// How well objects are found on one split. What there is no box to measure by is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxMetrics {
    /// Images measured.
    pub examples: u64,
    /// True boxes in them.
    pub boxes: u64,
    /// Mean of the classes' average precision, a box being right where it overlaps a true one by half (intersection over union).
    pub map50: Option<f64>,
    /// The same, mean over overlaps from .5 to .95: COCO's AP.
    pub map: Option<f64>,
    /// Harmonic mean of precision and recall at the card's `at_least`, an object being right where its centre lies in a true box.
    pub centroid_f1: Option<f64>,
    /// Share of the objects said at the card's `at_least` that overlap a true box by half.
    pub precision: Option<f64>,
    /// Share of the true boxes that are found so.
    pub recall: Option<f64>,
    /// Of tasks with one object an image: the share in which it is found, overlapping the true box by half, or rightly nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localization_accuracy: Option<f64>,
    /// In the order of the labels.
    pub per_class: Vec<BoxClassMetrics>,
    /// The task's objective.
    pub objective: ObjectiveValue,
}

/// How well what is unlike good images is found on one split. What there is no image to measure by is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnomalyMetrics {
    /// The probability that a faulty image is found stranger than a good one: the area under the ROC curve.
    pub image_auroc: Option<f64>,
    /// The same of good images and of these with defects drawn on them.
    pub drawn_auroc: Option<f64>,
    /// Share of the good images that are called faulty.
    pub false_alarms: Option<f64>,
    /// Its 95% interval (Wilson 1927).
    pub false_alarms_ci: [f64; 2],
    /// The share of good images that is called faulty at most on average, by the good images of the validation split (Vovk et al.
    /// 2005, conformal prediction), if later ones are like these.
    pub false_alarms_promised: f64,
    /// Share of the faulty images that are called so.
    pub recall: Option<f64>,
    /// Its 95% interval.
    pub recall_ci: [f64; 2],
    /// Of each class of the data set whose images are faulty.
    pub per_class: Vec<FaultMetrics>,
}

/// How well one kind of fault is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultMetrics {
    /// The data set's class.
    pub label: String,
    /// Its images.
    pub support: u64,
    /// Share of them that are called faulty.
    pub recall: f64,
    /// The area under the ROC curve of good images and these.
    pub image_auroc: Option<f64>,
}

/// How well one class's objects are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxClassMetrics {
    /// Its name.
    pub label: String,
    /// Average precision at an overlap of half; absent if there are no true boxes.
    pub ap50: Option<f64>,
    /// Mean of it over overlaps from .5 to .95.
    pub ap: Option<f64>,
    /// Share of the objects said that are right; absent if none was said.
    pub precision: Option<f64>,
    /// Share of its true boxes that were found; absent if there are none.
    pub recall: Option<f64>,
    /// Its true boxes.
    pub boxes: u64,
}
