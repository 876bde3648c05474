//! Where everything is kept.

use object_store::{RetryConfig, aws::AmazonS3Builder, prefix::PrefixStore};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    FileCache, Files, Metadata, Queue, StoreError,
    apalis_queue::ApalisQueue,
    postgres::{self, PostgresMetadata, PostgresQueue},
    scoped::Scoped,
    sqlite::{SqliteMetadata, SqliteQueue},
};
use kindling_spec::ProjectId;

/// Bytes of copies of remote files that a machine keeps.
const CACHE_BYTES: u64 = 50 << 30;

/// Where everything is kept: all in a directory of this machine, or records and queue in a database and files in an object
/// store that several machines share. The directory then holds what is this machine's own: unfinished work and copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A directory on a local disk.
    pub data_dir: PathBuf,
    /// `postgres://USER:PASSWORD@HOST/DATABASE`; none: SQLite files in the directory.
    pub database: Option<String>,
    /// `s3://BUCKET/PREFIX`, with region, endpoint and credentials in AWS's environment variables, or `file:///DIR`; none:
    /// plain files in the directory.
    pub artifacts: Option<String>,
}

impl Place {
    /// All in one directory.
    pub fn local(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), database: None, artifacts: None }
    }

    /// Whether processes of other machines may use it at the same time.
    pub fn is_shared(&self) -> bool {
        self.database.is_some()
    }
}

impl From<&Path> for Place {
    fn from(data_dir: &Path) -> Self {
        Self::local(data_dir)
    }
}

impl From<&PathBuf> for Place {
    fn from(data_dir: &PathBuf) -> Self {
        Self::local(data_dir)
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

/// Records, files and queue together. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// The records.
    pub meta: Arc<dyn Metadata>,
    /// The files.
    pub files: Files,
    /// The queue.
    pub queue: Arc<dyn Queue>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens a data directory, made if need be: `kindling.db` (records) and `queue.db` in SQLite, `files/`
    /// as plain files. Any number of processes may have it open. It must be on a local disk: SQLite's
    /// write-ahead log needs memory shared between its users.
    ///
    /// # Errors
    /// The directory cannot be made or written, or a later version of Kindling wrote it.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Self::connect(&Place::local(data_dir)).await
    }

    /// Opens a place, brought up to date if an earlier version made it.
    ///
    /// # Errors
    /// The directory cannot be made or written, database or object store cannot be reached or their addresses are not
    /// understood, or a later version of Kindling wrote there.
    pub async fn connect(place: &Place) -> Result<Self, StoreError> {
        let dir = &place.data_dir;
        std::fs::create_dir_all(dir).map_err(StoreError::io(dir))?;
        let files = files(place)?;
        let Some(database) = &place.database else {
            let lock = lock(dir).await?;
            let meta = SqliteMetadata::open(&dir.join("kindling.db")).await?;
            let queue = SqliteQueue::open(&dir.join("queue.db")).await?;
            drop(lock);
            return Ok(Self { meta: Arc::new(meta), files, queue: Arc::new(ApalisQueue(queue)) });
        };
        if !database.starts_with("postgres://") && !database.starts_with("postgresql://") {
            let reason = "a database is postgres://USER:PASSWORD@HOST/DATABASE; without one SQLite is used";
            return Err(StoreError::Address { given: scheme_of(database), reason });
        }
        let pool = postgres::connect(database).await?;
        let meta = PostgresMetadata::open(&pool).await?;
        let queue = PostgresQueue::open(&pool).await?;
        Ok(Self { meta: Arc::new(meta), files, queue: Arc::new(ApalisQueue(queue)) })
    }

    /// The same store as one project sees it: to it nothing of another is there, and what it makes is its own.
    pub fn scoped(&self, project: &ProjectId) -> Self {
        Self { meta: Arc::new(Scoped::new(self.meta.clone(), project.clone())), ..self.clone() }
    }
}

/// Two processes must not bring SQLite files up to date at once. The system drops the lock when a process dies.
async fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("open.lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::options().create(true).append(true).open(&path).map_err(StoreError::io(&path))?;
        file.lock().map_err(StoreError::io(&path))?;
        Ok::<_, StoreError>(file)
    });
    locked.await.map_err(|error| StoreError::io(dir)(std::io::Error::other(error)))?
}

/// An address may hold a password, so that only its scheme is told.
fn scheme_of(address: &str) -> String {
    address.split_once("://").map_or("an address without ://".to_owned(), |(scheme, _)| format!("{scheme}://…"))
}

fn files(place: &Place) -> Result<Files, StoreError> {
    let Some(address) = &place.artifacts else { return Files::local(&place.data_dir.join("files")) };
    if let Some(path) = address.strip_prefix("file://") {
        return Files::local(Path::new(path));
    }
    let refused = |reason| StoreError::Address { given: scheme_of(address), reason };
    let Some((bucket, prefix)) =
        address.strip_prefix("s3://").map(|rest| rest.trim_end_matches('/').split_once('/').unwrap_or((rest, "")))
    else {
        return Err(refused(
            "files are at s3://BUCKET/PREFIX or file:///DIR; without either they are in the data directory",
        ));
    };
    // Of the two crypto providers in use one must be the process' own; it may be set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = std::env::var("AWS_ENDPOINT_URL").or_else(|_| std::env::var("AWS_ENDPOINT")).unwrap_or_default();
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket.trim_end_matches('/'))
        .with_allow_http(endpoint.starts_with("http://"))
        // Whoever waits for an answer hears soon that there is none; what can wait longer tries again by itself.
        .with_retry(RetryConfig { max_retries: 6, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() })
        .build()
        .map_err(|source| StoreError::Files { key: bucket.to_owned(), source })?;
    let cache = FileCache::new(&place.data_dir.join("cache"), CACHE_BYTES);
    Ok(match prefix {
        "" => Files::remote(Arc::new(store), cache),
        prefix => Files::remote(Arc::new(PrefixStore::new(store, prefix)), cache),
    })
}
