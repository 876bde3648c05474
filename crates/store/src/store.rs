//! A data directory.

use std::{fs::File, path::Path, sync::Arc};

use crate::{Files, Metadata, Queue, StoreError, apalis_queue::ApalisQueue, sqlite::SqliteMetadata};

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
        std::fs::create_dir_all(data_dir).map_err(StoreError::io(data_dir))?;
        // Two processes must not migrate at once. The system drops the lock when a process dies.
        let path = data_dir.join("open.lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).append(true).open(&path).map_err(StoreError::io(&path))?;
            file.lock().map_err(StoreError::io(&path))?;
            Ok::<_, StoreError>(file)
        });
        let lock = locked.await.map_err(|error| StoreError::io(data_dir)(std::io::Error::other(error)))??;
        let meta = SqliteMetadata::open(&data_dir.join("kindling.db")).await?;
        let queue = ApalisQueue::open(&data_dir.join("queue.db")).await?;
        let files = Files::local(&data_dir.join("files"))?;
        drop(lock);
        Ok(Self { meta: Arc::new(meta), files, queue: Arc::new(queue) })
    }
}
