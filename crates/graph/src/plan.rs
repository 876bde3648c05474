//! Where each activation lies in one arena, so that memory is used again once a value is no longer
//! needed.

use crate::{Graph, GraphError, NodeId, Source};

/// The arena's layout. A node that may work in place ([`Op::in_place`](crate::Op::in_place)) and is
/// the last to read its input shares its input's buffer; so a convolution and the activation after
/// it take one buffer, as in fused kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Each buffer, in the order in which they are first written.
    pub buffers: Vec<Buffer>,
    /// Which buffer each node writes.
    pub node_buffers: Vec<usize>,
    /// Byte offset of each node's output.
    pub offsets: Vec<u64>,
    /// Byte offset of the input.
    pub input_offset: u64,
    /// Bytes in all.
    pub arena_bytes: u64,
}

/// A stretch of the arena and the time it is held. Time 0 is when the input is written, time `i + 1`
/// is when node `i` runs; both ends are included, since a node reads while it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// First byte, a multiple of 4.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
    /// When it is first written.
    pub first: usize,
    /// When it is last read.
    pub last: usize,
}

impl Buffer {
    fn alive_with(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Lays out the activations of the graph as it is; fold it first to plan what is deployed.
///
/// Greedy by size: the largest buffer first, each at the lowest offset where it meets none that is
/// alive at the same time (Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural Net
/// Inference", section 5.2).
///
/// # Errors
/// As [`Graph::validate`].
pub fn memory_plan(graph: &Graph) -> Result<MemoryPlan, GraphError> {
    graph.validate()?;
    let shapes = graph.shapes()?;
    let bytes = |shape: &[usize]| shape.iter().map(|d| *d as u64).product::<u64>() * 4;
    let (input_last, last) = last_reads(graph);
    let mut buffers = vec![Buffer { offset: 0, bytes: bytes(&graph.input.shape()), first: 0, last: input_last }];
    let mut node_buffers = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        let time = id + 1;
        let from = node.inputs.first().map(|source| match source {
            Source::Input => 0,
            Source::Node(before) => node_buffers[*before],
        });
        match from {
            Some(from) if node.op.in_place() && buffers[from].last == time => {
                buffers[from].last = last[id];
                node_buffers.push(from);
            }
            _ => {
                node_buffers.push(buffers.len());
                buffers.push(Buffer { offset: 0, bytes: bytes(&shapes[id]), first: time, last: last[id] });
            }
        }
    }
    let arena_bytes = place(&mut buffers);
    let offsets = node_buffers.iter().map(|buffer| buffers[*buffer].offset).collect();
    Ok(MemoryPlan { input_offset: buffers[0].offset, buffers, node_buffers, offsets, arena_bytes })
}

/// When the input and each node's output are read last. The graph's output is held to the end.
fn last_reads(graph: &Graph) -> (usize, Vec<usize>) {
    let mut input = 0;
    let mut last: Vec<usize> = (1..=graph.nodes.len()).collect();
    for (id, node) in graph.nodes.iter().enumerate() {
        for source in &node.inputs {
            match source {
                Source::Input => input = id + 1,
                Source::Node(before) => last[*before] = id + 1,
            }
        }
    }
    // Past the last node, so that none may ever write over the result in place.
    last[graph.output] = graph.nodes.len() + 1;
    (input, last)
}

/// Gives every buffer its offset; returns the arena's length.
fn place(buffers: &mut [Buffer]) -> u64 {
    let mut order: Vec<NodeId> = (0..buffers.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(buffers[*i].bytes), buffers[*i].first));
    // Kept sorted by offset, so that one walk finds the first gap.
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut arena = 0;
    for i in order {
        let mut offset = 0;
        for other in placed.iter().map(|j| &buffers[*j]).filter(|other| other.alive_with(&buffers[i])) {
            if other.offset >= offset + buffers[i].bytes {
                break;
            }
            offset = offset.max(other.offset + other.bytes);
        }
        buffers[i].offset = offset;
        arena = arena.max(offset + buffers[i].bytes);
        let at = placed.partition_point(|j| buffers[*j].offset <= offset);
        placed.insert(at, i);
    }
    arena
}
