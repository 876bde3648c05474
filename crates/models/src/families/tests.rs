//! Every family is held to the same rules.

#![allow(clippy::unwrap_used)]

use super::*;
use kindling_graph::{Statistics, Tensor, execute, fold_batch_norm, random_weights_with};
use kindling_spec::Domain;

/// The share of small numbers that a seed and a place give, from 0 to below 1.
fn dice(seed: u64, place: usize) -> f64 {
    let z = (seed << 8 | place as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((z ^ (z >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Any value of a domain, its ends among them.
fn draw(domain: &Domain, u: f64) -> Value {
    let span = |low: f64, high: f64, log: bool| {
        if log { (low.ln() + u * (high.ln() - low.ln())).exp() } else { low + u * (high - low) }
    };
    match domain {
        Domain::Int { low, high, log } => {
            Value::Int((span(*low as f64, *high as f64 + 1.0, *log).floor() as i64).clamp(*low, *high))
        }
        Domain::Float { low, high, log } => Value::Float(span(*low, *high, *log).clamp(*low, *high)),
        Domain::Choice { options } => options[(u * options.len() as f64) as usize].clone(),
    }
}

fn random_genome(family: &dyn Family, seed: u64) -> Genome {
    let params = family.params().into_iter().enumerate().map(|(i, p)| (p.name.clone(), draw(&p.domain, dice(seed, i))));
    Genome { family: family.name().into(), params: params.collect() }
}

/// Whether its networks find objects.
fn finds(family: &dyn Family) -> bool {
    family.is_for(TaskKind::ObjectDetection)
}

/// Whether its networks look at pixels more closely than those that tell whole pictures apart.
fn looks_closer(family: &dyn Family) -> bool {
    !family.is_for(TaskKind::ImageClassification)
}

fn defaults_of(family: &dyn Family) -> impl Iterator<Item = Genome> {
    let name = family.name();
    default_genomes(name).into_iter().map(move |params| Genome { family: name.into(), params })
}

fn image(graph: &Graph) -> Tensor {
    let mut shape = vec![1];
    shape.extend(graph.input.shape());
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()).unwrap()
}

#[test]
fn every_genome_builds_costs_folds_and_runs() {
    for family in FAMILIES {
        for seed in 0..300 {
            let genome = random_genome(*family, seed);
            let classes = 2 + seed as usize % 9;
            let graph = build_graph(&genome, classes).unwrap_or_else(|e| panic!("{genome:?}: {e}"));
            if finds(*family) {
                assert_eq!(graph.answer, kindling_graph::Answer::Map);
                assert_eq!(graph.output_shape().unwrap()[0], classes + 4);
                assert!(build_graph(&genome, 1).is_ok());
            } else {
                assert_eq!(graph.output_shape().unwrap(), [classes]);
            }
            assert_eq!(graph.input.height as i64, genome.int("resolution").unwrap());
            assert_eq!(Graph::from_json(&graph.to_json().unwrap()).unwrap(), graph);
            let cost = graph.cost().unwrap();
            if cost.macs > 6_000_000 {
                continue; // Shapes are checked all the same; the reference executor would only take long.
            }
            let weights = random_weights_with(&graph, seed, Statistics::Random).unwrap();
            let (folded, folded_weights) = fold_batch_norm(&graph, &weights).unwrap();
            assert!(folded.nodes.iter().all(|n| !matches!(n.op.op_type(), "BatchNormalization" | "Dropout")));
            if seed % 10 == 0 {
                let input = image(&graph);
                let a = execute(&graph, &weights, &input).unwrap();
                let b = execute(&folded, &folded_weights, &input).unwrap();
                let scale = a.data.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                for (a, b) in a.data.iter().zip(&b.data) {
                    assert!((a - b).abs() <= 1e-4 * scale, "{genome:?}: {a} is not {b}");
                }
            }
        }
    }
}

#[test]
fn a_space_holds_small_and_large_and_is_mostly_cheap() {
    for family in FAMILIES {
        let costs: Vec<_> =
            (0..1000).map(|s| build_graph(&random_genome(*family, s), 3).unwrap().cost().unwrap()).collect();
        let share = |test: &dyn Fn(&kindling_graph::Cost) -> bool| {
            costs.iter().filter(|c| test(c)).count() as f64 / costs.len() as f64
        };
        let within = |bytes: u64| share(&|c| c.weights_bytes <= bytes);
        let (macs, mib) = (share(&|c| c.macs <= 15_000_000), within(1 << 20));
        println!(
            "{:<10} <=20 kB {:.3} <=100 kB {:.3} <=200 kB {:.3} <=1 MiB {mib:.3} <=3 MMAC {:.3} <=15 MMAC {macs:.3} bytes {:?}..{:?}",
            family.name(),
            within(20_000),
            within(100_000),
            within(200_000),
            share(&|c| c.macs <= 3_000_000),
            costs.iter().map(|c| c.weights_bytes).min(),
            costs.iter().map(|c| c.weights_bytes).max(),
        );
        // The blocks of a backbone are as large as others made them.
        // What finds objects or defects looks at more pixels.
        let least = match (family.backbone().is_some(), looks_closer(*family)) {
            (false, false) => [0.03, 0.2, 0.35, 0.8, 0.7],
            (true, false) => [-1.0, 0.2, 0.35, 0.8, 0.5],
            (false, true) => [0.01, 0.2, 0.35, 0.8, 0.4],
            (true, true) => [-1.0, -1.0, 0.05, 0.55, 0.1],
        };
        let shares = [within(20_000), within(100_000), within(200_000), mib, macs];
        assert!(shares.iter().zip(least).all(|(share, least)| *share > least), "{} {shares:?}", family.name());
    }
}

#[test]
fn default_genomes_are_of_the_space_and_small() {
    for family in FAMILIES {
        let space = kindling_spec::FamilySpace { family: family.name().into(), params: family.params() };
        let space = kindling_spec::SearchSpace { families: vec![space] };
        let mut least = 0;
        for (i, genome) in defaults_of(*family).enumerate() {
            let named = |name: &String| space.families[0].params.iter().any(|p| p.name == *name);
            let mut own = genome.clone();
            own.params.retain(|name, _| named(name));
            assert!(space.contains(&own), "{genome:?}");
            let cost = build_graph(&genome, 3).unwrap().cost().unwrap();
            println!(
                "{:<10} {i} {} parameters {} bytes {} MACs {} RAM",
                family.name(),
                cost.parameters,
                cost.weights_bytes,
                cost.macs,
                cost.peak_ram_bytes
            );
            // A backbone's deeper blocks are for limits that count bytes of 8 bits.
            let (bytes, macs, first) = match (family.backbone().is_some(), looks_closer(*family)) {
                (true, false) => (cost.int8_weights_bytes, 30_000_000, 9_000_000),
                (false, false) => (cost.weights_bytes, 14_000_000, 1_500_000),
                (true, true) => (cost.int8_weights_bytes / 2, 95_000_000, 25_000_000),
                (false, true) => (cost.weights_bytes / 2, 21_000_000, 3_000_000),
            };
            assert!(cost.parameters >= 5_000 && bytes <= 200_000, "{} {i}: {}", family.name(), cost.parameters);
            assert!(cost.macs <= macs, "{} {i}: {}", family.name(), cost.macs);
            // The first is the fastest to train.
            assert!(cost.macs > least, "{} {i}", family.name());
            if i == 0 {
                least = cost.macs;
                assert!(cost.macs < first, "{}: {}", family.name(), cost.macs);
            }
        }
        assert!(least > 0, "{} has no default", family.name());
    }
}

#[test]
fn what_is_wrong_with_a_genome_is_told() {
    let told = |genome: &Genome, classes| build_graph(genome, classes).unwrap_err().to_string();
    for family in FAMILIES {
        let good = random_genome(*family, 1);
        let least = if finds(*family) { 1 } else { 2 };
        assert!(told(&good, least - 1).contains(&format!("at least {least}")));
        let mut more = good.clone();
        more.params.insert("learning_rate".into(), Value::Float(0.1));
        assert!(build_graph(&more, 2).is_ok(), "training's parameters are not the family's business");
        for param in family.params() {
            let mut genome = good.clone();
            genome.params.remove(&param.name);
            assert!(told(&genome, 2).contains(&format!("`{}` is missing", param.name)));
            for bad in [Value::Int(-1), Value::Float(f64::NAN), Value::Int(i64::MAX), Value::Word("?".into())] {
                genome.params.insert(param.name.clone(), bad);
                assert!(told(&genome, 2).contains(&format!("`{}` is", param.name)));
            }
        }
        let mut other = good.clone();
        other.family = "nonesuch".into();
        assert!(told(&other, 2).contains("use one of `plain`"), "{}", told(&other, 2));
        assert!(family.build(&other, 2).is_err());
    }
    assert!(default_genomes("nonesuch").is_empty());
}

#[test]
fn names_of_families_and_parameters_are_unique() {
    let names: std::collections::BTreeSet<_> = FAMILIES.iter().map(|f| f.name()).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for family in FAMILIES {
        let params: std::collections::BTreeSet<_> = family.params().into_iter().map(|p| p.name).collect();
        assert_eq!(params.len(), family.params().len());
    }
}
