//! `kindling schema`.

use crate::{failure::Failure, output};

/// Prints the JSON Schema of task specifications.
#[derive(clap::Args)]
pub(crate) struct Schema {
    /// That of fleet specifications instead.
    #[arg(long)]
    fleet: bool,
}

impl Schema {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let schema =
            if self.fleet { kindling_spec::FleetSpec::json_schema() } else { kindling_spec::TaskSpec::json_schema() };
        output::say_json(&schema)
    }
}
