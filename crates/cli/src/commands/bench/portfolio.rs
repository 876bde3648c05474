//! `kindling bench portfolio`.

use crate::failure::Failure;
use crate::output;
use std::path::PathBuf;

/// Prints the genomes to begin searches with, as the JSON of `crates/engine/portfolio.json`.
#[derive(clap::Args)]
pub(crate) struct Portfolio {
    /// The table that `kindling bench record` wrote.
    table: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 3, value_name = "N")]
    count: usize,
}

impl Portfolio {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let table = super::search::read(&self.table)?;
        let sets: Vec<usize> = (0..table.sets.len()).collect();
        let mut genomes = table.portfolio(&sets, self.count);
        genomes.iter_mut().for_each(|genome| genome.params.extend(table.shared.clone()));
        output::say_json(&genomes)
    }
}
