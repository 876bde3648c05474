//! `model.onnx`: preprocessing, network and softmax, or the search for objects in its map, in one ONNX file.

use super::{Format, Picture, Run, Source, Written, onnx_boxes, onnx_preprocess};
use crate::onnx_proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
    data_type,
};
use crate::{Check, ExportError, Judge, OnnxModel, TOLERANCE, bundle};
use kindling_graph::{Answer, Graph, Node, Op, Source as From, Weights};
use kindling_spec::ExportFormat;
use prost::Message;
use std::{collections::BTreeSet, path::Path};

/// The file's only input: uint8 `[N, H, W, 3]`, red, green, blue, any size of at least one pixel.
pub const INPUT: &str = "image";
/// The file's only output: float `[N, classes]`, each row summing to 1.
pub const OUTPUT: &str = "probabilities";
/// The operator set written: the first with everything needed that every runtime of the last years
/// reads (onnxruntime since 1.12, 2022; HardSwish needs 14).
pub const OPSET: i64 = 17;
/// The IR version that belongs to it.
const IR_VERSION: i64 = 8;
/// In the metadata: an answer whose greatest probability is below it is likely for a picture of none of the labels.
pub(crate) const UNKNOWN_BELOW: &str = "unknown_below";
/// In the metadata: `[label, probability]`, from which on to say that the label is there.
pub(crate) const DECISION: &str = "decision";
const FILE: &str = "model.onnx";

/// See the module.
pub(super) struct Onnx;

impl Format for Onnx {
    fn format(&self) -> ExportFormat {
        ExportFormat::Onnx
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        Ok(vec![Written {
            name: FILE,
            bytes: write(source)?.encode_to_vec(),
            media_type: "application/octet-stream",
            about: match source.answer() {
                Answer::Classes => {
                    "ONNX: an RGB image of any size in (uint8 [N, H, W, 3]), class probabilities out; preprocessing inside"
                }
                Answer::Map => {
                    "ONNX: an RGB image of any size in (uint8 [N, H, W, 3]), boxes, scores and classes of objects out; all \
                     preprocessing and decoding inside"
                }
            },
        }])
    }

    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
        let model = OnnxModel::load(&bundle::read(&dir.join(FILE))?)?;
        if model.labels() != source.labels {
            return Err(ExportError::ReadBack { file: FILE.into(), what: "the labels differ".into() });
        }
        let mut greatest = 0.0f32;
        for judge in judges {
            let far = source.far_from(judge, &model.answer_for(&judge.rgb, judge.width, judge.height)?)?;
            greatest = bundle::agree(FILE, judge, far, TOLERANCE, greatest)?;
        }
        Ok(vec![Check {
            file: FILE.into(),
            how: "the file was read back from disk and run with tract on test images at their own size".into(),
            images: judges.len() as u64,
            max_difference: greatest,
            tolerance: TOLERANCE,
        }])
    }

    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        Ok(vec![run(dir, FILE, false, pictures)?])
    }
}

/// Runs an ONNX file of ours.
pub(super) fn run(dir: &Path, file: &'static str, int8: bool, pictures: &[Picture<'_>]) -> Result<Run, ExportError> {
    let model = OnnxModel::load(&bundle::read(&dir.join(file))?)?;
    let answer = |picture: &Picture<'_>| model.answer_for(picture.rgb, picture.width, picture.height);
    Ok(Run { file, by: "tract", int8, answers: pictures.iter().map(answer).collect::<Result<_, _>>()? })
}

/// The whole model.
fn write(source: &Source<'_>) -> Result<ModelProto, ExportError> {
    let (graph, weights) = &source.folded;
    let spec = &graph.input;
    if spec.channels != 3 || spec.mean.len() != 3 || spec.std.len() != 3 {
        let what = format!("its input has {} channels; images here are RGB", spec.channels);
        return Err(ExportError::Unsupported { format: "onnx", what });
    }
    let mut writer = Writer::default();
    let input = onnx_preprocess::preprocess(&mut writer, spec, false);
    let end = network(&mut writer, graph, weights, &input)?;
    match source.answer() {
        Answer::Classes => writer.finish_with(&end, !ends_in_softmax(graph)),
        Answer::Map => onnx_boxes::find(&mut writer, &end, onnx_boxes::map_shape(source)?),
    }
    describe(writer, source, "")
}

/// The model whose nodes these are, with its input, its output and what it says of itself.
pub(super) fn describe(writer: Writer, source: &Source<'_>, more: &str) -> Result<ModelProto, ExportError> {
    let sizes = [Dimension::Param("N".into()), Dimension::Param("H".into()), Dimension::Param("W".into())];
    let dims = sizes.into_iter().chain([Dimension::Value(3)]).collect();
    let mut input = value(INPUT, data_type::UINT8, dims);
    input.doc_string =
        "Pixels of N images, rows from the top, red, green, blue, 0 to 255; any height and width.".into();
    let (verb, outputs) = match source.answer() {
        Answer::Classes => ("Tells apart", vec![probabilities(source.labels.len())]),
        Answer::Map => ("Finds", onnx_boxes::outputs(onnx_boxes::map_shape(source)?)),
    };
    let labels = serde_json::to_string(source.labels).map_err(|e| ExportError::Input(e.to_string()))?;
    let metadata = [
        ("labels", labels),
        ("task", source.task.to_owned()),
        ("graph_sha256", source.graph.hash()),
        ("kindling_version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let unknown = source.unknown_below.map(|below| (UNKNOWN_BELOW, below.to_string()));
    let decision = source.decision.map(|decision| (DECISION, serde_json::json!(decision).to_string()));
    let at_least =
        (source.answer() == Answer::Map).then(|| (onnx_boxes::AT_LEAST_KEY, source.score_at_least().to_string()));
    let at_most = source.at_most.map(|most| (onnx_boxes::AT_MOST_KEY, most.to_string()));
    let mut model = writer.model(input, outputs);
    model.doc_string =
        format!("{verb}: {}. Made by Kindling for the task \"{}\".{more}", source.labels.join(", "), source.task);
    model.metadata_props = metadata
        .into_iter()
        .chain(unknown)
        .chain(decision)
        .chain(at_least)
        .chain(at_most)
        .map(|(key, value)| StringStringEntryProto { key: key.into(), value })
        .collect();
    Ok(model)
}

fn probabilities(classes: usize) -> ValueInfoProto {
    let mut output =
        value(OUTPUT, data_type::FLOAT, vec![Dimension::Param("N".into()), Dimension::Value(classes as i64)]);
    output.doc_string = "One row an image: the probability of each label of the metadata, in order.".into();
    output
}

/// The network alone, one image, as its latency is measured: float `[1, C, H, W]` in, the graph's
/// output as it is out.
pub(crate) fn network_only(graph: &Graph, weights: &Weights) -> Result<Vec<u8>, ExportError> {
    let mut writer = Writer::default();
    let end = network(&mut writer, graph, weights, INPUT)?;
    writer.node_to("network/output", "Identity", &[&end], OUTPUT);
    let dims = |shape: Vec<usize>| [1].into_iter().chain(shape).map(|d| Dimension::Value(d as i64)).collect::<Vec<_>>();
    let input = value(INPUT, data_type::FLOAT, dims(graph.input.shape()));
    let output = value(OUTPUT, data_type::FLOAT, dims(graph.output_shape()?));
    Ok(writer.model(input, vec![output]).encode_to_vec())
}

fn ends_in_softmax(graph: &Graph) -> bool {
    graph.nodes.get(graph.output).is_some_and(|node| matches!(node.op, Op::Softmax))
}

/// Adds the graph's nodes, each under `network/` so that none can bear the name of another part;
/// gives the name of the output.
fn network(writer: &mut Writer, graph: &Graph, weights: &Weights, input: &str) -> Result<String, ExportError> {
    for spec in graph.params()? {
        let tensor =
            weights.get(&spec.name).ok_or_else(|| ExportError::Input(format!("`{}` is missing", spec.name)))?;
        writer.floats(&spec.name, &tensor.shape, &tensor.data);
    }
    let mut names: Vec<String> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let sources = node.inputs.iter().map(|source| match source {
            From::Input => Some(input.to_owned()),
            From::Node(id) => names.get(*id).cloned(),
        });
        let sources: Option<Vec<String>> = sources.collect();
        let sources = sources.ok_or_else(|| ExportError::Input(format!("`{}` reads a later node", node.name)))?;
        names.push(operator(writer, node, &sources));
    }
    names.get(graph.output).cloned().ok_or_else(|| ExportError::Input("the graph has no output".into()))
}

/// Adds one node; gives the name of its value.
fn operator(writer: &mut Writer, node: &Node, sources: &[String]) -> String {
    let name = format!("network/{}", node.name);
    let mut inputs: Vec<String> = sources.to_vec();
    let mut with = |roles: &[&str]| inputs.extend(roles.iter().map(|role| format!("{}.{role}", node.name)));
    let mut attributes: Vec<AttributeProto> = Vec::new();
    match &node.op {
        Op::Conv { kernel, strides, pads, group, bias, .. } => {
            with(if *bias { &["weight", "bias"] } else { &["weight"] });
            attributes.push(ints("kernel_shape", kernel));
            attributes.push(ints("strides", strides));
            attributes.push(ints("pads", pads));
            attributes.push(int("group", *group as i64));
        }
        Op::BatchNormalization { epsilon } => {
            with(&["scale", "bias", "mean", "var"]);
            let kind = attribute_type::FLOAT;
            attributes.push(AttributeProto { name: "epsilon".into(), f: *epsilon, r#type: kind, ..Default::default() });
        }
        Op::Clip { min, max } => {
            inputs.push(writer.floats(&format!("{name}/min"), &[], &[*min]));
            inputs.push(writer.floats(&format!("{name}/max"), &[], &[*max]));
        }
        Op::MaxPool { kernel, strides, pads } | Op::AveragePool { kernel, strides, pads } => {
            attributes.push(ints("kernel_shape", kernel));
            attributes.push(ints("strides", strides));
            attributes.push(ints("pads", pads));
            if matches!(node.op, Op::AveragePool { .. }) {
                attributes.push(int("count_include_pad", 0));
            }
        }
        Op::Flatten => attributes.push(int("axis", 1)),
        Op::Gemm { bias, .. } => {
            with(if *bias { &["weight", "bias"] } else { &["weight"] });
            attributes.push(int("transB", 1));
        }
        // Folding has removed it; where the graph was not folded, it passes its input on.
        Op::Dropout { .. } => return writer.node(&name, "Identity", &as_strs(&inputs)),
        Op::Softmax => attributes.push(int("axis", -1)),
        Op::Relu | Op::HardSwish | Op::Sigmoid | Op::Add | Op::GlobalAveragePool => {}
    }
    writer.push(&name, node.op.op_type(), &as_strs(&inputs), &name, attributes);
    name
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: attribute_type::INT, ..Default::default() }
}

pub(super) fn ints(name: &str, list: &[usize]) -> AttributeProto {
    let ints = list.iter().map(|v| *v as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: attribute_type::INTS, ..Default::default() }
}

pub(super) fn value(name: &str, elem_type: i32, dims: Vec<Dimension>) -> ValueInfoProto {
    let dim = dims.into_iter().map(|value| DimensionProto { value: Some(value) }).collect();
    let tensor = TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { tensor_type: Some(tensor) }),
        doc_string: String::new(),
    }
}

/// A whole-number attribute's value.
pub(super) enum Ints<'a> {
    /// One number.
    One(i64),
    /// Several.
    List(&'a [i64]),
}

/// Collects nodes and constants in order.
#[derive(Default)]
pub(super) struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    names: BTreeSet<String>,
}

impl Writer {
    /// A node without attributes whose value bears its own name, which is given back.
    pub(super) fn node(&mut self, name: &str, op_type: &str, inputs: &[&str]) -> String {
        self.node_ints(name, op_type, inputs, &[])
    }

    /// A node with whole-number attributes.
    pub(super) fn node_ints(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        with: &[(&str, Ints<'_>)],
    ) -> String {
        let attributes = with.iter().map(|(name, value)| match value {
            Ints::One(i) => int(name, *i),
            Ints::List(list) => AttributeProto {
                name: (*name).into(),
                ints: list.to_vec(),
                r#type: attribute_type::INTS,
                ..Default::default()
            },
        });
        let attributes = attributes.collect();
        self.push(name, op_type, inputs, name, attributes);
        name.to_owned()
    }

    /// A node whose value bears another name.
    fn node_to(&mut self, name: &str, op_type: &str, inputs: &[&str], output: &str) {
        self.push(name, op_type, inputs, output, Vec::new());
    }

    /// Any node.
    pub(super) fn push(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        self.push_outputs(name, op_type, inputs, &[output], attribute);
    }

    /// A node of several values.
    pub(super) fn push_outputs(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        let input = inputs.iter().map(|s| (*s).to_owned()).collect();
        let output = outputs.iter().map(|s| (*s).to_owned()).collect();
        let (name, op_type, domain) = (name.to_owned(), op_type.to_owned(), String::new());
        self.nodes.push(NodeProto { input, output, name, op_type, attribute, domain });
    }

    /// A float constant; one of a name already there is the same one.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, shape, data_type::FLOAT, raw)
    }

    /// A constant of 64-bit whole numbers.
    pub(super) fn ints(&mut self, name: &str, shape: &[usize], data: &[i64]) -> String {
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, shape, data_type::INT64, raw)
    }

    /// A constant of 8-bit whole numbers.
    pub(super) fn bytes(&mut self, name: &str, shape: &[usize], data: &[i8]) -> String {
        self.constant(name, shape, data_type::INT8, data.iter().map(|v| v.cast_unsigned()).collect())
    }

    /// A constant of 32-bit whole numbers.
    pub(super) fn words(&mut self, name: &str, shape: &[usize], data: &[i32]) -> String {
        self.constant(name, shape, data_type::INT32, data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn constant(&mut self, name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        if self.names.insert(name.to_owned()) {
            let dims = shape.iter().map(|d| *d as i64).collect();
            self.initializers.push(TensorProto { dims, data_type, name: name.to_owned(), raw_data, data_location: 0 });
        }
        name.to_owned()
    }

    /// Ends the graph in [`OUTPUT`].
    pub(super) fn finish_with(&mut self, end: &str, softmax: bool) {
        if softmax {
            self.push("probabilities/softmax", "Softmax", &[end], OUTPUT, vec![int("axis", -1)]);
        } else {
            self.node_to("probabilities/output", "Identity", &[end], OUTPUT);
        }
    }

    fn model(self, input: ValueInfoProto, output: Vec<ValueInfoProto>) -> ModelProto {
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: "kindling".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            domain: String::new(),
            doc_string: String::new(),
            graph: Some(GraphProto {
                node: self.nodes,
                name: "kindling".into(),
                initializer: self.initializers,
                input: vec![input],
                output,
            }),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            metadata_props: Vec::new(),
        }
    }
}
