//! Keeps worker processes alive.
//!
//! Training runs in processes of its own, so that one out of memory or a lost GPU takes a trial with
//! it and not the service.

use kindling_store::Place;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{EngineError, Service, clock::now_ms, machine, scheduler::MAX_DEATHS};

/// What memory is counted in on command lines.
pub const MEGABYTE: u64 = 1_000_000;
/// A worker that lived less long than this is started again only after a pause.
const TOO_SHORT: Duration = Duration::from_secs(5);
/// How long a worker may take to hand its trial back when the service stops.
const FAREWELL: Duration = Duration::from_secs(10);

/// The workers of one machine on one device.
#[derive(Debug, Clone)]
pub struct Crew {
    /// The device that all train on.
    pub device: String,
    /// How many.
    pub workers: usize,
    /// The threads of each.
    pub threads_each: usize,
    /// Bytes of memory that each may hold, where that is known: a trial that needs more goes to a worker that has more.
    pub memory_each: Option<u64>,
}

impl Crew {
    /// So many workers as are asked for, each of which may hold so much.
    ///
    /// A small network's step does not fill two cores, so by default there is on a CPU one worker of one thread for each
    /// core, all with equal shares of the machine's memory; a GPU has one worker, of whose memory nothing is known.
    pub fn new(device: &str, workers: Option<usize>, memory_each: Option<u64>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let is_cpu = matches!(device, "auto" | "flex" | "ndarray");
        let workers = workers.unwrap_or(if is_cpu { cores } else { 1 });
        let share = || machine::memory_bytes().filter(|_| is_cpu).map(|bytes| bytes / workers.max(1) as u64);
        Self {
            device: device.to_owned(),
            workers,
            threads_each: (cores / workers.max(1)).max(1),
            memory_each: memory_each.or_else(share),
        }
    }
}

/// How a child is told where everything is kept: the directory, as an argument.
pub(crate) fn place_arguments(place: &Place) -> [OsString; 2] {
    ["--data-dir".into(), place.data_dir.clone().into()]
}

/// And what may hold a password, which everyone on the machine could read in a list of processes, by the environment.
pub(crate) fn place_variables(place: &Place) -> impl Iterator<Item = (&'static str, String)> {
    let variables = [("KINDLING_DATABASE", &place.database), ("KINDLING_ARTIFACTS", &place.artifacts)];
    variables.map(|(name, value)| Some((name, value.clone()?))).into_iter().flatten()
}

/// Keeps a crew at work.
pub struct WorkerFleet {
    service: Service,
    program: PathBuf,
    crew: Crew,
}

impl WorkerFleet {
    /// `program` is started as `PROGRAM worker --data-dir … --device … --name …`. It must end when its
    /// standard input does, so that no worker outlives a killed service.
    pub fn new(service: Service, program: PathBuf, crew: Crew) -> Self {
        Self { service, program, crew }
    }

    /// Keeps the workers alive until told to stop; then lets each hand its trial back.
    pub async fn run(self, shutdown: CancellationToken) {
        let slots = (0..self.crew.workers).map(|slot| self.keep(slot, shutdown.clone()));
        futures::future::join_all(slots).await;
    }

    async fn keep(&self, slot: usize, shutdown: CancellationToken) {
        let mut generation = 0u32;
        // Another machine may have a process of this number.
        let id = kindling_spec::UploadId::new();
        let run = &id.as_str()[id.as_str().len() - 6..];
        while !shutdown.is_cancelled() {
            generation += 1;
            // Names are never used twice: leases are by name.
            let name = format!("w{slot}-{}-{run}-{generation}", std::process::id());
            let started = Instant::now();
            match self.spawn(&name) {
                Ok(mut child) => {
                    let status = self.attend(&mut child, &shutdown).await;
                    self.bury(&name, status).await;
                }
                Err(error) => tracing::error!(%error, "a worker cannot be started; trying again in a second"),
            }
            if started.elapsed() < TOO_SHORT {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        }
    }

    fn spawn(&self, name: &str) -> Result<Child, EngineError> {
        Command::new(&self.program)
            .arg("worker")
            .args(place_arguments(self.service.place()))
            .envs(place_variables(self.service.place()))
            .args(["--device", &self.crew.device, "--name", name])
            .args(self.crew.memory_each.map(|bytes| format!("--memory={}", bytes.div_ceil(MEGABYTE))))
            .env("RAYON_NUM_THREADS", self.crew.threads_each.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(EngineError::io(&self.program))
    }

    /// Waits for the worker's end. To stop, its standard input is closed: it finishes the batch and
    /// hands its trial back.
    async fn attend(&self, child: &mut Child, shutdown: &CancellationToken) -> Option<ExitStatus> {
        let input = child.stdin.take();
        tokio::select! {
            status = child.wait() => return status.ok(),
            () = shutdown.cancelled() => {}
        }
        drop(input);
        match tokio::time::timeout(FAREWELL, child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                tracing::warn!("a worker did not stop in time and is killed");
                if let Err(error) = child.kill().await {
                    tracing::warn!(%error, "it could not be killed");
                }
                None
            }
        }
    }

    /// Gives a dead worker's trial to the others at once.
    async fn bury(&self, name: &str, status: Option<ExitStatus>) {
        let store = self.service.store();
        match store.meta.reap_worker(name, now_ms(), MAX_DEATHS).await {
            Ok(reaped) => {
                for r in reaped {
                    let status = status.map_or_else(|| "killed".to_owned(), |s| s.to_string());
                    tracing::warn!(worker = name, trial = %r.trial, deaths = r.deaths, failed = r.failed, %status, "a worker died");
                }
            }
            Err(error) => tracing::error!(worker = name, %error, "its trial is given back when its lease ends"),
        }
        if let Err(error) = store.queue.worker_gone(name).await {
            tracing::warn!(worker = name, %error, "its job is handed out again when its lease ends");
        }
        if let Err(error) = store.meta.worker_gone(name).await {
            tracing::warn!(worker = name, %error, "its record stays");
        }
    }
}
