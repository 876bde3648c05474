//! Several trials of one architecture trained as one network, each with its own data, seed and
//! hyperparameters (Wang et al. 2021, HFTA): for devices that one small network leaves idle.

use crate::optimizer::{BETA_2, EPSILON, MAX_NORM};
use crate::trainer::{MOMENTUM, flatten, unflatten};
use crate::{HostBatch, Hyperparameters, OpenDevice, OptimizerKind, TrainError, trainer::read};
use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};
use kindling_graph::{Graph, Weights, join_graph, join_weights, part_weights};
use kindling_models::{Learner, ModelError, Network, random::Random};

/// The trials in training. All tensors are on the device without autodiff.
pub struct JoinedTrainer {
    device: Device,
    /// One trial's graph.
    graph: Graph,
    learner: Learner,
    settings: Vec<Hyperparameters>,
    weights: Tensor<1>,
    statistics: Option<Tensor<1>>,
    first: Tensor<1>,
    second: Tensor<1>,
    /// 1 where a weight is of a trial, `[trials, P]`.
    owner: Tensor<2>,
    /// 1 where weight decay applies.
    decays: Tensor<1>,
    steps: u64,
}

impl JoinedTrainer {
    /// Starts each trial from its weights.
    ///
    /// # Errors
    /// [`TrainError::Input`] if there is no trial or they have different optimisers,
    /// [`TrainError::Graph`] if the graph cannot be joined or the weights are not its own.
    pub fn new(device: &OpenDevice, graph: &Graph, trials: &[(Weights, Hyperparameters)]) -> Result<Self, TrainError> {
        let (weights, settings): (Vec<_>, Vec<_>) = trials.iter().cloned().unzip();
        let Some(kind) = settings.first().map(|s| s.optimizer) else {
            return Err(TrainError::Input("there is no trial to train".into()));
        };
        if settings.iter().any(|s| s.optimizer != kind) {
            return Err(TrainError::Input("trials trained as one must have the same optimizer".into()));
        }
        let joined = join_graph(graph, trials.len())?;
        let weights = join_weights(graph, &weights)?;
        let network = Network::from_weights(&joined, &weights, &device.device.clone().autodiff())?;
        let (trained, running) = flatten(&joined, &weights)?;
        let (mut owner, mut decays) = (vec![Vec::new(); trials.len()], Vec::new());
        for spec in joined.params()?.into_iter().filter(|spec| spec.trainable) {
            let each = spec.shape.iter().product::<usize>() / trials.len();
            for part in 0..trials.len() {
                owner.iter_mut().enumerate().for_each(|(trial, row)| {
                    row.extend(std::iter::repeat_n(if trial == part { 1.0f32 } else { 0.0 }, each));
                });
                decays.extend(std::iter::repeat_n(if spec.shape.len() > 1 { 1.0f32 } else { 0.0 }, each));
            }
        }
        let device = device.device.clone();
        let load = |data: Vec<f32>| {
            let count = data.len();
            Tensor::<1>::from_data(TensorData::new(data, [count]), &device)
        };
        let count = trained.len();
        Ok(Self {
            graph: graph.clone(),
            learner: Learner::new(network, &device),
            weights: load(trained),
            statistics: (!running.is_empty()).then(|| load(running)),
            first: Tensor::zeros([count], &device),
            second: Tensor::zeros([count], &device),
            owner: Tensor::from_data(TensorData::new(owner.concat(), [trials.len(), count]), &device),
            decays: load(decays),
            settings,
            steps: 0,
            device,
        })
    }

    /// One step of every trial, each on its own batch, all of one size; gives each batch's loss before it,
    /// still on the device. Dropout is drawn from one generator for all.
    ///
    /// # Shapes
    /// Gives `[trials]`.
    ///
    /// # Errors
    /// [`TrainError::Input`] if the batches or learning rates do not fit the trials.
    pub fn step(
        &mut self,
        batches: &[HostBatch],
        learning_rates: &[f64],
        random: &mut Random,
    ) -> Result<Tensor<1>, TrainError> {
        let trials = self.settings.len();
        let size = batches.first().map_or(0, |batch| batch.size);
        let classes: usize = self.graph.output_shape()?.iter().product();
        let length: usize = self.graph.input.shape().iter().product();
        let fits = |b: &HostBatch| (b.size, b.images.len(), b.targets.len()) == (size, size * length, size * classes);
        if size == 0 || batches.len() != trials || learning_rates.len() != trials || !batches.iter().all(fits) {
            return Err(TrainError::Input(format!(
                "{trials} trials need as many learning rates and batches, all of one size, of {length} numbers an \
                 image and {classes} classes"
            )));
        }
        let by_image = |of: fn(&HostBatch) -> &[f32], each: usize| -> Vec<f32> {
            let parts = (0..size).flat_map(|i| batches.iter().map(move |b| &of(b)[i * each..(i + 1) * each]));
            parts.flatten().copied().collect()
        };
        let tracked = self.device.clone().autodiff();
        let input = &self.graph.input;
        let shape = [size, trials * input.channels, input.height, input.width];
        let images = TensorData::new(by_image(|b| &b.images, length), shape);
        let targets = TensorData::new(by_image(|b| &b.targets, classes), [size, trials, classes]);
        let images = Tensor::<4>::from_data(images, &tracked);
        let targets = Tensor::<3>::from_data(targets, &tracked);
        let pass = self.learner.forward(images, &self.weights, random)?;
        let logits = pass.logits.reshape([size, trials, classes]);
        let products = log_softmax(logits, 2).mul(targets);
        // The trials' losses are summed: none has a part in another's gradient.
        let gradient = pass.leaves.gradient(products.clone().sum().neg().backward());
        let losses = products.inner().sum_dim(2).sum_dim(0).reshape([trials]).neg();
        self.optimize(gradient, learning_rates);
        if let (Some(running), Some(batch)) = (self.statistics.take(), pass.statistics) {
            self.statistics = Some(running.mul_scalar(1.0 - MOMENTUM).add(batch.mul_scalar(MOMENTUM)));
        }
        Ok(losses)
    }

    /// A number of each trial, for each of its weights.
    fn spread(&self, of: impl Fn(usize) -> f64) -> Tensor<1> {
        let values: Vec<f32> = (0..self.settings.len()).map(|trial| of(trial) as f32).collect();
        let trials = values.len();
        self.spread_tensor(Tensor::from_data(TensorData::new(values, [1, trials]), &self.device))
    }

    fn spread_tensor(&self, values: Tensor<2>) -> Tensor<1> {
        values.matmul(self.owner.clone()).flatten(0, 1)
    }

    fn optimize(&mut self, gradient: Tensor<1>, rates: &[f64]) {
        self.steps += 1;
        // Each trial's gradient is clipped by its own norm.
        let squares = gradient.clone().square().unsqueeze_dim::<2>(1);
        let norms = self.owner.clone().matmul(squares).sqrt().transpose();
        let factors = norms.add_scalar(EPSILON).recip().mul_scalar(MAX_NORM).clamp_max(1.0);
        let gradient = gradient.mul(self.spread_tensor(factors));
        let decay = self.spread(|trial| rates[trial] * self.settings[trial].weight_decay).mul(self.decays.clone());
        let decayed = self.weights.clone().sub(self.weights.clone().mul(decay));
        let momentum = self.spread(|trial| self.settings[trial].momentum);
        self.weights = match self.settings[0].optimizer {
            OptimizerKind::AdamW => {
                let fresh = momentum.clone().neg().add_scalar(1.0);
                self.first = self.first.clone().mul(momentum).add(gradient.clone().mul(fresh));
                let kept = self.second.clone().mul_scalar(BETA_2);
                self.second = kept.add(gradient.square().mul_scalar(1.0 - BETA_2));
                let steps = self.steps as f64;
                let rate = self.spread(|trial| rates[trial] / (1.0 - self.settings[trial].momentum.powf(steps)));
                let spread = self.second.clone().div_scalar(1.0 - BETA_2.powf(steps)).sqrt().add_scalar(EPSILON);
                decayed.sub(self.first.clone().mul(rate).div(spread))
            }
            OptimizerKind::Sgd => {
                self.first = self.first.clone().mul(momentum.clone()).add(gradient.clone());
                let ahead = gradient.add(self.first.clone().mul(momentum));
                decayed.sub(ahead.mul(self.spread(|trial| rates[trial] * 10.0)))
            }
        };
    }

    /// A trial's weights as the last step left them.
    ///
    /// # Errors
    /// [`TrainError::Device`] if they cannot be read, [`TrainError::Graph`] if there is no such trial.
    pub fn weights(&self, trial: usize) -> Result<Weights, TrainError> {
        let running = self.statistics.as_ref().map(read).transpose()?.unwrap_or_default();
        let joined = unflatten(self.learner.network().graph(), &read(&self.weights)?, &running)?;
        let count = self.settings.len();
        Ok(part_weights(&self.graph, &joined, count, trial).map_err(ModelError::from)?)
    }
}
