//! Everything that can go wrong with data, each with the stable code clients are told.

use kindling_spec::ErrorCode;
use std::path::{Path, PathBuf};

/// Why a class is too small, one entry a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortClass {
    /// The class.
    pub class: String,
    /// Readable, distinct examples it has.
    pub count: usize,
    /// Examples it needs.
    pub needed: usize,
    /// Files of it that could not be used.
    pub broken: usize,
    /// The commonest reason, with the first file it struck.
    pub because: Option<String>,
}

impl std::fmt::Display for ShortClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "class `{}` has {} usable images and needs at least {}", self.class, self.count, self.needed)?;
        if let Some(because) = &self.because {
            write!(f, " ({} of its files could not be used, most often because: {because})", self.broken)?;
        }
        Ok(())
    }
}

/// Shows a few, then how many more.
fn list(classes: &[ShortClass]) -> String {
    let mut text: Vec<String> = classes.iter().take(5).map(ToString::to_string).collect();
    if classes.len() > 5 {
        text.push(format!("and {} more classes", classes.len() - 5));
    }
    text.join("; ")
}

/// What made it so, in brackets.
fn in_brackets(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// Why data was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A path leaves the archive or cannot be trusted, or an entry is a link.
    #[error("`{path}` is refused: {why}. Pack plain files with relative paths and no links")]
    UnsafePath { path: String, why: String },
    /// An archive within the archive.
    #[error("`{path}` is itself an archive ({kind}). Unpack it and pack its files directly")]
    NestedArchive { path: String, kind: &'static str },
    /// More entries, bytes or compression than allowed.
    #[error("the archive is too large: {0}")]
    ArchiveTooLarge(String),
    /// Not an archive that can be read, or one that ends too early.
    #[error("the archive cannot be read: {0}")]
    InvalidArchive(String),
    /// It is not clear which class an image is of.
    #[error("{0}")]
    InvalidLayout(String),
    /// Classes with too few images, whatever the reason.
    #[error("{}. Add images or leave the class out", list(.0))]
    TooFewExamples(Vec<ShortClass>),
    /// Classes with too few images, because their files are not readable images.
    #[error("{}. Replace these files by readable images", list(.0))]
    UnreadableClass(Vec<ShortClass>),
    /// Classes with too few images, because theirs are too large.
    #[error("{}. Scale these images down", list(.0))]
    OversizedClass(Vec<ShortClass>),
    /// Too few pictures with boxes, or too few that differ.
    #[error("only {count} {what}, and at least {needed} are needed{}. Add pictures with boxes", in_brackets(.because.as_deref()))]
    TooFewBoxes { what: &'static str, count: usize, needed: usize, because: Option<String> },
    /// One image has more pixels or bytes than allowed; its header says so, it was not decoded.
    #[error("{0}")]
    ImageTooLarge(String),
    /// One image cannot be read.
    #[error("{0}")]
    InvalidImage(String),
    /// A class is named that the data set does not have.
    #[error("the data set has no class `{class}`; it has {}", .classes.join(", "))]
    UnknownClass { class: String, classes: Vec<String> },
    /// There is no example of this number.
    #[error("there is no example {index}; the data set has {count}, numbered from 0")]
    UnknownExample { index: usize, count: usize },
    /// A resolution that no cache was written for.
    #[error("there is no cache of {0} pixels; a resolution is one of {sides:?}, with boxes of {more:?}", sides = crate::RESOLUTIONS, more = crate::BOX_RESOLUTIONS)]
    UnknownResolution(usize),
    /// A buffer of another size than the batch.
    #[error("a batch of {expected} values was to be written to a buffer of {given}")]
    BatchSize { expected: usize, given: usize },
    /// The place to write to is taken.
    #[error("`{}` is there already; choose another place or delete it", .0.display())]
    Exists(PathBuf),
    /// A data set's directory that does not hold what its manifest says.
    #[error("`{}` is damaged: {why}. Ingest the data again", path.display())]
    Damaged { path: PathBuf, why: String },
    /// Stopped because it was asked to.
    #[error("cancelled")]
    Cancelled,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl DataError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnsafePath { .. } => ErrorCode::UnsafePath,
            Self::NestedArchive { .. } => ErrorCode::NestedArchive,
            Self::ArchiveTooLarge(_) => ErrorCode::ArchiveTooLarge,
            Self::InvalidArchive(_) => ErrorCode::InvalidArchive,
            Self::InvalidLayout(_) => ErrorCode::InvalidLayout,
            Self::TooFewExamples(_) | Self::TooFewBoxes { .. } => ErrorCode::TooFewExamples,
            Self::OversizedClass(_) | Self::ImageTooLarge(_) => ErrorCode::ImageTooLarge,
            Self::UnreadableClass(_) | Self::InvalidImage(_) => ErrorCode::InvalidImage,
            Self::UnknownClass { .. } => ErrorCode::InvalidSpec,
            Self::UnknownExample { .. } => ErrorCode::ExampleNotFound,
            Self::UnknownResolution(_)
            | Self::BatchSize { .. }
            | Self::Exists(_)
            | Self::Damaged { .. }
            | Self::Cancelled
            | Self::Io { .. } => ErrorCode::Internal,
        }
    }

    /// Adds the path to an operating system's error: `map_err(DataError::io(path))`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
