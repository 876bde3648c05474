//! A whole network as one list of steps over buffers that are kept from batch to batch.
//!
//! The batch is cut into chunks of images, each with buffers of its own, so that threads share nothing
//! that changes. Normalisation needs the whole batch's statistics, so the steps are cut into stages
//! there; within a stage a chunk takes a few images at a time through every step, while they are in
//! the cache. The chunks do not depend on the number of threads: neither does any result.

use crate::KernelError;
use crate::compile::{Compiled, Step};
use crate::norm::{Coefficients, Moments, SlopeSums};
use crate::plane::{Buffer, zeros};
use crate::{elementwise, step};
use kindling_graph::Graph;
use rayon::prelude::*;
use std::ops::Range;

/// Chunks of a batch: enough to keep eight threads busy, few enough that adding up their gradients
/// costs nothing beside making them.
const CHUNKS: usize = 8;

/// What a network answers for a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The output, `[N, features]`.
    pub output: Vec<f32>,
    /// In training, for each BatchNormalization in the graph's order its batch's mean and then its
    /// biased variance: the order of the graph's parameters that are not trained.
    pub statistics: Vec<f32>,
}

/// A network ready to run on the processor.
#[derive(Debug)]
pub struct Program {
    compiled: Compiled,
    batch: usize,
    chunks: Vec<Chunk>,
    shared: Shared,
}

/// What every chunk reads.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Weights laid out for the kernels.
    pub(crate) weights: Buffer,
    /// One for each normalisation.
    pub(crate) norms: Vec<Coefficients>,
}

/// Some of the batch's images, with everything that is computed from them.
#[derive(Debug)]
pub(crate) struct Chunk {
    first: usize,
    size: usize,
    pub(crate) values: Vec<Buffer>,
    pub(crate) gradients: Vec<Buffer>,
    /// Masks of dropouts.
    pub(crate) masks: Vec<Buffer>,
    /// As the packed weights.
    pub(crate) weight_gradient: Buffer,
    pub(crate) moments: Vec<Moments>,
    pub(crate) slopes: Vec<SlopeSums>,
}

impl Program {
    /// Prepares a graph to be trained on batches of exactly `batch` images.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] if an operator has no kernel here, [`KernelError::Graph`] if the
    /// graph is not valid.
    pub fn training(graph: &Graph, batch: usize) -> Result<Self, KernelError> {
        Self::new(graph, batch, true)
    }

    /// Prepares a graph to answer with its running statistics, up to `batch` images at once.
    ///
    /// # Errors
    /// As [`Program::training`].
    pub fn inference(graph: &Graph, batch: usize) -> Result<Self, KernelError> {
        Self::new(graph, batch, false)
    }

    fn new(graph: &Graph, batch: usize, training: bool) -> Result<Self, KernelError> {
        let count = batch.clamp(1, CHUNKS);
        let compiled = Compiled::new(graph, training, batch.div_ceil(count))?;
        let (each, more) = (batch / count, batch % count);
        let mut first = 0;
        let chunks = (0..count)
            .map(|i| {
                let size = each + usize::from(i < more);
                first += size;
                Chunk::new(&compiled, first - size, size)
            })
            .collect();
        let norms = compiled.norms.iter().map(|norm| Coefficients::new(norm.step)).collect();
        let shared = Shared { weights: zeros(compiled.packed_len), norms };
        Ok(Self { compiled, batch, chunks, shared })
    }

    /// Images a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Answers a batch.
    ///
    /// # Shapes
    /// `images` `[N, C, H, W]` with N the batch in training and at most that in inference; `weights`
    /// all trained parameters and `running` all others, one after another in the order of
    /// [`Graph::params`] (`running` is not read in training); `masks` the factors of each Dropout,
    /// `[N, its shape]` (none in inference).
    ///
    /// # Errors
    /// [`KernelError::Size`] if one of them has another size.
    pub fn forward(
        &mut self,
        images: &[f32],
        weights: &[f32],
        running: &[f32],
        masks: &[Vec<f32>],
    ) -> Result<Answer, KernelError> {
        let compiled = &self.compiled;
        let each = compiled.input_len();
        let count = images.len() / each;
        let fits =
            images.len() == count * each && if compiled.training { count == self.batch } else { count <= self.batch };
        check("images", images.len(), if fits { images.len() } else { self.batch * each })?;
        check("weights", weights.len(), compiled.weights_len)?;
        if compiled.training {
            check("masks", masks.len(), compiled.masks.len())?;
            for (mask, slot) in masks.iter().zip(&compiled.masks) {
                let plane = &compiled.values[*slot];
                check("a mask", mask.len(), count * plane.channels * plane.pixels())?;
            }
        } else {
            check("running statistics", running.len(), compiled.running_len)?;
        }
        compiled.pack(weights, &mut self.shared.weights);
        if !compiled.training {
            for (norm, to) in compiled.norms.iter().zip(&mut self.shared.norms) {
                let channels = norm.channels;
                let (mean, var) = (&running[norm.mean..][..channels], &running[norm.mean + channels..][..channels]);
                norm.coefficients(weights, |c| (f64::from(mean[c]), f64::from(var[c])), to);
            }
        }
        let width = compiled.output_len();
        let mut output = vec![0.0; count * width];
        let mut statistics = Vec::new();
        for (number, stage) in compiled.stages.iter().enumerate() {
            let shared = &self.shared;
            each_chunk(&mut self.chunks, count, |chunk, size| {
                if number == 0 {
                    let plane = &compiled.values[0];
                    let own = &images[chunk.first * each..][..size * each];
                    elementwise::load(own, &mut chunk.values[0], plane, 0..size);
                    for ((mask, slot), to) in masks.iter().zip(&compiled.masks).zip(&mut chunk.masks) {
                        let plane = &compiled.values[*slot].without_border();
                        let len = plane.channels * plane.pixels();
                        elementwise::load(&mask[chunk.first * len..][..size * len], to, plane, 0..size);
                    }
                    chunk.moments.iter_mut().for_each(Moments::clear);
                }
                for images in groups(size, stage.group) {
                    for step in &compiled.steps[stage.steps.clone()] {
                        step::forward(compiled, step, shared, chunk, images.clone());
                    }
                }
            });
            for step in &compiled.steps[stage.steps.clone()] {
                let Step::Measure { norm } = step else { continue };
                let about = &compiled.norms[*norm];
                let mut moments = Moments::new(about.channels);
                self.chunks.iter().for_each(|chunk| moments.merge(&chunk.moments[*norm]));
                let found = |c: usize| (moments.mean[c], moments.variance(c));
                about.coefficients(weights, found, &mut self.shared.norms[*norm]);
            }
        }
        if compiled.training {
            for (norm, about) in compiled.norms.iter().enumerate() {
                let mut moments = Moments::new(about.channels);
                self.chunks.iter().for_each(|chunk| moments.merge(&chunk.moments[norm]));
                statistics.extend((0..about.channels).map(|c| moments.mean[c] as f32));
                statistics.extend((0..about.channels).map(|c| moments.variance(c) as f32));
            }
        }
        for chunk in &self.chunks {
            let size = chunk.within(count);
            let to = &mut output[chunk.first.min(count) * width..][..size * width];
            elementwise::save(&chunk.values[compiled.output], &compiled.values[compiled.output], 0..size, to);
        }
        Ok(Answer { output, statistics })
    }

    /// The gradient of the weights, from that of the last answer's output, `[N, features]`: as the
    /// weights one after another.
    ///
    /// # Errors
    /// [`KernelError::Size`] if it is not of the batch, [`KernelError::Unsupported`] in inference.
    pub fn backward(&mut self, output: &[f32]) -> Result<Vec<f32>, KernelError> {
        let compiled = &self.compiled;
        if !compiled.training {
            return Err(KernelError::Unsupported("a gradient without training".into()));
        }
        let width = compiled.output_len();
        check("the output's gradient", output.len(), self.batch * width)?;
        let mut gradient = vec![0.0; compiled.weights_len];
        let last = compiled.stages.len() - 1;
        for (number, stage) in compiled.stages.iter().enumerate().rev() {
            let shared = &self.shared;
            each_chunk(&mut self.chunks, self.batch, |chunk, size| {
                if number == last {
                    let to = compiled.gradient_of[compiled.output];
                    let own = &output[chunk.first * width..][..size * width];
                    elementwise::load(own, &mut chunk.gradients[to], &compiled.gradients[to], 0..size);
                    chunk.weight_gradient.fill(0.0);
                    chunk.slopes.iter_mut().for_each(SlopeSums::clear);
                }
                for images in groups(size, stage.group) {
                    for step in compiled.steps[stage.steps.clone()].iter().rev() {
                        step::backward(compiled, step, shared, chunk, images.clone());
                    }
                }
            });
            for step in &compiled.steps[stage.steps.clone()] {
                let Step::Normalize { norm, .. } = step else { continue };
                let about = &compiled.norms[*norm];
                let mut sums = SlopeSums::new(about.channels);
                self.chunks.iter().for_each(|chunk| sums.merge(&chunk.slopes[*norm]));
                let count = self.chunks.iter().map(|chunk| chunk.moments[*norm].count()).sum();
                about.slopes(&sums, count, &mut self.shared.norms[*norm], &mut gradient);
            }
        }
        // In the chunks' order, whichever was ready first.
        if let Some((total, others)) = self.chunks.split_first_mut() {
            for other in others {
                total.weight_gradient.iter_mut().zip(&*other.weight_gradient).for_each(|(sum, part)| *sum += part);
            }
            compiled.unpack_gradient(&total.weight_gradient, &mut gradient);
        }
        Ok(gradient)
    }
}

impl Chunk {
    fn new(compiled: &Compiled, first: usize, size: usize) -> Self {
        let of = |planes: &[crate::plane::Plane]| planes.iter().map(|plane| zeros(size * plane.image())).collect();
        let mask = |slot: &usize| zeros(size * compiled.values[*slot].without_border().image());
        Self {
            first,
            size,
            values: of(&compiled.values),
            gradients: of(&compiled.gradients),
            masks: compiled.masks.iter().map(mask).collect(),
            weight_gradient: zeros(if compiled.training { compiled.gradient_len } else { 0 }),
            moments: compiled.norms.iter().map(|norm| Moments::new(norm.channels)).collect(),
            slopes: compiled.norms.iter().map(|norm| SlopeSums::new(norm.channels)).collect(),
        }
    }

    /// How many of its images are among the first `count` of the batch.
    fn within(&self, count: usize) -> usize {
        count.saturating_sub(self.first).min(self.size)
    }
}

/// Runs the chunks that have images, on as many threads as there are.
fn each_chunk(chunks: &mut [Chunk], count: usize, work: impl Fn(&mut Chunk, usize) + Sync) {
    let run = |chunk: &mut Chunk| match chunk.within(count) {
        0 => {}
        size => work(chunk, size),
    };
    if rayon::current_num_threads() == 1 {
        chunks.iter_mut().for_each(run);
    } else {
        chunks.par_iter_mut().with_max_len(1).for_each(run);
    }
}

fn groups(size: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..size).step_by(each.max(1)).map(move |from| from..(from + each.max(1)).min(size))
}

fn check(what: &'static str, given: usize, expected: usize) -> Result<(), KernelError> {
    if given == expected { Ok(()) } else { Err(KernelError::Size { what, given, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::PLAIN;
    use kindling_graph::{GraphBuilder, InputSpec, Op};
    use std::sync::atomic::Ordering;

    /// Each kernel once: dense, depthwise, normalisation, every activation, both pools.
    fn network() -> Graph {
        let mut net = GraphBuilder::new(InputSpec { height: 9, width: 11, ..InputSpec::rgb(9) });
        let x = net.conv("a", net.input(), 20, 3, 2);
        let x = net.batch_norm("a.bn", x);
        let x = net.hard_swish("a.act", x);
        let y = net.depthwise("b", x, 5, 1);
        let y = net.batch_norm("b.bn", y);
        let y = net.relu6("b.act", y);
        let x = net.add("sum", x, y);
        let x = net.push("max", Op::MaxPool { kernel: [2, 2], strides: [1, 1], pads: [0, 1, 1, 0] }, &[x]);
        let x = net.conv("c", x, 12, 1, 1);
        let x = net.sigmoid("c.act", x);
        let x = net.average_pool("mean", x, 2, 2);
        let x = net.flatten("flat", x);
        let x = net.gemm("hidden", x, 9);
        let x = net.relu("hidden.act", x);
        let x = net.gemm("logits", x, 3);
        net.finish(x).unwrap()
    }

    #[test]
    fn plain_rust_agrees_with_the_processors_vectors() {
        let graph = network();
        let number = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
        let images: Vec<f32> = (0..6 * 3 * 9 * 11).map(number).collect();
        let trained = graph.params().unwrap().into_iter().filter(|spec| spec.trainable);
        let count = trained.map(|spec| spec.numbers() as usize).sum::<usize>();
        let weights: Vec<f32> = (0..count).map(|i| number(i * 3 + 1) * 0.4).collect();
        let by: Vec<f32> = (0..18).map(|i| number(i * 11)).collect();
        let run = |plain: bool| {
            PLAIN.store(plain, Ordering::Relaxed);
            let mut program = Program::training(&graph, 6).unwrap();
            let answer = program.forward(&images, &weights, &[], &[]).unwrap();
            let gradient = program.backward(&by).unwrap();
            PLAIN.store(false, Ordering::Relaxed);
            [answer.output, answer.statistics, gradient].concat()
        };
        let (plain, vectors) = (run(true), run(false));
        let largest = plain.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        assert!(plain.iter().any(|v| v.abs() > 0.1));
        for (a, b) in plain.iter().zip(&vectors) {
            assert!((a - b).abs() <= 1e-5 * largest, "{a} {b}");
        }
    }
}
