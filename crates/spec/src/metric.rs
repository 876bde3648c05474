//! What is to be made best.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl Default for Objective {
    fn default() -> Self {
        Self { metric: Metric::Accuracy, direction: Direction::Maximize, class: None, precision: None }
    }
}
