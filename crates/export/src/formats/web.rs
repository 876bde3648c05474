//! JavaScript: `model.js`, a module without dependencies for browsers, workers, Node and Deno, and `model.html`, a page
//! that holds the same code and opens from a disk.
//!
//! The code is the same for every network; what is the network's own goes before it as data: its layers as JSON, its
//! numbers as base64.

mod vectors;

use super::Source as Model;
use super::pack::section;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kindling_graph::{
    Activation, Answer, Convolution, Layer, LayerKind, Lowered, Multiplier, Quantized, QuantizedKind, QuantizedLayer,
    Source, Window,
};
use serde_json::{Map, Value, json};

const SHARED: &str = include_str!("web/shared.js");
const ANSWERS: &str = include_str!("web/answers.js");
const FLOAT: &str = include_str!("web/float.js");
const INT8: &str = include_str!("web/int8.js");
const FAST: &str = include_str!("web/fast.js");
const PAGE: &str = include_str!("web/page.html");
const PAGE_ANSWERS: &str = include_str!("web/page_answers.html");
const PAGE_CODE_ANSWERS: &str = include_str!("web/page_answers.js");
const BOXES_STYLE: &str = include_str!("web/boxes.css");
const STYLE: &str = include_str!("web/page.css");
const PAGE_CODE: &str = include_str!("web/page.js");

/// `model.js` and `model.html`: of the 8-bit network where there is one, else of the other.
///
/// # Errors
/// What of the network cannot be said in these files.
pub(crate) fn web_files(lowered: &Lowered, source: &Model<'_>) -> Result<Vec<(&'static str, String)>, String> {
    let code = module(lowered, source)?;
    let page = page(&code, source);
    Ok(vec![("model.js", code), ("model.html", page)])
}

fn module(lowered: &Lowered, source: &Model<'_>) -> Result<String, String> {
    let quantized = source.quantized;
    let lowered = quantized.map_or(lowered, |quantized| &quantized.lowered);
    let spec = &lowered.input;
    if spec.channels != 3 || spec.mean.len() != 3 || spec.std.len() != 3 {
        return Err(format!("the network reads {} channels; model.js reads pictures of 3", spec.channels));
    }
    let (kind, runtime) = match quantized {
        Some(_) => {
            let module = STANDARD.encode(vectors::vectors());
            ("8-bit whole numbers", format!("const FAST = \"{module}\";\n{FAST}\n{INT8}"))
        }
        None => ("32-bit floating point", FLOAT.to_owned()),
    };
    let answer = |part: &str| section(ANSWERS, &format!("{answer}_{part}", answer = name(lowered.answer))).to_owned();
    let from = if lowered.answer == Answer::Map { "Float32Array.from" } else { "softmax" };
    let parts = ["read", "ask", "about_logits", "sums"].map(|part| (part, answer(part)));
    let parts: Vec<(&str, String)> = parts.into_iter().chain([("from", from.to_owned())]).collect();
    let (shared, runtime) = (fill(SHARED, &parts), fill(&runtime, &parts));
    let network = script_json(&network(lowered, quantized));
    let numbers = STANDARD.encode(numbers(lowered, quantized));
    let (labels, size) = (script_json(&json!(source.labels)), script_json(&json!([spec.height, spec.width])));
    if lowered.answer == Answer::Map {
        let map_size = lowered.layers.get(lowered.output).map_or([0; 2], |layer| [layer.to[1], layer.to[2]]);
        let (at_least, map_size) = (source.score_at_least(), script_json(&json!(map_size)));
        return Ok(format!(
            "// A finder of objects in images made by Kindling, in {kind}. It needs no network and no other file:\n\
             //   import {{ detect }} from \"./model.js\";\n\
             //   const {{ data, width, height }} = context.getImageData(0, 0, canvas.width, canvas.height);\n\
             //   for (const {{ label, score, left, top, right, bottom }} of detect(data, width, height)) {{\n\
             //     context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);\n\
             //   }}\n\n\
             /** The classes, in the order of their numbers. */\n\
             export const labels = {labels};\n\
             /** The score from which on to say that an object is there. */\n\
             export const atLeast = {at_least};\n\
             /** Height and width that the network works at; pictures of any size are brought to it. */\n\
             export const inputSize = {size};\n\
             /** Rows and columns of the map that objects are read from. */\n\
             export const mapSize = {map_size};\n\n\
             const NETWORK = {network};\n\
             const NUMBERS = \"{numbers}\";\n\n\
             {shared}\n{runtime}"
        ));
    }
    let unknown_below = source.unknown_below.unwrap_or(0.0);
    Ok(format!(
        "// An image classifier made by Kindling, in {kind}. It needs no network and no other file:\n\
         //   import {{ labels, predict }} from \"./model.js\";\n\
         //   const {{ data, width, height }} = context.getImageData(0, 0, canvas.width, canvas.height);\n\
         //   const probabilities = predict(data, width, height);\n\n\
         /** The classes, in the order of the probabilities. */\n\
         export const labels = {labels};\n\
         /** An answer whose greatest probability is below this is likely for a picture of none of the classes. */\n\
         export const unknownBelow = {unknown_below};\n\
         /** Height and width that the network works at; pictures of any size are brought to it. */\n\
         export const inputSize = {size};\n\n\
         const NETWORK = {network};\n\
         const NUMBERS = \"{numbers}\";\n\n\
         {shared}\n{runtime}"
    ))
}

/// The first word of what is particular to an answer in the templates.
fn name(answer: Answer) -> &'static str {
    match answer {
        Answer::Classes => "classes",
        Answer::Map => "boxes",
    }
}

fn page(code: &str, source: &Model<'_>) -> String {
    let part = |template: &'static str, part: &'static str| {
        let name = format!("{}_{part}", name(source.answer()));
        (part, section(template, &name).to_owned())
    };
    let parts =
        ["expose", "rows", "show", "look", "started", "stopped", "shot"].map(|name| part(PAGE_CODE_ANSWERS, name));
    let page_code = fill(PAGE_CODE, &parts);
    let parts = ["over_video", "over_picture", "bars", "caveat"].map(|name| part(PAGE_ANSWERS, name));
    let parts = parts.into_iter().map(|(name, text)| (name, text.trim_end().to_owned()));
    let parts: Vec<(&str, String)> = parts.chain([part(PAGE_ANSWERS, "more")]).collect();
    let labels = source.labels.iter().map(|label| escape(label)).collect::<Vec<_>>().join(", ");
    let style = if source.answer() == Answer::Map { BOXES_STYLE } else { "" };
    let fill_in = |size: &str| {
        let values = [
            ("title", escape(source.task)),
            ("style", format!("{STYLE}{style}")),
            ("size", size.to_owned()),
            ("labels", labels.clone()),
            ("code", format!("{code}\n{page_code}")),
        ];
        fill(&fill_some(PAGE, &parts), &values)
    };
    // Its own length changes little by saying it.
    let size = human_bytes(fill_in("").len());
    fill_in(&size)
}

/// As [`fill`], what is not named being left.
fn fill_some(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// Puts values where the template says `{{name}}`; what a value itself holds is left as it is.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut made = String::with_capacity(template.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        made.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(key, _)| *key == name);
        made.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    made.push_str(rest);
    made
}

/// As the pages of Kindling say it.
fn human_bytes(count: usize) -> String {
    match count {
        0..10_000 => format!("{:.1} kB", count as f64 / 1e3),
        10_000..1_000_000 => format!("{} kB", (count + 500) / 1000),
        1_000_000..10_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{} MB", (count + 500_000) / 1_000_000),
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => made.push_str("&amp;"),
            '<' => made.push_str("&lt;"),
            '>' => made.push_str("&gt;"),
            '"' => made.push_str("&quot;"),
            '\'' => made.push_str("&#39;"),
            _ => made.push(letter),
        }
    }
    made
}

/// JSON that may stand in a script in a page: nothing in it ends the script or begins a comment.
fn script_json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The layers up to the one that makes the logits.
fn used(lowered: &Lowered) -> &[Layer] {
    &lowered.layers[..=lowered.output.min(lowered.layers.len().saturating_sub(1))]
}

/// Geometry and order, and of an 8-bit network its codes.
fn network(lowered: &Lowered, quantized: Option<&Quantized>) -> Value {
    let layers = used(lowered);
    let mut made = Vec::with_capacity(layers.len());
    for (at, layer) in layers.iter().enumerate() {
        let mut entry = geometry(layer);
        match quantized.and_then(|quantized| Some((quantized, quantized.layers.get(at)?))) {
            Some((quantized, numbers)) => codes(&mut entry, quantized, layer, numbers),
            None => activation(&mut entry, layer.activation),
        }
        made.push(Value::Object(entry));
    }
    let reals = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let mut network = json!({ "arena": lowered.arena, "input": lowered.input_offset, "layers": made });
    match quantized {
        None => {
            network["mean"] = json!(reals(&lowered.input.mean));
            network["std"] = json!(reals(&lowered.input.std));
        }
        Some(quantized) => {
            let zero = quantized.layers.get(lowered.output).map_or(0, |layer| layer.output.zero);
            let factor = quantized.logits_from_codes();
            network["factor"] = json!(
                factor.map(|Multiplier { value, shift }| json!({ "value": value, "shift": shift, "zero": zero }))
            );
        }
    }
    network
}

/// What it reads, where, and how.
fn geometry(layer: &Layer) -> Map<String, Value> {
    let (kind, window) = match &layer.kind {
        LayerKind::Conv(conv) => ("conv", Some(conv.window)),
        LayerKind::Add => ("add", None),
        LayerKind::MaxPool(window) => ("max", Some(*window)),
        LayerKind::AveragePool(window) => ("average", Some(*window)),
        LayerKind::GlobalAveragePool => ("mean", None),
        LayerKind::Activation => ("activation", None),
    };
    let source = |source: &Source| match source {
        Source::Input => -1,
        Source::Node(before) => *before as i64,
    };
    let inputs: Vec<i64> = layer.inputs.iter().map(source).collect();
    let mut entry = Map::new();
    let mut set = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    set("kind", json!(kind));
    set("inputs", json!(inputs));
    set("from", json!(layer.from));
    set("to", json!(layer.to));
    set("at", json!(layer.offset));
    if let Some(Window { kernel, strides, pads }) = window {
        set("kernel", json!(kernel));
        set("strides", json!(strides));
        set("pads", json!(pads));
    }
    if let LayerKind::Conv(conv) = &layer.kind {
        set("group", json!(conv.group));
    }
    entry
}

fn activation(entry: &mut Map<String, Value>, activation: Activation) {
    let name = match activation {
        Activation::Identity => return,
        Activation::Clamp { low, high } => {
            entry.insert("low".into(), json!(f64::from(low)));
            // JSON has no infinity: without an upper end there is none.
            if high.is_finite() {
                entry.insert("high".into(), json!(f64::from(high)));
            }
            "clamp"
        }
        Activation::HardSwish => "hard_swish",
        Activation::Sigmoid => "sigmoid",
    };
    entry.insert("activation".into(), json!(name));
}

fn codes(entry: &mut Map<String, Value>, quantized: &Quantized, layer: &Layer, numbers: &QuantizedLayer) {
    let zero = |source: &Source| match source {
        Source::Input => quantized.input.zero,
        Source::Node(before) => quantized.layers[*before].output.zero,
    };
    let zeros: Vec<i8> = layer.inputs.iter().map(zero).collect();
    let mut set = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    set("zeros", json!(zeros));
    set("zero", json!(numbers.raw.zero));
    set("limits", json!(numbers.limits));
    set("table", json!(numbers.table.is_some()));
    match &numbers.kind {
        QuantizedKind::Add(sum) => {
            set("factors", json!(sum.factors));
            set("shift", json!(sum.shift));
        }
        QuantizedKind::Mean(Multiplier { value, shift }) => {
            set("value", json!(value));
            set("shift", json!(shift));
        }
        QuantizedKind::Conv { .. } | QuantizedKind::Pool | QuantizedKind::Activation => {}
    }
}

/// All numbers in the order in which the code reads them, little-endian.
fn numbers(lowered: &Lowered, quantized: Option<&Quantized>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let as_bytes = |values: &[i8]| values.iter().map(|value| *value as u8).collect::<Vec<u8>>();
    let Some(quantized) = quantized else {
        for layer in used(lowered) {
            if let LayerKind::Conv(conv) = &layer.kind {
                let weight = channels_last(&conv.weight, conv);
                bytes.extend(weight.iter().chain(&conv.bias).flat_map(|value| value.to_le_bytes()));
            }
        }
        return bytes;
    };
    for table in quantized.input_tables() {
        bytes.extend(as_bytes(&table));
    }
    for (layer, numbers) in used(lowered).iter().zip(&quantized.layers) {
        if let (LayerKind::Conv(conv), QuantizedKind::Conv { weight, bias, multipliers, .. }) =
            (&layer.kind, &numbers.kind)
        {
            bytes.extend(as_bytes(&channels_last(weight, conv)));
            let values = multipliers.iter().map(|multiplier| &multiplier.value);
            bytes.extend(bias.iter().chain(values).flat_map(|value| value.to_le_bytes()));
            bytes.extend(multipliers.iter().map(|multiplier| multiplier.shift));
        }
        if let Some(table) = &numbers.table {
            bytes.extend(as_bytes(table));
        }
    }
    bytes
}

/// From `[O, I, kH, kW]` to `[O, kH, kW, I]`.
fn channels_last<T: Copy>(weight: &[T], conv: &Convolution) -> Vec<T> {
    let window = conv.window.kernel[0] * conv.window.kernel[1];
    let mut made = Vec::with_capacity(weight.len());
    for row in weight.chunks_exact(conv.taps().max(1)) {
        for tap in 0..window {
            made.extend(row.iter().skip(tap).step_by(window.max(1)));
        }
    }
    made
}
