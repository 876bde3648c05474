//! A network that learns from good pictures what is strange, on a tiny data set.

#![allow(clippy::unwrap_used)]

use kindling_data::{Dataset, Limits, View, ingest, sample};
use kindling_models::tasks::anomaly_detection::{Verdict, auroc, choice, places};
use kindling_models::{build_graph, default_genomes};
use kindling_spec::{Genome, Split, TaskKind, Value};
use kindling_train::{
    Examples, GoodExamples, RungInput, RungOutcome, TrainError, TrialConfig, open_device, params_of, predict, run_rung,
};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn open(from: &Path, out: &Path, good: &str) -> (Dataset, View) {
    if !out.exists() {
        ingest(from, out, &Limits { min_per_class: 1, ..Limits::default() }, &|_| {}, &AtomicBool::new(false)).unwrap();
    }
    let dataset = Dataset::open(out).unwrap();
    let others = dataset.manifest().classes.iter().filter(|class| *class != good).cloned().collect();
    let view = View::of_good(&dataset, &[(good.into(), vec![good.into()]), ("faulty".into(), others)]).unwrap();
    (dataset, view)
}

fn trial(changes: &[(&str, Value)]) -> TrialConfig {
    let word = |w: &str| Value::Word(w.into());
    let mut genome = Genome { family: "separable-places".into(), params: Default::default() };
    for (name, value) in [
        ("optimizer", word("adamw")),
        ("weight_decay", Value::Float(0.01)),
        ("momentum", Value::Float(0.9)),
        ("batch_size", Value::Int(16)),
        ("warmup", Value::Float(0.1)),
    ] {
        genome.params.insert(name.into(), value);
    }
    genome.params.extend(default_genomes(&genome.family).remove(0));
    for (name, value) in changes {
        genome.params.insert((*name).into(), value.clone());
    }
    let graph = places(&build_graph(&genome, 2).unwrap()).unwrap();
    TrialConfig { graph, genome, seed: 7, initial: None }
}

fn rung(
    config: &TrialConfig,
    dataset: &Dataset,
    view: &View,
    checkpoint: Option<&[u8]>,
    epochs: std::ops::Range<u32>,
) -> Result<RungOutcome, TrainError> {
    let input = RungInput {
        config,
        dataset,
        examples: &GoodExamples { dataset, view },
        checkpoint,
        from_epoch: epochs.start,
        to_epoch: epochs.end,
        finish_by: None,
    };
    run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &AtomicBool::new(false))
}

/// Scores of the pictures of a side.
fn scores(config: &TrialConfig, outcome: &RungOutcome, dataset: &Dataset, picks: &[(usize, usize)]) -> Vec<f32> {
    let input = &config.graph.input;
    let images = kindling_data::load_exact(dataset, picks, input.height, &input.mean, &input.std).unwrap();
    let device = open_device("flex").unwrap();
    let answers = predict(&device, &config.graph, &outcome.weights, &images, picks.len()).unwrap();
    GoodExamples::scores(&config.graph, &answers)
}

#[test]
fn learns_what_is_strange_from_good_pictures_alone_and_goes_on_from_a_checkpoint_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    sample::soap_boxes(&dir.path().join("pictures"), 64, 48, 3).unwrap();
    let (dataset, view) = open(&dir.path().join("pictures"), &dir.path().join("sealed"), "good");
    assert_eq!((view.train.len(), view.validation.len()), (64, 16));
    assert!(view.train.iter().all(|(example, label)| {
        let example = &dataset.manifest().examples[*example];
        (*label, example.split, example.class) == (0, Split::Train, 1)
    }));
    let config = trial(&[("resolution", Value::Int(48)), ("width", Value::Int(16)), ("batch_size", Value::Int(8))]);
    assert_eq!(config.genome.params.len(), params_of(TaskKind::AnomalyDetection).len() + 5);
    let first = rung(&config, &dataset, &view, None, 0..8).unwrap();
    let second = rung(&config, &dataset, &view, Some(&first.checkpoint), 8..40).unwrap();
    assert!(second.train_loss < first.train_loss);
    let [early, late] = [&first, &second].map(|outcome| {
        let scores = GoodExamples::scores(&config.graph, &outcome.validation_answers);
        assert_eq!(scores.len(), 32);
        choice(&scores, 16)
    });
    println!("{early} {late}, {} images a second", second.images_per_second);
    assert!(late > early.max(0.6), "{early}, then {late}");
    let again = rung(&config, &dataset, &view, Some(&first.checkpoint), 8..40).unwrap();
    assert_eq!((again.checkpoint, again.validation_answers), (second.checkpoint, second.validation_answers));

    let whole = TrialConfig { graph: build_graph(&config.genome, 2).unwrap(), ..config.clone() };
    let error = rung(&whole, &dataset, &view, None, 0..1).unwrap_err();
    assert!(error.to_string().contains("square map of one channel"), "{error}");
}

#[test]
fn spoiled_pictures_differ_from_the_good_and_are_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    sample::soap_boxes(&dir.path().join("pictures"), 24, 48, 3).unwrap();
    let (dataset, view) = open(&dir.path().join("pictures"), &dir.path().join("sealed"), "good");
    let graph = trial(&[("resolution", Value::Int(48))]).graph;
    let examples = GoodExamples { dataset: &dataset, view: &view };
    let picks = examples.validation();
    let one: usize = graph.input.shape().iter().product();
    let before = kindling_data::load_exact(&dataset, &picks, 48, &graph.input.mean, &graph.input.std).unwrap();
    let prepare = || {
        let mut images = before.clone();
        examples.prepare(&graph, &mut images).unwrap();
        images
    };
    let after = prepare();
    assert_eq!(after, prepare());
    let changed = |n: usize| before[n * one..][..one] != after[n * one..][..one];
    assert_eq!((0..6).filter(|n| changed(*n)).count(), 0);
    assert_eq!((6..12).filter(|n| changed(*n)).count(), 6);
}

/// Trains on the data set in `KINDLING_GOOD` with the changes in `KINDLING_GENOME`, for finding out what is good.
#[test]
#[ignore = "prints figures of a data set that is not here"]
fn try_out() {
    let from = std::env::var("KINDLING_GOOD").unwrap();
    let good = std::env::var("KINDLING_GOOD_CLASS").unwrap_or("good".into());
    let (dataset, view) = open(Path::new(&from), &Path::new(&from).with_extension("sealed"), &good);
    let text = std::env::var("KINDLING_GENOME").unwrap_or_default();
    let changes = text.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        let whole = value.parse().map(Value::Int).ok();
        let value = whole.or_else(|| value.parse().map(Value::Float).ok()).unwrap_or_else(|| Value::Word(value.into()));
        (name, value)
    });
    let config = trial(&changes.collect::<Vec<_>>());
    let cost = config.graph.cost().unwrap();
    println!("{} bytes {} MACs, {} pictures", cost.weights_bytes, cost.macs, view.train.len());
    let (mut checkpoint, mut from, mut seconds): (Option<Vec<u8>>, u32, f64) = (None, 0, 0.0);
    for to in std::env::var("KINDLING_EPOCHS").unwrap_or("4,12,36,108".into()).split(',').map(|e| e.parse().unwrap()) {
        let outcome = rung(&config, &dataset, &view, checkpoint.as_deref(), from..to).unwrap();
        seconds += outcome.seconds;
        let validated = GoodExamples::scores(&config.graph, &outcome.validation_answers);
        let clean = validated.len() / 2;
        let [good, faulty] = [0, 1].map(|label| {
            let picks: Vec<_> = view.test.iter().filter(|(_, l)| usize::from(*l > 0) == label).copied().collect();
            (scores(&config, &outcome, &dataset, &picks), picks)
        });
        let kinds: Vec<String> = (0..dataset.manifest().classes.len())
            .filter_map(|class| {
                let of = faulty.1.iter().zip(&faulty.0);
                let own: Vec<f32> = of
                    .filter(|((example, _), _)| dataset.manifest().examples[*example].class == class)
                    .map(|(_, score)| *score)
                    .collect();
                Some(format!("{} {:.3}", dataset.manifest().classes[class], auroc(&good.0, &own)?))
            })
            .collect();
        println!(
            "{to} epochs, {seconds:.0} s, {:.0} images/s: loss {:.4}, drawn {:.4}, test {:.4} ({}) {:?}",
            outcome.images_per_second,
            outcome.train_loss,
            choice(&validated, clean),
            auroc(&good.0, &faulty.0).unwrap_or(f64::NAN),
            kinds.join(", "),
            Verdict::calibrated(0.0, &validated, &(0..validated.len()).map(|i| i >= clean).collect::<Vec<_>>()).scale,
        );
        (checkpoint, from) = (Some(outcome.checkpoint), to);
    }
}
