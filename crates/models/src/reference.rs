//! Fixed networks that speed is measured on, here and in other frameworks.

use crate::ModelError;
use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source};

/// A network by name.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// Its name on the command line.
    pub name: &'static str,
    build: fn() -> Result<Graph, ModelError>,
}

impl Reference {
    /// The network.
    ///
    /// # Errors
    /// [`ModelError`], never for those of [`REFERENCES`].
    pub fn graph(&self) -> Result<Graph, ModelError> {
        (self.build)()
    }
}

/// Every network: two of one kind of layer each, two of MLPerf Tiny's (Banbury et al. 2021), and one like its third, on three
/// channels.
pub static REFERENCES: &[Reference] = &[
    Reference { name: "plain", build: plain },
    Reference { name: "depthwise", build: depthwise },
    Reference { name: "resnet8", build: resnet8 },
    Reference { name: "mobilenet-0.25", build: mobilenet },
    Reference { name: "ds-cnn", build: ds_cnn },
];

/// Layers with their names counted.
struct Layers {
    net: GraphBuilder,
    count: usize,
}

impl Layers {
    fn new(resolution: usize) -> (Self, Source) {
        (Self { net: GraphBuilder::new(InputSpec::rgb(resolution)), count: 0 }, Source::Input)
    }

    /// Convolution, normalisation, activation; depthwise without `out`.
    fn conv(&mut self, x: Source, out: Option<usize>, kernel: usize, stride: usize) -> Source {
        let x = self.conv_bn(x, out, kernel, stride);
        self.net.relu(&format!("relu{}", self.count), x)
    }

    fn conv_bn(&mut self, x: Source, out: Option<usize>, kernel: usize, stride: usize) -> Source {
        self.count += 1;
        let name = format!("conv{}", self.count);
        let x = match out {
            Some(out) => self.net.conv(&name, x, out, kernel, stride),
            None => self.net.depthwise(&name, x, kernel, stride),
        };
        self.net.batch_norm(&format!("bn{}", self.count), x)
    }

    fn head(mut self, x: Source, classes: usize) -> Result<Graph, ModelError> {
        let x = self.net.global_average_pool("pool", x);
        let x = self.net.flatten("flatten", x);
        let x = self.net.gemm("logits", x, classes);
        Ok(self.net.finish(x)?)
    }
}

/// 3x3 convolutions to 16, 32, 32, 64 and 64 channels at 32x32.
fn plain() -> Result<Graph, ModelError> {
    let (mut layers, mut x) = Layers::new(32);
    for (out, stride) in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1)] {
        x = layers.conv(x, Some(out), 3, stride);
    }
    layers.head(x, 10)
}

/// Depthwise and pointwise convolutions in turn, to 128 channels at 32x32.
fn depthwise() -> Result<Graph, ModelError> {
    let (mut layers, x) = Layers::new(32);
    let mut x = layers.conv(x, Some(16), 3, 2);
    for (out, stride) in [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1)] {
        x = layers.conv(x, None, 3, stride);
        x = layers.conv(x, Some(out), 1, 1);
    }
    layers.head(x, 10)
}

/// MLPerf Tiny's image classification network at 32x32.
fn resnet8() -> Result<Graph, ModelError> {
    let (mut layers, x) = Layers::new(32);
    let mut x = layers.conv(x, Some(16), 3, 1);
    for (stage, (out, stride)) in [(16, 1), (32, 2), (64, 2)].into_iter().enumerate() {
        let y = layers.conv(x, Some(out), 3, stride);
        let y = layers.conv_bn(y, Some(out), 3, 1);
        if stride != 1 {
            let strides = [stride; 2];
            let op = Op::Conv { out_channels: out, kernel: [1, 1], strides, pads: [0; 4], group: 1, bias: true };
            x = layers.net.push(&format!("short{stage}"), op, &[x]);
        }
        let sum = layers.net.add(&format!("add{stage}"), y, x);
        x = layers.net.relu(&format!("out{stage}"), sum);
    }
    layers.head(x, 10)
}

/// MLPerf Tiny's visual wake words network: MobileNetV1 (Howard et al. 2017) of a quarter's width at 96x96.
fn mobilenet() -> Result<Graph, ModelError> {
    let (mut layers, x) = Layers::new(96);
    let mut x = layers.conv(x, Some(8), 3, 2);
    let wide = [(128, 1); 5];
    for (out, stride) in
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)].into_iter().chain(wide).chain([(256, 2), (256, 1)])
    {
        x = layers.conv(x, None, 3, stride);
        x = layers.conv(x, Some(out), 1, 1);
    }
    layers.head(x, 2)
}

/// Like MLPerf Tiny's keyword spotting network, which reads a spectrogram of 49x10, on pictures of 22x22: 121 places after the
/// first layer for its 125.
fn ds_cnn() -> Result<Graph, ModelError> {
    let (mut layers, x) = Layers::new(22);
    let mut x = layers.conv(x, Some(64), 7, 2);
    for _ in 0..4 {
        x = layers.conv(x, None, 3, 1);
        x = layers.conv(x, Some(64), 1, 1);
    }
    layers.head(x, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_what_is_written_of_them() {
        let costs: Vec<_> = REFERENCES.iter().map(|r| (r.name, r.graph().unwrap().cost().unwrap())).collect();
        let figures: Vec<_> = costs.iter().map(|(name, cost)| (*name, cost.parameters, cost.macs)).collect();
        // MLPerf Tiny's own: 12.5 M and 7.5 M multiply-accumulates; Keras's biases before a normalisation
        // and running statistics make its parameters a few more.
        let expected = [
            ("plain", 70_618, 7_520_896),
            ("depthwise", 37_162, 1_149_184),
            ("resnet8", 77_946, 12_501_632),
            ("mobilenet-0.25", 213_586, 7_489_664),
            ("ds-cnn", 30_028, 3_400_384),
        ];
        assert_eq!(figures, expected);
    }
}
