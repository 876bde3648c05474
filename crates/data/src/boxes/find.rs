//! Which picture an annotation means: annotations name files as they lay on someone's disk.

use crate::layout::split_word;
use crate::sniff;
use kindling_spec::Split;
use std::cell::Cell;
use std::collections::HashMap;

/// The pictures by their names with and without the ending.
#[derive(Default)]
pub(crate) struct Finder<'a> {
    by_name: HashMap<&'a str, Vec<&'a str>>,
    by_stem: HashMap<&'a str, Vec<&'a str>>,
    /// Pictures that were held against an annotation so far.
    compared: Cell<usize>,
}

/// How many may be, all together: pictures of one name in as many folders are compared with each annotation that has
/// that name.
const MOST_COMPARED: usize = 50_000_000;

/// How well a picture fits: parts of the path that agree from the end, whether it is on the annotation's side, and
/// parts of the path that it shares with the annotation's.
type Fit = (usize, bool, usize);

impl<'a> Finder<'a> {
    pub(crate) fn new(files: &'a [String]) -> Self {
        let mut finder = Self::default();
        for path in files.iter().filter(|path| is_picture(path)) {
            finder.by_name.entry(name_of(path)).or_default().push(path);
            finder.by_stem.entry(stem_of(path)).or_default().push(path);
        }
        finder
    }

    pub(crate) fn pictures(&self) -> impl Iterator<Item = &'a str> {
        self.by_name.values().flatten().copied()
    }

    /// The picture of this name that fits an annotation file best, or why there is none.
    pub(crate) fn by_name(&self, wanted: &str, from: &str) -> Result<&'a str, String> {
        let wanted = wanted.replace('\\', "/");
        self.best(self.by_name.get(name_of(&wanted)), &wanted, from)
    }

    /// The picture that is called as the annotation file itself.
    pub(crate) fn by_stem(&self, from: &str) -> Result<&'a str, String> {
        self.best(self.by_stem.get(stem_of(from)), stem_of(from), from)
    }

    fn best(&self, candidates: Option<&Vec<&'a str>>, wanted: &str, from: &str) -> Result<&'a str, String> {
        self.compared.set(self.compared.get().saturating_add(candidates.map_or(0, Vec::len)));
        if self.compared.get() > MOST_COMPARED {
            return Err("too many pictures in too many folders have one name; give them names of their own".to_owned());
        }
        best(candidates, wanted, from)
    }
}

fn best<'a>(candidates: Option<&Vec<&'a str>>, wanted: &str, from: &str) -> Result<&'a str, String> {
    let side = side_of(from);
    let fit = |path: &str| -> Fit {
        let same = |a: &mut dyn Iterator<Item = &str>, b: &mut dyn Iterator<Item = &str>| {
            a.zip(b).take_while(|(a, b)| a == b).count()
        };
        let from_end = same(&mut path.rsplit('/'), &mut wanted.rsplit('/'));
        (from_end, side.is_some() && side == side_of(path), same(&mut path.split('/'), &mut from.split('/')))
    };
    let mut found: Option<(Fit, &'a str)> = None;
    let mut rival = None;
    for path in candidates.into_iter().flatten() {
        let this = fit(path);
        match &found {
            Some((best, _)) if *best > this => {}
            Some((best, other)) if *best == this => rival = Some((best.to_owned(), *other, *path)),
            _ => found = Some((this, path)),
        }
    }
    let shown = super::document::shorten(wanted);
    match (found, rival) {
        (None, _) => Err(format!("there is no picture `{shown}`")),
        (Some((best, _)), Some((as_good, one, other))) if best == as_good => {
            Err(format!("`{shown}` may be `{one}` or `{other}`; name it with its folder"))
        }
        (Some((_, path)), _) => Ok(path),
    }
}

/// Whether a file's name says that it is a picture.
pub(crate) fn is_picture(path: &str) -> bool {
    name_of(path).contains('.') && sniff::named_as_image(path)
}

pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(crate) fn stem_of(path: &str) -> &str {
    let name = name_of(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The side that a path tells: a folder called `train`, `val2017` and the like, else such a word in an annotation file's
/// name (`instances_train2017.json`). Of several the innermost counts.
pub(crate) fn side_of(path: &str) -> Option<Split> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let word = |text: &str| split_word(text.trim_end_matches(|c: char| c.is_ascii_digit()));
    let by_name = || stem_of(name).split(['_', '-', '.', ' ']).rev().find_map(word);
    let by_folder = || folder.split('/').rev().find_map(word);
    if is_picture(path) { by_folder() } else { by_name().or_else(by_folder) }
}
