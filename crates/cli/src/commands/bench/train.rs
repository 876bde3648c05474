//! `kindling bench train`.

use crate::failure::{Exit, Failure};
use crate::output;
use kindling_models::reference::{REFERENCES, Reference};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Trains reference networks for a few steps and prints images a second and peak memory.
///
/// Each figure is the median of several runs, each a process of its own. With `--torch` the same
/// networks are trained by `benches/train_torch.py` in between, run by run.
#[derive(clap::Args)]
pub(crate) struct Train {
    /// A device; may be given several times. `kindling devices` lists them.
    #[arg(long = "device", default_value = "flex", value_name = "NAME")]
    devices: Vec<String>,
    /// A network; may be given several times. All of them by default.
    #[arg(long = "network", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(REFERENCES.iter().map(|r| r.name)))]
    networks: Vec<String>,
    /// Threads on a processor.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Images a step.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Steps that count, after one that does not.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    steps: u16,
    /// Runs of each.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    runs: u16,
    /// So many trials of each network trained as one; the images of all are counted.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    joined: u16,
    /// A Python with torch, to run benches/train_torch.py with.
    #[arg(long, value_name = "PYTHON")]
    torch: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Measure in this process, once, and print one row.
    #[arg(long, hide = true)]
    here: bool,
}

/// What PyTorch is asked to do.
const TORCH: &str = include_str!("../../../../../benches/train_torch.py");

/// One run's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    network: String,
    device: String,
    threads: u16,
    images_per_s: f64,
    peak_rss_bytes: Option<u64>,
    /// What [`kindling_train::training_bytes`] says.
    #[serde(default)]
    estimated_bytes: Option<u64>,
}

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, what.to_string())
}

impl Train {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let chosen = |r: &&Reference| self.networks.is_empty() || self.networks.iter().any(|name| name == r.name);
        let networks: Vec<&Reference> = REFERENCES.iter().filter(chosen).collect();
        if self.here {
            let (Some(network), Some(device)) = (networks.first(), self.devices.first()) else { return Ok(()) };
            return output::say_json(&self.measure(network, device)?);
        }
        let mut rows = Vec::new();
        for network in networks {
            let mut makers: Vec<Vec<Row>> = vec![Vec::new(); self.devices.len() + usize::from(self.torch.is_some())];
            for _ in 0..self.runs {
                for (maker, runs) in makers.iter_mut().enumerate() {
                    runs.push(self.elsewhere(network, self.devices.get(maker))?);
                }
            }
            rows.extend(makers.into_iter().filter_map(median));
        }
        if self.json {
            return output::say_json(&json!({ "rows": rows }));
        }
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                vec![
                    row.network.clone(),
                    row.device.clone(),
                    row.threads.to_string(),
                    format!("{:.0}", row.images_per_s),
                    megabytes(row.peak_rss_bytes),
                    megabytes(row.estimated_bytes),
                ]
            })
            .collect();
        output::say(&output::table(&["network", "device", "threads", "images/s", "peak MB", "estimated MB"], &cells));
        Ok(())
    }

    fn measure(&self, network: &Reference, device: &str) -> Result<Row, Failure> {
        let device = crate::running::open_device(device)?;
        let graph = network.graph().map_err(failed)?;
        let (batch, steps) = (self.batch.into(), self.steps.into());
        let images_per_s = match self.joined {
            1 => kindling_train::measure(&device, &graph, batch, steps),
            trials => kindling_train::measure_joined(&device, &graph, batch, steps, trials.into()),
        }
        .map_err(failed)?;
        let (network, threads) = (network.name.to_owned(), self.threads);
        let estimated_bytes = Some(kindling_train::training_bytes(&graph, batch).map_err(failed)?);
        Ok(Row { network, device: device.name, threads, images_per_s, peak_rss_bytes: peak_memory(), estimated_bytes })
    }

    /// One run in a process of its own; without a device, in PyTorch.
    fn elsewhere(&self, network: &Reference, device: Option<&String>) -> Result<Row, Failure> {
        let (threads, batch, steps) = (self.threads, self.batch, self.steps);
        let mut command = match (device, &self.torch) {
            (None, Some(python)) => {
                let mut command = Command::new(python);
                command.args(["-c", TORCH]);
                command
            }
            _ => {
                let mut command = Command::new(std::env::current_exe().map_err(failed)?);
                command.args(["bench", "train", "--here", "--device", device.map_or("flex", String::as_str)]);
                command.args(["--joined", &self.joined.to_string()]);
                command
            }
        };
        command.args(["--network", network.name]);
        for (option, value) in [("--threads", threads), ("--batch", batch), ("--steps", steps)] {
            command.args([option, &value.to_string()]);
        }
        command.env("RAYON_NUM_THREADS", threads.to_string());
        let made = command.stderr(Stdio::inherit()).output().map_err(failed)?;
        if !made.status.success() {
            return Err(failed(format!("measuring `{}` ended with {}", network.name, made.status)));
        }
        serde_json::from_slice(&made.stdout)
            .map_err(|e| failed(format!("measuring `{}` printed no row: {e}", network.name)))
    }
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or("?".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6))
}

/// The run of median speed, with the median of the memory.
fn median(mut runs: Vec<Row>) -> Option<Row> {
    let mut memory: Vec<_> = runs.iter().map(|row| row.peak_rss_bytes).collect();
    memory.sort_unstable();
    runs.sort_by(|a, b| a.images_per_s.total_cmp(&b.images_per_s));
    let middle = runs.len() / 2;
    let row = runs.into_iter().nth(middle)?;
    Some(Row { peak_rss_bytes: memory[middle], ..row })
}

/// The most memory this process has had, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
