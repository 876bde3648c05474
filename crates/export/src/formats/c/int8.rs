//! The 8-bit network.

use super::{SHARED, Writer, layer_types, list, renamed, spans};
use crate::formats::pack::{
    Kernel, Step, channels_last, fill, folded, geometry, inputs_last, is_padded, lines, section, steps, table_alone,
};
use kindling_graph::{Answer, LayerKind, Quantized, QuantizedKind, Source};
use std::fmt::Write as _;

const INT8: &str = include_str!("int8.c");
const AVX2: &str = include_str!("avx2_int8.c");
/// Channels worked on at once.
const BLOCKS: &[usize] = &[2, 1];
const DEPTHWISE_BLOCKS: &[usize] = &[4, 1];

/// Constants, kernels and calls.
pub(super) fn writer(quantized: &Quantized) -> Writer {
    let lowered = &quantized.lowered;
    let mut writer = Writer::default();
    let zero_of = |source: Option<&Source>| match source {
        Some(Source::Node(before)) => quantized.layers.get(*before).map_or(0, |layer| layer.output.zero),
        _ => quantized.input.zero,
    };
    for (step, numbers) in steps(lowered).iter().zip(&quantized.layers) {
        let Step { at, layer, kernel, from, other } = step;
        let (x, y) = (format!("arena + {}", from.offset), format!("arena + {}", layer.offset));
        let (zero, count, sizes) = (i32::from(numbers.raw.zero), layer.len(), list(&geometry(layer)));
        let from_zero = zero_of(layer.inputs.first());
        let ends = numbers.limits.map(|end| i32::from(end) - zero);
        let ends = format!("{}, {}, {zero}", ends[0], ends[1]);
        writer.title(step);
        let mut table = numbers.table.clone();
        match (&layer.kind, &numbers.kind) {
            (LayerKind::Conv(conv), QuantizedKind::Conv { weight, bias, multipliers, .. }) => {
                let last = *at == lowered.output && quantized.logits_from_codes().is_none();
                let last_name = if lowered.answer == Answer::Map { "map_conv" } else { "last_conv" };
                let (name, packed) = match kernel {
                    _ if last => (last_name, inputs_last(conv, weight)),
                    Kernel::Scale => ("scale", weight.clone()),
                    Kernel::Depthwise => ("depthwise", channels_last(conv, weight)),
                    _ => ("conv", inputs_last(conv, weight)),
                };
                let (whole, bare) = (!last, last || (is_padded(conv) && *kernel != Kernel::Scale));
                let is_fast = matches!(name, "conv" | "depthwise")
                    && writer.fast.fits_codes(step, conv, multipliers.iter().map(|m| m.shift));
                if is_fast && name == "conv" && !conv.taps().is_multiple_of(16) {
                    writer.padded_codes(&format!("weight_{at}"), &packed);
                } else {
                    writer.codes(&format!("weight_{at}"), &packed);
                }
                if whole {
                    writer.words(&format!("bias_{at}"), &folded(bias, weight, from_zero));
                }
                if bare {
                    writer.words(&format!("bare_{at}"), bias);
                }
                let values: Vec<i32> = multipliers.iter().map(|m| m.value).collect();
                writer.words(&format!("value_{at}"), &values);
                writer.array("uint8_t", &format!("shift_{at}"), 1, multipliers.iter().map(|m| m.shift.to_string()));
                let or_none = |there: bool, name: &str| if there { format!("{name}_{at}") } else { "0".into() };
                let _ = writeln!(
                    writer.constants,
                    "static const conv_layer layer_{at} = {{weight_{at}, {}, {}, value_{at}, shift_{at}, {from_zero}, \
                     {ends},\n    {{{sizes}}}}};",
                    or_none(whole, "bias"),
                    or_none(bare, "bare"),
                );
                writer.used.extend(["geometry", "conv_layer", name]);
                if last {
                    writer.call(&format!("{last_name}(&layer_{at}, {x}, logits)"));
                    break;
                }
                match kernel {
                    Kernel::Conv => writer.needs(step, conv, BLOCKS),
                    Kernel::Depthwise => writer.needs(step, conv, DEPTHWISE_BLOCKS),
                    _ => {}
                }
                let name = writer.fast.call(name, is_fast);
                writer.call(&format!("{name}(&layer_{at}, {x}, {y})"));
            }
            (LayerKind::Add, QuantizedKind::Add(sum)) => {
                let other_zero = zero_of(layer.inputs.last());
                let ([a, b], shift) = (sum.factors, sum.shift);
                let _ = writeln!(
                    writer.constants,
                    "static const add_layer layer_{at} = {{{from_zero}, {other_zero}, {a}, {b}, {shift}, {ends}}};"
                );
                let b = format!("arena + {}", other.offset);
                writer.used.insert("add");
                let name = writer.fast.call("add", true);
                writer.call(&format!("{name}(&layer_{at}, {x}, {b}, {y}, {count})"));
            }
            (LayerKind::GlobalAveragePool, QuantizedKind::Mean(factor)) => {
                let (channels, plane) = (from.shape[0], from.plane());
                let _ = writeln!(
                    writer.constants,
                    "static const mean_layer layer_{at} = {{{channels}, {plane}, {from_zero}, {}, {}, {ends}}};",
                    factor.value, factor.shift
                );
                writer.used.insert("mean");
                let name = writer.fast.call("mean", channels >= 8);
                writer.call(&format!("{name}(&layer_{at}, {x}, {y})"));
            }
            (LayerKind::MaxPool(_) | LayerKind::AveragePool(_), _) => {
                let name = if *kernel == Kernel::MaxPool { "max_pool" } else { "average_pool" };
                let _ = writeln!(writer.constants, "static const geometry layer_{at} = {{{sizes}}};");
                writer.used.extend(["geometry", name]);
                writer.call(&format!("{name}(&layer_{at}, {x}, {y})"));
                table = table_alone(numbers);
            }
            // An activation alone; its table also copies where it changes nothing.
            _ => table = Some(table_alone(numbers).unwrap_or_else(|| (i8::MIN..=i8::MAX).collect())),
        }
        if let Some(table) = table {
            writer.codes(&format!("table_{at}"), &table);
            writer.used.insert("lookup");
            let x = if *kernel == Kernel::Activation { &x } else { &y };
            writer.call(&format!("lookup(table_{at}, {x}, {y}, {count})"));
        }
    }
    if let (Some(factor), Some(layer), Some(numbers)) =
        (quantized.logits_from_codes(), lowered.layers.get(lowered.output), quantized.layers.get(lowered.output))
    {
        let (offset, zero) = (layer.offset, numbers.output.zero);
        writer.used.insert("last_codes");
        writer.call(&format!("last_codes(arena + {offset}, {zero}, {}, {}, logits)", factor.value, factor.shift));
    }
    let tables = quantized.input_tables();
    writer.bytes += 256 * tables.len();
    let codes: String =
        tables.iter().map(|table| format!("    {{\n{}    }},\n", lines(table.iter().map(i8::to_string)))).collect();
    let is_boxes = lowered.answer == Answer::Map;
    let part = |name: &str| renamed(section(INT8, name));
    let input = lowered.input_offset.to_string();
    let run = fill(
        &part(if is_boxes { "run_boxes" } else { "run" }),
        &[
            ("ARENA", &lowered.arena.to_string()),
            ("ASK", writer.fast.question()),
            ("CALLS", &writer.calls),
            ("INPUT", &input),
            ("READING", &fill(section(INT8, "reading"), &[("CODES", &codes)])),
            ("FUNCTION", &fill(&part("logits"), &[("INPUT", &input)])),
            ("RESIZED", &part("resized")),
            ("FIND", &fill(&renamed(section(SHARED, "find")), &[("NUMBER", "int32_t")])),
        ],
    );
    writer.kernels = int8_kernels(&writer, if is_boxes { "MAP_NUMBERS" } else { "MODEL_INT8_CLASSES" });
    writer.calls = run;
    writer
}

fn int8_kernels(writer: &Writer, outputs: &str) -> String {
    let mut text = String::new();
    let limiting = ["conv", "depthwise", "scale", "mean", "add"].iter().any(|name| writer.used.contains(name));
    text.push_str(section(INT8, "scaled"));
    if limiting {
        text.push_str(section(INT8, "limited"));
    }
    for ((kind, sizes), padded) in
        [("conv", &writer.conv), ("depthwise", &writer.depthwise)].into_iter().zip(writer.padded)
    {
        let conv = kind == "conv";
        let name = if conv { "conv_tile_{{B}}x{{P}}{{KIND}}" } else { "depthwise_tile_{{B}}{{KIND}}" };
        let code = if conv { "a[p * step + i]" } else { "a[j]" };
        if conv && !sizes.is_empty() {
            text.push_str(section(INT8, "wide"));
        }
        for size in sizes.iter().rev() {
            let size = size.to_string();
            let tile = |pixels: &str, kind: &str, about: &str, prepare: &str, bias: &str, code: &str| {
                let eight = "eight(a + p * step + i)";
                let clipped = format!("_mm_sub_epi16({eight}, _mm_set1_epi16((short)zero))");
                let values = [
                    ("EIGHT", if kind.is_empty() { eight } else { &clipped }),
                    ("B", size.as_str()),
                    ("P", pixels),
                    ("KIND", kind),
                    ("ABOUT", about),
                    ("PREPARE", prepare),
                    ("BIAS", bias),
                    ("CODE", code),
                ];
                fill(section(INT8, name), &values)
            };
            for pixels in if conv { &["1", "2"][..] } else { &["1"] } {
                text.push_str(&tile(pixels, "", "", "", "bias", code));
            }
            let mut whole = String::new();
            if padded {
                let about = ", partly in the padding";
                let prepare = "    const int zero = l->from_zero;\n";
                text.push_str(&tile("1", "_clipped", about, prepare, "bare", &format!("({code} - zero)")));
                whole.push_str(section(INT8, &format!("{kind}_whole_padded_{{{{B}}}}")));
            }
            whole.push_str(section(INT8, &format!("{kind}_whole_{{{{B}}}}")));
            let span = section(INT8, &format!("{kind}_span_{{{{B}}}}"));
            text.push_str(&fill(&fill(span, &[("WHOLE", &whole)]), &[("B", &size)]));
        }
        if writer.used.contains(kind) {
            text.push_str(&fill(section(INT8, kind), &[("SPANS", &spans(INT8, kind, sizes))]));
        }
    }
    let rest = ["scale", "last_conv", "map_conv", "last_codes", "add", "max_pool", "average_pool", "mean", "lookup"];
    let kernels = rest.iter().filter(|name| writer.used.contains(*name));
    text.extend(kernels.map(|name| fill(section(INT8, name), &[("COUNT", outputs)])));
    text.push_str(&writer.fast.text(AVX2, "requantised"));
    let windows = !writer.conv.is_empty() || !writer.depthwise.is_empty();
    let unroll = if windows { section(SHARED, "unroll") } else { "" };
    unroll.to_owned() + &layer_types(writer, INT8, windows) + &text
}
