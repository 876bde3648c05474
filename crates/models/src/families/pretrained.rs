//! A backbone cut after one of its first blocks, with a few blocks of our own behind it, fine-tuned whole.
//!
//! What others learned from many pictures is in the first blocks (Yosinski et al. 2014, "How transferable are
//! features in deep neural networks?"); the blocks behind them begin from nothing.

use super::{Family, Reader};
use crate::ModelError;
use crate::backbones::{BACKBONES, Backbone, Cut, EFFICIENTNET_LITE0};
use kindling_graph::Graph;
use kindling_spec::{Genome, Param, Value};
use std::collections::BTreeMap;

/// The family of a backbone.
pub(super) struct Pretrained {
    backbone: &'static str,
}

/// The family of [`EFFICIENTNET_LITE0`].
pub(super) const EFFICIENTNET: Pretrained = Pretrained { backbone: EFFICIENTNET_LITE0 };

impl Family for Pretrained {
    fn name(&self) -> &'static str {
        self.backbone
    }

    fn backbone(&self) -> Option<&'static dyn Backbone> {
        BACKBONES.iter().copied().find(|backbone| backbone.name() == self.backbone)
    }

    fn params(&self) -> Vec<Param> {
        vec![
            Param::choice("resolution", &[32, 48, 64, 96]),
            Param::int("cut", 1, 8),
            Param::int("tail", 0, 2),
            Param::log_int("tail_width", 24, 128),
            Param::float("dropout", 0.0, 0.3),
        ]
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let genome = |resolution, cut, tail, tail_width| {
            let own = [
                ("resolution", Value::Int(resolution)),
                ("cut", Value::Int(cut)),
                ("tail", Value::Int(tail)),
                ("tail_width", Value::Int(tail_width)),
                ("dropout", Value::Float(0.1)),
                // What was learned is to be kept: small steps.
                ("learning_rate", Value::Float(2e-3)),
                ("crop", Value::Float(0.25)),
                ("colour", Value::Float(0.25)),
            ];
            own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        };
        vec![genome(64, 3, 1, 96), genome(96, 6, 1, 112), genome(96, 3, 1, 96), genome(96, 3, 2, 80)]
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let backbone = self.backbone().ok_or_else(|| read.error("its backbone is not known".to_owned()))?;
        let (mut net, mut x) = backbone.features(Cut::After(read.count("cut")?), read.count("resolution")?)?;
        let width = super::round4(read.count("tail_width")? as f64);
        for block in 0..read.count("tail")? {
            // Depthwise and pointwise, the first of a stride of 2. The names are the head's: no checkpoint has them.
            let name = |layer: &str| format!("head.tail{block}.{layer}");
            x = net.depthwise(&name("dw.conv"), x, 3, if block == 0 { 2 } else { 1 });
            x = net.batch_norm(&name("dw.bn"), x);
            x = net.relu6(&name("dw.act"), x);
            x = net.conv(&name("pw.conv"), x, width, 1, 1);
            x = net.batch_norm(&name("pw.bn"), x);
            x = net.relu6(&name("pw.act"), x);
        }
        let x = net.global_average_pool("head.pool", x);
        let mut x = net.flatten("head.flatten", x);
        let ratio = read.real("dropout")? as f32;
        if ratio > 0.0 {
            x = net.dropout("head.dropout", x, ratio);
        }
        let logits = net.gemm("head.logits", x, classes);
        Ok(net.finish(logits)?)
    }
}
