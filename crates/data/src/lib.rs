//! From a person's upload to batches: ingest of archives and folders, the audit, splits, the packed
//! cache, augmentation, and the generator of the sample data set.
//!
//! Knows nothing of networks, burn, HTTP or SQL. A data set is a directory, written whole or not at
//! all by [`ingest`] and never changed; [`Dataset`] opens it, [`View`] (or [`BoxView`], where the labels
//! are boxes) picks a task's part of it, [`BatchSource`] and [`load_exact`] make batches.

// The two exceptions map files that never change; they say why they may.
#![deny(unsafe_code)]

mod audit;
mod batch;
mod box_view;
mod boxes;
mod copies;
mod dataset;
mod decode;
mod defects;
mod doubts;
mod draft;
mod error;
#[cfg(any(test, fuzzing))]
pub mod foreign;
mod ingest;
mod layout;
mod limits;
mod manifest;
mod pack;
mod relabel;
mod resize;
mod rng;
mod room;
pub mod sample;
mod similar;
mod sniff;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod view;

pub use batch::{Augment, BatchSource, epoch_seed, load_exact};
pub use box_view::{BoxView, Boxed};
pub use dataset::Dataset;
pub use decode::{decode_image, image_size};
pub use defects::Defects;
pub use doubts::{Doubt, Doubts, deal_folds, find_doubts};
pub use draft::{DraftExample, DraftLabel, PICTURES, Picture, Pictures, ingest_draft, read_pictures};
pub use error::{DataError, ShortClass};
pub use ingest::{TEMP_PREFIX, ingest, ingest_as, sweep};
pub use limits::{BOX_RESOLUTIONS, Limits, OnProgress, Progress, RESOLUTIONS, Stage};
pub use manifest::{
    Audit, BoxAudit, Broken, ClassCount, Conflict, Example, LIST_CAP, Labelled, LabelledBox, Labels, Listed,
    MANIFEST_VERSION, Manifest, OddBox, Parent, Sizes,
};
pub use relabel::{Change, relabel};
pub use resize::resize_f32;
pub use view::View;
