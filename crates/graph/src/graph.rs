//! The graph itself, and its text.

use crate::{GraphError, Op};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};

/// The version of graph.json that this program writes and reads.
pub const VERSION: u64 = 1;

/// A node's place in [`Graph::nodes`].
pub type NodeId = usize;

/// A network: nodes in the order they run, each reading the input or earlier nodes, the last word
/// being `output`. In text it is one JSON object with `version` 1; reading one validates it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GraphFile", into = "GraphFile")]
pub struct Graph {
    /// What goes in.
    pub input: InputSpec,
    /// The operators, each after all that it reads.
    pub nodes: Vec<Node>,
    /// The node whose values come out.
    pub output: NodeId,
    /// How they are to be read.
    pub answer: Answer,
}

/// How a network's output is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One logit a class, or features for whoever asks for them.
    #[default]
    Classes,
    /// A map. `[classes + 4, H, W]` is one of objects by their centres: see [`find_objects`](crate::find_objects). `[1, H, W]` is of
    /// how strange each place is: what is trained where anomalies are to be found, before the whole image is judged by it.
    #[serde(rename = "boxes")]
    Map,
}

impl Answer {
    fn is_classes(&self) -> bool {
        *self == Self::Classes
    }
}

/// An image: RGB values are divided by 255, then `(x - mean) / std` per channel, then go in as
/// `[channels, height, width]`. Preprocessing is part of the graph, so that no user guesses it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Channels, 3 for RGB.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Subtracted, one a channel.
    pub mean: Vec<f32>,
    /// Divided by, one a channel.
    pub std: Vec<f32>,
}

/// One operator at its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique in the graph, of `a-z`, `0-9`, `_` and `.`; the weights are named after it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<Source>,
}

/// Where a value comes from: `"input"` or a node's number in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The graph's input.
    Input,
    /// A node's output.
    Node(NodeId),
}

impl InputSpec {
    /// Square RGB images with the mean and deviation of ImageNet's, as most pretrained networks use.
    pub fn rgb(resolution: usize) -> Self {
        let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
        Self { channels: 3, height: resolution, width: resolution, mean, std }
    }

    /// `[channels, height, width]`.
    pub fn shape(&self) -> Vec<usize> {
        vec![self.channels, self.height, self.width]
    }
}

impl Graph {
    /// Reads and validates graph.json.
    ///
    /// # Errors
    /// [`GraphError`] if the text is not JSON, has an unknown member or version, or the graph is not valid.
    pub fn from_json(text: &str) -> Result<Self, GraphError> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        // The version first: a later version may well have members unknown to this one.
        let head: Head = serde_json::from_str(text).map_err(|e| GraphError::Json(e.to_string()))?;
        if head.version != VERSION {
            return Err(GraphError::Version(head.version));
        }
        let file: GraphFile = serde_json::from_str(text).map_err(|e| GraphError::Json(e.to_string()))?;
        file.try_into()
    }

    /// Writes graph.json in its one canonical form: no spaces, members in a fixed order.
    ///
    /// # Errors
    /// [`GraphError`] if the graph is not valid.
    pub fn to_json(&self) -> Result<String, GraphError> {
        self.validate()?;
        serde_json::to_string(self).map_err(|e| GraphError::Json(e.to_string()))
    }

    /// SHA-256 of the canonical JSON, in hexadecimal: the same for two graphs only if they are equal.
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        // Writing plain data to a hasher cannot fail; a failure would only shorten what is hashed.
        if let Ok(text) = serde_json::to_vec(self) {
            digest.update(&text);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How often each node's value is read, the graph's own output counted once.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for source in self.nodes.iter().flat_map(|node| &node.inputs) {
            if let Source::Node(id) = *source
                && let Some(count) = uses.get_mut(id)
            {
                *count += 1;
            }
        }
        if let Some(count) = uses.get_mut(self.output) {
            *count += 1;
        }
        uses
    }

    pub(crate) fn node_error(&self, index: NodeId, what: impl Into<String>) -> GraphError {
        let name = self.nodes.get(index).map(|node| node.name.chars().take(100).collect()).unwrap_or_default();
        GraphError::Node { index, name, what: what.into() }
    }
}

/// The text's layout.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphFile {
    version: u64,
    input: InputSpec,
    nodes: Vec<Node>,
    output: NodeId,
    #[serde(default, skip_serializing_if = "Answer::is_classes")]
    answer: Answer,
}

impl From<Graph> for GraphFile {
    fn from(graph: Graph) -> Self {
        Self { version: VERSION, input: graph.input, nodes: graph.nodes, output: graph.output, answer: graph.answer }
    }
}

impl TryFrom<GraphFile> for Graph {
    type Error = GraphError;

    fn try_from(file: GraphFile) -> Result<Self, GraphError> {
        if file.version != VERSION {
            return Err(GraphError::Version(file.version));
        }
        let graph = Self { input: file.input, nodes: file.nodes, output: file.output, answer: file.answer };
        graph.validate()?;
        Ok(graph)
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Input => serializer.serialize_str("input"),
            Self::Node(id) => serializer.serialize_u64(*id as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        if value == "input" {
            return Ok(Self::Input);
        }
        let id = value.as_u64().and_then(|id| usize::try_from(id).ok());
        id.map(Self::Node).ok_or_else(|| D::Error::custom("a source is \"input\" or the number of an earlier node"))
    }
}
