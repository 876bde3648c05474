//! Copies of remote files on this machine's disk.

use futures::stream::{self, StreamExt, TryStreamExt};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::io::AsyncWriteExt;

use crate::{Files, Noun, StoreError};

/// Says when a copy was last wanted.
const MARK: &str = ".used";
/// What is being fetched is under a name with this beginning.
const PART: &str = ".part-";
/// A copy that was wanted so lately may be in use by another process and stays.
const IN_USE: Duration = Duration::from_secs(24 * 3600);
/// Files fetched at a time.
const AT_ONCE: usize = 4;

/// A directory with whole copies of directories of the store, for content that never changes under its key. Any number of
/// processes of this machine share it. Copies not wanted for a day are dropped, those longest unused first, when all are
/// more than the bytes allowed.
#[derive(Debug, Clone)]
pub struct FileCache {
    root: Arc<PathBuf>,
    bytes: u64,
}

impl FileCache {
    /// A cache in a directory, which is made when it is needed.
    pub fn new(root: &Path, bytes: u64) -> Self {
        Self { root: Arc::new(root.to_owned()), bytes }
    }

    /// `a/b` lies in the directory `a+b`, so that one level holds all; `+` is in no key.
    fn place(&self, prefix: &str) -> PathBuf {
        self.root.join(prefix.replace('/', "+"))
    }

    /// The copy of a directory, fetched unless it is here.
    pub(crate) async fn get(&self, files: &Files, prefix: &str) -> Result<PathBuf, StoreError> {
        let place = self.place(prefix);
        if touch(&place).await {
            return Ok(place);
        }
        let listed = files.list(prefix).await?;
        if listed.is_empty() {
            return Err(StoreError::NotFound { what: Noun::File, id: prefix.to_owned() });
        }
        self.make_room(listed.iter().map(|file| file.bytes).sum()).await;
        let part = self.root.join(format!("{PART}{}", kindling_spec::UploadId::new()));
        let fetched = fetch(files, prefix, &listed, &part).await;
        let put = match fetched {
            // Should another process have been quicker, its copy is the same.
            Ok(()) => tokio::fs::rename(&part, &place).await.or_else(|error| match place.join(MARK).exists() {
                true => Ok(()),
                false => Err(StoreError::io(&place)(error)),
            }),
            Err(error) => Err(error),
        };
        // After a success there is nothing of it left.
        let _ = tokio::fs::remove_dir_all(&part).await;
        put.map(|()| place)
    }

    /// Drops the copies of what is at or below a prefix.
    pub(crate) async fn forget(&self, prefix: &str) -> Result<(), StoreError> {
        let (exact, below) = (prefix.replace('/', "+"), format!("{}+", prefix.replace('/', "+")));
        for (name, path) in self.entries() {
            if name == exact || name.starts_with(&below) {
                tokio::fs::remove_dir_all(&path).await.or_else(gone).map_err(StoreError::io(path))?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<(String, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(&*self.root) else { return Vec::new() };
        entries.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, e.path()))).collect()
    }

    /// Drops what is longest unused until so many bytes more are within the bound, or all that is left may be in use.
    async fn make_room(&self, wanted: u64) {
        let mut copies: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for (name, path) in self.entries() {
            // What a killed process was fetching has no mark; its directory's own time tells.
            let mark = if name.starts_with(PART) { path.clone() } else { path.join(MARK) };
            let used = mark.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            copies.push((used, bytes_of(&path), path));
        }
        copies.sort();
        let mut all: u64 = wanted + copies.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        for (used, bytes, path) in copies {
            if all <= self.bytes || used.elapsed().is_ok_and(|age| age < IN_USE) {
                return;
            }
            match tokio::fs::remove_dir_all(&path).await {
                Ok(()) => all -= bytes,
                Err(error) => tracing::warn!(path = %path.display(), %error, "a copy could not be dropped"),
            }
        }
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_of(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Marks a copy as wanted now; `false` if there is none.
async fn touch(place: &Path) -> bool {
    let mark = place.join(MARK);
    match tokio::fs::File::options().write(true).open(&mark).await {
        Ok(file) => {
            // Should the disk refuse, the copy may be dropped a day too early and is then fetched again.
            let _ = file.into_std().await.set_modified(SystemTime::now());
            true
        }
        Err(_) => false,
    }
}

async fn fetch(files: &Files, prefix: &str, listed: &[crate::FileInfo], to: &Path) -> Result<(), StoreError> {
    // All is owned by its future: closures over borrowed items make futures that are not known to be Send.
    let one = |crate::FileInfo { key, bytes }| {
        let files = files.clone();
        let path = to.join(key.strip_prefix(prefix).unwrap_or(&key).trim_start_matches('/'));
        async move {
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await.map_err(StoreError::io(parent))?;
            }
            let mut out = tokio::fs::File::create(&path).await.map_err(StoreError::io(&path))?;
            let mut stream = files.open(&key, None).await?.stream;
            let mut written = 0;
            while let Some(chunk) = stream.try_next().await? {
                out.write_all(&chunk).await.map_err(StoreError::io(&path))?;
                written += chunk.len() as u64;
            }
            out.flush().await.map_err(StoreError::io(&path))?;
            if written == bytes {
                return Ok(());
            }
            let short = format!("{written} bytes came, {bytes} were said to be there");
            Err(StoreError::io(&path)(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, short)))
        }
    };
    stream::iter(listed.to_vec()).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let mark = to.join(MARK);
    tokio::fs::write(&mark, b"").await.map_err(StoreError::io(mark))
}
