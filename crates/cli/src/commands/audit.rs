//! `kindling audit`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use kindling_data::{Limits, Listed, Manifest, ingest};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Reads a data set as an upload would be read, and says what is in it and what is wrong with it.
#[derive(clap::Args)]
pub(crate) struct Audit {
    /// A folder with one folder a class, or a zip, tar or tar.gz of one.
    source: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
        let manifest = read(&self.source, &scratch.path().join("dataset"))?;
        if self.json {
            return output::say_json(&json!({
                "hash": manifest.hash,
                "classes": manifest.classes,
                "examples": manifest.examples.len(),
                "audit": manifest.audit,
            }));
        }
        output::say(&report(&manifest));
        Ok(())
    }
}

/// Ingests with a progress bar.
pub(crate) fn read(source: &std::path::Path, out: &std::path::Path) -> Result<Manifest, Failure> {
    let meter = Mutex::new(None::<(kindling_data::Stage, Meter)>);
    let progress = |p: kindling_data::Progress| {
        let mut slot = meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if slot.as_ref().is_none_or(|(stage, _)| *stage != p.stage) {
            let label = format!("{:?}", p.stage).to_lowercase();
            *slot = None;
            *slot = Some((p.stage, Meter::new(&label, p.total as u64, Unit::Items)));
        }
        if let Some((_, meter)) = slot.as_ref() {
            meter.total(p.total as u64);
            meter.set(p.done as u64);
        }
    };
    let manifest = ingest(source, out, &Limits::default(), &progress, &AtomicBool::new(false));
    manifest.map_err(|error| Failure::from(error).at(source.display().to_string()))
}

fn report(manifest: &Manifest) -> String {
    let audit = &manifest.audit;
    let rows: Vec<Vec<String>> = audit
        .class_counts
        .iter()
        .map(|c| {
            let numbers = [c.train, c.validation, c.test, c.train + c.validation + c.test];
            [c.class.clone()].into_iter().chain(numbers.iter().map(usize::to_string)).collect()
        })
        .collect();
    let [w, h] = [audit.sizes.width, audit.sizes.height];
    let mut lines = vec![
        output::table(&["class", "train", "validation", "test", "all"], &rows),
        String::new(),
        format!("content     sha256 {}", manifest.hash),
        format!("width       {} to {}, median {}", w[0], w[2], w[1]),
        format!("height      {} to {}, median {}", h[0], h[2], h[1]),
    ];
    lines.push(found("broken", &audit.broken, |b| format!("{}: {}", b.path, b.reason)));
    lines.push(found("copies", &audit.exact_duplicates, |g| g.join(" = ")));
    lines.push(found("look-alikes", &audit.near_duplicates, |g| g.join(" ~ ")));
    lines.push(found("conflicts", &audit.label_conflicts, |c| {
        let files: Vec<_> = c.files.iter().map(|f| format!("{} ({})", f.path, f.class)).collect();
        files.join(if c.exact { " = " } else { " ~ " })
    }));
    lines.extend(audit.warnings.iter().map(|w| format!("warning     {w}")));
    lines.join("\n")
}

/// A number, and the first few.
fn found<T>(name: &str, list: &Listed<T>, show: impl Fn(&T) -> String) -> String {
    let mut text = format!("{name:<12}{}", list.total);
    for item in list.items.iter().take(5) {
        text += &format!("\n            {}", show(item));
    }
    if list.total > 5 {
        text += &format!("\n            and {} more; --json lists them", list.total - list.items.len().min(5));
    }
    text
}
