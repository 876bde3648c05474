//! Networks that say how strange each place of a picture is, and by the strangest of them whether the picture is: a body, and
//! one map of a channel. The map alone is trained, on defects drawn on good pictures (Zavrtanik et al. 2021, "DRAEM"); what
//! follows it is put on a scale afterwards.

use super::{Family, Reader, defaults_of, layers::Layers, round4};
use crate::ModelError;
use crate::backbones::{BACKBONES, Backbone, Cut, EFFICIENTNET_LITE0};
use crate::tasks::anomaly_detection::{LOGITS, MAP};
use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source};
use kindling_spec::{Genome, Param, TaskKind, Value};
use std::collections::BTreeMap;

/// A family that finds anomalies; with the name of a backbone its first blocks are the body.
pub(super) struct Places {
    name: &'static str,
    backbone: Option<&'static str>,
}

pub(super) const SEPARABLE: Places = Places { name: "separable-places", backbone: None };
pub(super) const EFFICIENTNET: Places =
    Places { name: "efficientnet-lite0-places", backbone: Some(EFFICIENTNET_LITE0) };

impl Family for Places {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_for(&self, kind: TaskKind) -> bool {
        kind == TaskKind::AnomalyDetection
    }

    fn backbone(&self) -> Option<&'static dyn Backbone> {
        let name = self.backbone?;
        BACKBONES.iter().copied().find(|backbone| backbone.name() == name)
    }

    fn params(&self) -> Vec<Param> {
        let common = [Param::choice("resolution", &[48, 64, 96]), Param::choice("kernel", &[3, 5, 7])];
        let own = match self.backbone {
            // Blocks 1 and 2 have a stride of 4, 3 and 4 one of 8, 5 to 8 one of 16.
            Some(_) => [Param::int("cut", 1, 8), Param::log_int("width", 16, 96), Param::int("depth", 0, 4)],
            None => [Param::choice("stride", &[4, 8]), Param::log_int("width", 8, 64), Param::int("depth", 2, 6)],
        };
        common.into_iter().chain(own).collect()
    }

    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>> {
        let genome = |ints: [(&'static str, i64); 5], rate| {
            let ints = ints.map(|(name, value)| (name, Value::Int(value)));
            // What is cut off, mirrored or much discoloured is no good example any more.
            let training = [
                ("learning_rate", Value::Float(rate)),
                ("batch_size", Value::Int(16)),
                ("ema", Value::Float(0.99)),
                ("flip", Value::Word("off".into())),
                ("crop", Value::Float(0.06)),
                ("colour", Value::Float(0.25)),
            ];
            defaults_of(ints.into_iter().chain(training))
        };
        let small = |resolution, stride, width, depth| {
            let ints =
                [("resolution", resolution), ("kernel", 5), ("stride", stride), ("width", width), ("depth", depth)];
            genome(ints, 1.5e-2)
        };
        let pretrained = |resolution, cut, width, depth| {
            let ints = [("resolution", resolution), ("kernel", 5), ("cut", cut), ("width", width), ("depth", depth)];
            genome(ints, 2e-3)
        };
        match self.backbone {
            Some(_) => vec![pretrained(64, 3, 48, 1), pretrained(96, 4, 64, 2)],
            None => vec![small(64, 4, 24, 4), small(64, 4, 32, 4), small(96, 4, 32, 4)],
        }
    }

    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
        let read = Reader::new(self, genome, classes)?;
        let (resolution, width) = (read.count("resolution")?, round4(read.count("width")? as f64));
        let layers = |net| Layers { net, activation: "relu".to_owned() };
        let (mut layers, mut x) = match self.backbone() {
            Some(backbone) => {
                let (net, x) = backbone.features(Cut::After(read.count("cut")?), resolution)?;
                let mut layers = layers(net);
                let x = layers.conv("head.narrow", x, width, 1, 1);
                (layers, x)
            }
            None => {
                let mut layers = layers(GraphBuilder::new(InputSpec::rgb(resolution)));
                let halvings = read.count("stride")?.ilog2() as usize;
                let wide = |halving: usize| round4(width as f64 / (1 << (halvings - halving)) as f64);
                let mut x = layers.conv("stem", Source::Input, wide(1), 3, 2);
                for halving in 2..=halvings {
                    x = layers.depthwise(&format!("s{halving}.dw"), x, 3, 2);
                    x = layers.conv(&format!("s{halving}.pw"), x, wide(halving), 1, 1);
                }
                (layers, x)
            }
        };
        let kernel = read.count("kernel")?;
        for block in 0..read.count("depth")? {
            let name = format!("head.b{block}");
            let y = layers.depthwise(&format!("{name}.dw"), x, kernel, 1);
            let y = layers.conv_bn(&format!("{name}.pw"), y, width, 1, 1);
            let y = layers.net.add(&format!("{name}.add"), x, y);
            x = layers.net.relu(&format!("{name}.act"), y);
        }
        let map = layers.net.pointwise_with_bias(MAP, x, 1);
        let kernel = match layers.net.shape(map).as_deref() {
            Some([_, height, width]) => [*height, *width],
            _ => return Err(read.error("its body makes no map".to_owned())),
        };
        let pool = Op::MaxPool { kernel, strides: kernel, pads: [0; 4] };
        let x = layers.net.push("head.strangest", pool, &[map]);
        let x = layers.net.flatten("head.flatten", x);
        let logits = layers.net.gemm(LOGITS, x, classes);
        Ok(layers.net.finish(logits)?)
    }
}
