//! Files by key, on any object store; on the local disk also as paths.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem, path::Path as Key,
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::AsyncReadExt;

use crate::{FileCache, Noun, StoreError};

/// Bytes read from disk at a time when a file is put.
const CHUNK: usize = 1 << 20;
/// A file of at most so many bytes is put in one request.
const SMALL: u64 = 4 << 20;
/// The key of the file that is put to see whether files can be.
const PROBE: &str = "probe/ready";
/// Files of a directory that are on their way at a time.
const AT_ONCE: usize = 8;

/// Size and key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The key.
    pub key: String,
    /// The size.
    pub bytes: u64,
}

/// A file opened for reading.
pub struct FileStream {
    /// The size of the whole file.
    pub bytes: u64,
    /// The part that `stream` gives.
    pub range: Range<u64>,
    /// The content, in pieces.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl std::fmt::Debug for FileStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStream").field("bytes", &self.bytes).field("range", &self.range).finish_non_exhaustive()
    }
}

/// Files by key. A key is names joined by `/`; a name is letters, digits, `.`, `_` and `-`, up to 128 of
/// them, not `.` or `..`; so a key never leaves the store, whatever it was made from.
///
/// # Contract
/// - A file is there whole or not at all: a reader never sees part of a write, and a process killed while
///   writing leaves the earlier content or none.
/// - Once a write has returned, the content is on disk: power lost afterwards does not lose it.
/// - Directories are not whole or not at all ([`put_dir`](Self::put_dir)); write the record that names them
///   last.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    place: Arc<Place>,
}

/// Where files are on this machine's disk.
enum Place {
    /// All of them, under this directory.
    Root(PathBuf),
    /// Copies of those that were fetched.
    Copies(FileCache),
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Files({})", self.store)
    }
}

impl Files {
    /// Files under a directory, which is made if need be.
    ///
    /// # Errors
    /// The directory cannot be made or found.
    pub fn local(root: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(root).map_err(StoreError::io(root))?;
        let root = root.canonicalize().map_err(StoreError::io(root))?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| StoreError::Files { key: root.display().to_string(), source })?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), place: Arc::new(Place::Root(root)) })
    }

    /// Files in any object store. [`fetch_dir`](Self::fetch_dir) copies them to the cache.
    pub fn remote(store: Arc<dyn ObjectStore>, cache: FileCache) -> Self {
        Self { store, place: Arc::new(Place::Copies(cache)) }
    }

    /// A directory of files that do not change, on this machine's disk: its own place, or a whole copy that is fetched
    /// unless it is there. Ask again before each use, so that the copy is known to be wanted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there are no files, the prefix is not allowed, or store or disk refused.
    pub async fn fetch_dir(&self, prefix: &str) -> Result<PathBuf, StoreError> {
        parse(prefix)?;
        match &*self.place {
            Place::Root(root) => Ok(root.join(prefix)),
            Place::Copies(cache) => cache.get(self, prefix).await,
        }
    }

    /// Writes a file, in place of one that may be there.
    ///
    /// # Errors
    /// The key is not allowed, or the store refused; then nothing was written.
    pub async fn put_bytes(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), StoreError> {
        let path = parse(key)?;
        self.store.put(&path, bytes.into().into()).await.map_err(of(key))?;
        Ok(())
    }

    /// Copies a local file into the store, in pieces; returns its size.
    ///
    /// # Errors
    /// The key is not allowed, the file cannot be read, or the store refused; then nothing was written.
    pub async fn put_file(&self, key: &str, from: &Path) -> Result<u64, StoreError> {
        let path = parse(key)?;
        let mut file = tokio::fs::File::open(from).await.map_err(StoreError::io(from))?;
        let size = file.metadata().await.map_err(StoreError::io(from))?.len();
        if size <= SMALL {
            let mut bytes = Vec::with_capacity(size as usize);
            file.read_to_end(&mut bytes).await.map_err(StoreError::io(from))?;
            let size = bytes.len() as u64;
            self.store.put(&path, bytes.into()).await.map_err(of(key))?;
            return Ok(size);
        }
        let upload = self.store.put_multipart(&path).await.map_err(of(key))?;
        let mut writer = WriteMultipart::new(upload);
        let mut bytes = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            match (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => bytes += count as u64,
                Err(error) => {
                    // What was staged is removed; should that fail too, it is under a name no key can have.
                    let _ = writer.abort().await;
                    return Err(StoreError::io(from)(error));
                }
            }
            // Waiting for room keeps memory flat when the store is slower than the disk.
            writer.wait_for_capacity(4).await.map_err(of(key))?;
            writer.put(chunk.into());
        }
        writer.finish().await.map_err(of(key))?;
        Ok(bytes)
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or the key is not allowed, or the store refused.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let path = parse(key)?;
        self.store.get(&path).await.map_err(of(key))?.bytes().await.map_err(of(key))
    }

    /// Part of a file.
    ///
    /// # Errors
    /// As [`get`](Self::get); also when the range begins at or after the file's end.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = parse(key)?;
        self.store.get_range(&path, range).await.map_err(of(key))
    }

    /// Opens a file, or part of it, to be read in pieces.
    ///
    /// # Errors
    /// As [`get_range`](Self::get_range).
    pub async fn open(&self, key: &str, range: Option<Range<u64>>) -> Result<FileStream, StoreError> {
        let path = parse(key)?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let result = self.store.get_opts(&path, options).await.map_err(of(key))?;
        let (bytes, range) = (result.meta.size, result.range.clone());
        let key = key.to_owned();
        let stream = result.into_stream().map_err(move |source| of(&key)(source)).boxed();
        Ok(FileStream { bytes, range, stream })
    }

    /// A file's size.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let path = parse(key)?;
        Ok(self.store.head(&path).await.map_err(of(key))?.size)
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// The key is not allowed, or the store refused.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        match self.size(key).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The files below a prefix (whole names: `a/b` is not above `a/bc`), by key.
    ///
    /// # Errors
    /// The prefix is not allowed, or the store refused.
    pub async fn list(&self, prefix: &str) -> Result<Vec<FileInfo>, StoreError> {
        let path = parse(prefix)?;
        let found: Vec<_> = self.store.list(Some(&path)).try_collect().await.map_err(of(prefix))?;
        let mut files: Vec<_> =
            found.into_iter().map(|meta| FileInfo { key: meta.location.to_string(), bytes: meta.size }).collect();
        files.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(files)
    }

    /// Removes a file; none there is no error.
    ///
    /// # Errors
    /// The key is not allowed, or the store refused.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = parse(key)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(of(key)(error)),
        }
    }

    /// Removes every file below a prefix; returns how many there were.
    ///
    /// # Errors
    /// The prefix is not allowed, or the store refused; some files may be gone then.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<usize, StoreError> {
        let files = self.list(prefix).await?;
        let count = files.len();
        let delete = |file: FileInfo| {
            let files = self.clone();
            async move { files.delete(&file.key).await }
        };
        stream::iter(files).map(delete).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if let Place::Copies(cache) = &*self.place {
            cache.forget(prefix).await?;
        }
        if let Some(path) = self.local_path(prefix)? {
            // Empty directories, and what writes that were killed had staged, are not files of the store.
            match tokio::fs::remove_dir_all(&path).await {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(StoreError::io(path)(error)),
            }
        }
        Ok(count)
    }

    /// Copies every file of a directory and its subdirectories to below a prefix; returns how many. Links are
    /// refused.
    ///
    /// # Errors
    /// A file's name is not allowed in a key, one cannot be read, or the store refused; some files may
    /// have been written then.
    pub async fn put_dir(&self, prefix: &str, dir: &Path) -> Result<usize, StoreError> {
        parse(prefix)?;
        let files = walk(dir.to_owned()).await?;
        // All keys are looked at before the first file is written.
        let keyed: Vec<_> = files.iter().map(|name| (format!("{prefix}/{name}"), dir.join(name))).collect();
        for (key, _) in &keyed {
            parse(key)?;
        }
        let count = keyed.len();
        let put = |(key, path): (String, PathBuf)| {
            let files = self.clone();
            async move { files.put_file(&key, &path).await.map(drop) }
        };
        stream::iter(keyed).map(put).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(count)
    }

    /// Moves a directory to below a prefix where no file is yet; returns how many files. On the same local
    /// disk this is one rename: whole or not at all, however large. Elsewhere the files are copied and the
    /// directory then removed.
    ///
    /// # Errors
    /// As [`put_dir`](Self::put_dir), or [`StoreError::Exists`].
    pub async fn move_dir(&self, prefix: &str, dir: &Path) -> Result<usize, StoreError> {
        if !self.list(prefix).await?.is_empty() {
            return Err(StoreError::Exists { what: Noun::File, id: prefix.to_owned() });
        }
        let names = walk(dir.to_owned()).await?;
        for name in &names {
            parse(&format!("{prefix}/{name}"))?;
        }
        if let Some(to) = self.local_path(prefix)? {
            let (from, files) = (dir.to_owned(), names.clone());
            let renamed = tokio::task::spawn_blocking(move || rename_dir(&from, &to, &files))
                .await
                .map_err(|error| StoreError::io(dir)(std::io::Error::other(error)))?;
            match renamed {
                Ok(()) => return Ok(names.len()),
                Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(StoreError::io(dir)(error)),
            }
        }
        let count = self.put_dir(prefix, dir).await?;
        tokio::fs::remove_dir_all(dir).await.map_err(StoreError::io(dir))?;
        Ok(count)
    }

    /// The files below a prefix that were written before a time (Unix milliseconds), by the store's clock.
    ///
    /// # Errors
    /// The prefix is not allowed, or the store refused.
    pub async fn list_older(&self, prefix: &str, than: i64) -> Result<Vec<String>, StoreError> {
        let path = parse(prefix)?;
        let found: Vec<_> = self.store.list(Some(&path)).try_collect().await.map_err(of(prefix))?;
        let old = found.into_iter().filter(|meta| meta.last_modified.timestamp_millis() < than);
        Ok(old.map(|meta| meta.location.to_string()).collect())
    }

    /// Whether the store can be written and read: puts a tiny file, looks for it and removes it. Many may ask at once.
    ///
    /// # Errors
    /// It cannot.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.put_bytes(PROBE, &b"ready"[..]).await?;
        // Another who asks may have removed it already.
        self.exists(PROBE).await?;
        self.delete(PROBE).await
    }

    /// Where the file or directory of this key is, or would be, on the local disk; `None` when the store
    /// is not on one.
    ///
    /// # Errors
    /// The key is not allowed.
    pub fn local_path(&self, key: &str) -> Result<Option<PathBuf>, StoreError> {
        parse(key)?;
        Ok(match &*self.place {
            Place::Root(root) => Some(root.join(key)),
            Place::Copies(_) => None,
        })
    }
}

/// Renames a directory into the store, its content on disk first.
fn rename_dir(from: &Path, to: &Path, files: &[String]) -> std::io::Result<()> {
    for file in files {
        std::fs::File::open(from.join(file))?.sync_all()?;
    }
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
        // No file of the store is there; what a killed write had staged may be, and would be in the way.
        if to.exists() {
            std::fs::remove_dir_all(to)?;
        }
        std::fs::rename(from, to)?;
        // The rename itself is on disk once the directory that names it is.
        #[cfg(unix)]
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The files below a directory as names joined by `/`, in order.
async fn walk(dir: PathBuf) -> Result<Vec<String>, StoreError> {
    let shown = dir.clone();
    let walked = tokio::task::spawn_blocking(move || {
        let (mut files, mut todo) = (Vec::new(), vec![String::new()]);
        while let Some(below) = todo.pop() {
            let at = dir.join(&below);
            for entry in std::fs::read_dir(&at).map_err(StoreError::io(&at))? {
                let entry = entry.map_err(StoreError::io(&at))?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return Err(refuse(&name.to_string_lossy(), "its name is not UTF-8"));
                };
                let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
                let kind = entry.file_type().map_err(StoreError::io(entry.path()))?;
                if kind.is_dir() {
                    todo.push(name);
                } else if kind.is_file() {
                    files.push(name);
                } else {
                    return Err(refuse(&name, "it is a link or a device, not a file"));
                }
            }
        }
        files.sort();
        Ok(files)
    });
    walked.await.map_err(|error| StoreError::io(shown)(std::io::Error::other(error)))?
}

fn refuse(key: &str, reason: &'static str) -> StoreError {
    StoreError::InvalidKey { key: key.chars().take(200).collect(), reason }
}

/// Checks a key.
fn parse(key: &str) -> Result<Key, StoreError> {
    if key.is_empty() || key.len() > 1024 {
        return Err(refuse(key, "a key has 1 to 1024 bytes"));
    }
    for name in key.split('/') {
        if name.is_empty() || name.len() > 128 {
            return Err(refuse(key, "each name between the slashes has 1 to 128 bytes"));
        }
        if name == "." || name == ".." {
            return Err(refuse(key, "`.` and `..` are not names"));
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            return Err(refuse(key, "only letters, digits, `.`, `_` and `-` may stand in a name"));
        }
    }
    Key::parse(key).map_err(|_| refuse(key, "the file store does not take it"))
}

fn of(key: &str) -> impl FnOnce(object_store::Error) -> StoreError {
    let key = key.to_owned();
    move |source| match source {
        object_store::Error::NotFound { .. } => StoreError::NotFound { what: Noun::File, id: key },
        source => StoreError::Files { key, source },
    }
}
