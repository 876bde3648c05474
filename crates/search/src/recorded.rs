//! A table of trainings that were run once, to search again and again in place of training.

use crate::{Ladder, Observation, samplers::distance, score, simulate::Objective};
use kindling_spec::{Genome, SearchSpace};
use serde::{Deserialize, Serialize};

/// Genomes of one space, each trained up one ladder on several data sets with several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Epochs in all at the end of each rung.
    pub epochs: Vec<u32>,
    /// What may be chosen.
    pub space: SearchSpace,
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
    /// of its own is left.
    pub fn nearest(&self, genome: &Genome, history: &[Observation]) -> Option<&Genome> {
        let free = self.genomes.iter().filter(|g| !history.iter().any(|o| o.genome == **g));
        free.map(|g| (distance(&self.space, genome, g), g)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, g)| g)
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

    /// What was recorded of a genome; `None` of a training that failed before.
    fn read(&self, of: &[Vec<Vec<f64>>], genome: &Genome, epochs: u32) -> Option<f64> {
        let seeds = of.get(self.index(genome)?)?;
        seeds.get(self.seed % seeds.len().max(1))?.get(self.rung(epochs)?).copied()
    }

    /// The rung that so many epochs have finished.
    fn rung(&self, epochs: u32) -> Option<usize> {
        self.table.epochs.iter().rposition(|e| *e <= epochs)
    }

    /// The mean over the seeds of the test accuracy at a rung; a training that failed counts as 0.
    pub fn test(&self, genome: &Genome, epochs: u32) -> f64 {
        let at = |(index, rung): (usize, usize)| {
            let seeds = self.set.test.get(index)?;
            let sum: f64 = seeds.iter().map(|rungs| rungs.get(rung).copied().unwrap_or(0.0)).sum();
            Some(sum / seeds.len().max(1) as f64)
        };
        self.index(genome).zip(self.rung(epochs)).and_then(at).unwrap_or(0.0)
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
