//! A client of the service's HTTP API.

use crate::failure::{Exit, Failure, exit_of};
use kindling_spec::ErrorCode;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use ureq::{Agent, Body, RequestBuilder, SendBody, http::Response};

/// A service somewhere.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

impl Client {
    /// `base` such as `http://127.0.0.1:8080`; the environment's `KINDLING_KEY` is sent where there is one.
    pub(crate) fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .user_agent(concat!("kindling/", env!("CARGO_PKG_VERSION")))
            // The service is nearby; a proxy set for the web does not lead to it.
            .proxy(None)
            .build();
        let key = std::env::var("KINDLING_KEY").ok().filter(|key| !key.trim().is_empty());
        let key = key.map(|key| format!("Bearer {}", key.trim()));
        Self { agent: config.into(), base: base.trim_end_matches('/').to_owned(), key }
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", key),
            None => request,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The JSON at an address.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        let mut response = self.open(path, &[])?;
        self.json(path, &mut response)
    }

    /// The same; `None` where nothing is.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        let response = self.with_key(self.agent.get(self.url(path))).call().map_err(|e| self.lost(path, e))?;
        if response.status().as_u16() == 404 {
            return Ok(None);
        }
        let mut response = self.good(path, response)?;
        self.json(path, &mut response).map(Some)
    }

    /// All items of a list, page by page.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let mut page = self.get(&format!("{path}{joint}limit=100{after}"))?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    }

    /// The bytes at an address.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let response = self.open(path, &[])?;
        let mut reader = response.into_body().into_reader();
        reader.read_to_end(&mut bytes).map_err(|e| self.lost(path, e))?;
        Ok(bytes)
    }

    /// Opens an address for reading.
    pub(crate) fn open(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, Failure> {
        let mut request = self.with_key(self.agent.get(self.url(path)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().map_err(|e| self.lost(path, e))?;
        self.good(path, response)
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let response =
            self.with_key(self.agent.post(self.url(path))).send_json(body).map_err(|e| self.lost(path, e))?;
        let mut response = self.good(path, response)?;
        self.json(path, &mut response)
    }

    /// Sends a file as the body, read as it goes.
    pub(crate) fn put_file(&self, path: &str, file: &Path, sent: impl FnMut(u64)) -> Result<Value, Failure> {
        let source = File::open(file).map_err(Failure::io(file, "the archive cannot be read"))?;
        let length = source.metadata().map_err(Failure::io(file, "the archive cannot be read"))?.len();
        let mut body = Counted { source, done: 0, sent };
        let response = self
            .with_key(self.agent.put(self.url(path)))
            .header("content-type", "application/octet-stream")
            .header("content-length", length.to_string())
            .send(SendBody::from_reader(&mut body))
            .map_err(|e| self.lost(path, e))?;
        let mut response = self.good(path, response)?;
        self.json(path, &mut response)
    }

    /// Posts nothing, with headers.
    pub(crate) fn post_asking(&self, path: &str, headers: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request = self.with_key(self.agent.post(self.url(path)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send_empty().map_err(|e| self.lost(path, e))?;
        let mut response = self.good(path, response)?;
        self.json(path, &mut response)
    }

    /// Sends bytes as the body.
    pub(crate) fn put_bytes(&self, path: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request =
            self.with_key(self.agent.put(self.url(path))).header("content-type", "application/octet-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send(bytes).map_err(|e| self.lost(path, e))?;
        let mut response = self.good(path, response)?;
        self.json(path, &mut response)
    }

    fn json(&self, path: &str, response: &mut Response<Body>) -> Result<Value, Failure> {
        response.body_mut().read_json().map_err(|e| self.lost(path, e))
    }

    /// Turns a problem (RFC 9457) into an error that says the same.
    fn good(&self, path: &str, mut response: Response<Body>) -> Result<Response<Body>, Failure> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Value = response.body_mut().read_json().unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
        let code = ErrorCode::from_word(text("code")).unwrap_or(ErrorCode::Internal);
        let mut what = match text("detail") {
            "" => format!("the service answered {status}"),
            detail => detail.to_owned(),
        };
        for violation in problem.get("violations").and_then(Value::as_array).into_iter().flatten() {
            let part = |name: &str| violation.get(name).and_then(Value::as_str).unwrap_or_default();
            what += &format!("\n{}: {}", part("pointer"), part("message"));
        }
        let failure = Failure::new(exit_of(code), what).at(self.url(path));
        Err(match code {
            ErrorCode::Unauthorized => failure.mend("set KINDLING_KEY to a key; `kindling keys create` makes one"),
            _ => failure,
        })
    }

    fn lost(&self, path: &str, error: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::Unavailable, format!("the service did not answer: {error}"))
            .at(self.url(path))
            .mend("see that it is running")
    }
}

/// Counts what is read.
struct Counted<F> {
    source: File,
    done: u64,
    sent: F,
}

impl<F: FnMut(u64)> Read for Counted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.done += count as u64;
        (self.sent)(self.done);
        Ok(count)
    }
}
