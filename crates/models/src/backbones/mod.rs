//! Pretrained feature extractors: networks whose weights others trained on many pictures, cut where a task
//! wants them. To add one, write a file with a [`Backbone`] and its line in [`BACKBONES`], and a recipe in
//! `backbones/`; the tests then hold it to the same rules.

mod efficientnet_lite;
mod pytorch;
#[cfg(test)]
mod tests;

use crate::{ModelError, initial_weights};
use kindling_graph::{Graph, GraphBuilder, GraphError, Source, Weights};

pub use pytorch::read_pytorch;

/// Up to where a backbone is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Up to and with the block of this number, from 0.
    After(usize),
    /// All blocks and whatever comes between the last and the classifier.
    Whole,
}

/// What follows the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The mean of each channel: `[C]`.
    Features,
    /// A linear classifier on the mean of each channel: `[classes]` logits.
    Classes(usize),
}

/// A network that has been trained already.
///
/// # Contract
/// - [`Backbone::build`] builds at every cut and every resolution that is a multiple of the cut's stride, up
///   to what a graph may hold.
/// - A parameter has one name and one shape in every graph that it is in, the classifier's weights excepted,
///   so that the weights of a cut are some of the whole's.
/// - The input's mean and deviation are those of its training.
pub trait Backbone: Sync {
    /// Its name in recipes, tasks and genomes.
    fn name(&self) -> &'static str;
    /// How many blocks it can be cut after.
    fn blocks(&self) -> usize;
    /// Pixels of the picture for one of the map, each way, at a cut; `None` if there is no such block.
    fn stride(&self, cut: Cut) -> Option<usize>;
    /// The resolution and the classes it was trained with.
    fn trained(&self) -> (usize, usize);
    /// The network up to the cut, to be gone on with, and its map.
    ///
    /// # Errors
    /// [`ModelError`] if there is no such block or the resolution is no multiple of the cut's stride.
    fn features(&self, cut: Cut, resolution: usize) -> Result<(GraphBuilder, Source), ModelError>;
    /// The network with its end, the classifier being `head.logits`.
    ///
    /// # Errors
    /// As [`Backbone::features`], and if there are fewer than two classes.
    fn build(&self, cut: Cut, resolution: usize, end: End) -> Result<Graph, ModelError> {
        if let End::Classes(classes @ 0..2) = end {
            let what = format!("{classes} class(es) cannot be told apart; at least 2 are needed");
            return Err(wrong(self.name(), &what));
        }
        let (mut net, x) = self.features(cut, resolution)?;
        let x = net.global_average_pool("head.pool", x);
        let mut x = net.flatten("head.flatten", x);
        if let End::Classes(classes) = end {
            x = net.gemm("head.logits", x, classes);
        }
        Ok(net.finish(x)?)
    }
    /// What the publisher's checkpoint calls a parameter; `None` for a name that is not of this network.
    fn checkpoint_name(&self, parameter: &str) -> Option<String>;
}

pub use efficientnet_lite::NAME as EFFICIENTNET_LITE0;

/// Every backbone.
pub static BACKBONES: &[&dyn Backbone] = &[&efficientnet_lite::EfficientNetLite0];

/// The classifier's parameters, which no cut but the whole shares.
const HEAD: &str = "head.";

/// The backbone of this name.
///
/// # Errors
/// [`ModelError`] naming those that there are.
pub fn backbone(name: &str) -> Result<&'static dyn Backbone, ModelError> {
    BACKBONES.iter().copied().find(|backbone| backbone.name() == name).ok_or_else(|| {
        let known: Vec<_> = BACKBONES.iter().map(|backbone| format!("`{}`", backbone.name())).collect();
        let name: String = name.chars().take(60).collect();
        wrong(&name, &format!("there is no such backbone; use one of {}", known.join(", ")))
    })
}

/// The network as it was trained, classifier and all.
///
/// # Errors
/// [`ModelError`], never for those of [`BACKBONES`].
pub fn whole(backbone: &dyn Backbone) -> Result<Graph, ModelError> {
    let (resolution, classes) = backbone.trained();
    backbone.build(Cut::Whole, resolution, End::Classes(classes))
}

/// The weights of [`whole`] from the publisher's checkpoint. Every tensor is accounted for.
///
/// # Errors
/// [`ModelError`] naming, as the checkpoint does, the first tensor that is missing, over, or of another shape.
pub fn weights_of_checkpoint(backbone: &dyn Backbone, mut checkpoint: Weights) -> Result<Weights, ModelError> {
    let mut weights = Weights::new();
    for spec in whole(backbone)?.params()? {
        let name = backbone
            .checkpoint_name(&spec.name)
            .ok_or_else(|| wrong(backbone.name(), &format!("`{}` has no name in its checkpoints", spec.name)))?;
        let Some(tensor) = checkpoint.remove(&name) else {
            return Err(ModelError::Checkpoint(format!("`{name}` is missing; it is not one of {}", backbone.name())));
        };
        if tensor.shape != spec.shape {
            let what = format!("`{name}` has the shape {:?}; {} needs {:?}", tensor.shape, backbone.name(), spec.shape);
            return Err(ModelError::Checkpoint(what));
        }
        weights.insert(spec.name, tensor);
    }
    match checkpoint.keys().next() {
        Some(name) => Err(ModelError::Checkpoint(format!("`{name}` is not of {}", backbone.name()))),
        None => Ok(weights),
    }
}

/// The weights that a graph of [`Backbone::build`] begins training with: the pretrained ones, running
/// statistics included, and for a classifier of other classes new ones drawn from the seed.
///
/// # Errors
/// [`ModelError`] naming a parameter that the pretrained weights lack or hold in another shape.
pub fn pretrained_weights(graph: &Graph, pretrained: &Weights, seed: u64) -> Result<Weights, ModelError> {
    let mut weights = initial_weights(graph, seed)?;
    for (name, tensor) in &mut weights {
        match pretrained.get(name) {
            Some(found) if found.shape == tensor.shape => tensor.clone_from(found),
            _ if name.starts_with(HEAD) => {}
            found => {
                let what = match found {
                    None => "is missing among the pretrained weights".to_owned(),
                    Some(found) => format!("has the shape {:?}; the graph needs {:?}", found.shape, tensor.shape),
                };
                return Err(GraphError::Weight { name: name.clone(), what }.into());
            }
        }
    }
    Ok(weights)
}

fn wrong(name: &str, what: &str) -> ModelError {
    ModelError::Graph(GraphError::Graph(format!("backbone `{name}`: {what}")))
}
