//! EfficientNet-Lite0 (Tan and Le 2019; without squeeze-and-excitation and with ReLU6, as Google published it
//! for small devices), with the names that the checkpoint on the Python package index uses.

use super::{Backbone, Cut, wrong};
use crate::ModelError;
use kindling_graph::{GraphBuilder, InputSpec, Op, Source};

/// Inverted residual blocks (Sandler et al. 2018) between a strided stem and a wide 1x1 convolution.
pub(super) struct EfficientNetLite0;

/// Its name.
pub const NAME: &str = "efficientnet-lite0";

/// A row of the architecture: so many blocks, the first with the stride.
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

const fn stage(blocks: usize, kernel: usize, stride: usize, expansion: usize, channels: usize) -> Stage {
    Stage { blocks, kernel, stride, expansion, channels }
}

const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];
const STEM: usize = 32;
const LAST: usize = 1280;
const EPSILON: f32 = 1e-3;

/// The blocks one by one: its stage and its stride.
fn blocks() -> impl Iterator<Item = (&'static Stage, usize)> {
    STAGES.iter().flat_map(|stage| (0..stage.blocks).map(move |i| (stage, if i == 0 { stage.stride } else { 1 })))
}

impl Backbone for EfficientNetLite0 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn blocks(&self) -> usize {
        blocks().count()
    }

    fn stride(&self, cut: Cut) -> Option<usize> {
        let kept = match cut {
            Cut::Whole => self.blocks(),
            Cut::After(block) => (block < self.blocks()).then_some(block + 1)?,
        };
        Some(blocks().take(kept).map(|(_, stride)| stride).product::<usize>() * 2)
    }

    fn trained(&self) -> (usize, usize) {
        (224, 1000)
    }

    fn features(&self, cut: Cut, resolution: usize) -> Result<(GraphBuilder, Source), ModelError> {
        let Some(stride) = self.stride(cut) else {
            return Err(wrong(self.name(), &format!("{cut:?} is no cut; its blocks are 0 to {}", self.blocks() - 1)));
        };
        if resolution == 0 || !resolution.is_multiple_of(stride) {
            let what = format!("the resolution {resolution} is no multiple of {stride}, which {cut:?} needs");
            return Err(wrong(self.name(), &what));
        }
        // Its training took (value - 127) / 128 of values up to 255.
        let (mean, std) = (vec![127.0 / 255.0; 3], vec![128.0 / 255.0; 3]);
        let mut net = Layers(GraphBuilder::new(InputSpec { mean, std, ..InputSpec::rgb(resolution) }));
        let mut x = net.conv("stem", Source::Input, STEM, 3, 2);
        let kept = if let Cut::After(block) = cut { block + 1 } else { self.blocks() };
        for (block, (stage, stride)) in blocks().take(kept).enumerate() {
            x = net.block(&format!("b{block}"), x, stage, stride);
        }
        if cut == Cut::Whole {
            x = net.conv("last", x, LAST, 1, 1);
        }
        Ok((net.0, x))
    }

    fn checkpoint_name(&self, parameter: &str) -> Option<String> {
        let (layer, role) = parameter.rsplit_once('.')?;
        let layer = match layer {
            "stem.conv" => "_conv_stem".to_owned(),
            "stem.bn" => "_bn0".to_owned(),
            "last.conv" => "_conv_head".to_owned(),
            "last.bn" => "_bn1".to_owned(),
            "head.logits" => "_fc".to_owned(),
            _ => {
                let (block, layer) = layer.strip_prefix('b')?.split_once('.')?;
                let block: usize = block.parse().ok().filter(|block| *block < self.blocks())?;
                let layer = match layer {
                    "expand.conv" => "_expand_conv",
                    "expand.bn" => "_bn0",
                    "dw.conv" => "_depthwise_conv",
                    "dw.bn" => "_bn1",
                    "project.conv" => "_project_conv",
                    "project.bn" => "_bn2",
                    _ => return None,
                };
                format!("_blocks.{block}.{layer}")
            }
        };
        let role = match role {
            "weight" | "scale" => "weight",
            "bias" => "bias",
            "mean" => "running_mean",
            "var" => "running_var",
            _ => return None,
        };
        Some(format!("{layer}.{role}"))
    }
}

struct Layers(GraphBuilder);

impl Layers {
    /// Convolution, normalisation, activation.
    fn conv(&mut self, name: &str, x: Source, channels: usize, kernel: usize, stride: usize) -> Source {
        let x = self.conv_bn(name, x, channels, kernel, stride, 1);
        self.0.relu6(&format!("{name}.act"), x)
    }

    fn conv_bn(
        &mut self,
        name: &str,
        x: Source,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        group: usize,
    ) -> Source {
        let size = self.0.shape(x).and_then(|shape| shape.get(1).copied()).unwrap_or(1);
        let [before, after] = same_pads(size, kernel, stride);
        let op = Op::Conv {
            out_channels,
            kernel: [kernel; 2],
            strides: [stride; 2],
            pads: [before, before, after, after],
            group,
            bias: false,
        };
        let x = self.0.push(&format!("{name}.conv"), op, &[x]);
        self.0.push(&format!("{name}.bn"), Op::BatchNormalization { epsilon: EPSILON }, &[x])
    }

    fn block(&mut self, name: &str, x: Source, stage: &Stage, stride: usize) -> Source {
        let channels = self.0.channels(x);
        let inner = channels * stage.expansion;
        let mut y = x;
        if stage.expansion > 1 {
            y = self.conv(&format!("{name}.expand"), y, inner, 1, 1);
        }
        y = self.conv_bn(&format!("{name}.dw"), y, inner, stage.kernel, stride, inner);
        y = self.0.relu6(&format!("{name}.dw.act"), y);
        y = self.conv_bn(&format!("{name}.project"), y, stage.channels, 1, 1, 1);
        if stride == 1 && channels == stage.channels { self.0.add(&format!("{name}.add"), x, y) } else { y }
    }
}

/// TensorFlow's `SAME`: as much padding as `ceil(size / stride)` outputs need, the odd row at the end.
fn same_pads(size: usize, kernel: usize, stride: usize) -> [usize; 2] {
    let total = ((size.div_ceil(stride).max(1) - 1) * stride + kernel).saturating_sub(size);
    [total / 2, total - total / 2]
}
