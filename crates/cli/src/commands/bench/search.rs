//! `kindling bench search`.

use crate::failure::{Exit, Failure};
use crate::output;
use flate2::read::GzDecoder;
use kindling_search::{
    Ladder, Observation, Pruner, Sampler, Study,
    pruners::{Hyperband, Never},
    recorded::Table,
    samplers::{Random, Tpe},
    simulate::{Limits, Objective, simulate},
};
use kindling_spec::{FamilySpace, Genome, Param, SearchSpace};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::json;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs searches in place of training, over many seeds, and prints how far from the best they end.
///
/// Computed objectives are functions of the genome and the epochs; with `--table`, trainings that `bench record`
/// ran are replayed too. Time is counted in simulated seconds and one trial runs at a time. With `--optuna`,
/// Optuna's TPE and Hyperband search the same.
#[derive(clap::Args)]
pub(crate) struct Search {
    /// Seeds of each.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    seeds: u16,
    /// A table of `bench record`, such as benches/search_table.json.gz.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// A Python with optuna, to run benches/search_optuna.py with.
    #[arg(long, value_name = "PYTHON")]
    optuna: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What Optuna is asked to do.
const OPTUNA: &str = include_str!("../../../../../benches/search_optuna.py");
/// Simulated seconds of the budgets.
const BUDGETS: [f64; 4] = [250.0, 500.0, 1000.0, 2000.0];
/// The same for the recorded table; in more, a search would have tried every genome that is in it.
const TABLE_BUDGETS: [f64; 5] = [5.0, 10.0, 20.0, 40.0, 80.0];
const LADDER: Ladder = Ladder { first: 1, eta: 3, top: 4 };

/// A function to search; all have an optimum of 1 at the top of the ladder.
struct Function {
    name: &'static str,
    value: fn(&Genome, f64) -> f64,
}

/// The functions, the same as in the Python script.
static FUNCTIONS: &[Function] = &[
    Function { name: "hartmann", value: hartmann },
    Function { name: "crossing", value: crossing },
    Function { name: "mixed", value: mixed },
];

/// Six reals and two choices, whichever function reads them.
fn space() -> SearchSpace {
    let reals = (0..6).map(|i| Param::float(&format!("x{i}"), 0.0, 1.0));
    let params = reals.chain([Param::words("a", &["p", "q", "r", "s"]), Param::int("n", 1, 8)]).collect();
    SearchSpace { families: vec![FamilySpace { family: "f".into(), params }] }
}

fn reals(genome: &Genome) -> [f64; 6] {
    std::array::from_fn(|i| genome.float(&format!("x{i}")).unwrap_or(0.0))
}

/// How much of what a genome can reach is there after so many epochs.
fn share(epochs: f64, slowness: f64) -> f64 {
    let full = 1.0 - (-81.0 / slowness).exp();
    (1.0 - (-epochs / slowness).exp()) / full
}

/// Hartmann's function of six variables (Hartman 1973), scaled to 1 at its optimum.
fn hartmann(genome: &Genome, epochs: f64) -> f64 {
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    let x = reals(genome);
    let term = |(weight, (a, p)): (f64, (&[f64; 6], &[f64; 6]))| {
        let far: f64 = (0..6).map(|j| a[j] * (x[j] - p[j]).powi(2)).sum();
        weight * (-far).exp()
    };
    let sum: f64 = [1.0, 1.2, 3.0, 3.2].into_iter().zip(A.iter().zip(&P)).map(term).sum();
    sum / 3.322_368 * share(epochs, 8.0)
}

/// Curves that cross: the best genomes learn slowest.
fn crossing(genome: &Genome, epochs: f64) -> f64 {
    let x = reals(genome);
    let far: f64 = x.iter().enumerate().map(|(i, x)| (x - 0.3 - 0.08 * i as f64).powi(2)).sum();
    let reach = 1.0 - far;
    reach * share(epochs, 2.0 + 10.0 * reach.max(0.0).powi(4))
}

/// A choice decides which way the reals should go, and a count matters as well.
fn mixed(genome: &Genome, epochs: f64) -> f64 {
    let x = reals(genome);
    let (centre, worth) = match genome.word("a") {
        Some("p") => (0.2, 0.9),
        Some("q") => (0.5, 0.8),
        Some("r") => (0.75, 1.0),
        _ => (0.9, 0.7),
    };
    let far: f64 = x.iter().take(4).map(|x| (x - centre).abs()).sum::<f64>() / 4.0;
    let count = genome.int("n").unwrap_or(1) as f64;
    worth * (1.0 - far) * (1.0 - 0.03 * (count - 6.0).abs()) * share(epochs, 4.0)
}

struct Stand(&'static Function);

impl Objective for Stand {
    fn value(&self, genome: &Genome, epochs: u32) -> f64 {
        (self.0.value)(genome, f64::from(epochs))
    }

    fn epoch_seconds(&self, _: &Genome) -> f64 {
        1.0
    }
}

/// One search's regrets: by budget, one a seed.
#[derive(Deserialize)]
struct Regrets {
    function: String,
    search: String,
    budgets: Vec<Vec<f64>>,
}

impl Regrets {
    fn medians(&self) -> Vec<f64> {
        self.budgets.iter().map(|seeds| median(seeds.clone()).unwrap_or(f64::NAN)).collect()
    }
}

/// What is compared: its name, the sampler, the pruner, and the genomes that a table's search begins with, which were
/// learned from the table's other data sets.
static SEARCHES: [(&str, &dyn Sampler, &dyn Pruner, usize); 4] = [
    ("random", &Random, &Never, 0),
    ("random + hyperband", &Random, &Hyperband, 0),
    ("tpe + hyperband", &Tpe, &Hyperband, 0),
    ("portfolio, tpe + hyperband (default)", &Tpe, &Hyperband, 3),
];

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, what.to_string())
}

impl Search {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let table = self.table.as_deref().map(read).transpose()?;
        let mut found: Vec<Regrets> = Vec::new();
        for (name, sampler, pruner, first) in SEARCHES {
            // The computed functions have nothing that a portfolio could be learned from.
            for function in FUNCTIONS.iter().filter(|_| first == 0) {
                let end = |seed| BUDGETS.map(|budget| computed(function, sampler, pruner, seed, budget)).to_vec();
                found.push(self.over_seeds(function.name, name, end));
            }
            let sets = table.iter().flat_map(|table| (0..table.sets.len()).map(move |set| (table, set)));
            for (table, set) in sets {
                let others: Vec<usize> = (0..table.sets.len()).filter(|other| *other != set).collect();
                let portfolio = table.portfolio(&others, first);
                let end = |seed| {
                    TABLE_BUDGETS.map(|budget| replayed(table, set, &portfolio, sampler, pruner, seed, budget)).to_vec()
                };
                found.push(self.over_seeds(&table.sets[set].name, name, end));
            }
        }
        if let Some(python) = &self.optuna {
            found.extend(self.optuna(python)?);
        }
        let is_function = |name: &str| FUNCTIONS.iter().any(|f| f.name == name);
        if self.json {
            let rows: Vec<_> = found
                .iter()
                .map(|r| {
                    let budgets = if is_function(&r.function) { BUDGETS.to_vec() } else { TABLE_BUDGETS.to_vec() };
                    json!({"function": r.function, "search": r.search, "budgets": budgets, "regrets": r.budgets,
                        "median_regret": r.medians()})
                })
                .collect();
            return output::say_json(&json!({"seeds": self.seeds, "rows": rows}));
        }
        found.sort_by(|a, b| a.function.cmp(&b.function));
        output::say(&format!("median regret over {} seeds", self.seeds));
        for (of_functions, budgets) in [(true, &BUDGETS[..]), (false, &TABLE_BUDGETS[..])] {
            let rows: Vec<&Regrets> = found.iter().filter(|r| is_function(&r.function) == of_functions).collect();
            if rows.is_empty() {
                continue;
            }
            let cells: Vec<Vec<String>> = rows
                .into_iter()
                .map(|r| {
                    let medians = r.medians().into_iter().map(|regret| format!("{regret:.4}"));
                    [r.function.clone(), r.search.clone()].into_iter().chain(medians).collect()
                })
                .collect();
            let head: Vec<String> = budgets.iter().map(|b| format!("{b:.0} s")).collect();
            let what = if of_functions { "function" } else { "data set" };
            let head: Vec<&str> = [what, "search"].into_iter().chain(head.iter().map(String::as_str)).collect();
            output::say(&output::table(&head, &cells));
        }
        Ok(())
    }

    /// One row: `end` gives a seed's regrets by budget.
    fn over_seeds(&self, function: &str, search: &str, end: impl Fn(u64) -> Vec<f64> + Sync + Send) -> Regrets {
        let seeds: Vec<Vec<f64>> = (0..u64::from(self.seeds)).into_par_iter().map(end).collect();
        let count = seeds.first().map_or(0, Vec::len);
        let budgets = (0..count).map(|i| seeds.iter().map(|seed| seed[i]).collect()).collect();
        Regrets { function: function.to_owned(), search: search.to_owned(), budgets }
    }

    fn optuna(&self, python: &Path) -> Result<Vec<Regrets>, Failure> {
        let list = |budgets: &[f64]| budgets.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(python);
        command.args(["-c", OPTUNA, "--seeds", &self.seeds.to_string(), "--budgets", &list(&BUDGETS)]);
        if let Some(table) = &self.table {
            command.arg("--table").arg(table).args(["--table-budgets", &list(&TABLE_BUDGETS)]);
        }
        let made = command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| failed(format!("{} cannot be run: {error}", python.display())))?;
        if !made.status.success() {
            return Err(failed(format!("benches/search_optuna.py ended with {}", made.status)));
        }
        serde_json::from_slice(&made.stdout).map_err(|error| failed(format!("its JSON cannot be read: {error}")))
    }
}

pub(super) fn read(path: &Path) -> Result<Table, Failure> {
    let file = std::fs::File::open(path).map_err(Failure::io(path, "the table cannot be read"))?;
    serde_json::from_reader(GzDecoder::new(BufReader::new(file)))
        .map_err(|error| failed(format!("it is no table: {error}")).at(path.display().to_string()))
}

fn computed(function: &'static Function, sampler: &dyn Sampler, pruner: &dyn Pruner, seed: u64, budget: f64) -> f64 {
    let (space, fit) = (space(), &|genome, _: &[Observation]| Some(genome));
    let study = Study { space: &space, portfolio: &[], sampler, pruner, ladder: LADDER, seed, fit };
    let out = simulate(&study, &Stand(function), Limits { workers: 1, seconds: Some(budget), trials: None });
    1.0 - out.best_at(budget).map_or(0.0, |best| best.value)
}

/// What the choice by validation accuracy lacks of the best test accuracy in the table.
fn replayed(
    table: &Table,
    set: usize,
    portfolio: &[Genome],
    sampler: &dyn Sampler,
    pruner: &dyn Pruner,
    seed: u64,
    budget: f64,
) -> f64 {
    let Some(replay) = table.replay(set, seed as usize) else { return f64::NAN };
    let fit = &|genome, history: &[Observation]| table.nearest(&genome, history).cloned();
    let (space, ladder) = (&table.space, table.ladder());
    let study = Study { space, portfolio, sampler, pruner, ladder, seed, fit };
    let out = simulate(&study, &replay, Limits { workers: 1, seconds: Some(budget), trials: None });
    let best = out.best_at(budget);
    let chosen = best.and_then(|best| Some(replay.test(&out.history.get(best.number as usize)?.genome, best.epochs)));
    replay.best_test() - chosen.unwrap_or(0.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindling_spec::Value;

    #[test]
    fn every_function_is_best_where_it_is_known_to_be() {
        let genome = |x: [f64; 6], a: &str, n: i64| Genome {
            family: "f".into(),
            params: (0..6)
                .map(|i| (format!("x{i}"), Value::Float(x[i])))
                .chain([("a".to_owned(), Value::Word(a.into())), ("n".to_owned(), Value::Int(n))])
                .collect(),
        };
        let best = [
            genome([0.201_69, 0.150_011, 0.476_874, 0.275_332, 0.311_652, 0.657_3], "p", 1),
            genome([0.3, 0.38, 0.46, 0.54, 0.62, 0.7], "p", 1),
            genome([0.75; 6], "r", 6),
        ];
        for (function, genome) in FUNCTIONS.iter().zip(&best) {
            assert!(space().contains(genome));
            let value = (function.value)(genome, 81.0);
            assert!((value - 1.0).abs() < 1e-3, "{}: {value}", function.name);
            assert!((function.value)(genome, 1.0) < 0.5, "{} hardly learns", function.name);
        }
    }
}
