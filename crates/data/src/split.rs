//! Division into train, validation and test: by content only, groups of look-alikes on one side.

use crate::rng::mix;
use kindling_spec::Split;
use std::collections::BTreeMap;

/// The share of each of validation and test.
const HELD_OUT: f64 = 0.15;

/// What is known of an example when it is assigned.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) class: usize,
    /// A number made from its content.
    pub(crate) key: u64,
    /// Examples of a group lie on one side.
    pub(crate) group: u32,
    pub(crate) given: Option<Split>,
}

/// The sides, and how many examples left the side they were given.
#[derive(Debug, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) splits: Vec<Split>,
    pub(crate) moved: usize,
}

struct Group {
    members: Vec<usize>,
    key: u64,
    side: Option<Split>,
}

/// Assigns each example.
///
/// Sides that were given are kept, but a group that lies on several goes wholly to test if any of
/// it was given to test, else to validation: what is measured stays whole and nothing seen in
/// training resembles it. A side that nobody was given to is carved out of the rest, 15% of each
/// class, in the order of a hash of the content; what is left is trained on.
pub(crate) fn assign(candidates: &[Candidate], classes: usize) -> Assignment {
    let mut by_group: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        by_group.entry(candidate.group).or_default().push(index);
    }
    let someone = |split: Split| candidates.iter().any(|c| c.given == Some(split));
    let carved: Vec<Split> = [Split::Test, Split::Validation].into_iter().filter(|s| !someone(*s)).collect();
    // Examples without a side, in a set that gives all three, are divided as if by themselves.
    let fill_given = carved.is_empty() && someone(Split::Train);
    let open: Vec<Split> = if fill_given { vec![Split::Test, Split::Validation] } else { carved };
    let is_pool =
        |c: &Candidate| c.given.is_none() || (c.given == Some(Split::Train) && !fill_given && !open.is_empty());

    let mut groups: Vec<Group> = by_group
        .into_values()
        .map(|members| {
            let key = members.iter().map(|i| mix(candidates[*i].key)).min().unwrap_or(0);
            let fixed =
                members.iter().filter(|i| !is_pool(&candidates[**i])).filter_map(|i| candidates[*i].given).max();
            Group { members, key, side: fixed }
        })
        .collect();
    // The key is a hash of content, so no name or order of files has a say.
    groups.sort_by_key(|group| group.key);

    let mut totals = vec![0usize; classes];
    for candidate in candidates {
        totals[candidate.class] += usize::from(!fill_given || candidate.given.is_none());
    }
    for split in &open {
        let mut wanted: Vec<usize> = totals.iter().map(|n| target(*n)).collect();
        for group in groups.iter_mut().filter(|group| group.side.is_none()) {
            let counts = count(group, candidates, classes);
            if counts.iter().zip(&wanted).all(|(n, left)| n <= left) {
                counts.iter().zip(&mut wanted).for_each(|(n, left)| *left -= n);
                group.side = Some(*split);
            }
        }
    }
    for split in open.iter().filter(|_| !fill_given) {
        ensure_presence(&mut groups, candidates, classes, *split);
    }
    let mut splits = vec![Split::Train; candidates.len()];
    for group in &groups {
        for member in &group.members {
            splits[*member] = group.side.unwrap_or(Split::Train);
        }
    }
    let left = |(c, s): (&Candidate, &Split)| {
        c.given.is_some_and(|given| given != *s) && !is_pool(c)
            || c.given == Some(Split::Train) && *s != Split::Train && !open.contains(s)
    };
    let moved = candidates.iter().zip(&splits).filter(|pair| left(*pair)).count();
    Assignment { splits, moved }
}

/// How many of a class's examples a carved side gets.
fn target(total: usize) -> usize {
    if total < 3 { 0 } else { ((total as f64 * HELD_OUT).round() as usize).max(1) }
}

fn count(group: &Group, candidates: &[Candidate], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for member in &group.members {
        counts[candidates[*member].class] += 1;
    }
    counts
}

/// A class made of a few large groups may have had none that fits: its smallest goes over, as long
/// as each class keeps something to train on.
fn ensure_presence(groups: &mut [Group], candidates: &[Candidate], classes: usize, split: Split) {
    for class in 0..classes {
        let has = |group: &Group| group.members.iter().any(|i| candidates[*i].class == class);
        if groups.iter().any(|group| group.side == Some(split) && has(group)) {
            continue;
        }
        let mut training = vec![0; classes];
        for group in groups.iter().filter(|group| group.side.is_none()) {
            for (total, n) in training.iter_mut().zip(count(group, candidates, classes)) {
                *total += n;
            }
        }
        let spare = |group: &Group| {
            count(group, candidates, classes).iter().zip(&training).all(|(n, total)| *n == 0 || n < total)
        };
        let best = groups
            .iter_mut()
            .filter(|group| group.side.is_none() && has(group) && spare(group))
            .min_by_key(|group| (group.members.len(), group.key));
        if let Some(group) = best {
            group.side = Some(split);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let given = prop_oneof![3 => Just(None), 1 => Just(Some(Split::Train)), 1 => Just(Some(Split::Test))];
        prop::collection::vec((0usize..3, any::<u64>(), 0u32..60, given), 1..150).prop_map(|rows| {
            rows.into_iter().map(|(class, key, group, given)| Candidate { class, key, group, given }).collect()
        })
    }

    proptest! {
        #[test]
        fn groups_never_straddle_and_the_order_of_files_does_not_matter(
            examples in candidates(), seed in any::<u64>()
        ) {
            let splits = assign(&examples, 3).splits;
            for (a, one) in examples.iter().enumerate() {
                for (b, other) in examples.iter().enumerate() {
                    prop_assert!(one.group != other.group || splits[a] == splits[b]);
                }
            }
            let mut order: Vec<usize> = (0..examples.len()).collect();
            order.sort_by_key(|i| mix(seed ^ *i as u64));
            // Groups are renumbered too: their numbers come from the order of the files.
            let shuffled: Vec<Candidate> = order
                .iter()
                .map(|i| Candidate { group: 1000 - examples[*i].group, ..examples[*i].clone() })
                .collect();
            let again = assign(&shuffled, 3).splits;
            for (place, i) in order.iter().enumerate() {
                prop_assert_eq!(again[place], splits[*i]);
            }
        }
    }

    fn single(n: usize, class: usize) -> Vec<Candidate> {
        let one = |i| Candidate { class, key: mix(i as u64 + 77), group: (class * 10_000 + i) as u32, given: None };
        (0..n).map(one).collect()
    }

    #[test]
    fn each_class_is_divided_70_15_15() {
        let examples: Vec<_> = [single(200, 0), single(20, 1)].concat();
        let splits = assign(&examples, 2).splits;
        let count = |class, split| (0..220).filter(|i| examples[*i].class == class && splits[*i] == split).count();
        assert_eq!([Split::Train, Split::Validation, Split::Test].map(|s| count(0, s)), [140, 30, 30]);
        assert_eq!([Split::Train, Split::Validation, Split::Test].map(|s| count(1, s)), [14, 3, 3]);
    }

    #[test]
    fn a_given_test_side_is_kept_and_validation_is_carved_out_of_training() {
        let mut examples = single(100, 0);
        for (i, example) in examples.iter_mut().enumerate() {
            example.given = Some(if i < 20 { Split::Test } else { Split::Train });
        }
        let Assignment { splits, moved } = assign(&examples, 1);
        assert_eq!(moved, 0);
        assert!(splits[..20].iter().all(|s| *s == Split::Test));
        assert_eq!(splits.iter().filter(|s| **s == Split::Validation).count(), 15);
        assert_eq!(splits.iter().filter(|s| **s == Split::Test).count(), 20);
    }

    #[test]
    fn a_look_alike_of_a_given_test_picture_leaves_training() {
        let mut examples = single(30, 0);
        for (i, example) in examples.iter_mut().enumerate() {
            example.given = Some([Split::Train, Split::Validation, Split::Test][i % 3]);
        }
        (examples[0].group, examples[2].group) = (99, 99);
        let Assignment { splits, moved } = assign(&examples, 1);
        assert_eq!((splits[0], splits[2], moved), (Split::Test, Split::Test, 1));
    }

    #[test]
    fn three_large_groups_still_reach_all_three_sides() {
        let mut examples = single(12, 0);
        for (i, example) in examples.iter_mut().enumerate() {
            example.group = (i % 3) as u32;
        }
        let splits = assign(&examples, 1).splits;
        for split in Split::ALL {
            assert_eq!(splits.iter().filter(|s| *s == split).count(), 4);
        }
    }
}
