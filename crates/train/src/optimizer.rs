//! Steps on all weights at once.
//!
//! The weights, their moments and their moving average are each one flat tensor on the device: a
//! step is a dozen passes over one array instead of a dozen for each layer, and the whole state is a
//! handful of arrays in a checkpoint.

use crate::{Hyperparameters, OptimizerKind};
use burn::tensor::{Device, Tensor, TensorData};
use kindling_graph::{Graph, GraphError};
use kindling_kernels::{OptimizerTensors, Rule, Step, optimize, runs_on};

pub(crate) const BETA_2: f64 = 0.999;
pub(crate) const EPSILON: f64 = 1e-8;
/// Gradients are scaled down to this norm, which spares a trial a rare bad batch.
pub(crate) const MAX_NORM: f64 = 5.0;

/// The optimiser's state, `[P]` each.
#[derive(Debug, Clone)]
pub(crate) struct Optimizer {
    kind: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    /// 1 where weight decay applies.
    decays: Tensor<1>,
    pub(crate) first: Tensor<1>,
    pub(crate) second: Tensor<1>,
    pub(crate) steps: u64,
}

impl Optimizer {
    pub(crate) fn new(settings: &Hyperparameters, graph: &Graph, device: &Device) -> Result<Self, GraphError> {
        let mut decays = Vec::new();
        for spec in graph.params()?.into_iter().filter(|spec| spec.trainable) {
            // Biases and normalisation have one axis; only kernels and matrices decay.
            let decay = if spec.shape.len() > 1 { 1.0f32 } else { 0.0 };
            decays.resize(decays.len() + spec.shape.iter().product::<usize>(), decay);
        }
        let count = decays.len();
        Ok(Self {
            kind: settings.optimizer,
            momentum: settings.momentum,
            weight_decay: settings.weight_decay,
            decays: Tensor::from_data(TensorData::new(decays, [count]), device),
            first: Tensor::zeros([count], device),
            second: Tensor::zeros([count], device),
            steps: 0,
        })
    }

    /// The weights after one step.
    pub(crate) fn step(&mut self, weights: Tensor<1>, gradient: Tensor<1>, learning_rate: f64) -> Tensor<1> {
        self.steps += 1;
        if runs_on(&weights.device()) {
            return self.step_by_kernel(weights, gradient, learning_rate);
        }
        let norm = gradient.clone().square().sum().sqrt();
        let gradient = gradient.mul(norm.add_scalar(EPSILON).recip().mul_scalar(MAX_NORM).clamp_max(1.0));
        let decayed = if self.weight_decay > 0.0 {
            let decay = self.decays.clone().mul_scalar(learning_rate * self.weight_decay);
            weights.clone().sub(weights.mul(decay))
        } else {
            weights
        };
        let momentum = self.momentum;
        match self.kind {
            OptimizerKind::AdamW => {
                let kept = self.first.clone().mul_scalar(momentum);
                self.first = kept.add(gradient.clone().mul_scalar(1.0 - momentum));
                let kept = self.second.clone().mul_scalar(BETA_2);
                self.second = kept.add(gradient.square().mul_scalar(1.0 - BETA_2));
                let steps = self.steps as f64;
                let first_share = 1.0 - momentum.powf(steps);
                let second_share = 1.0 - BETA_2.powf(steps);
                let spread = self.second.clone().div_scalar(second_share).sqrt().add_scalar(EPSILON);
                decayed.sub(self.first.clone().mul_scalar(learning_rate / first_share).div(spread))
            }
            OptimizerKind::Sgd => {
                self.first = self.first.clone().mul_scalar(momentum).add(gradient.clone());
                let ahead = gradient.add(self.first.clone().mul_scalar(momentum));
                decayed.sub(ahead.mul_scalar(learning_rate * 10.0))
            }
        }
    }

    /// The same in one pass.
    fn step_by_kernel(&mut self, weights: Tensor<1>, gradient: Tensor<1>, learning_rate: f64) -> Tensor<1> {
        let (momentum, steps) = (self.momentum, self.steps as f64);
        let rule = match self.kind {
            OptimizerKind::AdamW => Rule::AdamW {
                beta_1: momentum as f32,
                beta_2: BETA_2 as f32,
                rate: (learning_rate / (1.0 - momentum.powf(steps))) as f32,
                second_share: (1.0 / (1.0 - BETA_2.powf(steps))) as f32,
                epsilon: EPSILON as f32,
            },
            OptimizerKind::Sgd => Rule::Sgd { momentum: momentum as f32, rate: (learning_rate * 10.0) as f32 },
        };
        let decay = (learning_rate * self.weight_decay) as f32;
        let step = Step { rule, decay, max_norm: MAX_NORM as f32 };
        // Something else stands in for the moments meanwhile, so that they are changed in place.
        let mut lend = |moment: fn(&mut Self) -> &mut Tensor<1>| {
            let placeholder = self.decays.clone();
            std::mem::replace(moment(self), placeholder)
        };
        let (first, second) = (lend(|this| &mut this.first), lend(|this| &mut this.second));
        let next = optimize(OptimizerTensors { weights, first, second }, self.decays.clone(), gradient, step);
        (self.first, self.second) = (next.first, next.second);
        next.weights
    }
}
