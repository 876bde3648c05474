//! A bundle as one zip: stored, the same bytes every time.

use crate::{ExportError, bundle};
use std::io::{Read, Seek, Write};
use std::path::Path;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// Writes the files, each with its name, into a zip, stored (weights do not compress) and dated 1980, so that the same
/// files give the same bytes; gives the writer back.
///
/// # Errors
/// [`ExportError::Zip`] if a file cannot be read or the writer fails.
pub fn zip_files<W: Write + Seek, R: Read>(
    files: impl IntoIterator<Item = (String, R)>,
    writer: W,
) -> Result<W, ExportError> {
    let failed = |name: &str, error: &dyn std::fmt::Display| ExportError::Zip(format!("{name}: {error}"));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(writer);
    for (name, mut content) in files {
        zip.start_file(name.as_str(), options).map_err(|error| failed(&name, &error))?;
        std::io::copy(&mut content, &mut zip).map_err(|error| failed(&name, &error))?;
    }
    zip.finish().map_err(|error| failed("the end", &error))
}

/// Writes a bundle's files into a zip: those of its `SHA256SUMS`, in that order, and `SHA256SUMS`.
///
/// # Errors
/// [`ExportError::Io`] if `dir` is not a bundle or a file is missing; [`ExportError::Zip`].
pub fn bundle_zip<W: Write + Seek>(dir: &Path, writer: W) -> Result<W, ExportError> {
    let sums = bundle::read(&dir.join(bundle::SUMS))?;
    let mut files = Vec::new();
    for line in String::from_utf8_lossy(&sums).lines() {
        let name = line.split_once("  ").map(|(_, name)| name).filter(|name| bundle::is_plain_name(name));
        let name = name.ok_or_else(|| ExportError::Zip(format!("{} has the line `{line}`", bundle::SUMS)))?;
        let path = dir.join(name);
        let file = std::fs::File::open(&path).map_err(|error| ExportError::io(&path, error))?;
        files.push((name.to_owned(), Box::new(file) as Box<dyn Read>));
    }
    files.push((bundle::SUMS.to_owned(), Box::new(std::io::Cursor::new(sums))));
    zip_files(files, writer)
}
