//! Errors as RFC 9457 problems: one table from stable code to status, title and explanation.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kindling_engine::EngineError;
use kindling_spec::{ErrorCode, Violation};
use kindling_store::{Outage, StoreError};
use serde::Serialize;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// What a code means over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The status.
    pub status: StatusCode,
    /// The problem in a few words, always the same for this code.
    pub title: &'static str,
    /// What it means and how to mend it, for the page at `/problems/{code}`.
    pub explanation: &'static str,
}

/// The table. A code without a line does not compile.
pub fn about(code: ErrorCode) -> About {
    use StatusCode as S;
    let (status, title, explanation) = match code {
        ErrorCode::InvalidRequest => (
            S::BAD_REQUEST,
            "The request cannot be read",
            "The body is not the JSON that is expected here, or a query value or header cannot be read. The \
             detail names the place; /openapi.json says what each address takes. A body that is too large is \
             answered with status 413 under this code, one that stops coming with 408.",
        ),
        ErrorCode::InvalidSpec => (
            S::UNPROCESSABLE_ENTITY,
            "The task specification breaks rules",
            "Each broken rule is listed under `violations` with a JSON pointer to the value and how to mend it. \
             The schema is at /v1/schema/task-spec.json, that of fleets at /v1/schema/fleet-spec.json.",
        ),
        ErrorCode::DatasetNotFound => (
            S::NOT_FOUND,
            "There is no such data set",
            "No data set has this id; it may have been deleted. GET /v1/datasets lists those there are.",
        ),
        ErrorCode::DatasetNotReady => (
            S::CONFLICT,
            "The data set is not ready",
            "Its content was not uploaded yet, is being read, or was refused. GET /v1/datasets/{id} shows its \
             state and, if it was refused, the reason; other content may then be uploaded.",
        ),
        ErrorCode::DatasetSealed => (
            S::CONFLICT,
            "The data set is sealed",
            "A data set never changes once its content was read, so that every model made from it can be checked \
             again. Make a new data set for other content.",
        ),
        ErrorCode::DatasetInUse => (
            S::CONFLICT,
            "A task uses the data set",
            "The models made from a data set could not be checked without it, so it is kept. Delete the tasks first, or \
             keep all.",
        ),
        ErrorCode::TaskNotFound => {
            (S::NOT_FOUND, "There is no such task", "No task has this id. GET /v1/tasks lists those there are.")
        }
        ErrorCode::TaskState => (
            S::CONFLICT,
            "The task's state does not allow this",
            "Only a task that is queued or running can be cancelled, only one that is over can be resumed or deleted (one of \
             a fleet with its fleet), also its models, and advice is given on one that has a model.",
        ),
        ErrorCode::FleetNotFound => {
            (S::NOT_FOUND, "There is no such fleet", "No fleet has this id. GET /v1/fleets lists those there are.")
        }
        ErrorCode::FleetState => (
            S::CONFLICT,
            "The fleet's state does not allow this",
            "Only a fleet with tasks queued or running can be cancelled, only one whose tasks are over can be deleted, and \
             there is a bundle once the first specialist has a model.",
        ),
        ErrorCode::ModelNotFound => (
            S::NOT_FOUND,
            "There is no such model",
            "No model has this id. GET /v1/tasks/{id}/leaderboard lists a task's models.",
        ),
        ErrorCode::FileNotFound => {
            (S::NOT_FOUND, "The model has no such file", "GET /v1/models/{id}/files lists the files there are.")
        }
        ErrorCode::DraftNotFound => (
            S::NOT_FOUND,
            "There is no such draft data set",
            "No draft has this id; it may have been deleted. GET /v1/drafts lists those there are.",
        ),
        ErrorCode::UploadNotFound => (
            S::NOT_FOUND,
            "There is no such upload",
            "No upload has this id: it was completed, given up, or left for days. POST /v1/uploads begins one.",
        ),
        ErrorCode::UploadIncomplete => (
            S::CONFLICT,
            "Parts of the upload are missing",
            "GET /v1/uploads/{id} lists the parts that are here. Send the others, then complete it.",
        ),
        ErrorCode::WebhookNotFound => (
            S::NOT_FOUND,
            "There is no such webhook",
            "No webhook has this id; it may have been removed. GET /v1/webhooks lists those there are.",
        ),
        ErrorCode::ExampleNotFound => (
            S::NOT_FOUND,
            "There is no such example",
            "Examples are numbered from 0. GET /v1/datasets/{id}/examples lists them, /v1/drafts/{id}/examples those of a draft.",
        ),
        ErrorCode::AnalysisNotFound => (
            S::NOT_FOUND,
            "Nobody has asked for this yet",
            "What is looked for here takes training and is only done when asked for: POST to the same address asks \
             for it, GET then tells how far it is and what was found.",
        ),
        ErrorCode::AnalysisBusy => (
            S::CONFLICT,
            "This is under way",
            "The same was asked for before and has not ended. GET the same address tells how far it is.",
        ),
        ErrorCode::NotFound => {
            (S::NOT_FOUND, "Nothing is here", "No page or endpoint has this address; /openapi.json lists them.")
        }
        ErrorCode::MethodNotAllowed => (
            S::METHOD_NOT_ALLOWED,
            "The method does not work here",
            "The address exists, but not for this method; the Allow header names those that work.",
        ),
        ErrorCode::IdempotencyConflict => (
            S::UNPROCESSABLE_ENTITY,
            "The Idempotency-Key was used for another request",
            "A key names one request for 24 hours. The same key with the same body gets the first answer again \
             (status 409 under this code while the first is still being worked on); use a new key for a new \
             request.",
        ),
        ErrorCode::InvalidArchive => (
            S::UNPROCESSABLE_ENTITY,
            "The archive cannot be read",
            "Zip, tar and tar.gz archives are read. This one is of another kind, damaged, encrypted, or ends too \
             early. Pack it again and see that it opens on your own machine.",
        ),
        ErrorCode::UnsafePath => (
            S::UNPROCESSABLE_ENTITY,
            "The archive has an unsafe path",
            "An entry's path is absolute, climbs out of the archive with `..`, or is a link. Pack plain files in \
             plain folders.",
        ),
        ErrorCode::NestedArchive => (
            S::UNPROCESSABLE_ENTITY,
            "The archive holds another archive",
            "Archives inside an archive are not opened. Unpack the inner one and pack its files directly.",
        ),
        ErrorCode::ArchiveTooLarge => (
            S::PAYLOAD_TOO_LARGE,
            "The archive is too large",
            "It has more bytes, more entries, or unpacks to more than this service accepts; the detail says which \
             limit.",
        ),
        ErrorCode::InvalidLayout => (
            S::UNPROCESSABLE_ENTITY,
            "The archive does not say what its pictures show",
            "Put the pictures of each class in a folder named after it (optionally inside train, validation and \
             test folders), or add a labels.csv with the columns path and label.",
        ),
        ErrorCode::TooFewExamples => (
            S::UNPROCESSABLE_ENTITY,
            "A class has too few pictures",
            "Every class needs enough readable pictures to learn from, to choose by and to be tested on. The detail \
             names the class, how many it has and how many it needs.",
        ),
        ErrorCode::InvalidImage => (
            S::UNSUPPORTED_MEDIA_TYPE,
            "The image cannot be read",
            "PNG, JPEG, WebP, BMP and TIFF are read, told apart by their content. This is something else, or a \
             damaged file.",
        ),
        ErrorCode::ImageTooLarge => (
            S::PAYLOAD_TOO_LARGE,
            "The image is too large",
            "It has more bytes or pixels than this service accepts. Make it smaller; the networks look at small \
             pictures anyway.",
        ),
        ErrorCode::LimitsTooTight => (
            S::UNPROCESSABLE_ENTITY,
            "No network meets the limits",
            "Even the smallest network of the search space breaks one of the constraints. The detail says which and \
             what would do.",
        ),
        ErrorCode::RangeNotSatisfiable => (
            S::RANGE_NOT_SATISFIABLE,
            "The range lies outside the file",
            "Content-Range names the file's size; ask for bytes within it.",
        ),
        ErrorCode::Unauthorized => (
            S::UNAUTHORIZED,
            "A key is wanted here",
            "This service has keys, and the request has none, or one that is not known, has expired or was revoked. Send \
             `Authorization: Bearer kdl_…`; in a browser, log in at /login. Who runs the service makes keys with \
             `kindling keys create`.",
        ),
        ErrorCode::Forbidden => (
            S::FORBIDDEN,
            "The key may not do this",
            "A key of the scope `read` may look and ask models, one of `write` may also make, change and delete, one of \
             `admin` may also look at what is of the whole service. The detail says which scope is wanted here.",
        ),
        ErrorCode::RateLimited => (
            S::TOO_MANY_REQUESTS,
            "Too many requests",
            "More came than are answered of one key, or of one address. Wait as many seconds as the Retry-After header \
             says.",
        ),
        // Not 413: the request may be small, and another project might send the same.
        ErrorCode::QuotaExceeded => (
            S::FORBIDDEN,
            "The project has used up its quota",
            "A project may have so many bytes, so many open studies at a time, so many seconds of studies a day, and so many webhooks. The \
             detail says which of them is used up. Where waiting helps, the status under this code is 429 and the \
             Retry-After header says how long; otherwise delete what is not needed, or ask who runs the service for more \
             (`kindling projects quota`).",
        ),
        ErrorCode::StorageFull => (
            S::INSUFFICIENT_STORAGE,
            "There is no room left",
            "A disk of the service is full. What was kept before is as it was, and nothing of this request was kept. \
             Whoever runs the service can make room: delete data sets and models that are no longer needed, or give it \
             a larger disk. Studies wait meanwhile and go on by themselves.",
        ),
        ErrorCode::Unavailable => (
            S::SERVICE_UNAVAILABLE,
            "What the service keeps is out of reach",
            "Its database or its object store does not answer, or has too much to do. Nothing is lost; try again after \
             the seconds in the Retry-After header. /readyz says what is out of reach.",
        ),
        ErrorCode::Internal => (
            S::INTERNAL_SERVER_ERROR,
            "Something failed inside the service",
            "It is not your request. The service's log says what happened, under the id in the x-request-id header.",
        ),
    };
    About { status, title, explanation }
}

/// An error on its way to a client.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    pub(crate) code: ErrorCode,
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    pub(crate) violations: Vec<Violation>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    pub(crate) internal: Option<String>,
}

impl Problem {
    /// A problem with its code's own status.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let (status, detail) = (about(code).status, detail.into());
        Self { code, status, detail, violations: Vec::new(), headers: Vec::new(), internal: None }
    }

    /// A request that cannot be read.
    pub(crate) fn request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, detail)
    }

    /// Something of ours failed; the error goes to the log and not to the client.
    pub(crate) fn internal(error: impl Display) -> Self {
        let detail = "something failed inside the service; its log says what";
        Self { internal: Some(error.to_string()), ..Self::new(ErrorCode::Internal, detail) }
    }

    /// Something failed while reading or writing this machine's disk.
    pub(crate) fn disk(error: &std::io::Error) -> Self {
        match Outage::of(error) {
            Some(outage) => Self::outage(outage, error),
            None => Self::internal(error),
        }
    }

    fn outage(outage: Outage, error: &dyn Display) -> Self {
        let problem = Self { internal: Some(error.to_string()), ..Self::new(outage.code(), outage.detail()) };
        match outage {
            Outage::Full => problem,
            Outage::Away => problem.after(Duration::from_secs(1)),
        }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// It may be tried again after so long.
    pub(crate) fn after(self, wait: Duration) -> Self {
        self.with_header(header::RETRY_AFTER, wait.as_secs_f64().ceil().clamp(1.0, f64::from(u32::MAX)) as u32)
    }

    /// As the client sees it.
    pub(crate) fn body(&self, instance: Option<&str>) -> ProblemBody {
        ProblemBody {
            kind: format!("/problems/{}", self.code),
            title: about(self.code).title,
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.map(str::to_owned),
            code: self.code.as_str(),
            violations: self
                .violations
                .iter()
                .map(|v| ViolationBody { pointer: v.pointer.clone(), message: v.message.clone() })
                .collect(),
        }
    }

    /// The response, with `application/problem+json`.
    pub(crate) fn render(&self, instance: Option<&str>) -> Response {
        let mut response = (self.status, Json(self.body(instance))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response
    }
}

/// A problem as JSON (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A stable relative address, `/problems/` and the code, with a page that explains it.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The problem in a few words.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is wrong this time, where, and how to mend it.
    pub(crate) detail: String,
    /// The address asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
    /// The stable code.
    #[schema(schema_with = crate::words::error_code)]
    pub(crate) code: &'static str,
    /// The broken rules of a specification.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) violations: Vec<ViolationBody>,
}

/// One broken rule.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Violation)]
pub(crate) struct ViolationBody {
    /// JSON pointer (RFC 6901) to the value.
    pub(crate) pointer: String,
    /// What is wrong and how to mend it.
    pub(crate) message: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // The outermost layer writes it again with the address, or as a page for a browser.
        let mut response = self.render(None);
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let code = error.code();
        if let Some(outage) = Outage::of(&error) {
            return Self::outage(outage, &error);
        }
        if let EngineError::Quota { retry_after: Some(wait), .. } = &error {
            let problem = Self::new(code, error.detail()).with_status(StatusCode::TOO_MANY_REQUESTS);
            return problem.after(*wait);
        }
        let internal = (code == ErrorCode::Internal).then(|| error.to_string());
        Self { violations: error.violations().to_vec(), internal, ..Self::new(code, error.detail()) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match (Outage::of(&error), error.code()) {
            (Some(outage), _) => Self::outage(outage, &error),
            (None, ErrorCode::Internal) => Self::internal(error),
            (None, code) => Self::new(code, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_with_its_own_title() {
        let mut titles: Vec<_> = ErrorCode::ALL.iter().map(|code| about(*code).title).collect();
        for code in ErrorCode::ALL {
            let about = about(*code);
            let ours = [ErrorCode::StorageFull, ErrorCode::Unavailable, ErrorCode::Internal].contains(code);
            assert_eq!(about.status.is_client_error(), !ours, "{code}");
            assert!(about.explanation.ends_with('.') && !about.title.ends_with('.'), "{code}");
        }
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn what_failed_inside_is_not_sent() {
        let problem = Problem::internal("/var/lib/secret: permission denied");
        let body = serde_json::to_string(&problem.body(None)).unwrap();
        assert!(!body.contains("secret"), "{body}");
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
