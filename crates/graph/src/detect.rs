//! Objects from the map of a network that finds them.

/// As many objects are found in one picture at most.
pub const MOST_OBJECTS: usize = 100;
/// No side of a box is further from its centre than `exp` of this, in cells.
const FARTHEST: f32 = 6.0;

/// What a network says is in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The number of its class.
    pub class: usize,
    /// How sure the network is, 0 to 1.
    pub score: f32,
    /// Left, top, right and bottom in shares of the picture's width and height, 0 to 1.
    pub sides: [f32; 4],
}

/// The objects of a map, the surest first and of equals the one that comes first in the map; at most [`MOST_OBJECTS`], each
/// with a score of `at_least` or more.
///
/// An object is a place where a class's logit is no less than those of the eight places around it (Zhou et al. 2019, "Objects as
/// Points"), so that no other suppression is needed. Its score is the logistic function of the logit. Its box reaches from the
/// middle of the place to the left, top, right and bottom by `exp` of the map's last four channels, in places, `exp` of 6 at
/// most (Tian et al. 2019, FCOS), and is cut off at the picture's edge.
///
/// # Shapes
/// `map`: `[classes + 4, height, width]` of `shape`.
pub fn find_objects(map: &[f32], shape: [usize; 3], at_least: f32) -> Vec<Found> {
    let [channels, height, width] = shape;
    let (classes, plane) = (channels.saturating_sub(4), height * width);
    if plane == 0 || map.len() != channels * plane {
        return Vec::new();
    }
    let mut peaks: Vec<(f32, usize)> = Vec::new();
    for (class, logits) in map.chunks_exact(plane).take(classes).enumerate() {
        for y in 0..height {
            for x in 0..width {
                let own = logits[y * width + x];
                let rows = y.saturating_sub(1)..(y + 2).min(height);
                let mut around =
                    rows.flat_map(|y| &logits[y * width + x.saturating_sub(1)..y * width + (x + 2).min(width)]);
                let score = score(own);
                if score >= at_least && around.all(|other| own >= *other) {
                    peaks.push((score, class * plane + y * width + x));
                }
            }
        }
    }
    peaks.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    peaks.truncate(MOST_OBJECTS);
    peaks.into_iter().map(|(_, at)| object_at(map, shape, at)).collect()
}

/// What [`find_objects`] says of the place `at` of a map, whether or not it is a peak: the class is `at / (height * width)`.
///
/// # Shapes
/// `map`: `[classes + 4, height, width]` of `shape`, not empty; `at` is below `classes * height * width`.
pub fn object_at(map: &[f32], shape: [usize; 3], at: usize) -> Found {
    let [channels, height, width] = shape;
    let (classes, plane) = (channels.saturating_sub(4), height * width);
    let (class, place) = (at / plane, at % plane);
    let middle = [(place % width) as f32 + 0.5, (place / width) as f32 + 0.5];
    let cells = [width as f32, height as f32];
    let sides = [0, 1, 2, 3].map(|side| {
        let reach = map[(classes + side) * plane + place].min(FARTHEST).exp();
        let signed = if side < 2 { -reach } else { reach };
        ((middle[side % 2] + signed) / cells[side % 2]).clamp(0.0, 1.0)
    });
    Found { class, score: score(map[at]), sides }
}

fn score(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes on 2 x 3 places; reaches of 1, so that boxes are two places wide.
    fn map(logits: [[f32; 6]; 2]) -> Vec<f32> {
        logits.into_iter().flatten().chain([0.0; 24]).collect()
    }

    #[test]
    fn peaks_are_objects_and_boxes_are_cut_off_at_the_edge() {
        let map = map([[2.0, 0.0, -1.0, 0.0, 0.0, -2.0], [-3.0, -3.0, -3.0, -3.0, -3.0, 1.0]]);
        let found = find_objects(&map, [6, 2, 3], 0.1);
        assert_eq!(found.iter().map(|f| f.class).collect::<Vec<_>>(), [0, 1]);
        assert!((found[0].score - 0.880_797).abs() < 1e-6 && (found[1].score - 0.731_058_6).abs() < 1e-6);
        // From -0.5 to 1.5 of 3 places, from -0.5 to 1.5 of 2; and from 1.5 to 3.5, from 0.5 to 2.5.
        assert_eq!(found[0].sides, [0.0, 0.0, 0.5, 0.75]);
        assert_eq!(found[1].sides, [0.5, 0.25, 1.0, 1.0]);
        assert_eq!(find_objects(&map, [6, 2, 3], 0.8).len(), 1);
        assert!(find_objects(&map, [6, 2, 2], 0.1).is_empty());
    }

    #[test]
    fn reaches_do_not_overflow_and_equals_come_in_order() {
        let mut map = map([[0.0; 6], [0.0; 6]]);
        map[12] = 1e9;
        let found = find_objects(&map, [6, 2, 3], 0.0);
        assert_eq!(found.len(), 12);
        assert_eq!(found[0].class, 0);
        assert!(found.iter().flat_map(|f| f.sides).all(|side| (0.0..=1.0).contains(&side)));
        assert!(found.windows(2).all(|pair| pair[0].class <= pair[1].class));
    }

    #[test]
    fn at_most_a_hundred() {
        let map = vec![0.0; 5 * 15 * 15];
        assert_eq!(find_objects(&map, [5, 15, 15], 0.0).len(), MOST_OBJECTS);
    }
}
