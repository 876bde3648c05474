//! Files that are the same to the byte: one stays.

use crate::LabelledBox;
use crate::boxes::agree;
use crate::pack::Packed;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// The order of examples that are the same to the byte.
pub(crate) fn compare_boxes(a: &[LabelledBox], b: &[LabelledBox]) -> Ordering {
    a.iter().map(LabelledBox::key).cmp(b.iter().map(LabelledBox::key))
}

/// Keeps one of each (class, content) whose boxes say the same, sorted by class, content and boxes. Of copies given to
/// several sides the one held out furthest stays, else the first by path. Returns the groups of copies too, kept one
/// first.
pub(crate) fn drop_copies(mut files: Vec<Packed>) -> (Vec<Packed>, Vec<Vec<String>>) {
    files.sort_by(|a, b| {
        let last = (Reverse(a.given), &a.path).cmp(&(Reverse(b.given), &b.path));
        (a.class, a.sha256).cmp(&(b.class, b.sha256)).then(compare_boxes(&a.boxes, &b.boxes)).then(last)
    });
    let mut copies: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut kept: Vec<Packed> = Vec::new();
    for mut file in files {
        let at = kept.len().saturating_sub(1);
        match kept.last_mut() {
            Some(last) if last.class == file.class && last.sha256 == file.sha256 && agree(&last.boxes, &file.boxes) => {
                if file.given > last.given {
                    std::mem::swap(last, &mut file);
                }
                copies.entry(at).or_default().push(file.path);
            }
            _ => kept.push(file),
        }
    }
    let groups = copies.into_iter().filter_map(|(at, dropped)| {
        let first = kept.get(at)?.path.clone();
        Some([first].into_iter().chain(dropped).collect())
    });
    let groups = groups.collect();
    (kept, groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindling_spec::Split;

    fn file(path: &str, class: usize, given: Option<Split>, x: f32) -> Packed {
        let boxes = vec![LabelledBox { class, x, y: 0.1, width: 0.3, height: 0.3 }];
        Packed { path: path.to_owned(), class, given, sha256: [7; 32], offset: 0, bytes: 1, boxes }
    }

    #[test]
    fn copies_whose_boxes_say_the_same_become_one_held_out_as_far_as_any() {
        let files = vec![
            file("far", 0, None, 0.6),
            file("b", 0, Some(Split::Train), 0.1),
            file("a", 0, Some(Split::Train), 0.1),
            file("near", 0, Some(Split::Test), 0.15),
            file("other", 1, None, 0.1),
        ];
        let (kept, groups) = drop_copies(files);
        assert_eq!(kept.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["near", "far", "other"]);
        assert_eq!(groups, [["near", "b", "a"]]);
    }
}
