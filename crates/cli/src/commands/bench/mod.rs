//! `kindling bench`.

mod export;
mod portfolio;
mod real;
mod record;
mod search;
mod train;
mod unknown;

use crate::failure::Failure;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Time the files that models are downloaded as, beside onnxruntime.
    Export(export::Export),
    /// Choose the genomes that searches under tight limits begin with, from what `bench record` wrote.
    Portfolio(portfolio::Portfolio),
    /// Train on data sets of your own and print how good, small and fast the models get.
    Real(real::Real),
    /// Train many genomes and write what each reached, for `bench search` to replay.
    Record(record::Record),
    /// Search computed objectives over many seeds and print how far from the optimum each search ends.
    Search(search::Search),
    /// Measure how many images a second reference networks train on a device.
    Train(train::Train),
    /// Hold each class out in turn and measure how well models tell that they do not know it.
    Unknown(unknown::Unknown),
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Export(export) => export.run(),
            Self::Portfolio(portfolio) => portfolio.run(),
            Self::Real(real) => real.run(),
            Self::Record(record) => record.run(),
            Self::Search(search) => search.run(),
            Self::Train(train) => train.run(),
            Self::Unknown(unknown) => unknown.run(),
        }
    }
}
