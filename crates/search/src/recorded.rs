//! A table of trainings that were run once, to search again and again in place of training.

use crate::{Ladder, Observation, samplers::distance, score, simulate::Objective};
use kindling_spec::{Genome, SearchSpace, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Genomes of one space, each trained up one ladder on several data sets with several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Epochs in all at the end of each rung.
    pub epochs: Vec<u32>,
    /// What may be chosen.
    pub space: SearchSpace,
    /// What was not searched: the parameters that every genome had as well.
    #[serde(default)]
    pub shared: BTreeMap<String, Value>,
    /// What was chosen.
    pub genomes: Vec<Genome>,
    /// What came of it.
    pub sets: Vec<RecordedSet>,
}

/// One data set's trainings.
///
/// # Shapes
/// `validation`, `log_loss` and `test`: `[genomes, seeds, rungs]`; the rungs after a training whose loss was no
/// number are missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedSet {
    /// Its name.
    pub name: String,
    /// The hash of its content.
    pub sha256: String,
    /// What was told apart.
    pub classes: Vec<String>,
    /// How many examples were used.
    pub examples: Examples,
    /// Multiply-accumulates of each genome's network.
    pub macs: Vec<u64>,
    /// Accuracy on the validation split.
    pub validation: Vec<Vec<Vec<f64>>>,
    /// Cross-entropy on it.
    pub log_loss: Vec<Vec<Vec<f64>>>,
    /// Accuracy on the test split.
    pub test: Vec<Vec<Vec<f64>>>,
}

impl RecordedSet {
    /// The mean accuracy of a genome at the top of the ladder, of all seeds and both held-out splits.
    fn reached(&self, genome: usize) -> f64 {
        let last = |of: &[Vec<Vec<f64>>]| -> f64 {
            let Some(seeds) = of.get(genome) else { return 0.0 };
            seeds.iter().map(|rungs| rungs.last().copied().unwrap_or(0.0)).sum::<f64>() / seeds.len().max(1) as f64
        };
        (last(&self.validation) + last(&self.test)) / 2.0
    }
}

/// How many examples of each split were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples {
    /// To train.
    pub train: usize,
    /// To choose by.
    pub validation: usize,
    /// To measure.
    pub test: usize,
}

/// How many genomes have a say in what another is worth.
const RELATIVES: usize = 4;
/// Multiply-accumulates a simulated second; a step of training takes three times those of an answer.
const MACS_A_SECOND: f64 = 5e9;
/// Seconds a simulated epoch takes for each example, whatever the network: reading and varying it.
const SECONDS_AN_EXAMPLE: f64 = 2e-5;

impl Table {
    /// The ladder that was climbed.
    pub fn ladder(&self) -> Ladder {
        let first = self.epochs.first().copied().unwrap_or(1);
        let eta = self.epochs.get(1).map_or(2, |second| second / first.max(1));
        Ladder { first, eta, top: self.epochs.len().saturating_sub(1) as u32 }
    }

    /// The recorded genome nearest to this one that is not in the history; of another family only when none
    /// of its own is left. One that is recorded is its own nearest, tried or not.
    pub fn nearest(&self, genome: &Genome, history: &[Observation]) -> Option<&Genome> {
        if let Some(own) = self.genomes.iter().find(|recorded| *recorded == genome) {
            return Some(own);
        }
        let free = self.genomes.iter().filter(|g| !history.iter().any(|o| o.genome == **g));
        free.map(|g| (distance(&self.space, genome, g), g)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, g)| g)
    }

    /// Genomes to begin a search with on a data set like these, but not among them: the best first, by what each and
    /// its nearest relatives reached at the top of the ladder on the sets whose numbers are given. A genome is left
    /// out while its relatives are in: much like one another, they would fail together.
    ///
    /// Of 400 genomes with three seeds the best is so by luck too; the mean with its relatives is less so.
    pub fn portfolio(&self, sets: &[usize], count: usize) -> Vec<Genome> {
        let mut scores = vec![0.0; self.genomes.len()];
        for set in sets.iter().filter_map(|set| self.sets.get(*set)) {
            let reached: Vec<f64> = (0..self.genomes.len()).map(|genome| set.reached(genome)).collect();
            let count = reached.len().max(1) as f64;
            let mean = reached.iter().sum::<f64>() / count;
            let spread = (reached.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-9);
            scores.iter_mut().zip(&reached).for_each(|(score, reached)| *score += (reached - mean) / spread);
        }
        let relatives: Vec<Vec<usize>> = (0..self.genomes.len()).map(|genome| self.relatives(genome)).collect();
        let smoothed: Vec<f64> = relatives
            .iter()
            .zip(&scores)
            .map(|(near, own)| {
                let others: f64 = near.iter().map(|at| scores[*at]).sum();
                (own + others) / (near.len() + 1) as f64
            })
            .collect();
        let mut order: Vec<usize> = (0..self.genomes.len()).collect();
        order.sort_by(|a, b| smoothed[*b].total_cmp(&smoothed[*a]).then(a.cmp(b)));
        let mut chosen: Vec<usize> = Vec::new();
        for at in order {
            if chosen.len() < count && !chosen.iter().any(|other| relatives[*other].contains(&at)) {
                chosen.push(at);
            }
        }
        chosen.into_iter().filter_map(|at| self.genomes.get(at).cloned()).collect()
    }

    /// The genomes nearest to one.
    fn relatives(&self, genome: usize) -> Vec<usize> {
        let own = &self.genomes[genome];
        let mut others: Vec<(f64, usize)> = self
            .genomes
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != genome)
            .map(|(at, other)| (distance(&self.space, own, other), at))
            .collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0));
        others.into_iter().take(RELATIVES).map(|(_, at)| at).collect()
    }

    /// One data set's trainings with one seed, as what stands in for training.
    pub fn replay(&self, set: usize, seed: usize) -> Option<Replay<'_>> {
        Some(Replay { table: self, set: self.sets.get(set)?, seed })
    }
}

/// See [`Table::replay`].
#[derive(Debug, Clone, Copy)]
pub struct Replay<'a> {
    table: &'a Table,
    set: &'a RecordedSet,
    seed: usize,
}

impl Replay<'_> {
    fn index(&self, genome: &Genome) -> Option<usize> {
        self.table.genomes.iter().position(|g| g == genome)
    }

    /// What a training reaches after so many epochs. Between two rungs it is on the straight line over the logarithm of
    /// the epochs: a training that ends there is annealed too. `None` before the first rung, and of a training that
    /// failed before.
    fn at(&self, rungs: &[f64], epochs: u32) -> Option<f64> {
        let ends = &self.table.epochs;
        let low = ends.iter().rposition(|end| *end <= epochs)?;
        let value = *rungs.get(low)?;
        let Some((end, next)) = ends.get(low + 1).zip(rungs.get(low + 1)) else { return Some(value) };
        let log = |epochs: u32| f64::from(epochs.max(1)).ln();
        let share = (log(epochs) - log(ends[low])) / (log(*end) - log(ends[low])).max(1e-9);
        Some(value + share * (next - value))
    }

    /// What was recorded of a genome with this seed.
    fn read(&self, of: &[Vec<Vec<f64>>], genome: &Genome, epochs: u32) -> Option<f64> {
        let seeds = of.get(self.index(genome)?)?;
        self.at(seeds.get(self.seed % seeds.len().max(1))?, epochs)
    }

    /// The mean over the seeds of the test accuracy; a training that failed counts as 0.
    pub fn test(&self, genome: &Genome, epochs: u32) -> f64 {
        let Some(seeds) = self.index(genome).and_then(|index| self.set.test.get(index)) else { return 0.0 };
        let sum: f64 = seeds.iter().map(|rungs| self.at(rungs, epochs).unwrap_or(0.0)).sum();
        sum / seeds.len().max(1) as f64
    }

    /// The best that [`Self::test`] gives for any genome and rung.
    pub fn best_test(&self) -> f64 {
        let all = self.table.genomes.iter().flat_map(|g| self.table.epochs.iter().map(move |e| self.test(g, *e)));
        all.fold(0.0, f64::max)
    }
}

impl Objective for Replay<'_> {
    fn value(&self, genome: &Genome, epochs: u32) -> f64 {
        self.read(&self.set.validation, genome, epochs).unwrap_or(0.0)
    }

    fn score(&self, genome: &Genome, epochs: u32) -> f64 {
        let log_loss = self.read(&self.set.log_loss, genome, epochs).unwrap_or(f64::INFINITY);
        score(self.value(genome, epochs), log_loss, self.set.classes.len())
    }

    fn epoch_seconds(&self, genome: &Genome) -> f64 {
        let macs = self.index(genome).and_then(|i| self.set.macs.get(i)).copied().unwrap_or(0);
        self.set.examples.train as f64 * (3.0 * macs as f64 / MACS_A_SECOND + SECONDS_AN_EXAMPLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindling_spec::{FamilySpace, Param};

    /// 40 genomes on a line; the first set is best at 0.3 but for one lucky genome, the second at 0.9.
    fn table() -> Table {
        let space = SearchSpace {
            families: vec![FamilySpace { family: "f".into(), params: vec![Param::float("x", 0.0, 1.0)] }],
        };
        let at = |i: usize| i as f64 / 40.0;
        let genome = |i| Genome { family: "f".into(), params: [("x".to_owned(), Value::Float(at(i)))].into() };
        let set = |name: &str, best: f64, lucky: Option<usize>| {
            let value = |i| if lucky == Some(i) { 1.0 } else { 0.9 - (at(i) - best).abs() };
            let rungs: Vec<_> = (0..40).map(|i| vec![vec![0.1, value(i)]; 3]).collect();
            RecordedSet {
                name: name.into(),
                sha256: String::new(),
                classes: vec!["a".into(), "b".into()],
                examples: Examples { train: 1, validation: 1, test: 1 },
                macs: vec![1; 40],
                validation: rungs.clone(),
                log_loss: rungs.clone(),
                test: rungs,
            }
        };
        let sets = vec![set("low", 0.3, Some(38)), set("high", 0.9, None)];
        Table { epochs: vec![1, 3], space, shared: BTreeMap::new(), genomes: (0..40).map(genome).collect(), sets }
    }

    #[test]
    fn a_portfolio_is_what_did_well_with_its_relatives_and_not_one_lucky_genome() {
        let table = table();
        let x = |set: &[usize]| -> Vec<f64> {
            table.portfolio(set, 2).iter().filter_map(|genome| genome.float("x")).collect()
        };
        let low = x(&[0]);
        assert!((low[0] - 0.3).abs() < 0.05 && (low[1] - low[0]).abs() > 0.04, "{low:?}");
        assert!((x(&[1])[0] - 0.9).abs() < 0.05);
        assert!(x(&[]).len() == 2 && table.portfolio(&[0], 100).len() < 40);
    }

    #[test]
    fn between_two_rungs_a_training_is_on_the_line_over_the_logarithm_of_its_epochs() {
        let mut table = table();
        table.epochs = vec![1, 4];
        table.sets[0].validation[12][0] = vec![0.1];
        let replay = table.replay(0, 0).unwrap();
        let (best, failed) = (&table.genomes[11], &table.genomes[12]);
        let top = 0.9 - (11.0 / 40.0 - 0.3f64).abs();
        for (epochs, expected) in [(0, 0.0), (1, 0.1), (2, (0.1 + top) / 2.0), (4, top), (9, top)] {
            assert!((replay.value(best, epochs) - expected).abs() < 1e-9, "{epochs}");
            assert!((replay.test(best, epochs) - expected).abs() < 1e-9, "{epochs}");
        }
        // What came before a failure is kept.
        assert_eq!([0, 1, 3, 4].map(|epochs| replay.value(failed, epochs)), [0.0, 0.1, 0.1, 0.0]);
    }

    #[test]
    fn a_recorded_genome_is_its_own_nearest_and_another_gets_one_that_is_free() {
        let table = table();
        let tried = |i: usize| Observation {
            number: 0,
            genome: table.genomes[i].clone(),
            state: kindling_spec::TrialState::Paused,
            rungs: Vec::new(),
        };
        assert_eq!(table.nearest(&table.genomes[3], &[tried(3)]), Some(&table.genomes[3]));
        let between = Genome { family: "f".into(), params: [("x".to_owned(), Value::Float(0.076))].into() };
        assert_eq!(table.nearest(&between, &[]), Some(&table.genomes[3]));
        assert_eq!(table.nearest(&between, &[tried(3)]), Some(&table.genomes[4]));
    }
}
