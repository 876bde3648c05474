//! Annotated boxes: which format they are in, which picture each is of, and where in it.
//!
//! The readers make a [`Document`] of each annotation file while the upload is listed; [`Annotations::resolve`] then
//! finds their pictures. Of several formats the one that annotates most pictures is read; `boxes.csv` always.

mod audit;
mod coco;
mod csv;
mod document;
mod find;
mod first;
mod place;
mod resolve;
mod sides;
#[cfg(test)]
mod tests;
mod voc;
mod yolo;

use crate::layout::is_nearer;
use crate::{Broken, DataError, Limits, OddBox};
use document::{Bounded, Document, RawBox, Room, Trouble, Unit};
use first::First;
use kindling_spec::Split;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

pub(crate) use document::{class_name, shorten};

pub(crate) use audit::{agree, check_counts, check_variety, count_boxes, count_pictures, words};
pub(crate) use place::place_all;

/// Bytes of a table: two million boxes take some 120 million.
const MAX_TABLE: u64 = 256 << 20;

/// Bytes of the names of pictures and the lines of lists, in all annotation files together.
const MOST_TEXT: usize = 128 << 20;

/// Pictures, names of classes and lines of lists, in all annotation files together, for each entry that is allowed: lists
/// and several files may name a picture more than once.
const KEPT_AN_ENTRY: usize = 4;

/// The formats, in the order of preference among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Coco,
    Voc,
    Yolo,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "`boxes.csv`",
            Self::Coco => "COCO's JSON",
            Self::Voc => "Pascal VOC's XML",
            Self::Yolo => "YOLO's text files",
        }
    }

    /// What the numbers should be.
    fn numbers(self) -> &'static str {
        match self {
            Self::Table => "Give x_min,y_min,x_max,y_max, in pixels of the upright picture or as shares of its sides",
            Self::Coco => "A `bbox` is left, top, width and height in pixels",
            Self::Voc => "A `bndbox` is left, top, right and lower edge in pixels",
            Self::Yolo => "A line is class, middle (x, y), width and height, all in shares of the picture's sides",
        }
    }

    fn place(self, at: u32) -> String {
        match self {
            Self::Table | Self::Yolo => format!("line {at}"),
            Self::Coco => format!("annotations[{at}]"),
            Self::Voc => format!("object {at}"),
        }
    }
}

/// A file that was read, or why it was not.
type Told<T> = (String, Result<T, String>);

/// The annotation files of an upload, read while it is listed.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    /// Boxes, and what else is kept for long: pictures, names, lines of lists.
    boxes: usize,
    kept: usize,
    /// Bytes of their texts.
    text: usize,
    table: Option<Told<Document>>,
    coco: Vec<Told<Document>>,
    voc: Vec<Told<Document>>,
    yolo: HashMap<String, Result<yolo::Text, String>>,
    config: Option<Told<yolo::Config>>,
}

impl Annotations {
    /// Reads a file if it is an annotation file by its name. `explain` says what a failed read means.
    pub(crate) fn read(
        &mut self,
        path: &str,
        content: &mut dyn Read,
        limits: &Limits,
        explain: &dyn Fn(io::Error) -> Result<String, DataError>,
    ) -> Result<bool, DataError> {
        let name = find::name_of(path).to_ascii_lowercase();
        let mut room = Room::new(limits);
        room.boxes = room.boxes.saturating_sub(self.boxes);
        let content = &mut Bounded::new(content, limits.max_annotation_bytes);
        let settle = |trouble: Trouble| match trouble {
            Trouble::Io(error) => explain(error),
            Trouble::Wrong(why) => Ok(why),
            Trouble::TooMany(what) => {
                let most = limits.max_boxes;
                Err(DataError::ArchiveTooLarge(format!("`{path}`: {what} (up to {most} boxes in all); send less")))
            }
        };
        if name == csv::TABLE {
            if self.table.as_ref().is_none_or(|(other, _)| is_nearer(path, other)) {
                let read = csv::parse(Bounded::new(content, MAX_TABLE), room);
                self.table = Some((path.to_owned(), told(read, settle)?));
            }
        } else if name.ends_with(".json") {
            if let Some(read) = told(coco::parse(content, room), settle)?.transpose() {
                self.count(read.as_ref().ok());
                self.coco.push((path.to_owned(), read));
            }
        } else if name.ends_with(".xml") {
            if let Some(read) = told(voc::parse(content, room), settle)?.transpose() {
                self.count(read.as_ref().ok());
                self.voc.push((path.to_owned(), read));
            }
        } else if name.ends_with(".yaml") || name.ends_with(".yml") {
            let read = told(yolo::parse_yaml(content, room), settle)?.transpose();
            let nearer = self.config.as_ref().is_none_or(|(other, old)| old.is_err() || is_nearer(path, other));
            if let Some(read) = read.filter(|read| nearer && (read.is_ok() || self.config.is_none())) {
                self.config = Some((path.to_owned(), read));
            }
        } else if name.ends_with(".txt") || name.ends_with(".names") {
            let read = told(yolo::parse(path, content, room), settle)?;
            match &read {
                Ok(yolo::Text::Boxes(boxes)) => self.boxes += boxes.len(),
                Ok(yolo::Text::List(lines)) => {
                    self.kept += lines.len();
                    self.text += lines.iter().map(String::len).sum::<usize>();
                }
                Ok(yolo::Text::Other(_)) | Err(_) => {}
            }
            self.yolo.insert(path.to_owned(), read);
        } else {
            return Ok(false);
        }
        let most = limits.max_entries.saturating_mul(KEPT_AN_ENTRY);
        if self.kept > most {
            let what =
                format!("`{path}` and the annotation files before it name more than {most} pictures and classes");
            return Err(DataError::ArchiveTooLarge(what));
        }
        if self.text > MOST_TEXT {
            let what = format!(
                "the names in `{path}` and the annotation files before it have more than {} MiB",
                MOST_TEXT >> 20
            );
            return Err(DataError::ArchiveTooLarge(what));
        }
        Ok(true)
    }

    fn count(&mut self, document: Option<&Document>) {
        self.boxes += document.map_or(0, Document::boxes);
        self.kept += document.map_or(0, |d| d.pages.len() + d.names.len());
        self.text += document.map_or(0, |d| d.pages.iter().map(|page| page.picture.len()).sum());
    }
}

/// Trouble with one file is told of later, other trouble ends it all.
fn told<T>(
    read: Result<T, Trouble>,
    settle: impl FnOnce(Trouble) -> Result<String, DataError>,
) -> Result<Result<T, String>, DataError> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(trouble) => settle(trouble).map(Err),
    }
}

/// A picture and its annotation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Marked {
    /// An index into the marks' sources; none of a picture that nothing speaks of.
    source: Option<u32>,
    unit: Unit,
    pub(crate) given: Option<Split>,
    boxes: Vec<RawBox>,
    crowds: Vec<RawBox>,
}

/// All annotations, by picture.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    pub(crate) format: Format,
    /// The annotation files.
    sources: Vec<String>,
    /// Files that were of use otherwise: they name the classes or the sides' pictures.
    helpers: Vec<String>,
    /// The classes' names, as the boxes number them.
    pub(crate) classes: Vec<String>,
    pub(crate) pictures: BTreeMap<String, Marked>,
    /// Annotation files that could not be read.
    pub(crate) broken: Vec<Broken>,
    without_picture: First<Broken>,
    without_annotation: Vec<String>,
    silence_is_empty: bool,
    /// Files that are neither pictures nor annotations.
    pub(crate) other_files: usize,
    pub(crate) warnings: Vec<String>,
}

impl Marks {
    /// Whether all of it fits together, whatever it was read from.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        for marked in self.pictures.values() {
            assert!(marked.source.is_none_or(|source| (source as usize) < self.sources.len()));
            for raw in marked.boxes.iter().chain(&marked.crowds) {
                assert!((raw.class as usize) < self.classes.len() && raw.edges.iter().all(|edge| edge.is_finite()));
            }
        }
    }

    fn source(&self, marked: &Marked) -> &str {
        marked.source.and_then(|i| self.sources.get(i as usize)).map_or("", String::as_str)
    }

    fn odd(&self, path: &str, marked: &Marked, raw: &RawBox) -> OddBox {
        OddBox {
            path: path.to_owned(),
            place: format!("{}, {}", self.source(marked), self.format.place(raw.at)),
            class: self.classes.get(raw.class as usize).cloned().unwrap_or_default(),
            given: raw.edges,
        }
    }
}
