//! `kindling backup` and `kindling restore`.

use crate::failure::{Exit, Failure};
use crate::place::PlaceArgs;
use crate::{output, running};
use std::path::PathBuf;

/// Writes everything of a data directory to one archive, as it is now; a service on it goes on.
#[derive(clap::Args)]
pub(crate) struct Backup {
    #[command(flatten)]
    place: PlaceArgs,
    /// The archive to write, a tar.
    out: PathBuf,
}

impl Backup {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let place = self.place.place();
        if place.database.is_some() || place.artifacts.is_some() {
            let what = "only a data directory is backed up by this";
            return Err(Failure::new(Exit::Usage, what).mend(
                "back the database up with pg_dump, then the bucket: files never change, so what the records name is there",
            ));
        }
        let done = running::runtime()?.block_on(kindling_store::back_up(&place.data_dir, &self.out));
        let bytes = done.map_err(|e| Failure::new(Exit::Failed, format!("no backup was made: {e}")))?;
        output::say(&format!("{} in {}", output::bytes(bytes), self.out.display()));
        Ok(())
    }
}

/// Unpacks a backup to a new data directory.
#[derive(clap::Args)]
pub(crate) struct Restore {
    /// The archive that `kindling backup` wrote.
    archive: PathBuf,
    /// The data directory to make.
    #[arg(long, default_value = "./kindling-data", value_name = "DIR")]
    data_dir: PathBuf,
}

impl Restore {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let done = running::runtime()?.block_on(kindling_store::restore(&self.archive, &self.data_dir));
        done.map_err(|e| Failure::new(Exit::Refused, format!("nothing was restored: {e}")))?;
        output::say(&format!("restored to {}; `kindling serve --data-dir` it", self.data_dir.display()));
        Ok(())
    }
}
