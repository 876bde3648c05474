//! Every family and every backbone in every format: random networks, written, read back and run.

use crate::harness::picture;
use kindling_data::resize_f32;
use kindling_export::{
    AuditSummary, BoxMetrics, BundleInput, CARD_VERSION, Card, CardData, CardMetrics, Check, Energy, Int8, Judge,
    MakingCost, ModelCost, OWNERSHIP, ObjectiveValue, SplitMetrics, TOLERANCE, Truth, Versions, objects_answer,
    write_bundle,
};
use kindling_graph::{Answer, Found, Graph, Tensor, Weights, find_objects, quantize, random_weights};
use kindling_models::backbones::{BACKBONES, Cut, End};
use kindling_models::{FAMILIES, Network, build_graph, default_genomes};
use kindling_search::{Sampler, samplers::Random};
use kindling_spec::{ExportFormat, FamilySpace, Genome, Metric, SearchSpace, TaskKind, TaskSpec};
use kindling_train::{OpenDevice, open_device, predict};
use serde_json::json;

const LABELS: [&str; 3] = ["fire", "neither", "smoke"];

/// The family's first default network and two random small ones.
fn genomes(name: &str) -> Vec<Genome> {
    let family = FAMILIES.iter().find(|f| f.name() == name).unwrap();
    let space = SearchSpace { families: vec![FamilySpace { family: name.into(), params: family.params() }] };
    let first = default_genomes(name).into_iter().take(1).map(|params| Genome { family: name.into(), params });
    let macs = |genome: &Genome| build_graph(genome, 3).unwrap().cost().unwrap().macs;
    let mut drawn: Vec<Genome> = (0..60).filter_map(|n| Random.suggest(&space, &[], 11, n, 0)).collect();
    // Small ones, as different as they come; where there are few, the smallest.
    drawn.sort_by_key(|genome| macs(genome).max(2_000_000));
    drawn.truncate(2);
    first.chain(drawn).collect()
}

/// Test images with burn's own answers, from the exact preprocessing.
fn judges(device: &OpenDevice, graph: &Graph, weights: &Weights) -> Vec<Judge> {
    [(64, 48), (17, 90), (200, 150)]
        .into_iter()
        .zip(0..)
        .map(|((width, height), number)| {
            let image = picture(width, height, number);
            let (side, input) = (graph.input.height, &graph.input);
            let pixels = resize_f32(&image, side);
            let nchw: Vec<f32> = (0..3)
                .flat_map(|c| {
                    let norm = move |x: f32| (x / 255.0 - input.mean[c]) / input.std[c];
                    pixels.iter().skip(c).step_by(3).map(move |x| norm(*x)).collect::<Vec<_>>()
                })
                .collect();
            let found = predict(device, graph, weights, &nchw, 1).unwrap();
            let answer = match <[usize; 3]>::try_from(graph.output_shape().unwrap()) {
                Ok(shape) => objects_answer(&find_objects(&found, shape, 0.0)),
                Err(_) => found,
            };
            Judge { name: format!("picture {number}"), width, height, rgb: image.into_raw(), answer }
        })
        .collect()
}

/// A card whose figures are of no model; only the files matter here.
fn card(graph: &Graph, genome: &Genome) -> Card {
    let kind = match graph.answer {
        Answer::Classes => TaskKind::ImageClassification,
        Answer::Map => TaskKind::ObjectDetection,
    };
    let task = json!({"version": 1, "name": "x", "kind": kind, "budget": {"trials": 1}});
    let no_boxes = BoxMetrics {
        examples: 0,
        boxes: 0,
        map50: None,
        map: None,
        centroid_f1: None,
        precision: None,
        recall: None,
        localization_accuracy: None,
        per_class: vec![],
        objective: ObjectiveValue { metric: Metric::Map50, value: 0.0 },
    };
    let no_classes = CardMetrics {
        examples: 0,
        accuracy: 0.0,
        accuracy_ci: [0.0, 1.0],
        balanced_accuracy: 0.0,
        f1_macro: 0.0,
        log_loss: 0.0,
        calibration_error: None,
        anomalies: None,
        reliability: vec![],
        objective: ObjectiveValue { metric: Metric::Accuracy, value: 0.0 },
        per_class: vec![],
        confusion: vec![vec![0; 3]; 3],
    };
    let none: SplitMetrics = match graph.answer {
        Answer::Classes => no_classes.into(),
        Answer::Map => no_boxes.into(),
    };
    let cost = graph.cost().unwrap();
    Card {
        version: CARD_VERSION,
        model: "none".into(),
        created: "2000-01-01T00:00:00Z".into(),
        task: TaskSpec::from_json(&task).unwrap(),
        labels: LABELS.map(String::from).into(),
        data: CardData {
            dataset: "local".into(),
            sha256: String::new(),
            splits: vec![],
            audit: AuditSummary::default(),
        },
        validation: none.clone(),
        test: none,
        temperature: None,
        decision: None,
        unknown: None,
        at_least: None,
        int8: None,
        cost: ModelCost {
            parameters: cost.parameters,
            weights_bytes: cost.weights_bytes,
            macs: cost.macs,
            peak_ram_bytes: cost.peak_ram_bytes,
            resolution: [graph.input.height as u64, graph.input.width as u64],
            latency: None,
        },
        making: MakingCost {
            trials: 0,
            epochs: 0,
            images: 0,
            seconds: 0.0,
            energy: Energy { joules: None, note: "not trained".into() },
        },
        genome: genome.clone(),
        graph_sha256: graph.hash(),
        seed: 0,
        device: "flex".into(),
        versions: Versions { kindling: "0".into(), burn: "0".into() },
        ownership: OWNERSHIP.into(),
        checks: vec![],
        files: vec![],
        how_to_check: vec![],
    }
}

/// Pictures by which the 8-bit network is calibrated.
const PICTURES: usize = 8;

/// Slopes and noise at the network's size, `[PICTURES, height, width, 3]`.
fn levels(graph: &Graph) -> Vec<u8> {
    let (height, width) = (graph.input.height, graph.input.width);
    let level = |i: usize| {
        let (n, x, y) = (i / (height * width * 3), i / 3 % width, i / (3 * width) % height);
        ((x * (n + 1) * 97 / width + y * 150 / height + i * 7919 % 61) % 256) as u8
    };
    (0..PICTURES * height * width * 3).map(level).collect()
}

/// The same as the network's input.
fn normalised(graph: &Graph, levels: &[u8]) -> Tensor {
    let input = &graph.input;
    let plane = input.height * input.width;
    let mut data = vec![0.0; levels.len()];
    for (i, level) in levels.iter().enumerate() {
        let (n, at, c) = (i / (plane * 3), i / 3 % plane, i % 3);
        data[(n * 3 + c) * plane + at] = (f32::from(*level) / 255.0 - input.mean[c]) / input.std[c];
    }
    Tensor::new(vec![PICTURES, 3, input.height, input.width], data).unwrap()
}

/// Every backbone cut early, under a name that no family has.
fn backbones() -> Vec<(Genome, Graph)> {
    let cut = |b: &&dyn kindling_models::backbones::Backbone| {
        let graph = b.build(Cut::After(4), 64, End::Classes(3)).unwrap();
        (Genome { family: b.name().into(), params: Default::default() }, graph)
    };
    BACKBONES.iter().map(cut).collect()
}

#[test]
fn every_family_is_written_in_every_format_and_answers_as_burn_does() {
    let device = open_device("flex").unwrap();
    let mut sets = vec![backbones()];
    for family in FAMILIES {
        let genomes = genomes(family.name());
        assert_eq!(genomes.len(), 3, "{}", family.name());
        sets.push(genomes.into_iter().map(|genome| (genome.clone(), build_graph(&genome, 3).unwrap())).collect());
    }
    for set in sets {
        for (genome, graph) in set {
            let weights = random_weights(&graph, 5).unwrap();
            let judges = judges(&device, &graph, &weights);
            let burnpack = Network::from_weights(&graph, &weights, &device.device).unwrap().burnpack().unwrap();
            let again = Network::init(&graph, 9, &device.device).unwrap().load_burnpack(&burnpack).unwrap();
            assert_eq!(again.weights().unwrap(), weights, "burnpack of {genome:?}");
            let check = Check {
                file: "model.burnpack".into(),
                how: "read back".into(),
                images: 3,
                max_difference: 0.0,
                tolerance: TOLERANCE,
            };
            let dir = tempfile::tempdir().unwrap();
            let pictures = levels(&graph);
            let quantized = quantize(&graph, &weights, &normalised(&graph, &pictures)).unwrap();
            let no_figures = |_: &[Vec<Found>]| [0.0; 2];
            let truth = match graph.answer {
                Answer::Classes => Truth::Classes(&[0; PICTURES]),
                Answer::Map => Truth::Boxes(&no_figures),
            };
            let input = BundleInput {
                graph: &graph,
                weights: &weights,
                int8: Some(Int8 { quantized: &quantized, pictures: &pictures, truth }),
                labels: &LABELS.map(String::from),
                card: card(&graph, &genome),
                judges: &judges,
                formats: ExportFormat::ALL,
                extra_files: vec![("model.burnpack".into(), burnpack)],
                extra_checks: vec![check],
            };
            let files = write_bundle(&input, &dir.path().join("model")).unwrap_or_else(|e| panic!("{genome:?}: {e}"));
            for name in ["model.onnx", "model.int8.onnx", "weights.safetensors", "graph.json", "model.burnpack"] {
                assert!(files.iter().any(|f| f.name == name), "{name} of {genome:?}");
            }
        }
    }
}
