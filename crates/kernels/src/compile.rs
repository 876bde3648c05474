//! From a graph to steps: which buffers there are, how they lie, and what runs over them in which order.

use crate::KernelError;
use crate::activation::Activation;
use crate::dense::Dense;
use crate::depthwise::Depthwise;
use crate::norm::{Coefficients, SlopeSums};
use crate::plane::Plane;
use crate::pool::{Kind, Pool};
use crate::window::Window;
use kindling_graph::{Graph, Op, Source};
use std::ops::Range;

/// Bytes that a stage works on at a time: half of a usual second-level cache.
const CACHE_BYTES: usize = 256 << 10;

/// One step. `back` says where the input's gradient is wanted whether it is added (`Some(true)`) to what is there.
#[derive(Debug)]
pub(crate) enum Step {
    Dense {
        kernel: Dense,
        x: usize,
        y: usize,
        packed: Range<usize>,
        packed_back: Range<usize>,
        bias: Option<Bias>,
        back: Option<bool>,
    },
    Depthwise {
        kernel: Depthwise,
        x: usize,
        y: usize,
        packed: Range<usize>,
        bias: Option<Bias>,
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

/// A bias: where it is among the packed weights.
#[derive(Debug, Clone)]
pub(crate) struct Bias {
    pub(crate) packed: Range<usize>,
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

/// A step before its buffers are laid out.
enum Draft {
    Conv { x: usize, y: usize, window: Window, group: usize, weights: Range<usize>, bias: Option<Range<usize>> },
    Norm { x: usize, y: usize, activation: Activation, epsilon: f64, scale: usize, mean: usize },
    Activate { x: usize, y: usize, activation: Activation },
    Add { a: usize, b: usize, y: usize },
    Pool { x: usize, y: usize, kind: Kind, window: Window },
    Dropout { x: usize, y: usize },
}

impl Draft {
    fn output(&self) -> usize {
        match self {
            Self::Conv { y, .. }
            | Self::Norm { y, .. }
            | Self::Activate { y, .. }
            | Self::Add { y, .. }
            | Self::Pool { y, .. }
            | Self::Dropout { y, .. } => *y,
        }
    }

    fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Conv { x, .. }
            | Self::Norm { x, .. }
            | Self::Activate { x, .. }
            | Self::Pool { x, .. }
            | Self::Dropout { x, .. } => vec![*x],
            Self::Add { a, b, .. } => vec![*a, *b],
        }
    }

    /// The input whose gradient may take the place of the output's.
    fn in_place(&self) -> Option<usize> {
        match self {
            Self::Norm { x, .. } | Self::Activate { x, .. } | Self::Dropout { x, .. } => Some(*x),
            Self::Add { a, b, .. } => (a != b).then_some(*a),
            Self::Conv { .. } | Self::Pool { .. } => None,
        }
    }
}

/// The drafts with what they write.
struct Plan {
    drafts: Vec<Draft>,
    values: Vec<Plane>,
    output: usize,
    weights_len: usize,
    running_len: usize,
}

impl Plan {
    fn new(graph: &Graph) -> Result<Self, KernelError> {
        graph.validate()?;
        let shapes = graph.shapes()?;
        let mut reads = vec![0usize; graph.nodes.len()];
        for source in graph.nodes.iter().flat_map(|node| &node.inputs) {
            if let Source::Node(id) = source {
                reads[*id] += 1;
            }
        }
        reads[graph.output] += 1;
        let input = &graph.input;
        let mut plan = Self {
            drafts: Vec::new(),
            values: vec![Plane::new(input.channels, input.height, input.width)],
            output: 0,
            weights_len: 0,
            running_len: 0,
        };
        let mut slots: Vec<usize> = Vec::with_capacity(graph.nodes.len());
        for (index, node) in graph.nodes.iter().enumerate() {
            let slot = |source: Option<&Source>| match source {
                Some(Source::Node(id)) => slots[*id],
                _ => 0,
            };
            let x = slot(node.inputs.first());
            let side = |axis: usize| shapes[index].get(axis).copied().unwrap_or(1);
            let y = plan.values.len();
            let plane = Plane::new(side(0), side(1), side(2));
            let from = plan.values[x];
            let draft = match &node.op {
                Op::Flatten => {
                    slots.push(x);
                    continue;
                }
                Op::Conv { out_channels, kernel, strides, pads, group, bias } => {
                    let window = Window { kernel: *kernel, strides: *strides, pads: *pads };
                    let len = out_channels * (from.channels / group) * kernel[0] * kernel[1];
                    let weights = plan.take(len);
                    Draft::Conv { x, y, window, group: *group, weights, bias: bias.then(|| plan.take(*out_channels)) }
                }
                Op::Gemm { out_features, bias } => {
                    // Over a flattened map it is a convolution as large as the map: the weights lie alike.
                    let window = Window { kernel: [from.height, from.width], strides: [1, 1], pads: [0; 4] };
                    let weights = plan.take(out_features * from.channels * from.pixels());
                    Draft::Conv { x, y, window, group: 1, weights, bias: bias.then(|| plan.take(*out_features)) }
                }
                Op::BatchNormalization { epsilon } => {
                    if from.channels != plane.channels {
                        return Err(KernelError::Unsupported(format!("`{}` over a flattened map", node.name)));
                    }
                    let scale = plan.take(2 * from.channels).start;
                    plan.running_len += 2 * from.channels;
                    let mean = plan.running_len - 2 * from.channels;
                    let (activation, epsilon) = (Activation::Identity, f64::from(*epsilon));
                    let plane = Plane { height: from.height, width: from.width, ..plane };
                    plan.values.push(plane);
                    slots.push(y);
                    plan.drafts.push(Draft::Norm { x, y, activation, epsilon, scale, mean });
                    continue;
                }
                op @ (Op::Relu | Op::Clip { .. } | Op::HardSwish | Op::Sigmoid) => {
                    let Some(own) = Activation::of(op) else { continue };
                    // Straight after a normalisation that nobody else reads, it is part of it.
                    let sole = matches!(node.inputs[..], [Source::Node(id)] if reads[id] == 1);
                    if let Some(Draft::Norm { y: before, activation, .. }) = plan.drafts.last_mut()
                        && (*before, *activation, sole) == (x, Activation::Identity, true)
                    {
                        *activation = own;
                        slots.push(x);
                        continue;
                    }
                    Draft::Activate { x, y, activation: own }
                }
                Op::Add => Draft::Add { a: x, b: slot(node.inputs.get(1)), y },
                Op::MaxPool { kernel, strides, pads } => {
                    let window = Window { kernel: *kernel, strides: *strides, pads: *pads };
                    Draft::Pool { x, y, kind: Kind::Max, window }
                }
                Op::AveragePool { kernel, strides, pads } => {
                    let window = Window { kernel: *kernel, strides: *strides, pads: *pads };
                    Draft::Pool { x, y, kind: Kind::Mean, window }
                }
                Op::GlobalAveragePool => {
                    let window = Window { kernel: [from.height, from.width], strides: [1, 1], pads: [0; 4] };
                    Draft::Pool { x, y, kind: Kind::Mean, window }
                }
                Op::Dropout { .. } => Draft::Dropout { x, y },
                Op::Softmax => return Err(KernelError::Unsupported(format!("Softmax (`{}`)", node.name))),
            };
            // What works number by number keeps a flattened map's shape.
            let same = matches!(draft, Draft::Activate { .. } | Draft::Add { .. } | Draft::Dropout { .. });
            plan.values.push(if same { Plane { border: [0; 4], ..from } } else { plane });
            plan.drafts.push(draft);
            slots.push(y);
        }
        plan.output = slots[graph.output];
        if plan.drafts.is_empty() {
            return Err(KernelError::Unsupported("a graph that computes nothing".into()));
        }
        plan.lay_out();
        Ok(plan)
    }

    /// The next weights.
    fn take(&mut self, len: usize) -> Range<usize> {
        self.weights_len += len;
        self.weights_len - len..self.weights_len
    }

    /// The values' borders, and the input without padding channels where it is only ever broadcast.
    fn lay_out(&mut self) {
        let mut broadcast = true;
        for draft in &self.drafts {
            if let Draft::Conv { x, window, .. } = draft {
                self.values[*x].widen(window.pads);
            }
            let by_vectors = match draft {
                Draft::Conv { group, .. } => *group > 1,
                _ => true,
            };
            broadcast &= !(by_vectors && draft.inputs().contains(&0));
        }
        if broadcast {
            self.values[0].step = self.values[0].channels;
        }
    }

    /// How many steps read each value, the output once more.
    fn reads(&self) -> Vec<usize> {
        let mut reads = vec![0; self.values.len()];
        for x in self.drafts.iter().flat_map(Draft::inputs) {
            reads[x] += 1;
        }
        reads[self.output] += 1;
        reads
    }

    /// Which gradient each value has, and how each lies.
    fn gradients(&self) -> (Vec<usize>, Vec<Plane>) {
        let reads = self.reads();
        let mut of = vec![usize::MAX; self.values.len()];
        let mut planes: Vec<Plane> = Vec::new();
        for draft in self.drafts.iter().rev() {
            let y = draft.output();
            if of[y] == usize::MAX {
                of[y] = planes.len();
                planes.push(self.values[y].without_border());
            }
            if let Some(x) = draft.in_place().filter(|x| *x != 0 && reads[*x] == 1) {
                of[x] = of[y];
            }
            if let Draft::Conv { x, window, .. } = draft
                && *x != 0
            {
                let (input, output) = (self.values[*x], self.values[y]);
                let needs = window.gradient_border([input.height, input.width], [output.height, output.width]);
                planes[of[y]].widen(needs);
            }
        }
        (of, planes)
    }
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
                let step = if depthwise {
                    let kernel = Depthwise::new(&window, &from, &to, &gradient, into.as_ref());
                    let packed = self.reserve(kernel.packed_len());
                    Step::Depthwise { kernel, x, y, packed, bias: None, back }
                } else {
                    let kernel = Dense::new(&window, &from, &to, group, &gradient, into.as_ref());
                    let packed = self.reserve(kernel.packed_len());
                    Step::Dense { kernel, x, y, packed, packed_back: 0..0, bias: None, back }
                };
                self.packing.push(Packing::Step { step: self.steps.len(), weights });
                let own = bias.map(|weights| {
                    let packed = self.reserve(to.step);
                    self.packing.push(Packing::Bias { packed: packed.clone(), weights });
                    Bias { packed }
                });
                match step {
                    Step::Dense { kernel, x, y, packed, packed_back, back, .. } => {
                        Step::Dense { kernel, x, y, packed, packed_back, bias: own, back }
                    }
                    Step::Depthwise { kernel, x, y, packed, back, .. } => {
                        Step::Depthwise { kernel, x, y, packed, bias: own, back }
                    }
                    other => other,
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
