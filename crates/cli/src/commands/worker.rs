//! `kindling worker`: started by `serve`, one process a worker.

use crate::failure::Failure;
use crate::running;
use kindling_engine::{WorkerOptions, run_worker};
use std::path::PathBuf;
use std::time::Duration;

/// How long a worker whose parent is gone may take to hand its trial back.
const FAREWELL: Duration = Duration::from_secs(8);

/// Runs one worker until its standard input ends.
#[derive(clap::Args)]
pub(crate) struct Worker {
    /// The service's data directory.
    #[arg(long)]
    data_dir: PathBuf,
    /// The device to train on.
    #[arg(long, default_value = "auto")]
    device: String,
    /// A name that no other worker has or had.
    #[arg(long)]
    name: String,
}

impl Worker {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = running::runtime()?;
        let worked = runtime.block_on(async {
            let stop = running::signals()?;
            running::stop_at_end_of_input(stop.clone());
            let late = stop.clone();
            tokio::spawn(async move {
                late.cancelled().await;
                tokio::time::sleep(FAREWELL).await;
                tracing::warn!("the trial could not be handed back in time");
                std::process::exit(1);
            });
            let options = WorkerOptions { data_dir: self.data_dir, name: self.name, device: self.device };
            run_worker(options, stop).await.map_err(Failure::from)
        });
        runtime.shutdown_background();
        worked
    }
}
