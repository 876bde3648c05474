//! Whole rungs on a tiny data set.

#![allow(clippy::unwrap_used)]

use kindling_data::{Dataset, Limits, View, ingest};
use kindling_graph::{Graph, GraphBuilder, InputSpec, Source};
use kindling_models::tasks::image_classification::metrics;
use kindling_spec::{Genome, Objective, Value};
use kindling_train::{
    Checkpoint, LabelledExamples, RungInput, RungOutcome, TrainError, TrialConfig, open_device, params, predict,
    run_rung,
};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Two classes that only their texture tells apart: rows or columns, in any colours.
fn draw(dir: &Path) {
    let mut random = kindling_models::random::Random::new(&[1]);
    for class in ["columns", "rows"] {
        std::fs::create_dir_all(dir.join(class)).unwrap();
        for i in 0..80 {
            let (period, phase) = (4 + random.below(4), random.below(8));
            let mut colour = || [0; 3].map(|_: u8| random.below(256) as u8);
            let (dark, light) = (colour().map(|c| c / 2), colour().map(|c| 128 + c / 2));
            let image = image::RgbImage::from_fn(32, 32, |x, y| {
                let along = if class == "rows" { y } else { x } as usize;
                image::Rgb(if (along + phase) % period < period / 2 { dark } else { light })
            });
            image.save(dir.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
}

struct Toy {
    _dir: tempfile::TempDir,
    dataset: Dataset,
    view: View,
}

static TOY: LazyLock<Toy> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("images"));
    let out = dir.path().join("sealed");
    ingest(&dir.path().join("images"), &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let groups: Vec<_> = dataset.manifest().classes.iter().map(|c| (c.clone(), vec![c.clone()])).collect();
    let view = View::new(&dataset, &groups).unwrap();
    Toy { _dir: dir, dataset, view }
});

fn graph() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(24));
    let x = net.conv("a", Source::Input, 8, 3, 2);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let x = net.depthwise("b", x, 3, 2);
    let x = net.batch_norm("b_bn", x);
    let x = net.conv("c", x, 12, 1, 1);
    let x = net.batch_norm("c_bn", x);
    let x = net.hard_swish("c_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.dropout("drop", x, 0.1);
    let x = net.gemm("fc", x, 2);
    net.finish(x).unwrap()
}

fn trial(changes: &[(&str, Value)]) -> TrialConfig {
    let mut genome = Genome { family: "test".into(), params: Default::default() };
    let word = |w: &str| Value::Word(w.into());
    for (name, value) in [
        ("optimizer", word("adamw")),
        ("learning_rate", Value::Float(0.01)),
        ("weight_decay", Value::Float(0.01)),
        ("momentum", Value::Float(0.9)),
        ("batch_size", Value::Int(16)),
        ("warmup", Value::Float(0.1)),
        ("label_smoothing", Value::Float(0.05)),
        ("mixup", Value::Float(0.1)),
        ("ema", Value::Float(0.95)),
        ("class_weights", word("on")),
        ("flip", word("on")),
        ("crop", Value::Float(0.1)),
        ("colour", Value::Float(0.2)),
        ("cutout", Value::Float(0.1)),
    ] {
        genome.params.insert(name.into(), value);
    }
    assert_eq!(genome.params.len(), params().len());
    for (name, value) in changes {
        genome.params.insert((*name).into(), value.clone());
    }
    TrialConfig { graph: graph(), genome, seed: 7, initial: None }
}

fn rung(
    config: &TrialConfig,
    checkpoint: Option<&[u8]>,
    epochs: std::ops::Range<u32>,
) -> Result<RungOutcome, TrainError> {
    let (dataset, view, objective) = (&TOY.dataset, &TOY.view, &Objective::default());
    let (from_epoch, to_epoch) = (epochs.start, epochs.end);
    let input = RungInput {
        config,
        dataset,
        examples: &LabelledExamples { dataset, view, teacher: None, objective },
        checkpoint,
        from_epoch,
        to_epoch,
        finish_by: None,
    };
    run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &AtomicBool::new(false))
}

fn accuracy(outcome: &RungOutcome) -> f64 {
    let labels: Vec<usize> = TOY.view.validation.iter().map(|(_, label)| *label).collect();
    metrics(&outcome.validation_answers, 2, &labels, &Objective::default(), &TOY.view.classes).accuracy
}

#[test]
fn learns() {
    for optimizer in ["adamw", "sgd"] {
        let config = trial(&[("optimizer", Value::Word(optimizer.into()))]);
        let first = rung(&config, None, 0..1).unwrap();
        let later = rung(&config, Some(&first.checkpoint), 1..12).unwrap();
        assert!(later.train_loss < first.train_loss * 0.8, "{optimizer}: {} {}", first.train_loss, later.train_loss);
        assert!(accuracy(&later) >= 0.9, "{optimizer}: {}", accuracy(&later));
        assert_eq!(later.epochs, 12);
        assert!(later.images_per_second > 0.0);
    }
}

#[test]
fn a_resumed_rung_is_the_same_bit_for_bit() {
    let config = trial(&[]);
    let first = rung(&config, None, 0..2).unwrap();
    assert!(first.checkpoint == rung(&config, None, 0..2).unwrap().checkpoint);
    let second = rung(&config, Some(&first.checkpoint), 2..4).unwrap();
    // A worker that died repeats the rung from the checkpoint it was given.
    let again = rung(&config, Some(&first.checkpoint), 2..4).unwrap();
    assert!(second.checkpoint == again.checkpoint);
    assert_eq!(Checkpoint::from_bytes(&second.checkpoint).unwrap().epoch, 4);
    assert_eq!(second.weights, again.weights);
    assert_eq!(second.validation_answers, again.validation_answers);
    // Another seed is another trial.
    let other = TrialConfig { seed: 8, ..config };
    assert_ne!(first.weights, rung(&other, None, 0..2).unwrap().weights);
}

#[test]
fn weights_give_the_probabilities() {
    let config = trial(&[]);
    let outcome = rung(&config, None, 0..2).unwrap();
    let picks = &TOY.view.validation;
    let (mean, std) = (&config.graph.input.mean, &config.graph.input.std);
    let mut images = vec![0.0; picks.len() * 3 * 24 * 24];
    kindling_data::BatchSource::new(&TOY.dataset).fill(picks, 24, mean, std, None, &mut images).unwrap();
    let flex = open_device("flex").unwrap();
    let again = predict(&flex, &config.graph, &outcome.weights, &images, picks.len()).unwrap();
    assert_eq!(again, outcome.validation_answers);
    assert!(again.chunks(2).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    assert!(predict(&flex, &config.graph, &outcome.weights, &images, 1).is_err());
}

#[test]
fn an_absurd_learning_rate_diverges() {
    let config = trial(&[("optimizer", Value::Word("sgd".into())), ("learning_rate", Value::Float(1e30))]);
    let error = rung(&config, None, 0..3).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
}

#[test]
fn cancelling_ends_within_a_batch() {
    let (config, cancel) = (trial(&[]), AtomicBool::new(false));
    let mut calls = 0;
    let (dataset, view, objective) = (&TOY.dataset, &TOY.view, &Objective::default());
    let input = RungInput {
        config: &config,
        dataset,
        examples: &LabelledExamples { dataset, view, teacher: None, objective },
        checkpoint: None,
        from_epoch: 0,
        to_epoch: 1000,
        finish_by: None,
    };
    let mut stop = |_| {
        calls += 1;
        if calls == 3 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = run_rung(&open_device("flex").unwrap(), input, &mut stop, &cancel).unwrap_err();
    assert!(matches!(error, TrainError::Cancelled), "{error}");
    assert!(calls <= 4, "{calls}");
}

#[test]
fn a_rung_whose_time_is_up_gives_what_it_has_and_can_be_gone_on_with() {
    let (config, cancel) = (trial(&[]), AtomicBool::new(false));
    let (dataset, view, objective) = (&TOY.dataset, &TOY.view, &Objective::default());
    let finish_by = Some(Instant::now() + Duration::from_millis(200));
    let input = RungInput {
        config: &config,
        dataset,
        examples: &LabelledExamples { dataset, view, teacher: None, objective },
        checkpoint: None,
        from_epoch: 0,
        to_epoch: 1_000_000,
        finish_by,
    };
    let cut = run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &cancel).unwrap();
    assert!(cut.epochs < 1_000_000 && cut.train_loss.is_finite() && cut.images_per_second > 0.0);
    assert_eq!(cut.validation_answers.len(), TOY.view.validation.len() * 2);
    let on = rung(&config, Some(&cut.checkpoint), cut.epochs..cut.epochs + 1).unwrap();
    assert_eq!(on.epochs, cut.epochs + 1);
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = trial(&[]);
    let first = rung(&config, None, 0..1).unwrap();
    let wrong = |config: &TrialConfig, checkpoint, epochs, text: &str| {
        let error = rung(config, checkpoint, epochs).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    wrong(&config, None, 1..2, "go on from epoch 1");
    wrong(&config, Some(&first.checkpoint), 2..3, "ends at epoch 1");
    wrong(&config, Some(b"nonsense"), 1..2, "checkpoint");
    wrong(&config, None, 1..1, "nothing to train");
    let mut other = config.clone();
    other.graph.nodes[0].name = "renamed".into();
    wrong(&other, Some(&first.checkpoint), 1..2, "of the graph");
    wrong(&trial(&[("mixup", Value::Float(7.0))]), None, 0..1, "`mixup` is 7");
    let mut missing = trial(&[]);
    missing.genome.params.remove("warmup");
    wrong(&missing, None, 0..1, "`warmup` is missing");
}

#[test]
fn a_batch_larger_than_the_training_set_is_shrunk() {
    let outcome = rung(&trial(&[("batch_size", Value::Int(4096))]), None, 0..1).unwrap();
    assert!(outcome.train_loss.is_finite());
}

#[test]
fn a_teacher_outweighs_the_labels_as_far_as_the_genome_says() {
    // It calls everything the other class.
    let contrary: Vec<f32> =
        TOY.view.train.iter().flat_map(|(_, label)| if *label == 0 { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
    let taught = |share: f64| {
        let config = trial(&[("distillation", Value::Float(share))]);
        let (dataset, view, objective) = (&TOY.dataset, &TOY.view, &Objective::default());
        let input = RungInput {
            config: &config,
            dataset,
            examples: &LabelledExamples { dataset, view, teacher: Some(&contrary), objective },
            checkpoint: None,
            from_epoch: 0,
            to_epoch: 12,
            finish_by: None,
        };
        run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &AtomicBool::new(false))
    };
    let (believing, doubting) = (accuracy(&taught(1.0).unwrap()), accuracy(&taught(0.0).unwrap()));
    assert!(believing < 0.2 && doubting > 0.8, "{believing} {doubting}");

    let config = trial(&[]);
    let input = RungInput {
        config: &config,
        dataset: &TOY.dataset,
        examples: &LabelledExamples {
            dataset: &TOY.dataset,
            view: &TOY.view,
            teacher: Some(&contrary[1..]),
            objective: &Objective::default(),
        },
        checkpoint: None,
        from_epoch: 0,
        to_epoch: 1,
        finish_by: None,
    };
    let error = run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("teacher"), "{error}");
}
