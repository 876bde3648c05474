//! What a person should know about the boxes.

use crate::audit::count;
use crate::pack::Faulty;
use crate::{Audit, ClassCount, DataError, Example, LabelledBox, Limits};
use kindling_spec::Split;
use std::collections::BTreeSet;

/// Classes with fewer boxes to train on are told of.
const FEW: usize = 10;
/// Intersection over union from which on the boxes of two copies or look-alikes say the same. Two people's boxes around one thing
/// overlap by some three quarters: in photographs that were annotated twice the median is .75, and 4 of 65 are under .5.
const SAME: f32 = 0.5;

/// Refuses a data set with too few pictures to find anything in, and says why it has so few.
pub(crate) fn check_counts(examples: &[Example], faulty: &[Faulty], limits: &Limits) -> Result<(), DataError> {
    let (what, needed) = ("usable pictures have boxes", limits.min_per_class);
    let count = examples.iter().filter(|e| !e.boxes.is_empty()).count();
    if count >= needed {
        return Ok(());
    }
    let example = faulty.first().map(|f| (&f.broken.path, &f.broken.reason));
    let because = example.map(|(path, why)| format!("{} files could not be used, e.g. `{path}`: {why}", faulty.len()));
    Err(DataError::TooFewBoxes { what, count, needed, because })
}

/// Refuses one that cannot be divided: all of it looks like one or two pictures.
pub(crate) fn check_variety(examples: &[Example]) -> Result<(), DataError> {
    let distinct = examples.iter().filter(|e| !e.boxes.is_empty()).map(|e| e.group).collect::<BTreeSet<_>>().len();
    if distinct >= Split::ALL.len() {
        return Ok(());
    }
    let what = "pictures with boxes differ, look-alikes counted once,";
    Err(DataError::TooFewBoxes { what, count: distinct, needed: Split::ALL.len(), because: None })
}

/// Whether the boxes of two look-alikes say the same: each has its counterpart of its class in about the same place.
pub(crate) fn agree(a: &[LabelledBox], b: &[LabelledBox]) -> bool {
    let mut free = vec![true; b.len()];
    let mut take = |one: &LabelledBox| {
        let fits = |(i, other): &(usize, &LabelledBox)| free[*i] && other.class == one.class && one.iou(other) >= SAME;
        let best = b.iter().enumerate().filter(fits).max_by(|x, y| one.iou(x.1).total_cmp(&one.iou(y.1)));
        best.map(|(i, _)| i).inspect(|i| free[*i] = false).is_some()
    };
    a.len() == b.len() && a.iter().all(&mut take)
}

/// A count of a picture's boxes in words: `2 fire, 1 smoke`.
pub(crate) fn words(boxes: &[LabelledBox], classes: &[String]) -> String {
    let of = |(class, name): (usize, &String)| {
        let n = boxes.iter().filter(|b| b.class == class).count();
        (n > 0).then(|| format!("{n} {name}"))
    };
    let words: Vec<String> = classes.iter().enumerate().filter_map(of).collect();
    if words.is_empty() { "no boxes".to_owned() } else { words.join(", ") }
}

/// Pictures that show each class, by side.
pub(crate) fn count_pictures(classes: &[String], examples: &[Example]) -> Vec<ClassCount> {
    let seen = |e: &Example| e.boxes.iter().map(|b| b.class).collect::<BTreeSet<_>>();
    count(classes, examples, |e| seen(e).into_iter().collect())
}

/// Adds the numbers of boxes, once the sides are known, and warns of what is odd.
pub(crate) fn count_boxes(audit: &mut Audit, classes: &[String], examples: &[Example]) {
    let Some(boxes) = &mut audit.boxes else { return };
    boxes.counts = count(classes, examples, |e| e.boxes.iter().map(|b| b.class).collect());
    let empty = |split| examples.iter().filter(|e| e.boxes.is_empty() && e.split == split).count();
    boxes.empty = [Split::Train, Split::Validation, Split::Test].map(empty);
    boxes.most = examples.iter().map(|e| e.boxes.len()).max().unwrap_or(0);
    boxes.width = spread(examples, |b| b.width);
    boxes.height = spread(examples, |b| b.height);
    boxes.area = spread(examples, LabelledBox::area);

    let mut warn = |n: usize, text: String| {
        if n > 0 {
            audit.warnings.push(text);
        }
    };
    let odd = |odd: Option<&crate::OddBox>| odd.map(|o| format!("{} (`{}`)", o.place, o.path)).unwrap_or_default();
    let n = boxes.clipped.total;
    let example = odd(boxes.clipped.items.first());
    warn(n, format!("{n} boxes reach out of their pictures and were cut off at the edge, e.g. {example}."));
    let n = boxes.no_area.total;
    warn(n, format!("{n} boxes have no area and were left out, e.g. {}.", odd(boxes.no_area.items.first())));
    let n = boxes.crowds.total;
    warn(n, format!("{n} boxes are around crowds (`iscrowd`) and were left out."));
    let n = boxes.without_picture.total;
    let example =
        boxes.without_picture.items.first().map(|b| format!("`{}`: {}", b.path, b.reason)).unwrap_or_default();
    warn(n, format!("{n} pictures that annotations speak of are not there, e.g. {example}."));
    let n = boxes.without_annotation.total;
    let fate = if boxes.silence_is_empty { "taken for pictures without boxes" } else { "left out" };
    let example = boxes.without_annotation.items.first().map(String::as_str).unwrap_or_default();
    warn(n, format!("{n} pictures have no annotation and were {fate}, e.g. `{example}`."));
    let listed = |classes: &[String]| {
        let more = classes.len().saturating_sub(5);
        let shown = classes.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let few: Vec<String> =
        boxes.counts.iter().filter(|c| c.train < FEW).map(|c| format!("`{}` ({})", c.class, c.train)).collect();
    warn(
        few.len(),
        format!("Few boxes to train on: {}. Leave these classes out of a task, or add pictures of them.", listed(&few)),
    );
    for (side, at) in [("validation", 1), ("test", 2)] {
        let none: Vec<String> = (boxes.counts.iter())
            .filter(|c| [c.train, c.validation, c.test][at] == 0)
            .map(|c| format!("`{}`", c.class))
            .collect();
        warn(none.len(), format!("Classes without a box on the {side} side: {}.", listed(&none)));
    }
}

fn spread(examples: &[Example], of: impl Fn(&LabelledBox) -> f32) -> [f32; 3] {
    let mut values: Vec<f32> = examples.iter().flat_map(|e| &e.boxes).map(of).collect();
    values.sort_unstable_by(f32::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}
