//! What can be chosen, and one choice.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One chosen value.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A word.
    Word(String),
}

/// What a parameter may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Domain {
    /// Whole numbers, both ends included.
    Int { low: i64, high: i64, log: bool },
    /// Real numbers, both ends included.
    Float { low: f64, high: f64, log: bool },
    /// One of these.
    Choice { options: Vec<Value> },
}

impl Domain {
    /// Whether the value is one this domain could give.
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Int { low, high, .. }, Value::Int(v)) => (low..=high).contains(&v),
            (Self::Float { low, high, .. }, Value::Float(v)) => (low..=high).contains(&v),
            (Self::Choice { options }, v) => options.contains(v),
            _ => false,
        }
    }
}

/// A named parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name, unique within a family's space.
    pub name: String,
    /// What it may be.
    pub domain: Domain,
}

impl Param {
    /// A whole number in `low..=high`.
    pub fn int(name: &str, low: i64, high: i64) -> Self {
        Self { name: name.into(), domain: Domain::Int { low, high, log: false } }
    }

    /// A whole number in `low..=high`, uniform in its logarithm.
    pub fn log_int(name: &str, low: i64, high: i64) -> Self {
        Self { name: name.into(), domain: Domain::Int { low, high, log: true } }
    }

    /// A real number in `low..=high`.
    pub fn float(name: &str, low: f64, high: f64) -> Self {
        Self { name: name.into(), domain: Domain::Float { low, high, log: false } }
    }

    /// A real number in `low..=high`, uniform in its logarithm.
    pub fn log_float(name: &str, low: f64, high: f64) -> Self {
        Self { name: name.into(), domain: Domain::Float { low, high, log: true } }
    }

    /// One of some whole numbers.
    pub fn choice(name: &str, options: &[i64]) -> Self {
        let options = options.iter().map(|v| Value::Int(*v)).collect();
        Self { name: name.into(), domain: Domain::Choice { options } }
    }

    /// One of some words.
    pub fn words(name: &str, options: &[&str]) -> Self {
        let options = options.iter().map(|v| Value::Word((*v).into())).collect();
        Self { name: name.into(), domain: Domain::Choice { options } }
    }
}

/// The parameters of one family of networks together with those of its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilySpace {
    /// The family's name.
    pub family: String,
    /// Its parameters, in the order they are drawn.
    pub params: Vec<Param>,
}

/// Everything a sampler may choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchSpace {
    /// One entry a family.
    pub families: Vec<FamilySpace>,
}

impl SearchSpace {
    /// The space of one family.
    pub fn family(&self, name: &str) -> Option<&FamilySpace> {
        self.families.iter().find(|space| space.family == name)
    }

    /// Whether the genome is one this space could give: every parameter present, none other, each
    /// within its domain.
    pub fn contains(&self, genome: &Genome) -> bool {
        self.family(&genome.family).is_some_and(|space| {
            space.params.len() == genome.params.len()
                && space.params.iter().all(|p| genome.params.get(&p.name).is_some_and(|v| p.domain.contains(v)))
        })
    }
}

/// One candidate: a family and a value for each of its parameters.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Genome {
    /// The family's name.
    pub family: String,
    /// Parameter name to value.
    pub params: BTreeMap<String, Value>,
}

impl Genome {
    /// A whole-number parameter, or `None` if absent or of another type.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.params.get(name)? {
            Value::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// A real parameter (a whole number counts as one).
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.params.get(name)? {
            Value::Float(v) => Some(*v),
            Value::Int(v) => Some(*v as f64),
            Value::Word(_) => None,
        }
    }

    /// A word parameter.
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.params.get(name)? {
            Value::Word(v) => Some(v),
            _ => None,
        }
    }
}
