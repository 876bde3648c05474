//! Convolutions one after another, each with normalisation and activation (Simonyan and Zisserman 2015,
//! VGG, with strides or pools between the stages).

use super::{Family, Reader, common_params, defaults, fine};
use crate::ModelError;
use kindling_graph::Graph;
use kindling_spec::{Genome, Param, Value};
use std::collections::BTreeMap;

/// Stem, then stages of `depth` convolutions, each stage but the first halving the plane.
pub(super) struct Plain;

impl Family for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn params(&self) -> Vec<Param> {
        let own = vec![
            Param::log_int("width", 8, 32),
            Param::float("growth", 1.25, 2.0),
            Param::int("stages", 2, 4),
            Param::int("depth", 1, 2),
            Param::choice("kernel", &[3, 5]),
            Param::words("downsample", &["stride", "max_pool"]),
        ];
        common_params().into_iter().chain(own).collect()
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let genome = |resolution, width, growth, depth| {
            defaults(
                resolution,
                [
                    ("width", Value::Int(width)),
                    ("growth", Value::Float(growth)),
                    ("stages", Value::Int(3)),
                    ("depth", Value::Int(depth)),
                    ("kernel", Value::Int(3)),
                    ("downsample", Value::Word("stride".into())),
                ],
            )
        };
        let fine = genome(96, 12, 1.5, 2).into_iter().chain(fine()).collect();
        vec![genome(32, 16, 1.75, 1), fine, genome(48, 16, 1.25, 2), genome(48, 16, 2.0, 1)]
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let (widths, depth, kernel) = (read.stage_widths()?, read.count("depth")?, read.count("kernel")?);
        let pool = read.word("downsample")? == "max_pool";
        let (mut layers, mut x) = read.stem(widths.first().copied().unwrap_or(4))?;
        for (stage, width) in widths.into_iter().enumerate() {
            // The stem is the first stage's first convolution.
            for block in usize::from(stage == 0)..depth {
                let name = format!("s{stage}.{block}");
                let halves = stage > 0 && block == 0;
                if halves && pool {
                    x = layers.halve_by_max(&format!("{name}.pool"), x);
                }
                x = layers.conv(&name, x, width, kernel, if halves && !pool { 2 } else { 1 });
            }
        }
        read.head(layers, x, classes)
    }
}
