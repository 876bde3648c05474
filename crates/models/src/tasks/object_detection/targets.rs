//! What a network that finds objects by their centres is to answer.

use super::Truth;

/// How far around its centre an object is learned, as a share of its box: TTFNet's (Liu et al. 2020).
const AROUND: f64 = 0.54;

/// How targets lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Classes.
    pub classes: usize,
    /// Rows of the map.
    pub height: usize,
    /// Places in a row.
    pub width: usize,
}

/// One picture's planes as they are filled.
struct Planes<'a> {
    heat: &'a mut [f32],
    sides: &'a mut [f32],
    weight: &'a mut [f32],
}

impl Targets {
    fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Numbers of one picture's target: for each class how much each place is an object's centre, 0 to 1; how far left, top,
    /// right and bottom lie, in places; how much each place's sides count; and what the loss of the places is multiplied by.
    pub fn len(&self) -> usize {
        (self.classes + 5) * self.plane() + 1
    }

    /// Whether there is nothing to learn; never so for a network's map.
    pub fn is_empty(&self) -> bool {
        self.classes == 0 || self.plane() == 0
    }

    /// The targets of a batch, given what is in each picture in shares of its sides.
    ///
    /// A centre's surroundings fall off as a Gaussian over the middle half of its box, so that objects of any size are
    /// learned from more than one place. Where objects overlap the smaller one's sides are learned. The weights of all sides sum
    /// to 1, and the loss of places is divided by the number of objects.
    ///
    /// # Shapes
    /// Gives `[pictures, len]`.
    pub fn of(&self, pictures: &[Vec<Truth>]) -> Vec<f32> {
        let objects = pictures.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let (plane, places) = (self.plane(), self.classes * self.plane());
        let mut targets = vec![0.0; pictures.len() * self.len()];
        for (target, truths) in targets.chunks_exact_mut(self.len()).zip(pictures) {
            let (heat, rest) = target.split_at_mut(places);
            let (sides, rest) = rest.split_at_mut(4 * plane);
            let (weight, last) = rest.split_at_mut(plane);
            let mut planes = Planes { heat, sides, weight };
            let mut largest_first: Vec<&Truth> = truths.iter().filter(|t| t.class < self.classes).collect();
            let area = |t: &Truth| t.rect.width * t.rect.height;
            largest_first.sort_by(|a, b| area(b).total_cmp(&area(a)));
            for truth in largest_first {
                self.add(truth, 1.0 / objects, &mut planes);
            }
            last.fill((1.0 / objects) as f32);
        }
        targets
    }

    fn add(&self, truth: &Truth, share: f64, planes: &mut Planes<'_>) {
        let (cells, plane) = ([self.width as f64, self.height as f64], self.plane());
        let rect = truth.rect;
        let (start, size) = ([rect.x * cells[0], rect.y * cells[1]], [rect.width * cells[0], rect.height * cells[1]]);
        let middle = rect.centre();
        let at = [0, 1].map(|axis| ((middle[axis] * cells[axis]).max(0.0) as usize).min(cells[axis] as usize - 1));
        // Whole places to each side, and the deviation that goes with them.
        let radius = [0, 1].map(|axis| (size[axis] / 2.0 * AROUND).max(0.0) as usize);
        let deviation = radius.map(|r| (2 * r + 1) as f64 / 6.0);
        let range =
            |axis: usize, last: usize| at[axis].saturating_sub(radius[axis])..(at[axis] + radius[axis] + 1).min(last);
        let mut around: Vec<(usize, f64)> = Vec::new();
        for y in range(1, self.height) {
            for x in range(0, self.width) {
                let far = |axis: usize, place: usize| ((place as f64 - at[axis] as f64) / deviation[axis]).powi(2);
                around.push((y * self.width + x, (-(far(0, x) + far(1, y)) / 2.0).exp()));
            }
        }
        let sum: f64 = around.iter().map(|(_, near)| near).sum();
        for (place, near) in around {
            let heat = &mut planes.heat[truth.class * plane + place];
            *heat = heat.max(near as f32);
            let middle = [(place % self.width) as f64 + 0.5, (place / self.width) as f64 + 0.5];
            for side in 0..4 {
                let axis = side % 2;
                let reach = if side < 2 { middle[axis] - start[axis] } else { start[axis] + size[axis] - middle[axis] };
                // A place beside a box of less than a place has no side there.
                planes.sides[side * plane + place] = reach.max(0.0) as f32;
            }
            planes.weight[place] = (near / sum * share) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::object_detection::Rect;

    fn truth(class: usize, [x, y, width, height]: [f64; 4]) -> Truth {
        Truth { class, rect: Rect { x, y, width, height } }
    }

    #[test]
    fn a_centre_is_one_and_its_sides_are_where_they_are() {
        let targets = Targets { classes: 2, height: 4, width: 8 };
        let made = targets.of(&[vec![truth(1, [0.125, 0.25, 0.25, 0.5])], Vec::new()]);
        assert_eq!(made.len(), 2 * targets.len());
        let (first, second) = made.split_at(targets.len());
        // The box reaches from 1 to 3 of 8 places and from 1 to 3 of 4: its middle is the corner of place (2, 2).
        let (plane, place) = (32, 2 * 8 + 2);
        assert_eq!(first.iter().take(2 * plane).filter(|heat| **heat > 0.0).count(), 1);
        assert_eq!(first[plane + place], 1.0);
        let sides: Vec<f32> = (0..4).map(|side| first[(2 + side) * plane + place]).collect();
        assert_eq!(sides, [1.5, 1.5, 0.5, 0.5]);
        assert_eq!((first[6 * plane + place], first[7 * plane]), (1.0, 1.0));
        // The other picture's objects count as well: there are none, and one in all.
        assert!(second[..7 * plane].iter().all(|x| *x == 0.0) && second[7 * plane] == 1.0);
    }

    #[test]
    fn large_objects_are_learned_around_their_centres_and_small_ones_come_before_them() {
        let targets = Targets { classes: 1, height: 9, width: 9 };
        let made = targets.of(&[vec![truth(0, [0.45, 0.45, 0.1, 0.1]), truth(0, [0.0, 0.0, 1.0, 1.0])]]);
        let (plane, centre) = (81, 4 * 9 + 4);
        let around = made[..plane].iter().filter(|heat| **heat > 0.0).count();
        // 9 / 2 * 0.54 is 2 places to each side.
        assert_eq!(around, 25);
        assert!((made[centre] - 1.0).abs() < 1e-6 && made[centre + 1] > made[centre + 2]);
        // In the middle the sides are the small one's, beside it the large one's.
        assert!((made[plane + centre] - 0.45).abs() < 1e-6, "{}", made[plane + centre]);
        assert!((made[plane + centre + 1] - 5.5).abs() < 1e-6);
        let weights: f32 = made[5 * plane..6 * plane].iter().sum();
        assert!(weights <= 1.0 && made[5 * plane + centre] == 0.5, "{weights}");
    }

    #[test]
    fn odd_boxes_harm_nothing() {
        let targets = Targets { classes: 1, height: 3, width: 3 };
        let odd = [truth(0, [1.0, 1.0, 0.0, 0.0]), truth(7, [0.0, 0.0, 1.0, 1.0]), truth(0, [-1.0, -1.0, 0.5, 0.5])];
        assert!(targets.of(&[odd.to_vec()]).iter().all(|x| x.is_finite()));
        assert!(!targets.is_empty() && Targets { classes: 0, ..targets }.is_empty());
    }
}
