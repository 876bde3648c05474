//! `kindling worker`: the workers of one machine, and each of them.

use crate::failure::Failure;
use crate::place::PlaceArgs;
use crate::running::CrewArgs;
use crate::{output, running};
use kindling_engine::{Analyst, Service, WorkerFleet, WorkerOptions, run_worker};
use std::time::Duration;

/// How long a worker whose parent is gone may take to hand its trial back.
const FAREWELL: Duration = Duration::from_secs(8);

/// Trains for services that use the same database and object store, until SIGINT or SIGTERM.
#[derive(clap::Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    crew: CrewArgs,
    /// Also stop when standard input ends, so that a program that started it takes it along.
    #[arg(long, hide = true)]
    stop_with_input: bool,
    /// Be one worker of this name, which no other has or had, until standard input ends. This is how workers are started.
    #[arg(long, hide = true)]
    name: Option<String>,
}

impl Worker {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if self.name.is_some() {
            running::yield_to_others();
        }
        let runtime = running::runtime()?;
        let worked = runtime.block_on(async {
            match self.name.clone() {
                Some(name) => self.one(name).await,
                None => self.fleet().await,
            }
        });
        runtime.shutdown_background();
        worked
    }

    async fn one(self, name: String) -> Result<(), Failure> {
        let stop = running::signals()?;
        running::stop_at_end_of_input(stop.clone());
        let late = stop.clone();
        tokio::spawn(async move {
            late.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
            tracing::warn!("the trial could not be handed back in time");
            std::process::exit(1);
        });
        let memory_bytes = self.crew.memory_bytes();
        let options = WorkerOptions { place: self.place.place(), name, device: self.crew.device, memory_bytes };
        run_worker(options, stop).await.map_err(Failure::from)
    }

    async fn fleet(self) -> Result<(), Failure> {
        let crew = self.crew.crew()?;
        let stop = running::signals()?;
        if self.stop_with_input {
            running::stop_at_end_of_input(stop.clone());
        }
        let service = Service::attach(&self.place.place(), kindling_data::Limits::default()).await?;
        output::say(&format!("{} workers on {}", crew.workers, crew.device));
        // Analyses train too: one of those that train has the duty.
        let analyst = Analyst::new(service.clone(), running::program()?, &crew.device);
        let fleet = WorkerFleet::new(service, running::program()?, crew);
        tokio::join!(fleet.run(stop.clone()), analyst.run(stop));
        Ok(())
    }
}
