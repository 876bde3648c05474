//! Residual blocks (He et al. 2016), as small as MLPerf Tiny's ResNet-8.

use super::{Family, Reader, common_params, defaults, fine, layers::Layers, round4};
use crate::ModelError;
use kindling_graph::{Graph, Source};
use kindling_spec::{Genome, Param, Value};
use std::collections::BTreeMap;

/// Stem, then stages of `depth` blocks, each stage but the first halving the plane.
pub(super) struct Residual;

impl Family for Residual {
    fn name(&self) -> &'static str {
        "residual"
    }

    fn params(&self) -> Vec<Param> {
        let own = vec![
            Param::log_int("width", 8, 32),
            Param::float("growth", 1.25, 2.0),
            Param::int("stages", 2, 4),
            Param::int("depth", 1, 2),
            Param::words("block", &["basic", "bottleneck"]),
            Param::words("shortcut", &["stride", "mean_pool"]),
        ];
        common_params().into_iter().chain(own).collect()
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let genome = |resolution, width, growth, depth, block: &str| {
            defaults(
                resolution,
                [
                    ("width", Value::Int(width)),
                    ("growth", Value::Float(growth)),
                    ("stages", Value::Int(3)),
                    ("depth", Value::Int(depth)),
                    ("block", Value::Word(block.into())),
                    ("shortcut", Value::Word("mean_pool".into())),
                ],
            )
        };
        let fine = genome(96, 12, 1.5, 1, "basic").into_iter().chain(fine()).collect();
        vec![
            genome(32, 12, 1.5, 1, "basic"),
            fine,
            genome(48, 12, 1.5, 1, "basic"),
            genome(48, 16, 1.5, 2, "bottleneck"),
        ]
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let (widths, depth) = (read.stage_widths()?, read.count("depth")?);
        let bottleneck = read.word("block")? == "bottleneck";
        let pooled = read.word("shortcut")? == "mean_pool";
        let (mut layers, mut x) = read.stem(widths.first().copied().unwrap_or(4))?;
        for (stage, width) in widths.into_iter().enumerate() {
            for block in 0..depth {
                let name = format!("s{stage}.{block}");
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                if !bottleneck {
                    x = basic_block(&mut layers, &name, x, width, stride, pooled);
                    continue;
                }
                let inner = round4(width as f64 / 2.0);
                let y = layers.conv(&format!("{name}.reduce"), x, inner, 1, 1);
                let y = layers.conv(&format!("{name}.a"), y, inner, 3, stride);
                let y = layers.conv_bn(&format!("{name}.expand"), y, width, 1, 1);
                let short = shortcut(&mut layers, &name, x, width, stride, pooled);
                let sum = layers.net.add(&format!("{name}.add"), y, short);
                x = layers.activate(&format!("{name}.act"), sum);
            }
        }
        read.head(layers, x, classes)
    }
}

/// Two 3x3 convolutions and the way round them.
pub(super) fn basic_block(
    layers: &mut Layers,
    name: &str,
    x: Source,
    width: usize,
    stride: usize,
    pooled: bool,
) -> Source {
    let y = layers.conv(&format!("{name}.a"), x, width, 3, stride);
    let y = layers.conv_bn(&format!("{name}.b"), y, width, 3, 1);
    let short = shortcut(layers, name, x, width, stride, pooled);
    let sum = layers.net.add(&format!("{name}.add"), y, short);
    layers.activate(&format!("{name}.act"), sum)
}

/// The way round the block: nothing where the shape stays, else a pointwise convolution, after a mean pool
/// (He et al. 2019, "Bag of Tricks", ResNet-D: no value is thrown away) or with a stride.
fn shortcut(layers: &mut Layers, name: &str, x: Source, width: usize, stride: usize, pooled: bool) -> Source {
    if stride == 1 && layers.net.channels(x) == width {
        return x;
    }
    let name = format!("{name}.short");
    if pooled && stride == 2 {
        let x = layers.halve_by_mean(&format!("{name}.pool"), x);
        return layers.conv_bn(&name, x, width, 1, 1);
    }
    layers.conv_bn(&name, x, width, 1, stride)
}
