//! Depthwise and pointwise convolutions in turn (Howard et al. 2017, MobileNet), or inverted residual blocks
//! (Sandler et al. 2018, MobileNetV2) where `expansion` is above 1.

use super::{Family, Reader, common_params, defaults, layers::Layers};
use crate::ModelError;
use kindling_graph::{Graph, Source};
use kindling_spec::{Genome, Param, Value};
use std::collections::BTreeMap;

/// Stem, then stages of `depth` blocks, each stage but the first halving the plane.
pub(super) struct Separable;

impl Family for Separable {
    fn name(&self) -> &'static str {
        "separable"
    }

    fn params(&self) -> Vec<Param> {
        let own = vec![
            Param::log_int("width", 8, 48),
            Param::float("growth", 1.25, 2.0),
            Param::int("stages", 2, 4),
            Param::int("depth", 1, 3),
            Param::choice("kernel", &[3, 5]),
            Param::choice("expansion", &[1, 2, 3, 4]),
        ];
        common_params().into_iter().chain(own).collect()
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let genome = |resolution, width, growth, depth, expansion| {
            defaults(
                resolution,
                [
                    ("width", Value::Int(width)),
                    ("growth", Value::Float(growth)),
                    ("stages", Value::Int(3)),
                    ("depth", Value::Int(depth)),
                    ("kernel", Value::Int(3)),
                    ("expansion", Value::Int(expansion)),
                ],
            )
        };
        vec![genome(32, 24, 2.0, 2, 1), genome(48, 24, 2.0, 2, 1), genome(48, 16, 1.5, 2, 2)]
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let (widths, depth, kernel) = (read.stage_widths()?, read.count("depth")?, read.count("kernel")?);
        let expansion = read.count("expansion")?;
        let (mut layers, mut x) = read.stem(widths.first().copied().unwrap_or(4))?;
        for (stage, width) in widths.into_iter().enumerate() {
            for block in 0..depth {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = separable_block(&mut layers, &format!("s{stage}.{block}"), x, width, [kernel, stride, expansion]);
            }
        }
        read.head(layers, x, classes)
    }
}

/// A depthwise and a pointwise convolution, or an inverted residual block.
pub(super) fn separable_block(
    layers: &mut Layers,
    name: &str,
    x: Source,
    width: usize,
    [kernel, stride, expansion]: [usize; 3],
) -> Source {
    if expansion == 1 {
        let y = layers.depthwise(&format!("{name}.dw"), x, kernel, stride);
        return layers.conv(&format!("{name}.pw"), y, width, 1, 1);
    }
    let inner = layers.net.channels(x) * expansion;
    let y = layers.conv(&format!("{name}.expand"), x, inner, 1, 1);
    let y = layers.depthwise(&format!("{name}.dw"), y, kernel, stride);
    // No activation after the projection: it would lose what few channels hold.
    let y = layers.conv_bn(&format!("{name}.project"), y, width, 1, 1);
    let same = layers.net.shape(x) == layers.net.shape(y);
    if same { layers.net.add(&format!("{name}.add"), x, y) } else { y }
}
