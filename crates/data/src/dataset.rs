//! A sealed data set, opened for reading.

use crate::{DataError, Limits, Manifest, decode_image, manifest::MANIFEST_VERSION};
use image::{DynamicImage, ImageFormat, RgbImage};
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The name of the file with all originals.
pub(crate) const ORIGINALS: &str = "originals.pack";

/// The name of the cache of a resolution.
pub(crate) fn cache_name(resolution: usize) -> String {
    format!("cache_{resolution}.u8")
}

/// A sealed data set. Cheap to open: its files are mapped, not read. Share it between threads.
pub struct Dataset {
    dir: PathBuf,
    manifest: Manifest,
    originals: Mmap,
    caches: Vec<Mmap>,
    limits: Limits,
}

impl Dataset {
    /// Opens a directory written by [`crate::ingest`].
    ///
    /// # Errors
    /// [`DataError::Io`] when a file is missing, [`DataError::Damaged`] when one does not hold what
    /// the manifest says.
    pub fn open(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(MANIFEST);
        let text = std::fs::read(&path).map_err(DataError::io(&path))?;
        let damaged = |path: &Path, why: String| DataError::Damaged { path: path.to_owned(), why };
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| damaged(&path, error.to_string()))?;
        if manifest.version != MANIFEST_VERSION {
            return Err(damaged(&path, format!("version {} is not {MANIFEST_VERSION}", manifest.version)));
        }
        let path = dir.join(ORIGINALS);
        let originals = map(&path)?;
        let end = manifest.examples.iter().map(|e| e.offset.saturating_add(e.bytes)).max().unwrap_or(0);
        if end > originals.len() as u64 {
            return Err(damaged(&path, format!("{} bytes of {end}", originals.len())));
        }
        let mut caches = Vec::new();
        for resolution in manifest.labels.resolutions() {
            let path = dir.join(cache_name(*resolution));
            let cache = map(&path)?;
            let expected = manifest.examples.len() * resolution * resolution * 3;
            if cache.len() != expected {
                return Err(damaged(&path, format!("{} bytes, not {expected}", cache.len())));
            }
            caches.push(cache);
        }
        // What was accepted once is decoded again, whatever the limits are now.
        let limits = Limits { max_pixels: u64::MAX, max_image_bytes: u64::MAX, ..Limits::default() };
        Ok(Self { dir: dir.to_owned(), manifest, originals, caches, limits })
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of an example's file as they were uploaded.
    ///
    /// # Errors
    /// [`DataError::UnknownExample`].
    pub fn original(&self, index: usize) -> Result<Vec<u8>, DataError> {
        self.original_bytes(index).map(<[u8]>::to_vec)
    }

    pub(crate) fn original_bytes(&self, index: usize) -> Result<&[u8], DataError> {
        let examples = &self.manifest.examples;
        let example = examples.get(index).ok_or(DataError::UnknownExample { index, count: examples.len() })?;
        let bytes = self.originals.get(example.offset as usize..(example.offset + example.bytes) as usize);
        bytes.ok_or_else(|| DataError::Damaged { path: self.dir.join(ORIGINALS), why: "it is too short".into() })
    }

    /// An example's picture, upright, RGB.
    ///
    /// # Errors
    /// [`DataError::UnknownExample`]; [`DataError::InvalidImage`] when the pack was damaged since.
    pub fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        decode_image(self.original_bytes(index)?, &self.limits)
    }

    /// A JPEG of an example whose longer side is at most `side` pixels (never enlarged), for pages.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub fn thumbnail(&self, index: usize, side: u32) -> Result<Vec<u8>, DataError> {
        let image = DynamicImage::ImageRgb8(self.image(index)?);
        let side = side.max(1);
        let small = if image.width().max(image.height()) > side { image.thumbnail(side, side) } else { image };
        let mut out = Cursor::new(Vec::new());
        small
            .write_to(&mut out, ImageFormat::Jpeg)
            .map_err(|error| DataError::InvalidImage(format!("no thumbnail could be made: {error}")))?;
        Ok(out.into_inner())
    }

    /// All examples at one of the labels' [`resolutions`](crate::Labels::resolutions): `[examples, resolution, resolution, 3]`, RGB, in the
    /// manifest's order.
    ///
    /// # Errors
    /// [`DataError::UnknownResolution`].
    pub fn cache(&self, resolution: usize) -> Result<&[u8], DataError> {
        let resolutions = self.manifest.labels.resolutions();
        let found = resolutions.iter().position(|r| *r == resolution).and_then(|i| self.caches.get(i));
        found.map(|cache| &cache[..]).ok_or(DataError::UnknownResolution(resolution))
    }
}

/// Maps a file that is never changed again.
#[expect(unsafe_code, reason = "a mapped file must not change, and only who opens it can know that it does not")]
pub(crate) fn map(path: &Path) -> Result<Mmap, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    // SAFETY: the mapping is read-only and the file belongs to a data set's directory, which is
    // written once under a temporary name, sealed by its renaming, and never written to again.
    unsafe { Mmap::map(&file) }.map_err(DataError::io(path))
}

/// Maps one picture of a file of originals. What of a mapping was read counts as this process' memory while it is mapped,
/// so who reads all pictures maps one after another.
#[expect(unsafe_code, reason = "as above")]
pub(crate) fn map_picture(file: &File, path: &Path, offset: u64, bytes: u64) -> Result<Mmap, DataError> {
    let bytes = usize::try_from(bytes).map_err(|e| DataError::io(path)(std::io::Error::other(e)))?;
    // SAFETY: as above.
    unsafe { MmapOptions::new().offset(offset).len(bytes).map(file) }.map_err(DataError::io(path))
}
