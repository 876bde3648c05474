//! One class of several for each picture.

use super::{Draw, Examples, Verdict};
use crate::{HostBatch, Hyperparameters, TrainError};
use kindling_data::{BatchSource, Dataset, View, epoch_seed};
use kindling_graph::{Answer, Graph, InputSpec};
use kindling_models::{random::Random, tasks::image_classification::metrics};
use kindling_spec::Objective;

/// Pictures with a class each.
#[derive(Clone, Copy)]
pub struct LabelledExamples<'a> {
    /// Where the pictures are.
    pub dataset: &'a Dataset,
    /// Which of them, as which classes.
    pub view: &'a View,
    /// A teacher's answers on the training split, `[examples, classes]` in its order, each row a distribution.
    pub teacher: Option<&'a [f32]>,
    /// What is to be made best.
    pub objective: &'a Objective,
}

impl LabelledExamples<'_> {
    fn classes(&self) -> usize {
        self.view.classes.len()
    }

    /// How much an example of each class counts.
    fn class_weights(&self, settings: &Hyperparameters) -> Vec<f32> {
        if !settings.class_weights {
            return vec![1.0; self.classes()];
        }
        let mut counts = vec![0usize; self.classes()];
        for (_, label) in &self.view.train {
            counts[*label] += 1;
        }
        let weight = |count: &usize| match *count {
            count @ 1.. => self.view.train.len() as f32 / (counts.len() * count) as f32,
            0 => 1.0,
        };
        counts.iter().map(weight).collect()
    }
}

impl Examples for LabelledExamples<'_> {
    fn count(&self) -> usize {
        self.view.train.len()
    }

    fn check(&self, graph: &Graph, _: &Hyperparameters) -> Result<(), TrainError> {
        let (answered, classes) = (graph.output_shape()?.iter().product::<usize>(), self.classes());
        if graph.answer != Answer::Classes || answered != classes {
            return Err(TrainError::Input(format!("the graph answers {answered} classes, the task has {classes}")));
        }
        if let Some((_, label)) = self.view.train.iter().find(|(_, label)| *label >= classes) {
            return Err(TrainError::Input(format!("label {label} is not one of {classes} classes")));
        }
        if let Some(rows) = self.teacher
            && (rows.len() != self.count() * classes || rows.iter().any(|p| !(0.0..=1.0).contains(p)))
        {
            let what = format!("a teacher's answers must be {} x {classes} probabilities", self.count());
            return Err(TrainError::Input(what));
        }
        Ok(())
    }

    fn batch(&self, draw: &Draw<'_>, chosen: &[usize]) -> Result<HostBatch, TrainError> {
        let Draw { input, settings, seed, epoch, batch, .. } = *draw;
        let (classes, class_weight) = (self.classes(), self.class_weights(settings));
        let picks: Vec<(usize, usize)> = chosen.iter().map(|i| self.view.train[*i]).collect();
        let InputSpec { channels, height, width, mean, std } = input;
        let length = channels * height * width;
        let mut images = vec![0.0; picks.len() * length];
        let augment = Some((&settings.augment, epoch_seed(seed, epoch)));
        BatchSource::new(self.dataset).fill(&picks, *height, mean, std, augment, &mut images)?;

        let mut random = Random::new(&[seed, u64::from(epoch), u64::from(batch), 2]);
        let share = random.beta(settings.mixup) as f32;
        // Partners are the batch in reverse; since it is in random order, so are they.
        let partner = |i: usize| picks.len() - 1 - i;
        if share < 1.0 {
            let other = images.clone();
            for (i, image) in images.chunks_exact_mut(length).enumerate() {
                let from = &other[partner(i) * length..][..length];
                image.iter_mut().zip(from).for_each(|(a, b)| *a = *a * share + b * (1.0 - share));
            }
        }
        let smooth = settings.label_smoothing as f32;
        let mut targets = vec![0.0; picks.len() * classes];
        let mut total = 0.0;
        for (i, row) in targets.chunks_exact_mut(classes).enumerate() {
            for (of, part) in [(i, share), (partner(i), 1.0 - share)] {
                let label = picks[of].1;
                let weight = class_weight[label] * part;
                total += weight;
                let told = self.teacher.map(|rows| &rows[chosen[of] * classes..][..classes]);
                let taught = if told.is_some() { settings.distillation as f32 } else { 0.0 };
                row[label] += weight * (1.0 - taught) * (1.0 - smooth);
                for (class, to) in row.iter_mut().enumerate() {
                    let answer = told.map_or(0.0, |answer| answer[class]);
                    *to += weight * (taught * answer + (1.0 - taught) * smooth / classes as f32);
                }
            }
        }
        targets.iter_mut().for_each(|t| *t /= total);
        Ok(HostBatch { images, targets, size: picks.len() })
    }

    fn validation(&self) -> Vec<(usize, usize)> {
        self.view.validation.clone()
    }

    fn judge(&self, _: &Graph, answers: &[f32]) -> Verdict {
        let labels: Vec<usize> = self.view.validation.iter().map(|(_, label)| *label).collect();
        let found = metrics(answers, self.classes(), &labels, self.objective, &self.view.classes);
        Verdict { objective: found.objective, loss: found.log_loss }
    }
}
