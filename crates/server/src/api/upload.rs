//! An archive as the body of a request, streamed to disk with bounded memory and hashed as it comes.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use kindling_spec::{DatasetId, DatasetState, ErrorCode};
use kindling_store::DatasetRecord;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

use super::Answered;
use crate::request::{content_length, dataset_id};
use crate::views::Dataset;
use crate::{Problem, app::App, files::hex};

/// The hash of what arrived, so that a client can compare.
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-content-sha256");

/// Pieces of an upload that have arrived and are not written yet; one has some hundred kilobytes at most.
const PIECES: usize = 8;

/// Removes an upload that was not handed over, also when the client hangs up and this future is dropped.
pub(super) struct Unfinished(pub(super) Option<PathBuf>);

impl Unfinished {
    pub(super) fn hand_over(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished upload could not be removed");
        }
    }
}

pub(crate) async fn put(app: App, Path(id): Path<String>, request: Request) -> Answered {
    let id = dataset_id(&id)?;
    accepts(&app.service().dataset(&id).await?)?;
    let headers = request.headers().clone();
    let path = app.service().upload_path(&id);
    let unfinished = Unfinished(Some(path.clone()));
    let hash = receive_archive(&app, request, &path).await?;
    check_digest(&headers, &hash)?;
    let path = unfinished.hand_over();
    let service = app.service().clone();
    let sealing = id.clone();
    // On a task of its own: a client who hangs up now has delivered everything.
    let sealed = tokio::spawn(async move { service.seal_dataset(&sealing, &path).await });
    if prefers_async(&headers) {
        return Ok(with_hash(started(&app, &id, || sealed.is_finished()).await?, &hash));
    }
    let record = sealed.await.map_err(Problem::internal)??;
    Ok(with_hash(Json(Dataset::from(record)).into_response(), &hash))
}

pub(super) fn accepts(record: &DatasetRecord) -> Result<(), Problem> {
    let id = &record.id;
    match record.state {
        DatasetState::Empty | DatasetState::Refused => Ok(()),
        DatasetState::Ready => {
            let detail = format!("data set {id} has content and is sealed; make a new data set for other content");
            Err(Problem::new(ErrorCode::DatasetSealed, detail))
        }
        DatasetState::Processing => {
            let detail = format!("content for data set {id} is being read already; wait until that has ended");
            Err(Problem::new(ErrorCode::DatasetNotReady, detail))
        }
    }
}

fn too_large(limit: u64) -> Problem {
    let detail = format!("the archive has more than {limit} bytes, the most this service accepts");
    Problem::new(ErrorCode::ArchiveTooLarge, detail)
}

/// Writes the body to the path, if it is no larger than is accepted and than the project has room for; returns the
/// SHA-256 of what came.
pub(super) async fn receive_archive(app: &App, request: Request, path: &FilePath) -> Result<[u8; 32], Problem> {
    let most = app.config().max_upload_bytes;
    let length = content_length(request.headers()).unwrap_or(0);
    if length > most {
        return Err(too_large(most));
    }
    app.service().check_room(app.project(), length).await?;
    let room = app.service().room(app.project()).await?.unwrap_or(u64::MAX);
    let received = receive(request.into_body(), path, most.min(room), app.config().upload_idle).await;
    if room < most && received.as_ref().is_err_and(|problem| problem.code == ErrorCode::ArchiveTooLarge) {
        app.service().check_room(app.project(), room + 1).await?;
    }
    received
}

/// Writes the body to the path; returns the SHA-256 of what came. Hashing and writing have a thread of their own, a few
/// pieces behind, so that an upload as fast as it can does not keep other requests waiting.
pub(super) async fn receive(body: Body, path: &FilePath, limit: u64, idle: Duration) -> Result<[u8; 32], Problem> {
    let file = tokio::fs::File::create(path).await.map_err(|e| Problem::disk(&e))?.into_std().await;
    let (pieces, arriving) = mpsc::channel(PIECES);
    let written = tokio::task::spawn_blocking(move || write(file, arriving));
    let sent = pass_on(body, pieces, limit, idle).await;
    let hash = written.await.map_err(Problem::internal)?.map_err(|e| Problem::disk(&e))?;
    sent.map(|()| hash)
}

/// Hands the body on in pieces. It ends early, without an error of its own, when nobody takes them any more.
async fn pass_on(body: Body, pieces: mpsc::Sender<Bytes>, limit: u64, idle: Duration) -> Result<(), Problem> {
    let mut received = 0u64;
    let mut stream = body.into_data_stream();
    loop {
        let piece = match tokio::time::timeout(idle, stream.next()).await {
            Ok(None) => break,
            Ok(Some(piece)) => piece,
            Err(_) => {
                let detail =
                    format!("nothing came for {} seconds after {received} bytes; send it again", idle.as_secs());
                return Err(Problem::request(detail).with_status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        let piece = piece.map_err(|e| Problem::request(format!("the upload broke off after {received} bytes: {e}")))?;
        received += piece.len() as u64;
        if received > limit {
            return Err(too_large(limit));
        }
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
    if received == 0 {
        let detail = "the body is empty; send the archive's bytes, such as with curl --upload-file pictures.zip";
        return Err(Problem::new(ErrorCode::InvalidArchive, detail));
    }
    Ok(())
}

fn write(file: File, mut pieces: mpsc::Receiver<Bytes>) -> std::io::Result<[u8; 32]> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.blocking_recv() {
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.flush()?;
    Ok(hash.finalize().into())
}

/// Compares with `Content-Digest` (RFC 9530) and `x-content-sha256`, where they are given.
pub(super) fn check_digest(headers: &HeaderMap, hash: &[u8; 32]) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("").trim());
    let mut expected = Vec::new();
    if let Some(given) = text("x-content-sha256") {
        expected.push((given.to_ascii_lowercase(), hex(hash)));
    }
    let digests = text("content-digest").unwrap_or("").split(',');
    for given in digests.filter_map(|one| one.trim().strip_prefix("sha-256=")) {
        expected.push((given.to_owned(), format!(":{}:", STANDARD.encode(hash))));
    }
    match expected.into_iter().find(|(given, actual)| given != actual) {
        None => Ok(()),
        Some((given, actual)) => {
            let given: String = given.chars().take(100).collect();
            let detail = format!("the digest of what arrived is {actual}, not {given}; send it again");
            Err(Problem::request(detail))
        }
    }
}

/// `Prefer: respond-async` (RFC 7240).
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let given = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    given.flat_map(|v| v.split(',')).any(|one| one.trim().eq_ignore_ascii_case("respond-async"))
}

/// Answers 202 once the reading has begun, so that the state seen next is not the one before.
pub(super) async fn started(app: &App, id: &DatasetId, ended: impl Fn() -> bool) -> Answered {
    let before = app.service().dataset(id).await?;
    let mut record = before;
    for _ in 0..100 {
        if record.state == DatasetState::Processing || ended() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        record = app.service().dataset(id).await?;
    }
    if ended() {
        record = app.service().dataset(id).await?;
    }
    let location = [(header::LOCATION, format!("/v1/datasets/{id}"))];
    let mut response = (StatusCode::ACCEPTED, location, Json(Dataset::from(record))).into_response();
    response.headers_mut().insert("preference-applied", HeaderValue::from_static("respond-async"));
    Ok(response)
}

fn with_hash(mut response: Response, hash: &[u8; 32]) -> Response {
    if let Ok(value) = HeaderValue::try_from(hex(hash)) {
        response.headers_mut().insert(CONTENT_SHA256, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_compared_in_either_form() {
        let hash: [u8; 32] = Sha256::digest(b"hello").into();
        let check = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::try_from(value).unwrap());
            check_digest(&headers, &hash)
        };
        let hexed = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert!(check("x-content-sha256", hexed).is_ok());
        assert!(check("x-content-sha256", &hexed.to_uppercase()).is_ok());
        assert!(check("content-digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:").is_ok());
        assert!(check("content-digest", "sha-512=:AAAA:").is_ok(), "another algorithm is not ours to check");
        assert!(check("content-digest", "sha-256=:AAAA:").is_err());
        assert!(check("x-content-sha256", "00").is_err());
    }

    /// Only the right digest is taken for it, however it was spoiled on its way.
    #[test]
    fn no_spoiled_digest_is_taken_for_another() {
        let read = |bytes: &[u8]| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
            let hash: [u8; 32] = Sha256::digest(b"hello").into();
            let mut headers = HeaderMap::new();
            headers.insert("content-digest", value.clone());
            let text = value.to_str().unwrap_or("").to_owned();
            let right = format!(":{}:", STANDARD.encode(hash));
            let said: Vec<&str> = text.split(',').filter_map(|one| one.trim().strip_prefix("sha-256=")).collect();
            assert_eq!(check_digest(&headers, &hash).is_ok(), said.iter().all(|one| *one == right), "{text}");
            headers.insert("prefer", value.clone());
            headers.insert("x-content-sha256", value.clone());
            let taken = check_digest(&headers, &hash).is_ok();
            assert!(!taken || text.trim().eq_ignore_ascii_case(&hex(&hash)), "{text}");
            let _ = prefers_async(&headers);
        };
        let seeds = || {
            let hash = Sha256::digest(b"hello");
            let digest = format!("sha-512=:AAAA:, sha-256=:{}:", STANDARD.encode(hash));
            vec![digest.into_bytes(), hex(&hash).into_bytes(), b"respond-async, wait=5".to_vec()]
        };
        kindling_spoil::check(&[kindling_spoil::Parser { name: "content-digest", read, seeds, cases: 20_000 }]);
    }
}
