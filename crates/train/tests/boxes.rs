//! A network that finds objects, trained on a tiny data set.

#![allow(clippy::unwrap_used)]

use kindling_data::{BoxView, Dataset, Labels, Limits, ingest_as};
use kindling_models::build_graph;
use kindling_models::tasks::object_detection::{Figures, figures, seen};
use kindling_spec::{Genome, Metric, Objective, TaskKind, Value};
use kindling_train::{
    BoxedExamples, Examples, RungInput, RungOutcome, TrainError, TrialConfig, open_device, params_of, run_rung, truths,
};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Discs and bars, bright on dark noise, up to two in a picture, and pictures without any.
fn draw(dir: &Path) {
    let mut random = kindling_models::random::Random::new(&[1]);
    let mut boxes = String::from("path,label,x_min,y_min,x_max,y_max\n");
    std::fs::create_dir_all(dir.join("images")).unwrap();
    for i in 0..240 {
        let mut image = image::RgbImage::from_fn(48, 48, |_, _| image::Rgb([0; 3].map(|_: u8| random.below(90) as u8)));
        let path = format!("images/{i}.png");
        let count = i % 3;
        for object in 0..count {
            let (wide, class) = (10 + random.below(10) as u32, random.below(2));
            let high = if class == 0 { wide } else { wide / 2 };
            // Each in its half, so that none is covered.
            let (x, y) = (object * 24 + random.below(24 - wide as usize), random.below(48 - high as usize));
            for (dx, dy) in (0..wide).flat_map(|dx| (0..high).map(move |dy| (dx, dy))) {
                let middle = f64::from(wide) / 2.0;
                let far = (f64::from(dx) + 0.5 - middle).hypot(f64::from(dy) + 0.5 - middle);
                if class == 1 || far <= middle {
                    image.put_pixel(x as u32 + dx, y as u32 + dy, image::Rgb([230, 220, 160]));
                }
            }
            let name = ["disc", "bar"][class];
            boxes += &format!("{path},{name},{x},{y},{},{}\n", x + wide as usize, y + high as usize);
        }
        if count == 0 {
            boxes += &format!("{path},,,,,\n");
        }
        image.save(dir.join(&path)).unwrap();
    }
    std::fs::write(dir.join("boxes.csv"), boxes).unwrap();
}

fn open(from: &Path, out: &Path) -> (Dataset, BoxView) {
    ingest_as(Labels::Boxes, from, out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    let dataset = Dataset::open(out).unwrap();
    let groups: Vec<_> = dataset.manifest().classes.iter().map(|c| (c.clone(), vec![c.clone()])).collect();
    let view = BoxView::new(&dataset, &groups).unwrap();
    (dataset, view)
}

fn trial(classes: usize, changes: &[(&str, Value)]) -> TrialConfig {
    let word = |w: &str| Value::Word(w.into());
    let mut genome = Genome { family: "separable-centres".into(), params: Default::default() };
    for (name, value) in [
        ("resolution", Value::Int(48)),
        ("stride", Value::Int(8)),
        ("activation", word("relu")),
        ("width", Value::Int(12)),
        ("growth", Value::Float(1.5)),
        ("depth", Value::Int(1)),
        ("kernel", Value::Int(3)),
        ("expansion", Value::Int(2)),
        ("context", Value::Int(1)),
        ("reach", Value::Int(3)),
        ("optimizer", word("adamw")),
        ("learning_rate", Value::Float(0.01)),
        ("weight_decay", Value::Float(0.01)),
        ("momentum", Value::Float(0.9)),
        ("batch_size", Value::Int(16)),
        ("warmup", Value::Float(0.1)),
        ("ema", Value::Float(0.95)),
        ("flip", word("on")),
        ("crop", Value::Float(0.1)),
        ("colour", Value::Float(0.1)),
        ("cutout", Value::Float(0.0)),
    ] {
        genome.params.insert(name.into(), value);
    }
    for (name, value) in changes {
        genome.params.insert((*name).into(), value.clone());
    }
    let graph = build_graph(&genome, classes).unwrap();
    TrialConfig { graph, genome, seed: 7, initial: None }
}

fn objective() -> Objective {
    Objective { metric: Metric::Map50, ..Objective::default() }
}

fn rung(
    config: &TrialConfig,
    dataset: &Dataset,
    view: &BoxView,
    checkpoint: Option<&[u8]>,
    epochs: std::ops::Range<u32>,
) -> Result<RungOutcome, TrainError> {
    let input = RungInput {
        config,
        dataset,
        examples: &BoxedExamples { dataset, view, objective: &objective() },
        checkpoint,
        from_epoch: epochs.start,
        to_epoch: epochs.end,
        finish_by: None,
    };
    run_rung(&open_device("flex").unwrap(), input, &mut |_| {}, &AtomicBool::new(false))
}

fn measured(config: &TrialConfig, view: &BoxView, outcome: &RungOutcome) -> Figures {
    let shape = <[usize; 3]>::try_from(config.graph.output_shape().unwrap()).unwrap();
    let all = view.validation.iter().map(|boxed| truths(&boxed.boxes)).collect();
    figures(&seen(&outcome.validation_answers, shape, all), &view.classes, &objective(), None)
}

#[test]
fn learns_where_things_are_and_goes_on_from_a_checkpoint_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    draw(&dir.path().join("pictures"));
    let (dataset, view) = open(&dir.path().join("pictures"), &dir.path().join("sealed"));
    assert_eq!(view.classes, ["bar", "disc"]);
    let config = trial(2, &[]);
    assert_eq!(config.genome.params.len(), params_of(TaskKind::ObjectDetection).len() + 10);
    let first = rung(&config, &dataset, &view, None, 0..6).unwrap();
    let second = rung(&config, &dataset, &view, Some(&first.checkpoint), 6..30).unwrap();
    let (early, late) = (measured(&config, &view, &first).map50, measured(&config, &view, &second).map50);
    println!("{early} {late}, {} images a second", second.images_per_second);
    assert!(late > 0.9, "mAP@.5 is {late} after 30 epochs");
    assert!(second.train_loss < first.train_loss);
    let again = rung(&config, &dataset, &view, Some(&first.checkpoint), 6..30).unwrap();
    assert_eq!((again.checkpoint, again.validation_answers), (second.checkpoint, second.validation_answers));

    let one = trial(1, &[]);
    let error = rung(&one, &dataset, &view, None, 0..1).unwrap_err();
    assert!(error.to_string().contains("map of 2 classes"), "{error}");
    let examples = BoxedExamples { dataset: &dataset, view: &view, objective: &objective() };
    assert_eq!(examples.count(), view.train.len());
}

/// Trains on the data set in `KINDLING_BOXES` with the changes in `KINDLING_GENOME`, for finding out what is good.
#[test]
#[ignore = "prints figures of a data set that is not here"]
fn try_out() {
    let from = std::env::var("KINDLING_BOXES").unwrap();
    let sealed = Path::new(&from).with_extension("sealed");
    if !sealed.exists() {
        open(Path::new(&from), &sealed);
    }
    let dataset = Dataset::open(&sealed).unwrap();
    let groups: Vec<_> = dataset.manifest().classes.iter().map(|c| (c.clone(), vec![c.clone()])).collect();
    let view = BoxView::new(&dataset, &groups).unwrap();
    let text = std::env::var("KINDLING_GENOME").unwrap_or_default();
    let changes: Vec<(&str, Value)> = text
        .split_whitespace()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let value = value.parse().map(Value::Int).or_else(|_| value.parse().map(Value::Float));
            (
                name,
                value
                    .unwrap_or_else(|_: std::num::ParseFloatError| Value::Word(pair.split_once('=').unwrap().1.into())),
            )
        })
        .collect();
    let config = trial(view.classes.len(), &changes);
    let cost = config.graph.cost().unwrap();
    println!("{} bytes {} MACs, {} pictures", cost.weights_bytes, cost.macs, view.train.len());
    let (mut checkpoint, mut from, mut seconds): (Option<Vec<u8>>, u32, f64) = (None, 0, 0.0);
    for to in std::env::var("KINDLING_EPOCHS").unwrap_or("5,20,60".into()).split(',').map(|e| e.parse().unwrap()) {
        let outcome = rung(&config, &dataset, &view, checkpoint.as_deref(), from..to).unwrap();
        seconds += outcome.seconds;
        let found = measured(&config, &view, &outcome);
        println!(
            "{to} epochs, {seconds:.0} s, {:.0} images/s: loss {:.3}, mAP@.5 {:.4}, mAP {:.4}",
            outcome.images_per_second, outcome.train_loss, found.map50, found.map
        );
        (checkpoint, from) = (Some(outcome.checkpoint), to);
    }
}
