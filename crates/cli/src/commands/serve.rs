//! `kindling serve`.

use crate::failure::{Exit, Failure};
use crate::place::PlaceArgs;
use crate::running::CrewArgs;
use crate::{output, running};
use kindling_engine::{Analyst, Retention, Service, WorkerFleet, run_scheduler, run_sweeper};
use kindling_server::{Config, run_webhooks, serve_with};
use kindling_store::Place;
use serde_json::json;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
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
    #[command(flatten)]
    crew: CrewArgs,
    /// Seconds to go on answering when told to stop, /readyz at 503, so that what stands before several servers sends
    /// requests elsewhere.
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(..=300))]
    drain: u16,
    /// Let webhooks lead to this machine and its own network, and to http:// addresses.
    #[arg(long)]
    private_webhooks: bool,
    /// Days that checkpoints (of trials without a model) and events are kept after their study's end, or `forever`. Tasks,
    /// trials' results, models and data sets stay until a person deletes them.
    #[arg(long, default_value = "30", value_name = "DAYS", value_parser = days)]
    keep_trials: Kept,
    /// Days until an upload in parts that nobody completed is dropped, or `forever`.
    #[arg(long, default_value = "7", value_name = "DAYS", value_parser = days)]
    keep_uploads: Kept,
    /// Days that it is kept what became of a message to a webhook, or `forever`.
    #[arg(long, default_value = "30", value_name = "DAYS", value_parser = days)]
    keep_deliveries: Kept,
    /// Print the address as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Also stop when standard input ends, so that a program that started the service takes it along.
    #[arg(long, hide = true)]
    stop_with_input: bool,
}

/// How long something is kept; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept(Option<Duration>);

fn days(text: &str) -> Result<Kept, String> {
    if text == "forever" {
        return Ok(Kept(None));
    }
    let days = text.parse::<f64>().ok().filter(|days| (1e-3..=36_500.0).contains(days));
    let kept = days.map(|days| Kept(Some(Duration::from_secs_f64(days * 86_400.0))));
    kept.ok_or_else(|| "write a number of days, such as 30 (0.001 to 36500), or `forever`".to_owned())
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
        let crew = self.crew.crew()?;
        let workers = crew.workers;
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
        let fleet = WorkerFleet::new(service.clone(), running::program()?, crew);
        let analyst = Analyst::new(service.clone(), running::program()?, &self.crew.device);
        // Without workers nothing is trained here, analyses neither.
        let analyst = (workers > 0).then(|| tokio::spawn(analyst.run(stop_workers.clone())));
        let fleet = tokio::spawn(fleet.run(stop_workers));

        let retention =
            Retention { trials: self.keep_trials.0, uploads: self.keep_uploads.0, deliveries: self.keep_deliveries.0 };
        let sweeper = tokio::spawn(run_sweeper(service.clone(), retention, stop.child_token()));

        let webhooks = run_webhooks(service.clone(), self.private_webhooks, stop.child_token());
        let webhooks = tokio::spawn(webhooks);

        let url = format!("http://{address}");
        if self.json {
            output::say(&json!({"address": url, "pid": std::process::id(), "workers": workers}).to_string());
        } else {
            output::say(&format!("Kindling is at {url}\nData in {}, {workers} workers", where_of(&place)));
        }
        let told = stop.clone();
        let config = Config {
            private_webhooks: self.private_webhooks,
            drain: Duration::from_secs(self.drain.into()),
            ..Config::default()
        };
        let served = serve_with(listener, service, config, async move { told.cancelled().await }).await;
        stop.cancel();
        let _ = webhooks.await;
        let _ = sweeper.await;
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
    fn days_are_a_number_or_for_ever() {
        let seconds = |text: &str| days(text).map(|kept| kept.0.map(|time| time.as_secs()));
        assert_eq!(
            [seconds("30"), seconds("0.5"), seconds("forever")],
            [Ok(Some(2_592_000)), Ok(Some(43_200)), Ok(None)]
        );
        for bad in ["", "0", "-1", "NaN", "inf", "1e9", "30d", "never"] {
            assert!(days(bad).is_err_and(|why| why.contains("forever")), "{bad}");
        }
    }

    #[test]
    fn a_data_directory_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert_eq!(lock(dir.path()).unwrap_err().exit, Exit::Unavailable);
        drop(held);
        lock(dir.path()).unwrap();
    }
}
