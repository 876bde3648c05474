//! Trials as a scatter of weight bytes against validation value, as SVG.

use kindling_engine::LeaderboardEntry;
use kindling_spec::TrialState;
use kindling_store::TrialRecord;
use maud::{Markup, html};

use super::plain;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 48.0;

struct Point<'a> {
    bytes: f64,
    value: f64,
    trial: &'a TrialRecord,
}

/// Maps figures to the drawing.
struct Axes {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    fn new(points: &[Point<'_>], limit: Option<u64>) -> Self {
        let bytes = points.iter().map(|p| p.bytes).chain(limit.map(|l| l as f64));
        let (mut low, mut high) = bytes.fold((f64::MAX, 1.0_f64), |(l, h), b| (l.min(b), h.max(b)));
        if low > high {
            (low, high) = (1e3, 1e5);
        }
        let (low, high) = ((low / 1.4).max(1.0).log10(), (high * 1.4).log10());
        let worst = points.iter().map(|p| p.value).fold(1.0, f64::min);
        Self { x: (low, high), y: ((worst * 10.0 - 0.2).floor().max(0.0) / 10.0, 1.0) }
    }

    fn x(&self, bytes: f64) -> f64 {
        LEFT + (bytes.max(1.0).log10() - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value - self.y.0) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    /// 1, 2 and 5 times powers of ten; fewer when that is many.
    fn x_ticks(&self) -> Vec<f64> {
        let steps: &[f64] = match self.x.1 - self.x.0 {
            decades if decades > 3.0 => &[1.0],
            decades if decades > 1.3 => &[1.0, 3.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let range = (self.x.0.floor() as i32)..=(self.x.1.ceil() as i32);
        let all = range.flat_map(|power| steps.iter().map(move |s| s * 10f64.powi(power)));
        all.filter(|tick| (self.x.0..=self.x.1).contains(&tick.log10())).collect()
    }

    fn y_ticks(&self) -> Vec<f64> {
        let tenths = ((self.y.1 - self.y.0) * 10.0).round() as u32;
        let step = if tenths > 5 { 2 } else { 1 };
        (0..=tenths).step_by(step).map(|i| self.y.1 - f64::from(i) / 10.0).collect()
    }
}

/// The best value at each size: no other is as small and better.
fn front(points: &[Point<'_>]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<_> = points.iter().map(|p| (p.bytes, p.value)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best = f64::MIN;
    sorted.retain(|(_, value)| {
        let better = *value > best;
        best = best.max(*value);
        better
    });
    sorted
}

/// The scatter, or a word that there is nothing to draw yet.
pub(crate) fn scatter(trials: &[TrialRecord], models: &[LeaderboardEntry], limit: Option<u64>, metric: &str) -> Markup {
    let points: Vec<_> = trials
        .iter()
        .filter_map(|trial| {
            let bytes = trial.cost.get("weights_bytes")?.as_f64()?;
            Some(Point { bytes, value: trial.results.last()?.value, trial })
        })
        .collect();
    if points.is_empty() {
        return html! { p.empty { "Each candidate appears here once it has been trained a first time." } };
    }
    let axes = Axes::new(&points, limit);
    let front = front(&points);
    let mut line = String::new();
    for (i, (bytes, value)) in front.iter().enumerate() {
        let (x, y) = (axes.x(*bytes), axes.y(*value));
        line += &if i == 0 { format!("M{x:.1} {y:.1}") } else { format!("H{x:.1}V{y:.1}") };
    }
    line += &format!("H{:.1}", WIDTH - RIGHT);
    let best = models.first().map(|m| &m.trial);
    html! {
        svg.scatter viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
            aria-label={ "Trials by size of the weights and " (metric) "; " (points.len()) " trials, " (front.len()) " on the Pareto front" } {
            @for tick in axes.y_ticks() {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(axes.y(tick))) y2=(px(axes.y(tick))) {}
                text.tick x=(LEFT - 8.0) y=(px(axes.y(tick) + 4.0)) text-anchor="end" { (format!("{:.0}%", tick * 100.0)) }
            }
            @for tick in axes.x_ticks() {
                line.grid x1=(px(axes.x(tick))) x2=(px(axes.x(tick))) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text.tick x=(px(axes.x(tick))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (plain::bytes(tick.round() as u64)) }
            }
            text.axis x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 8.0) text-anchor="middle" { "size of the weights" }
            @if let Some(limit) = limit {
                line.limit x1=(px(axes.x(limit as f64))) x2=(px(axes.x(limit as f64))) y1=(TOP) y2=(HEIGHT - BOTTOM) {
                    title { "Limit: " (plain::bytes(limit)) }
                }
            }
            path.front d=(line) {}
            @for point in &points {
                circle class=(style(point, best)) cx=(px(axes.x(point.bytes))) cy=(px(axes.y(point.value)))
                    r=(if best == Some(&point.trial.id) { 7 } else { 4 }) {
                    title {
                        "Trial " (point.trial.number) " (" (point.trial.genome.family) "): "
                        (plain::percent(point.value)) ", " (plain::bytes(point.bytes as u64)) ", " (point.trial.state)
                    }
                }
            }
        }
        p.legend {
            span.key.best { "best" } span.key.alive { "kept" } span.key.out { "given up" } span.key.line { "Pareto front" }
        }
    }
}

fn style(point: &Point<'_>, best: Option<&kindling_spec::TrialId>) -> &'static str {
    match point.trial.state {
        _ if best == Some(&point.trial.id) => "best",
        TrialState::Pruned | TrialState::Failed => "out",
        _ => "alive",
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}
