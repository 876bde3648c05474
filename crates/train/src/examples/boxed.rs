//! Objects in pictures, each with its box.

use super::{Draw, Examples, Verdict};
use crate::{HostBatch, Hyperparameters, TrainError};
use kindling_data::{BatchSource, BoxView, Boxed, Dataset, LabelledBox, epoch_seed};
use kindling_graph::{Answer, Graph};
use kindling_models::tasks::object_detection::{Rect, Targets, Truth, figures, seen};
use kindling_spec::Objective;

/// Pictures with boxes.
#[derive(Clone, Copy)]
pub struct BoxedExamples<'a> {
    /// Where the pictures are.
    pub dataset: &'a Dataset,
    /// Which of them, with which boxes.
    pub view: &'a BoxView,
    /// What is to be made best.
    pub objective: &'a Objective,
}

/// The boxes as the metrics read them, in shares of the picture.
pub fn truths(boxes: &[LabelledBox]) -> Vec<Truth> {
    let rect = |b: &LabelledBox| {
        let [x, y, width, height] = [b.x, b.y, b.width, b.height].map(f64::from);
        Rect { x, y, width, height }
    };
    boxes.iter().map(|b| Truth { class: b.class, rect: rect(b) }).collect()
}

impl BoxedExamples<'_> {
    fn map(&self, graph: &Graph) -> Result<[usize; 3], TrainError> {
        let shape = graph.output_shape()?;
        match shape[..] {
            [channels, height, width] if graph.answer == Answer::Map && channels == self.view.classes.len() + 4 => {
                Ok([channels, height, width])
            }
            _ => {
                let classes = self.view.classes.len();
                Err(TrainError::Input(format!(
                    "the graph answers {shape:?}, not a map of {classes} classes and 4 sides"
                )))
            }
        }
    }
}

impl Examples for BoxedExamples<'_> {
    fn count(&self) -> usize {
        self.view.train.len()
    }

    fn check(&self, graph: &Graph, _: &Hyperparameters) -> Result<(), TrainError> {
        self.map(graph).map(|_| ())
    }

    fn batch(&self, draw: &Draw<'_>, chosen: &[usize]) -> Result<HostBatch, TrainError> {
        let Draw { input, settings, seed, epoch, .. } = *draw;
        let picks: Vec<(usize, &[LabelledBox])> = chosen
            .iter()
            .map(|i| {
                let Boxed { example, boxes } = &self.view.train[*i];
                (*example, boxes.as_slice())
            })
            .collect();
        let length = input.channels * input.height * input.width;
        let mut images = vec![0.0; picks.len() * length];
        let augment = Some((&settings.augment, epoch_seed(seed, epoch)));
        let source = BatchSource::new(self.dataset);
        let boxes = source.fill_boxes(&picks, input.height, &input.mean, &input.std, augment, &mut images)?;
        let truths: Vec<Vec<Truth>> = boxes.iter().map(|boxes| truths(boxes)).collect();
        let targets = Targets { classes: self.view.classes.len(), height: draw.map[0], width: draw.map[1] };
        Ok(HostBatch { images, targets: targets.of(&truths), size: picks.len() })
    }

    fn validation(&self) -> Vec<(usize, usize)> {
        self.view.validation.iter().map(|boxed| (boxed.example, 0)).collect()
    }

    fn judge(&self, graph: &Graph, answers: &[f32]) -> Verdict {
        let Ok(shape) = self.map(graph) else { return Verdict { objective: 0.0, loss: f64::INFINITY } };
        let truths: Vec<Vec<Truth>> = self.view.validation.iter().map(|boxed| truths(&boxed.boxes)).collect();
        let found = figures(&seen(answers, shape, truths), &self.view.classes, self.objective, None);
        Verdict { objective: found.objective, loss: 1.0 - found.map }
    }
}
