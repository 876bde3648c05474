//! Families of networks: each turns a genome into a graph. To add one, write a file with a [`Family`]
//! and its line in [`FAMILIES`]; the tests below then hold it to the same rules.

mod centres;
mod layers;
mod places;
mod plain;
mod pretrained;
mod residual;
mod separable;
#[cfg(test)]
mod tests;

use crate::{ModelError, backbones::Backbone};
use kindling_graph::{Graph, GraphBuilder, GraphError, InputSpec, Source};
use kindling_spec::{Genome, Param, TaskKind, Value};
use std::collections::BTreeMap;

/// A parametrised set of networks.
///
/// # Contract
/// - Every genome within [`Family::params`] builds, for 2 classes and more (1 where objects are found), at every
///   resolution.
/// - The same genome and classes give the same graph, whose output is what its kind of task wants: `[classes]` logits, or
///   the map that [`kindling_graph::find_objects`] reads.
/// - One parameter is `resolution`, a choice among the sizes that data sets are cached in.
/// - Parameters that are not the family's (those of training) are ignored.
pub trait Family: Sync {
    /// Its name in a genome.
    fn name(&self) -> &'static str;
    /// Whether its networks are for tasks of this kind.
    fn is_for(&self, kind: TaskKind) -> bool {
        kind == TaskKind::ImageClassification
    }
    /// What may be chosen.
    fn params(&self) -> Vec<Param>;
    /// Good small networks to begin a search with, the fastest to train first; parameters of training may be among
    /// theirs and take the place of the usual ones.
    fn default_genomes(&self) -> Vec<BTreeMap<String, Value>>;
    /// The backbone whose weights its networks begin from, in a study that has them; `None` for a family that
    /// begins from nothing.
    fn backbone(&self) -> Option<&'static dyn Backbone> {
        None
    }
    /// The network of a genome.
    ///
    /// # Errors
    /// [`ModelError`] if a parameter is missing or outside its domain.
    fn build(&self, genome: &Genome, classes: usize) -> Result<Graph, ModelError>;
}

/// Every family.
pub static FAMILIES: &[&dyn Family] = &[
    &plain::Plain,
    &residual::Residual,
    &separable::Separable,
    &pretrained::EFFICIENTNET,
    &centres::SEPARABLE,
    &centres::RESIDUAL,
    &centres::EFFICIENTNET,
    &places::SEPARABLE,
    &places::EFFICIENTNET,
];

/// The network of a genome, of whichever family it names.
///
/// # Errors
/// [`ModelError`] if there is no such family, a parameter is missing or outside its domain, or there
/// are fewer than two classes.
pub fn build_graph(genome: &Genome, classes: usize) -> Result<Graph, ModelError> {
    let Some(family) = FAMILIES.iter().find(|family| family.name() == genome.family) else {
        let known: Vec<_> = FAMILIES.iter().map(|family| format!("`{}`", family.name())).collect();
        let what = format!("there is no such family; use one of {}", known.join(", "));
        return Err(genome_error(&genome.family, &what));
    };
    family.build(genome, classes)
}

/// The family's parameters of good small networks, the fastest to train first; none for an unknown family.
pub fn default_genomes(family: &str) -> Vec<BTreeMap<String, Value>> {
    FAMILIES.iter().find(|known| known.name() == family).map(|known| known.default_genomes()).unwrap_or_default()
}

/// No graph follows from the genome.
fn genome_error(family: &str, what: &str) -> ModelError {
    let family: String = family.chars().take(60).collect();
    ModelError::Graph(GraphError::Graph(format!("genome of the family `{family}`: {what}")))
}

/// The parameters that every family has.
fn common_params() -> Vec<Param> {
    vec![
        Param::choice("resolution", &[24, 32, 48, 64, 96]),
        Param::choice("stem_stride", &[2, 4]),
        Param::words("activation", &["relu", "relu6", "hard_swish"]),
        Param::float("dropout", 0.0, 0.3),
        Param::words("head", &["mean", "hidden"]),
    ]
}

/// Values for [`common_params`], joined with a family's own.
fn defaults<const N: usize>(resolution: i64, own: [(&'static str, Value); N]) -> BTreeMap<String, Value> {
    let common = [
        ("resolution", Value::Int(resolution)),
        ("stem_stride", Value::Int(2)),
        ("activation", Value::Word("relu".into())),
        ("dropout", Value::Float(0.0)),
        ("head", Value::Word("mean".into())),
    ];
    defaults_of(common.into_iter().chain(own))
}

/// Parameters by name.
fn defaults_of(values: impl IntoIterator<Item = (&'static str, Value)>) -> BTreeMap<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What makes a default genome one for pictures with small things in them: one stage more, since it is for the highest
/// resolution, and training that varies the pictures more, since it will be long.
///
/// Trained on 1,984 photographs of fire, smoke and neither, the plain one has 92.6% of the test split right after 27
/// epochs, which is 98 s of one core.
fn fine() -> [(String, Value); 4] {
    [
        ("stages", Value::Int(4)),
        ("crop", Value::Float(0.3)),
        ("colour", Value::Float(0.3)),
        ("label_smoothing", Value::Float(0.1)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// A genome read against its family's domains: what it gives is within them.
struct Reader<'g> {
    family: &'static str,
    genome: &'g Genome,
}

impl<'g> Reader<'g> {
    fn new(family: &dyn Family, genome: &'g Genome, classes: usize) -> Result<Self, ModelError> {
        let reader = Self { family: family.name(), genome };
        if genome.family != reader.family {
            return Err(reader.error(format!("the genome is of the family `{}`", genome.family)));
        }
        let least = if family.is_for(TaskKind::ObjectDetection) { 1 } else { 2 };
        if classes < least {
            return Err(reader.error(format!("{classes} class(es) are too few; at least {least} are needed")));
        }
        for param in family.params() {
            let name = &param.name;
            let Some(value) = genome.params.get(name) else {
                return Err(reader.error(format!("`{name}` is missing; it may be {:?}", param.domain)));
            };
            if !param.domain.contains(value) {
                return Err(reader.error(format!("`{name}` is {value:?}; it may be {:?}", param.domain)));
            }
        }
        Ok(reader)
    }

    fn error(&self, what: String) -> ModelError {
        genome_error(self.family, &what)
    }

    fn count(&self, name: &str) -> Result<usize, ModelError> {
        let value = self.genome.int(name).and_then(|v| usize::try_from(v).ok());
        value.ok_or_else(|| self.error(format!("`{name}` is not a count")))
    }

    fn real(&self, name: &str) -> Result<f64, ModelError> {
        self.genome.float(name).ok_or_else(|| self.error(format!("`{name}` is not a number")))
    }

    fn word(&self, name: &str) -> Result<&'g str, ModelError> {
        self.genome.word(name).ok_or_else(|| self.error(format!("`{name}` is not a word")))
    }

    /// Channels of each stage: `width * growth^stage`, rounded to a multiple of 4 for the sake of SIMD.
    fn stage_widths(&self) -> Result<Vec<usize>, ModelError> {
        let (width, growth) = (self.count("width")? as f64, self.real("growth")?);
        let stages = self.count("stages")?;
        Ok((0..stages).map(|stage| round4(width * growth.powi(stage as i32))).collect())
    }

    /// A builder whose network begins with the stem: one strided convolution to `width` channels.
    fn stem(&self, width: usize) -> Result<(layers::Layers, Source), ModelError> {
        self.stem_of(width, self.count("stem_stride")?)
    }

    fn stem_of(&self, width: usize, stride: usize) -> Result<(layers::Layers, Source), ModelError> {
        let net = GraphBuilder::new(InputSpec::rgb(self.count("resolution")?));
        let mut layers = layers::Layers { net, activation: self.word("activation")?.to_owned() };
        // The kernel overlaps its neighbours by one pixel: 3x3 for a stride of 2, 5x5 for 4.
        let x = layers.conv("stem", Source::Input, width, stride + 1, stride);
        Ok((layers, x))
    }

    /// Mean over the plane, an optional hidden layer of as many features, dropout, logits.
    fn head(&self, mut layers: layers::Layers, x: Source, classes: usize) -> Result<Graph, ModelError> {
        let x = layers.net.global_average_pool("head.pool", x);
        let mut x = layers.net.flatten("head.flatten", x);
        if self.word("head")? == "hidden" {
            let features = layers.net.channels(x);
            x = layers.net.gemm("head.hidden", x, features);
            x = layers.net.batch_norm("head.hidden.bn", x);
            x = layers.activate("head.hidden.act", x);
        }
        let ratio = self.real("dropout")? as f32;
        if ratio > 0.0 {
            x = layers.net.dropout("head.dropout", x, ratio);
        }
        let logits = layers.net.gemm("head.logits", x, classes);
        Ok(layers.net.finish(logits)?)
    }
}

/// The nearest multiple of 4, at least 4.
fn round4(channels: f64) -> usize {
    ((channels / 4.0).round() as usize).max(1) * 4
}
