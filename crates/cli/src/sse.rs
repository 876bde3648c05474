//! Reads server-sent events (WHATWG HTML, section 9.2), taking up again where a connection broke off.

use crate::client::Client;
use crate::failure::Failure;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// Connections in a row that may bring nothing before it is given up.
const PATIENCE: u32 = 20;

/// Follows an event stream on a thread of its own until its `end` event.
pub(crate) fn follow(client: Client, path: String) -> Receiver<Result<Event, Failure>> {
    let (sender, receiver) = sync_channel(256);
    std::thread::spawn(move || {
        let mut last: Option<String> = None;
        let mut barren = 0;
        loop {
            let headers: Vec<(&str, &str)> = last.iter().map(|id| ("last-event-id", id.as_str())).collect();
            match client.open(&path, &headers) {
                Err(failure) if barren >= PATIENCE => {
                    let _ = sender.send(Err(failure));
                    return;
                }
                Err(_) => barren += 1,
                Ok(response) => {
                    barren += 1;
                    let mut parser = Parser::default();
                    for line in BufReader::new(response.into_body().into_reader()).lines() {
                        let Ok(line) = line else { break };
                        let Some(event) = parser.line(&line) else { continue };
                        barren = 0;
                        last = event.id.clone().or(last);
                        let ended = event.kind == "end";
                        if sender.send(Ok(event)).is_err() || ended {
                            return;
                        }
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    receiver
}

/// Puts lines together to events.
#[derive(Default)]
struct Parser {
    id: Option<String>,
    kind: String,
    data: String,
}

impl Parser {
    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let parts = std::mem::take(self);
            let data = serde_json::from_str(&parts.data).ok()?;
            return Some(Event { id: parts.id, kind: parts.kind, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.kind = value.to_owned(),
            "data" if self.data.is_empty() => self.data = value.to_owned(),
            "data" => self.data += &format!("\n{value}"),
            // A comment has an empty field name; others are not for us.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_become_events() {
        let mut parser = Parser::default();
        let lines =
            [": still here", "", "id: 7", "event: rung", "data: {\"a\":", "data: 1}", "", "event:end", "data:{}", ""];
        let events: Vec<_> = lines.iter().filter_map(|line| parser.line(line)).collect();
        let rung = Event { id: Some("7".into()), kind: "rung".into(), data: json!({"a": 1}) };
        let end = Event { id: None, kind: "end".into(), data: json!({}) };
        assert_eq!(events, [rung, end]);
    }
}
