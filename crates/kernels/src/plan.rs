//! A graph as drafts of steps: what is fused with what, which values there are and how they lie.

use crate::KernelError;
use crate::activation::Activation;
use crate::plane::Plane;
use crate::pool::Kind;
use crate::window::Window;
use kindling_graph::{Graph, Op, Source};
use std::ops::Range;

/// A step before its buffers are laid out.
pub(crate) enum Draft {
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

    pub(crate) fn inputs(&self) -> Vec<usize> {
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
pub(crate) struct Plan {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) values: Vec<Plane>,
    pub(crate) output: usize,
    pub(crate) weights_len: usize,
    pub(crate) running_len: usize,
}

impl Plan {
    pub(crate) fn new(graph: &Graph) -> Result<Self, KernelError> {
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
    pub(crate) fn gradients(&self) -> (Vec<usize>, Vec<Plane>) {
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
