//! A picture in linear-looking floats, 0 to 1, over the unit square (y down).

use super::noise::lerp;

pub(super) type Rgb = [f32; 3];

pub(super) struct Canvas {
    pub(super) side: usize,
    pub(super) pixels: Vec<Rgb>,
}

impl Canvas {
    pub(super) fn new(side: usize) -> Self {
        Self { side, pixels: vec![[0.0; 3]; side * side] }
    }

    /// Changes each pixel given its middle in the unit square.
    pub(super) fn paint(&mut self, mut brush: impl FnMut(f32, f32, Rgb) -> Rgb) {
        let side = self.side;
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            let (x, y) = ((i % side) as f32 + 0.5, (i / side) as f32 + 0.5);
            *pixel = brush(x / side as f32, y / side as f32, *pixel);
        }
    }

    /// A filled shape: `cover` is 0 to 1.
    pub(super) fn fill(&mut self, colour: Rgb, mut cover: impl FnMut(f32, f32) -> f32) {
        self.paint(|x, y, old| over(old, colour, cover(x, y)));
    }

    /// An upright box.
    pub(super) fn rect(&mut self, [left, top, right, bottom]: [f32; 4], colour: Rgb) {
        self.fill(colour, |x, y| f32::from(u8::from((left..right).contains(&x) && (top..bottom).contains(&y))));
    }

    /// Light that falls off from a place.
    pub(super) fn glow(&mut self, at: [f32; 2], radius: f32, colour: Rgb, strength: f32) {
        self.paint(|x, y, old| {
            let d2 = ((x - at[0]).powi(2) + (y - at[1]).powi(2)) / (radius * radius);
            let light = strength * (-d2).exp();
            std::array::from_fn(|c| old[c] + light * colour[c] * (1.2 - old[c].min(1.0)))
        });
    }
}

pub(super) fn over(below: Rgb, above: Rgb, alpha: f32) -> Rgb {
    std::array::from_fn(|c| lerp(below[c], above[c], alpha))
}

pub(super) fn times(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|v| v * factor)
}
