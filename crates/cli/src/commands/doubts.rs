//! `kindling doubts`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::{commands::audit, output, running};
use kindling_data::Dataset;
use kindling_engine::{DoubtOptions, DoubtReport, find_doubtful_labels};
use kindling_train::open_device;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lists the examples whose labels are probably wrong, the most doubtful first. Small networks are
/// trained, each on a part of the data, and asked about the rest (confident learning).
#[derive(clap::Args)]
pub(crate) struct Doubts {
    /// A folder with one folder a class, or a zip, tar or tar.gz of one.
    source: PathBuf,
    /// Parts held out in turn, 2 to 20.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=20))]
    folds: u32,
    /// Epochs of each network; by default as many as show 200,000 pictures in all, from 6 to 60.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    epochs: Option<u32>,
    /// Seeds folds and networks.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Doubtful labels shown; --json lists all.
    #[arg(long, default_value_t = 50, value_name = "N")]
    most: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doubts {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
        let sealed = scratch.path().join("dataset");
        audit::read(&self.source, &sealed)?;
        let dataset = Dataset::open(&sealed)?;
        let device = open_device(&self.device).map_err(kindling_engine::EngineError::from)?;
        let options = DoubtOptions { folds: Some(self.folds), epochs: self.epochs, seed: Some(self.seed) };
        let cancel = Arc::new(AtomicBool::new(false));
        let runtime = running::runtime()?;
        let stop = runtime.block_on(async { running::signals() })?;
        let asked = cancel.clone();
        runtime.spawn(async move {
            stop.cancelled().await;
            asked.store(true, Ordering::Relaxed);
        });
        let meter = Meter::new("cross-fitting", 1000, Unit::Items);
        let mut tell = |share: f64| meter.set((share * 1000.0) as u64);
        let found = find_doubtful_labels(&device, &dataset, &options, &mut tell, &cancel);
        drop(meter);
        if cancel.load(Ordering::Relaxed) {
            return Err(Failure::interrupted());
        }
        let report = found?;
        if self.json {
            return output::say_json(&report);
        }
        output::say(&self.table(&report));
        Ok(())
    }

    fn table(&self, report: &DoubtReport) -> String {
        let rows: Vec<Vec<String>> = report
            .doubts
            .iter()
            .take(self.most)
            .map(|d| {
                let likely = report.classes.iter().position(|class| *class == d.suggested);
                let sure = likely.and_then(|at| d.probabilities.get(at)).copied().unwrap_or(0.0);
                let figures = [format!("{:.3}", d.score), output::percent(f64::from(sure))];
                [d.path.clone(), d.given.clone(), d.suggested.clone()].into_iter().chain(figures).collect()
            })
            .collect();
        let mut text = output::table(&["picture", "label", "probably", "doubt", "sure"], &rows);
        if report.doubts.len() > rows.len() {
            text += &format!("\nand {} more; --json lists all", report.doubts.len() - rows.len());
        }
        text + &format!(
            "\n\n{} of {} labels are doubtful. The confident joint makes it {:.0} wrong ones, the networks' own mistakes \
             among them. Networks that did not see a picture gave its label for {} of them ({} folds, {} epochs, {:.0} s).",
            report.doubts.len(),
            report.examples,
            report.estimated,
            output::percent(report.agreement),
            report.folds,
            report.epochs,
            report.seconds
        )
    }
}
