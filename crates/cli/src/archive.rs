//! Zips a folder for upload.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use std::fs::File;
use std::io::{BufWriter, copy};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes every plain file under `dir` to a new zip at `out`. Pictures are compressed already, so
/// nothing is compressed again.
pub(crate) fn zip_folder(dir: &Path, out: &Path) -> Result<(), Failure> {
    let mut files = Vec::new();
    list(dir, &mut files)?;
    files.sort();
    let meter = Meter::new("packing", files.len() as u64, Unit::Items);
    let file = File::create(out).map_err(Failure::io(out, "the archive cannot be written"))?;
    let failed = |error: zip::result::ZipError| {
        Failure::new(Exit::Failed, format!("the archive cannot be written: {error}")).at(out.display().to_string())
    };
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (done, path) in files.iter().enumerate() {
        let mut source = File::open(path).map_err(Failure::io(path, "a file cannot be read"))?;
        let large = source.metadata().is_ok_and(|m| m.len() >= u64::from(u32::MAX));
        let name = path.strip_prefix(dir).unwrap_or(path);
        let name: Vec<_> = name.components().map(|c| c.as_os_str().to_string_lossy()).collect();
        zip.start_file(name.join("/"), options.large_file(large)).map_err(failed)?;
        copy(&mut source, &mut zip).map_err(Failure::io(path, "a file cannot be packed"))?;
        meter.set(done as u64 + 1);
    }
    let out_file = zip.finish().map_err(failed)?;
    out_file.into_inner().map_err(|e| Failure::io(out, "the archive cannot be written")(e.into_error()))?;
    Ok(())
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let read = |e| Failure::io(dir, "the folder cannot be read")(e);
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        // Links are left out: they may lead anywhere, and an upload with links is refused.
        let kind = entry.file_type().map_err(read)?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_folder_comes_back_out_of_its_zip() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("set");
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::write(folder.join("a/b/1.png"), b"one").unwrap();
        std::fs::write(folder.join("2.png"), b"two").unwrap();
        let out = dir.path().join("set.zip");
        zip_folder(&folder, &out).unwrap();
        let mut zip = zip::ZipArchive::new(File::open(&out).unwrap()).unwrap();
        let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["2.png", "a/b/1.png"]);
        let mut text = String::new();
        zip.by_name("a/b/1.png").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one");
    }
}
