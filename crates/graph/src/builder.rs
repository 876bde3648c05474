//! Builds graphs line by line.

use crate::{Answer, Graph, GraphError, InputSpec, Node, Op, Source};

/// Adds nodes one after another; each call gives the [`Source`] for the next. What is wrong is told
/// once, by [`GraphBuilder::finish`], so that building reads as a plain list of layers.
#[derive(Debug, Clone)]
pub struct GraphBuilder {
    graph: Graph,
    shapes: Vec<Option<Vec<usize>>>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(input: InputSpec) -> Self {
        Self { graph: Graph { input, nodes: Vec::new(), output: 0, answer: Answer::Classes }, shapes: Vec::new() }
    }

    /// The graph's input.
    pub fn input(&self) -> Source {
        Source::Input
    }

    /// What goes in.
    pub fn input_spec(&self) -> &InputSpec {
        &self.graph.input
    }

    /// The nodes so far.
    pub fn nodes(&self) -> &[Node] {
        &self.graph.nodes
    }

    /// The shape of a value without the batch axis, or `None` if something before it is wrong.
    pub fn shape(&self, source: Source) -> Option<Vec<usize>> {
        match source {
            Source::Input => Some(self.graph.input.shape()),
            Source::Node(id) => self.shapes.get(id).cloned().flatten(),
        }
    }

    /// Channels (or features) of a value, 0 if something before it is wrong.
    pub fn channels(&self, source: Source) -> usize {
        self.shape(source).and_then(|shape| shape.first().copied()).unwrap_or(0)
    }

    /// Any operator.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[Source]) -> Source {
        let shapes: Option<Vec<_>> = inputs.iter().map(|source| self.shape(*source)).collect();
        let shape = shapes.and_then(|shapes| crate::shape::infer(&op, &shapes).ok());
        self.shapes.push(shape);
        self.graph.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
        Source::Node(self.graph.nodes.len() - 1)
    }

    /// A square convolution without bias, padded by `kernel / 2` on every side; a BatchNormalization
    /// usually follows.
    pub fn conv(&mut self, name: &str, x: Source, out_channels: usize, kernel: usize, stride: usize) -> Source {
        self.grouped_conv(name, x, out_channels, kernel, stride, 1)
    }

    /// A depthwise convolution: [`GraphBuilder::conv`] with one group a channel.
    pub fn depthwise(&mut self, name: &str, x: Source, kernel: usize, stride: usize) -> Source {
        let channels = self.channels(x);
        self.grouped_conv(name, x, channels, kernel, stride, channels)
    }

    /// [`GraphBuilder::conv`] in groups.
    pub fn grouped_conv(
        &mut self,
        name: &str,
        x: Source,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        group: usize,
    ) -> Source {
        let op = Op::Conv {
            out_channels,
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads: [kernel / 2; 4],
            group,
            bias: false,
        };
        self.push(name, op, &[x])
    }

    /// A 1x1 convolution with bias, for a map that comes out.
    pub fn pointwise_with_bias(&mut self, name: &str, x: Source, out_channels: usize) -> Source {
        let op = Op::Conv { out_channels, kernel: [1, 1], strides: [1, 1], pads: [0; 4], group: 1, bias: true };
        self.push(name, op, &[x])
    }

    /// Batch normalisation (Ioffe and Szegedy 2015) with the usual epsilon of 1e-5.
    pub fn batch_norm(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::BatchNormalization { epsilon: 1e-5 }, &[x])
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::Relu, &[x])
    }

    /// ReLU capped at 6, as a Clip.
    pub fn relu6(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::Clip { min: 0.0, max: 6.0 }, &[x])
    }

    /// MobileNetV3's activation.
    pub fn hard_swish(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::HardSwish, &[x])
    }

    /// The logistic function.
    pub fn sigmoid(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::Sigmoid, &[x])
    }

    /// The sum of two values of the same shape.
    pub fn add(&mut self, name: &str, a: Source, b: Source) -> Source {
        self.push(name, Op::Add, &[a, b])
    }

    /// A square maximum pool without padding.
    pub fn max_pool(&mut self, name: &str, x: Source, kernel: usize, stride: usize) -> Source {
        self.push(name, Op::MaxPool { kernel: [kernel; 2], strides: [stride; 2], pads: [0; 4] }, &[x])
    }

    /// A square average pool without padding.
    pub fn average_pool(&mut self, name: &str, x: Source, kernel: usize, stride: usize) -> Source {
        self.push(name, Op::AveragePool { kernel: [kernel; 2], strides: [stride; 2], pads: [0; 4] }, &[x])
    }

    /// The mean of each channel.
    pub fn global_average_pool(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::GlobalAveragePool, &[x])
    }

    /// One axis of all.
    pub fn flatten(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::Flatten, &[x])
    }

    /// A fully connected layer with bias.
    pub fn gemm(&mut self, name: &str, x: Source, out_features: usize) -> Source {
        self.push(name, Op::Gemm { out_features, bias: true }, &[x])
    }

    /// Drops a share of the values while training.
    pub fn dropout(&mut self, name: &str, x: Source, ratio: f32) -> Source {
        self.push(name, Op::Dropout { ratio }, &[x])
    }

    /// Probabilities from logits.
    pub fn softmax(&mut self, name: &str, x: Source) -> Source {
        self.push(name, Op::Softmax, &[x])
    }

    /// The validated graph whose output is `output`.
    ///
    /// # Errors
    /// [`GraphError`] saying what is wrong first.
    pub fn finish(self, output: Source) -> Result<Graph, GraphError> {
        self.finish_as(output, Answer::Classes)
    }

    /// The same, its output to be read as `answer` says.
    ///
    /// # Errors
    /// As [`GraphBuilder::finish`].
    pub fn finish_as(mut self, output: Source, answer: Answer) -> Result<Graph, GraphError> {
        let Source::Node(output) = output else {
            return Err(GraphError::Graph("the output is the input itself; add a node".into()));
        };
        (self.graph.output, self.graph.answer) = (output, answer);
        self.graph.validate()?;
        Ok(self.graph)
    }
}
