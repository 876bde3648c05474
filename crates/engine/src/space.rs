//! A task's plan: what may be chosen for it, what is tried first, and which choices its limits allow.

use kindling_data::{Dataset, View};
use kindling_graph::{Cost, Graph};
use kindling_models::{FAMILIES, Family, build_graph, default_genomes};
use kindling_search::{Ladder, Sampler, derive_seed, samplers::Random};
use kindling_spec::{
    BackboneName, Constraints, Domain, ErrorCode, FamilySpace, Genome, ModelId, Param, SearchSpace, Split, TaskKind,
    TaskSpec, Value,
};
use kindling_train::Hyperparameters;
use std::collections::BTreeMap;

use crate::EngineError;
use crate::kinds::{self, Kind};

/// Draws that are shrunk, beside the portfolio, before limits that none can meet are called too tight.
const DRAWS: u32 = 12;
/// Each rung is this many times longer than the one before (Li et al. 2018 use 4, successive halving often 3).
const ETA: u32 = 3;
/// The last rung: 81 times the first.
const TOP: u32 = 4;
/// How much of the first networks' targets is the teacher's answer, in a study that has one.
const TAUGHT: f64 = 0.5;

/// Everything about a study that follows from its task and data and never changes.
#[derive(Debug)]
pub struct Plan {
    spec: TaskSpec,
    kind: Box<dyn Kind>,
    space: SearchSpace,
    portfolio: Vec<Genome>,
    ladder: Ladder,
    /// The model whose weights the portfolio's first genome begins from.
    earlier: Option<ModelId>,
}

/// What a study takes over from an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    /// Its best genomes.
    pub(crate) genomes: Vec<Genome>,
    /// The model whose weights go with the first of them.
    pub(crate) weights: Option<ModelId>,
}

impl Plan {
    /// Plans the study of a task on its data set.
    ///
    /// # Errors
    /// A class has no example in a split, or no network of the search space meets the limits
    /// ([`ErrorCode::LimitsTooTight`]); the message says by how much and which limit binds.
    pub fn new(spec: &TaskSpec, dataset: &Dataset) -> Result<Self, EngineError> {
        let kind = kinds::open(spec, dataset)?;
        let space = whole_space(spec.kind, spec.backbone, spec.distillation);
        let mut portfolio = portfolio(&space, uneven(&kind.counts(Split::Train)));
        if spec.distillation {
            // The first does not wait for the teacher.
            for (number, genome) in portfolio.iter_mut().enumerate() {
                let share = if number == 0 { 0.0 } else { TAUGHT };
                genome.params.insert(kindling_train::distillation().name, Value::Float(share));
            }
        }
        // Shrunk once to what the task allows, where it can be.
        let classes = kind.classes().len();
        let wished = portfolio.clone();
        let mut portfolio: Vec<Genome> =
            portfolio.into_iter().filter_map(|genome| fit(&spec.constraints, classes, genome)).collect();
        let kept = wished.iter().filter(|genome| portfolio.contains(genome)).count();
        if kept * 2 < wished.len() && !portfolio.is_empty() {
            // Most had to be shrunk: networks that are small of themselves come before what is left of them.
            let small = small_genomes()?.into_iter().filter_map(|genome| adopt(&space, &genome));
            let small = small.filter_map(|genome| fit(&spec.constraints, classes, genome));
            portfolio.splice(1..1, small.collect::<Vec<_>>());
        }
        let first = kind.least_images().div_ceil(kind.picks(Split::Train).len().max(1)).clamp(1, 50) as u32;
        let ladder = Ladder { first, eta: ETA, top: TOP };
        let plan = Self { spec: spec.clone(), kind, space, portfolio, ladder, earlier: None };
        plan.check_limits()?;
        Ok(plan)
    }

    /// Tries an earlier study's genomes first, as far as they are of this study's space and limits.
    pub(crate) fn begin_from(mut self, earlier: Earlier) -> Self {
        let adopted: Vec<Option<Genome>> =
            earlier.genomes.iter().map(|genome| self.fit(adopt(&self.space, genome)?)).collect();
        // Weights fit only the network they were trained in.
        let same = |(old, new): (&Genome, &Genome)| {
            let own = FAMILIES.iter().find(|family| family.name() == old.family).map(|family| family.params());
            own.is_some_and(|own| own.iter().all(|p| old.params.get(&p.name) == new.params.get(&p.name)))
        };
        let first = earlier.genomes.first().zip(adopted.first().and_then(Option::as_ref));
        self.earlier = earlier.weights.filter(|_| first.is_some_and(same));
        let mut portfolio: Vec<Genome> = adopted.into_iter().flatten().collect();
        portfolio.append(&mut self.portfolio);
        self.portfolio = portfolio;
        self
    }

    /// The model whose weights a trial of this genome begins from, if it is one.
    pub(crate) fn earlier(&self, genome: &Genome) -> Option<&ModelId> {
        self.earlier.as_ref().filter(|_| self.portfolio.first() == Some(genome))
    }

    /// The task.
    pub fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    /// What its kind of task makes of examples and answers.
    pub(crate) fn kind(&self) -> &dyn Kind {
        self.kind.as_ref()
    }

    /// The task's examples.
    ///
    /// # Errors
    /// They are not of one class each.
    pub fn view(&self) -> Result<&View, EngineError> {
        self.kind.view().ok_or_else(|| {
            let what = format!("this is only for tasks of the kind `{}`", TaskKind::ImageClassification);
            EngineError::refused(ErrorCode::InvalidRequest, what)
        })
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
        Ok(build_graph(genome, self.kind.classes().len())?)
    }

    /// About how many bytes of memory it takes to train a genome's network.
    ///
    /// # Errors
    /// The genome is not one of the space.
    pub fn training_bytes(&self, genome: &Genome) -> Result<u64, EngineError> {
        let graph = self.kind.trained(self.graph(genome)?)?;
        Ok(kindling_train::training_bytes(&graph, Hyperparameters::from_genome(genome)?.batch_size)?)
    }

    /// The genome if it meets the limits that are known without running it, else one near it that does.
    pub fn fit(&self, genome: Genome) -> Option<Genome> {
        fit(&self.spec.constraints, self.kind.classes().len(), genome)
    }

    fn check_limits(&self) -> Result<(), EngineError> {
        let (constraints, classes) = (&self.spec.constraints, self.kind.classes().len());
        let mut least: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        let drawn = (0..DRAWS).filter_map(|n| Random.suggest(&self.space, &[], self.spec.seed, n, 0));
        for genome in portfolio(&self.space, false).into_iter().chain(drawn) {
            let Some((_, cost)) = shrink(constraints, classes, genome) else { continue };
            if excess(constraints, &cost) <= 1.0 {
                return Ok(());
            }
            for (name, limit, value) in limits(constraints, &cost) {
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
    let (weights, ram) = match constraints.is_int8() {
        true => (cost.int8_weights_bytes, cost.peak_ram_bytes / 4),
        false => (cost.weights_bytes, cost.peak_ram_bytes),
    };
    [
        ("max_weights_bytes", constraints.max_weights_bytes, weights),
        ("max_ram_bytes", constraints.max_ram_bytes, ram),
        ("max_macs", constraints.max_macs, cost.macs),
    ]
    .into_iter()
    .filter_map(|(name, limit, value)| limit.map(|limit| (name, limit, value)))
    .collect()
}

/// Genomes that did well in the recorded table of small networks: `kindling bench portfolio` chose them.
fn small_genomes() -> Result<Vec<Genome>, EngineError> {
    Ok(serde_json::from_str(include_str!("../portfolio.json"))?)
}

/// The genome with the parameters that its family has in this space, those that it lacks being the usual ones; `None`
/// where the family is not of the space.
fn adopt(space: &SearchSpace, genome: &Genome) -> Option<Genome> {
    let family = space.families.iter().find(|family| family.family == genome.family)?;
    let mut usual = default_genomes(&genome.family).into_iter().next().unwrap_or_default();
    usual.extend(default_training(false).map(|(name, value)| (name.to_owned(), value)));
    let value = |param: &Param| {
        let own = genome.params.get(&param.name).filter(|value| param.domain.contains(value)).cloned();
        let taught = (param.name == kindling_train::distillation().name).then_some(Value::Float(TAUGHT));
        own.or_else(|| usual.get(&param.name).cloned()).or(taught)
    };
    let params = family.params.iter().map(|param| Some((param.name.clone(), value(param)?)));
    Some(Genome { family: genome.family.clone(), params: params.collect::<Option<_>>()? })
}

/// The parameters of every family of a kind with those of training; of the pretrained families only the one asked for.
fn whole_space(kind: TaskKind, backbone: Option<BackboneName>, distillation: bool) -> SearchSpace {
    let mut training = kindling_train::params_of(kind);
    training.extend(distillation.then(kindling_train::distillation));
    let may = |family: &&&dyn Family| {
        family.is_for(kind)
            && family.backbone().is_none_or(|own| backbone.is_some_and(|wanted| wanted.as_str() == own.name()))
    };
    let families = FAMILIES.iter().filter(may).map(|family| FamilySpace {
        family: family.name().to_owned(),
        params: family.params().into_iter().chain(training.iter().cloned()).collect(),
    });
    SearchSpace { families: families.collect() }
}

/// How many times the worst broken limit is exceeded; at most 1 where all are met.
fn excess(constraints: &Constraints, cost: &Cost) -> f64 {
    let over = limits(constraints, cost).into_iter().map(|(_, limit, value)| value as f64 / (limit as f64).max(1.0));
    over.fold(0.0, f64::max)
}

fn cost(genome: &Genome, classes: usize) -> Option<Cost> {
    build_graph(genome, classes).ok()?.cost().ok()
}

fn fit(constraints: &Constraints, classes: usize, genome: Genome) -> Option<Genome> {
    let (genome, cost) = shrink(constraints, classes, genome)?;
    (excess(constraints, &cost) <= 1.0).then_some(genome)
}

/// Shrinks until it fits, or no step brings it nearer: of the genomes one step away the largest that fits,
/// or while none does the one that comes nearest to fitting. `None` of a genome that is no network.
fn shrink(constraints: &Constraints, classes: usize, mut genome: Genome) -> Option<(Genome, Cost)> {
    let mut now = cost(&genome, classes)?;
    loop {
        let over = excess(constraints, &now);
        if over <= 1.0 {
            return Some((genome, now));
        }
        // Widths are rounded, so that a small step may change nothing: then a bold one is taken.
        let nearer = [false, true].into_iter().find_map(|bold| {
            let steps = neighbours(&genome, bold).into_iter().filter_map(|near| {
                let cost = cost(&near, classes)?;
                Some((excess(constraints, &cost), near, cost))
            });
            let nearest = steps.min_by(|(a, ..), (b, ..)| match (*a <= 1.0, *b <= 1.0) {
                (true, true) => b.total_cmp(a),
                _ => a.total_cmp(b),
            });
            nearest.filter(|(nearer, ..)| *nearer < over)
        });
        match nearer {
            Some((_, near, cost)) => (genome, now) = (near, cost),
            None => return Some((genome, now)),
        }
    }
}

/// The genomes that differ by one step of one of the network's own parameters; a bold step goes all the way.
fn neighbours(genome: &Genome, bold: bool) -> Vec<Genome> {
    let family = FAMILIES.iter().find(|family| family.name() == genome.family);
    let own = family.map(|family| family.params()).unwrap_or_default();
    own.iter()
        .flat_map(|param| {
            let steps =
                genome.params.get(&param.name).map(|value| steps(&param.domain, value, bold)).unwrap_or_default();
            steps.into_iter().map(|value| {
                let mut near = genome.clone();
                near.params.insert(param.name.clone(), value);
                near
            })
        })
        .collect()
}

/// A little less and a little more, or (`bold`) the least and the most.
fn steps(domain: &Domain, value: &Value, bold: bool) -> Vec<Value> {
    let near: Vec<Value> = match (domain, value) {
        (Domain::Int { low, high, .. }, Value::Int(_)) if bold => vec![Value::Int(*low), Value::Int(*high)],
        (Domain::Float { low, high, .. }, Value::Float(_)) if bold => vec![Value::Float(*low), Value::Float(*high)],
        (Domain::Choice { options }, _) if bold => options.clone(),
        (Domain::Int { log, .. }, Value::Int(v)) => {
            let step = if *log { (v / 8).max(1) } else { 1 };
            vec![Value::Int(v - step), Value::Int(v + step)]
        }
        (Domain::Float { low, high, .. }, Value::Float(v)) => {
            let step = (high - low) / 8.0;
            vec![Value::Float((v - step).max(*low)), Value::Float((v + step).min(*high))]
        }
        (Domain::Choice { options }, v) => {
            let Some(at) = options.iter().position(|option| option == v) else { return Vec::new() };
            [at.checked_sub(1), at.checked_add(1)]
                .into_iter()
                .flatten()
                .filter_map(|i| options.get(i).cloned())
                .collect()
        }
        _ => Vec::new(),
    };
    near.into_iter().filter(|near| domain.contains(near) && near != value).collect()
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

/// Good first networks for these examples, with the training that studies start from; no limits are looked at.
pub(crate) fn first_genomes(view: &View) -> Vec<Genome> {
    let mut counts = vec![0; view.classes.len()];
    view.train.iter().for_each(|(_, label)| counts[*label] += 1);
    portfolio(&whole_space(TaskKind::ImageClassification, None, false), uneven(&counts))
}

/// Whether the largest class has more than twice the smallest's examples.
fn uneven(counts: &[u64]) -> bool {
    counts.iter().max() > counts.iter().min().map(|least| least * 2).as_ref()
}

/// Each family's good first networks with the default training, the families taking turns. Those that begin with what
/// others learned come before all but the first, which is there so that something can be downloaded at once.
fn portfolio(space: &SearchSpace, uneven: bool) -> Vec<Genome> {
    let training = default_training(uneven).map(|(name, value)| (name.to_owned(), value));
    let of_family: Vec<Vec<Genome>> = space
        .families
        .iter()
        .map(|family| {
            default_genomes(&family.family)
                .into_iter()
                .map(|params| {
                    let own = |name: &String| family.params.iter().any(|param| param.name == *name);
                    let usual = training.clone().into_iter().filter(|(name, _)| own(name));
                    Genome { family: family.family.clone(), params: usual.chain(params).collect() }
                })
                .collect()
        })
        .collect();
    let longest = of_family.iter().map(Vec::len).max().unwrap_or(0);
    let mut genomes: Vec<Genome> =
        (0..longest).flat_map(|i| of_family.iter().filter_map(move |list| list.get(i).cloned())).collect();
    let pretrained = |genome: &Genome| FAMILIES.iter().any(|f| f.name() == genome.family && f.backbone().is_some());
    if let Some(rest) = genomes.get_mut(1..) {
        rest.sort_by_key(|genome| !pretrained(genome));
    }
    genomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindling_spec::DataType;

    /// Limits from tight to none, each of the three kinds.
    fn constraints() -> Vec<Constraints> {
        let limits = |weights, ram, macs| Constraints {
            max_weights_bytes: weights,
            max_ram_bytes: ram,
            max_macs: macs,
            ..Constraints::default()
        };
        vec![
            limits(Some(20_000), None, None),
            limits(Some(8_000), None, None),
            limits(None, Some(40_000), None),
            limits(None, None, Some(300_000)),
            limits(Some(30_000), Some(60_000), Some(1_000_000)),
            limits(None, None, None),
        ]
    }

    #[test]
    fn the_learned_genomes_are_of_the_space_and_within_what_they_were_learned_for() {
        let space = whole_space(TaskKind::ImageClassification, None, false);
        let genomes = small_genomes().unwrap();
        assert!(!genomes.is_empty());
        for genome in genomes {
            let genome = adopt(&space, &genome).unwrap();
            assert!(space.contains(&genome), "{genome:?}");
            assert_eq!(adopt(&space, &genome), Some(genome.clone()));
            let macs = cost(&genome, 10).unwrap().macs;
            assert!(macs <= 300_000, "{macs}");
            // Of another space it takes what that one has, and what it lacks from the usual.
            let taught = adopt(&whole_space(TaskKind::ImageClassification, None, true), &genome).unwrap();
            assert_eq!(taught.params.get("distillation"), Some(&Value::Float(TAUGHT)));
        }
        let other = Genome { family: "efficientnet-lite0".into(), params: BTreeMap::new() };
        assert_eq!(adopt(&space, &other), None);
    }

    #[test]
    fn nearly_every_draw_is_made_to_fit_and_what_fits_is_left_alone() {
        let space = whole_space(TaskKind::ImageClassification, None, false);
        for constraints in constraints() {
            let drawn: Vec<Genome> = (0..120).filter_map(|n| Random.suggest(&space, &[], 7, n, 0)).collect();
            let mut fitted = 0;
            for genome in &drawn {
                let before = excess(&constraints, &cost(genome, 3).unwrap());
                let Some(found) = fit(&constraints, 3, genome.clone()) else { continue };
                fitted += 1;
                assert!(space.contains(&found), "{found:?}");
                let after = excess(&constraints, &cost(&found, 3).unwrap());
                assert!(after <= 1.0, "{constraints:?}: {after} of the limit, {found:?}");
                assert!(before > 1.0 || found == *genome, "it fitted as it was");
            }
            let share = f64::from(fitted) / drawn.len() as f64;
            eprintln!("{constraints:?}: {share}");
            assert!(share >= 0.95, "{constraints:?}: only {share} fit");
        }
    }

    #[test]
    fn whatever_the_limits_are_nothing_that_breaks_one_is_ever_suggested() {
        for (round, backbone) in [None, Some(BackboneName::EfficientNetLite0)].into_iter().cycle().take(24).enumerate()
        {
            let space = whole_space(TaskKind::ImageClassification, backbone, backbone.is_some());
            let draw = |stream: u64, low: f64, high: f64| {
                let bits = derive_seed(round as u64, stream);
                // One limit in three is not set.
                let at = (bits >> 11) as f64 / (1u64 << 53) as f64;
                (!bits.is_multiple_of(3)).then(|| (low.ln() + at * (high / low).ln()).exp() as u64)
            };
            let constraints = Constraints {
                data_type: (round % 4 > 1).then_some(DataType::Int8),
                max_weights_bytes: draw(0, 1_000.0, 500_000.0),
                max_ram_bytes: draw(1, 5_000.0, 500_000.0),
                max_macs: draw(2, 50_000.0, 20_000_000.0),
                ..Constraints::default()
            };
            let classes = 2 + round % 9;
            for number in 0..12 {
                let genome = Random.suggest(&space, &[], 11, number, 0).unwrap();
                let Some(found) = fit(&constraints, classes, genome) else { continue };
                assert!(space.contains(&found), "{found:?}");
                let cost = build_graph(&found, classes).unwrap().cost().unwrap();
                if constraints.is_int8()
                    && let Some(most) = constraints.max_weights_bytes
                {
                    assert!(cost.int8_weights_bytes <= most, "{found:?}");
                    assert!(cost.int8_weights_bytes * 3 < cost.weights_bytes, "{cost:?}");
                }
                for (name, limit, value) in limits(&constraints, &cost) {
                    assert!(value <= limit, "{name}: {value} of {limit}, {found:?}");
                }
            }
        }
    }
}
