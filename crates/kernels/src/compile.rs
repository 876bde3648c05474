//! From drafts to steps: kernels for each, where their weights are packed, and the stages they run in.

use crate::KernelError;
use crate::activation::Activation;
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::norm::{Coefficients, SlopeSums};
use crate::plan::{Draft, Plan};
use crate::plane::Plane;
use crate::pool::Pool;
use kindling_graph::Graph;
use std::ops::Range;

/// Bytes that a stage works on at a time: half of a usual second-level cache.
const CACHE_BYTES: usize = 256 << 10;

/// One step. `packed` and `bias` are places among the packed weights; `back` says, where the input's gradient is
/// wanted, whether it is added to what is there.
#[derive(Debug)]
pub(crate) enum Step {
    Dense {
        kernel: Dense,
        x: usize,
        y: usize,
        packed: Range<usize>,
        packed_back: Range<usize>,
        bias: Option<Range<usize>>,
        back: Option<bool>,
    },
    Depthwise {
        kernel: Depthwise,
        x: usize,
        y: usize,
        packed: Range<usize>,
        bias: Option<Range<usize>>,
        back: Option<bool>,
    },
    /// The statistics of what is to be normalised; backwards, the second half of the gradient.
    Measure {
        norm: usize,
    },
    /// Normalisation with its activation; backwards, the sums over the batch.
    Normalize {
        norm: usize,
        y: usize,
    },
    Activate {
        activation: Activation,
        x: usize,
        y: usize,
        back: Option<bool>,
    },
    Add {
        inputs: [(usize, Option<bool>); 2],
        y: usize,
    },
    Pool {
        kernel: Pool,
        x: usize,
        y: usize,
        back: Option<bool>,
    },
    /// Nothing but a copy in inference, without `mask`.
    Dropout {
        mask: Option<usize>,
        x: usize,
        y: usize,
        back: Option<bool>,
    },
}

/// A BatchNormalization.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) activation: Activation,
    pub(crate) channels: usize,
    pub(crate) step: usize,
    pub(crate) back: Option<bool>,
    epsilon: f64,
    /// Where its scale begins among the weights, the bias after it.
    scale: usize,
    /// Where its mean begins among the running statistics, the variance after it.
    pub(crate) mean: usize,
}

/// Steps between two meetings of all chunks.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) steps: Range<usize>,
    /// Images taken through all of them at a time.
    pub(crate) group: usize,
}

/// Weights that are laid out anew for the kernels.
#[derive(Debug)]
enum Packing {
    Step { step: usize, weights: Range<usize> },
    Bias { packed: Range<usize>, weights: Range<usize> },
}

/// A graph's steps and buffers.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) training: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) stages: Vec<Stage>,
    /// The planes of the values: the input first.
    pub(crate) values: Vec<Plane>,
    /// For each value, which gradient is its own.
    pub(crate) gradient_of: Vec<usize>,
    pub(crate) gradients: Vec<Plane>,
    pub(crate) norms: Vec<Norm>,
    /// For each dropout, the value it makes.
    pub(crate) masks: Vec<usize>,
    pub(crate) output: usize,
    pub(crate) weights_len: usize,
    pub(crate) running_len: usize,
    /// The forward weights, whose gradients lie alike, and then the backward ones.
    pub(crate) packed_len: usize,
    pub(crate) gradient_len: usize,
    packing: Vec<Packing>,
}

impl Compiled {
    /// Compiles for chunks of at most `chunk` images.
    pub(crate) fn new(graph: &Graph, training: bool, chunk: usize) -> Result<Self, KernelError> {
        let plan = Plan::new(graph)?;
        let (gradient_of, gradients) = if training { plan.gradients() } else { Default::default() };
        // From the last step to the first: the first that hands a gradient on writes it, the others add.
        let mut written = vec![false; plan.values.len()];
        let mut backs: Vec<Vec<Option<bool>>> = plan
            .drafts
            .iter()
            .rev()
            .map(|draft| {
                let mut hand = |x: &usize| (training && *x != 0).then(|| std::mem::replace(&mut written[*x], true));
                draft.inputs().iter().map(&mut hand).collect()
            })
            .collect();
        backs.reverse();
        let mut this = Self {
            training,
            steps: Vec::new(),
            stages: Vec::new(),
            values: plan.values,
            gradient_of,
            gradients,
            norms: Vec::new(),
            masks: Vec::new(),
            output: plan.output,
            weights_len: plan.weights_len,
            running_len: plan.running_len,
            packed_len: 0,
            gradient_len: 0,
            packing: Vec::new(),
        };
        let mut begins = vec![0];
        for (draft, backs) in plan.drafts.into_iter().zip(backs) {
            if matches!(draft, Draft::Norm { .. }) && training {
                this.steps.push(Step::Measure { norm: this.norms.len() });
                begins.push(this.steps.len());
            }
            this.add(draft, &backs);
        }
        this.gradient_len = this.packed_len;
        for step in &mut this.steps {
            if let Step::Dense { kernel, packed_back, .. } = step {
                *packed_back = this.packed_len..this.packed_len + kernel.packed_back_len();
                this.packed_len = packed_back.end;
            }
        }
        begins.push(this.steps.len());
        for ends in begins.windows(2) {
            let steps = ends[0]..ends[1];
            let bytes = steps.clone().map(|step| this.working_bytes(step)).max().unwrap_or(1);
            this.stages.push(Stage { steps, group: (CACHE_BYTES / bytes.max(1)).clamp(1, chunk.max(1)) });
        }
        Ok(this)
    }

    fn add(&mut self, draft: Draft, backs: &[Option<bool>]) {
        let back = backs[0];
        let step = match draft {
            Draft::Conv { x, y, window, group, weights, bias } => {
                let (from, to) = (self.values[x], self.values[y]);
                let gradient = if self.training { self.gradients[self.gradient_of[y]] } else { to };
                let into = back.map(|_| self.gradients[self.gradient_of[x]]);
                let depthwise = group > 1 && group == from.channels && group == to.channels;
                self.packing.push(Packing::Step { step: self.steps.len(), weights });
                let bias = bias.map(|weights| {
                    let packed = self.reserve(to.step);
                    self.packing.push(Packing::Bias { packed: packed.clone(), weights });
                    packed
                });
                if depthwise {
                    let kernel = Depthwise::new(&window, &from, &to, &gradient, into.as_ref());
                    let packed = self.reserve(kernel.packed_len());
                    Step::Depthwise { kernel, x, y, packed, bias, back }
                } else {
                    let kernel = Dense::new(&window, &from, &to, group, &gradient, into.as_ref());
                    let packed = self.reserve(kernel.packed_len());
                    Step::Dense { kernel, x, y, packed, packed_back: 0..0, bias, back }
                }
            }
            Draft::Norm { x, y, activation, epsilon, scale, mean } => {
                let Plane { channels, step, .. } = self.values[x];
                self.norms.push(Norm { x, y, activation, channels, step, back, epsilon, scale, mean });
                Step::Normalize { norm: self.norms.len() - 1, y }
            }
            Draft::Activate { x, y, activation } => Step::Activate { activation, x, y, back },
            Draft::Add { a, b, y } => Step::Add { inputs: [(a, back), (b, backs[1])], y },
            Draft::Pool { x, y, kind, window } => {
                let kernel = Pool::new(kind, &window, &self.values[x], &self.values[y]);
                Step::Pool { kernel, x, y, back }
            }
            Draft::Dropout { x, y } => {
                let mask = self.training.then(|| {
                    self.masks.push(y);
                    self.masks.len() - 1
                });
                Step::Dropout { mask, x, y, back }
            }
        };
        self.steps.push(step);
    }

    fn reserve(&mut self, len: usize) -> Range<usize> {
        let from = self.packed_len;
        self.packed_len += len;
        from..self.packed_len
    }

    /// Bytes of one image that a step reads and writes.
    fn working_bytes(&self, step: usize) -> usize {
        let bytes = |slots: &[usize]| slots.iter().map(|slot| self.values[*slot].image() * 4).sum();
        match &self.steps[step] {
            Step::Dense { x, y, .. }
            | Step::Depthwise { x, y, .. }
            | Step::Activate { x, y, .. }
            | Step::Pool { x, y, .. }
            | Step::Dropout { x, y, .. } => bytes(&[*x, *y]),
            Step::Measure { norm } | Step::Normalize { norm, .. } => bytes(&[self.norms[*norm].x, self.norms[*norm].y]),
            Step::Add { inputs, y } => bytes(&[inputs[0].0, inputs[1].0, *y]),
        }
    }

    /// Numbers of one image.
    pub(crate) fn input_len(&self) -> usize {
        self.values[0].channels * self.values[0].pixels()
    }

    /// Numbers of one answer.
    pub(crate) fn output_len(&self) -> usize {
        self.values[self.output].channels * self.values[self.output].pixels()
    }

    /// Lays the weights out for the kernels.
    pub(crate) fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        for packing in &self.packing {
            match packing {
                Packing::Bias { packed: to, weights: from } => {
                    packed[to.start..to.start + from.len()].copy_from_slice(&weights[from.clone()]);
                }
                Packing::Step { step, weights: from } => match &self.steps[*step] {
                    Step::Dense { kernel, packed: to, packed_back, .. } => {
                        let (forward, backward) = packed.split_at_mut(self.gradient_len);
                        let back = packed_back.start.max(self.gradient_len) - self.gradient_len;
                        let backward = &mut backward[back..back + packed_back.len()];
                        kernel.pack(&weights[from.clone()], &mut forward[to.clone()], backward);
                    }
                    Step::Depthwise { kernel, packed: to, .. } => {
                        kernel.pack(&weights[from.clone()], &mut packed[to.clone()]);
                    }
                    _ => {}
                },
            }
        }
    }

    /// The inverse for gradients, which are added.
    pub(crate) fn unpack_gradient(&self, packed: &[f32], gradient: &mut [f32]) {
        for packing in &self.packing {
            match packing {
                Packing::Bias { packed: from, weights: to } => {
                    let to = gradient[to.clone()].iter_mut();
                    to.zip(&packed[from.clone()]).for_each(|(to, from)| *to += *from);
                }
                Packing::Step { step, weights: to } => match &self.steps[*step] {
                    Step::Dense { kernel, packed: from, .. } => {
                        kernel.unpack_gradient(&packed[from.clone()], &mut gradient[to.clone()]);
                    }
                    Step::Depthwise { kernel, packed: from, .. } => {
                        kernel.unpack_gradient(&packed[from.clone()], &mut gradient[to.clone()]);
                    }
                    _ => {}
                },
            }
        }
    }
}

impl Norm {
    fn inverse_deviation(&self, variance: f64) -> f64 {
        1.0 / (variance + self.epsilon).sqrt()
    }

    /// What each channel is multiplied with and what is added, given its mean and variance.
    pub(crate) fn coefficients(&self, weights: &[f32], found: impl Fn(usize) -> (f64, f64), to: &mut Coefficients) {
        for channel in 0..self.channels {
            let (mean, variance) = found(channel);
            let scale = f64::from(weights[self.scale + channel]) * self.inverse_deviation(variance);
            let bias = f64::from(weights[self.scale + self.channels + channel]);
            to.inverse[channel] = self.inverse_deviation(variance);
            to.mean[channel] = mean as f32;
            to.scale[channel] = scale as f32;
            to.shift[channel] = (bias - mean * scale) as f32;
        }
    }

    /// The gradient's coefficients and the parameters' own gradient, given the sums over all `count` pixels.
    pub(crate) fn slopes(&self, sums: &SlopeSums, count: f64, to: &mut Coefficients, gradient: &mut [f32]) {
        for channel in 0..self.channels {
            let (slope, by_distance) = (sums.slope[channel], sums.by_distance[channel]);
            let (inverse, scale, mean) =
                (to.inverse[channel], f64::from(to.scale[channel]), f64::from(to.mean[channel]));
            gradient[self.scale + channel] = (by_distance * inverse) as f32;
            gradient[self.scale + self.channels + channel] = slope as f32;
            let by_value = -scale * inverse * inverse * by_distance / count;
            to.by_value[channel] = by_value as f32;
            to.constant[channel] = (-scale * slope / count - by_value * mean) as f32;
        }
    }
}
