//! From annotation files to pictures with boxes.

use super::document::{Document, Page, RawBox, Unit, shorten};
use super::find::{Finder, folder_of, is_picture, name_of, side_of};
use super::first::First;
use super::sides::{apply_lists, apply_sides, drop_sides_without_training};
use super::{Annotations, Format, Marked, Marks, Told, yolo};
use crate::layout::is_nearer;
use crate::{Broken, DataError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const WANTED: &str = "Give COCO's JSON, Pascal VOC's XML (one a picture), YOLO's text files with a `data.yaml` or \
                      `classes.txt`, or a `boxes.csv` with the columns path,label,x_min,y_min,x_max,y_max; if a picture as \
                      a whole is of a class, make it a data set of classes";

impl Annotations {
    /// Finds the pictures of what was read.
    pub(crate) fn resolve(mut self, files: &[String]) -> Result<Marks, DataError> {
        let finder = Finder::new(files);
        let lists = self.take_lists();
        let mut marks = match self.table.take() {
            Some((path, Err(why))) => return Err(refuse(&path, &why)),
            Some((path, Ok(table))) => gather(Format::Table, vec![(path, Ok(table))], &finder)?,
            None => self.best(&finder, &lists)?,
        };
        let broken = marks.broken.iter().map(|b| &b.path);
        let helpers = marks.helpers.iter().chain(lists.iter().map(|(path, _)| path));
        let speaking: BTreeSet<&str> = marks.sources.iter().chain(broken).chain(helpers).map(String::as_str).collect();
        let is_other = |path: &&String| {
            !marks.pictures.contains_key(*path) && !speaking.contains(path.as_str()) && !is_picture(path)
        };
        marks.other_files = files.iter().filter(is_other).count();
        if !marks.silence_is_empty {
            let silent = finder.pictures().filter(|path| !marks.pictures.contains_key(*path));
            marks.without_annotation = silent.map(str::to_owned).collect();
        }
        marks.without_annotation.sort();
        if marks.format != Format::Table && marks.pictures.values().all(|m| m.given.is_none()) {
            apply_lists(&mut marks.pictures, &lists, &finder);
        }
        drop_sides_without_training(&mut marks);
        Ok(marks)
    }

    /// The lists of pictures that are called after a side.
    fn take_lists(&mut self) -> Vec<(String, Vec<String>)> {
        let is_list = |path: &String, text: &Result<yolo::Text, String>| {
            matches!(text, Ok(yolo::Text::List(_))) && !yolo::is_list_of_names(path)
        };
        let paths: BTreeSet<String> =
            self.yolo.iter().filter(|(path, text)| is_list(path, text)).map(|(path, _)| path.clone()).collect();
        let take = |path: String| match self.yolo.remove(&path) {
            Some(Ok(yolo::Text::List(lines))) => Some((path, lines)),
            _ => None,
        };
        paths.into_iter().filter_map(take).collect()
    }

    /// Of the formats that are there, the one that annotates most pictures.
    fn best(mut self, finder: &Finder<'_>, lists: &[(String, Vec<String>)]) -> Result<Marks, DataError> {
        if self.coco.iter().any(|(path, _)| name_of(path).starts_with("instances_")) {
            // Beside them COCO has the same pictures' captions and key points.
            self.coco.retain(|(path, _)| name_of(path).starts_with("instances_"));
        }
        let read: Vec<(Format, usize)> = vec![
            (Format::Coco, self.coco.iter().filter(|(_, read)| read.is_ok()).count()),
            (Format::Voc, self.voc.iter().filter(|(_, read)| read.is_ok()).count()),
        ];
        let unread = self.coco.iter().chain(&self.voc).find_map(|(path, read)| Some((path, read.as_ref().err()?)));
        let nothing = match unread {
            Some((path, why)) => refuse(path, why),
            None => DataError::InvalidLayout(format!("no boxes were found. {WANTED}")),
        };
        let mut found: Vec<Result<Marks, DataError>> = Vec::new();
        for (format, count) in read {
            let documents = std::mem::take(if format == Format::Coco { &mut self.coco } else { &mut self.voc });
            if count > 0 {
                found.push(gather(format, documents, finder));
            }
        }
        if self.yolo.values().any(|text| matches!(text, Ok(yolo::Text::Boxes(_)))) {
            found.push(by_texts(self.yolo, self.config, lists, finder));
        }
        // A format that cannot be resolved matters only if no other can.
        let size = |found: &Result<Marks, DataError>| found.as_ref().map_or(0, |marks| marks.pictures.len());
        let best = found.iter().enumerate().max_by_key(|(i, marks)| (size(marks), std::cmp::Reverse(*i)));
        let Some((best, _)) = best else { return Err(nothing) };
        let others: Vec<&str> = (found.iter().enumerate())
            .filter(|(i, other)| *i != best && size(other) > 0)
            .filter_map(|(_, other)| Some(other.as_ref().ok()?.format.name()))
            .collect();
        let others = others.join(" and ");
        let mut marks = found.swap_remove(best)?;
        if marks.pictures.is_empty() {
            let example = marks.without_picture.first().or(marks.broken.first());
            let example = example.map(|b| format!(", e.g. `{}`: {}", b.path, b.reason)).unwrap_or_default();
            let format = marks.format.name();
            return Err(DataError::InvalidLayout(format!(
                "there are annotations ({format}) but none could be used{example}. Send the pictures with them"
            )));
        }
        if !others.is_empty() {
            marks.warnings.push(format!(
                "The boxes are those of {}; {others} annotates no more pictures and was not read.",
                marks.format.name()
            ));
        }
        Ok(marks)
    }
}

fn refuse(path: &str, why: &str) -> DataError {
    DataError::InvalidLayout(format!("`{path}`: {why}. Correct it and send the data again"))
}

fn empty_marks(format: Format) -> Marks {
    Marks {
        format,
        sources: Vec::new(),
        helpers: Vec::new(),
        classes: Vec::new(),
        pictures: BTreeMap::new(),
        broken: Vec::new(),
        without_picture: First::default(),
        without_annotation: Vec::new(),
        silence_is_empty: false,
        other_files: 0,
        warnings: Vec::new(),
    }
}

/// Puts documents together: one numbering of classes, and each page with its picture.
fn gather(format: Format, documents: Vec<Told<Document>>, finder: &Finder<'_>) -> Result<Marks, DataError> {
    let mut marks = empty_marks(format);
    let mut class_of: HashMap<String, u32> = HashMap::new();
    for (path, document) in documents {
        let document = match document {
            Ok(document) => document,
            Err(reason) => {
                marks.broken.push(Broken { path, reason });
                continue;
            }
        };
        let number: Vec<u32> = (document.names.into_iter())
            .map(|name| {
                let next = class_of.len() as u32;
                *class_of.entry(name).or_insert_with_key(|name| {
                    marks.classes.push(name.clone());
                    next
                })
            })
            .collect();
        let source = marks.sources.len() as u32;
        marks.without_picture.count(document.more_stray);
        marks.without_picture.extend(document.stray.into_iter().map(|reason| Broken { path: path.clone(), reason }));
        for page in document.pages {
            let picture = match find(format, &page, &path, finder) {
                Ok(picture) => picture,
                Err(Missing::Unsafe(error)) => return Err(error),
                Err(Missing::Unknown(reason)) => {
                    marks.without_picture.push(Broken { path: path.clone(), reason });
                    continue;
                }
            };
            let renumber = |boxes: Vec<RawBox>| {
                let class = |b: &RawBox| number.get(b.class as usize).copied().unwrap_or_default();
                boxes.into_iter().map(|b| RawBox { class: class(&b), ..b }).collect::<Vec<_>>()
            };
            let given = match format {
                Format::Table => page.given.or_else(|| side_of(picture)),
                _ => side_of(&path).or_else(|| side_of(picture)),
            };
            let (boxes, crowds) = (renumber(page.boxes), renumber(page.crowds));
            let marked = Marked { source: Some(source), unit: page.unit, given, boxes, crowds };
            match marks.pictures.entry(picture.to_owned()) {
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(marked)),
                std::collections::btree_map::Entry::Occupied(mut taken) => {
                    let before = taken.get_mut();
                    let other = before.source.and_then(|i| marks.sources.get(i as usize)).unwrap_or(&path);
                    let same = (&before.unit, &before.boxes) == (&marked.unit, &marked.boxes);
                    if other != &path && !same {
                        return Err(DataError::InvalidLayout(format!(
                            "`{picture}` is annotated in `{other}` and otherwise in `{path}`; leave one of them out"
                        )));
                    }
                    if other == &path {
                        before.boxes.extend(marked.boxes);
                        before.crowds.extend(marked.crowds);
                    }
                }
            }
        }
        marks.sources.push(path);
    }
    Ok(marks)
}

enum Missing {
    Unsafe(DataError),
    Unknown(String),
}

fn find<'a>(format: Format, page: &Page, from: &str, finder: &Finder<'a>) -> Result<&'a str, Missing> {
    let found = match format {
        Format::Table => {
            let slashed = page.picture.replace('\\', "/");
            if slashed.starts_with('/') || slashed.split('/').any(|part| part == "..") {
                let why = format!("`{from}` names a file outside the data with it");
                return Err(Missing::Unsafe(DataError::UnsafePath { path: shorten(&page.picture), why }));
            }
            finder.by_name(&slashed, from)
        }
        // The file's own name is what stays together with the picture's when both are renamed.
        Format::Voc if page.picture.is_empty() => finder.by_stem(from),
        Format::Voc => finder.by_stem(from).or_else(|_| finder.by_name(&page.picture, from)),
        Format::Coco | Format::Yolo => finder.by_name(&page.picture, from),
    };
    found.map_err(Missing::Unknown)
}

/// YOLO's layout.
fn by_texts(
    texts: HashMap<String, Result<yolo::Text, String>>,
    config: Option<Told<yolo::Config>>,
    lists: &[(String, Vec<String>)],
    finder: &Finder<'_>,
) -> Result<Marks, DataError> {
    let mut marks = empty_marks(Format::Yolo);
    let (naming, names, sides) = names_of(&texts, config)?;
    let mut texts: BTreeMap<String, Result<yolo::Text, String>> =
        texts.into_iter().filter(|(path, _)| !yolo::is_list_of_names(path)).collect();
    let mut labelled: Vec<(&str, String, Result<yolo::Text, String>)> = Vec::new();
    let mut pictures: Vec<&str> = finder.pictures().collect();
    pictures.sort_unstable();
    let mut silent = BTreeSet::new();
    // Pictures of one name with different endings share their text.
    let mut shared: HashMap<String, Result<yolo::Text, String>> = HashMap::new();
    for picture in &pictures {
        let text = yolo::label_paths(picture).into_iter().find_map(|path| match shared.entry(path) {
            Entry::Occupied(known) => Some((known.key().clone(), known.get().clone())),
            Entry::Vacant(free) => {
                let text = texts.remove(free.key())?;
                let path = free.key().clone();
                free.insert(text.clone());
                Some((path, text))
            }
        });
        match text {
            Some((path, text)) => labelled.push((picture, path, text)),
            None => drop(silent.insert(*picture)),
        }
    }
    // What lies elsewhere is matched by name, if that is plain.
    for (path, text) in texts {
        let is_of_labels = path.split('/').any(|part| part.eq_ignore_ascii_case("labels"));
        if !is_of_labels && !matches!(&text, Ok(yolo::Text::Boxes(boxes)) if !boxes.is_empty()) {
            continue;
        }
        let reason = match finder.by_stem(&path) {
            Ok(picture) if silent.remove(picture) => {
                labelled.push((picture, path, text));
                continue;
            }
            Ok(_) => "its picture has another text nearer by".to_owned(),
            Err(reason) => reason,
        };
        marks.helpers.push(path.clone());
        marks.without_picture.push(Broken { path, reason });
    }
    let mut most = 0;
    for (picture, path, text) in labelled {
        let usable = match text {
            Ok(yolo::Text::Boxes(boxes)) => check_classes(boxes, &naming, names.as_deref()),
            Ok(yolo::Text::List(_)) => Err("it is a list, and no boxes".to_owned()),
            Ok(yolo::Text::Other(why)) | Err(why) => Err(why),
        };
        match usable {
            Ok(boxes) => {
                most = boxes.iter().map(|b| b.class + 1).max().unwrap_or(0).max(most);
                let source = Some(marks.sources.len() as u32);
                marks.sources.push(path);
                let given = side_of(picture);
                let marked = Marked { source, unit: Unit::Shares, given, boxes, crowds: Vec::new() };
                marks.pictures.insert(picture.to_owned(), marked);
            }
            Err(why) => {
                marks.broken.push(Broken { path, reason: format!("{why}; its picture `{picture}` is left out") });
            }
        }
    }
    marks.helpers.push(naming);
    marks.classes = names.unwrap_or_else(|| (0..most).map(|class| class.to_string()).collect());
    // As Ultralytics has it, a picture without a text shows nothing; one in a folder without any label is no part of it.
    let folders: BTreeSet<String> = marks.pictures.keys().map(|path| folder_of(path).to_owned()).collect();
    for picture in silent.into_iter().filter(|path| folders.contains(folder_of(path))) {
        let given = side_of(picture);
        let marked = Marked { source: None, unit: Unit::Shares, given, boxes: Vec::new(), crowds: Vec::new() };
        marks.pictures.insert(picture.to_owned(), marked);
        marks.without_annotation.push(picture.to_owned());
    }
    marks.silence_is_empty = true;
    apply_sides(&mut marks.pictures, &sides, lists, finder);
    Ok(marks)
}

/// What names the classes, their names, and the sides' folders and lists.
type Naming = (String, Option<Vec<String>>, [Vec<String>; 3]);

fn names_of(
    texts: &HashMap<String, Result<yolo::Text, String>>,
    config: Option<Told<yolo::Config>>,
) -> Result<Naming, DataError> {
    let mut list: Option<(&String, &Vec<String>)> = None;
    for (path, text) in texts.iter().filter(|(path, _)| yolo::is_list_of_names(path)) {
        if let Ok(yolo::Text::List(names)) = text
            && list.is_none_or(|(other, _)| is_nearer(path, other))
        {
            list = Some((path, names));
        }
    }
    match (config, list) {
        (Some((path, Ok(config))), _) => Ok((path, Some(config.names), config.sides)),
        (_, Some((path, names))) => {
            let names: Result<Vec<String>, String> = names.iter().map(|n| super::document::class_name(n)).collect();
            Ok((path.clone(), Some(names.map_err(|why| refuse(path, &why))?), Default::default()))
        }
        (Some((path, Err(why))), None) => Err(refuse(&path, &why)),
        (None, None) => Ok((String::new(), None, Default::default())),
    }
}

/// Classes that nothing names.
const MOST_UNNAMED: u32 = 1000;

fn check_classes(boxes: Vec<RawBox>, naming: &str, names: Option<&[String]>) -> Result<Vec<RawBox>, String> {
    let bound = names.map_or(MOST_UNNAMED, |names| names.len() as u32);
    match boxes.iter().find(|b| b.class >= bound) {
        None => Ok(boxes),
        Some(b) if names.is_some() => {
            Err(format!("line {}: class {}, but `{naming}` names {bound}, numbered from 0", b.at, b.class))
        }
        Some(b) => {
            Err(format!("line {}: class {} is beyond the {bound} that need no `data.yaml` with names", b.at, b.class))
        }
    }
}
