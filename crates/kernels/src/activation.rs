//! Functions of one number and their slopes.

use crate::lanes::{LANES, Lanes};
use kindling_graph::Op;

/// An activation by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Identity,
    Relu,
    Clip { min: f32, max: f32 },
    HardSwish,
    Sigmoid,
}

impl Activation {
    /// The operator's, if it is one.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        Some(match op {
            Op::Relu => Self::Relu,
            Op::Clip { min, max } => Self::Clip { min: *min, max: *max },
            Op::HardSwish => Self::HardSwish,
            Op::Sigmoid => Self::Sigmoid,
            _ => return None,
        })
    }
}

/// An activation as a type, so that a loop is compiled for each.
pub(crate) trait Function: Copy {
    fn value<V: Lanes>(self, z: V) -> V;
    /// The gradient of `z`, from that of the value.
    fn slope<V: Lanes>(self, z: V, gradient: V) -> V;
}

/// Work that is the same for every activation.
pub(crate) trait WithFunction {
    fn run<V: Lanes, F: Function>(self, function: F);
}

/// Runs the work with the activation's type.
#[inline(always)]
pub(crate) fn choose<V: Lanes, W: WithFunction>(activation: Activation, work: W) {
    match activation {
        Activation::Identity => work.run::<V, _>(Identity),
        Activation::Relu => work.run::<V, _>(Relu),
        Activation::Clip { min, max } => work.run::<V, _>(Clip { min, max }),
        Activation::HardSwish => work.run::<V, _>(HardSwish),
        Activation::Sigmoid => work.run::<V, _>(Sigmoid),
    }
}

#[derive(Clone, Copy)]
struct Identity;

impl Function for Identity {
    #[inline(always)]
    fn value<V: Lanes>(self, z: V) -> V {
        z
    }
    #[inline(always)]
    fn slope<V: Lanes>(self, _: V, gradient: V) -> V {
        gradient
    }
}

#[derive(Clone, Copy)]
struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<V: Lanes>(self, z: V) -> V {
        z.max(V::splat(0.0))
    }
    #[inline(always)]
    fn slope<V: Lanes>(self, z: V, gradient: V) -> V {
        z.where_positive(gradient)
    }
}

#[derive(Clone, Copy)]
struct Clip {
    min: f32,
    max: f32,
}

impl Function for Clip {
    #[inline(always)]
    fn value<V: Lanes>(self, z: V) -> V {
        z.max(V::splat(self.min)).min(V::splat(self.max))
    }
    #[inline(always)]
    fn slope<V: Lanes>(self, z: V, gradient: V) -> V {
        let below = V::splat(self.max).sub(z).where_positive(gradient);
        z.sub(V::splat(self.min)).where_positive(below)
    }
}

#[derive(Clone, Copy)]
struct HardSwish;

impl Function for HardSwish {
    #[inline(always)]
    fn value<V: Lanes>(self, z: V) -> V {
        let share = z.mul_add(V::splat(1.0 / 6.0), V::splat(0.5));
        z.mul(share.max(V::splat(0.0)).min(V::splat(1.0)))
    }
    #[inline(always)]
    fn slope<V: Lanes>(self, z: V, gradient: V) -> V {
        let below = V::splat(3.0).sub(z);
        let inner = gradient.mul(z.mul_add(V::splat(1.0 / 3.0), V::splat(0.5)));
        let all = below.where_positive(inner).add(gradient.sub(below.where_positive(gradient)));
        z.add(V::splat(3.0)).where_positive(all)
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<V: Lanes>(self, z: V) -> V {
        let mut numbers = [0.0; LANES];
        z.store(&mut numbers);
        V::load(&numbers.map(|z| 1.0 / (1.0 + (-z).exp())))
    }
    #[inline(always)]
    fn slope<V: Lanes>(self, z: V, gradient: V) -> V {
        let value = self.value(z);
        gradient.mul(value.mul(V::splat(1.0).sub(value)))
    }
}
