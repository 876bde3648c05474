//! The float network.

use super::{SHARED, Writer, layer_types, list, number, spans};
use crate::formats::pack::{
    Kernel, Step, channels_last, fill, geometry, in_blocks, limits, normalisation, section, steps,
};
use kindling_graph::{Activation, Answer, LayerKind, Lowered};
use std::fmt::Write as _;

const FLOAT: &str = include_str!("float.c");
const AVX2: &str = include_str!("avx2_float.c");
/// Channels worked on at once.
const BLOCKS: &[usize] = &[8, 4, 1];

/// Constants, kernels and calls.
pub(super) fn writer(lowered: &Lowered) -> Writer {
    let mut writer = Writer::default();
    for step in steps(lowered) {
        let Step { at, layer, kernel, from, other } = &step;
        let (x, y) = (format!("arena + {}", from.offset), format!("arena + {}", layer.offset));
        let [low, high] = limits(layer.activation).map(number);
        let ends = format!("{low}, {high}");
        let count = layer.len();
        let sizes = list(&geometry(layer));
        writer.title(&step);
        match (&layer.kind, kernel) {
            (LayerKind::Conv(conv), _) => {
                let (name, weight) = match kernel {
                    Kernel::Scale => ("scale", conv.weight.clone()),
                    Kernel::Depthwise => ("depthwise", channels_last(conv, &conv.weight)),
                    _ => ("conv", in_blocks(conv, &conv.weight, BLOCKS)),
                };
                writer.floats(&format!("weight_{at}"), &weight);
                writer.floats(&format!("bias_{at}"), &conv.bias);
                let _ = writeln!(
                    writer.constants,
                    "static const conv_layer layer_{at} = {{weight_{at}, bias_{at}, {ends},\n    {{{sizes}}}}};"
                );
                if *kernel != Kernel::Scale {
                    writer.needs(&step, conv, BLOCKS);
                }
                writer.used.extend(["geometry", "conv_layer", name]);
                let is_fast = *kernel != Kernel::Scale && writer.fast.fits_floats(&step, conv);
                let name = writer.fast.call(name, is_fast);
                writer.call(&format!("{name}(&layer_{at}, {x}, {y})"));
            }
            (LayerKind::MaxPool(_) | LayerKind::AveragePool(_), _) => {
                let name = if *kernel == Kernel::MaxPool { "max_pool" } else { "average_pool" };
                let _ = writeln!(writer.constants, "static const geometry layer_{at} = {{{sizes}}};");
                writer.used.extend(["geometry", name]);
                writer.call(&format!("{name}(&layer_{at}, {x}, {y})"));
            }
            (LayerKind::Add, _) => {
                writer.used.insert("add");
                let name = writer.fast.call("add", true);
                writer.call(&format!("{name}({x}, arena + {}, {y}, {count}, {ends})", other.offset));
            }
            (LayerKind::GlobalAveragePool, _) => {
                writer.used.insert("mean");
                let name = writer.fast.call("mean", true);
                writer.call(&format!("{name}({x}, {}, {}, {y})", from.shape[0], from.plane()));
            }
            (LayerKind::Activation, _) => {}
        }
        // What is not done by limits; a layer that is an activation alone reads its input.
        let x = if *kernel == Kernel::Activation { &x } else { &y };
        match layer.activation {
            Activation::Clamp { .. } if matches!(kernel, Kernel::Activation) => {
                writer.used.insert("clamp");
                writer.call(&format!("clamp({x}, {y}, {count}, {ends})"));
            }
            Activation::HardSwish => {
                writer.used.insert("hard_swish");
                let name = writer.fast.call("hard_swish", true);
                writer.call(&format!("{name}({x}, {y}, {count})"));
            }
            Activation::Sigmoid => {
                writer.used.insert("sigmoid");
                writer.call(&format!("sigmoid({x}, {y}, {count})"));
            }
            Activation::Identity | Activation::Clamp { .. } => {}
        }
    }
    let (factors, addends) = normalisation(lowered);
    let braces = |values: &[f32]| format!("{{{}}}", values.iter().map(|v| number(*v)).collect::<Vec<_>>().join(", "));
    let output = lowered.layers.get(lowered.output).map_or(0, |layer| layer.offset);
    let [fast_levels, levels] = writer.fast.alone(AVX2, "levels");
    let (factors, addends) = (braces(&factors), braces(&addends));
    let values = [("FACTORS", factors.as_str()), ("ADDENDS", &addends), ("FAST_LEVELS", &fast_levels)];
    let reading = fill(section(FLOAT, "reading").trim_end(), &values);
    let run = fill(
        section(FLOAT, if lowered.answer == Answer::Map { "run_boxes" } else { "run" }),
        &[
            ("ARENA", &lowered.arena.to_string()),
            ("READING", &reading),
            ("LEVELS", &levels),
            ("ASK", writer.fast.question()),
            ("CALLS", &writer.calls),
            ("OUTPUT", &output.to_string()),
            ("INPUT", &lowered.input_offset.to_string()),
            ("RESIZED", section(FLOAT, "resized")),
            ("FIND", &fill(section(SHARED, "find"), &[("NUMBER", "float")])),
        ],
    );
    writer.kernels = float_kernels(&writer);
    writer.calls = run;
    writer
}

fn float_kernels(writer: &Writer) -> String {
    let mut text = String::new();
    for (kind, sizes) in [("conv", &writer.conv), ("depthwise", &writer.depthwise)] {
        let wide = |p: usize| p == 8;
        let tiles: &[usize] = if kind == "conv" { &[1, 4, 8] } else { &[1, 4] };
        for size in sizes.iter().rev() {
            let size = size.to_string();
            for pixels in tiles {
                let tile = section(FLOAT, &format!("{kind}_tile_{{{{B}}}}x{{{{P}}}}"));
                let tile = fill(tile, &[("B", &size), ("P", &pixels.to_string())]);
                if wide(*pixels) {
                    let _ =
                        write!(text, "#if defined(__AVX__) || defined(__aarch64__)\n{}\n#endif\n\n", tile.trim_end());
                } else {
                    text.push_str(&tile);
                }
            }
            text.push_str(&fill(section(FLOAT, &format!("{kind}_span_{{{{B}}}}")), &[("B", &size)]));
        }
        if writer.used.contains(kind) {
            text.push_str(&fill(section(FLOAT, kind), &[("SPANS", &spans(FLOAT, kind, sizes))]));
        }
    }
    let rest = ["scale", "add", "max_pool", "average_pool", "mean", "clamp", "hard_swish", "sigmoid"];
    text.extend(rest.iter().filter(|name| writer.used.contains(*name)).map(|name| section(FLOAT, name)));
    text.push_str(&writer.fast.text(AVX2, ""));
    // What comes before: the types.
    let windows = !writer.conv.is_empty() || !writer.depthwise.is_empty();
    let mut types = String::new();
    if windows {
        types.push_str(section(SHARED, "unroll"));
        types.push_str(section(FLOAT, "lanes"));
    }
    types + &layer_types(writer, FLOAT, windows) + &text
}
