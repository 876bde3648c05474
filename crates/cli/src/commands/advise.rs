//! `kindling advise`.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use kindling_spec::TaskId;
use serde_json::{Value, json};
use std::time::Duration;

/// How often the service is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Says what would make a task's models better: more examples (and of which class), a larger limit, or more
/// time. A running service measures it; this asks for it unless it was measured before, and waits.
#[derive(clap::Args)]
pub(crate) struct Advise {
    /// The task.
    task: TaskId,
    /// The service.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// Measure anew.
    #[arg(long)]
    again: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Advise {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let client = Client::new(&self.url);
        let path = format!("/v1/tasks/{}/advice", self.task);
        // A task that is not there, or has no model, is told at once.
        let task = client.get(&format!("/v1/tasks/{}", self.task))?;
        let known = client.find(&path)?;
        let state = known.as_ref().map(|advice| text(advice, "/state").to_owned());
        let standing = matches!(state.as_deref(), Some("waiting" | "running"));
        if !standing && (self.again || state.as_deref() != Some("complete")) {
            client.post(&path, &json!({}))?;
        }
        let meter = Meter::new("measuring", 1000, Unit::Items);
        let advice = loop {
            let advice = client.get(&path)?;
            match text(&advice, "/state") {
                "complete" => break advice,
                "failed" => {
                    let why = text(&advice, "/reason");
                    return Err(Failure::new(Exit::Failed, format!("it could not be measured: {why}")));
                }
                _ => meter.set((number(&advice, "/progress") * 1000.0) as u64),
            }
            std::thread::sleep(LOOK);
        };
        drop(meter);
        if self.json {
            return output::say_json(&advice);
        }
        output::say(&format!("{}\n\n{}", text(&task, "/spec/name"), report(&advice)));
        Ok(())
    }
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, at: &str) -> f64 {
    value.pointer(at).and_then(Value::as_f64).unwrap_or(0.0)
}

fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A gain in points, and its interval.
fn gain(value: &Value) -> [String; 2] {
    if value.pointer("/gain").is_none_or(Value::is_null) {
        return ["-".to_owned(), text(value, "/note").to_owned()];
    }
    let points = |name: &str| 100.0 * number(value, &format!("/gain/{name}"));
    [format!("{:.1}", points("mean")), format!("{:.1} to {:.1}", points("low"), points("high"))]
}

fn report(advice: &Value) -> String {
    let levers = list(advice, "/report/advice").iter().map(|a| {
        let now = number(a, "/now");
        let (what, now) = match text(a, "/lever") {
            "examples" => ("twice the examples", format!("{now:.0}")),
            "size" => ("twice the size", output::bytes(now.max(0.0) as u64)),
            _ => ("twice the time", format!("{now:.0} s")),
        };
        [what.to_owned(), now].into_iter().chain(gain(a)).collect::<Vec<_>>()
    });
    let classes = list(advice, "/report/classes").iter().map(|c| {
        let error = output::percent(number(c, "/error"));
        [text(c, "/class").to_owned(), error].into_iter().chain(gain(c)).collect::<Vec<_>>()
    });
    let doubled = |name: &str| output::percent(number(advice, &format!("/report/doubled/{name}")));
    let mut told = format!(
        "{}\n\nOf which twice the examples, by class:\n{}",
        output::table(&["if there were", "now", "points fewer wrong", "95% interval"], &levers.collect::<Vec<_>>()),
        output::table(&["class", "wrong now", "points fewer wrong", "95% interval"], &classes.collect::<Vec<_>>()),
    );
    if advice.pointer("/report/doubled/mean").is_some() {
        told += &format!(
            "\n\nWith twice the examples about {} wrong ({} to {}).",
            doubled("mean"),
            doubled("low"),
            doubled("high")
        );
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_and_what_is_not_is_told() {
        let advice = json!({"report": {
            "advice": [
                {"lever": "examples", "now": 700.0, "gain": {"mean": 0.021, "low": 0.004, "high": 0.05}},
                {"lever": "size", "now": 100_000.0, "gain": null, "note": "no limit"},
            ],
            "classes": [{"class": "smoke", "error": 0.2, "gain": {"mean": 0.01, "low": 0.0, "high": 0.02}}],
            "doubled": {"mean": 0.08, "low": 0.05, "high": 0.11},
        }});
        let told = report(&advice);
        for part in ["twice the examples", "0.4 to 5.0", "no limit", "100 kB", "smoke", "8.0% wrong (5.0% to 11.0%)"] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
    }
}
