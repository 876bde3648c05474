//! A backbone's weights as a safetensors file, as `kindling fetch backbone` leaves it.

use crate::TrainError;
use kindling_graph::{Tensor, Weights};
use kindling_models::backbones::{backbone, read_pytorch, weights_of_checkpoint, whole};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

const VERSION: u32 = 1;
/// The entry of the file's metadata that holds [`About`].
const ABOUT: &str = "kindling_backbone";

#[derive(Serialize, Deserialize)]
struct About {
    version: u32,
    backbone: String,
    source_sha256: String,
}

/// The weights of a whole backbone.
#[derive(Debug, Clone, PartialEq)]
pub struct Pretrained {
    /// Which of [`BACKBONES`](kindling_models::backbones::BACKBONES).
    pub backbone: String,
    /// The SHA-256 of the publisher's checkpoint, in hexadecimal.
    pub source_sha256: String,
    /// Every parameter of [`whole`], running statistics included.
    pub weights: Weights,
}

fn wrong(what: impl Into<String>) -> TrainError {
    TrainError::Backbone(what.into())
}

impl Pretrained {
    /// From the publisher's checkpoint, which PyTorch wrote in its format from before version 1.6.
    ///
    /// # Errors
    /// [`TrainError::Model`] saying what is wrong with the checkpoint, or that there is no such backbone.
    pub fn from_pytorch(name: &str, source_sha256: &str, checkpoint: &[u8]) -> Result<Self, TrainError> {
        let weights = weights_of_checkpoint(backbone(name)?, read_pytorch(checkpoint)?)?;
        Ok(Self { backbone: name.to_owned(), source_sha256: source_sha256.to_owned(), weights })
    }

    /// The file.
    ///
    /// # Errors
    /// [`TrainError::Backbone`] if it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let bytes: Vec<(&String, &Tensor, Vec<u8>)> = self
            .weights
            .iter()
            .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, tensor, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(|e| wrong(e.to_string()))?;
            views.push((*name, view));
        }
        let (backbone, source_sha256) = (self.backbone.clone(), self.source_sha256.clone());
        let about = serde_json::to_string(&About { version: VERSION, backbone, source_sha256 });
        let about = HashMap::from([(ABOUT.to_owned(), about.map_err(|e| wrong(e.to_string()))?)]);
        safetensors::serialize(views, Some(about)).map_err(|e| wrong(e.to_string()))
    }

    /// Reads the file; its weights are those of the backbone that it names.
    ///
    /// # Errors
    /// [`TrainError`] saying what is missing or wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrainError> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
        let about = header.metadata().as_ref().and_then(|about| about.get(ABOUT));
        let about = about.ok_or_else(|| wrong(format!("`{ABOUT}` is missing; `kindling fetch backbone` writes it")))?;
        let about: About = serde_json::from_str(about).map_err(|e| wrong(format!("`{ABOUT}` cannot be read: {e}")))?;
        if about.version != VERSION {
            return Err(wrong(format!("it is of version {}, this program reads version {VERSION}", about.version)));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
        let mut weights = Weights::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("`{name}` is not of 32-bit reals")));
            }
            let (numbers, _) = view.data().as_chunks::<4>();
            let data = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            weights.insert(name.to_owned(), Tensor::new(view.shape().to_vec(), data)?);
        }
        whole(backbone(&about.backbone)?)?.check_weights(&weights)?;
        Ok(Self { backbone: about.backbone, source_sha256: about.source_sha256, weights })
    }
}
