//! Reading requests strictly, with errors that say where and how to mend it.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header, request::Parts};
use futures::StreamExt;
use kindling_spec::ErrorCode;
use serde::{Deserialize, de::DeserializeOwned};
use std::str::FromStr;
use std::time::Duration;

use crate::{Problem, app::Host};

/// A body of at most [`crate::Config::max_json_bytes`], kept as it came so that it can be hashed.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl JsonBody {
    /// Reads it; the Content-Type is not looked at.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.0.iter().all(u8::is_ascii_whitespace) {
            return Err(Problem::request("the body is empty; send JSON"));
        }
        // serde would take an array for a struct's members in order.
        let object = self.0.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
        if !object {
            return Err(Problem::request("the body must be a JSON object"));
        }
        // serde repeats a text that is where something else should be.
        serde_json::from_slice(&self.0)
            .map_err(|error| Problem::request(format!("the body cannot be read: {:.1000}", error.to_string())))
    }

    /// The same, an empty body being `{}`.
    pub(crate) fn parse_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.0.iter().all(u8::is_ascii_whitespace) { Ok(T::default()) } else { self.parse() }
    }
}

impl FromRequest<Host> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, host: &Host) -> Result<Self, Problem> {
        let (limit, time) = (host.config().max_json_bytes, host.config().json_time);
        let too_large = || {
            Problem::request(format!("the body has more than {limit} bytes, the most accepted here"))
                .with_status(StatusCode::PAYLOAD_TOO_LARGE)
        };
        read_within(request, limit, time, too_large).await.map(Self)
    }
}

fn too_slow(time: Duration) -> Problem {
    let detail = format!("the body did not come within {} seconds; send it again", time.as_secs());
    Problem::request(detail).with_status(StatusCode::REQUEST_TIMEOUT)
}

/// Reads a body of at most `limit` bytes that comes whole within a time: where it is small, each piece in time is not
/// enough, for a byte now and then would hold a connection for hours.
pub(crate) async fn read_within(
    request: Request,
    limit: usize,
    time: Duration,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(time, read(request, limit, time, too_large));
    whole.await.unwrap_or_else(|_| Err(too_slow(time)))
}

/// What is too large is taken up to so many bytes more, and dropped: a client that still sends when the connection is closed
/// may never see why.
const DROPPED: usize = 16 << 20;

/// Reads a body of at most `limit` bytes, which is given up after so long a silence.
pub(crate) async fn read(
    request: Request,
    limit: usize,
    idle: Duration,
    too_large: impl Fn() -> Problem,
) -> Result<Bytes, Problem> {
    let announced = content_length(request.headers()).is_some_and(|length| length > limit as u64);
    let mut stream = Body::into_data_stream(request.into_body());
    let (mut bytes, mut taken) = (Vec::new(), 0);
    while let Some(chunk) = tokio::time::timeout(idle, stream.next()).await.map_err(|_| too_slow(idle))? {
        let chunk = chunk.map_err(|error| Problem::request(format!("the body did not arrive whole: {error}")))?;
        taken += chunk.len();
        if !announced && taken <= limit {
            bytes.extend_from_slice(&chunk);
            continue;
        }
        bytes = Vec::new();
        if taken > limit + DROPPED {
            break;
        }
    }
    if announced || taken > limit { Err(too_large()) } else { Ok(bytes.into()) }
}

/// The length a client announces.
pub(crate) fn content_length(headers: &axum::http::HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Query values; unknown names are refused.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|error| {
            use std::error::Error;
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::request(format!("the query cannot be read: {cause}"))
        })?;
        Ok(Self(query.0))
    }
}

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<u32>,
}

impl Page {
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        limit(self.limit)
    }

    /// The last item of the page before.
    pub(crate) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        after(self.after.as_deref())
    }
}

/// Items in a page: 1 to 500, 100 when not said.
pub(crate) fn limit(given: Option<u32>) -> Result<u32, Problem> {
    match given {
        None => Ok(100),
        Some(limit @ 1..=500) => Ok(limit),
        Some(other) => Err(Problem::request(format!("`limit` must be from 1 to 500, not {other}"))),
    }
}

/// The last item of the page before.
pub(crate) fn after<T: FromStr>(given: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(text) = given else { return Ok(None) };
    let shown: String = text.chars().take(80).collect();
    let refused = |_| Problem::request(format!("`after` must be the `next` of the page before, not `{shown}`"));
    text.parse().map(Some).map_err(refused)
}

/// Reads an id out of an address: one that is malformed names nothing.
pub(crate) fn id<T>(text: &str, code: ErrorCode, noun: &str) -> Result<T, Problem>
where
    T: FromStr<Err = kindling_spec::IdError>,
{
    text.parse().map_err(|error| Problem::new(code, format!("there is no such {noun}: {error}")))
}

/// Reads the parts of an address that are ids.
macro_rules! ids {
    ($($name:ident -> $id:ident, $code:ident, $noun:literal);+ $(;)?) => {
        $(pub(crate) fn $name(text: &str) -> Result<kindling_spec::$id, Problem> {
            id(text, ErrorCode::$code, $noun)
        })+
    };
}

ids! {
    dataset_id -> DatasetId, DatasetNotFound, "data set";
    task_id -> TaskId, TaskNotFound, "task";
    draft_id -> DraftId, DraftNotFound, "draft data set";
    fleet_id -> FleetId, FleetNotFound, "fleet";
    upload_id -> UploadId, UploadNotFound, "upload";
    webhook_id -> WebhookId, WebhookNotFound, "webhook";
    model_id -> ModelId, ModelNotFound, "model";
}
