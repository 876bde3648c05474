//! Places without fire or smoke: landscapes, towns and rooms, by day, at dusk and at night, with
//! clouds, fog, sunsets, lamps and red things to be mistaken for it.

use super::canvas::{Canvas, Rgb, over, times};
use super::noise::{Noise, lerp, smooth};
use crate::rng::SplitMix;

/// What drawing fire and smoke needs to know of a place.
pub(super) struct Scene {
    /// How light it is, 0 to 1.
    pub(super) light: f32,
    /// Where things stand, in parts of the height.
    pub(super) ground: f32,
}

/// Draws a place.
pub(super) fn draw(canvas: &mut Canvas, rng: &mut SplitMix) -> Scene {
    let scene = match rng.below(3) {
        0 => landscape(canvas, rng),
        1 => town(canvas, rng),
        _ => room(canvas, rng),
    };
    for _ in 0..rng.below(3) {
        red_thing(canvas, rng, &scene);
    }
    if rng.chance(0.35) {
        lamp(canvas, rng, &scene);
    }
    scene
}

/// Sky over the whole canvas. Returns how light it is.
fn sky(canvas: &mut Canvas, rng: &mut SplitMix, horizon: f32) -> f32 {
    let (light, mut top, mut low): (f32, Rgb, Rgb) = match rng.below(4) {
        0 => (rng.range(0.12, 0.3), [0.03, 0.04, 0.1], [0.1, 0.11, 0.18]),
        1 => (rng.range(0.4, 0.65), [0.22, 0.25, 0.45], [0.95, rng.range(0.4, 0.65), rng.range(0.15, 0.4)]),
        2 => (rng.range(0.7, 0.95), [0.55, 0.58, 0.62], [0.72, 0.74, 0.76]),
        _ => (rng.range(0.8, 1.0), [0.25, 0.47, 0.8], [0.68, 0.8, 0.92]),
    };
    let tint: Rgb = std::array::from_fn(|_| rng.range(0.85, 1.12));
    for c in 0..3 {
        top[c] *= tint[c];
        low[c] *= tint[c];
    }
    canvas.paint(|_, y, _| over(top, low, smooth(0.0, horizon.max(0.1), y)));
    if rng.chance(0.45) {
        let at = [rng.unit(), rng.range(0.1, horizon.max(0.2))];
        let radius = rng.range(0.03, 0.08);
        let disc: Rgb =
            if light < 0.35 { [0.85, 0.86, 0.8] } else { [1.0, rng.range(0.65, 0.95), rng.range(0.3, 0.7)] };
        canvas.glow(at, radius * 4.0, disc, 0.5);
        canvas.fill(disc, |x, y| smooth(radius, radius * 0.8, (x - at[0]).hypot(y - at[1])));
    }
    if rng.chance(0.7) {
        let noise = Noise(rng.next());
        let (from, to) = (rng.range(-0.1, 0.25), rng.range(0.4, 0.8));
        let (wide, high) = (rng.range(1.5, 3.5), rng.range(4.0, 9.0));
        let white = times([1.0, 0.99, 0.97], lerp(0.25, 1.0, light));
        let body = over(low, white, rng.range(0.5, 1.0));
        canvas.paint(|x, y, old| {
            let warp = 0.3 * noise.at(x * 4.0, y * 8.0 + 9.0);
            let cover = smooth(from, to, noise.fbm(x * wide + warp, y * high, 4));
            over(old, body, 0.85 * cover * smooth(horizon + 0.1, horizon - 0.3, y))
        });
    }
    light
}

fn landscape(canvas: &mut Canvas, rng: &mut SplitMix) -> Scene {
    let horizon = rng.range(0.35, 0.65);
    let light = sky(canvas, rng, horizon);
    let haze: Rgb = times([0.65, 0.7, 0.76], light);
    let layers = 2 + rng.below(3);
    let dry = rng.unit();
    for layer in 0..layers {
        let near = (layer as f32 + 1.0) / layers as f32;
        let level = lerp(horizon, 0.85, layer as f32 / layers as f32);
        let (noise, rough) = (Noise(rng.next()), rng.range(0.05, 0.14));
        let trees = rng.chance(0.5) as u8 as f32 * rng.range(0.01, 0.04) * near;
        let green: Rgb = [lerp(0.16, 0.55, dry), lerp(0.36, 0.45, dry), lerp(0.14, 0.25, dry)];
        let base = over(haze, times(green, light * rng.range(0.7, 1.1)), 0.35 + 0.65 * near);
        canvas.paint(|x, y, old| {
            let edge = level + rough * noise.fbm(x * 2.5, 3.0, 3) + trees * noise.at(x * 34.0, 7.0);
            let texture = 1.0 + 0.3 * near * noise.fbm(x * 14.0, y * 22.0, 3);
            over(old, times(base, texture), smooth(edge - 0.008, edge + 0.008, y))
        });
    }
    if rng.chance(0.3) {
        fog(canvas, rng, light);
    }
    Scene { light, ground: rng.range(horizon + 0.12, 0.95) }
}

/// Smooth layers that lie: no plume, no source, no curls.
fn fog(canvas: &mut Canvas, rng: &mut SplitMix, light: f32) {
    let (noise, centre, depth) = (Noise(rng.next()), rng.range(0.4, 0.9), rng.range(0.12, 0.4));
    let (strength, grey) = (rng.range(0.4, 0.85), lerp(0.3, 0.85, light) * rng.range(0.85, 1.0));
    canvas.paint(|x, y, old| {
        let lies = (-((y - centre - 0.06 * noise.at(x * 1.5, 0.5)) / depth).powi(2)).exp();
        let cover = strength * lies * (0.9 + 0.25 * noise.at(x * 1.3, y * 5.0));
        over(old, [grey, grey, grey * 1.03], cover.clamp(0.0, 1.0))
    });
}

fn town(canvas: &mut Canvas, rng: &mut SplitMix) -> Scene {
    let ground = rng.range(0.65, 0.88);
    let light = sky(canvas, rng, ground);
    let lit = if light < 0.6 { rng.range(0.2, 0.7) } else { 0.03 };
    let mut left = -rng.range(0.0, 0.1);
    while left < 1.0 {
        let right = left + rng.range(0.12, 0.32);
        let top = rng.range(0.2, ground - 0.12);
        let wall = times([rng.range(0.4, 0.75), rng.range(0.38, 0.65), rng.range(0.35, 0.65)], lerp(0.15, 0.9, light));
        canvas.rect([left, top, right, ground], wall);
        let (columns, rows) = (2 + rng.below(3), 2 + rng.below(4));
        for i in 0..columns * rows {
            let (w, h) = ((right - left) / columns as f32, (ground - top) / rows as f32);
            let (x, y) = (left + w * ((i % columns) as f32 + 0.25), top + h * ((i / columns) as f32 + 0.25));
            let warm: Rgb = [1.0, rng.range(0.65, 0.9), rng.range(0.3, 0.6)];
            let glass = if rng.chance(lit) { times(warm, rng.range(0.7, 1.0)) } else { times(wall, 0.55) };
            canvas.rect([x, y, x + w * 0.5, y + h * 0.5], glass);
        }
        left = right + if rng.chance(0.3) { rng.range(0.0, 0.15) } else { 0.0 };
    }
    let (noise, grey) = (Noise(rng.next()), rng.range(0.25, 0.5) * lerp(0.3, 1.0, light));
    canvas.paint(|x, y, old| {
        let v = grey * (1.0 + 0.15 * noise.fbm(x * 12.0, y * 30.0, 2));
        if y > ground { [v, v, v * 1.02] } else { old }
    });
    if rng.chance(0.2) {
        fog(canvas, rng, light);
    }
    Scene { light, ground: rng.range(ground - 0.02, 0.97) }
}

fn room(canvas: &mut Canvas, rng: &mut SplitMix) -> Scene {
    let light = rng.range(0.25, 1.0);
    let floor = rng.range(0.6, 0.8);
    let mut any =
        |low: f32, high: f32| -> Rgb { std::array::from_fn(|_| rng.range(low, high) * lerp(0.35, 1.0, light)) };
    let (wall, boards, mut things) = (any(0.5, 0.9), any(0.25, 0.55), Vec::new());
    for _ in 0..4 {
        things.push(any(0.15, 0.75));
    }
    let (noise, side) = (Noise(rng.next()), rng.range(-0.25, 0.25));
    canvas.paint(|x, y, _| {
        let shade = 1.0 + side * (x - 0.5) * 2.0 - 0.15 * (y - 0.3);
        if y < floor {
            times(wall, shade)
        } else {
            times(boards, shade * (1.0 + 0.15 * noise.fbm(x * 6.0, y * 40.0, 2)))
        }
    });
    if rng.chance(0.5) {
        let (x, y, w, h) = (rng.range(0.05, 0.6), rng.range(0.08, 0.25), rng.range(0.18, 0.35), rng.range(0.2, 0.35));
        let pane: Rgb = if rng.chance(0.3) { [0.9, 0.55, 0.3] } else { [0.7, 0.82, 0.95] };
        canvas.rect([x - 0.02, y - 0.02, x + w + 0.02, y + h + 0.02], times([0.9, 0.88, 0.85], lerp(0.4, 1.0, light)));
        canvas.rect([x, y, x + w, y + h], times(pane, lerp(0.3, 1.0, light)));
        if rng.chance(0.5) {
            let cloth = times([rng.range(0.5, 0.9), rng.range(0.1, 0.8), rng.range(0.1, 0.7)], light);
            canvas.paint(|px, py, old| {
                let inside = (px - x + 0.05).abs() < 0.06 && py > y - 0.04 && py < floor;
                if inside { times(cloth, 0.85 + 0.2 * (px * 160.0).sin()) } else { old }
            });
        }
    }
    for colour in things.iter().take(1 + rng.below(4)) {
        let (x, w, h) = (rng.range(-0.1, 0.9), rng.range(0.12, 0.4), rng.range(0.12, 0.4));
        let bottom = floor + rng.range(0.02, 0.15);
        canvas.rect([x, bottom - h, x + w, bottom], *colour);
        canvas.rect([x, bottom - h, x + w, bottom - h + 0.025], times(*colour, 1.25));
    }
    Scene { light, ground: rng.range(floor + 0.02, 0.95) }
}

/// Something red, orange or yellow with a plain outline: a ball, a car, a shrub.
fn red_thing(canvas: &mut Canvas, rng: &mut SplitMix, scene: &Scene) {
    let shade = lerp(0.45, 1.0, scene.light);
    let colour: Rgb = times([rng.range(0.75, 1.0), rng.range(0.1, 0.65), rng.range(0.02, 0.2)], shade);
    let (x, y) = (rng.range(0.1, 0.9), (scene.ground + rng.range(-0.12, 0.05)).min(0.95));
    let size = rng.range(0.05, 0.14);
    match rng.below(3) {
        0 => canvas.paint(|px, py, old| {
            let d = (px - x).hypot(py - y) / size;
            over(old, times(colour, 1.1 - 0.5 * d), smooth(1.05, 0.95, d))
        }),
        1 => {
            canvas.rect([x - size * 1.5, y - size * 0.5, x + size * 1.5, y + size * 0.3], colour);
            canvas.rect([x - size * 0.8, y - size, x + size * 0.8, y - size * 0.5], times(colour, 0.7));
            for wheel in [x - size, x + size] {
                canvas.fill([0.06; 3], |px, py| smooth(0.33, 0.27, (px - wheel).hypot(py - y - size * 0.3) / size));
            }
        }
        _ => {
            let noise = Noise(rng.next());
            canvas.paint(|px, py, old| {
                let d = (px - x).hypot((py - y) * 1.2) / size + 0.35 * noise.at(px * 22.0, py * 22.0);
                over(old, times(colour, 0.65 + 0.5 * noise.at(px * 40.0, py * 40.0).abs()), smooth(1.05, 0.9, d))
            });
        }
    }
}

/// A lamp: bright, warm, round, still.
fn lamp(canvas: &mut Canvas, rng: &mut SplitMix, scene: &Scene) {
    let at = [rng.range(0.1, 0.9), rng.range(0.1, 0.55)];
    let warm: Rgb = [1.0, rng.range(0.7, 0.92), rng.range(0.3, 0.7)];
    let radius = rng.range(0.02, 0.055);
    canvas.rect([at[0] - 0.006, at[1], at[0] + 0.006, scene.ground], times([0.3; 3], scene.light));
    canvas.glow(at, radius * 4.5, warm, lerp(0.7, 0.25, scene.light));
    canvas.fill([1.0, 0.97, 0.85], |x, y| smooth(radius, radius * 0.6, (x - at[0]).hypot(y - at[1])));
}
