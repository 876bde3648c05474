//! Networks that find objects by their centres: a body, blocks that look further around, and one map of a channel a class
//! and four for the sides of boxes (Zhou et al. 2019, "Objects as Points"; sides as in Tian et al. 2019, FCOS).
//!
//! With a stride of 8, a thin body and no blocks behind it, it is what Edge Impulse calls FOMO, with sides.

use super::{Family, Reader, defaults_of, layers::Layers, residual::basic_block, round4, separable::separable_block};
use crate::ModelError;
use crate::backbones::{BACKBONES, Backbone, Cut, EFFICIENTNET_LITE0};
use kindling_graph::{Answer, Graph, Source};
use kindling_spec::{Genome, Param, TaskKind, Value};
use std::collections::BTreeMap;

/// A family that finds objects.
pub(super) struct Centres {
    name: &'static str,
    body: Body,
}

/// What the network is made of up to the blocks that look further around.
#[derive(PartialEq)]
enum Body {
    /// Depthwise and pointwise convolutions, or inverted residual blocks.
    Separable,
    /// Residual blocks of two convolutions.
    Residual,
    /// A backbone's first blocks.
    Pretrained(&'static str),
}

pub(super) const SEPARABLE: Centres = Centres { name: "separable-centres", body: Body::Separable };
pub(super) const RESIDUAL: Centres = Centres { name: "residual-centres", body: Body::Residual };
pub(super) const EFFICIENTNET: Centres =
    Centres { name: "efficientnet-lite0-centres", body: Body::Pretrained(EFFICIENTNET_LITE0) };

impl Family for Centres {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_for(&self, kind: TaskKind) -> bool {
        kind.is_of_boxes()
    }

    fn backbone(&self) -> Option<&'static dyn Backbone> {
        let Body::Pretrained(name) = self.body else { return None };
        BACKBONES.iter().copied().find(|backbone| backbone.name() == name)
    }

    fn params(&self) -> Vec<Param> {
        let context = [Param::int("context", 0, 3), Param::choice("reach", &[3, 5])];
        let own = match self.body {
            // Blocks 3 and 4 have a stride of 8, 5 to 10 one of 16.
            Body::Pretrained(_) => vec![
                Param::choice("resolution", &[64, 96, 128, 160]),
                Param::int("cut", 3, 10),
                Param::log_int("context_width", 24, 128),
            ],
            _ => vec![
                Param::choice("resolution", &[48, 64, 96, 128, 160]),
                Param::choice("stride", &[8, 16]),
                Param::words("activation", &["relu", "relu6", "hard_swish"]),
                Param::float("growth", 1.25, 2.0),
            ],
        };
        let separable = match self.body {
            Body::Separable => vec![
                Param::log_int("width", 8, 32),
                Param::int("depth", 1, 3),
                Param::choice("kernel", &[3, 5]),
                Param::choice("expansion", &[1, 2, 3, 4]),
            ],
            Body::Residual => vec![Param::log_int("width", 6, 20), Param::int("depth", 1, 2)],
            Body::Pretrained(_) => Vec::new(),
        };
        own.into_iter().chain(separable).chain(context).collect()
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let ints = |values: &[(&'static str, i64)]| {
            defaults_of(values.iter().map(|(name, value)| (*name, Value::Int(*value))))
        };
        let body = |resolution, stride, width, growth, depth, context| {
            let mut genome = ints(&[
                ("resolution", resolution),
                ("stride", stride),
                ("width", width),
                ("depth", depth),
                ("context", context),
                ("reach", 5),
            ]);
            genome.extend(defaults_of([("growth", Value::Float(growth)), ("activation", Value::Word("relu".into()))]));
            if self.body == Body::Separable {
                genome.extend(ints(&[("kernel", 3), ("expansion", 2)]));
            }
            genome
        };
        match self.body {
            Body::Separable => {
                vec![body(64, 8, 12, 1.75, 1, 1), body(96, 8, 16, 1.75, 2, 2), body(128, 16, 16, 1.75, 2, 2)]
            }
            Body::Residual => {
                vec![body(64, 8, 12, 1.5, 1, 1), body(96, 8, 16, 1.5, 1, 2), body(128, 16, 16, 1.5, 1, 2)]
            }
            Body::Pretrained(_) => {
                let genome = |resolution, cut, context_width, context| {
                    let mut genome = ints(&[
                        ("resolution", resolution),
                        ("cut", cut),
                        ("context_width", context_width),
                        ("context", context),
                        ("reach", 5),
                    ]);
                    // What was learned is to be kept: small steps.
                    genome.extend(defaults_of([("learning_rate", Value::Float(2e-3))]));
                    genome
                };
                vec![genome(96, 4, 64, 2), genome(128, 7, 64, 1), genome(160, 8, 64, 1)]
            }
        }
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let (mut layers, mut x, width) = match self.body {
            Body::Pretrained(_) => {
                let backbone = self.backbone().ok_or_else(|| read.error("its backbone is not known".to_owned()))?;
                let (net, x) = backbone.features(Cut::After(read.count("cut")?), read.count("resolution")?)?;
                let layers = Layers { net, activation: "relu6".to_owned() };
                (layers, x, round4(read.count("context_width")? as f64))
            }
            _ => self.body(&read)?,
        };
        let reach = read.count("reach")?;
        for block in 0..read.count("context")? {
            x = separable_block(&mut layers, &format!("head.context{block}"), x, width, [reach, 1, 1]);
        }
        let x = layers.net.pointwise_with_bias("head.map", x, classes + 4);
        Ok(layers.net.finish_as(x, Answer::Map)?)
    }
}

impl Centres {
    /// A stem that halves the plane, and a stage for each further halving.
    fn body(&self, read: &Reader<'_>) -> Result<(Layers, Source, usize), ModelError> {
        let (width, growth, depth) = (read.count("width")? as f64, read.real("growth")?, read.count("depth")?);
        let mut wide = round4(width);
        let (mut layers, mut x) = read.stem_of(wide, 2)?;
        let separable = match self.body {
            Body::Separable => Some((read.count("kernel")?, read.count("expansion")?)),
            _ => None,
        };
        let stages = read.count("stride")?.ilog2() as i32 - 1;
        for stage in 1..=stages {
            wide = round4(width * growth.powi(stage));
            for block in 0..depth {
                let (name, stride) = (format!("s{stage}.{block}"), if block == 0 { 2 } else { 1 });
                x = match separable {
                    Some((kernel, expansion)) => {
                        separable_block(&mut layers, &name, x, wide, [kernel, stride, expansion])
                    }
                    None => basic_block(&mut layers, &name, x, wide, stride, true),
                };
            }
        }
        Ok((layers, x, wide))
    }
}
