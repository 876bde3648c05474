//! How many images a second one thread makes batches of: `cargo bench --bench batches`.

#![allow(clippy::unwrap_used)]

use kindling_data::{Augment, BatchSource, Dataset, Limits, View, ingest, sample};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const BATCH: usize = 64;

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (pictures, out) = (dir.path().join("pictures"), dir.path().join("dataset"));
    sample::fire_smoke(&pictures, 40, 128, 1).unwrap();
    ingest(&pictures, &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let groups: Vec<_> = sample::CLASSES.iter().map(|c| (c.to_string(), vec![c.to_string()])).collect();
    let view = View::new(&dataset, &groups).unwrap();
    let source = BatchSource::new(&dataset);
    let augment = Augment { flip: true, crop: 0.15, colour: 0.15, cutout: 0.2 };
    println!("{:>10} {:>12} {:>12}", "resolution", "as they are", "varied");
    for resolution in [24, 32, 48, 64, 96] {
        let mut images = vec![0.0; BATCH * 3 * resolution * resolution];
        let picks: Vec<_> = view.train.iter().copied().cycle().take(BATCH).collect();
        let mut speed = |augment: Option<&Augment>| {
            let mut best = 0.0f64;
            for run in 0..30 {
                let begin = Instant::now();
                let augment = augment.map(|a| (a, run));
                source.fill(&picks, resolution, &[0.5; 3], &[0.2; 3], augment, &mut images).unwrap();
                best = best.max(BATCH as f64 / begin.elapsed().as_secs_f64());
            }
            best
        };
        println!("{resolution:>10} {:>12.0} {:>12.0}", speed(None), speed(Some(&augment)));
    }
}
