//! Reads zip, tar, tar.gz and directories as one stream of entries, refusing what is unsafe.

use crate::{DataError, Limits, limits::check, sniff};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use zip::ZipReadOptions;
use zip::unstable::read::ZipIterable;

/// Bytes of one path in an archive.
const LONGEST_PATH: usize = 1024;
/// Bytes of all paths together: they are kept in memory, and a tar.gz packs long ones well.
const ALL_PATHS: usize = 64 << 20;
/// Bytes of what stands in a tar between the contents of two entries: headers with long names and attributes.
const BETWEEN_ENTRIES: u64 = 1 << 20;

/// Where examples come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Directory(PathBuf),
    Zip(PathBuf),
    Tar {
        path: PathBuf,
        gzip: bool,
    },
    /// One file, which is no archive, and what it is to be called.
    Picture {
        path: PathBuf,
        name: String,
    },
}

/// One entry: its cleaned path, whether it is a folder, and its content.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a str,
    pub(crate) is_dir: bool,
    pub(crate) content: &'a mut dyn Read,
}

/// What to do with each entry. An error from `content` may be handed to [`Source::explain`].
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<(), DataError>;

/// A limit hit while bytes stream; carried through `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OverLimit(String);

impl Source {
    /// Tells what lies at a path by its content.
    pub(crate) fn detect(path: &Path) -> Result<Self, DataError> {
        let meta = std::fs::metadata(path).map_err(DataError::io(path))?;
        if meta.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let mut head = Vec::new();
        File::open(path).and_then(|f| f.take(512).read_to_end(&mut head)).map_err(DataError::io(path))?;
        match sniff::archive_kind(&head) {
            Some("zip") => Ok(Self::Zip(path.to_owned())),
            Some("gzip") => Ok(Self::Tar { path: path.to_owned(), gzip: true }),
            Some("tar") => Ok(Self::Tar { path: path.to_owned(), gzip: false }),
            Some(kind) => {
                Err(DataError::InvalidArchive(format!("it is a {kind} file; send a zip, a tar or a tar.gz instead")))
            }
            None => Err(DataError::InvalidArchive(format!(
                "it is neither a zip, a tar nor a tar.gz but {}",
                sniff::describe(&head)
            ))),
        }
    }

    /// The same, where one picture's own file will do as well.
    pub(crate) fn detect_pictures(path: &Path, name: &str) -> Result<Self, DataError> {
        let mut head = Vec::new();
        if path.is_file() {
            File::open(path).and_then(|f| f.take(512).read_to_end(&mut head)).map_err(DataError::io(path))?;
        }
        if sniff::image_format(&head).is_none() {
            return Self::detect(path);
        }
        let name = clean(name)?.unwrap_or_else(|| "picture".to_owned());
        Ok(Self::Picture { path: path.to_owned(), name })
    }

    /// Whether it came packed.
    pub(crate) fn is_archive(&self) -> bool {
        matches!(self, Self::Zip(_) | Self::Tar { .. })
    }

    /// What a failed read of an entry's content means: either the whole is refused, or, for a zip
    /// and a directory, whose other entries can still be read, a reason to list that file as broken.
    pub(crate) fn explain(&self, path: &str, error: io::Error) -> Result<String, DataError> {
        if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
            return Err(DataError::ArchiveTooLarge(format!("`{path}`: {error}")));
        }
        match self {
            Self::Tar { .. } => Err(ends_early(&error)),
            Self::Zip(_) => Ok(format!("it does not unpack: {error}")),
            Self::Directory(_) | Self::Picture { .. } => Ok(format!("it cannot be read: {error}")),
        }
    }

    /// Visits every entry in the source's own order (a directory's is sorted by name).
    pub(crate) fn walk(&self, limits: &Limits, cancel: &AtomicBool, visit: Visit<'_>) -> Result<(), DataError> {
        let mut gate = Gate { limits, cancel, entries: 0, names: 0, meter: Rc::default() };
        match self {
            Self::Directory(root) => walk_directory(root, &mut gate, visit),
            Self::Zip(path) => walk_zip(path, &mut gate, visit),
            Self::Tar { path, gzip } => walk_tar(path, *gzip, &mut gate, visit),
            Self::Picture { path, name } => {
                let file = File::open(path).map_err(DataError::io(path))?;
                visit(Entry { path: name, is_dir: false, content: &mut gate.metered(file, Packed::Plain) })
            }
        }
    }
}

/// Counts entries and bytes of one walk.
struct Gate<'a> {
    limits: &'a Limits,
    cancel: &'a AtomicBool,
    entries: usize,
    /// Bytes of their paths.
    names: usize,
    /// Unpacked bytes so far.
    meter: Rc<Cell<u64>>,
}

impl Gate<'_> {
    /// Lets one more entry in and cleans its path; `None` for the root itself.
    fn admit(&mut self, raw: &str) -> Result<Option<String>, DataError> {
        check(self.cancel)?;
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            return Err(too_many_entries(self.limits));
        }
        self.names += raw.len();
        if self.names > ALL_PATHS {
            return Err(DataError::ArchiveTooLarge(format!("its paths have more than {} MiB", ALL_PATHS >> 20)));
        }
        clean(raw)
    }

    fn metered<R: Read>(&self, inner: R, packed: Packed) -> Metered<'_, R> {
        Metered { inner, gate: self.limits, total: self.meter.clone(), own: 0, packed }
    }
}

fn too_many_entries(limits: &Limits) -> DataError {
    DataError::ArchiveTooLarge(format!("it has more than {} entries", limits.max_entries))
}

/// How many packed bytes the unpacked ones came from.
enum Packed {
    /// Not packed.
    Plain,
    /// So many, known beforehand.
    Known { entry: u64, archive: u64 },
    /// Counted as they are read.
    Counted(Rc<Cell<u64>>),
}

/// Counts what is read and fails once a limit is passed, before more is unpacked.
struct Metered<'a, R> {
    inner: R,
    gate: &'a Limits,
    total: Rc<Cell<u64>>,
    own: u64,
    packed: Packed,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.own += n as u64;
        self.total.set(self.total.get() + n as u64);
        let (limits, total) = (self.gate, self.total.get());
        let over = |text: String| Err(io::Error::other(OverLimit(text)));
        if total > limits.max_unpacked_bytes {
            return over(format!("unpacked it is more than the {} MiB allowed", limits.max_unpacked_bytes >> 20));
        }
        let bomb = |unpacked: u64, packed: u64| {
            unpacked > limits.ratio_floor_bytes && unpacked / packed.max(1) > limits.max_ratio
        };
        let is_bomb = match &self.packed {
            Packed::Plain => false,
            Packed::Known { entry, archive } => bomb(self.own, *entry) || bomb(total, *archive),
            Packed::Counted(packed) => bomb(self.own, packed.get()),
        };
        if is_bomb {
            return over(format!("it unpacks to more than {} times its size", limits.max_ratio));
        }
        Ok(n)
    }
}

/// Counts the packed bytes that were read.
struct Counted<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.set(self.1.get() + n as u64);
        Ok(n)
    }
}

/// Passes on no more than is left, if that is bounded.
struct Leashed<R> {
    inner: R,
    left: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Leashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(n as u64).ok_or_else(|| {
                io::Error::other(OverLimit(format!(
                    "an entry's name and attributes have more than {} KiB",
                    BETWEEN_ENTRIES >> 10
                )))
            })?;
            self.left.set(Some(left));
        }
        Ok(n)
    }
}

/// A relative path with `/` between its parts, or the refusal of one that could lead elsewhere.
fn clean(raw: &str) -> Result<Option<String>, DataError> {
    let refuse = |why: &str| {
        let path = raw.chars().take(200).collect();
        Err(DataError::UnsafePath { path, why: why.to_owned() })
    };
    if raw.len() > LONGEST_PATH {
        return refuse("its path is too long, more than 1024 bytes");
    }
    // Those that turn the direction of writing make a path look like another one.
    let turns = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    if raw.contains(|c: char| c.is_control() || turns(c)) {
        return refuse("its path holds control characters");
    }
    let path = raw.replace('\\', "/");
    if path.starts_with('/') || path.as_bytes().get(1) == Some(&b':') {
        return refuse("its path is absolute");
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return refuse("its path has `..` in it"),
            part => parts.push(part),
        }
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

fn link(path: &str) -> DataError {
    DataError::UnsafePath { path: path.to_owned(), why: "it is a link or a special file".to_owned() }
}

fn ends_early(error: &io::Error) -> DataError {
    if error.get_ref().is_some_and(|inner| inner.is::<OverLimit>()) {
        return DataError::ArchiveTooLarge(error.to_string());
    }
    DataError::InvalidArchive(format!("it is damaged or ends too early ({error}); pack and send it again"))
}

fn walk_directory(root: &Path, gate: &mut Gate<'_>, visit: Visit<'_>) -> Result<(), DataError> {
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            DataError::Io { path, source: error.into() }
        })?;
        let path = entry.path();
        let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let Some(clean) = gate.admit(&relative)? else { continue };
        let kind = entry.file_type();
        if kind.is_dir() {
            visit(Entry { path: &clean, is_dir: true, content: &mut io::empty() })?;
        } else if kind.is_file() {
            let file = File::open(path).map_err(DataError::io(path))?;
            visit(Entry { path: &clean, is_dir: false, content: &mut gate.metered(file, Packed::Plain) })?;
        } else {
            return Err(link(&clean));
        }
    }
    Ok(())
}

fn walk_zip(path: &Path, gate: &mut Gate<'_>, visit: Visit<'_>) -> Result<(), DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let archive_bytes = file.metadata().map_err(DataError::io(path))?.len();
    let invalid = |error: zip::result::ZipError| match error {
        zip::result::ZipError::CompressionMethodNotSupported(method) => DataError::InvalidArchive(format!(
            "the zip's compression method {method} is not read here; pack it with the usual deflate"
        )),
        zip::result::ZipError::UnsupportedArchive(zip::result::ZipError::PASSWORD_REQUIRED) => {
            DataError::InvalidArchive("the zip is encrypted; pack it without a password".to_owned())
        }
        error => DataError::InvalidArchive(format!("{error}; it is damaged or cut off, pack and send it again")),
    };
    // Not `ZipArchive`, which keeps the whole directory in memory, however long a stranger made it.
    let mut archive = ZipIterable::try_new(BufReader::new(file), Default::default()).map_err(invalid)?;
    if archive.len() > gate.limits.max_entries {
        return Err(too_many_entries(gate.limits));
    }
    let content = BufReader::new(File::open(path).map_err(DataError::io(path))?);
    let mut entries = archive.files_with_reader(content, ZipReadOptions::new()).map_err(invalid)?;
    while let Some(entry) = entries.next() {
        let mut entry = entry.map_err(invalid)?;
        let raw = entry.name().map_err(invalid)?.into_owned();
        let Some(clean) = gate.admit(&raw)? else { continue };
        // The file type bits of a Unix mode: only plain files and folders are let in.
        let kind = entry.unix_mode().map_or(0, |mode| mode & 0o170_000);
        if entry.is_symlink() || !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(link(&clean));
        }
        if entry.is_dir() {
            visit(Entry { path: &clean, is_dir: true, content: &mut io::empty() })?;
            continue;
        }
        let packed = Packed::Known { entry: entry.compressed_size(), archive: archive_bytes };
        visit(Entry { path: &clean, is_dir: false, content: &mut gate.metered(&mut entry, packed) })?;
    }
    Ok(())
}

fn walk_tar(path: &Path, gzip: bool, gate: &mut Gate<'_>, visit: Visit<'_>) -> Result<(), DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let packed = Rc::new(Cell::new(0));
    let file = Counted(BufReader::with_capacity(1 << 16, file), packed.clone());
    let limits = gate.limits.clone();
    let leash = Rc::new(Cell::new(None));
    // Headers and padding count too: what is metered is the whole unpacked stream.
    let meter = gate.meter.clone();
    let stream: Box<dyn Read> = if gzip {
        let inner = flate2::read::MultiGzDecoder::new(file);
        let packed = Packed::Counted(packed);
        Box::new(Metered { inner, gate: &limits, total: meter, own: 0, packed })
    } else {
        Box::new(Metered { inner: file, gate: &limits, total: meter, own: 0, packed: Packed::Plain })
    };
    let mut archive = tar::Archive::new(Leashed { inner: stream, left: leash.clone() });
    let mut entries = archive.entries().map_err(|e| ends_early(&e))?;
    loop {
        // Names and attributes of any length would be read into memory here.
        leash.set(Some(BETWEEN_ENTRIES));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|e| ends_early(&e))?;
        leash.set(None);
        let kind = entry.header().entry_type();
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let clean = if kind == tar::EntryType::XGlobalHeader { None } else { gate.admit(&raw)? };
        match (kind, clean) {
            (_, None) => {}
            (tar::EntryType::Directory, Some(clean)) => {
                visit(Entry { path: &clean, is_dir: true, content: &mut io::empty() })?;
            }
            (tar::EntryType::Regular | tar::EntryType::Continuous, Some(clean)) => {
                visit(Entry { path: &clean, is_dir: false, content: &mut entry })?;
            }
            (_, Some(clean)) => return Err(link(&clean)),
        }
        io::copy(&mut entry, &mut io::sink()).map_err(|e| ends_early(&e))?;
    }
    leash.set(None);
    // What follows the last entry is read as well, so that a cut or altered end is noticed.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|e| ends_early(&e))?;
    Ok(())
}
