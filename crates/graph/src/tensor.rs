//! Numbers with a shape.

use crate::GraphError;
use std::collections::BTreeMap;

/// A dense array of 32-bit reals in row-major order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Lengths, slowest first: `[N, C, H, W]` for images.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the shape.
    pub data: Vec<f32>,
}

/// Parameter name (see [`ParamSpec`](crate::ParamSpec)) to its values.
pub type Weights = BTreeMap<String, Tensor>;

impl Tensor {
    /// A tensor whose data fills its shape.
    ///
    /// # Errors
    /// [`GraphError::Tensor`] if it does not.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, GraphError> {
        match shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) {
            Some(n) if n == data.len() => Ok(Self { shape, data }),
            _ => Err(GraphError::Tensor(format!("the shape {shape:?} does not hold {} numbers", data.len()))),
        }
    }

    /// One number everywhere.
    pub(crate) fn filled(shape: Vec<usize>, value: f32) -> Self {
        let length = shape.iter().product();
        Self { shape, data: vec![value; length] }
    }
}
