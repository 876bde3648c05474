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

/// A flow that rises from a source.
struct Plume {
    noise: Noise,
    /// The middle of the source.
    source: [f32; 2],
    /// Half the width of the source.
    width: f32,
    /// How high it reaches.
    height: f32,
    /// Sideways drift for each unit of height.
    wind: f32,
    /// Strength and size of the swirls.
    swirl: f32,
    grain: f32,
    /// How much wider it is at the top than at the source.
    spread: f32,
}

impl Plume {
    /// Follows a point back: where across the source it left (-1 to 1 is inside), and its height as
    /// a share of the plume's.
    fn trace(&self, x: f32, y: f32) -> (f32, f32) {
        let rise = (self.source[1] - y) / self.height;
        if !(-0.12..1.25).contains(&rise) {
            return (9.0, rise);
        }
        let (mut px, mut py) = (x, y);
        let step = (self.source[1] - y).max(0.02) / STEPS as f32;
        for _ in 0..STEPS {
            let above = ((self.source[1] - py) / self.height).clamp(0.0, 1.0);
            let [u, v] = self.noise.curl(px * self.grain, py * self.grain);
            let strength = self.swirl * (0.25 + above);
            px -= step * (self.wind * (0.3 + above) + strength * u);
            py += step * (1.0 - 0.5 * strength * v).max(0.2);
        }
        let above = rise.clamp(0.0, 1.3);
        (
            ((px - self.source[0]) / (self.width * (1.0 + self.spread * above))),
            (self.source[1] - (y + (py - self.source[1]))) / self.height,
        )
    }
}

/// Draws smoke; returns what it covers.
pub(super) fn smoke(canvas: &mut Canvas, rng: &mut SplitMix, scene: &Scene, source: [f32; 2], size: f32) -> Cover {
    let plume = Plume {
        noise: Noise(rng.next()),
        source,
        width: size * rng.range(0.07, 0.15),
        height: size * rng.range(0.65, 1.0),
        wind: rng.range(-0.7, 0.7),
        swirl: rng.range(0.16, 0.32),
        grain: rng.range(4.0, 7.0),
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
        let (across, _) = plume.trace(x, y);
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
        noise: Noise(rng.next()),
        source,
        width: size * rng.range(0.28, 0.6),
        height: size * rng.range(0.8, 1.4),
        wind: rng.range(-0.25, 0.25),
        swirl: rng.range(0.22, 0.36),
        grain: rng.range(1.6, 2.6) / size.max(0.12),
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
        let (across, _) = plume.trace(x, y);
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
