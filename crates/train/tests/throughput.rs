//! How fast networks train here: `RAYON_NUM_THREADS=1 cargo test --release -p kindling-train --test
//! throughput -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use kindling_models::{FAMILIES, build_graph, default_genomes};
use kindling_spec::{Genome, Value};
use kindling_train::{measure, open_device};

#[test]
#[ignore = "prints figures, judges nothing"]
fn images_per_second() {
    let device = open_device(&std::env::var("KINDLING_DEVICE").unwrap_or("flex".into())).unwrap();
    for family in FAMILIES {
        for resolution in [32, 48] {
            let Some(mut params) = default_genomes(family.name()).into_iter().next() else { continue };
            params.insert("resolution".into(), Value::Int(resolution));
            let graph = build_graph(&Genome { family: family.name().into(), params }, 3).unwrap();
            let cost = graph.cost().unwrap();
            let speed = measure(&device, &graph, 64, 8).unwrap();
            println!(
                "{:9} {resolution}x{resolution}: {:>7} parameters, {:>9} MACs, {speed:7.0} images/s",
                family.name(),
                cost.parameters,
                cost.macs,
            );
        }
    }
}
