//! Fire and smoke: each point is followed back through a rising, swirling flow to where it came
//! from, and shows what left the source there and then.

use super::canvas::{Canvas, Rgb, over, times};
use super::noise::{Noise, lerp, smooth};
use super::scene::Scene;
use crate::rng::SplitMix;

/// Steps a point is followed back.
const STEPS: usize = 14;

/// How much of a picture something covers, 0 to 1 for each pixel.
pub(super) type Cover = Vec<f32>;

/// Points along each side of a flow's grid, which reaches a quarter beyond the picture.
const GRID: usize = 56;

/// A swirling flow, worked out once at the points of a grid: it is looked at many times.
struct Flow(Vec<[f32; 2]>);

impl Flow {
    fn new(noise: Noise, grain: f32) -> Self {
        let place = |i: usize| (i as f32 / (GRID - 1) as f32 * 1.5 - 0.25) * grain;
        Self((0..GRID * GRID).map(|i| noise.curl(place(i % GRID), place(i / GRID))).collect())
    }

    fn at(&self, x: f32, y: f32) -> [f32; 2] {
        let place = |v: f32| ((v + 0.25) / 1.5 * (GRID - 1) as f32).clamp(0.0, (GRID - 1) as f32 - 1e-3);
        let (gx, gy) = (place(x), place(y));
        let (i, j) = (gx as usize, gy as usize);
        let (u, v) = (gx - i as f32, gy - j as f32);
        let point = |j: usize, i: usize, c: usize| self.0[j * GRID + i][c];
        std::array::from_fn(|c| {
            lerp(lerp(point(j, i, c), point(j, i + 1, c), u), lerp(point(j + 1, i, c), point(j + 1, i + 1, c), u), v)
        })
    }
}

/// A flow that rises from a source.
struct Plume {
    flow: Flow,
    /// The middle of the source.
    source: [f32; 2],
    /// Half the width of the source.
    width: f32,
    /// How high it reaches.
    height: f32,
    /// Sideways drift for each unit of height.
    wind: f32,
    /// Strength of the swirls.
    swirl: f32,
    /// How much wider it is at the top than at the source.
    spread: f32,
}

impl Plume {
    /// Follows a point back: where across the source it left; -1 to 1 is inside.
    fn trace(&self, x: f32, y: f32) -> f32 {
        let rise = (self.source[1] - y) / self.height;
        if !(-0.12..1.25).contains(&rise) {
            return 9.0;
        }
        let (mut px, mut py) = (x, y);
        let step = (self.source[1] - y).max(0.02) / STEPS as f32;
        for _ in 0..STEPS {
            let above = ((self.source[1] - py) / self.height).clamp(0.0, 1.0);
            let [u, v] = self.flow.at(px, py);
            let strength = self.swirl * (0.25 + above);
            px -= step * (self.wind * (0.3 + above) + strength * u);
            py += step * (1.0 - 0.5 * strength * v).max(0.2);
        }
        (px - self.source[0]) / (self.width * (1.0 + self.spread * rise.clamp(0.0, 1.3)))
    }
}

/// Draws smoke; returns what it covers.
pub(super) fn smoke(canvas: &mut Canvas, rng: &mut SplitMix, scene: &Scene, source: [f32; 2], size: f32) -> Cover {
    let plume = Plume {
        flow: Flow::new(Noise(rng.next()), rng.range(4.0, 7.0)),
        source,
        width: size * rng.range(0.07, 0.15),
        height: size * rng.range(0.65, 1.0),
        wind: rng.range(-0.7, 0.7),
        swirl: rng.range(0.16, 0.32),
        spread: rng.range(1.4, 3.2),
    };
    let detail = Noise(rng.next());
    let thick = rng.range(0.8, 1.0);
    // From soot to steam-white, brighter by day, never quite without a tint.
    let shade = rng.range(0.12, 0.95) * lerp(0.55, 1.0, scene.light);
    let tint: Rgb = [1.0, rng.range(0.94, 1.0), rng.range(0.88, 1.04)];
    let mut cover = vec![0.0; canvas.pixels.len()];
    let mut at = 0;
    canvas.paint(|x, y, old| {
        let across = plume.trace(x, y);
        let rise = (plume.source[1] - y) / plume.height;
        let puff = detail.fbm(across * 1.6, (x + y) * 5.0 + rise * 4.0, 3);
        let body = smooth(1.25, 0.35, across.abs() + 0.35 * puff);
        let fade = smooth(1.2, 0.55, rise + 0.2 * puff) * smooth(-0.05, 0.04, rise);
        let alpha = (thick * body * fade).clamp(0.0, 1.0);
        cover[at] = alpha;
        at += 1;
        let relief = shade * (1.0 + 0.35 * puff - 0.15 * across.clamp(-1.0, 1.0));
        over(old, times(tint, relief.clamp(0.03, 1.0)), alpha)
    });
    cover
}

/// Draws a fire and its light; returns what the flames cover.
pub(super) fn fire(canvas: &mut Canvas, rng: &mut SplitMix, scene: &Scene, source: [f32; 2], size: f32) -> Cover {
    let plume = Plume {
        flow: Flow::new(Noise(rng.next()), rng.range(1.6, 2.6) / size.max(0.12)),
        source,
        width: size * rng.range(0.28, 0.6),
        height: size * rng.range(0.8, 1.4),
        wind: rng.range(-0.25, 0.25),
        swirl: rng.range(0.22, 0.36),
        spread: -0.3,
    };
    let tongues = Noise(rng.next());
    let orange: Rgb = [1.0, rng.range(0.4, 0.52), rng.range(0.05, 0.12)];
    let hot: Rgb = [1.0, rng.range(0.84, 0.95), rng.range(0.4, 0.65)];
    canvas.glow(
        [source[0], source[1] - 0.3 * plume.height],
        size * 1.3,
        [1.0, 0.45, 0.12],
        lerp(0.6, 0.2, scene.light),
    );
    let mut cover = vec![0.0; canvas.pixels.len()];
    let mut at = 0;
    canvas.paint(|x, y, old| {
        let across = plume.trace(x, y);
        let rise = (plume.source[1] - y) / plume.height;
        // Each tongue has a height of its own, and flickers along its way.
        let tongue =
            0.72 + 0.45 * tongues.at(across * 1.8 + 5.0, 0.3) + 0.28 * tongues.fbm(across * 3.0, rise * 2.2, 2);
        let edge = (1.0 - across.powi(2)).max(0.0).sqrt();
        let heat = if rise < -0.05 || across.abs() > 1.0 { 0.0 } else { tongue * edge * 1.15 - rise.max(0.0) };
        let alpha = smooth(0.0, 0.16, heat);
        cover[at] = alpha;
        at += 1;
        let inner = over([0.82, 0.16, 0.02], orange, smooth(0.05, 0.3, heat));
        let colour = over(inner, hot, smooth(0.28, 0.7, heat));
        over(old, colour, alpha * 0.96)
    });
    cover
}
