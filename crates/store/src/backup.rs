//! A copy of a data directory, taken while it is in use.

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::StoreError;

const RECORDS: &str = "kindling.db";
const FILES: &str = "files";

/// Writes records and files of a data directory to a new tar archive, as they are at one moment; services and workers go
/// on. Backbones and the queue are not in it: the first are downloaded, the second follows from the records.
///
/// # Errors
/// The directory holds no data, or a disk refused; then there is no archive.
pub async fn back_up(data_dir: &Path, archive: &Path) -> Result<u64, StoreError> {
    let records = data_dir.join(RECORDS);
    let options = |path: &Path| SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(15));
    // Beside the files, so that they can be had by another name and need not be copied while writers wait.
    let moment = data_dir.join(format!("backup-{}", std::process::id()));
    let remove = Removed(moment.clone());
    std::fs::create_dir(&moment).map_err(StoreError::io(&moment))?;
    let mut writer = SqliteConnection::connect_with(&options(&records)).await?;
    let mut reader = SqliteConnection::connect_with(&options(&records)).await?;
    // Nobody writes a record while the files are named: those that a record names are there, and are never changed.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await?;
    let copy = moment.join(RECORDS);
    let taken = async {
        sqlx::query("VACUUM INTO ?").bind(copy.to_string_lossy()).execute(&mut reader).await?;
        let (from, to) = (data_dir.join(FILES), moment.join(FILES));
        blocking(move || link_tree(&from, &to)).await
    };
    let taken = taken.await;
    sqlx::query("ROLLBACK").execute(&mut writer).await?;
    taken?;
    writer.close().await?;
    reader.close().await?;
    let (from, to) = (moment, archive.to_owned());
    let bytes = blocking(move || write_archive(&from, &to)).await?;
    drop(remove);
    Ok(bytes)
}

/// Unpacks an archive of [`back_up`] to a new data directory.
///
/// # Errors
/// There is something in the directory, the archive is none of a backup or damaged, or a disk refused; then there is no
/// directory.
pub async fn restore(archive: &Path, data_dir: &Path) -> Result<(), StoreError> {
    let occupied = std::fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied {
        return Err(refused(data_dir, "there is something in it; restore to a new directory"));
    }
    let part = data_dir.with_extension(format!("restore-{}", std::process::id()));
    let remove = Removed(part.clone());
    let (from, to) = (archive.to_owned(), part.clone());
    blocking(move || {
        let file = File::open(&from).map_err(StoreError::io(&from))?;
        tar::Archive::new(file).unpack(&to).map_err(StoreError::io(&from))
    })
    .await?;
    if !part.join(RECORDS).is_file() {
        return Err(refused(archive, "it is no backup of Kindling's: there are no records in it"));
    }
    let options = SqliteConnectOptions::new().filename(part.join(RECORDS));
    let mut records = SqliteConnection::connect_with(&options).await?;
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut records).await?;
    records.close().await?;
    if sound != "ok" {
        return Err(refused(archive, "its records are damaged"));
    }
    if data_dir.exists() {
        std::fs::remove_dir(data_dir).map_err(StoreError::io(data_dir))?;
    }
    std::fs::rename(&part, data_dir).map_err(StoreError::io(data_dir))?;
    drop(remove);
    Ok(())
}

fn refused(path: &Path, what: &'static str) -> StoreError {
    StoreError::io(path)(std::io::Error::new(std::io::ErrorKind::InvalidInput, what))
}

/// A directory that is removed at the end in any case.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may never have been made, or have been moved to its place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| StoreError::io("backup")(std::io::Error::other(error)))?
}

/// Gives every file below a directory a second name below another. What is being written has a name with `#` and is left out.
fn link_tree(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::create_dir(to).map_err(StoreError::io(to))?;
    let entries = match std::fs::read_dir(from) {
        // A folder may go with its last file while this looks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(StoreError::io(from))?,
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().map_err(StoreError::io(&path))?.is_dir() {
            link_tree(&path, &to.join(name))?;
        } else if !name.to_string_lossy().contains('#') {
            match std::fs::hard_link(&path, to.join(name)) {
                // A stale checkpoint may go while this looks; no record names it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                linked => linked.map_err(StoreError::io(&path))?,
            }
        }
    }
    Ok(())
}

/// Writes a directory as a tar archive, under another name until it is whole and on disk.
fn write_archive(from: &Path, to: &Path) -> Result<u64, StoreError> {
    let part = to.with_extension("part");
    let write = || {
        let mut tar = tar::Builder::new(std::io::BufWriter::new(File::create(&part)?));
        tar.append_dir_all(".", from)?;
        let file = tar.into_inner()?.into_inner()?;
        file.sync_all()?;
        std::fs::rename(&part, to)?;
        Ok(file.metadata()?.len())
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&part);
        StoreError::io(to)(error)
    })
}
