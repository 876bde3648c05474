//! Training step by step.

use crate::{Checkpoint, HostBatch, Hyperparameters, OpenDevice, TrainError, loss::Loss, optimizer::Optimizer};
use burn::tensor::{Device, Tensor, TensorData};
use kindling_graph::{Graph, Tensor as Array, Weights};
use kindling_models::{Learner, Network, Pass, random::Random};

/// Share of a batch's statistics in the running ones.
pub(crate) const MOMENTUM: f32 = 0.1;

/// A network in training: its weights, running statistics, their moving averages and the
/// optimiser's state, each one flat tensor on the device without autodiff.
pub struct Trainer {
    device: Device,
    learner: Learner,
    loss: Loss,
    settings: Hyperparameters,
    optimizer: Optimizer,
    weights: Tensor<1>,
    statistics: Option<Tensor<1>>,
    average_weights: Tensor<1>,
    average_statistics: Option<Tensor<1>>,
    averaged: u64,
}

impl Trainer {
    /// Starts from these weights.
    ///
    /// # Errors
    /// [`TrainError::Model`] or [`TrainError::Graph`] if the weights are not the graph's.
    pub fn new(
        device: &OpenDevice,
        graph: &Graph,
        weights: &Weights,
        settings: &Hyperparameters,
    ) -> Result<Self, TrainError> {
        let device = device.device.clone();
        let network = Network::from_weights(graph, weights, &device.clone().autodiff())?;
        let (trained, running) = flatten(graph, weights)?;
        let load = |data: Vec<f32>| {
            let count = data.len();
            (count > 0).then(|| Tensor::<1>::from_data(TensorData::new(data, [count]), &device))
        };
        let weights = load(trained).ok_or_else(|| TrainError::Input("the graph has nothing to train".into()))?;
        let statistics = load(running);
        let optimizer = Optimizer::new(settings, graph, &device)?;
        Ok(Self {
            learner: Learner::new(network, &device),
            loss: Loss::of(graph)?,
            settings: settings.clone(),
            optimizer,
            average_weights: weights.clone(),
            average_statistics: statistics.clone(),
            weights,
            statistics,
            averaged: 0,
            device,
        })
    }

    /// The same composed of burn's operators also where there are kernels, to compare with.
    #[must_use]
    pub fn composed(mut self) -> Self {
        self.learner = self.learner.composed();
        self
    }

    /// One step on one batch; gives the batch's loss before it, still on the device.
    ///
    /// # Shapes
    /// The batch's images are of the graph's input shape, its targets those of the graph's answer.
    ///
    /// # Errors
    /// [`TrainError::Input`] if the batch does not fit the graph.
    pub fn step(&mut self, batch: HostBatch, learning_rate: f64, random: &mut Random) -> Result<Tensor<1>, TrainError> {
        let input = &self.learner.network().graph().input;
        let shape = [batch.size, input.channels, input.height, input.width];
        let numbers = batch.targets.len() / batch.size.max(1);
        if batch.size == 0
            || batch.images.len() != shape.iter().product::<usize>()
            || batch.targets.len() != batch.size * numbers
        {
            return Err(TrainError::Input(format!("a batch of {} does not fit the graph's input", batch.size)));
        }
        let tracked = self.device.clone().autodiff();
        let images = Tensor::<4>::from_data(TensorData::new(batch.images, shape), &tracked);
        let targets = Tensor::<2>::from_data(TensorData::new(batch.targets, [batch.size, numbers]), &tracked);
        let Pass { logits, statistics, leaves } = self.learner.forward(images, &self.weights, random)?;
        let [_, answered] = logits.dims();
        if self.loss.target_len(answered) != numbers {
            let what = format!("{numbers} numbers are no target for the {answered} that the graph answers");
            return Err(TrainError::Input(what));
        }
        let loss = self.loss.apply(logits, targets);
        let gradient = leaves.gradient(loss.backward());
        self.weights = self.optimizer.step(self.weights.clone(), gradient, learning_rate);

        if let (Some(running), Some(batch)) = (self.statistics.take(), statistics) {
            self.statistics = Some(running.mul_scalar(1.0 - MOMENTUM).add(batch.mul_scalar(MOMENTUM)));
        }
        self.average();
        Ok(loss.inner())
    }

    /// Moves the averages towards the weights; slowly only once there have been many steps.
    fn average(&mut self) {
        self.averaged += 1;
        let n = self.averaged as f64;
        let keep = self.settings.ema.min((1.0 + n) / (10.0 + n));
        let towards = |old: Tensor<1>, new: Tensor<1>| old.mul_scalar(keep).add(new.mul_scalar(1.0 - keep));
        self.average_weights = towards(self.average_weights.clone(), self.weights.clone());
        self.average_statistics = match (self.average_statistics.take(), self.statistics.clone()) {
            (Some(old), Some(new)) => Some(towards(old, new)),
            (old, _) => old,
        };
    }

    /// The weights as the last step left them.
    ///
    /// # Errors
    /// [`TrainError::Device`] if they cannot be read.
    pub fn raw_weights(&self) -> Result<Weights, TrainError> {
        self.named(&self.weights, self.statistics.as_ref())
    }

    /// The moving average of the weights.
    ///
    /// # Errors
    /// As [`Trainer::raw_weights`].
    pub fn average_weights(&self) -> Result<Weights, TrainError> {
        self.named(&self.average_weights, self.average_statistics.as_ref())
    }

    fn named(&self, trained: &Tensor<1>, running: Option<&Tensor<1>>) -> Result<Weights, TrainError> {
        let running = running.map(read).transpose()?.unwrap_or_default();
        unflatten(self.learner.network().graph(), &read(trained)?, &running)
    }

    /// Everything to go on from here bit for bit, as it is after `epoch` epochs.
    ///
    /// # Errors
    /// [`TrainError::Device`] if the state cannot be read.
    pub fn checkpoint(&self, epoch: u32) -> Result<Checkpoint, TrainError> {
        let optional =
            |tensor: &Option<Tensor<1>>| tensor.as_ref().map(read).transpose().map(Option::unwrap_or_default);
        Ok(Checkpoint {
            graph: self.learner.network().graph().hash(),
            epoch,
            steps: self.optimizer.steps,
            averaged: self.averaged,
            weights: read(&self.weights)?,
            statistics: optional(&self.statistics)?,
            average_weights: read(&self.average_weights)?,
            average_statistics: optional(&self.average_statistics)?,
            first: read(&self.optimizer.first)?,
            second: read(&self.optimizer.second)?,
        })
    }

    /// Takes up the state of a checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it is of another graph.
    pub fn restore(&mut self, from: &Checkpoint) -> Result<(), TrainError> {
        let ours = self.learner.network().graph().hash();
        if from.graph != ours {
            let what = format!("it is of the graph {}, not of {ours}; train the trial from the start", from.graph);
            return Err(TrainError::Checkpoint(what));
        }
        let count = self.weights.dims()[0];
        let running = self.statistics.as_ref().map_or(0, |s| s.dims()[0]);
        let load = |name: &str, data: &Vec<f32>, length: usize| match data.len() {
            n if n == length => Ok(Tensor::<1>::from_data(TensorData::new(data.clone(), [n]), &self.device)),
            n => Err(TrainError::Checkpoint(format!("`{name}` has {n} numbers, the graph needs {length}"))),
        };
        self.weights = load("weights", &from.weights, count)?;
        self.average_weights = load("average_weights", &from.average_weights, count)?;
        self.optimizer.first = load("first", &from.first, count)?;
        self.optimizer.second = load("second", &from.second, count)?;
        if running > 0 {
            self.statistics = Some(load("statistics", &from.statistics, running)?);
            self.average_statistics = Some(load("average_statistics", &from.average_statistics, running)?);
        }
        self.optimizer.steps = from.steps;
        self.averaged = from.averaged;
        Ok(())
    }
}

/// A tensor's numbers.
pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let data = tensor.try_to_data().map_err(|e| TrainError::Device(e.to_string()))?;
    data.try_into_vec_as::<f32>().map_err(|e| TrainError::Device(e.to_string()))
}

/// The trained weights and the running statistics, each in the order of the graph's parameters.
pub(crate) fn flatten(graph: &Graph, weights: &Weights) -> Result<(Vec<f32>, Vec<f32>), TrainError> {
    graph.check_weights(weights)?;
    let (mut trained, mut running) = (Vec::new(), Vec::new());
    for spec in graph.params()? {
        let to = if spec.trainable { &mut trained } else { &mut running };
        to.extend(weights.get(&spec.name).iter().flat_map(|array| &array.data));
    }
    Ok((trained, running))
}

/// The inverse of [`flatten`].
pub(crate) fn unflatten<'a>(
    graph: &Graph,
    mut trained: &'a [f32],
    mut running: &'a [f32],
) -> Result<Weights, TrainError> {
    let mut weights = Weights::new();
    for spec in graph.params()? {
        let from = if spec.trainable { &mut trained } else { &mut running };
        let length = spec.shape.iter().product();
        let (data, rest) = from
            .split_at_checked(length)
            .ok_or_else(|| TrainError::Checkpoint(format!("it ends before `{}`", spec.name)))?;
        *from = rest;
        weights.insert(spec.name, Array::new(spec.shape, data.to_vec())?);
    }
    Ok(weights)
}
