//! `kindling audit`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use kindling_data::{BoxAudit, ClassCount, Labels, Limits, Listed, Manifest, OddBox, ingest_as};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Reads a data set as an upload would be read, and says what is in it and what is wrong with it.
#[derive(clap::Args)]
pub(crate) struct Audit {
    /// A folder with one folder a class, or a zip, tar or tar.gz of one.
    source: PathBuf,
    /// What the labels are: classes of whole pictures, or boxes (COCO, Pascal VOC, YOLO or a boxes.csv).
    #[arg(long, value_enum, default_value_t = Wanted::Classes)]
    labels: Wanted,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is wanted of the source.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Wanted {
    Classes,
    Boxes,
}

impl Audit {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
        let labels = match self.labels {
            Wanted::Classes => Labels::Classes,
            Wanted::Boxes => Labels::Boxes,
        };
        let manifest = read_as(labels, &self.source, &scratch.path().join("dataset"))?;
        if self.json {
            return output::say_json(&json!({
                "hash": manifest.hash,
                "labels": manifest.labels,
                "classes": manifest.classes,
                "examples": manifest.examples.len(),
                "audit": manifest.audit,
            }));
        }
        output::say(&report(&manifest));
        Ok(())
    }
}

/// Ingests pictures with classes, with a progress bar.
pub(crate) fn read(source: &Path, out: &Path) -> Result<Manifest, Failure> {
    read_as(Labels::Classes, source, out)
}

/// Ingests with a progress bar.
fn read_as(labels: Labels, source: &Path, out: &Path) -> Result<Manifest, Failure> {
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
    let manifest = ingest_as(labels, source, out, &Limits::default(), &progress, &AtomicBool::new(false));
    manifest.map_err(|error| Failure::from(error).at(source.display().to_string()))
}

fn report(manifest: &Manifest) -> String {
    let audit = &manifest.audit;
    let [w, h] = [audit.sizes.width, audit.sizes.height];
    let mut lines = vec![
        table("class", &audit.class_counts),
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
    lines.extend(audit.boxes.iter().map(boxes));
    lines.extend(audit.warnings.iter().map(|w| format!("warning     {w}")));
    lines.join("\n")
}

fn table(name: &str, counts: &[ClassCount]) -> String {
    let row = |c: &ClassCount| {
        let numbers = [c.train, c.validation, c.test, c.train + c.validation + c.test];
        [c.class.clone()].into_iter().chain(numbers.iter().map(usize::to_string)).collect()
    };
    let rows: Vec<Vec<String>> = counts.iter().map(row).collect();
    output::table(&[name, "train", "validation", "test", "all"], &rows)
}

/// What is to be known of boxes. The first table counted the pictures that show a class.
fn boxes(audit: &BoxAudit) -> String {
    let spread = |name: &str, [least, middle, most]: [f32; 3]| {
        format!("{name:<12}{least:.4} to {most:.4}, median {middle:.4} (share of the picture)")
    };
    let odd = |o: &OddBox| format!("{}: {}, {}, {:?}", o.path, o.class, o.place, o.given);
    let [train, validation, test] = audit.empty;
    let lines = [
        format!("\n{}\n", table("boxes of", &audit.counts)),
        spread("box width", audit.width),
        spread("box height", audit.height),
        spread("box area", audit.area),
        format!("most        {} boxes in one picture", audit.most),
        format!("empty       {train} train, {validation} validation, {test} test"),
        found("clipped", &audit.clipped, odd),
        found("no area", &audit.no_area, odd),
        found("crowds", &audit.crowds, odd),
        found("no picture", &audit.without_picture, |b| format!("{}: {}", b.path, b.reason)),
        found("no boxes", &audit.without_annotation, Clone::clone),
    ];
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
