//! `kindling analyse`: started by `serve`, one process an analysis.

use crate::failure::Failure;
use crate::place::PlaceArgs;
use crate::running;
use kindling_engine::run_analysis;
use kindling_spec::AnalysisId;
use std::time::Duration;

/// How long a process whose parent is gone may take to end.
const FAREWELL: Duration = Duration::from_secs(8);

/// Runs one analysis; ends when its standard input does.
#[derive(clap::Args)]
pub(crate) struct Analyse {
    #[command(flatten)]
    place: PlaceArgs,
    /// The device to train on.
    #[arg(long, default_value = "auto")]
    device: String,
    /// The analysis' id.
    #[arg(long)]
    id: AnalysisId,
}

impl Analyse {
    pub(crate) fn run(self) -> Result<(), Failure> {
        running::yield_to_others();
        let runtime = running::runtime()?;
        let worked = runtime.block_on(async {
            let stop = running::signals()?;
            running::stop_at_end_of_input(stop.clone());
            let late = stop.clone();
            tokio::spawn(async move {
                late.cancelled().await;
                tokio::time::sleep(FAREWELL).await;
                std::process::exit(1);
            });
            run_analysis(&self.place.place(), &self.id, &self.device, stop).await.map_err(Failure::from)
        });
        runtime.shutdown_background();
        worked
    }
}
