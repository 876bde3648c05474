//! The operators.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

/// What a node computes: ONNX's operators (opset 13 and later; HardSwish 14) on `[N, C, H, W]` or `[N, F]`, without the batch
/// axis in every shape given here. Pools use floor mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "op_type", deny_unknown_fields)]
pub enum Op {
    /// Cross-correlation. `[C, H, W]` to `[out_channels, (H + top + bottom - kernel) / stride + 1, …]`.
    Conv {
        /// Output channels.
        out_channels: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Steps down and right.
        strides: [usize; 2],
        /// Zeros added at top, left, bottom, right.
        pads: [usize; 4],
        /// In how many independent groups the channels are; as many as channels makes it depthwise.
        group: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// `scale * (x - mean) / sqrt(var + epsilon) + bias` per channel, with running statistics in inference.
    BatchNormalization {
        /// Keeps the root away from zero.
        epsilon: f32,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`; ReLU6 is 0 to 6.
    Clip {
        /// Lowest value.
        min: f32,
        /// Highest value.
        max: f32,
    },
    /// `x * max(0, min(1, x / 6 + 1/2))` (Howard et al. 2019, MobileNetV3).
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Sum of two tensors of the same shape; nothing is broadcast.
    Add,
    /// Greatest value of each window; padding never wins.
    MaxPool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps down and right.
        strides: [usize; 2],
        /// Rows and columns added at top, left, bottom, right.
        pads: [usize; 4],
    },
    /// Mean of each window; padding is not counted (`count_include_pad = 0`).
    AveragePool {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Steps down and right.
        strides: [usize; 2],
        /// Rows and columns added at top, left, bottom, right.
        pads: [usize; 4],
    },
    /// Mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAveragePool,
    /// `[C, H, W]` to `[C * H * W]`.
    Flatten,
    /// Fully connected: `[F]` to `[out_features]`, weights `[out_features, F]` (`transB = 1`).
    Gemm {
        /// Output features.
        out_features: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Drops values while training; nothing in inference.
    Dropout {
        /// Share dropped, from 0 to below 1.
        ratio: f32,
    },
    /// `exp(x) / sum(exp(x))` over the only axis of `[F]`.
    Softmax,
}

impl Op {
    /// ONNX's name of it.
    pub fn op_type(&self) -> &'static str {
        match self {
            Self::Conv { .. } => "Conv",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::Relu => "Relu",
            Self::Clip { .. } => "Clip",
            Self::HardSwish => "HardSwish",
            Self::Sigmoid => "Sigmoid",
            Self::Add => "Add",
            Self::MaxPool { .. } => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Flatten => "Flatten",
            Self::Gemm { .. } => "Gemm",
            Self::Dropout { .. } => "Dropout",
            Self::Softmax => "Softmax",
        }
    }

    /// How many tensors it reads.
    pub fn arity(&self) -> usize {
        if matches!(self, Self::Add) { 2 } else { 1 }
    }

    /// Whether it may write where it reads: each output depends on the input of the same place only.
    /// Flatten counts, since it moves nothing.
    pub fn in_place(&self) -> bool {
        match self {
            Self::BatchNormalization { .. }
            | Self::Relu
            | Self::Clip { .. }
            | Self::HardSwish
            | Self::Sigmoid
            | Self::Flatten
            | Self::Dropout { .. } => true,
            Self::Conv { .. }
            | Self::Add
            | Self::MaxPool { .. }
            | Self::AveragePool { .. }
            | Self::GlobalAveragePool
            | Self::Gemm { .. }
            | Self::Softmax => false,
        }
    }

    /// Whether it has no attributes.
    fn is_bare(&self) -> bool {
        match self {
            Self::Relu
            | Self::HardSwish
            | Self::Sigmoid
            | Self::Add
            | Self::GlobalAveragePool
            | Self::Flatten
            | Self::Softmax => true,
            Self::Conv { .. }
            | Self::BatchNormalization { .. }
            | Self::Clip { .. }
            | Self::MaxPool { .. }
            | Self::AveragePool { .. }
            | Self::Gemm { .. }
            | Self::Dropout { .. } => false,
        }
    }
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde lets unknown members of a variant without fields pass, so they are counted here.
        let map: Map<String, Value> = Deserialize::deserialize(deserializer)?;
        let members = map.len();
        let op = Self::deserialize(Value::Object(map)).map_err(D::Error::custom)?;
        if op.is_bare() && members != 1 {
            return Err(D::Error::custom(format!("`{}` has no attributes; remove them", op.op_type())));
        }
        Ok(op)
    }
}
