//! How long a network takes. Weights do not change it, so it can be measured before training.

use crate::{ExportError, formats::network_only};
use kindling_graph::{Graph, Weights, fold_batch_norm, random_weights};
use std::time::{Duration, Instant};
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, IntoTValue, TractResult, multithread, tvec};

/// Runs before the clock starts.
const WARM_UP: usize = 2;
/// Runs are added until this much time is spent…
const MAX_TIME: Duration = Duration::from_millis(150);
/// …or there are this many…
const MAX_RUNS: usize = 400;
/// …but never fewer than this.
const MIN_RUNS: usize = 3;

/// How [`measure_latency`] measures, in words for the card.
pub const LATENCY_METHOD: &str = "tract, one thread, one image, 32-bit floats, the network at its own resolution \
     without reading or resizing the picture; median and 95th percentile of repeated runs after two warm-up runs";

/// Time to answer one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Half of the runs took no longer.
    pub median_ms: f64,
    /// 95 in 100 runs took no longer.
    pub p95_ms: f64,
    /// Runs measured.
    pub runs: u32,
}

/// Measures the folded network with tract: one image, one thread, float `[1, C, H, W]` in, no resize.
/// Without weights, those before training are used. Takes at most about 0.3 s for the networks made here.
///
/// # Errors
/// [`ExportError::Graph`] if graph or weights are not valid, [`ExportError::Runtime`] if tract fails.
pub fn measure_latency(graph: &Graph, weights: Option<&Weights>) -> Result<Latency, ExportError> {
    let random;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            random = random_weights(graph, 0)?;
            &random
        }
    };
    graph.check_weights(weights)?;
    let (graph, weights) = fold_batch_norm(graph, weights)?;
    let bytes = network_only(&graph, &weights)?;
    let shape: Vec<usize> = [1].into_iter().chain(graph.input.shape()).collect();
    let mut times = multithread::multithread_tract_scope(multithread::Executor::SingleThread, || time(&bytes, &shape))
        .map_err(|error| ExportError::runtime("the network", error))?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * times.len() as f64).ceil() as usize;
        times.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    Ok(Latency { median_ms: at(0.5), p95_ms: at(0.95), runs: times.len() as u32 })
}

/// Milliseconds of each run.
fn time(bytes: &[u8], shape: &[usize]) -> TractResult<Vec<f64>> {
    let plan = tract_onnx::onnx().model_for_read(&mut &bytes[..])?.into_optimized()?.into_runnable()?;
    let mut state = plan.spawn()?;
    let values: Vec<f32> = arbitrary(1).take(shape.iter().product()).collect();
    let input = tract_onnx::prelude::Tensor::from_shape::<f32>(shape, &values)?.into_tvalue();
    for _ in 0..WARM_UP {
        state.run(tvec!(input.clone()))?;
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < MIN_RUNS || (times.len() < MAX_RUNS && start.elapsed() < MAX_TIME) {
        let run = Instant::now();
        state.run(tvec!(input.clone()))?;
        times.push(run.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Numbers in -1..1, always the same for a seed (splitmix64, Steele et al. 2014).
fn arbitrary(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}
