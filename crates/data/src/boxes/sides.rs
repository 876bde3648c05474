//! Which side of the split each picture was given, where not by its path.

use super::find::{Finder, folder_of, is_picture, name_of, stem_of};
use super::{Marked, Marks};
use crate::layout::split_word;
use kindling_spec::Split;
use std::collections::BTreeMap;

/// Folders and lists of one side that are looked for: for each, all pictures are looked through.
const MOST_PLACES: usize = 100;

/// The sides that a `data.yaml` gives, as folders or lists; where it gives none that is there, those of the paths stay.
pub(crate) fn apply_sides(
    pictures: &mut BTreeMap<String, Marked>,
    sides: &[Vec<String>; 3],
    lists: &[(String, Vec<String>)],
    finder: &Finder<'_>,
) {
    let mut given: BTreeMap<String, Split> = BTreeMap::new();
    for (side, places) in [Split::Train, Split::Validation, Split::Test].into_iter().zip(sides) {
        let mut add = |path: &str| {
            let before = given.entry(path.to_owned()).or_insert(side);
            *before = side.max(*before);
        };
        for place in places.iter().take(MOST_PLACES) {
            let slashed = place.replace('\\', "/");
            let parts: Vec<&str> = slashed.split('/').filter(|p| !matches!(*p, "" | "." | "..")).collect();
            if place.ends_with(".txt") {
                let named = lists.iter().filter(|(path, _)| Some(&name_of(path)) == parts.last());
                named.for_each(|(path, lines)| listed(path, lines, finder).for_each(&mut add));
                continue;
            }
            // From the whole path to its last folder, until something lies there: it is of someone's disk.
            let beneath = |wanted: &[&str], path: &str| {
                let folders: Vec<&str> = folder_of(path).split('/').collect();
                wanted.is_empty() || folders.windows(wanted.len()).any(|window| window == wanted)
            };
            let there = (0..parts.len().max(1))
                .map(|skip| parts.get(skip..).unwrap_or_default())
                .find(|wanted| pictures.keys().any(|path| beneath(wanted, path)));
            if let Some(wanted) = there {
                pictures.keys().filter(|path| beneath(wanted, path)).for_each(|path| add(path));
            }
        }
    }
    if pictures.keys().any(|path| given.contains_key(path)) {
        for (path, marked) in pictures {
            marked.given = given.get(path).copied();
        }
    }
}

/// The pictures of a list: paths, or names without an ending as in VOC's `ImageSets`.
fn listed<'a>(path: &'a str, lines: &'a [String], finder: &'a Finder<'a>) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(move |line| {
        if is_picture(line) {
            return finder.by_name(line, path).ok();
        }
        let name = line.split_ascii_whitespace().next()?;
        finder.by_stem(&format!("{name}.")).ok()
    })
}

/// Lists that are called after a side, where nothing else tells the sides.
pub(crate) fn apply_lists(
    pictures: &mut BTreeMap<String, Marked>,
    lists: &[(String, Vec<String>)],
    finder: &Finder<'_>,
) {
    for (path, lines) in lists {
        let Some(side) = split_word(stem_of(path)) else { continue };
        for picture in listed(path, lines, finder) {
            if let Some(marked) = pictures.get_mut(picture) {
                marked.given = marked.given.max(Some(side));
            }
        }
    }
}

/// A set that is all validation or test, by the names of its folders, is divided as if nothing were given.
pub(crate) fn drop_sides_without_training(marks: &mut Marks) {
    let trains = |marked: &Marked| marked.given.is_none_or(|side| side == Split::Train);
    if marks.pictures.values().any(trains) {
        return;
    }
    marks.pictures.values_mut().for_each(|marked| marked.given = None);
    marks
        .warnings
        .push("All pictures were given to validation or test, none to training: they were divided anew.".to_owned());
}
