//! Archives that arrive in parts, in any order and over several connections.

use futures::TryStreamExt;
use kindling_spec::{DatasetId, ErrorCode, UploadId};
use kindling_store::{DatasetRecord, PartRecord, UploadRecord};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt;

use crate::{EngineError, Service, access::hex, clock::now_ms};

/// Bytes of a part where nothing else is asked for.
const PART_BYTES: u64 = 32 << 20;
/// The bytes a part may have, but the last.
const PARTS: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;
/// Parts of one upload.
const MOST_PARTS: u64 = 10_000;

pub(crate) fn prefix(id: &UploadId) -> String {
    format!("uploads/{id}")
}

/// The hash is in the name: should one part come twice, different, the record's file is the record's.
fn part_key(id: &UploadId, part: &PartRecord) -> String {
    format!("{}/{}-{}", prefix(id), part.number, part.sha256)
}

fn parts(upload: &UploadRecord) -> u64 {
    upload.bytes.div_ceil(upload.part_bytes)
}

/// The bytes a part must have; none if there is no such part.
fn bytes_of(upload: &UploadRecord, number: u32) -> Option<u64> {
    let from = u64::from(number).checked_mul(upload.part_bytes)?;
    (from < upload.bytes).then(|| (upload.bytes - from).min(upload.part_bytes))
}

fn refuse(detail: String) -> EngineError {
    EngineError::refused(ErrorCode::InvalidRequest, detail)
}

impl Service {
    /// Begins an upload of so many bytes for a data set that waits for content.
    ///
    /// # Errors
    /// There is no such data set, sizes are out of bounds, or the project has no room for it.
    pub async fn begin_upload(
        &self,
        dataset: &DatasetId,
        bytes: u64,
        part_bytes: Option<u64>,
    ) -> Result<UploadRecord, EngineError> {
        let part_bytes = part_bytes.unwrap_or_else(|| PART_BYTES.max(bytes.div_ceil(MOST_PARTS)));
        if !PARTS.contains(&part_bytes) {
            let (least, most) = (PARTS.start(), PARTS.end());
            return Err(refuse(format!("`part_bytes` must be from {least} to {most}, not {part_bytes}")));
        }
        if bytes == 0 || bytes.div_ceil(part_bytes) > MOST_PARTS {
            let most = MOST_PARTS * part_bytes;
            let detail = format!("`bytes` must be from 1 to {most} ({MOST_PARTS} parts of {part_bytes}), not {bytes}");
            return Err(refuse(detail));
        }
        let record = UploadRecord {
            id: UploadId::new(),
            dataset: dataset.clone(),
            bytes,
            part_bytes,
            parts: Vec::new(),
            created_at: now_ms(),
        };
        let project = self.dataset(dataset).await?.project;
        let _one_at_a_time = self.admission().lock().await;
        self.check_room(&project, bytes).await?;
        self.store().meta.create_upload(&record).await?;
        Ok(record)
    }

    /// One upload, and which of its parts are here.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn upload(&self, id: &UploadId) -> Result<UploadRecord, EngineError> {
        Ok(self.store().meta.upload(id).await?)
    }

    /// How many bytes a part must have.
    ///
    /// # Errors
    /// The upload has no part of this number.
    pub fn part_bytes(&self, upload: &UploadRecord, number: u32) -> Result<u64, EngineError> {
        bytes_of(upload, number).ok_or_else(|| {
            refuse(format!("there is no part {number}; they are numbered from 0 to {}", parts(upload) - 1))
        })
    }

    /// Keeps a part that was received to a file, in place of an earlier one of its number.
    ///
    /// # Errors
    /// There is no such upload or part, it has not the bytes it must have, or the store failed; then nothing has changed.
    pub async fn keep_part(
        &self,
        upload: &UploadRecord,
        number: u32,
        from: &Path,
        sha256: String,
    ) -> Result<PartRecord, EngineError> {
        let expected = self.part_bytes(upload, number)?;
        let bytes = tokio::fs::metadata(from).await.map_err(EngineError::io(from))?.len();
        if bytes != expected {
            return Err(refuse(format!("part {number} has {expected} bytes, not {bytes}; send it again")));
        }
        let part = PartRecord { number, bytes, sha256 };
        self.store().files.put_file(&part_key(&upload.id, &part), from).await?;
        self.store().meta.add_part(&upload.id, &part).await?;
        Ok(part)
    }

    /// That every part is here.
    ///
    /// # Errors
    /// Saying which are not.
    pub fn check_whole(&self, upload: &UploadRecord) -> Result<(), EngineError> {
        let have: std::collections::HashSet<u64> = upload.parts.iter().map(|part| u64::from(part.number)).collect();
        let missing: Vec<String> =
            (0..parts(upload)).filter(|n| !have.contains(n)).take(20).map(|n| n.to_string()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let left = parts(upload) - have.len() as u64;
        Err(EngineError::refused(
            ErrorCode::UploadIncomplete,
            format!(
                "{left} of {} parts are not here yet, such as {}; send them first",
                parts(upload),
                missing.join(", ")
            ),
        ))
    }

    /// Joins the parts and seals the data set with them. The upload is then gone, unless the service itself failed or the
    /// project's quota is used up and the same may be tried again.
    ///
    /// # Errors
    /// As [`seal_dataset`](Self::seal_dataset), or a part is missing.
    pub async fn complete_upload(&self, upload: &UploadRecord) -> Result<DatasetRecord, EngineError> {
        self.check_whole(upload)?;
        let path = self.upload_path(&upload.dataset);
        let sealed = self.seal(&upload.dataset, self.join_parts(upload, path.clone()), upload.bytes).await;
        match tokio::fs::remove_file(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "a joined archive could not be removed"),
        }
        let over = match &sealed {
            Ok(_) => true,
            Err(error) => !matches!(
                error.code(),
                ErrorCode::Internal
                    | ErrorCode::StorageFull
                    | ErrorCode::Unavailable
                    | ErrorCode::DatasetNotReady
                    | ErrorCode::QuotaExceeded
            ),
        };
        if over {
            self.drop_upload(&upload.id).await?;
        }
        sealed
    }

    /// Writes the parts one after another to a file, each compared with what arrived.
    async fn join_parts(&self, upload: &UploadRecord, path: PathBuf) -> Result<PathBuf, EngineError> {
        let out = tokio::fs::File::create(&path).await.map_err(EngineError::io(&path))?;
        let mut out = tokio::io::BufWriter::with_capacity(1 << 20, out);
        for part in &upload.parts {
            let key = part_key(&upload.id, part);
            let mut stream = self.store().files.open(&key, None).await?.stream;
            let mut hash = Sha256::new();
            while let Some(chunk) = stream.try_next().await? {
                hash.update(&chunk);
                out.write_all(&chunk).await.map_err(EngineError::io(&path))?;
            }
            let found = hex(&hash.finalize());
            if found != part.sha256 {
                let what = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not what was kept");
                return Err(EngineError::io(key)(what));
            }
        }
        out.flush().await.map_err(EngineError::io(&path))?;
        Ok(path)
    }

    /// Forgets an upload and removes its parts.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn drop_upload(&self, id: &UploadId) -> Result<(), EngineError> {
        if self.store().meta.delete_upload(id).await? {
            self.clear_away().await;
            return Ok(());
        }
        Err(EngineError::refused(ErrorCode::UploadNotFound, format!("there is no upload {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_is_what_is_left() {
        let upload = |bytes| UploadRecord {
            id: UploadId::new(),
            dataset: DatasetId::new(),
            bytes,
            part_bytes: 10,
            parts: Vec::new(),
            created_at: 0,
        };
        let sizes = |bytes| (0..4).map(|n| bytes_of(&upload(bytes), n)).collect::<Vec<_>>();
        assert_eq!(sizes(25), [Some(10), Some(10), Some(5), None]);
        assert_eq!(sizes(20), [Some(10), Some(10), None, None]);
        assert_eq!(sizes(1), [Some(1), None, None, None]);
        assert_eq!(bytes_of(&upload(25), u32::MAX), None);
    }
}
