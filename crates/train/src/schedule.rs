//! The learning rate over a rung.

/// Climbs linearly to `peak` over the first `warmup` share of the rung's steps, then falls to 0 along
/// half a cosine. Each rung starts anew, as SGDR's restarts do (Loshchilov and Hutter 2017), so that
/// every rung ends with a network that has settled.
pub fn learning_rate(peak: f64, warmup: f64, step: u64, steps: u64) -> f64 {
    let (step, steps) = (step as f64, steps.max(1) as f64);
    let climb = (warmup.clamp(0.0, 1.0) * steps).floor();
    if step < climb {
        return peak * (step + 1.0) / (climb + 1.0);
    }
    let way = ((step - climb) / (steps - climb).max(1.0)).min(1.0);
    peak * 0.5 * (1.0 + (std::f64::consts::PI * way).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbs_peaks_and_settles() {
        let rates: Vec<f64> = (0..100).map(|step| learning_rate(0.1, 0.1, step, 100)).collect();
        assert!(rates[..11].windows(2).all(|w| w[0] < w[1]));
        assert!((rates[10] - 0.1).abs() < 1e-12);
        assert!(rates[10..].windows(2).all(|w| w[0] > w[1]));
        assert!(rates[99] < 1e-4);
        assert!(rates[0] > 0.0);
    }

    #[test]
    fn has_a_meaning_for_a_single_step() {
        assert!((learning_rate(0.1, 0.0, 0, 1) - 0.1).abs() < 1e-12);
        assert!((learning_rate(0.1, 0.3, 0, 1) - 0.1).abs() < 1e-12);
        assert!(learning_rate(0.1, 1.0, 0, 1).is_finite());
    }
}
