//! `model.h`, `model.c` and the same of 8 bits: C99 for anything from a microcontroller up, also as an Arduino library.

mod avx2;
mod float;
mod int8;

use super::Source;
use super::pack::{Kernel, Step, blocks, comment, fill, is_padded, lines, section};
use avx2::Fast;
use kindling_graph::{Answer, Convolution, Lowered, MOST_OBJECTS};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEADER: &str = include_str!("c/model.h");
const ANSWERS: &str = include_str!("c/answers.h");
const SHARED: &str = include_str!("c/shared.c");

/// The files: each header, then its source.
pub(crate) fn c_files(lowered: &Lowered, source: &Source<'_>) -> Vec<(&'static str, String)> {
    let writer = float::writer(lowered);
    let head = |writer: &Writer, int8| header(lowered, writer, source, int8);
    let whole = |writer: &Writer, int8| whole(writer, lowered, source.labels, int8);
    let mut files = vec![("model.h", head(&writer, false)), ("model.c", whole(&writer, false))];
    if let Some(quantized) = source.quantized {
        let writer = int8::writer(quantized);
        files.push(("model_int8.h", head(&writer, true)));
        files.push(("model_int8.c", whole(&writer, true)));
    }
    files
}

/// The names of the 8-bit network, so that both may be in one program.
fn renamed(text: &str) -> String {
    let text = text.replace("MODEL_", "MODEL_INT8_");
    ["labels", "run", "predict", "logits", "detect", "object"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("model_{name}"), &format!("model_int8_{name}")))
}

fn prefixed(template: &str, int8: bool) -> String {
    if int8 { renamed(template) } else { template.to_owned() }
}

/// A source file as it grows.
#[derive(Default)]
struct Writer {
    constants: String,
    bytes: usize,
    /// What the network does, then the public functions.
    calls: String,
    /// The text of its kernels.
    kernels: String,
    /// The kernels, types and such that it needs.
    used: BTreeSet<&'static str>,
    conv: BTreeSet<usize>,
    depthwise: BTreeSet<usize>,
    /// Whether a convolution of that kind has padding.
    padded: [bool; 2],
    /// What has a faster form.
    fast: Fast,
}

impl Writer {
    /// An array of constants whose numbers take `bytes` each.
    fn array(&mut self, kind: &str, name: &str, bytes: usize, values: impl ExactSizeIterator<Item = String>) {
        let count = values.len();
        let _ = write!(self.constants, "static const {kind} {name}[{count}] = {{\n{}}};\n", lines(values));
        self.bytes += bytes * count;
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        self.array("float", name, 4, values.iter().map(|v| number(*v)));
    }

    fn codes(&mut self, name: &str, values: &[i8]) {
        self.array("int8_t", name, 1, values.iter().map(i8::to_string));
    }

    /// Weights that are read in sixteens: on the processors that do, there is something after the last.
    fn padded_codes(&mut self, name: &str, values: &[i8]) {
        let (count, text) = (values.len(), lines(values.iter().map(i8::to_string)));
        let _ = write!(self.constants, "static const int8_t {name}[{count} + BEYOND] = {{\n{text}}};\n");
        self.bytes += count;
    }

    fn words(&mut self, name: &str, values: &[i32]) {
        self.array("int32_t", name, 4, values.iter().map(|v| word(*v)));
    }

    fn call(&mut self, text: &str) {
        let _ = writeln!(self.calls, "    {text};");
    }

    /// The kernels a convolution needs.
    fn needs(&mut self, step: &Step<'_>, conv: &Convolution, sizes: &[usize]) {
        let depthwise = step.kernel == Kernel::Depthwise;
        let outs = if depthwise { conv.bias.len() } else { conv.bias.len() / conv.group.max(1) };
        let set = if depthwise { &mut self.depthwise } else { &mut self.conv };
        set.extend(blocks(outs, sizes));
        self.padded[usize::from(depthwise)] |= is_padded(conv);
    }

    fn title(&mut self, step: &Step<'_>) {
        let [c, h, w] = step.layer.to;
        let _ = writeln!(self.constants, "\n/* {}: {c} x {h} x {w} */", comment(&step.layer.name));
    }
}

/// A float that reads back as the same.
fn number(value: f32) -> String {
    format!("{value:?}f")
}

/// C has no negative literals, and the least word's magnitude is not one.
fn word(value: i32) -> String {
    if value == i32::MIN { "INT32_MIN".into() } else { value.to_string() }
}

fn list(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The types of layers, and how windows are cut.
fn layer_types(writer: &Writer, template: &str, windows: bool) -> String {
    let mut text = String::new();
    if writer.used.contains("geometry") {
        text.push_str(section(SHARED, "geometry"));
    }
    let pools = ["max_pool", "average_pool", "last_conv", "map_conv"];
    if windows || pools.iter().any(|name| writer.used.contains(name)) {
        text.push_str(section(SHARED, "clip"));
    }
    if writer.used.contains("conv_layer") {
        text.push_str(section(template, "conv_layer"));
    }
    text
}

/// The loops over blocks of each size, greatest first.
fn spans(template: &str, kind: &str, sizes: &BTreeSet<usize>) -> String {
    let call = section(template, &format!("{kind}_call_{{{{B}}}}"));
    sizes.iter().rev().map(|size| fill(call, &[("B", &size.to_string())])).collect()
}

/// A whole source file.
fn whole(writer: &Writer, lowered: &Lowered, labels: &[String], int8: bool) -> String {
    let names = lines_of(labels.iter().map(|label| quoted(label)));
    let file = if int8 { "model_int8" } else { "model" };
    let channels = lowered.input.channels.to_string();
    let numbers: usize = map_of(lowered).iter().product();
    let more = if int8 && lowered.answer == Answer::Map { format!(", MAP_NUMBERS = {numbers}") } else { String::new() };
    let values = [("FILE", file), ("CHANNELS", &channels), ("MORE_SIZES", &more), ("LABELS", &names)];
    let mut text = fill(&prefixed(section(SHARED, "head"), int8), &values);
    text.push_str(&writer.kernels);
    text.push_str(section(SHARED, "resize"));
    if lowered.answer == Answer::Classes {
        text.push_str(section(SHARED, "softmax").trim_end());
        text.push('\n');
    }
    text.push_str(&writer.constants);
    text.push('\n');
    text.push_str(&writer.calls);
    text.trim_end().to_owned() + "\n"
}

/// `[channels, height, width]` of what the network makes.
fn map_of(lowered: &Lowered) -> [usize; 3] {
    lowered.layers.get(lowered.output).map_or([0; 3], |layer| layer.to)
}

fn lines_of(words: impl Iterator<Item = String>) -> String {
    words.map(|word| format!("    {word},\n")).collect()
}

/// A string literal of printable ASCII whatever the bytes, and without trigraphs.
fn quoted(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | b'?' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    format!("\"{}\"", text.bytes().map(byte).collect::<String>())
}

fn header(lowered: &Lowered, writer: &Writer, source: &Source<'_>, int8: bool) -> String {
    let Source { labels, task, .. } = source;
    let spec = &lowered.input;
    let bytes = lowered.arena * if int8 { 1 } else { 4 };
    let classes: String =
        labels.iter().enumerate().map(|(i, label)| format!(" *   {i}: \"{}\"\n", comment(label))).collect();
    let (what, kind, order) = match lowered.answer {
        Answer::Classes => ("An image classifier", "classes", "in the order of the probabilities"),
        Answer::Map => ("A finder of objects in images", "boxes", "by their number"),
    };
    let bits = if int8 { " in whole numbers of 8 bits," } else { "" };
    let title = format!("{what}{bits} as C: its own preprocessing, kernels and weights.");
    let [channels, map_height, map_width] = map_of(lowered);
    let numbers = channels * map_height * map_width;
    let map_bytes = format!(", and {} of the map of what is found", 4 * numbers);
    let most = MOST_OBJECTS.min(labels.len() * map_height * map_width);
    let pixel = if spec.channels == 3 { "red, green, blue".to_owned() } else { format!("{} bytes", spec.channels) };
    let values = [
        ("TITLE", title.as_str()),
        ("ORDER", order),
        ("MORE_MEMORY", if int8 && kind == "boxes" { &map_bytes } else { "" }),
        ("CLASSES", &classes),
        ("MORE_CONSTANTS", if int8 { ", factors, tables" } else { "" }),
        ("CONSTANT_BYTES", &writer.bytes.to_string()),
        ("ARENA_BYTES", &bytes.to_string()),
        ("LIBM", " (expf: link with -lm)"),
        ("FILE", if int8 { "model_int8" } else { "model" }),
        ("HEIGHT", &spec.height.to_string()),
        ("WIDTH", &spec.width.to_string()),
        ("COUNT", &labels.len().to_string()),
        ("UNKNOWN_BELOW", &number(source.unknown_below.unwrap_or(0.0) as f32)),
        ("AT_LEAST", &number(source.score_at_least() as f32)),
        ("MOST", &most.to_string()),
        ("MAP_HEIGHT", &map_height.to_string()),
        ("MAP_WIDTH", &map_width.to_string()),
        ("PIXEL", &pixel),
        ("TASK", &format!("\"{}\"", comment(task))),
    ];
    let answer = |part: &str| section(ANSWERS, &format!("{kind}_{part}"));
    let functions = answer("functions").to_owned() + if int8 { answer("logits") } else { "" };
    let parts = [("USE", answer("use")), ("MACROS", answer("macros")), ("FUNCTIONS", &functions)];
    fill(&prefixed(&fill(HEADER, &parts), int8), &values)
}
