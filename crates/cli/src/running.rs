//! Runtime, signals, and the end of a parent.

use crate::failure::{Exit, Failure};
use kindling_engine::{Crew, MEGABYTE};
use std::io::Read;
use tokio_util::sync::CancellationToken;

/// The runtime of a command that needs one.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("the runtime cannot be started: {e}")))
}

/// Cancelled at the first SIGINT or SIGTERM; the second ends the process at once.
pub(crate) fn signals() -> Result<CancellationToken, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, format!("signals cannot be watched: {e}"));
    let token = CancellationToken::new();
    let stop = token.clone();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.is_cancelled() {
                    std::process::exit(i32::from(Exit::Interrupted as u8));
                }
                stop.cancel();
            }
        });
    }
    #[cfg(not(unix))]
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if stop.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            stop.cancel();
        }
    });
    #[cfg(not(unix))]
    let _ = failed;
    Ok(token)
}

/// Cancels when standard input ends: the parent holds the other end and is gone, or asks to stop.
/// This works wherever there are pipes, also when the parent was killed.
pub(crate) fn stop_at_end_of_input(token: CancellationToken) {
    std::thread::spawn(move || {
        let mut waste = [0; 256];
        let mut input = std::io::stdin().lock();
        loop {
            match input.read(&mut waste) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        token.cancel();
    });
}

/// This program's own path, to start children with.
pub(crate) fn program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|e| Failure::new(Exit::Failed, format!("this program's own path is not known: {e}")))
}

/// The device of a name given on the command line.
pub(crate) fn open_device(name: &str) -> Result<kindling_train::OpenDevice, Failure> {
    kindling_train::open_device(name)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).mend("`kindling devices` lists them"))
}

/// The workers of this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct CrewArgs {
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub(crate) device: String,
    /// Worker processes; by default one a core, or one a graphics card. With 0, `serve` trains nothing.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory that each worker may take, in MB; on a processor by default an equal share of what the machine or its container
    /// has. A trial that needs more goes to a worker that has more, where there is one.
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    memory: Option<u64>,
}

impl CrewArgs {
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory.map(|megabytes| megabytes * MEGABYTE)
    }

    pub(crate) fn crew(&self) -> Result<Crew, Failure> {
        crew(&self.device, self.workers, self.memory_bytes())
    }
}

/// A crew. A device that is not there is said at once: workers would only end one after another.
pub(crate) fn crew(device: &str, workers: Option<usize>, memory_each: Option<u64>) -> Result<Crew, Failure> {
    open_device(device)?;
    Ok(Crew::new(device, workers, memory_each))
}

/// Lets others on this machine go first, for what computes long: a service answers at once though its workers train.
/// Threads that this one starts do the same.
#[cfg_attr(unix, expect(unsafe_code, reason = "the standard library cannot set a priority"))]
pub(crate) fn yield_to_others() {
    #[cfg(unix)]
    // SAFETY: changes this thread's priority and touches no memory.
    unsafe {
        libc::nice(10);
    }
}
