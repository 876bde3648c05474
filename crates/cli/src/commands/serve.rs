//! `kindling serve`.

use crate::failure::{Exit, Failure};
use crate::place::PlaceArgs;
use crate::{output, running};
use kindling_engine::{Analyst, Service, WorkerFleet, run_scheduler};
use kindling_server::{Config, run_webhooks, serve_with};
use kindling_store::Place;
use serde_json::json;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Runs the service until SIGINT or SIGTERM. Training runs in worker processes that it starts.
#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Address and port to listen at; port 0 takes a free one. Without keys anyone who reaches it may use the service, so
    /// that another than this machine's own is only taken once there is a key (`kindling keys create`).
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Listen at an address that others reach although there is no key.
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    place: PlaceArgs,
    /// Worker processes; by default one a core, or one a graphics card. 0 serves without training.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Let webhooks lead to this machine and its own network, and to http:// addresses.
    #[arg(long)]
    private_webhooks: bool,
    /// Print the address as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Also stop when standard input ends, so that a program that started the service takes it along.
    #[arg(long, hide = true)]
    stop_with_input: bool,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // Reading an archive decodes pictures on all cores; requests are answered meanwhile.
        rayon::ThreadPoolBuilder::new()
            .start_handler(|_| running::yield_to_others())
            .build_global()
            .map_err(|e| Failure::new(Exit::Failed, format!("threads cannot be started: {e}")))?;
        let runtime = running::runtime()?;
        let served = runtime.block_on(self.serve());
        // What still blocks a thread (an upload being read) must not hold the end up.
        runtime.shutdown_background();
        served
    }

    async fn serve(self) -> Result<(), Failure> {
        let (workers, threads) = running::workers(self.workers, &self.device)?;
        let place = self.place.place();
        let _lock = lock(&place.data_dir)?;
        let stop = running::signals()?;
        if self.stop_with_input {
            running::stop_at_end_of_input(stop.clone());
        }
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            Failure::new(Exit::Unavailable, format!("cannot listen: {error}"))
                .at(self.listen.to_string())
                .mend("choose another --listen address; port 0 takes a free one")
        })?;
        let address =
            listener.local_addr().map_err(|e| Failure::new(Exit::Failed, format!("no local address: {e}")))?;
        let service = Service::open(&place, kindling_data::Limits::default()).await?;
        if !address.ip().is_loopback() && !service.has_keys().await? {
            if !self.insecure {
                return Err(open_to_all(address));
            }
            tracing::warn!(%address, "there is no key: whoever reaches this address may use the service");
        }

        // Workers stop before the scheduler, which may have to record what they hand back.
        let (stop_scheduler, stop_workers) = (CancellationToken::new(), stop.child_token());
        let scheduler = tokio::spawn(run_scheduler(service.clone(), stop_scheduler.clone()));
        let fleet = WorkerFleet::new(service.clone(), running::program()?, &self.device, workers, threads);
        let analyst = Analyst::new(service.clone(), running::program()?, &self.device);
        // Without workers nothing is trained here, analyses neither.
        let analyst = (workers > 0).then(|| tokio::spawn(analyst.run(stop_workers.clone())));
        let fleet = tokio::spawn(fleet.run(stop_workers));

        let webhooks = run_webhooks(service.clone(), self.private_webhooks, stop.child_token());
        let webhooks = tokio::spawn(webhooks);

        let url = format!("http://{address}");
        if self.json {
            output::say(&json!({"address": url, "pid": std::process::id(), "workers": workers}).to_string());
        } else {
            output::say(&format!("Kindling is at {url}\nData in {}, {workers} workers", where_of(&place)));
        }
        let told = stop.clone();
        let config = Config { private_webhooks: self.private_webhooks, ..Config::default() };
        let served = serve_with(listener, service, config, async move { told.cancelled().await }).await;
        stop.cancel();
        let _ = webhooks.await;
        let _ = fleet.await;
        if let Some(analyst) = analyst {
            let _ = analyst.await;
        }
        stop_scheduler.cancel();
        let _ = scheduler.await;
        served.map_err(|error| Failure::new(Exit::Failed, format!("the service failed: {error}")))
    }
}

fn open_to_all(address: SocketAddr) -> Failure {
    Failure::new(Exit::Usage, "others may reach this address, and there is no key: anyone could use the service")
        .at(address.to_string())
        .mend(
            "make a key first (`kindling keys create --name … --scope write`), listen at 127.0.0.1, or say --insecure if \
             what stands before the service lets in only those who may",
        )
}

/// Where data is, in words; addresses may hold passwords.
fn where_of(place: &Place) -> String {
    match (&place.database, &place.artifacts) {
        (None, None) => place.data_dir.display().to_string(),
        (Some(_), None) => format!("PostgreSQL and {}", place.data_dir.display()),
        (None, Some(artifacts)) => format!("{} and {artifacts}", place.data_dir.display()),
        (Some(_), Some(artifacts)) => format!("PostgreSQL and {artifacts}"),
    }
}

/// Holds the data directory for this process; the system lets go when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    std::fs::create_dir_all(data_dir).map_err(Failure::io(data_dir, "the data directory cannot be made"))?;
    let path = data_dir.join("serve.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Failure::io(&path, "the lock file cannot be opened"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(Exit::Unavailable, "another service uses this data directory")
                .at(data_dir.display().to_string())
                .mend("stop the other one, or choose another --data-dir"))
        }
        Err(TryLockError::Error(error)) => Err(Failure::io(&path, "the data directory cannot be locked")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert_eq!(lock(dir.path()).unwrap_err().exit, Exit::Unavailable);
        drop(held);
        lock(dir.path()).unwrap();
    }
}
