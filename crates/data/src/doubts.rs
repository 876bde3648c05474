//! Which labels are probably wrong: confident learning (Northcutt, Jiang and Chuang, "Confident
//! learning: estimating uncertainty in dataset labels", Journal of Artificial Intelligence Research
//! 70, 2021), from probabilities that come from networks which did not see the example.

use crate::rng::mix;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A label that is probably wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// The place among the examples given.
    pub at: usize,
    /// The class it is probably of.
    pub suggested: usize,
    /// How doubtful the label is, 0 to 1: half of one minus the normalised margin, which is the given
    /// class' probability less the highest of the others.
    pub score: f64,
}

/// What the probabilities say of the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doubts {
    /// For each class the mean probability that the examples labelled with it are given for it: from
    /// there on an example counts as confidently of the class. `None` of a class without examples.
    pub thresholds: Vec<Option<f64>>,
    /// The confident joint: how many examples of each label (row) are confidently of each class.
    pub joint: Vec<Vec<u64>>,
    /// How many labels are wrong by the joint, scaled so that each row sums to its label's examples.
    pub estimated: f64,
    /// The examples off the joint's diagonal, the most doubtful first.
    pub list: Vec<Doubt>,
}

/// Finds the labels that are probably wrong. Rows whose label is no class, or whose probabilities are
/// not all finite, are passed over.
///
/// # Shapes
/// `probabilities` `[examples, classes]`, `labels` `[examples]`.
pub fn find_doubts(probabilities: &[f32], classes: usize, labels: &[usize]) -> Doubts {
    let rows: Vec<(usize, &[f32], usize)> = probabilities
        .chunks_exact(classes.max(1))
        .zip(labels)
        .enumerate()
        .filter(|(_, (row, label))| **label < classes && row.iter().all(|p| p.is_finite()))
        .map(|(at, (row, label))| (at, row, *label))
        .collect();
    let mut counts = vec![0u64; classes];
    let mut sums = vec![0.0f64; classes];
    for (_, row, label) in &rows {
        counts[*label] += 1;
        sums[*label] += f64::from(row[*label]);
    }
    let thresholds: Vec<Option<f64>> =
        counts.iter().zip(&sums).map(|(n, sum)| (*n > 0).then(|| sum / *n as f64)).collect();
    let mut joint = vec![vec![0u64; classes]; classes];
    let mut list = Vec::new();
    for (at, row, label) in rows {
        let confident = |class: &usize| thresholds[*class].is_some_and(|t| f64::from(row[*class]) >= t);
        // Of several classes that an example is confidently of, the most probable counts; the label wins a tie.
        let best = (0..classes)
            .filter(confident)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]).then((*a == label).cmp(&(*b == label))).then(b.cmp(a)));
        let Some(class) = best else { continue };
        joint[label][class] += 1;
        if class != label {
            let others = row.iter().enumerate().filter(|(c, _)| *c != label).map(|(_, p)| *p);
            let margin = f64::from(row[label]) - f64::from(others.fold(f32::MIN, f32::max));
            list.push(Doubt { at, suggested: class, score: (1.0 - margin) / 2.0 });
        }
    }
    list.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.at.cmp(&b.at)));
    let estimated = joint.iter().enumerate().map(|(label, row)| {
        let (all, off) = (row.iter().sum::<u64>(), row.iter().sum::<u64>() - row[label]);
        if all == 0 { 0.0 } else { off as f64 / all as f64 * counts[label] as f64 }
    });
    Doubts { estimated: estimated.sum(), thresholds, joint, list }
}

/// Deals examples to folds, groups whole, each label about equally to each fold. The same arguments
/// always deal the same.
///
/// # Shapes
/// `labels` and `groups` `[examples]`; returns `[examples]`, numbers below `folds`.
pub fn deal_folds(labels: &[usize], groups: &[u32], folds: usize, seed: u64) -> Vec<usize> {
    let folds = folds.max(1);
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate().take(labels.len()) {
        members.entry(*group).or_default().push(at);
    }
    let mut order: Vec<(u32, Vec<usize>)> = members.into_iter().collect();
    // Large groups first: they are the hardest to fit in.
    order.sort_by_key(|(group, members)| (std::cmp::Reverse(members.len()), mix(seed ^ mix(u64::from(*group)))));
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let mut held = vec![vec![0usize; classes]; folds];
    let mut dealt = vec![0; labels.len()];
    for (_, members) in order {
        let mut wanted = vec![0usize; classes];
        members.iter().for_each(|at| wanted[labels[*at]] += 1);
        let load = |fold: &usize| {
            let same: usize = held[*fold].iter().zip(&wanted).filter(|(_, n)| **n > 0).map(|(h, _)| h).sum();
            (same, held[*fold].iter().sum::<usize>())
        };
        let fold = (0..folds).min_by_key(load).unwrap_or(0);
        for at in members {
            held[fold][labels[at]] += 1;
            dealt[at] = fold;
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SplitMix;

    /// Worked by hand: the example of the paper's figure 1 in small.
    #[test]
    fn the_confident_joint_counts_against_each_class_own_threshold() {
        let rows = [
            [0.9, 0.1], // label 0, sure
            [0.7, 0.3], // label 0, below its threshold and below the other's
            [0.2, 0.8], // label 0, confidently 1
            [0.1, 0.9], // label 1, sure
            [0.4, 0.6], // label 1, below both
            [0.8, 0.2], // label 1, confidently 0
        ];
        let found = find_doubts(&rows.concat(), 2, &[0, 0, 0, 1, 1, 1]);
        let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-6;
        assert!(close(found.thresholds[0], 0.6) && close(found.thresholds[1], 1.7 / 3.0), "{:?}", found.thresholds);
        assert_eq!(found.joint, [[2, 1], [1, 2]]);
        let places: Vec<_> = found.list.iter().map(|d| (d.at, d.suggested)).collect();
        assert_eq!(places, [(2, 1), (5, 0)]);
        assert!((found.list[0].score - 0.8).abs() < 1e-6, "{:?}", found.list);
        assert!((found.estimated - 2.0).abs() < 1e-9, "each row has three examples, one of them off");
    }

    #[test]
    fn a_class_the_network_is_never_sure_of_is_judged_by_its_own_threshold() {
        // Class 1 never gets more than 0.4, which is above what its examples get on average.
        let rows = [[0.9, 0.1], [0.95, 0.05], [0.6, 0.4], [0.7, 0.3], [0.65, 0.35]];
        let found = find_doubts(&rows.concat(), 2, &[0, 0, 0, 1, 1]);
        assert_eq!(found.list.iter().map(|d| (d.at, d.suggested)).collect::<Vec<_>>(), [(2, 1)]);
        assert!(found.list[0].score < 0.5, "the margin still says how little that is");
    }

    #[test]
    fn flipped_labels_of_a_good_network_come_first() {
        let (classes, each) = (4, 100);
        let mut rng = SplitMix::new(7, 1);
        let (mut labels, mut probabilities, mut flipped) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..classes * each {
            let truth = i % classes;
            let wrong = rng.chance(0.06);
            flipped.push(wrong);
            labels.push(if wrong { (truth + 1 + rng.below(classes - 1)) % classes } else { truth });
            // Right nine times in ten, and then surer of it.
            let seen = if rng.chance(0.9) { truth } else { rng.below(classes) };
            let sure = rng.range(if seen == truth { 0.6 } else { 0.4 }, 0.95);
            probabilities.extend((0..classes).map(|c| if c == seen { sure } else { (1.0 - sure) / 3.0 }));
        }
        let found = find_doubts(&probabilities, classes, &labels);
        let wrong = flipped.iter().filter(|f| **f).count();
        let hits = found.list.iter().take(wrong).filter(|d| flipped[d.at]).count();
        assert!(hits * 10 >= wrong * 6, "{hits} of {wrong} among the first {wrong}");
        let right = |d: &&Doubt| flipped[d.at] && d.suggested == d.at % classes;
        assert!(found.list.iter().filter(right).count() * 10 >= wrong * 7);
        assert!(found.estimated > wrong as f64 * 0.5 && found.estimated < wrong as f64 * 3.0, "{}", found.estimated);
    }

    #[test]
    fn what_cannot_be_judged_is_passed_over() {
        let found = find_doubts(&[0.5, 0.5, f32::NAN, 0.1, 0.9, 0.1], 2, &[0, 1, 7]);
        assert!(found.list.is_empty());
        assert_eq!(found.joint, [[1, 0], [0, 0]]);
        assert_eq!(found.thresholds[1], None);
        assert_eq!(find_doubts(&[], 3, &[]).estimated, 0.0);
    }

    #[test]
    fn folds_keep_groups_whole_and_labels_level() {
        let mut rng = SplitMix::new(3, 3);
        let labels: Vec<usize> = (0..300).map(|i| usize::from(i % 5 == 0) + usize::from(i % 50 == 0)).collect();
        let groups: Vec<u32> = (0..300).map(|i| if rng.chance(0.2) { i / 3 } else { 1000 + i }).collect();
        let dealt = deal_folds(&labels, &groups, 4, 9);
        assert_eq!(dealt, deal_folds(&labels, &groups, 4, 9));
        assert_ne!(dealt, deal_folds(&labels, &groups, 4, 10));
        for (a, group) in groups.iter().enumerate() {
            for (b, other) in groups.iter().enumerate() {
                assert!(group != other || dealt[a] == dealt[b]);
            }
        }
        for class in 0..3 {
            let count = |fold| (0..300).filter(|i| dealt[*i] == fold && labels[*i] == class).count();
            let counts: Vec<_> = (0..4).map(count).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 3, "class {class}: {counts:?}");
        }
    }
}
