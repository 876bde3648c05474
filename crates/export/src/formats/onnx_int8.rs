//! `model.int8.onnx`: the 8-bit network as ONNX's quantised operators (QDQ), preprocessing and softmax inside.

use super::onnx::{Writer, describe, int, ints};
use super::{Format, Picture, Run, Source, Written, onnx, onnx_boxes, onnx_preprocess};
use crate::onnx_proto::AttributeProto;
use crate::{Check, ExportError, Judge, OnnxModel, bundle};
use kindling_graph::{Activation, Affine, Answer, LayerKind, Quantized, QuantizedKind, Source as From, Window};
use kindling_spec::ExportFormat;
use prost::Message;
use std::path::Path;

/// The file's name.
pub(crate) const FILE: &str = "model.int8.onnx";
/// The greatest difference of a probability, or of a score or side of an object, from the reference executor: runtimes round in floats what that rounds in whole
/// numbers, and a code that falls the other way moves what comes after it.
pub(crate) const INT8_TOLERANCE: f32 = 0.1;

/// See the module.
pub(super) struct OnnxInt8;

impl Format for OnnxInt8 {
    fn format(&self) -> ExportFormat {
        ExportFormat::OnnxInt8
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        Ok(vec![Written {
            name: FILE,
            bytes: write(source, source.quantized()?)?,
            media_type: "application/octet-stream",
            about: "ONNX with weights and activations of 8 bits (QDQ), for ONNX Runtime and accelerators: in and out as model.onnx",
        }])
    }

    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
        let model = OnnxModel::load(&bundle::read(&dir.join(FILE))?)?;
        let mut greatest = 0.0f32;
        for judge in judges {
            let far = source.far_from_int8(judge, &model.answer_for(&judge.rgb, judge.width, judge.height)?)?;
            greatest = bundle::agree(FILE, judge, far, INT8_TOLERANCE, greatest)?;
        }
        Ok(vec![Check {
            file: FILE.into(),
            how: "the file was read back from disk, run with tract on test images at their own size and compared with the \
                  8-bit network in whole numbers"
                .into(),
            images: judges.len() as u64,
            max_difference: greatest,
            tolerance: INT8_TOLERANCE,
        }])
    }

    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        Ok(vec![onnx::run(dir, FILE, true, pictures)?])
    }
}

fn write(source: &Source<'_>, quantized: &Quantized) -> Result<Vec<u8>, ExportError> {
    let mut writer = Writer::default();
    let input = onnx_preprocess::preprocess(&mut writer, &quantized.lowered.input, true);
    let mut net = Net { values: vec![code(&mut writer, "in", &input, quantized.input)], writer };
    for at in 0..quantized.layers.len() {
        let made = net.layer(quantized, at);
        net.values.push(made);
    }
    let end = net.values.get(quantized.lowered.output + 1).cloned();
    let (end, _) = end.ok_or_else(|| ExportError::Input("the network has no output".into()))?;
    match source.answer() {
        Answer::Classes => {
            let flat = "logits".to_owned();
            net.writer.push("", "Flatten", &[&end], &flat, vec![int("axis", 1)]);
            net.writer.finish_with(&flat, true);
        }
        Answer::Map => onnx_boxes::find(&mut net.writer, &end, onnx_boxes::map_shape(source)?),
    }
    Ok(describe(net.writer, source, " Weights and activations are of 8 bits.")?.encode_to_vec())
}

/// The name of a value as reals that were rounded, and its codes.
type Value = (String, Affine);

struct Net {
    writer: Writer,
    /// The input's reals, then each layer's.
    values: Vec<Value>,
}

/// Rounds reals to codes and back; gives the name of the reals. Values have short names and these nodes none: in a small
/// network names are half of the file.
fn code(writer: &mut Writer, name: &str, reals: &str, codes: Affine) -> Value {
    let scale = writer.floats(&format!("{name}.s"), &[], &[codes.scale]);
    let zero = writer.bytes(&format!("{name}.z"), &[], &[codes.zero]);
    let (rounded, back) = (format!("{name}.q"), format!("{name}.r"));
    writer.push("", "QuantizeLinear", &[reals, &scale, &zero], &rounded, Vec::new());
    writer.push("", "DequantizeLinear", &[&rounded, &scale, &zero], &back, Vec::new());
    (back, codes)
}

impl Net {
    fn layer(&mut self, quantized: &Quantized, at: usize) -> Value {
        let (layer, numbers) = (&quantized.lowered.layers[at], &quantized.layers[at]);
        let place = |source: &From| match source {
            From::Input => 0,
            From::Node(before) => before + 1,
        };
        let inputs: Vec<Value> =
            layer.inputs.iter().filter_map(|source| self.values.get(place(source)).cloned()).collect();
        let mut reads: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
        let (first, from) = inputs.first().cloned().unwrap_or((String::new(), quantized.input));
        let (op, attributes) = match &layer.kind {
            LayerKind::Conv(conv) => {
                let mut attributes = window(conv.window);
                attributes.push(int("group", conv.group as i64));
                ("Conv", attributes)
            }
            LayerKind::Add => ("Add", Vec::new()),
            LayerKind::MaxPool(w) => ("MaxPool", window(*w)),
            LayerKind::AveragePool(w) => {
                let mut attributes = window(*w);
                attributes.push(int("count_include_pad", 0));
                ("AveragePool", attributes)
            }
            LayerKind::GlobalAveragePool => ("GlobalAveragePool", Vec::new()),
            LayerKind::Activation => ("", Vec::new()),
        };
        let constants = match (&layer.kind, &numbers.kind) {
            (LayerKind::Conv(conv), QuantizedKind::Conv { weight, scales, bias, .. }) => {
                self.weights(at, conv.window.kernel, weight, scales, bias, from).to_vec()
            }
            _ => Vec::new(),
        };
        reads.extend(constants.iter().map(String::as_str));
        let value = match op {
            "" => first,
            op => {
                self.writer.push(&layer.name, op, &reads, &at.to_string(), attributes);
                at.to_string()
            }
        };
        if at == quantized.lowered.output && quantized.logits_from_codes().is_none() {
            return (value, numbers.output);
        }
        // Rounded before an activation that is a table, as the whole numbers are.
        let value = match numbers.table.is_some() && !matches!(layer.kind, LayerKind::Activation) {
            true => code(&mut self.writer, &format!("{at}.raw"), &value, numbers.raw).0,
            false => value,
        };
        let value = self.activation(&format!("{at}.a"), &value, layer.activation);
        code(&mut self.writer, &format!("{at}.out"), &value, numbers.output)
    }

    fn weights(
        &mut self,
        at: usize,
        kernel: [usize; 2],
        weight: &[i8],
        scales: &[f32],
        bias: &[i32],
        from: Affine,
    ) -> [String; 2] {
        let (outs, area) = (bias.len(), kernel[0] * kernel[1]);
        let shape = [outs, weight.len() / (outs * area).max(1), kernel[0], kernel[1]];
        let axis = || vec![int("axis", 0)];
        let codes = self.writer.bytes(&format!("{at}.w"), &shape, weight);
        let scale = self.writer.floats(&format!("{at}.ws"), &[outs], scales);
        // The same for all layers of as many channels.
        let zero = self.writer.bytes(&format!("zeros{outs}"), &[outs], &vec![0; outs]);
        let weight = format!("{at}.weight");
        self.writer.push("", "DequantizeLinear", &[&codes, &scale, &zero], &weight, axis());
        let codes = self.writer.words(&format!("{at}.b"), &[outs], bias);
        let units: Vec<f32> = scales.iter().map(|scale| scale * from.scale).collect();
        let scale = self.writer.floats(&format!("{at}.bs"), &[outs], &units);
        let bias = format!("{at}.bias");
        self.writer.push("", "DequantizeLinear", &[&codes, &scale], &bias, axis());
        [weight, bias]
    }

    fn activation(&mut self, name: &str, value: &str, activation: Activation) -> String {
        let (op, limits) = match activation {
            Activation::Identity => return value.to_owned(),
            Activation::Clamp { low: 0.0, high } if high.is_infinite() => ("Relu", None),
            Activation::Clamp { low, high } => ("Clip", Some([low, high])),
            Activation::HardSwish => ("HardSwish", None),
            Activation::Sigmoid => ("Sigmoid", None),
        };
        let limits =
            limits.into_iter().flatten().map(|limit| self.writer.floats(&format!("limit{limit}"), &[], &[limit]));
        let limits: Vec<String> = limits.collect();
        let inputs: Vec<&str> = [value].into_iter().chain(limits.iter().map(String::as_str)).collect();
        self.writer.push("", op, &inputs, name, Vec::new());
        name.to_owned()
    }
}

fn window(window: Window) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &window.kernel), ints("strides", &window.strides), ints("pads", &window.pads)]
}
