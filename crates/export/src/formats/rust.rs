//! `model.rs` and the same of 8 bits: each one file of safe `no_std` Rust for any crate.

use super::Source as Model;
use super::pack::{
    Kernel, Place, Step, blocks, channels_last, comment, fill, folded, geometry, in_blocks, inputs_last, is_padded,
    limits, lines, normalisation, section, steps, table_alone,
};
use kindling_graph::{
    Activation, Answer, Convolution, Layer, LayerKind, Lowered, MOST_OBJECTS, Multiplier, Quantized, QuantizedKind,
    QuantizedLayer, Source,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const SHARED: &str = include_str!("rust/shared.rs");
const FLOAT: &str = include_str!("rust/float.rs");
const INT8: &str = include_str!("rust/int8.rs");

/// Channels worked on at once.
const FLOAT_BLOCKS: &[usize] = &[8, 4, 1];
const INT8_BLOCKS: &[usize] = &[4, 2, 1];
const INT8_DEPTHWISE_BLOCKS: &[usize] = &[8, 4, 1];

/// The kernels that are in a file only where a layer needs them, in this order.
const KERNELS: &[&str] = &[
    "conv",
    "depthwise",
    "scale",
    "last_conv",
    "map_conv",
    "last_codes",
    "add",
    "max_pool",
    "average_pool",
    "windows",
    "mean",
    "clamp",
    "hard_swish",
    "sigmoid",
    "lookup",
];

/// The files.
pub(crate) fn rust_files(lowered: &Lowered, source: &Model<'_>) -> Vec<(&'static str, String)> {
    let mut files = vec![("model.rs", float(lowered).file(lowered, source))];
    files.extend(source.quantized.map(|quantized| ("model_int8.rs", int8(quantized).file(&quantized.lowered, source))));
    files
}

/// A file as it grows.
struct Writer {
    /// Its kernels, and the type of a number in the arena.
    template: &'static str,
    number: &'static str,
    constants: String,
    bytes: usize,
    calls: String,
    used: BTreeSet<&'static str>,
    conv: BTreeSet<usize>,
    depthwise: BTreeSet<usize>,
    /// What normalises the input, by its name in the template.
    input: Vec<(&'static str, String)>,
}

impl Writer {
    fn new(template: &'static str, number: &'static str) -> Self {
        Self {
            template,
            number,
            constants: String::new(),
            bytes: 0,
            calls: String::new(),
            used: BTreeSet::new(),
            conv: BTreeSet::new(),
            depthwise: BTreeSet::new(),
            input: Vec::new(),
        }
    }

    /// An array of constants whose numbers take `bytes` each.
    fn array(&mut self, kind: &str, name: &str, bytes: usize, values: impl ExactSizeIterator<Item = String>) {
        let count = values.len();
        let _ = write!(self.constants, "static {name}: [{kind}; {count}] = [\n{}];\n", lines(values));
        self.bytes += bytes * count;
    }

    fn call(&mut self, name: &'static str, text: &str) {
        self.used.insert(name);
        let _ = writeln!(self.calls, "    {text};");
    }

    /// A call that reads one part of the arena, `x`, and writes another, `y`.
    fn call_apart(&mut self, name: &'static str, step: &Step<'_>, text: &str) {
        let _ = writeln!(
            self.calls,
            "    let (rest, y) = split(arena, {}, {});\n    let x = {};",
            step.layer.offset,
            step.layer.len(),
            at(&step.from)
        );
        self.call(name, text);
    }

    /// A call that works in place on what the layer makes, after a copy of what it reads if that lies elsewhere.
    fn call_in_place(&mut self, name: &'static str, step: &Step<'_>, copied: bool, text: &str) {
        let (from, to, count) = (step.from.offset, step.layer.offset, step.layer.len());
        if copied && from != to {
            let _ = writeln!(self.calls, "    arena.copy_within({from}..{}, {to});", from + count);
        }
        let _ = writeln!(self.calls, "    let y = &mut arena[{to}..{}];", to + count);
        self.call(name, text);
    }

    /// The blocks a convolution needs.
    fn needs(&mut self, step: &Step<'_>, conv: &Convolution, sizes: &[usize]) {
        match step.kernel {
            Kernel::Depthwise => self.depthwise.extend(blocks(conv.bias.len(), sizes)),
            Kernel::Conv => self.conv.extend(blocks(conv.bias.len() / conv.group.max(1), sizes)),
            _ => {}
        }
    }

    fn title(&mut self, layer: &Layer) {
        let [c, h, w] = layer.to;
        let _ = writeln!(self.constants, "\n// {}: {c} x {h} x {w}", comment(&layer.name));
    }

    /// A pool, the same in both networks.
    fn pool(&mut self, step: &Step<'_>) {
        let name = if step.kernel == Kernel::MaxPool { "max_pool" } else { "average_pool" };
        let _ = writeln!(self.constants, "static LAYER_{}: Geometry = {};", step.at, sizes(step.layer));
        self.used.insert("windows");
        self.call_apart(name, step, &format!("{name}(&LAYER_{}, x, y)", step.at));
    }

    /// A convolution whose constants are written.
    fn convolution(&mut self, step: &Step<'_>, conv: &Convolution, sizes: &[usize]) {
        self.needs(step, conv, sizes);
        let at = step.at;
        match step.kernel {
            Kernel::Scale => self.call_in_place("scale", step, true, &format!("scale(&LAYER_{at}, y)")),
            Kernel::Depthwise => self.call_apart("depthwise", step, &format!("depthwise(&LAYER_{at}, x, y)")),
            _ => self.call_apart("conv", step, &format!("conv(&LAYER_{at}, x, y)")),
        }
    }

    /// The whole text.
    fn file(&self, lowered: &Lowered, source: &Model<'_>) -> String {
        let Model { labels, task, .. } = source;
        let spec = &lowered.input;
        let int8 = self.number == "i8";
        let text = |value: usize| value.to_string();
        let output = lowered.layers.get(lowered.output).map_or(0, |layer| layer.offset);
        let [channels, map_height, map_width] = lowered.layers.get(lowered.output).map_or([0; 3], |layer| layer.to);
        let is_boxes = lowered.answer == Answer::Map;
        // Floats have it in the arena.
        let (map, has_map) = (channels * map_height * map_width, is_boxes && int8);
        let (what, kind, order) = match lowered.answer {
            Answer::Classes => ("An image classifier", "classes", "in the order of the probabilities"),
            Answer::Map => ("A finder of objects in images", "boxes", "by their number"),
        };
        let pixel = if spec.channels == 3 { "red, green, blue".to_owned() } else { format!("{} bytes", spec.channels) };
        let own = [
            ("INPUT", text(lowered.input_offset)),
            ("OUTPUT", text(output)),
            ("PIXEL", pixel),
            ("CALLS", self.calls.clone()),
        ];
        let own: Vec<(&str, &str)> =
            own.iter().chain(&self.input).map(|(name, value)| (*name, value.as_str())).collect();
        let parts = [("RESIZED", "resized"), ("OWN", "own"), ("READING", "reading")];
        let parts = parts.map(|(name, part)| (name, section(self.template, part)));
        let template = |name: &str| {
            let name = if is_boxes { format!("{name}_boxes") } else { name.to_owned() };
            fill(&fill(section(self.template, &name), &parts), &own)
        };
        let (methods, network) = (template("methods"), template("network"));
        let bits = if int8 { " in whole numbers of 8 bits" } else { "" };
        let title = format!("{what}{bits}: its own preprocessing, kernels and weights.");
        let classes: String =
            labels.iter().enumerate().map(|(i, label)| format!("//!   {i}: \"{}\"\n", comment(label))).collect();
        let names: String = labels.iter().map(|label| format!("    {label:?},\n")).collect();
        let task = format!("\"{}\"", comment(task));
        let values = [
            ("TITLE", title),
            ("ORDER", order.to_owned()),
            ("TASK", task),
            ("CLASSES", classes),
            ("MORE_CONSTANTS", if int8 { ", factors, tables".into() } else { String::new() }),
            ("CONSTANT_BYTES", text(self.bytes)),
            ("ARENA_BYTES", text(lowered.arena * if int8 { 1 } else { 4 } + if has_map { 4 * map } else { 0 })),
            ("MORE_MEMORY", if has_map { "    map: [i32; MAP],\n".into() } else { String::new() }),
            ("MORE_NOTHING", if has_map { ", map: [0; MAP]".into() } else { String::new() }),
            ("ARENA", text(lowered.arena)),
            ("FILE", if int8 { "model_int8".into() } else { "model".into() }),
            ("HEIGHT", text(spec.height)),
            ("WIDTH", text(spec.width)),
            ("COUNT", text(labels.len())),
            ("CHANNELS", text(spec.channels)),
            ("LABELS", names),
            ("UNKNOWN_BELOW", format!("{:?}", source.unknown_below.unwrap_or(0.0) as f32)),
            ("AT_LEAST", format!("{:?}", source.score_at_least() as f32)),
            ("MOST", text(MOST_OBJECTS.min(labels.len() * map_height * map_width))),
            ("MAP_HEIGHT", text(map_height)),
            ("MAP_WIDTH", text(map_width)),
            ("REAL", if int8 { "i32".into() } else { "f32".into() }),
            ("NUMBER", self.number.to_owned()),
            ("NOTHING", if int8 { "0".into() } else { "0.0".into() }),
            ("METHODS", methods),
            ("NETWORK", network),
        ];
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = |part: &str| section(SHARED, &format!("{kind}_{part}"));
        let head = fill(section(SHARED, "head"), &[("USE", answer("use")), ("ANSWER", answer("answer"))]);
        let mut all = fill(&head, &values) + &fill(section(SHARED, "common"), &values);
        all.push_str(&fill(section(SHARED, if is_boxes { "find" } else { "softmax" }), &values));
        all.push_str(section(self.template, "layer"));
        for name in KERNELS.iter().filter(|name| self.used.contains(*name)) {
            let sizes = if *name == "conv" { &self.conv } else { &self.depthwise };
            let span = section(self.template, &format!("{name}_call"));
            let spans: String = sizes.iter().rev().map(|size| fill(span, &[("B", &size.to_string())])).collect();
            all.push_str(&fill(section(self.template, name), &[("SPANS", &spans)]));
        }
        all.push_str(self.constants.trim_start());
        all
    }
}

/// What is read, beside a part that is written.
fn at(place: &Place) -> String {
    format!("rest.at({}, {})", place.offset, place.shape.iter().product::<usize>())
}

fn sizes(layer: &Layer) -> String {
    let names = [
        "channels",
        "height",
        "width",
        "outs",
        "out_height",
        "out_width",
        "rows",
        "columns",
        "down",
        "right",
        "top",
        "left",
        "group",
    ];
    let fields: Vec<String> = names.iter().zip(geometry(layer)).map(|(name, size)| format!("{name}: {size}")).collect();
    format!("Geometry {{ {} }}", fields.join(", "))
}

/// A float that reads back as the same.
fn number(value: f32) -> String {
    format!("{value:?}")
}

fn float(lowered: &Lowered) -> Writer {
    let mut writer = Writer::new(FLOAT, "f32");
    for step in steps(lowered) {
        let Step { at: n, layer, kernel, other, .. } = &step;
        let [low, high] = limits(layer.activation).map(number);
        writer.title(layer);
        match &layer.kind {
            LayerKind::Conv(conv) => {
                let weight = match kernel {
                    Kernel::Scale => conv.weight.clone(),
                    Kernel::Depthwise => channels_last(conv, &conv.weight),
                    _ => in_blocks(conv, &conv.weight, FLOAT_BLOCKS),
                };
                writer.array("f32", &format!("WEIGHT_{n}"), 4, weight.iter().map(|v| number(*v)));
                writer.array("f32", &format!("BIAS_{n}"), 4, conv.bias.iter().map(|v| number(*v)));
                let _ = writeln!(
                    writer.constants,
                    "static LAYER_{n}: Layer = Layer {{\n    weight: &WEIGHT_{n},\n    bias: &BIAS_{n},\n    low: {low},\n    \
                     high: {high},\n    g: {},\n}};",
                    sizes(layer)
                );
                writer.convolution(&step, conv, FLOAT_BLOCKS);
            }
            LayerKind::MaxPool(_) | LayerKind::AveragePool(_) => writer.pool(&step),
            LayerKind::Add => writer.call_apart("add", &step, &format!("add(x, {}, y, {low}, {high})", at(other))),
            LayerKind::GlobalAveragePool => writer.call_apart("mean", &step, "mean(x, y)"),
            LayerKind::Activation => {}
        }
        let alone = *kernel == Kernel::Activation;
        match layer.activation {
            Activation::Clamp { .. } if alone => {
                writer.call_in_place("clamp", &step, true, &format!("clamp(y, {low}, {high})"));
            }
            Activation::HardSwish => writer.call_in_place("hard_swish", &step, alone, "hard_swish(y)"),
            Activation::Sigmoid => writer.call_in_place("sigmoid", &step, alone, "sigmoid(y)"),
            Activation::Identity | Activation::Clamp { .. } => {}
        }
    }
    let (factors, addends) = normalisation(lowered);
    let list = |values: &[f32]| format!("[{}]", values.iter().map(|v| number(*v)).collect::<Vec<_>>().join(", "));
    writer.input = vec![("FACTORS", list(&factors)), ("ADDENDS", list(&addends))];
    writer
}

fn factor(multiplier: &Multiplier) -> String {
    format!("Factor {{ value: {}, shift: {} }}", multiplier.value, multiplier.shift)
}

fn ends(numbers: &QuantizedLayer) -> String {
    let zero = i32::from(numbers.raw.zero);
    let [low, high] = numbers.limits.map(|end| i32::from(end) - zero);
    format!("Ends {{ low: {low}, high: {high}, zero: {zero} }}")
}

fn int8(quantized: &Quantized) -> Writer {
    let lowered = &quantized.lowered;
    let mut writer = Writer::new(INT8, "i8");
    let zero_of = |source: Option<&Source>| match source {
        Some(Source::Node(before)) => quantized.layers.get(*before).map_or(0, |layer| layer.output.zero),
        _ => quantized.input.zero,
    };
    for (step, numbers) in steps(lowered).iter().zip(&quantized.layers) {
        let Step { at: n, layer, kernel, other, .. } = step;
        let from_zero = zero_of(layer.inputs.first());
        writer.title(layer);
        let mut table = numbers.table.clone();
        match (&layer.kind, &numbers.kind) {
            (LayerKind::Conv(conv), QuantizedKind::Conv { weight, bias, multipliers, .. }) => {
                let last = *n == lowered.output && quantized.logits_from_codes().is_none();
                let packed = match kernel {
                    Kernel::Scale if !last => weight.clone(),
                    Kernel::Depthwise if !last => channels_last(conv, weight),
                    _ => inputs_last(conv, weight),
                };
                writer.array("i8", &format!("WEIGHT_{n}"), 1, packed.iter().map(i8::to_string));
                let whole = if last { Vec::new() } else { folded(bias, weight, from_zero) };
                let bare = last || (is_padded(conv) && *kernel != Kernel::Scale);
                for (name, words) in [("BIAS", whole.as_slice()), ("BARE", if bare { bias } else { &[] })] {
                    writer.array("i32", &format!("{name}_{n}"), 4, words.iter().map(i32::to_string));
                }
                writer.array("Factor", &format!("FACTORS_{n}"), 8, multipliers.iter().map(factor));
                let _ = writeln!(
                    writer.constants,
                    "static LAYER_{n}: Layer = Layer {{\n    weight: &WEIGHT_{n},\n    bias: &BIAS_{n},\n    bare: \
                     &BARE_{n},\n    factors: &FACTORS_{n},\n    from_zero: {from_zero},\n    ends: {},\n    g: {},\n}};",
                    ends(numbers),
                    sizes(layer)
                );
                if last {
                    let name = if lowered.answer == Answer::Map { "map_conv" } else { "last_conv" };
                    let place = if lowered.answer == Answer::Map { "logits" } else { "&mut logits" };
                    let (from, count) = (step.from.offset, step.from.offset + layer.from.iter().product::<usize>());
                    writer.call(name, &format!("{name}(&LAYER_{n}, &arena[{from}..{count}], {place})"));
                    break;
                }
                let sizes = if *kernel == Kernel::Depthwise { INT8_DEPTHWISE_BLOCKS } else { INT8_BLOCKS };
                writer.convolution(step, conv, sizes);
            }
            (LayerKind::Add, QuantizedKind::Add(sum)) => {
                let ([a, b], other_zero) = (sum.factors, zero_of(layer.inputs.last()));
                let _ = writeln!(
                    writer.constants,
                    "static LAYER_{n}: Sum = Sum {{\n    zeros: [{from_zero}, {other_zero}],\n    factors: [{a}, {b}],\n    \
                     shift: {},\n    ends: {},\n}};",
                    sum.shift,
                    ends(numbers)
                );
                writer.call_apart("add", step, &format!("add(&LAYER_{n}, x, {}, y)", at(other)));
            }
            (LayerKind::GlobalAveragePool, QuantizedKind::Mean(mean)) => {
                let text = format!("mean(x, {from_zero}, &{}, &{}, y)", factor(mean), ends(numbers));
                writer.call_apart("mean", step, &text);
            }
            (LayerKind::MaxPool(_) | LayerKind::AveragePool(_), _) => {
                writer.pool(step);
                table = table_alone(numbers);
            }
            // An activation alone; its table also copies where it changes nothing.
            _ => table = Some(table_alone(numbers).unwrap_or_else(|| (i8::MIN..=i8::MAX).collect())),
        }
        if let Some(table) = table {
            writer.array("i8", &format!("TABLE_{n}"), 1, table.iter().map(i8::to_string));
            let alone = *kernel == Kernel::Activation;
            writer.call_in_place("lookup", step, alone, &format!("lookup(&TABLE_{n}, y)"));
        }
    }
    if let (Some(multiplier), Some(layer), Some(numbers)) =
        (quantized.logits_from_codes(), lowered.layers.get(lowered.output), quantized.layers.get(lowered.output))
    {
        let (from, to, zero) = (layer.offset, layer.offset + layer.len(), numbers.output.zero);
        let place = if lowered.answer == Answer::Map { "logits" } else { "&mut logits" };
        let text = format!("last_codes(&arena[{from}..{to}], {zero}, &{}, {place})", factor(&multiplier));
        writer.call("last_codes", &text);
    }
    let tables = quantized.input_tables();
    writer.bytes += 256 * tables.len();
    let codes: String =
        tables.iter().map(|table| format!("    [\n{}    ],\n", lines(table.iter().map(i8::to_string)))).collect();
    writer.input = vec![("CODES", codes)];
    writer
}
