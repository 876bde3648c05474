//! What a person should know about the data, from what ingest found.

use crate::layout::Layout;
use crate::pack::{Fault, Faulty};
use crate::{
    Audit, ClassCount, Conflict, DataError, Example, Labelled, Labels, Limits, Listed, ShortClass, Sizes, boxes,
};
use kindling_spec::Split;
use std::collections::{BTreeMap, BTreeSet};

/// Refuses a data set with a class that is too small, and says why it is.
pub(crate) fn check_counts(
    classes: &[String],
    counts: &[usize],
    faulty: &[Faulty],
    limits: &Limits,
) -> Result<(), DataError> {
    let mut short = Vec::new();
    let mut faults = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        if counts[class] >= limits.min_per_class {
            continue;
        }
        let of_class: Vec<&Faulty> = faulty.iter().filter(|f| f.class == class).collect();
        let mut reasons: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for faulty in &of_class {
            reasons.entry(&faulty.broken.reason).or_insert((0, &faulty.broken.path)).0 += 1;
        }
        let common = reasons.iter().max_by_key(|(reason, (n, _))| (*n, std::cmp::Reverse(*reason)));
        let because = common.map(|(reason, (_, path))| format!("{reason}, e.g. `{path}`"));
        faults.extend(of_class.iter().map(|f| f.fault));
        let (count, needed, broken) = (counts[class], limits.min_per_class, of_class.len());
        short.push(ShortClass { class: name.clone(), count, needed, broken, because });
    }
    // What was broken is only the cause where the class would have been large enough with it.
    let would_do = short.iter().all(|s| s.broken > 0 && s.count + s.broken >= s.needed);
    match short.is_empty() {
        true => Ok(()),
        false if would_do && faults.iter().all(|f| *f == Fault::TooLarge) => Err(DataError::OversizedClass(short)),
        false if would_do && faults.iter().all(|f| *f == Fault::Unreadable) => Err(DataError::UnreadableClass(short)),
        false => Err(DataError::TooFewExamples(short)),
    }
}

/// Refuses a class that cannot be divided: all of it looks like one or two pictures.
pub(crate) fn check_variety(classes: &[String], examples: &[Example], limits: &Limits) -> Result<(), DataError> {
    let needed = Split::ALL.len().min(limits.min_per_class);
    let mut short = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let of_class = examples.iter().filter(|e| e.class == class);
        let distinct = of_class.map(|e| e.group).collect::<BTreeSet<_>>().len();
        if distinct < needed {
            short.push(ShortClass {
                class: format!("{name} (look-alikes counted once)"),
                count: distinct,
                needed,
                broken: 0,
                because: None,
            });
        }
    }
    if short.is_empty() { Ok(()) } else { Err(DataError::TooFewExamples(short)) }
}

/// What was found beside the examples.
pub(crate) struct Found {
    pub(crate) labels: Labels,
    pub(crate) faulty: Vec<Faulty>,
    pub(crate) duplicates: Vec<Vec<String>>,
    pub(crate) other_files: usize,
}

/// Everything but the counts of sides, which [`count_sides`] adds once they are known.
pub(crate) fn describe(classes: &[String], examples: &[Example], layout: &Layout, found: Found) -> Audit {
    let Found { labels, faulty, duplicates, other_files } = found;
    let mut groups: BTreeMap<u32, Vec<&Example>> = BTreeMap::new();
    for example in examples {
        groups.entry(example.group).or_default().push(example);
    }
    let mut near = Vec::new();
    let mut conflicts = Vec::new();
    for members in groups.values().filter(|members| members.len() > 1) {
        let hashes: BTreeSet<&String> = members.iter().map(|e| &e.sha256).collect();
        if hashes.len() > 1 {
            near.push(members.iter().map(|e| e.path.clone()).collect());
        }
        let agrees = |e: &&Example| match labels {
            Labels::Classes => e.class == members[0].class,
            Labels::Boxes => boxes::agree(&members[0].boxes, &e.boxes),
        };
        if !members.iter().all(agrees) {
            let label = |e: &Example| match labels {
                Labels::Classes => classes[e.class].clone(),
                Labels::Boxes => boxes::words(&e.boxes, classes),
            };
            let mut files: Vec<Labelled> =
                members.iter().map(|e| Labelled { path: e.path.clone(), class: label(e) }).collect();
            files.sort();
            conflicts.push(Conflict { exact: hashes.len() == 1, files });
        }
    }
    let mut warnings = Vec::new();
    let mut warn = |count: usize, text: String| {
        if count > 0 {
            warnings.push(text);
        }
    };
    let copies: usize = duplicates.iter().map(|group| group.len() - 1).sum();
    let outside = layout.outside.len();
    let example = layout.outside.first().cloned().unwrap_or_default();
    warn(outside, format!("{outside} files belong to no class and were left out, e.g. `{example}`."));
    let what = match labels {
        Labels::Classes => "in the classes' folders are no images",
        Labels::Boxes => "are neither images nor annotations that were read",
    };
    warn(other_files, format!("{other_files} files {what} and were left out."));
    let first = faulty.first().map(|f| format!("`{}`: {}", f.broken.path, f.broken.reason)).unwrap_or_default();
    warn(faulty.len(), format!("{} files could not be used, e.g. {first}.", faulty.len()));
    let label = if labels == Labels::Boxes { "boxes" } else { "label" };
    warn(copies, format!("{copies} files are exact copies of others with the same {label} and were left out."));
    warn(near.len(), format!("{} groups of pictures look alike; each is kept on one side of the split.", near.len()));
    let disagree = conflicts.len();
    let differ = if labels == Labels::Boxes { "boxes" } else { "labels" };
    warn(disagree, format!("{disagree} groups of look-alikes have different {differ}; look at them, some are wrong."));
    warnings.extend(layout.marks.iter().flat_map(|marks| marks.warnings.clone()));
    let mut broken: Vec<_> = faulty.into_iter().map(|f| f.broken).collect();
    broken.sort_by(|a, b| a.path.cmp(&b.path));
    Audit {
        class_counts: Vec::new(),
        sizes: Sizes { width: spread(examples, |e| e.width), height: spread(examples, |e| e.height) },
        broken: Listed::of(broken),
        other_files,
        exact_duplicates: Listed::of(duplicates),
        near_duplicates: Listed::of(near),
        label_conflicts: Listed::of(conflicts),
        boxes: None,
        warnings,
    }
}

/// Adds the examples of each class on each side, and warns of what they imply.
pub(crate) fn count_sides(audit: &mut Audit, classes: &[String], examples: &[Example], moved: usize) {
    let counts = match audit.boxes {
        None => count(classes, examples, |e| vec![e.class]),
        Some(_) => boxes::count_pictures(classes, examples),
    };
    // Sets with boxes have classes by the hundred, which are told of together.
    for count in counts.iter().filter(|_| audit.boxes.is_none()) {
        for (side, n) in [("train", count.train), ("validation", count.validation), ("test", count.test)] {
            if n == 0 {
                audit.warnings.push(format!("Class `{}` has no {side} examples.", count.class));
            }
        }
    }
    if moved > 0 {
        audit.warnings.push(format!(
            "{moved} examples were moved from the side they were given to that of a look-alike held out from training."
        ));
    }
    boxes::count_boxes(audit, classes, examples);
    let sizes = || counts.iter().map(|c| c.train + c.validation + c.test);
    let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    if most > 10 * least && audit.boxes.is_none() {
        audit.warnings.push(format!(
            "The classes are very uneven ({least} to {most} examples): judge by balanced accuracy, not accuracy."
        ));
    }
    audit.class_counts = counts;
}

/// Counts each example for the classes it is said to be of.
pub(crate) fn count(classes: &[String], examples: &[Example], of: impl Fn(&Example) -> Vec<usize>) -> Vec<ClassCount> {
    let mut counts: Vec<ClassCount> =
        classes.iter().map(|class| ClassCount { class: class.clone(), train: 0, validation: 0, test: 0 }).collect();
    for example in examples {
        for class in of(example) {
            match example.split {
                Split::Train => counts[class].train += 1,
                Split::Validation => counts[class].validation += 1,
                Split::Test => counts[class].test += 1,
            }
        }
    }
    counts
}

fn spread(examples: &[Example], side: impl Fn(&Example) -> u32) -> [u32; 3] {
    let mut sides: Vec<u32> = examples.iter().map(side).collect();
    sides.sort_unstable();
    let at = |i: usize| sides.get(i).copied().unwrap_or(0);
    [at(0), at(sides.len() / 2), at(sides.len().saturating_sub(1))]
}
