//! Progress of long work on standard error: a bar on a terminal, now and then a line elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Items,
    Bytes,
    /// Tenths of a second of a budget; only the message is shown.
    Time,
}

/// One piece of long work.
pub(crate) struct Meter {
    bar: ProgressBar,
    /// Without a terminal: when the last line was printed, and what it said.
    lines: Option<Mutex<(Instant, String)>>,
    label: String,
    unit: Unit,
}

impl Meter {
    /// A total of 0 means that it is not known.
    pub(crate) fn new(label: &str, total: u64, unit: Unit) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let template = match unit {
            _ if total == 0 => "{spinner} {prefix} {msg}",
            Unit::Items => "{prefix} [{bar:30}] {pos}/{len} {msg}",
            Unit::Bytes => "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg}",
            Unit::Time => "{prefix} [{bar:30}] {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label.to_owned());
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            eprintln!("{label}");
        }
        let lines = (!terminal).then(|| Mutex::new((Instant::now(), String::new())));
        Self { bar, lines, label: label.to_owned(), unit }
    }

    /// So much is done.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
        let text = match (self.unit, self.bar.length().unwrap_or(0)) {
            (Unit::Time, _) | (_, 0) => self.bar.message(),
            (Unit::Items, total) => format!("{done} of {total}"),
            (Unit::Bytes, total) => format!("{} of {}", crate::output::bytes(done), crate::output::bytes(total)),
        };
        self.line(text);
    }

    /// So much is to be done.
    pub(crate) fn total(&self, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_length(total);
        }
    }

    /// What is shown beside the bar.
    pub(crate) fn message(&self, text: impl Into<String>) {
        let text = text.into();
        self.bar.set_message(text.clone());
        self.line(text);
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        if self.lines.is_some() { eprintln!("{text}") } else { self.bar.println(text) }
    }

    fn line(&self, text: String) {
        let Some(lines) = &self.lines else { return };
        let mut last = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.0.elapsed() >= PAUSE && last.1 != text && !text.is_empty() {
            eprintln!("{}: {text}", self.label);
            *last = (Instant::now(), text);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
