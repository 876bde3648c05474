//! What training makes least, by how a network's output is to be read.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, log_softmax, relu, sigmoid};
use kindling_graph::{Answer, Graph};
use kindling_models::tasks::object_detection::Targets;

use crate::TrainError;

/// How much the boxes' sides count beside the places of objects.
///
/// On the sample scenes 2, 4, 8 and 16 gave 44.8, 47.3, 48.1 and 40.8% mAP, and 94.9, 95.3, 94.1 and 87.4% of it at an overlap of half.
const SIDES: f64 = 4.0;
/// No side is further than `exp` of this, in places, as [`kindling_graph::find_objects`] reads them.
const FARTHEST: f64 = 6.0;

/// The loss of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// Cross-entropy with targets that sum to 1.
    CrossEntropy,
    /// That of [`objects`].
    Objects(Targets),
    /// That of [`strangeness`], of so many places.
    Strangeness(usize),
}

impl Loss {
    pub(crate) fn of(graph: &Graph) -> Result<Self, TrainError> {
        let shape = graph.output_shape()?;
        Ok(match (graph.answer, &shape[..]) {
            (Answer::Map, [1, height, width]) => Self::Strangeness(height * width),
            (Answer::Map, [channels, height, width]) => {
                Self::Objects(Targets { classes: channels - 4, height: *height, width: *width })
            }
            _ => Self::CrossEntropy,
        })
    }

    /// Numbers of one target, given those of one output.
    pub(crate) fn target_len(&self, outputs: usize) -> usize {
        match self {
            Self::CrossEntropy => outputs,
            Self::Strangeness(places) => *places,
            Self::Objects(targets) => targets.len(),
        }
    }

    pub(crate) fn apply(&self, outputs: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        match self {
            Self::CrossEntropy => log_softmax(outputs, 1).mul(targets).sum().neg(),
            Self::Objects(shape) => objects(*shape, outputs, targets),
            Self::Strangeness(_) => strangeness(outputs, targets),
        }
    }
}

/// Binary cross-entropy of each place, their mean.
///
/// # Shapes
/// `outputs` logits `[N, places]`, `targets` probabilities `[N, places]`.
fn strangeness(outputs: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let rest = targets.clone().neg().add_scalar(1.0);
    log_sigmoid(outputs.clone()).mul(targets).add(log_sigmoid(outputs.neg()).mul(rest)).mean().neg()
}

/// Focal loss of the objects' places with less weight near them (Law and Deng 2018, CornerNet, equation 1) and generalised
/// intersection over union of their boxes (Rezatofighi et al. 2019), weighted about the centres (Liu et al. 2020, TTFNet).
///
/// # Shapes
/// `outputs` `[N, (classes + 4) * plane]`, `targets` as [`Targets`] lays them out.
fn objects(shape: Targets, outputs: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let plane = shape.height * shape.width;
    let places = shape.classes * plane;
    let logits = outputs.clone().narrow(1, 0, places);
    let heat = targets.clone().narrow(1, 0, places);
    let share = targets.clone().narrow(1, shape.len() - 1, 1);
    let p = sigmoid(logits.clone());
    let is = heat.clone().greater_equal_elem(1.0).float();
    let isnt = is.clone().neg().add_scalar(1.0);
    let missed = log_sigmoid(logits.clone()).mul(p.clone().neg().add_scalar(1.0).powi_scalar(2)).mul(is);
    let far = heat.neg().add_scalar(1.0).powi_scalar(4).mul(isnt);
    let seen = log_sigmoid(logits.neg()).mul(p.powi_scalar(2)).mul(far);
    let places_loss = missed.add(seen).mul(share).sum().neg();

    let sides = |x: Tensor<2>, at: usize| x.narrow(1, at, plane);
    let found = outputs.narrow(1, places, 4 * plane).clamp_max(FARTHEST).exp();
    let wanted = targets.clone().narrow(1, places, 4 * plane);
    let weight = targets.narrow(1, places + 4 * plane, plane);
    let of = |x: &Tensor<2>| [0, 1, 2, 3].map(|side| sides(x.clone(), side * plane));
    let ([l, t, r, b], [wl, wt, wr, wb]) = (of(&found), of(&wanted));
    let least = |a: &Tensor<2>, b: &Tensor<2>| a.clone().min_pair(b.clone());
    let most = |a: &Tensor<2>, b: &Tensor<2>| a.clone().max_pair(b.clone());
    let shared = relu(least(&l, &wl).add(least(&r, &wr))).mul(relu(least(&t, &wt).add(least(&b, &wb))));
    let around = most(&l, &wl).add(most(&r, &wr)).mul(most(&t, &wt).add(most(&b, &wb)));
    let area = l.add(r).mul(t.add(b)).add(wl.add(wr).mul(wt.add(wb)));
    let union = area.sub(shared.clone()).clamp_min(1e-6);
    let giou = shared.div(union.clone()).sub(around.clone().sub(union).div(around.clamp_min(1e-6)));
    let sides_loss = giou.neg().add_scalar(1.0).mul(weight).sum();
    places_loss.add(sides_loss.mul_scalar(SIDES))
}
