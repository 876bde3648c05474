//! Which class each file is of: by its folder, or by `labels.csv`.

use crate::boxes::{Annotations, Marks, class_name, shorten};
use crate::sample::MASKS;
use crate::{DataError, Labels};
use kindling_spec::Split;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read};

/// The label file's name.
pub(crate) const LABELS: &str = "labels.csv";
/// Rows of it that are kept.
const MOST_ROWS: usize = 1_000_000;
/// Bytes of one of its rows.
pub(crate) const LONGEST_ROW: usize = 1 << 16;

/// What a source holds, by its paths.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: Vec<String>,
    pub(crate) dirs: Vec<String>,
    /// Path and content of the `labels.csv` nearest to the root.
    pub(crate) labels: Option<(String, Vec<u8>)>,
    /// What was read of boxes, if boxes are wanted.
    pub(crate) annotations: Annotations,
}

/// What becomes of each file.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Sorted.
    pub(crate) classes: Vec<String>,
    /// Path to class and given side.
    pub(crate) files: HashMap<String, (usize, Option<Split>)>,
    /// Files that belong to no class.
    pub(crate) outside: Vec<String>,
    /// Files that `labels.csv` names but that are not there, with their classes.
    pub(crate) missing: Vec<(String, usize)>,
    /// The boxes, where the labels are boxes; the classes are known once they are placed.
    pub(crate) marks: Option<Marks>,
}

impl Layout {
    pub(crate) fn labels(&self) -> Labels {
        if self.marks.is_some() { Labels::Boxes } else { Labels::Classes }
    }
}

/// Whether a file lies nearer to the root than another; of equals the first by name, so that the order of an archive has
/// no say.
pub(crate) fn is_nearer(path: &str, other: &str) -> bool {
    let depth = |path: &str| path.matches('/').count();
    (depth(path), path) < (depth(other), other)
}

/// Files that operating systems leave behind.
pub(crate) fn is_litter(path: &str) -> bool {
    path.split('/').any(|part| {
        part.starts_with('.') || ["__macosx", "thumbs.db", "desktop.ini"].contains(&part.to_ascii_lowercase().as_str())
    })
}

pub(crate) fn split_word(word: &str) -> Option<Split> {
    match word.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "valid" | "val" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

const WANTED: &str = "Put each class's images in a folder of its own (`fire/1.jpg`, `smoke/2.jpg`), if you like \
                      under `train/`, `validation/` and `test/`, or add a `labels.csv` with the columns path,label";

impl Listing {
    /// Finds the pictures and their boxes.
    pub(crate) fn resolve_boxes(self) -> Result<Layout, DataError> {
        let marks = self.annotations.resolve(&self.files)?;
        let files = marks.pictures.iter().map(|(path, marked)| (path.clone(), (0, marked.given))).collect();
        Ok(Layout { files, marks: Some(marks), ..Layout::default() })
    }

    /// Finds the classes, `least` of them.
    pub(crate) fn resolve(&self, least: usize) -> Result<Layout, DataError> {
        let wrapper = self.wrapper();
        let inside = |path: &str| path.strip_prefix(wrapper.as_str()).map(str::to_owned);
        let layout = match &self.labels {
            Some((path, bytes)) if inside(path).is_some_and(|p| !p.contains('/')) || !path.contains('/') => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                self.by_labels(folder, bytes)?
            }
            _ => self.by_folders(&wrapper)?,
        };
        match layout.classes.as_slice() {
            [] => Err(DataError::InvalidLayout(format!("no class was found. {WANTED}"))),
            [one] if least > 1 => Err(DataError::InvalidLayout(format!(
                "there is only one class, `{one}`; there is nothing to tell it from. {WANTED}"
            ))),
            _ => Ok(layout),
        }
    }

    /// The folder, with its `/`, that everything lies in, if it only wraps further folders.
    fn wrapper(&self) -> String {
        let mut wrapper = String::new();
        loop {
            let mut tops = BTreeSet::new();
            let mut deeper = false;
            let mut loose = false;
            for (path, is_dir) in self.dirs.iter().map(|p| (p, true)).chain(self.files.iter().map(|p| (p, false))) {
                let Some(rest) = path.strip_prefix(wrapper.as_str()) else { continue };
                match rest.split_once('/') {
                    None if is_dir => {
                        tops.insert(rest);
                    }
                    None => loose |= crate::sniff::named_as_image(rest) || rest.eq_ignore_ascii_case(LABELS),
                    Some((top, below)) => {
                        tops.insert(top);
                        deeper |= is_dir || below.contains('/') || below.eq_ignore_ascii_case(LABELS);
                    }
                }
            }
            match tops.first() {
                Some(top) if tops.len() == 1 && deeper && !loose => wrapper = format!("{wrapper}{top}/"),
                _ => return wrapper,
            }
        }
    }

    fn by_folders(&self, wrapper: &str) -> Result<Layout, DataError> {
        let strip = |path: &String| path.strip_prefix(wrapper).map(str::to_owned);
        let files: Vec<(String, &String)> = self.files.iter().filter_map(|path| Some((strip(path)?, path))).collect();
        let folders: Vec<String> = self.dirs.iter().filter_map(strip).filter(|p| !p.is_empty()).collect();
        let mut tops: BTreeSet<&str> = folders.iter().map(|p| p.split('/').next().unwrap_or(p)).collect();
        tops.extend(files.iter().filter_map(|(p, _)| Some(p.split_once('/')?.0)));
        let is_split = |top: &str| {
            let below = |p: &str| p.strip_prefix(top).and_then(|r| r.strip_prefix('/')).map(str::to_owned);
            split_word(top).is_some()
                && (folders.iter().any(|p| below(p).is_some())
                    || files.iter().any(|(p, _)| below(p).is_some_and(|r| r.contains('/'))))
        };
        let splits: BTreeSet<&str> = tops.iter().copied().filter(|top| is_split(top)).collect();
        // The masks of defects, which data sets for anomaly detection have beside their sides, are no pictures.
        let is_mask = |top: &str| !splits.is_empty() && top.eq_ignore_ascii_case(MASKS);
        if let Some(first) = splits.first()
            && let Some(other) = tops.iter().find(|top| !splits.contains(*top) && !is_mask(top))
        {
            return Err(DataError::InvalidLayout(format!(
                "beside the folder `{first}` there is `{other}`, which is neither train, validation nor test. {WANTED}"
            )));
        }
        let class_of = |path: &str, is_dir: bool| -> Option<(String, Option<Split>)> {
            let mut parts = path.split('/');
            if is_mask(path.split('/').next()?) {
                return None;
            }
            let split = if splits.is_empty() { None } else { split_word(parts.next()?) };
            let class = parts.next()?;
            (is_dir || parts.next().is_some()).then(|| (class.to_owned(), split))
        };
        let mut classes = BTreeSet::new();
        // A folder counts even when nothing lies in it: an empty class is a mistake worth telling.
        classes.extend(folders.iter().filter_map(|p| Some(class_of(p, true)?.0)));
        classes.extend(files.iter().filter_map(|(p, _)| Some(class_of(p, false)?.0)));
        let mut layout = Layout { classes: classes.into_iter().collect(), ..Layout::default() };
        let inside: HashSet<&String> = files.iter().map(|(_, original)| *original).collect();
        layout.outside.extend(self.files.iter().filter(|p| !inside.contains(p)).cloned());
        for (path, original) in &files {
            let found = class_of(path, false);
            match found.and_then(|(class, split)| Some((layout.classes.binary_search(&class).ok()?, split))) {
                Some(place) => drop(layout.files.insert((*original).clone(), place)),
                None => layout.outside.push((*original).clone()),
            }
        }
        Ok(layout)
    }

    fn by_labels(&self, folder: &str, bytes: &[u8]) -> Result<Layout, DataError> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let first_line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        // Spreadsheets of half of Europe write semicolons.
        let delimiter = if first_line.contains(&b';') && !first_line.contains(&b',') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(Rows::new(bytes, delimiter));
        let wrong = |line: u64, what: String| DataError::InvalidLayout(format!("{LABELS}, line {line}: {what}"));
        let headers = reader.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
        let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
        let (Some(path_at), Some(label_at)) = (column("path"), column("label")) else {
            return Err(wrong(1, "the columns must be path,label or path,label,split".to_owned()));
        };
        let split_at = column("split");
        let mut rows: BTreeMap<String, (String, Option<Split>)> = BTreeMap::new();
        for record in reader.records() {
            let record =
                record.map_err(|error| wrong(error.position().map_or(0, csv::Position::line), error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |at: usize| record.get(at).unwrap_or_default();
            let (path, label) = (field(path_at), field(label_at));
            if path.is_empty() || label.is_empty() {
                return Err(wrong(line, "path and label must not be empty".to_owned()));
            }
            let label = class_name(label).map_err(|why| wrong(line, why))?;
            let split = match split_at.map_or("", field) {
                "" => None,
                word => Some(split_word(word).ok_or_else(|| {
                    wrong(line, format!("the split `{}` is none of train, validation and test", shorten(word)))
                })?),
            };
            let slashed = path.replace('\\', "/");
            let parts: Vec<&str> = slashed.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            if slashed.starts_with('/') || parts.contains(&"..") {
                let why = format!("{LABELS}, line {line}, names a file outside the data");
                return Err(DataError::UnsafePath { path: shorten(path), why });
            }
            let full = if folder.is_empty() { parts.join("/") } else { format!("{folder}/{}", parts.join("/")) };
            let row = (label, split);
            if let Some(before) = rows.insert(full, row.clone()).filter(|before| *before != row) {
                let path = shorten(path);
                return Err(wrong(line, format!("`{path}` was labelled `{}` before; label it once", before.0)));
            }
            if rows.len() > MOST_ROWS {
                return Err(wrong(line, format!("it names more than {MOST_ROWS} files; send less")));
            }
        }
        let classes: BTreeSet<&String> = rows.values().map(|(label, _)| label).collect();
        let mut layout = Layout { classes: classes.into_iter().cloned().collect(), ..Layout::default() };
        let there: HashSet<&String> = self.files.iter().collect();
        for (path, (label, split)) in &rows {
            let Ok(class) = layout.classes.binary_search(label) else { continue };
            if there.contains(path) {
                layout.files.insert(path.clone(), (class, *split));
            } else {
                layout.missing.push((path.clone(), class));
            }
        }
        let labels = if folder.is_empty() { LABELS.to_owned() } else { format!("{folder}/{LABELS}") };
        let unlabelled = |path: &&String| !rows.contains_key(*path) && !path.eq_ignore_ascii_case(&labels);
        layout.outside.extend(self.files.iter().filter(unlabelled).cloned());
        Ok(layout)
    }
}

/// Passes a table on, and fails in a row that is longer than any should be, such as one with a quotation that never ends:
/// the reader would keep it whole.
pub(crate) struct Rows<R> {
    inner: R,
    delimiter: u8,
    place: Place,
    length: usize,
}

/// Where in a row a byte is, as `csv` sees it: a quotation begins with a field or not at all.
#[derive(PartialEq)]
enum Place {
    Start,
    Plain,
    Quoted,
    /// After a mark that ends a quotation, unless another one follows.
    Ended,
}

impl<R> Rows<R> {
    pub(crate) fn new(inner: R, delimiter: u8) -> Self {
        Self { inner, delimiter, place: Place::Start, length: 0 }
    }
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        for byte in &buffer[..n] {
            self.length += 1;
            self.place = match (&self.place, byte) {
                (Place::Start | Place::Ended, b'"') => Place::Quoted,
                (Place::Quoted, b'"') => Place::Ended,
                (Place::Quoted, _) => Place::Quoted,
                (_, b'\n' | b'\r') => {
                    self.length = 0;
                    Place::Start
                }
                (_, byte) if *byte == self.delimiter => Place::Start,
                _ => Place::Plain,
            };
            if self.length > LONGEST_ROW {
                let text =
                    format!("a row has more than {} KiB; perhaps a quotation mark is missing", LONGEST_ROW >> 10);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(files: &[&str]) -> Result<Layout, DataError> {
        Listing { files: files.iter().map(|path| (*path).to_owned()).collect(), ..Listing::default() }.resolve(2)
    }

    #[test]
    fn rows_are_counted_as_the_reader_sees_them() {
        let passes = |text: String| io::copy(&mut Rows::new(text.as_bytes(), b','), &mut io::sink()).is_ok();
        let rows = "5\" wide.png,a\n\"say \"\"b\"\".png\",\"b\nc\"\n".repeat(10_000);
        assert!(passes(rows.clone()) && passes(rows.replace('\n', "\r")));
        assert!(!passes(format!("\"a.png,a\n{}", "b.png,b\n".repeat(10_000))));
        assert!(!passes("a,".repeat(40_000)));
    }

    #[test]
    fn masks_beside_the_sides_are_no_pictures() {
        let mask = "set/ground_truth/torn/2_mask.png";
        let layout = resolve(&["set/train/good/0.png", "set/test/good/1.png", "set/test/torn/2.png", mask]).unwrap();
        assert_eq!(layout.classes, ["good", "torn"]);
        assert_eq!((layout.files.len(), layout.outside), (3, vec![mask.to_owned()]));
        // Without sides it is a class as any other; beside them any other folder is refused.
        assert_eq!(resolve(&["a/0.png", "ground_truth/1.png"]).unwrap().classes, ["a", "ground_truth"]);
        let error = resolve(&["train/a/0.png", "train/b/1.png", "other/c/2.png", "ground_truth/a/0_mask.png"]);
        assert!(error.unwrap_err().to_string().contains("`other`"));
    }
}
