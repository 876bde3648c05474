//! Studies run against simulated learning curves: no network, no clock.

use kindling_search::{
    Decision, Ladder, Moment, Observation, PRUNERS, Pruner, Rung, SAMPLERS, Sampler, Study, derive_seed,
    pruners::Asha,
    samplers::{Random, Tpe},
    simulate::{Limits, Objective, Outcome, simulate},
};
use kindling_spec::{FamilySpace, Genome, Param, SearchSpace, TrialState, Value};
use proptest::prelude::*;

fn space() -> SearchSpace {
    let params = vec![
        Param::log_int("width", 4, 64),
        Param::log_float("learning_rate", 1e-4, 1e-1),
        Param::words("activation", &["relu", "hard_swish"]),
        Param::choice("resolution", &[24, 32, 48]),
        Param::float("dropout", 0.0, 0.5),
        Param::int("depth", 1, 4),
    ];
    let other = vec![Param::log_int("width", 8, 32), Param::log_float("learning_rate", 1e-4, 1e-1)];
    SearchSpace {
        families: vec![
            FamilySpace { family: "plain".into(), params },
            FamilySpace { family: "separable".into(), params: other },
        ],
    }
}

/// The accuracy of a genome after so many epochs: rises to an asymptote that depends on width and
/// distance from the best learning rate.
fn accuracy(genome: &Genome, epochs: u32) -> f64 {
    let width = genome.int("width").expect("has one") as f64;
    let rate = genome.float("learning_rate").expect("has one");
    let asymptote = 0.95 - 0.06 * (rate / 5e-3).ln().abs() - 0.8 / width;
    asymptote * (1.0 - (-f64::from(epochs) / 4.0).exp())
}

/// Rises with training to what [`accuracy`] says.
struct Curves;

impl Objective for Curves {
    fn value(&self, genome: &Genome, epochs: u32) -> f64 {
        accuracy(genome, epochs)
    }

    fn epoch_seconds(&self, genome: &Genome) -> f64 {
        0.2 + genome.int("width").expect("has one") as f64 / 80.0
    }
}

fn run(pruner: &dyn Pruner, seed: u64, workers: usize, seconds: Option<f64>, trials: Option<u32>) -> Outcome {
    run_with(&Random, pruner, seed, Limits { workers, seconds, trials })
}

fn run_with(sampler: &dyn Sampler, pruner: &dyn Pruner, seed: u64, limits: Limits) -> Outcome {
    let study = Study {
        space: &space(),
        portfolio: &[],
        sampler,
        pruner,
        ladder: Ladder { first: 1, eta: 3, top: 4 },
        seed,
        fit: &|g, _| g.int("width").is_some_and(|w| w <= 48).then_some(g),
    };
    simulate(&study, &Curves, limits)
}

fn best(history: &[Observation]) -> f64 {
    history.iter().filter_map(Observation::best).fold(0.0, f64::max)
}

#[test]
fn a_budget_of_seconds_is_used_and_not_overrun() {
    for seed in 0..20 {
        for workers in [1, 2, 4] {
            let out = run(&Asha, seed, workers, Some(100.0), None);
            assert!(out.seconds <= 100.0, "seed {seed}, {workers} workers: ended at {}", out.seconds);
            assert!(out.seconds >= 90.0, "seed {seed}, {workers} workers: only {} used", out.seconds);
        }
    }
}

#[test]
fn the_best_trial_is_trained_longest_and_halving_beats_training_everyone() {
    let (mut halving, mut everyone) = (0.0, 0.0);
    for seed in 0..20 {
        let out = run(&Asha, seed, 2, Some(200.0), None);
        let leader = out.history.iter().max_by(|a, b| a.best().unwrap_or(0.0).total_cmp(&b.best().unwrap_or(0.0)));
        let leader = leader.and_then(|o| o.last()).expect("a leader").epochs;
        assert!(leader >= 27, "seed {seed}: the leader was trained for {leader} epochs");
        halving += best(&out.history);
        everyone += best(&run(&kindling_search::pruners::Never, seed, 2, Some(200.0), None).history);
    }
    assert!(halving > everyone, "halving {halving}, everyone {everyone}");
}

#[test]
fn learning_from_the_history_beats_random_draws() {
    let mut ends: Vec<(f64, f64)> = (0..30)
        .map(|seed| {
            let limits = Limits { workers: 2, seconds: Some(400.0), trials: None };
            let end = |sampler: &dyn Sampler| best(&run_with(sampler, &Asha, seed, limits).history);
            (end(&Tpe), end(&Random))
        })
        .collect();
    let better = ends.iter().filter(|(tpe, random)| tpe > random).count();
    let mut median = |of: fn(&(f64, f64)) -> f64| {
        ends.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&ends[15])
    };
    let (tpe, random) = (median(|e| e.0), median(|e| e.1));
    eprintln!("median of the best: {tpe:.4} by TPE, {random:.4} at random; TPE is better {better} times of 30");
    assert!(tpe > random && better >= 20, "{tpe} {random} {better}");
}

#[test]
fn a_budget_of_trials_is_kept_and_the_best_climbs_to_the_top() {
    for pruner in PRUNERS {
        let out = run(*pruner, 3, 2, None, Some(10));
        assert_eq!(out.history.len(), 10, "{}", pruner.name());
        assert!(out.history.iter().any(|o| o.last().is_some_and(|r| r.epochs == 81)), "{}", pruner.name());
    }
}

#[test]
fn the_same_seed_gives_the_same_study_and_another_a_different_one() {
    let decisions = |seed| run(&Asha, seed, 2, Some(60.0), None).decisions;
    assert_eq!(decisions(5), decisions(5));
    assert_ne!(decisions(5), decisions(6));
}

#[test]
fn no_genome_is_tried_twice_and_every_one_is_feasible() {
    let out = run(&Asha, 1, 4, Some(300.0), None);
    assert!(out.history.len() > 30);
    for (i, o) in out.history.iter().enumerate() {
        assert!(space().contains(&o.genome));
        assert!(o.genome.int("width").expect("has one") <= 48);
        assert!(out.history[..i].iter().all(|other| other.genome != o.genome));
    }
}

#[test]
fn a_space_with_nothing_feasible_ends_at_once() {
    let space = space();
    let study = Study {
        space: &space,
        portfolio: &[],
        sampler: &Random,
        pruner: &Asha,
        ladder: Ladder { first: 1, eta: 3, top: 4 },
        seed: 0,
        fit: &|_, _| None,
    };
    let moment = Moment { trials_left: None, seconds_left: Some(10.0), seconds_total: Some(10.0) };
    assert_eq!(study.decide(&[], &moment), Decision::Finished);
}

#[test]
fn halving_promotes_by_the_paper() {
    let genome = Genome { family: "plain".into(), params: [("width".to_owned(), Value::Int(8))].into() };
    let trial = |number, value| Observation {
        number,
        genome: genome.clone(),
        state: TrialState::Paused,
        rungs: vec![Rung { index: 0, epochs: 1, value, seconds: 1.0 }],
    };
    let ladder = Ladder { first: 1, eta: 3, top: 2 };
    let mut history = vec![trial(0, 0.5), trial(1, 0.9)];
    assert_eq!(Asha.next(&history, &ladder), None, "two of three are not enough");
    history.push(trial(2, f64::NAN));
    assert_eq!(Asha.next(&history, &ladder).map(|p| (p.number, p.to)), Some((1, 1)));
    history[1].state = TrialState::Running;
    assert_eq!(Asha.next(&history, &ladder), None, "nobody is promoted twice");
}

/// The history of a finished study.
fn past() -> &'static [Observation] {
    static PAST: std::sync::LazyLock<Vec<Observation>> =
        std::sync::LazyLock::new(|| run(&Asha, 8, 2, Some(100.0), None).history);
    &PAST
}

proptest! {
    #[test]
    fn every_sampler_stays_in_the_space_and_repeats_itself(seed: u64, number in 0u32..1000, attempt in 0u32..50) {
        for sampler in SAMPLERS {
            for history in [&[][..], past()] {
                let genome = sampler.suggest(&space(), history, seed, number, attempt).expect("the space has families");
                prop_assert!(space().contains(&genome), "{} gave {genome:?}", sampler.name());
                prop_assert_eq!(Some(genome), sampler.suggest(&space(), history, seed, number, attempt));
            }
        }
    }

    #[test]
    fn seeds_of_neighbouring_streams_differ(seed: u64, stream in 0u64..1_000_000) {
        prop_assert_ne!(derive_seed(seed, stream), derive_seed(seed, stream + 1));
    }
}
