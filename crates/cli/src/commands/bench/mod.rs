//! `kindling bench`.

mod real;
mod throughput;

use crate::failure::Failure;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Train on data sets of your own and print how good, small and fast the models get.
    Real(real::Real),
    /// Measure how many images a second each family trains on a device.
    Throughput(throughput::Throughput),
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Real(real) => real.run(),
            Self::Throughput(throughput) => throughput.run(),
        }
    }
}
