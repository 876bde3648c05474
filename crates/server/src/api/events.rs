//! A task's events as they happen (server-sent events, WHATWG HTML section 9.2).

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use kindling_spec::{ErrorCode, TaskId, TaskState};
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::Answered;
use crate::request::{Query, task_id};
use crate::{Problem, app::App};

/// How often the store is asked.
const POLL: Duration = Duration::from_millis(200);
/// A comment is sent after this much silence, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often it is asked whether the reader's key still is good.
const WELCOME: Duration = Duration::from_secs(2);
/// Events read at a time.
const BATCH: u32 = 200;

/// Where to go on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    after: Option<String>,
}

pub(crate) async fn stream_of(
    app: App,
    Path(id): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Answered {
    let id = app.service().task(&task_id(&id)?).await?.id;
    let header = headers.get("last-event-id").map(|v| v.to_str().unwrap_or("?"));
    let last = match header.or(from.after.as_deref()).filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => text.parse::<i64>().ok().filter(|id| *id >= 0).ok_or_else(|| {
            Problem::request("`Last-Event-ID` (or `after`) must be the id of an event, a whole number")
        })?,
    };
    let events =
        events(Cursor { app, id, last, ready: VecDeque::new(), phase: Phase::Following, welcome: Instant::now() });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Asks nginx and its like not to hold events back.
    out.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Cursor {
    app: App,
    id: TaskId,
    last: i64,
    ready: VecDeque<Event>,
    phase: Phase,
    /// When the reader was last let in.
    welcome: Instant,
}

#[derive(PartialEq)]
enum Phase {
    Following,
    Ended,
}

fn events(cursor: Cursor) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(cursor, |mut cursor| async move {
        loop {
            if let Some(event) = cursor.ready.pop_front() {
                return Some((Ok(event), cursor));
            }
            if cursor.phase == Phase::Ended {
                return None;
            }
            match cursor.fill().await {
                Ok(true) => {}
                Ok(false) => {
                    let app = cursor.app.clone();
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        // The client comes back with Last-Event-ID and finds the next server.
                        () = app.stopping().cancelled() => return None,
                    }
                }
                Err(problem) => {
                    // The headers are sent; breaking off makes the client come back for the rest.
                    let internal = problem.internal.as_deref();
                    tracing::warn!(%problem, internal, task = %cursor.id, "events cannot be followed any longer");
                    return None;
                }
            }
        }
    })
}

impl Cursor {
    /// Reads what is new; `false` if there is nothing yet.
    async fn fill(&mut self) -> Result<bool, Problem> {
        if self.welcome.elapsed() >= WELCOME {
            if !self.app.is_still_welcome().await? {
                return Err(Problem::new(ErrorCode::Unauthorized, "the reader's key is no longer good"));
            }
            self.welcome = Instant::now();
        }
        // The state before the events: what a task that is over still had to say is then among them.
        let task = self.app.meta().task(&self.id).await?;
        let found = self.app.meta().events_after(&self.id, self.last, BATCH).await?;
        let quiet = found.is_empty();
        for event in found {
            self.last = event.id;
            self.ready.push_back(message(&event.kind, &event.data).id(event.id.to_string()));
        }
        if quiet && task.state.is_over() {
            self.ready.push_back(end(task.state, task.reason.as_deref()));
            self.phase = Phase::Ended;
            return Ok(true);
        }
        Ok(!quiet)
    }
}

/// The last message; it has no id, so that one who comes back after a resume misses nothing.
fn end(state: TaskState, reason: Option<&str>) -> Event {
    message("end", &json!({"state": state, "reason": reason}))
}

fn message(kind: &str, data: &serde_json::Value) -> Event {
    Event::default().event(kind).data(data.to_string())
}
