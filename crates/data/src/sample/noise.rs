//! Smooth randomness: gradient noise (Perlin 1985), its sums over octaves, and its curl.

use crate::rng::mix;

/// A field of noise of its own for each seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn gradient(self, x: i32, y: i32, dx: f32, dy: f32) -> f32 {
        // Eight directions are enough; a table would be slower than this hash.
        let mut h = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ self.0 as u32;
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
        match (h >> 16) & 7 {
            0 => dx + dy,
            1 => dx - dy,
            2 => dy - dx,
            3 => -dx - dy,
            4 => 1.4 * dx,
            5 => -1.4 * dx,
            6 => 1.4 * dy,
            _ => -1.4 * dy,
        }
    }

    /// About -1 to 1, features of about size 1.
    pub(crate) fn at(self, x: f32, y: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (dx, dy) = (x - fx, y - fy);
        let (ix, iy) = (fx as i32, fy as i32);
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (u, v) = (fade(dx), fade(dy));
        let top = lerp(self.gradient(ix, iy, dx, dy), self.gradient(ix + 1, iy, dx - 1.0, dy), u);
        let bottom =
            lerp(self.gradient(ix, iy + 1, dx, dy - 1.0), self.gradient(ix + 1, iy + 1, dx - 1.0, dy - 1.0), u);
        lerp(top, bottom, v)
    }

    /// A sum of octaves, each twice as fine and half as strong; about -1 to 1.
    pub(super) fn fbm(self, x: f32, y: f32, octaves: u32) -> f32 {
        let (mut sum, mut size, mut scale) = (0.0, 1.0, 1.0);
        for octave in 0..octaves {
            sum += size * Self(mix(self.0 ^ u64::from(octave))).at(x * scale, y * scale);
            size *= 0.5;
            scale *= 2.0;
        }
        sum
    }

    /// A swirling flow without sources or sinks (Bridson, Hourihan and Nordenstam 2007,
    /// "Curl-noise for procedural fluid flow").
    pub(super) fn curl(self, x: f32, y: f32) -> [f32; 2] {
        const STEP: f32 = 0.05;
        let here = self.fbm(x, y, 2);
        [(self.fbm(x, y + STEP, 2) - here) / STEP, (here - self.fbm(x + STEP, y, 2)) / STEP]
    }
}

pub(crate) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(crate) fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
