//! A new version of a data set: some examples of other classes, some left out, all others as they were.

use crate::copies::compare_boxes;
use crate::dataset::{MANIFEST, ORIGINALS, cache_name};
use crate::ingest::{TEMP_PREFIX, content_hash, sync_dir, write_manifest};
use crate::layout::Layout;
use crate::manifest::{MANIFEST_VERSION, Parent};
use crate::{BoxAudit, DataError, Dataset, Example, Labels, Limits, Manifest, ShortClass, audit, boxes};
use kindling_spec::Split;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What becomes of one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is of this class, an index into the manifest's.
    Label(usize),
    /// It is left out.
    Remove,
}

/// Writes a data set with these changes into a new directory `out`, whole or not at all. Every example
/// keeps its side of the split and its group of look-alikes; one that becomes the same picture under
/// the same label as another is left out, as at ingest. Where the labels are boxes, examples can only be
/// removed.
///
/// # Errors
/// [`DataError::UnknownExample`]; [`DataError::InvalidLayout`] when nothing would change or a class is
/// not the data set's; [`DataError::TooFewExamples`] when a class would become too small, also on one
/// side of the split; [`DataError::Exists`] when `out` is there.
pub fn relabel(
    dataset: &Dataset,
    changes: &BTreeMap<usize, Change>,
    out: &Path,
    limits: &Limits,
) -> Result<Manifest, DataError> {
    if out.exists() {
        return Err(DataError::Exists(out.to_owned()));
    }
    let old = dataset.manifest();
    let (kept, parent) = apply(old, changes)?;
    check_sides(old, &kept, limits)?;
    let parent_dir = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent_dir).map_err(DataError::io(parent_dir))?;
    let temp =
        tempfile::Builder::new().prefix(TEMP_PREFIX).tempdir_in(parent_dir).map_err(DataError::io(parent_dir))?;
    let dir = temp.path();
    let examples = write_originals(dataset, &kept, dir)?;
    write_caches(dataset, &kept, dir)?;

    let layout = Layout::default();
    let found = audit::Found { labels: old.labels, faulty: Vec::new(), duplicates: Vec::new(), other_files: 0 };
    let mut audit = audit::describe(&old.classes, &examples, &layout, found);
    audit.boxes = (old.labels == Labels::Boxes).then(BoxAudit::default);
    audit::count_sides(&mut audit, &old.classes, &examples, 0);
    // Every side is given now: nothing may be dealt anew.
    let given: Vec<Option<Split>> = examples.iter().map(|e| Some(e.split)).collect();
    let hash = content_hash(old.labels, &old.classes, &examples, &given);
    let (labels, classes) = (old.labels, old.classes.clone());
    let manifest = Manifest { version: MANIFEST_VERSION, hash, labels, classes, examples, audit, parent: Some(parent) };
    write_manifest(&manifest, &dir.join(MANIFEST))?;
    sync_dir(dir)?;
    std::fs::rename(dir, out).map_err(DataError::io(out))?;
    // The directory now has another name, there is nothing to delete under the old one.
    let _ = temp.keep();
    sync_dir(parent_dir)?;
    Ok(manifest)
}

/// The examples that stay, in the order of the new manifest, each with its number in the old one.
fn apply(old: &Manifest, changes: &BTreeMap<usize, Change>) -> Result<(Vec<(usize, Example)>, Parent), DataError> {
    let count = old.examples.len();
    for (index, change) in changes {
        if *index >= count {
            return Err(DataError::UnknownExample { index: *index, count });
        }
        if matches!(change, Change::Label(_)) && old.labels == Labels::Boxes {
            let what =
                format!("example {index} has boxes, not one class, and cannot be given another; remove it instead");
            return Err(DataError::InvalidLayout(what));
        }
        if let Change::Label(class) = change
            && *class >= old.classes.len()
        {
            let what = format!("class {class} is none of the data set's {}", old.classes.len());
            return Err(DataError::InvalidLayout(what));
        }
    }
    let mut parent = Parent { hash: old.hash.clone(), relabelled: 0, removed: 0 };
    let mut kept: Vec<(usize, Example)> = Vec::with_capacity(count);
    for (index, example) in old.examples.iter().enumerate() {
        let mut example = example.clone();
        match changes.get(&index) {
            Some(Change::Remove) => {
                parent.removed += 1;
                continue;
            }
            Some(Change::Label(class)) if *class != example.class => {
                parent.relabelled += 1;
                example.class = *class;
            }
            Some(Change::Label(_)) | None => {}
        }
        kept.push((index, example));
    }
    if parent.relabelled + parent.removed == 0 {
        let what = "nothing would change: no example is removed or given another label".to_owned();
        return Err(DataError::InvalidLayout(what));
    }
    // The first of equals stays; the sort is stable, so that is the one with the lower old number.
    kept.sort_by(|(_, a), (_, b)| {
        (a.class, &a.sha256).cmp(&(b.class, &b.sha256)).then(compare_boxes(&a.boxes, &b.boxes))
    });
    let before = kept.len();
    let same = |a: &Example, b: &Example| (a.class, &a.sha256, &a.boxes) == (b.class, &b.sha256, &b.boxes);
    kept.dedup_by(|(_, later), (_, first)| same(later, first));
    parent.removed += before - kept.len();
    let mut numbers = HashMap::new();
    for (_, example) in &mut kept {
        let next = numbers.len() as u32;
        example.group = *numbers.entry(example.group).or_insert(next);
    }
    Ok((kept, parent))
}

/// The rules of ingest, and that no side loses the last of a class.
fn check_sides(old: &Manifest, kept: &[(usize, Example)], limits: &Limits) -> Result<(), DataError> {
    let classes = &old.classes;
    let mut short = Vec::new();
    if old.labels == Labels::Boxes {
        let examples: Vec<Example> = kept.iter().map(|(_, e)| e.clone()).collect();
        boxes::check_counts(&examples, &[], limits)?;
        return boxes::check_variety(&examples);
    }
    for (class, name) in classes.iter().enumerate() {
        let had = |split| old.examples.iter().any(|e| e.class == class && e.split == split);
        let of_class = || kept.iter().filter(|(_, e)| e.class == class);
        for split in Split::ALL {
            if had(*split) && !of_class().any(|(_, e)| e.split == *split) && of_class().next().is_some() {
                let class = format!("{name} ({split})");
                short.push(ShortClass { class, count: 0, needed: 1, broken: 0, because: None });
            }
        }
    }
    let mut counts = vec![0; classes.len()];
    kept.iter().for_each(|(_, e)| counts[e.class] += 1);
    audit::check_counts(classes, &counts, &[], limits)?;
    if !short.is_empty() {
        return Err(DataError::TooFewExamples(short));
    }
    let examples: Vec<Example> = kept.iter().map(|(_, e)| e.clone()).collect();
    audit::check_variety(classes, &examples, limits)
}

/// Copies the files that stay, the same bytes once; what was removed is not in the new version at all.
fn write_originals(dataset: &Dataset, kept: &[(usize, Example)], dir: &Path) -> Result<Vec<Example>, DataError> {
    let path = dir.join(ORIGINALS);
    let mut pack = BufWriter::with_capacity(1 << 18, File::create(&path).map_err(DataError::io(&path))?);
    let mut offsets: HashMap<&str, u64> = HashMap::new();
    let mut end = 0;
    let mut examples = Vec::with_capacity(kept.len());
    for (index, example) in kept {
        let offset = match offsets.get(example.sha256.as_str()) {
            Some(offset) => *offset,
            None => {
                pack.write_all(dataset.original_bytes(*index)?).map_err(DataError::io(&path))?;
                offsets.insert(&example.sha256, end);
                end += example.bytes;
                end - example.bytes
            }
        };
        examples.push(Example { offset, ..example.clone() });
    }
    finish(pack, &path)?;
    Ok(examples)
}

fn write_caches(dataset: &Dataset, kept: &[(usize, Example)], dir: &Path) -> Result<(), DataError> {
    for resolution in dataset.manifest().labels.resolutions() {
        let path = dir.join(cache_name(*resolution));
        let (from, length) = (dataset.cache(*resolution)?, resolution * resolution * 3);
        let mut cache = BufWriter::with_capacity(1 << 18, File::create(&path).map_err(DataError::io(&path))?);
        for (index, _) in kept {
            let count = dataset.manifest().examples.len();
            let pixels = from.get(index * length..(index + 1) * length);
            let pixels = pixels.ok_or(DataError::UnknownExample { index: *index, count })?;
            cache.write_all(pixels).map_err(DataError::io(&path))?;
        }
        finish(cache, &path)?;
    }
    Ok(())
}

fn finish(writer: BufWriter<File>, path: &Path) -> Result<(), DataError> {
    let file = writer.into_inner().map_err(|error| error.into_error()).map_err(DataError::io(path))?;
    file.sync_all().map_err(DataError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ingest, sample};
    use std::sync::atomic::AtomicBool;

    fn sealed(dir: &Path) -> Dataset {
        sample::fire_smoke(&dir.join("pictures"), 20, 24, 5).unwrap();
        // The same picture under two labels.
        std::fs::copy(dir.join("pictures/fire/00000.png"), dir.join("pictures/smoke/twin.png")).unwrap();
        let out = dir.join("sealed");
        ingest(&dir.join("pictures"), &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
        Dataset::open(&out).unwrap()
    }

    fn find(dataset: &Dataset, path: &str) -> usize {
        dataset.manifest().examples.iter().position(|e| e.path == path).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = sealed(dir.path());
        let (moved, gone) = (find(&dataset, "fire/00003.png"), find(&dataset, "neither/00004.png"));
        let changes = BTreeMap::from([(moved, Change::Label(2)), (gone, Change::Remove)]);
        let out = dir.path().join("next");
        let made = relabel(&dataset, &changes, &out, &Limits::default()).unwrap();
        let next = Dataset::open(&out).unwrap();
        assert_eq!(next.manifest(), &made);
        let old = dataset.manifest();
        assert_eq!(made.examples.len(), old.examples.len() - 1);
        assert_ne!(made.hash, old.hash);
        assert_eq!(made.parent, Some(Parent { hash: old.hash.clone(), relabelled: 1, removed: 1 }));
        assert!(made.examples.is_sorted_by_key(|e| (e.class, e.sha256.clone())));
        for (i, example) in made.examples.iter().enumerate() {
            let before = find(&dataset, &example.path);
            let was = &old.examples[before];
            assert_eq!(example.split, was.split, "{}", example.path);
            assert_eq!(example.class, if before == moved { 2 } else { was.class });
            assert_eq!(next.original(i).unwrap(), dataset.original(before).unwrap());
            let pixels = |d: &Dataset, at: usize| d.cache(32).unwrap()[at * 3072..(at + 1) * 3072].to_vec();
            assert_eq!(pixels(&next, i), pixels(&dataset, before), "{}", example.path);
            let mates = |all: &[Example], group| all.iter().filter(|e| e.group == group).count();
            if was.group != old.examples[moved].group && was.group != old.examples[gone].group {
                assert_eq!(mates(&made.examples, example.group), mates(&old.examples, was.group));
            }
        }
        assert!(made.examples.iter().all(|e| e.path != "neither/00004.png"));
        let classes: usize = made.audit.class_counts.iter().map(|c| c.train + c.validation + c.test).sum();
        assert_eq!(classes, made.examples.len());
        // The same changes make the same data set.
        let again = relabel(&dataset, &changes, &dir.path().join("again"), &Limits::default()).unwrap();
        assert_eq!(again, made);
    }

    #[test]
    fn twins_that_agree_at_last_become_one() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = sealed(dir.path());
        let conflicts = dataset.manifest().audit.label_conflicts.total;
        assert!(conflicts >= 1);
        let twin = dataset.manifest().examples.iter().position(|e| e.path == "smoke/twin.png").unwrap();
        let out = dir.path().join("next");
        let made = relabel(&dataset, &BTreeMap::from([(twin, Change::Label(0))]), &out, &Limits::default()).unwrap();
        assert_eq!(made.parent.as_ref().map(|p| (p.relabelled, p.removed)), Some((1, 1)));
        assert_eq!(made.audit.label_conflicts.total, conflicts - 1);
        assert_eq!(made.examples.len(), dataset.manifest().examples.len() - 1);
    }

    #[test]
    fn what_makes_no_sense_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let dataset = sealed(dir.path());
        let out = dir.path().join("versions/next");
        let refuse = |changes: &BTreeMap<usize, Change>| {
            let error = relabel(&dataset, changes, &out, &Limits::default()).unwrap_err();
            assert!(!out.exists());
            error.to_string()
        };
        assert!(refuse(&BTreeMap::new()).contains("nothing would change"));
        let same = dataset.manifest().examples[0].class;
        assert!(refuse(&BTreeMap::from([(0, Change::Label(same))])).contains("nothing would change"));
        assert!(refuse(&BTreeMap::from([(999, Change::Remove)])).contains("no example 999"));
        assert!(refuse(&BTreeMap::from([(0, Change::Label(9))])).contains("class 9"));
        let of = |class: usize, split: Option<Split>| {
            let all = dataset.manifest().examples.iter().enumerate();
            all.filter(move |(_, e)| e.class == class && split.is_none_or(|s| s == e.split))
                .map(|(i, _)| (i, Change::Remove))
                .collect::<BTreeMap<_, _>>()
        };
        assert!(refuse(&of(1, None)).contains("class `neither` has 0"));
        assert!(refuse(&of(1, Some(Split::Test))).contains("neither (test)"));
        let left = std::fs::read_dir(dir.path().join("versions")).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
}
