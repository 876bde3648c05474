//! All files of a model in one zip, the same bytes each time.

use axum::extract::Path;
use axum::http::HeaderMap;
use kindling_store::FileRecord;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::PathBuf;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::Answered;
use crate::request::model_id;
use crate::{Problem, app::App, files};

pub(crate) async fn zip(app: App, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    let id = model_id(&id)?;
    let model = app.service().model(&id).await?;
    // The zip is stored, not compressed, with fixed times: what is in it decides every byte.
    let mut tag = Sha256::new();
    for file in &model.files {
        tag.update(format!("{} {}\n", file.sha256, file.name));
    }
    let tag = files::hex(&tag.finalize());
    let mut parts = Vec::new();
    for file in model.files {
        let path = app.service().model_file(&id, &file.name).await?.1;
        parts.push((file, path));
    }
    let scratch = app.service().data_dir().to_owned();
    let (file, bytes) = tokio::task::spawn_blocking(move || pack(parts, &scratch))
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)?;
    let name = format!("kindling-{id}.zip");
    let offer = files::Offer { file, bytes, sha256: &tag, media_type: "application/zip", name: &name };
    files::hand_out(&headers, offer).await
}

/// Packs into a nameless file on the data directory's disk, gone when it is closed.
fn pack(mut parts: Vec<(FileRecord, PathBuf)>, scratch: &std::path::Path) -> std::io::Result<(File, u64)> {
    parts.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let mut zip = ZipWriter::new(tempfile::tempfile_in(scratch)?);
    for (file, path) in parts {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(0o644)
            .large_file(file.bytes >= u64::from(u32::MAX));
        zip.start_file(&file.name, options)?;
        std::io::copy(&mut File::open(path)?, &mut zip)?;
    }
    let mut file = zip.finish()?;
    file.flush()?;
    let bytes = file.stream_position()?.max(file.metadata()?.len());
    file.rewind()?;
    Ok((file, bytes))
}
