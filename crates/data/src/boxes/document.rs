//! What every reader makes of an annotation file, and what keeps a hostile one small.

use crate::{LIST_CAP, Limits};
use kindling_spec::Split;
use std::io::{self, Read};

/// Boxes' numbers beyond this are no pixels of any picture.
const FARTHEST: f64 = 1e7;

/// A box as an annotation file has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawBox {
    /// An index into the names of its document.
    pub(crate) class: u32,
    /// Where it stands in its file: a line, or the place among the objects.
    pub(crate) at: u32,
    /// Left, top, width and height, finite; pixels or shares.
    pub(crate) edges: [f32; 4],
}

/// What a box's numbers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Shares of the picture's sides.
    Shares,
    /// Pixels, of a picture of this size if the annotation says so.
    Pixels(Option<(u32, u32)>),
}

/// One picture in an annotation file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// As the file calls it.
    pub(crate) picture: String,
    pub(crate) unit: Unit,
    pub(crate) given: Option<Split>,
    pub(crate) boxes: Vec<RawBox>,
    /// Boxes around crowds.
    pub(crate) crowds: Vec<RawBox>,
}

/// One annotation file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Document {
    /// The classes' names, in the file's own order.
    pub(crate) names: Vec<String>,
    pub(crate) pages: Vec<Page>,
    /// Annotations of pictures that the file does not name, in words; the first [`LIST_CAP`].
    pub(crate) stray: Vec<String>,
    /// How many more there are.
    pub(crate) more_stray: usize,
}

impl Document {
    /// Tells of an annotation of a picture that the file does not name.
    pub(crate) fn stray(&mut self, words: impl FnOnce() -> String) {
        if self.stray.len() < LIST_CAP { self.stray.push(words()) } else { self.more_stray += 1 }
    }

    pub(crate) fn boxes(&self) -> usize {
        self.pages.iter().map(|page| page.boxes.len() + page.crowds.len()).sum()
    }
}

/// Why an annotation file was not read.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The file's bytes cannot be had.
    Io(io::Error),
    /// What is wrong in it, where, and how to mend it.
    Wrong(String),
    /// The whole upload has more than is allowed.
    TooMany(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        // The bound of one file, from `Bounded`, speaks of that file only.
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::Wrong(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

/// How much the readers may still keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) boxes: usize,
    pub(crate) pictures: usize,
    pub(crate) classes: usize,
}

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { boxes: limits.max_boxes, pictures: limits.max_entries, classes: limits.max_classes }
    }

    pub(crate) fn check_boxes(&self, boxes: usize) -> Result<(), Trouble> {
        if boxes > self.boxes { Err(Trouble::TooMany("it has more boxes than are allowed".to_owned())) } else { Ok(()) }
    }
}

/// Fails past a number of bytes.
pub(crate) struct Bounded<'a> {
    inner: &'a mut dyn Read,
    left: u64,
    bound: u64,
}

impl<'a> Bounded<'a> {
    pub(crate) fn new(inner: &'a mut dyn Read, bound: u64) -> Self {
        Self { inner, left: bound, bound }
    }

    /// All of it, as text.
    pub(crate) fn text(mut self) -> Result<String, Trouble> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            Trouble::Wrong(format!("byte {} is no UTF-8; save it as UTF-8", error.utf8_error().valid_up_to()))
        })?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            let text = format!("it is larger than the {} KiB allowed for such a file", self.bound >> 10);
            io::Error::new(io::ErrorKind::FileTooLarge, text)
        })?;
        Ok(n)
    }
}

/// A number of a box: finite, and of a size that a picture may have.
pub(crate) fn number(value: f64) -> Result<f32, String> {
    if value.is_finite() && value.abs() <= FARTHEST {
        Ok(value as f32)
    } else {
        Err(format!("{value} is no place in a picture"))
    }
}

/// The same of a text.
pub(crate) fn parse_number(text: &str) -> Result<f32, String> {
    parse_edge(text).map(|value| value as f32)
}

/// The same, to its last digit.
pub(crate) fn parse_edge(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim().parse().map_err(|_| format!("`{}` is no number", shorten(text)))?;
    number(value).map(|_| value)
}

/// Left, top, width and height from the edges. In doubles, so that a width that edges were made from comes back as it was.
pub(crate) fn from_edges([left, top, right, bottom]: [f64; 4]) -> [f32; 4] {
    [left as f32, top as f32, (right - left) as f32, (bottom - top) as f32]
}

/// A stranger's text, short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A class's name: text without blanks around it, short enough to be shown.
pub(crate) fn class_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err("a class has no name".to_owned()),
        1..=200 if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(format!("`{}` is no name of a class: at most 200 plain characters", shorten(name))),
    }
}
