//! One soap box on a conveyor, seen from above: a printed carton with a window through which the soap is seen.

use super::canvas::{Canvas, Rgb, over, times};
use super::noise::{Noise, lerp, smooth};
use crate::rng::SplitMix;

/// What can be wrong with a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No soap behind the window.
    Empty,
    /// A piece of the printed layer has come off.
    Torn,
    /// The flap at one end stands open.
    Open,
}

/// Where the box lies.
struct Pose {
    centre: [f32; 2],
    /// Sine and cosine of the rotation.
    turn: [f32; 2],
    /// How much larger than in its own system the box is in the picture.
    scale: f32,
    /// Half the length and half the width in its own system.
    half: [f32; 2],
    /// About half a pixel in its own system, for soft edges.
    soft: f32,
}

impl Pose {
    /// A point of the picture as the box sees it: along and across, from its middle.
    fn local(&self, x: f32, y: f32) -> [f32; 2] {
        let (dx, dy) = ((x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale);
        let [sin, cos] = self.turn;
        [dx * cos + dy * sin, dy * cos - dx * sin]
    }

    /// How far inside a rectangle of the box's system a point lies, as cover 0 to 1.
    fn inside(&self, [u, v]: [f32; 2], [left, top, right, bottom]: [f32; 4]) -> f32 {
        let depth = (u - left).min(right - u).min(v - top).min(bottom - v);
        smooth(-self.soft, self.soft, depth)
    }
}

/// What all boxes of a picture's kind have in common, and what varies from box to box.
struct Carton {
    pose: Pose,
    colour: Rgb,
    soap: Rgb,
    board: Rgb,
    window: [f32; 2],
    noise: Noise,
}

/// Draws belt, box and fault; gives what the fault covers.
pub(super) fn draw(canvas: &mut Canvas, rng: &mut SplitMix, fault: Option<Fault>) -> Vec<f32> {
    let soft = 0.6 / canvas.side as f32;
    belt(canvas, rng, soft);
    let angle = rng.range(-0.13, 0.13);
    let scale = rng.range(1.2, 1.32);
    let carton = Carton {
        pose: Pose {
            centre: [0.5 + rng.range(-0.05, 0.05), 0.5 + rng.range(-0.06, 0.06)],
            turn: [angle.sin(), angle.cos()],
            scale,
            half: [0.29, 0.185],
            soft: soft / scale,
        },
        colour: [rng.range(0.1, 0.17), rng.range(0.36, 0.44), rng.range(0.5, 0.6)],
        soap: soap_colour(rng),
        board: times([0.62, 0.54, 0.43], rng.range(0.85, 1.1)),
        window: [-0.02 + rng.range(-0.006, 0.006), 0.045],
        noise: Noise(rng.next()),
    };
    shadow(canvas, rng, &carton, fault);
    face(canvas, &carton);
    print(canvas, rng, &carton);
    let mut covered = window(canvas, rng, &carton, fault == Some(Fault::Empty));
    match fault {
        Some(Fault::Torn) => covered = tear(canvas, rng, &carton),
        Some(Fault::Open) => covered = open(canvas, rng, &carton),
        Some(Fault::Empty) => {}
        None => covered.fill(0.0),
    }
    covered
}

/// Soaps of four scents.
fn soap_colour(rng: &mut SplitMix) -> Rgb {
    let colours: [Rgb; 4] = [[0.93, 0.88, 0.75], [0.92, 0.7, 0.72], [0.72, 0.87, 0.72], [0.78, 0.73, 0.9]];
    times(colours[rng.below(4)], rng.range(0.92, 1.06))
}

/// Ribbed rubber between two rails, more or less worn, with stains.
fn belt(canvas: &mut Canvas, rng: &mut SplitMix, soft: f32) {
    let (grey, tint) = (rng.range(0.17, 0.4), rng.range(-0.02, 0.02));
    let (noise, stains) = (Noise(rng.next()), Noise(rng.next()));
    let (pitch, phase, slant) = (rng.range(0.075, 0.09), rng.unit(), rng.range(-0.15, 0.15));
    let (rib, worn, stained) = (rng.range(0.06, 0.3), rng.range(0.05, 0.15), rng.range(0.0, 0.25));
    canvas.paint(|x, y, _| {
        let wave = ((x + slant * y) / pitch + phase).fract();
        let edge = smooth(0.0, 0.25, wave) * smooth(1.0, 0.7, wave);
        let wear = worn * noise.fbm(x * 18.0, y * 18.0, 3) + 0.6 * worn * noise.at(x * 3.0, y * 9.0);
        let stain = stained * smooth(0.25, 0.6, stains.fbm(x * 3.5, y * 3.5, 2));
        let v = grey * (1.0 - rib * (1.0 - edge) + wear - stain);
        [v * (1.0 + tint), v, v * (1.0 - tint)]
    });
    let inset = rng.range(0.03, 0.09);
    let metal = rng.range(0.45, 0.75);
    canvas.paint(|x, y, old| {
        let from_edge = y.min(1.0 - y);
        let shine = 0.25 * (std::f32::consts::PI * from_edge / inset).sin() + 0.04 * noise.at(x * 2.0, y * 60.0);
        over(old, [metal * (0.8 + shine); 3], smooth(inset + soft, inset - soft, from_edge))
    });
}

fn shadow(canvas: &mut Canvas, rng: &mut SplitMix, carton: &Carton, fault: Option<Fault>) {
    let (dx, dy) = (rng.range(-0.03, 0.03), rng.range(0.008, 0.04));
    let (blur, depth) = (rng.range(0.012, 0.035), rng.range(0.35, 0.7));
    let [half_u, half_v] = carton.pose.half;
    let reach = if fault == Some(Fault::Open) { 0.03 } else { 0.0 };
    canvas.paint(|x, y, old| {
        let [u, v] = carton.pose.local(x - dx, y - dy);
        let inside = (u + half_u).min(half_u + reach - u).min(v + half_v).min(half_v - v);
        times(old, 1.0 - depth * smooth(-blur, blur, inside))
    });
}

/// The printed side, a little lighter where it is bent at its edges.
fn face(canvas: &mut Canvas, carton: &Carton) {
    let [half_u, half_v] = carton.pose.half;
    let noise = carton.noise;
    canvas.paint(|x, y, old| {
        let [u, v] = carton.pose.local(x, y);
        let from_edge = (half_u - u.abs()).min(half_v - v.abs());
        let sheen = 1.0 + 0.16 * smooth(0.02, 0.0, from_edge) + 0.04 * noise.fbm(u * 12.0, v * 12.0, 2);
        let cover = carton.pose.inside([u, v], [-half_u, -half_v, half_u, half_v]);
        over(old, times(carton.colour, sheen), cover)
    });
}

/// A white band with the brand, a seal, lines of text, and a code that differs from box to box.
fn print(canvas: &mut Canvas, rng: &mut SplitMix, carton: &Carton) {
    let [half_u, half_v] = carton.pose.half;
    let pose = &carton.pose;
    let band = [-half_u, -half_v * 0.84, half_u, -half_v * 0.5];
    let white = [0.9, 0.9, 0.87];
    canvas.paint(|x, y, old| over(old, white, pose.inside(pose.local(x, y), band)));
    let mut bar = |rect: [f32; 4], colour: Rgb| {
        canvas.paint(|x, y, old| over(old, colour, pose.inside(pose.local(x, y), rect)));
    };
    // The brand's letters are of fixed widths, the same on every box.
    let mut left = -0.17;
    for width in [0.035, 0.02, 0.04, 0.028, 0.035] {
        bar([left, -half_v * 0.78, left + width, -half_v * 0.57], times(carton.colour, 0.7));
        left += width + 0.012;
    }
    for (line, width) in [0.1, 0.075, 0.09].into_iter().enumerate() {
        let top = half_v * (0.0 + 0.2 * line as f32);
        bar([-half_u * 0.9, top, -half_u * 0.9 + width * 0.8, top + 0.012], [0.75, 0.8, 0.8]);
    }
    for digit in 0..6 {
        if rng.chance(0.6) {
            let left = half_u * 0.62 + 0.014 * digit as f32;
            bar([left, half_v * 0.62, left + 0.009, half_v * 0.8], [0.85, 0.85, 0.82]);
        }
    }
    let seal = [half_u * 0.76, -half_v * 0.05];
    canvas.paint(|x, y, old| {
        let [u, v] = pose.local(x, y);
        let d = (u - seal[0]).hypot(v - seal[1]);
        let gold = over([0.85, 0.68, 0.25], [0.95, 0.85, 0.5], smooth(0.03, 0.026, d));
        over(old, gold, smooth(0.042 + pose.soft, 0.042 - pose.soft, d))
    });
}

/// The soap behind its film, or the bare board. Gives what the window covers.
fn window(canvas: &mut Canvas, rng: &mut SplitMix, carton: &Carton, empty: bool) -> Vec<f32> {
    let [at_u, at_v] = carton.window;
    let noise = carton.noise;
    let (slip_u, slip_v) = (rng.range(-0.015, 0.015), rng.range(-0.01, 0.01));
    // The board is as light as some soaps are in poorer light.
    let bottom = times(carton.board, rng.range(0.55, 1.15));
    let (glare, strength) = (rng.range(-0.12, 0.12), rng.range(0.0, 0.4));
    let mut covered = Vec::with_capacity(canvas.pixels.len());
    canvas.paint(|x, y, old| {
        let [u, v] = carton.pose.local(x, y);
        let (du, dv) = ((u - at_u) / 0.125, (v - at_v) / 0.075);
        // A superellipse: a rounded window.
        let d = (du.powi(4) + dv.powi(4)).powf(0.25);
        let cover = smooth(1.0 + carton.pose.soft * 10.0, 1.0 - carton.pose.soft * 10.0, d);
        covered.push(cover);
        let inside = if empty {
            let deep = 1.0 - 0.45 * smooth(0.0, -0.9, dv) - 0.2 * smooth(0.5, 1.0, du.abs());
            times(bottom, deep + 0.06 * noise.at(u * 70.0, v * 25.0))
        } else {
            let (su, sv) = (du - slip_u / 0.125, dv - slip_v / 0.075);
            let round = 1.0 - 0.22 * (su * su + sv * sv) + 0.05 * noise.at(u * 20.0, v * 20.0);
            // The name pressed into the soap: a ring and a bar.
            let ring = smooth(0.12, 0.04, ((su * 1.5).hypot(sv) - 0.55).abs());
            let bar = smooth(0.1, 0.05, sv.abs()) * smooth(0.3, 0.25, su.abs());
            times(carton.soap, round - 0.16 * ring.max(bar))
        };
        let film = strength * smooth(0.05, 0.0, (u + 0.5 * v - glare).abs());
        over(old, over(inside, [1.0; 3], film), cover)
    });
    covered
}

/// A rag of the printed layer gone, with a white rim: the board below is seen.
fn tear(canvas: &mut Canvas, rng: &mut SplitMix, carton: &Carton) -> Vec<f32> {
    let pose = &carton.pose;
    let [half_u, half_v] = pose.half;
    let noise = Noise(rng.next());
    let size = rng.range(0.055, 0.095);
    // Boxes tear at their edges.
    let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
    let at = if rng.chance(0.5) {
        [side * half_u, rng.range(-0.8, 0.8) * half_v]
    } else {
        [rng.range(-0.8, 0.8) * half_u, side * half_v]
    };
    let (stretch, fibre) = (rng.range(0.6, 1.6), rng.range(0.85, 1.1));
    let mut covered = Vec::with_capacity(canvas.pixels.len());
    canvas.paint(|x, y, old| {
        let [u, v] = pose.local(x, y);
        let on_box = pose.inside([u, v], [-half_u, -half_v, half_u, half_v]);
        let d = ((u - at[0]) * stretch).hypot((v - at[1]) / stretch) / size + 0.45 * noise.fbm(u * 22.0, v * 22.0, 2);
        let cover = on_box * smooth(1.0 + pose.soft * 12.0, 1.0 - pose.soft * 12.0, d);
        covered.push(cover);
        let rim = smooth(0.72, 0.9, d);
        let board = times(carton.board, fibre * (0.9 + 0.22 * noise.fbm(u * 40.0, v * 90.0, 2)));
        over(old, over(board, [0.93, 0.92, 0.88], rim), cover)
    });
    covered
}

/// The flap of an end folded out, and the dark mouth behind it.
fn open(canvas: &mut Canvas, rng: &mut SplitMix, carton: &Carton) -> Vec<f32> {
    let pose = &carton.pose;
    let [half_u, half_v] = pose.half;
    let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
    let (mouth, reach) = (rng.range(0.02, 0.045), rng.range(0.04, 0.095));
    let (narrow, lean) = (rng.range(0.1, 0.3), rng.range(-0.15, 0.15));
    let (dark, light) = (rng.range(0.06, 0.2), rng.range(0.8, 1.15));
    let noise = carton.noise;
    let mut covered = Vec::with_capacity(canvas.pixels.len());
    canvas.paint(|x, y, old| {
        let [u, v] = pose.local(x, y);
        let out = side * u - half_u;
        let hole = pose.inside([out, v], [-mouth, -half_v * 0.94, 0.0, half_v * 0.94]);
        let along = (out / reach).clamp(0.0, 1.0);
        let width = half_v * (0.97 - narrow * along);
        let flap = pose.inside([out, v - lean * half_v * along], [0.0, -width, reach, width]);
        covered.push(hole.max(flap));
        let shade = light * lerp(0.7, 1.08, along) + 0.05 * noise.at(u * 60.0, v * 20.0);
        over(over(old, times(carton.board, dark + 0.3 * v.abs()), hole), times(carton.board, shade), flap)
    });
    covered
}
