//! `kindling push`.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::fetch::download::hex;
use crate::meter::{Meter, Unit};
use crate::{archive, output};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Tries of one part before it is given up, with longer and longer pauses.
const TRIES: u32 = 6;

/// Uploads a folder or an archive as a data set, in parts. Broken off, the same command goes on where it was.
#[derive(clap::Args)]
pub(crate) struct Push {
    /// A folder with one folder a class (or as the README shows), or a zip, tar or tar.gz of one.
    source: PathBuf,
    /// The service's address.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// The data set's name; by default the folder's.
    #[arg(long)]
    name: Option<String>,
    /// What its labels are for.
    #[arg(long, default_value = "image-classification", value_name = "KIND")]
    kind: String,
    /// Parts on their way at a time.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32))]
    parallel: u32,
    /// Bytes of a part; by default the service chooses.
    #[arg(long, value_name = "BYTES")]
    part_bytes: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Push {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let meta = std::fs::metadata(&self.source).map_err(Failure::io(&self.source, "it cannot be read"))?;
        let packed;
        let file = if meta.is_dir() {
            packed = tempfile::Builder::new()
                .prefix("kindling-push")
                .suffix(".zip")
                .tempfile()
                .map_err(|e| Failure::new(Exit::Failed, format!("a temporary file cannot be made: {e}")))?;
            archive::zip_folder(&self.source, packed.path())?;
            packed.path()
        } else {
            &self.source
        };
        let client = Client::new(&self.url);
        let bytes = std::fs::metadata(file).map_err(Failure::io(file, "the archive cannot be read"))?.len();
        let begun = self.begin(&client, bytes)?;
        send(&client, file, &begun, self.parallel)?;
        let (upload, dataset) = (&begun.id, &begun.dataset);
        eprintln!("reading the archive");
        let sealed = client.post_asking(&format!("/v1/uploads/{upload}/complete"), &[("prefer", "respond-async")])?;
        // It names an upload that is gone; the next run would find that out.
        let _ = std::fs::remove_file(note(&self.source, bytes, &self.url));
        let sealed = wait(&client, dataset, sealed)?;
        if self.json {
            output::say(&sealed.to_string());
        } else {
            let summary = &sealed["summary"];
            let classes = summary["classes"].as_array().map_or(0, Vec::len);
            output::say(&format!("{dataset}: {} pictures of {classes} classes", summary["examples"]));
        }
        Ok(())
    }

    /// The upload to go on with: that of an earlier run of the same archive to the same service, or a new one.
    fn begin(&self, client: &Client, bytes: u64) -> Result<Begun, Failure> {
        if let Some(note) = std::fs::read(note(&self.source, bytes, &self.url))
            .ok()
            .and_then(|n| serde_json::from_slice::<Value>(&n).ok())
            && let Some(id) = note["upload"].as_str()
            && let Some(found) = client.find(&format!("/v1/uploads/{id}"))?
            && found["bytes"] == bytes
        {
            eprintln!("going on with {id}: {} parts are there", found["parts"].as_array().map_or(0, Vec::len));
            return Begun::read(&found);
        }
        let name = self.name.clone().or_else(|| Some(self.source.file_stem()?.to_string_lossy().into_owned()));
        let made = client.post("/v1/datasets", &json!({"name": name.unwrap_or_default(), "kind": self.kind}))?;
        let mut asked = json!({"dataset": made["id"], "bytes": bytes});
        if let Some(part_bytes) = self.part_bytes {
            asked["part_bytes"] = part_bytes.into();
        }
        let begun = Begun::read(&client.post("/v1/uploads", &asked)?)?;
        // Without the note a second run begins anew; that is all.
        let path = note(&self.source, bytes, &self.url);
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = std::fs::write(path, json!({"upload": begun.id}).to_string());
        Ok(begun)
    }
}

/// An upload, as the service says it stands.
struct Begun {
    id: String,
    dataset: String,
    bytes: u64,
    part_bytes: u64,
    /// The hash of each part that is there.
    there: HashMap<u64, String>,
}

impl Begun {
    fn read(upload: &Value) -> Result<Self, Failure> {
        let text = |name: &str| upload[name].as_str().map(str::to_owned);
        let part = |part: &Value| Some((part["number"].as_u64()?, part["sha256"].as_str()?.to_owned()));
        let read = || {
            Some(Self {
                id: text("id")?,
                dataset: text("dataset")?,
                bytes: upload["bytes"].as_u64()?,
                part_bytes: upload["part_bytes"].as_u64().filter(|bytes| *bytes > 0)?,
                there: upload["parts"].as_array()?.iter().filter_map(part).collect(),
            })
        };
        read().ok_or_else(|| Failure::new(Exit::Failed, "the service's answer is not an upload".to_owned()))
    }
}

/// Where it is noted which upload a source is being sent as. A folder is packed to the same bytes each time, and a part
/// that changed is sent again, so its path and the archive's size are enough.
fn note(source: &Path, bytes: u64, url: &str) -> PathBuf {
    let told = format!("{:?} {bytes} {url}", source.canonicalize().ok());
    let name = hex(&Sha256::digest(told)[..12]);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("kindling/uploads").join(format!("{name}.json"))
}

/// Sends the parts that are not there yet, several at a time.
fn send(client: &Client, file: &Path, begun: &Begun, parallel: u32) -> Result<(), Failure> {
    let parts = begun.bytes.div_ceil(begun.part_bytes) as usize;
    let meter = Meter::new("uploading", begun.bytes, Unit::Bytes);
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let work = || {
        while failed.lock().is_ok_and(|failed| failed.is_none()) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= parts {
                return;
            }
            match send_part(client, file, begun, number as u64) {
                Ok(bytes) => meter.set(done.fetch_add(bytes, Ordering::Relaxed) + bytes),
                Err(failure) => {
                    if let Ok(mut failed) = failed.lock() {
                        failed.get_or_insert(failure);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..parallel.min(parts as u32) {
            scope.spawn(work);
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(()),
        Ok(Some(failure)) => Err(failure.mend("run the same command again: what is there is not sent twice")),
        Err(_) => Err(Failure::new(Exit::Failed, "sending a part failed".to_owned())),
    }
}

/// Sends one part unless it is there; returns its size.
fn send_part(client: &Client, file: &Path, begun: &Begun, number: u64) -> Result<u64, Failure> {
    let from = number * begun.part_bytes;
    let length = (begun.bytes - from).min(begun.part_bytes);
    let mut part = vec![0; length as usize];
    let mut source = File::open(file).map_err(Failure::io(file, "the archive cannot be read"))?;
    let read = source.seek(SeekFrom::Start(from)).and_then(|_| source.read_exact(&mut part));
    read.map_err(Failure::io(file, "the archive cannot be read"))?;
    let hash = hex(&Sha256::digest(&part));
    if begun.there.get(&number) == Some(&hash) {
        return Ok(length);
    }
    let path = format!("/v1/uploads/{}/parts/{number}", begun.id);
    let mut pause = Duration::from_millis(500);
    for tried in 1.. {
        match client.put_bytes(&path, &part, &[("x-content-sha256", &hash)]) {
            Ok(_) => return Ok(length),
            // What the service refuses it will refuse again; a connection that broke may hold next time.
            Err(failure) if tried == TRIES || failure.exit != Exit::Unavailable => return Err(failure),
            Err(_) => {
                std::thread::sleep(pause);
                pause *= 2;
            }
        }
    }
    Ok(length)
}

/// Waits until the archive was read.
fn wait(client: &Client, dataset: &str, first: Value) -> Result<Value, Failure> {
    let mut seen = first;
    while ["empty", "processing"].contains(&seen["state"].as_str().unwrap_or_default()) {
        std::thread::sleep(Duration::from_millis(500));
        seen = client.get(&format!("/v1/datasets/{dataset}"))?;
    }
    if seen["state"] == "ready" {
        return Ok(seen);
    }
    let why = seen["problem"]["detail"].as_str().unwrap_or("the content was refused").to_owned();
    Err(Failure::new(Exit::Refused, why).at(dataset.to_owned()))
}
