//! What of a value matters to a sum of which only what is above zero is read.

use crate::lower::{Activation, Layer, LayerKind, Lowered};
use crate::{NodeId, Source, Tensor};
use std::collections::BTreeMap;

/// Sums whose negatives are cut off. What a convolution makes for such a sum alone need not be told apart below the point
/// where the sum is zero, so that its range may end there: a residual branch reaches far below zero, mostly where the
/// other addend does not lift it up again.
pub(super) struct Needed {
    /// The addends of each sum, by the sum's node, and whether the range of each may end early.
    sums: BTreeMap<NodeId, [(NodeId, bool); 2]>,
    /// Values of a block of images that are waited for.
    held: BTreeMap<NodeId, Tensor>,
}

impl Needed {
    pub(super) fn of(lowered: &Lowered) -> Self {
        let mut sums = BTreeMap::new();
        for layer in &lowered.layers {
            let cuts = matches!(layer.activation, Activation::Clamp { low, .. } if low == 0.0);
            let [Source::Node(left), Source::Node(right)] = layer.inputs[..] else { continue };
            if !cuts || layer.kind != LayerKind::Add || left == right {
                continue;
            }
            let ends = |at: usize| (lowered.layers[at].node, is_for_one(lowered, at));
            sums.insert(layer.raw, [ends(left), ends(right)]);
        }
        Self { sums, held: BTreeMap::new() }
    }

    /// Calls `add` with what has to be told apart of a node's value: at once with the value itself, but with what is for one of
    /// the sums alone when that sum is there.
    pub(super) fn see(&mut self, node: NodeId, value: &Tensor, mut add: impl FnMut(NodeId, &Tensor)) {
        if let Some(addends) = self.sums.get(&node) {
            for (own, other) in [(addends[0], addends[1]), (addends[1], addends[0])] {
                if let ((own, true), Some(x), Some(y)) = (own, self.held.get(&own.0), self.held.get(&other.0)) {
                    let data = x.data.iter().zip(&y.data).map(|(x, y)| x.max(-y.max(0.0))).collect();
                    add(own, &Tensor { shape: x.shape.clone(), data });
                }
            }
        }
        let mut addends = self.sums.values().flatten().filter(|(addend, _)| *addend == node).peekable();
        if addends.peek().is_some() {
            let waits = addends.any(|(_, early)| *early);
            self.held.insert(node, value.clone());
            if waits {
                return;
            }
        }
        add(node, value);
    }
}

/// Whether a layer is a convolution without an activation that one layer reads.
fn is_for_one(lowered: &Lowered, at: usize) -> bool {
    let Layer { kind, activation, .. } = &lowered.layers[at];
    let readers = lowered.layers.iter().filter(|layer| layer.inputs.contains(&Source::Node(at))).count();
    matches!(kind, LayerKind::Conv(_)) && *activation == Activation::Identity && readers == 1 && at != lowered.output
}
