//! The programs as a burn backend extension: one differentiable operator that is a whole network.

use crate::{KernelError, Program, State, Step};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, DispatchDevice, ExtensionType, Flex, TensorMetadata,
    backend_extension,
};
use burn::tensor::{Device, Tensor, TensorData};
use kindling_graph::Graph;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the kernels run on this device; elsewhere a network is composed of the backend's operators.
pub fn runs_on(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// A training [`Program`] as a function of burn tensors.
///
/// It keeps one batch's activations: a gradient is that of its last forward pass.
#[derive(Debug, Clone)]
pub struct TrainingProgram {
    program: Arc<Mutex<Program>>,
    weights: usize,
    image: Vec<usize>,
    batch: usize,
}

/// What [`TrainingProgram::forward`] answers.
#[derive(Debug)]
pub struct Trained {
    /// `[N, features]`, tracked.
    pub output: Tensor<2>,
    /// See [`crate::Answer::statistics`]; on the device without autodiff.
    pub statistics: Tensor<1>,
}

impl TrainingProgram {
    /// # Errors
    /// As [`Program::training`].
    pub fn new(graph: &Graph, batch: usize) -> Result<Self, KernelError> {
        let program = Program::training(graph, batch)?;
        let weights = graph.params()?.iter().filter(|spec| spec.trainable).map(|spec| spec.numbers() as usize).sum();
        Ok(Self { program: Arc::new(Mutex::new(program)), weights, image: graph.input.shape(), batch })
    }

    /// Images a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The network's answer in training, differentiable in the weights.
    ///
    /// # Shapes
    /// `images` `[N, C, H, W]`, `weights` `[P]` in the order of [`Graph::params`], both on a device that
    /// [`runs_on`] accepts; `masks` as for [`Program::forward`].
    ///
    /// # Errors
    /// [`KernelError::Size`] if one of them has another size.
    pub fn forward(&self, images: Tensor<4>, weights: Tensor<1>, masks: Vec<Vec<f32>>) -> Result<Trained, KernelError> {
        let check = |what, given: usize, expected: usize| match given == expected {
            true => Ok(()),
            false => Err(KernelError::Size { what, given, expected }),
        };
        let expected = self.batch * self.image.iter().product::<usize>();
        check("images", images.dims().iter().product(), expected)?;
        check("weights", weights.dims()[0], self.weights)?;
        let call = Call { program: self.program.clone(), masks: Arc::new(masks) };
        let found = <Dispatch as NetworkTraining>::network_train(images.into_dispatch(), weights.into_dispatch(), call);
        Ok(Trained {
            output: Tensor::from_dispatch(found.output),
            statistics: Tensor::<1>::from_dispatch(found.statistics).inner(),
        })
    }
}

/// A program and this call's masks.
#[derive(Debug, Clone)]
struct Call {
    program: Arc<Mutex<Program>>,
    masks: Arc<Vec<Vec<f32>>>,
}

#[derive(ExtensionType)]
struct Outcome<B: Backend> {
    output: FloatTensor<B>,
    statistics: FloatTensor<B>,
}

#[backend_extension(Autodiff, Flex)]
trait NetworkTraining: Backend {
    fn network_train(images: FloatTensor<Self>, weights: FloatTensor<Self>, call: Call) -> Outcome<Self>;
}

/// A tensor's numbers in order.
fn numbers<R>(tensor: &FloatTensor<Flex>, read: impl FnOnce(&[f32]) -> R) -> R {
    let tensor = tensor.to_contiguous();
    let begin = tensor.layout().start_offset();
    read(&tensor.storage::<f32>()[begin..begin + tensor.shape().num_elements()])
}

/// The same to be changed, of a contiguous tensor.
fn numbers_mut(tensor: &mut FloatTensor<Flex>) -> &mut [f32] {
    let begin = tensor.layout().start_offset();
    let count = tensor.shape().num_elements();
    &mut tensor.storage_mut::<f32>()[begin..begin + count]
}

fn tensor<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    Flex::float_from_data(TensorData::new(numbers, shape), &Default::default())
}

impl NetworkTraining for Flex {
    fn network_train(images: FloatTensor<Self>, weights: FloatTensor<Self>, call: Call) -> Outcome<Self> {
        let mut program = call.program.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = program.batch();
        let answer =
            numbers(&images, |images| numbers(&weights, |weights| program.forward(images, weights, &[], &call.masks)));
        // burn's operators have no errors; the sizes were checked before this one was called.
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        let (width, count) = (answer.output.len() / batch, answer.statistics.len());
        Outcome { output: tensor(answer.output, [batch, width]), statistics: tensor(answer.statistics, [count]) }
    }
}

/// The gradient of the weights from that of the answer.
#[derive(Debug)]
struct NetworkBackward;

impl Backward<Flex, 1> for NetworkBackward {
    type State = Call;

    fn backward(self, ops: Ops<Call, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [weights] = ops.parents;
        let output = gradients.consume::<Flex>(&ops.node);
        let Some(weights) = weights else { return };
        let mut program = ops.state.program.lock().unwrap_or_else(PoisonError::into_inner);
        let gradient = numbers(&output, |output| program.backward(output)).unwrap_or_else(|error| panic!("{error}"));
        let count = gradient.len();
        gradients.register::<Flex>(weights.id, tensor(gradient, [count]));
    }
}

impl<C: CheckpointStrategy> NetworkTraining for Autodiff<Flex, C> {
    fn network_train(images: FloatTensor<Self>, weights: FloatTensor<Self>, call: Call) -> Outcome<Self> {
        let (weights, node) = weights.into_parts();
        let found = Flex::network_train(images.into_primitive(), weights, call.clone());
        let output = match NetworkBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(call, found.output),
            OpsKind::UnTracked(prep) => prep.finish(found.output),
        };
        Outcome { output, statistics: Self::from_inner(found.statistics) }
    }
}

/// An optimiser's arrays as tensors, `[P]` each, on a device that [`runs_on`] accepts, without autodiff.
#[derive(Debug, Clone)]
pub struct OptimizerTensors {
    /// See [`State::weights`].
    pub weights: Tensor<1>,
    /// See [`State::first`].
    pub first: Tensor<1>,
    /// See [`State::second`].
    pub second: Tensor<1>,
}

/// The arrays after a step. See [`State::decays`] for `decays`.
///
/// # Panics
/// If the tensors are of different lengths or on another device.
pub fn optimize(now: OptimizerTensors, decays: Tensor<1>, gradient: Tensor<1>, step: Step) -> OptimizerTensors {
    let OptimizerTensors { weights, first, second } = now;
    let [weights, first, second, decays, gradient] =
        [weights, first, second, decays, gradient].map(Tensor::into_dispatch);
    let next = <Dispatch as OptimizerSteps>::optimizer_step(weights, first, second, decays, gradient, step);
    let [weights, first, second] = [next.weights, next.first, next.second].map(Tensor::from_dispatch);
    OptimizerTensors { weights, first, second }
}

#[derive(ExtensionType)]
struct Stepped<B: Backend> {
    weights: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
}

#[backend_extension(Flex)]
trait OptimizerSteps: Backend {
    fn optimizer_step(
        weights: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        decays: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: Step,
    ) -> Stepped<Self>;
}

impl OptimizerSteps for Flex {
    fn optimizer_step(
        weights: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        decays: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        step: Step,
    ) -> Stepped<Self> {
        // In place where nobody else holds the array.
        let in_order = |tensor: FloatTensor<Self>| if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        let [mut weights, mut first, mut second] = [weights, first, second].map(in_order);
        numbers(&decays, |decays| {
            numbers(&gradient, |gradient| {
                let state = State {
                    weights: numbers_mut(&mut weights),
                    first: numbers_mut(&mut first),
                    second: numbers_mut(&mut second),
                    decays,
                };
                step.apply(state, gradient);
            });
        });
        Stepped { weights, first, second }
    }
}
