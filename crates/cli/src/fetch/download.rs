//! Downloads one file: resumed where it broke off, hashed as it comes, checked before it gets its name.

use super::recipe;
use crate::failure::{Exit, Failure};
use crate::output;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http::Response};

/// Tries at each address.
const TRIES: u32 = 3;
/// Silence after which a connection is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// Downloads to `path` unless the right file is there already; returns its SHA-256.
///
/// Meanwhile the file is `path.part`, beside it `path.part.tag` with the server's name for this version
/// of it, so that two versions are never glued together.
pub(crate) fn download(file: &recipe::File, path: &Path, progress: &dyn Fn(u64, u64)) -> Result<String, Failure> {
    if path.is_file() {
        let hash = hash_of(path)?;
        if file.sha256.as_ref().is_none_or(|expected| *expected == hash) {
            return Ok(hash);
        }
    }
    let part = sibling(path, "part");
    let mut last = None;
    for (number, url) in file.urls.iter().enumerate() {
        if number > 0 {
            // Another server's tag says nothing here; only a hash could tell that the halves fit.
            discard(&part)?;
        }
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(500 << attempt));
            }
            match once(url, file, &part, progress) {
                Ok(hash) => {
                    std::fs::rename(&part, path).map_err(Failure::io(path, "the file cannot be moved there"))?;
                    let _ = std::fs::remove_file(sibling(&part, "tag"));
                    return Ok(hash);
                }
                Err(Trouble::Again(failure)) => last = Some(failure),
                Err(Trouble::Elsewhere(failure)) => {
                    last = Some(failure);
                    break;
                }
                Err(Trouble::Ours(failure)) => return Err(failure),
            }
        }
    }
    let failure = last.unwrap_or_else(|| Failure::new(Exit::Download, "the recipe names no address"));
    Err(failure.mend("see that this machine reaches the address, then run it again: it goes on where it broke off"))
}

/// Why one try did not do.
enum Trouble {
    /// The connection; it may do next time.
    Again(Failure),
    /// This address does not have the file.
    Elsewhere(Failure),
    /// This machine.
    Ours(Failure),
}

fn sibling(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

fn discard(part: &Path) -> Result<(), Failure> {
    for path in [part.to_owned(), sibling(part, "tag")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::io(&path, "what an earlier run left cannot be removed")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn once(url: &str, file: &recipe::File, part: &Path, progress: &dyn Fn(u64, u64)) -> Result<String, Trouble> {
    let tag_path = sibling(part, "tag");
    let have = std::fs::metadata(part).map_or(0, |m| m.len());
    let tag = std::fs::read_to_string(&tag_path).unwrap_or_default();
    // Without a hash to prove the whole or a tag to tell the version, a half is worth nothing.
    let resume = have > 0 && (file.sha256.is_some() || !tag.is_empty());
    let trouble = |what: String| Failure::new(Exit::Download, what).at(url);

    // As OpenSSL and curl have it, for networks whose proxy has an authority of its own.
    let authorities = match std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        Some(path) => authorities(Path::new(&path)).map_err(Trouble::Ours)?,
        None => RootCerts::WebPki,
    };
    let agent: Agent = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(authorities).build())
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .into();
    let mut request = agent.get(url).header("accept-encoding", "identity");
    if resume {
        request = request.header("range", format!("bytes={have}-"));
        if !tag.is_empty() {
            request = request.header("if-range", &tag);
        }
    }
    let response = request.call().map_err(|e| Trouble::Again(trouble(format!("the download failed: {e}"))))?;
    let status = response.status().as_u16();
    match status {
        200 | 206 => {}
        // Our part is as long as their file, or longer: begin again.
        416 => {
            discard(part).map_err(Trouble::Ours)?;
            return Err(Trouble::Again(trouble("the server has no more bytes than are here; beginning again".into())));
        }
        408 | 429 | 500..=599 => return Err(Trouble::Again(trouble(format!("the server answered {status}")))),
        _ => return Err(Trouble::Elsewhere(trouble(format!("the server answered {status}")))),
    }
    let start = if status == 206 { start_of(&response).unwrap_or(0) } else { 0 };
    if status == 206 && start != have {
        discard(part).map_err(Trouble::Ours)?;
        return Err(Trouble::Again(trouble("the server sent another part than was asked for".into())));
    }
    let length = response.body().content_length();
    let total = length.map(|n| n + start).or(file.bytes);
    let new_tag = header(&response, "etag").filter(|t| !t.starts_with("W/")).unwrap_or_default();
    std::fs::write(&tag_path, new_tag).map_err(|e| Trouble::Ours(Failure::io(&tag_path, "cannot be written")(e)))?;
    receive(response, part, start, total, progress).map_err(|failure| match failure {
        Received::Broke(what) => Trouble::Again(trouble(what)),
        Received::Disk(failure) => Trouble::Ours(failure),
    })?;
    check(file, part).map_err(|what| {
        let _ = discard(part);
        Trouble::Elsewhere(trouble(what))
    })
}

/// The certificates of a PEM file.
pub(super) fn authorities(path: &Path) -> Result<RootCerts, Failure> {
    let pem = std::fs::read(path).map_err(Failure::io(path, "SSL_CERT_FILE cannot be read"))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Failure::new(Exit::Failed, "SSL_CERT_FILE holds no certificates")
            .at(path.display().to_string())
            .mend("name a file of PEM certificates, or unset the variable"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

enum Received {
    Broke(String),
    Disk(Failure),
}

/// Appends the body to the part, which is cut to `start` first.
fn receive(
    response: Response<Body>,
    part: &Path,
    start: u64,
    total: Option<u64>,
    progress: &dyn Fn(u64, u64),
) -> Result<(), Received> {
    let disk = |e| Received::Disk(Failure::io(part, "the download cannot be written")(e));
    let mut out = File::options().create(true).truncate(false).write(true).open(part).map_err(disk)?;
    out.set_len(start).map_err(disk)?;
    out.seek(SeekFrom::Start(start)).map_err(disk)?;
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut done = start;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(Received::Broke(format!("the connection broke off after {done} bytes: {error}"))),
        };
        out.write_all(&buffer[..count]).map_err(disk)?;
        done += count as u64;
        progress(done, total.unwrap_or(0));
    }
    out.sync_all().map_err(disk)?;
    match total {
        Some(total) if total != done => Err(Received::Broke(format!("{done} bytes came of {total}"))),
        _ => Ok(()),
    }
}

/// Compares with the recipe.
fn check(file: &recipe::File, part: &Path) -> Result<String, String> {
    let hash = hash_of(part).map_err(|failure| failure.to_string())?;
    match &file.sha256 {
        Some(expected) if *expected != hash => {
            let size = std::fs::metadata(part).map_or(0, |m| m.len());
            Err(format!(
                "{} ({}) has the SHA-256 {hash}, the recipe says {expected}; it was removed",
                file.name,
                output::bytes(size)
            ))
        }
        _ => Ok(hash),
    }
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// Where a partial answer starts: `content-range: bytes START-…`.
fn start_of(response: &Response<Body>) -> Option<u64> {
    header(response, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

pub(super) fn hash_of(path: &Path) -> Result<String, Failure> {
    let mut file = File::open(path).map_err(Failure::io(path, "the file cannot be read"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Failure::io(path, "the file cannot be read"))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
