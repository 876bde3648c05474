//! Domains as the unit interval, in their logarithm where they say so.

use kindling_spec::{Domain, Genome, SearchSpace, Value};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The value at a place from 0 to 1; each whole number and each option has an equal share.
pub(super) fn value(domain: &Domain, at: f64) -> Value {
    match domain {
        Domain::Float { low, high, log } => Value::Float(stretch(*low, *high, *log, at).clamp(*low, *high)),
        Domain::Int { low, high, log } => {
            // Half a step on each side, so that the ends are as likely as their neighbours.
            let value = stretch(*low as f64 - 0.5, *high as f64 + 0.5, *log, at);
            Value::Int((value.round() as i64).clamp(*low, *high))
        }
        Domain::Choice { options } => {
            let last = options.len().saturating_sub(1);
            options[((at * options.len() as f64) as usize).min(last)].clone()
        }
    }
}

/// Where a value lies, the inverse of [`value`]; `None` if it is not the domain's.
pub(super) fn place(domain: &Domain, value: &Value) -> Option<f64> {
    let at = match (domain, value) {
        (Domain::Float { low, high, log }, Value::Float(v)) => shrink(*low, *high, *log, *v),
        (Domain::Int { low, high, log }, Value::Int(v)) => {
            shrink(*low as f64 - 0.5, *high as f64 + 0.5, *log, *v as f64)
        }
        (Domain::Choice { options }, v) => {
            (options.iter().position(|option| option == v)? as f64 + 0.5) / options.len() as f64
        }
        _ => return None,
    };
    Some(at.clamp(0.0, 1.0))
}

fn stretch(low: f64, high: f64, log: bool, at: f64) -> f64 {
    if log { (low.ln() + at * (high.ln() - low.ln())).exp() } else { low + at * (high - low) }
}

fn shrink(low: f64, high: f64, log: bool, value: f64) -> f64 {
    let (low, high, value) = if log { (low.ln(), high.ln(), value.ln()) } else { (low, high, value) };
    if high > low { (value - low) / (high - low) } else { 0.5 }
}

/// How far two genomes of a space are from each other: the root of the sum of the squared differences of
/// their places, 1 for another option of a choice of words; infinite between families.
pub(crate) fn distance(space: &SearchSpace, a: &Genome, b: &Genome) -> f64 {
    let Some(family) = space.family(&a.family).filter(|_| a.family == b.family) else { return f64::INFINITY };
    let each = family.params.iter().map(|param| {
        let (Some(a), Some(b)) = (a.params.get(&param.name), b.params.get(&param.name)) else { return 1.0 };
        match (a, b) {
            (Value::Word(a), Value::Word(b)) => f64::from(u8::from(a != b)),
            _ => place(&param.domain, a).zip(place(&param.domain, b)).map_or(1.0, |(a, b)| (a - b).powi(2)),
        }
    });
    each.sum::<f64>().sqrt()
}

/// A normal draw that falls between 0 and 1.
pub(super) fn normal_within(centre: f64, width: f64, rng: &mut ChaCha8Rng) -> f64 {
    for _ in 0..100 {
        // Box and Muller 1958.
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        let at = centre + width * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        if (0.0..=1.0).contains(&at) {
            return at;
        }
    }
    centre
}
