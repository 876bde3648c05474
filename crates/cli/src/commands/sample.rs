//! `kindling sample`.

use crate::failure::{Exit, Failure};
use crate::output;
use std::path::{Path, PathBuf};

/// Writes a built-in sample data set: one folder a class, or one a split and class.
#[derive(clap::Args)]
pub(crate) struct Sample {
    /// Which one.
    #[arg(value_enum)]
    name: Name,
    /// Where to; made if need be, must be empty.
    dir: PathBuf,
    /// Pictures of each class; of soap boxes so many good ones to train on, and a quarter as many of everything else.
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_class: u32,
    /// Width and height in pixels.
    #[arg(long, default_value_t = 64, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(16..=1024))]
    size: u32,
    /// The same seed draws the same pictures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The sample data sets.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// Drawn scenes with fire, with smoke, or with neither.
    FireSmoke,
    /// Soap boxes on a conveyor: good ones, and for the test empty, open and torn ones with masks.
    SoapBoxes,
}

impl Sample {
    pub(crate) fn run(self) -> Result<(), Failure> {
        refuse_full(&self.dir)?;
        let (each, size, seed) = (self.per_class as usize, self.size, self.seed);
        let pictures = match self.name {
            Name::FireSmoke => {
                kindling_data::sample::fire_smoke(&self.dir, each, size, seed)?;
                3 * each
            }
            Name::SoapBoxes => kindling_data::sample::soap_boxes(&self.dir, each, size, seed)?,
        };
        output::say(&format!("{pictures} pictures in {}", self.dir.display()));
        Ok(())
    }
}

/// Nothing of a person's is written over or mixed up.
pub(crate) fn refuse_full(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Failure::new(Exit::Refused, "this folder is not empty")
            .at(dir.display().to_string())
            .mend("choose another, or delete it first")),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(dir, "the folder cannot be used")(error)),
    }
}
