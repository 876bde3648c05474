//! An optimiser's step on all weights in one pass.

use crate::lanes::{Kernel, Lanes, dispatch};

/// The rule, with this step's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW {
        /// Share of the first moment that is kept.
        beta_1: f32,
        /// Share of the second moment that is kept.
        beta_2: f32,
        /// The learning rate over the first moment's bias.
        rate: f32,
        /// One over the second moment's bias.
        second_share: f32,
        /// Added to the root.
        epsilon: f32,
    },
    /// Stochastic gradient descent with Nesterov momentum.
    Sgd {
        /// Share of the last direction that is kept.
        momentum: f32,
        /// The learning rate.
        rate: f32,
    },
}

/// A step's numbers that both rules have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The rule.
    pub rule: Rule,
    /// Share of each decaying weight that is taken away.
    pub decay: f32,
    /// The gradient is scaled down to this norm.
    pub max_norm: f32,
}

/// The optimiser's arrays, of one length.
#[derive(Debug)]
pub struct State<'a> {
    /// The weights.
    pub weights: &'a mut [f32],
    /// First moments, or the momentum.
    pub first: &'a mut [f32],
    /// Second moments.
    pub second: &'a mut [f32],
    /// 1 where weight decay applies.
    pub decays: &'a [f32],
}

impl Step {
    /// Changes weights and moments by one step along the gradient.
    ///
    /// # Panics
    /// If the arrays are of different lengths.
    pub fn apply(&self, state: State<'_>, gradient: &[f32]) {
        let lengths = [state.first.len(), state.second.len(), state.decays.len(), gradient.len()];
        assert!(lengths.iter().all(|len| *len == state.weights.len()), "the optimiser's arrays differ in length");
        let mut squares = 0.0;
        dispatch(Squares { gradient, sum: &mut squares });
        let scale = (self.max_norm / (squares.sqrt() as f32 + 1e-8)).min(1.0);
        dispatch(Apply { step: *self, state, gradient, scale });
    }
}

struct Squares<'a> {
    gradient: &'a [f32],
    sum: &'a mut f64,
}

impl Kernel for Squares<'_> {
    #[inline(always)]
    fn run<V: Lanes>(self) {
        // Short runs in 32 bits, their sums in 64.
        let part = |run: &[f32]| {
            let (vectors, rest) = run.as_chunks::<8>();
            let mut lanes = [0.0f32; 8];
            for vector in vectors {
                lanes.iter_mut().zip(vector).for_each(|(sum, g)| *sum += g * g);
            }
            f64::from(lanes.iter().sum::<f32>() + rest.iter().map(|g| g * g).sum::<f32>())
        };
        *self.sum = self.gradient.chunks(4096).map(part).sum();
    }
}

struct Apply<'a> {
    step: Step,
    state: State<'a>,
    gradient: &'a [f32],
    scale: f32,
}

impl Kernel for Apply<'_> {
    // Plain loops: compiled with the vectors that were found, the compiler fills them by itself.
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Self { step: Step { rule, decay, .. }, state, gradient, scale } = self;
        let State { weights, first, second, decays } = state;
        let numbers = weights.iter_mut().zip(first).zip(second).zip(decays).zip(gradient);
        match rule {
            Rule::AdamW { beta_1, beta_2, rate, second_share, epsilon } => {
                for ((((w, m), v), decays), g) in numbers {
                    let g = g * scale;
                    *m = *m * beta_1 + g * (1.0 - beta_1);
                    *v = *v * beta_2 + g * g * (1.0 - beta_2);
                    *w = *w - *w * decays * decay - *m * rate / ((*v * second_share).sqrt() + epsilon);
                }
            }
            Rule::Sgd { momentum, rate } => {
                for ((((w, m), _), decays), g) in numbers {
                    let g = g * scale;
                    *m = *m * momentum + g;
                    *w = *w - *w * decays * decay - (g + *m * momentum) * rate;
                }
            }
        }
    }
}
