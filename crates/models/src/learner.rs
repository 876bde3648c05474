//! One training pass, on each device in its best way.

use crate::{ModelError, Network, random::Random};
use burn::tensor::{Device, Gradients, Tensor};
use kindling_graph::Op;
use kindling_kernels::{KernelError, TrainingProgram, runs_on};

/// A network in training. On the processor's `flex` device a pass is one operator with kernels of its
/// own ([`kindling_kernels`]); elsewhere it is composed of the backend's operators.
#[derive(Debug, Clone)]
pub struct Learner {
    network: Network,
    program: Option<TrainingProgram>,
    native: bool,
}

/// What a pass gives.
#[derive(Debug)]
pub struct Pass {
    /// `[N, classes]`, tracked.
    pub logits: Tensor<2>,
    /// For each BatchNormalization its batch's mean and biased variance, in the order of the graph's
    /// parameters that are not trained; `None` without any. On the device without autodiff.
    pub statistics: Option<Tensor<1>>,
    /// What the gradient is taken of.
    pub leaves: Leaves,
}

/// The trained parameters as a pass saw them.
#[derive(Debug)]
pub struct Leaves(Kind);

#[derive(Debug)]
enum Kind {
    Flat(Box<Tensor<1>>),
    Layers(Box<Network>),
}

impl Leaves {
    /// The gradient of the trained parameters as one flat tensor in the order of
    /// [`kindling_graph::Graph::params`], on the device without autodiff.
    ///
    /// # Shapes
    /// `[P]`
    pub fn gradient(&self, mut gradients: Gradients) -> Tensor<1> {
        match &self.0 {
            Kind::Layers(network) => network.flat_gradients(gradients),
            Kind::Flat(weights) => weights
                .grad_remove(&mut gradients)
                .unwrap_or_else(|| Tensor::zeros(weights.dims(), &weights.device().without_autodiff())),
        }
    }
}

impl Learner {
    /// Trains this network, which is on `device`, with autodiff.
    pub fn new(network: Network, device: &Device) -> Self {
        let native = runs_on(device);
        Self { network, program: None, native }
    }

    /// The same without the kernels: the composition of operators that other devices run, to compare with.
    #[must_use]
    pub fn composed(mut self) -> Self {
        self.native = false;
        self
    }

    /// The network, with its first weights.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Answers as in training, with dropout drawn from `random`.
    ///
    /// # Shapes
    /// `images` `[N, C, H, W]`, normalised, on the device with autodiff; `weights` `[P]`, all trained
    /// parameters, on the device without.
    ///
    /// # Errors
    /// [`ModelError`] if the images or weights are not the graph's.
    pub fn forward(&mut self, images: Tensor<4>, weights: &Tensor<1>, random: &mut Random) -> Result<Pass, ModelError> {
        let batch = images.dims()[0];
        if self.native && self.program.as_ref().is_none_or(|program| program.batch() != batch) {
            match TrainingProgram::new(self.network.graph(), batch) {
                Ok(program) => self.program = Some(program),
                Err(KernelError::Unsupported(_)) => self.native = false,
                Err(error) => return Err(error.into()),
            }
        }
        let Some(program) = self.program.as_ref().filter(|_| self.native) else {
            let network = self.network.clone().with_trainable(weights);
            let (logits, seen) = network.forward_train(images, random)?;
            let parts: Vec<_> = seen.into_iter().flat_map(|batch| [batch.mean, batch.var]).collect();
            let statistics = (!parts.is_empty()).then(|| Tensor::cat(parts, 0));
            return Ok(Pass { logits, statistics, leaves: Leaves(Kind::Layers(Box::new(network))) });
        };
        let masks = self.masks(batch, random)?;
        let weights = Tensor::from_inner(weights.clone()).require_grad();
        let found = program.forward(images, weights.clone(), masks)?;
        let statistics = (found.statistics.dims()[0] > 0).then_some(found.statistics);
        Ok(Pass { logits: found.output, statistics, leaves: Leaves(Kind::Flat(Box::new(weights))) })
    }

    /// The factors of each dropout, drawn as the composition draws them.
    fn masks(&self, batch: usize, random: &mut Random) -> Result<Vec<Vec<f32>>, ModelError> {
        let graph = self.network.graph();
        let shapes = graph.shapes()?;
        let dropouts = graph.nodes.iter().zip(shapes).filter_map(|(node, shape)| match node.op {
            Op::Dropout { ratio } => Some((ratio, batch * shape.iter().product::<usize>())),
            _ => None,
        });
        Ok(dropouts.map(|(ratio, count)| crate::ops::dropout_mask(ratio, count, random)).collect())
    }
}
