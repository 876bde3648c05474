//! A task's plan: what may be chosen for it, what is tried first, and which choices its limits allow.

use kindling_data::{Dataset, View};
use kindling_graph::{Cost, Graph};
use kindling_models::{FAMILIES, build_graph, default_genomes};
use kindling_search::{Ladder, Sampler, derive_seed, samplers::Random};
use kindling_spec::{Constraints, ErrorCode, FamilySpace, Genome, SearchSpace, TaskSpec, Value};
use std::collections::BTreeMap;

use crate::EngineError;

/// A rung shows the network at least this many images, so that a small data set's first rung tells something.
const LEAST_IMAGES: usize = 1_500;
/// Draws after which limits that none has met are called too tight.
const DRAWS: u32 = 3_000;
/// Each rung is this many times longer than the one before (Li et al. 2018 use 4, successive halving often 3).
const ETA: u32 = 3;
/// The last rung: 81 times the first.
const TOP: u32 = 4;

/// Everything about a study that follows from its task and data and never changes.
#[derive(Debug)]
pub struct Plan {
    spec: TaskSpec,
    view: View,
    space: SearchSpace,
    portfolio: Vec<Genome>,
    ladder: Ladder,
}

impl Plan {
    /// Plans the study of a task on its data set.
    ///
    /// # Errors
    /// A class has no example in a split, or no network of the search space meets the limits
    /// ([`ErrorCode::LimitsTooTight`]); the message says by how much and which limit binds.
    pub fn new(spec: &TaskSpec, dataset: &Dataset) -> Result<Self, EngineError> {
        let view = View::new(dataset, &spec.groups(&dataset.manifest().classes))?;
        let training = kindling_train::params();
        let families = FAMILIES
            .iter()
            .map(|family| FamilySpace {
                family: family.name().to_owned(),
                params: family.params().into_iter().chain(training.iter().cloned()).collect(),
            })
            .collect();
        let space = SearchSpace { families };
        let portfolio = portfolio(&space, uneven(&view));
        let first = LEAST_IMAGES.div_ceil(view.train.len().max(1)).clamp(1, 50) as u32;
        let plan = Self { spec: spec.clone(), view, space, portfolio, ladder: Ladder { first, eta: ETA, top: TOP } };
        plan.check_limits()?;
        Ok(plan)
    }

    /// The task.
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// The task's examples.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What may be chosen.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// What is tried first.
    pub fn portfolio(&self) -> &[Genome] {
        &self.portfolio
    }

    /// The rungs.
    pub fn ladder(&self) -> Ladder {
        self.ladder
    }

    /// What seeds a trial's training.
    pub fn trial_seed(&self, number: u32) -> u64 {
        derive_seed(self.spec.seed, u64::from(number))
    }

    /// The network of a genome.
    ///
    /// # Errors
    /// The genome is not one of the space.
    pub fn graph(&self, genome: &Genome) -> Result<Graph, EngineError> {
        Ok(build_graph(genome, self.view.classes.len())?)
    }

    /// Whether a genome builds and meets the limits that are known without running it.
    pub fn feasible(&self, genome: &Genome) -> bool {
        self.cost(genome).is_some_and(|cost| broken(&self.spec.constraints, &cost).is_empty())
    }

    fn cost(&self, genome: &Genome) -> Option<Cost> {
        self.graph(genome).ok()?.cost().ok()
    }

    fn check_limits(&self) -> Result<(), EngineError> {
        let mut least: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        let drawn = (0..DRAWS).filter_map(|n| Random.suggest(&self.space, &[], self.spec.seed, n, 0));
        for genome in self.portfolio.iter().cloned().chain(drawn) {
            let Some(cost) = self.cost(&genome) else { continue };
            if broken(&self.spec.constraints, &cost).is_empty() {
                return Ok(());
            }
            for (name, limit, value) in limits(&self.spec.constraints, &cost) {
                least.entry(name).and_modify(|v| v.1 = value.min(v.1)).or_insert((limit, value));
            }
        }
        let told: Vec<String> = least
            .into_iter()
            .filter(|(_, (limit, value))| value > limit)
            .map(|(name, (limit, value))| format!("`{name}` is {limit} and the smallest network needs {value}"))
            .collect();
        let why = if told.is_empty() {
            "each limit can be met, but not all of them together; raise one of them".to_owned()
        } else {
            format!("{}; raise it to at least that, better to several times as much", told.join(", and "))
        };
        Err(EngineError::refused(ErrorCode::LimitsTooTight, format!("no network meets the limits: {why}")))
    }
}

/// Each limit that is set, with the cost's figure for it.
fn limits(constraints: &Constraints, cost: &Cost) -> Vec<(&'static str, u64, u64)> {
    [
        ("max_weights_bytes", constraints.max_weights_bytes, cost.weights_bytes),
        ("max_ram_bytes", constraints.max_ram_bytes, cost.peak_ram_bytes),
        ("max_macs", constraints.max_macs, cost.macs),
    ]
    .into_iter()
    .filter_map(|(name, limit, value)| limit.map(|limit| (name, limit, value)))
    .collect()
}

fn broken(constraints: &Constraints, cost: &Cost) -> Vec<&'static str> {
    limits(constraints, cost).into_iter().filter(|(_, limit, value)| value > limit).map(|(name, ..)| name).collect()
}

/// The training every study starts from; what a family's first networks are trained with.
fn default_training(uneven: bool) -> [(&'static str, Value); 14] {
    let word = |w: &str| Value::Word(w.to_owned());
    [
        ("optimizer", word("adamw")),
        ("learning_rate", Value::Float(6e-3)),
        ("weight_decay", Value::Float(1e-2)),
        ("momentum", Value::Float(0.9)),
        ("batch_size", Value::Int(32)),
        ("warmup", Value::Float(0.1)),
        ("label_smoothing", Value::Float(0.03)),
        ("mixup", Value::Float(0.0)),
        ("ema", Value::Float(0.98)),
        ("class_weights", word(if uneven { "on" } else { "off" })),
        ("flip", word("on")),
        ("crop", Value::Float(0.15)),
        ("colour", Value::Float(0.15)),
        ("cutout", Value::Float(0.0)),
    ]
}

/// Whether the largest class has more than twice the smallest's examples.
fn uneven(view: &View) -> bool {
    let mut counts = vec![0usize; view.classes.len()];
    for (_, label) in &view.train {
        counts[*label] += 1;
    }
    counts.iter().max() > counts.iter().min().map(|least| least * 2).as_ref()
}

/// Each family's good first networks with the default training, the families taking turns.
fn portfolio(space: &SearchSpace, uneven: bool) -> Vec<Genome> {
    let training = default_training(uneven).map(|(name, value)| (name.to_owned(), value));
    let of_family: Vec<Vec<Genome>> = space
        .families
        .iter()
        .map(|family| {
            default_genomes(&family.family)
                .into_iter()
                .map(|params| Genome {
                    family: family.family.clone(),
                    params: params.into_iter().chain(training.clone()).collect(),
                })
                .collect()
        })
        .collect();
    let longest = of_family.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| of_family.iter().filter_map(move |list| list.get(i).cloned())).collect()
}
