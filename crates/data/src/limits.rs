//! What an upload may be, and how its reading is followed and stopped.

use crate::DataError;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sides, in pixels, of the caches written when a data set is ingested. A network's input
/// resolution is one of these.
pub const RESOLUTIONS: &[usize] = &[24, 32, 48, 64, 96];

/// Those of a data set with boxes: what is to be found is smaller than the picture.
pub const BOX_RESOLUTIONS: &[usize] = &[24, 32, 48, 64, 96, 128, 160];

/// What is accepted. The defaults are meant for a service open to strangers.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Entries in an archive or directory, folders included.
    pub max_entries: usize,
    /// Bytes of all entries together, unpacked.
    pub max_unpacked_bytes: u64,
    /// Unpacked bytes for each packed byte, of each entry and of the whole.
    pub max_ratio: u64,
    /// The ratio is only looked at past this many unpacked bytes: small blank files pack well.
    pub ratio_floor_bytes: u64,
    /// Pixels of one image, by its header.
    pub max_pixels: u64,
    /// Bytes of one image's file.
    pub max_image_bytes: u64,
    /// Usable examples each class needs.
    pub min_per_class: usize,
    /// Classes that a data set needs.
    pub min_classes: usize,
    /// Classes in a data set.
    pub max_classes: usize,
    /// Boxes in a data set.
    pub max_boxes: usize,
    /// Bytes of one annotation file.
    pub max_annotation_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 200_000,
            max_unpacked_bytes: 64 << 30,
            max_ratio: 200,
            ratio_floor_bytes: 16 << 20,
            max_pixels: 100_000_000,
            max_image_bytes: 256 << 20,
            min_per_class: 10,
            min_classes: 2,
            max_classes: 1000,
            max_boxes: 2_000_000,
            max_annotation_bytes: 512 << 20,
        }
    }
}

/// What ingest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Finding out what is there; the total is not known yet.
    Listing,
    /// Unpacking and hashing.
    Reading,
    /// Decoding and scaling, in parallel.
    Decoding,
    /// Looking for duplicates, dividing, sealing.
    Auditing,
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Files done.
    pub done: usize,
    /// Files to do; 0 when not known.
    pub total: usize,
}

/// What long work reports to. Called from several threads, so it must be quick.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// Stops when asked to.
pub(crate) fn check(cancel: &AtomicBool) -> Result<(), DataError> {
    if cancel.load(Ordering::Relaxed) { Err(DataError::Cancelled) } else { Ok(()) }
}
