//! Where everything is kept, as said on the command line.

use crate::failure::Failure;
use clap::Args;
use kindling_data::Limits;
use kindling_engine::Service;
use kindling_store::Place;
use std::path::PathBuf;

/// A data directory, or a database and an object store that several machines share.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArgs {
    /// Where everything is kept; with --database and --artifacts only what is this machine's own.
    #[arg(long, default_value = "./kindling-data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// A PostgreSQL database for records and queue: postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, env = "KINDLING_DATABASE", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// An object store for files: s3://BUCKET/PREFIX (region, endpoint and credentials as AWS_… variables) or file:///DIR.
    #[arg(long, env = "KINDLING_ARTIFACTS", value_name = "URL")]
    pub(crate) artifacts: Option<String>,
}

impl PlaceArgs {
    /// The place meant.
    pub(crate) fn place(&self) -> Place {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Place { data_dir: self.data_dir.clone(), database: given(&self.database), artifacts: given(&self.artifacts) }
    }

    /// Opens it beside a running service.
    pub(crate) async fn attach(&self) -> Result<Service, Failure> {
        Ok(Service::attach(self.place(), Limits::default()).await?)
    }
}
