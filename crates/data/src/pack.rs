//! The first pass over the content: files are hashed as they are unpacked, straight into one pack.

use crate::layout::Layout;
use crate::limits::{OnProgress, Progress, Stage, check};
use crate::source::{Entry, Source};
use crate::{Broken, DataError, LabelledBox, Limits, decode, sniff};
use kindling_spec::Split;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A file of a class, unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    pub(crate) path: String,
    pub(crate) class: usize,
    pub(crate) given: Option<Split>,
    pub(crate) sha256: [u8; 32],
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Sorted.
    pub(crate) boxes: Vec<LabelledBox>,
}

/// Why a file of a class cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Unreadable,
    TooLarge,
    Missing,
}

/// A file of a class that cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    pub(crate) class: usize,
    pub(crate) fault: Fault,
    pub(crate) broken: Broken,
}

/// What the first pass found.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    pub(crate) files: Vec<Packed>,
    pub(crate) faulty: Vec<Faulty>,
    pub(crate) other_files: usize,
}

/// Copies each file of a class to the pack; the same bytes are written once.
pub(crate) fn unpack(
    source: &Source,
    layout: &Layout,
    pack_path: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Unpacked, DataError> {
    let mut pack = File::create(pack_path).map_err(DataError::io(pack_path))?;
    let mut end = 0u64;
    let mut places: HashMap<[u8; 32], u64> = HashMap::new();
    let mut found = Unpacked::default();
    let total = layout.files.len();
    let mut buffer = vec![0u8; 1 << 16];
    source.walk(limits, cancel, &mut |Entry { path, is_dir, content }| {
        let Some((class, given)) = layout.files.get(path).copied().filter(|_| !is_dir) else { return Ok(()) };
        progress(Progress { stage: Stage::Reading, done: found.files.len() + found.faulty.len(), total });
        let fault = |fault, reason: String| Faulty { class, fault, broken: Broken { path: path.to_owned(), reason } };
        let mut hash = Sha256::new();
        let mut bytes = 0u64;
        let mut head = Vec::new();
        loop {
            check(cancel)?;
            let n = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    found.faulty.push(fault(Fault::Unreadable, source.explain(path, error)?));
                    return rewind(&mut pack, end, pack_path);
                }
            };
            bytes += n as u64;
            if bytes > limits.max_image_bytes {
                found.faulty.push(fault(Fault::TooLarge, decode::too_many_bytes(bytes, limits).to_string()));
                return rewind(&mut pack, end, pack_path);
            }
            head.extend_from_slice(&buffer[..n.min(512 - head.len().min(512))]);
            hash.update(&buffer[..n]);
            pack.write_all(&buffer[..n]).map_err(DataError::io(pack_path))?;
        }
        if sniff::image_format(&head).is_none() {
            if sniff::named_as_image(path) {
                let what = sniff::describe(&head);
                found
                    .faulty
                    .push(fault(Fault::Unreadable, format!("not a PNG, JPEG, WebP, BMP or TIFF image but {what}")));
            } else {
                found.other_files += 1;
            }
            return rewind(&mut pack, end, pack_path);
        }
        let sha256: [u8; 32] = hash.finalize().into();
        let offset = *places.entry(sha256).or_insert(end);
        found.files.push(Packed { path: path.to_owned(), class, given, sha256, offset, bytes, boxes: Vec::new() });
        if offset == end {
            end += bytes;
            Ok(())
        } else {
            rewind(&mut pack, end, pack_path)
        }
    })?;
    for (path, class) in &layout.missing {
        let reason = format!("{} names it but it is not there", crate::layout::LABELS);
        let broken = Broken { path: path.clone(), reason };
        found.faulty.push(Faulty { class: *class, fault: Fault::Missing, broken });
    }
    pack.set_len(end).map_err(DataError::io(pack_path))?;
    pack.sync_all().map_err(DataError::io(pack_path))?;
    Ok(found)
}

/// Takes back what was written of a file that is not kept.
fn rewind(pack: &mut File, end: u64, path: &Path) -> Result<(), DataError> {
    pack.seek(SeekFrom::Start(end)).map(drop).map_err(DataError::io(path))
}
