//! Channels of a value scaled to fill the range that they share.

use super::observe::Observed;
use crate::Source;
use crate::lower::{Activation, LayerKind, Lowered};

/// How much of the way to filling its range each channel goes. Weights have a scale for each output channel, so that those
/// that make a value are scaled freely; those that read it are not, and all the way would make them coarse.
const STRENGTH: f64 = 0.75;
/// The greatest factor of a channel: one that is nearly silent on the images for calibration may speak up later.
const MOST: f64 = 16.0;

/// Scales each channel of the values between convolutions by a factor, and the weights that make and read it, such that the
/// network computes the same and each channel comes nearer to filling the range of its value (Nagel et al. 2019, section
/// 4.1, there to make weights alike; for activations Xiao et al. 2023). Gives the factors of each layer's output.
///
/// Values that a sum adds, or that a pool passes on, share their factors; what is made or read by something that is not
/// linear up to a limit keeps its scale.
pub(super) fn equalise(lowered: &mut Lowered, observed: &Observed) -> Vec<Vec<f64>> {
    let classes = Classes::of(lowered);
    let count = lowered.layers.len();
    let mut factors: Vec<Vec<f64>> = lowered.layers.iter().map(|layer| vec![1.0; layer.to[0]]).collect();
    for class in 0..count {
        let members: Vec<usize> = (0..count).filter(|at| classes.root(*at) == class).collect();
        if classes.fixed[class] || members.is_empty() {
            continue;
        }
        let channels = lowered.layers[class].to[0];
        let mut ends = vec![[0.0f64; 2]; channels];
        let mut limit = f64::INFINITY;
        for member in &members {
            let layer = &lowered.layers[*member];
            for (end, [low, high]) in ends.iter_mut().zip(observed.channels(layer.node, channels)) {
                *end = [end[0].max(-f64::from(low)), end[1].max(f64::from(high))];
            }
            if let Activation::Clamp { high, .. } = layer.activation {
                limit = limit.min(f64::from(high));
            }
        }
        let most = ends.iter().fold([0.0f64; 2], |most, end| [most[0].max(end[0]), most[1].max(end[1])]);
        // The limit stays where it is, so that a channel of less is cut off at the end of what was seen of it.
        if most[1] > limit {
            continue;
        }
        let room = |end: f64, most: f64| if end > 0.0 { most / end } else { f64::INFINITY };
        let made: Vec<f64> = ends
            .iter()
            .map(|end| room(end[0], most[0]).min(room(end[1], most[1])).powf(STRENGTH).clamp(1.0, MOST))
            .collect();
        for member in members {
            factors[member].clone_from(&made);
        }
    }
    for at in 0..count {
        let source = lowered.layers[at].inputs.first().copied();
        let layer = &mut lowered.layers[at];
        let LayerKind::Conv(conv) = &mut layer.kind else { continue };
        let taps = conv.taps();
        let (per_group, group_outs) = (layer.from[0] / conv.group, conv.bias.len() / conv.group);
        let window = taps / per_group.max(1);
        for (o, factor) in factors[at].iter().enumerate() {
            conv.bias[o] = (f64::from(conv.bias[o]) * factor) as f32;
            for (tap, w) in conv.weight[o * taps..(o + 1) * taps].iter_mut().enumerate() {
                let from = match source {
                    Some(Source::Node(before)) => {
                        factors[before][o / group_outs.max(1) * per_group + tap / window.max(1)]
                    }
                    _ => 1.0,
                };
                *w = (f64::from(*w) * factor / from) as f32;
            }
        }
    }
    factors
}

/// Which values must have the same factors, and which must have none.
struct Classes {
    parent: Vec<usize>,
    fixed: Vec<bool>,
}

impl Classes {
    fn of(lowered: &Lowered) -> Self {
        let count = lowered.layers.len();
        let mut classes = Self { parent: (0..count).collect(), fixed: vec![false; count] };
        for (at, layer) in lowered.layers.iter().enumerate() {
            let scales = match layer.activation {
                Activation::Identity => true,
                Activation::Clamp { low, .. } => low == 0.0,
                Activation::HardSwish | Activation::Sigmoid => false,
            };
            if !scales || at == lowered.output {
                classes.fix(at);
            }
            if matches!(layer.kind, LayerKind::Conv(_)) {
                continue;
            }
            // What is fixed after it is fixed before it.
            for source in &layer.inputs {
                match source {
                    Source::Node(before) => classes.join(*before, at),
                    Source::Input => classes.fix(at),
                }
            }
        }
        classes
    }

    fn root(&self, mut at: usize) -> usize {
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    fn fix(&mut self, at: usize) {
        let root = self.root(at);
        self.fixed[root] = true;
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let fixed = self.fixed[a] || self.fixed[b];
        self.parent[a.max(b)] = a.min(b);
        self.fixed[a.min(b)] = fixed;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Graph, GraphBuilder, InputSpec, Op, Tensor, lower, random_weights};

    /// Pointwise layers `a`, an activation, `b`, with what goes round them, and weights of which `a`'s second channel is small.
    fn equalised(build: impl Fn(&mut GraphBuilder) -> crate::Source) -> (Lowered, Lowered, Vec<Vec<f64>>) {
        let spec = InputSpec { mean: vec![0.0; 3], std: vec![1.0; 3], ..InputSpec::rgb(4) };
        let mut net = GraphBuilder::new(spec);
        let x = build(&mut net);
        let x = net.conv("b", x, 2, 1, 1);
        let x = net.global_average_pool("gap", x);
        let graph: Graph = net.finish(x).unwrap();
        let small = vec![0.5, 0.4, 0.3, 0.05, 0.02, 0.03];
        let mut weights = random_weights(&graph, 1).unwrap();
        for name in ["a.weight", "other.weight"] {
            if let Some(tensor) = weights.get_mut(name) {
                tensor.data.clone_from(&small);
            }
        }
        let lowered = lower(&graph, &weights).unwrap();
        let images = Tensor::new(vec![2, 3, 4, 4], (0..96).map(|i| (i * 31 % 97) as f32 / 97.0).collect()).unwrap();
        let observed = Observed::of(&graph, &weights, &lowered, &images).unwrap();
        let mut made = lowered.clone();
        let factors = equalise(&mut made, &observed);
        (lowered, made, factors)
    }

    fn conv<'l>(lowered: &'l Lowered, name: &str) -> &'l crate::lower::Convolution {
        let layer = lowered.layers.iter().find(|layer| layer.name == name).unwrap();
        let LayerKind::Conv(conv) = &layer.kind else { panic!("{layer:?}") };
        conv
    }

    #[test]
    fn a_small_channel_grows_and_the_product_stays() {
        let (before, after, factors) = equalised(|net| {
            let x = net.conv("a", net.input(), 2, 1, 1);
            net.relu("relu", x)
        });
        assert_eq!(factors[0][0], 1.0);
        assert!(factors[0][1] > 4.0 && factors[0][1] < MOST, "{factors:?}");
        // Nothing is negative here, so that the activation changes nothing.
        let product = |lowered: &Lowered, o: usize, i: usize| -> f32 {
            let (a, b) = (conv(lowered, "a"), conv(lowered, "b"));
            (0..2).map(|c| b.weight[o * 2 + c] * a.weight[c * 3 + i]).sum()
        };
        for (o, i) in (0..2).flat_map(|o| (0..3).map(move |i| (o, i))) {
            assert!((product(&before, o, i) - product(&after, o, i)).abs() < 1e-6);
        }
        assert_ne!(before, after);
    }

    #[test]
    fn a_sum_and_a_pool_share_factors_and_what_bends_has_none() {
        let pool = Op::MaxPool { kernel: [2, 2], strides: [2, 2], pads: [0; 4] };
        let (_, _, factors) = equalised(|net| {
            let a = net.conv("a", net.input(), 2, 1, 1);
            let other = net.conv("other", net.input(), 2, 1, 1);
            let sum = net.add("sum", a, other);
            net.push("pool", pool.clone(), &[sum])
        });
        assert!(factors[0].iter().any(|factor| *factor > 1.0), "{factors:?}");
        assert!(factors[1..4].iter().all(|of| *of == factors[0]), "{factors:?}");
        for bend in [Op::HardSwish, Op::Sigmoid, Op::Clip { min: 0.1, max: 6.0 }] {
            let (before, after, factors) = equalised(|net| {
                let x = net.conv("a", net.input(), 2, 1, 1);
                net.push("bend", bend.clone(), &[x])
            });
            assert!(before == after && factors[0] == [1.0; 2], "{bend:?} {factors:?}");
        }
        // What is limited may grow up to the limit, but not with what goes beyond it.
        for beyond in [false, true] {
            let (_, _, factors) = equalised(|net| {
                let x = net.conv("a", net.input(), 2, 1, 1);
                let limited = net.push("limit", Op::Clip { min: 0.0, max: 0.3 }, &[x]);
                if !beyond {
                    return limited;
                }
                let other = net.conv("other", net.input(), 2, 1, 1);
                net.add("sum", limited, other)
            });
            assert_eq!(factors[0][1] > 1.0, !beyond, "{factors:?}");
        }
    }
}
