//! Who is dominated by nobody.

/// Indices of the points that no other point dominates, in the order given. A point dominates
/// another when it is nowhere worse and somewhere better; every coordinate is better when **lower**
/// (negate what should be high). Of equal points the first is kept. Points with a NaN are never on
/// the front.
///
/// # Shapes
/// `points`: `[n, objectives]`.
pub fn pareto_front(points: &[Vec<f64>]) -> Vec<usize> {
    let dominates = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(x, y)| x <= y) && a.iter().zip(b).any(|(x, y)| x < y);
    let sound = |p: &[f64]| p.iter().all(|v| !v.is_nan());
    (0..points.len())
        .filter(|&i| {
            sound(&points[i])
                && !points
                    .iter()
                    .enumerate()
                    .any(|(j, other)| sound(other) && (dominates(other, &points[i]) || (j < i && *other == points[i])))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_front_of_a_hand_made_set() {
        let points =
            vec![vec![1.0, 5.0], vec![2.0, 2.0], vec![3.0, 3.0], vec![5.0, 1.0], vec![2.0, 2.0], vec![f64::NAN, 0.0]];
        assert_eq!(pareto_front(&points), vec![0, 1, 3]);
    }

    proptest! {
        #[test]
        fn every_point_off_the_front_is_matched_or_beaten_by_one_on_it(
            points in prop::collection::vec(prop::collection::vec(0u8..6, 2), 1..30)
        ) {
            let points: Vec<Vec<f64>> = points.iter().map(|p| p.iter().map(|v| f64::from(*v)).collect()).collect();
            let front = pareto_front(&points);
            prop_assert!(!front.is_empty());
            for point in &points {
                prop_assert!(front.iter().any(|&i| points[i].iter().zip(point).all(|(a, b)| a <= b)));
            }
        }
    }
}
