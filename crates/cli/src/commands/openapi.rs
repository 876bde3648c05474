//! `kindling openapi`.

use crate::{failure::Failure, output};

/// Prints the OpenAPI 3.1 document of the service.
#[derive(clap::Args)]
pub(crate) struct Openapi {}

impl Openapi {
    pub(crate) fn run(self) -> Result<(), Failure> {
        output::say_json(&kindling_server::openapi_document())
    }
}
