//! What can be wrong with a graph, its weights or what is fed to it.

/// Says what is wrong, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The text is not a graph.
    #[error("graph.json cannot be read: {0}")]
    Json(String),
    /// The text is a graph of a version this program does not know.
    #[error("graph.json is of version {found}, this program reads version {known}; use the program that wrote it", found = .0, known = crate::VERSION)]
    Version(u64),
    /// The input's description is wrong.
    #[error("graph input: {0}")]
    Input(String),
    /// The graph as a whole is wrong.
    #[error("graph: {0}")]
    Graph(String),
    /// One node is wrong.
    #[error("node {index} `{name}`: {what}")]
    Node {
        /// Its place in the graph's list.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The weights do not belong to the graph.
    #[error("weight `{name}`: {what}")]
    Weight {
        /// The parameter's name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor's shape and data do not agree, or it is not what the graph takes.
    #[error("tensor: {0}")]
    Tensor(String),
}

impl GraphError {
    pub(crate) fn weight(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Weight { name: name.into(), what: what.into() }
    }
}
