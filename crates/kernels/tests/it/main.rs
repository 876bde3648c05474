//! The kernels against plain loops in 64 bits: answers, statistics and gradients, over random networks.

#![allow(clippy::unwrap_used)]

mod gradients;
mod naive;
mod networks;
