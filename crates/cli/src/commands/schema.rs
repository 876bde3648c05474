//! `kindling schema`.

use crate::{failure::Failure, output};

/// Prints the JSON Schema of task specifications.
#[derive(clap::Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self) -> Result<(), Failure> {
        output::say_json(&kindling_spec::TaskSpec::json_schema())
    }
}
