//! A trial's whole state between rungs, as a safetensors file.

use crate::{TrainError, trainer::unflatten};
use kindling_graph::{Graph, Weights};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

const VERSION: u32 = 1;
/// The entry of the file's metadata that holds [`About`].
const ABOUT: &str = "kindling_checkpoint";

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct About {
    version: u32,
    graph: String,
    epoch: u32,
    steps: u64,
    averaged: u64,
}

/// Everything needed to go on bit for bit. All arrays are flat, in the order of the graph's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The graph's hash.
    pub graph: String,
    /// Epochs trained.
    pub epoch: u32,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Steps of the moving average.
    pub averaged: u64,
    /// The trained weights.
    pub weights: Vec<f32>,
    /// The running statistics.
    pub statistics: Vec<f32>,
    /// The moving average of the weights.
    pub average_weights: Vec<f32>,
    /// The moving average of the running statistics.
    pub average_statistics: Vec<f32>,
    /// The optimiser's first moments, or its momentum.
    pub first: Vec<f32>,
    /// The optimiser's second moments.
    pub second: Vec<f32>,
}

fn wrong(what: impl Into<String>) -> TrainError {
    TrainError::Checkpoint(what.into())
}

impl Checkpoint {
    fn arrays(&self) -> [(&'static str, &Vec<f32>); 6] {
        [
            ("weights", &self.weights),
            ("statistics", &self.statistics),
            ("average_weights", &self.average_weights),
            ("average_statistics", &self.average_statistics),
            ("first", &self.first),
            ("second", &self.second),
        ]
    }

    /// The moving average of the weights, by name.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it is not of this graph.
    pub fn average(&self, graph: &Graph) -> Result<Weights, TrainError> {
        if graph.hash() != self.graph {
            return Err(wrong("it is of another graph"));
        }
        unflatten(graph, &self.average_weights, &self.average_statistics)
    }

    /// The file.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let bytes = self
            .arrays()
            .map(|(name, data)| (name, data.len(), data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()));
        let mut views = Vec::with_capacity(bytes.len());
        for (name, length, data) in &bytes {
            let view = TensorView::new(Dtype::F32, vec![*length], data).map_err(|e| wrong(e.to_string()))?;
            views.push((*name, view));
        }
        let Self { graph, epoch, steps, averaged, .. } = self;
        let about = About { version: VERSION, graph: graph.clone(), epoch: *epoch, steps: *steps, averaged: *averaged };
        let about = serde_json::to_string(&about).map_err(|e| wrong(e.to_string()))?;
        // One entry only: the map has no order, and equal checkpoints are to be equal files.
        let about = HashMap::from([(ABOUT.to_owned(), about)]);
        safetensors::serialize(views, Some(about)).map_err(|e| wrong(e.to_string()))
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] saying what is missing or wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
        let about = header.metadata().as_ref().and_then(|about| about.get(ABOUT));
        let about = about.ok_or_else(|| wrong(format!("`{ABOUT}` is missing; it is not a trial's checkpoint")))?;
        let unreadable = |e: serde_json::Error| wrong(format!("`{ABOUT}` cannot be read: {e}"));
        // The version first: a later one may well have other members.
        let version = serde_json::from_str::<Head>(about).map_err(unreadable)?.version;
        if version != VERSION {
            return Err(wrong(format!("it is of version {version}, this program reads version {VERSION}")));
        }
        let about: About = serde_json::from_str(about).map_err(unreadable)?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
        let array = |name: &str| {
            let view = file.tensor(name).map_err(|_| wrong(format!("`{name}` is missing")))?;
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("`{name}` is not of 32-bit reals")));
            }
            let words = view.data().chunks_exact(4);
            Ok(words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        Ok(Self {
            graph: about.graph,
            epoch: about.epoch,
            steps: about.steps,
            averaged: about.averaged,
            weights: array("weights")?,
            statistics: array("statistics")?,
            average_weights: array("average_weights")?,
            average_statistics: array("average_statistics")?,
            first: array("first")?,
            second: array("second")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Checkpoint {
        Checkpoint {
            graph: "abc".into(),
            epoch: 3,
            steps: 12,
            averaged: 13,
            weights: vec![1.0, -0.0, f32::MIN_POSITIVE],
            statistics: Vec::new(),
            average_weights: vec![0.5; 3],
            average_statistics: Vec::new(),
            first: vec![2.0; 3],
            second: vec![3.0; 3],
        }
    }

    #[test]
    fn comes_back_bit_for_bit() {
        let bytes = example().to_bytes().unwrap();
        let back = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(back, example());
        assert!(back.weights[1].is_sign_negative());
    }

    #[test]
    fn no_spoiled_file_makes_a_reader_panic() {
        let read = |bytes: &[u8]| {
            drop(Checkpoint::from_bytes(bytes));
            drop(crate::Pretrained::from_bytes(bytes));
        };
        let seeds = || {
            let tensor = kindling_graph::Tensor::new(vec![2], vec![1.0; 2]).unwrap();
            let weights = [("stem.conv.weight".to_owned(), tensor)].into();
            let (backbone, source_sha256) = ("efficientnet-lite0".into(), "0".repeat(64));
            let backbone = crate::Pretrained { backbone, source_sha256, weights };
            vec![example().to_bytes().unwrap(), backbone.to_bytes().unwrap()]
        };
        kindling_spoil::check(&[kindling_spoil::Parser { name: "safetensors", read, seeds, cases: 5000 }]);
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let bytes = example().to_bytes().unwrap();
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(matches!(Checkpoint::from_bytes(&bytes[..cut]), Err(TrainError::Checkpoint(_))), "{cut}");
        }
        let marker = br#"\"version\":1"#;
        let at = bytes.windows(marker.len()).position(|w| w == marker).unwrap();
        let mut later = bytes;
        later[at + marker.len() - 1] = b'9';
        let error = Checkpoint::from_bytes(&later).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
