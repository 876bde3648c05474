//! Groups of operators that every family is made of.

use kindling_graph::{GraphBuilder, Op, Source};

/// A builder with the network's one activation.
pub(super) struct Layers {
    pub(super) net: GraphBuilder,
    pub(super) activation: String,
}

impl Layers {
    /// Convolution, normalisation, activation.
    pub(super) fn conv(&mut self, name: &str, x: Source, out: usize, kernel: usize, stride: usize) -> Source {
        let x = self.conv_bn(name, x, out, kernel, stride);
        self.activate(&format!("{name}.act"), x)
    }

    /// Convolution and normalisation.
    pub(super) fn conv_bn(&mut self, name: &str, x: Source, out: usize, kernel: usize, stride: usize) -> Source {
        let x = self.net.conv(&format!("{name}.conv"), x, out, kernel, stride);
        self.net.batch_norm(&format!("{name}.bn"), x)
    }

    /// Depthwise convolution, normalisation, activation.
    pub(super) fn depthwise(&mut self, name: &str, x: Source, kernel: usize, stride: usize) -> Source {
        let x = self.net.depthwise(&format!("{name}.conv"), x, kernel, stride);
        let x = self.net.batch_norm(&format!("{name}.bn"), x);
        self.activate(&format!("{name}.act"), x)
    }

    /// The network's activation.
    pub(super) fn activate(&mut self, name: &str, x: Source) -> Source {
        match self.activation.as_str() {
            "hard_swish" => self.net.hard_swish(name, x),
            "relu6" => self.net.relu6(name, x),
            _ => self.net.relu(name, x),
        }
    }

    /// Halves the plane by the greatest of 2x2, a last odd row or column being a window of its own, so that
    /// the size is that of a convolution of stride 2.
    pub(super) fn halve_by_max(&mut self, name: &str, x: Source) -> Source {
        let pads = self.odd_pads(x);
        self.net.push(name, Op::MaxPool { kernel: [2, 2], strides: [2, 2], pads }, &[x])
    }

    /// The same by the mean.
    pub(super) fn halve_by_mean(&mut self, name: &str, x: Source) -> Source {
        let pads = self.odd_pads(x);
        self.net.push(name, Op::AveragePool { kernel: [2, 2], strides: [2, 2], pads }, &[x])
    }

    fn odd_pads(&self, x: Source) -> [usize; 4] {
        match self.net.shape(x).as_deref() {
            Some([_, h, w]) => [0, 0, h % 2, w % 2],
            _ => [0; 4],
        }
    }
}
