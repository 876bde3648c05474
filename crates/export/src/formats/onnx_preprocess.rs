//! Preprocessing as ONNX operators: bytes of any size in, the network's input out.

use super::onnx::{INPUT, Ints, Writer};
use crate::onnx_proto::data_type;
use kindling_graph::InputSpec;

/// Adds the operators that turn `image`, uint8 `[N, H, W, 3]`, into the network's float input
/// `[N, 3, height, width]`; gives the name of that value.
///
/// ONNX's own Resize could do it only since opset 18, and runtimes differ in its antialiasing. Two
/// products with weight matrices that the graph computes from the image's shape are the same
/// everywhere: `rows [height, H] x image x columns [W, width]`.
///
/// With `whole` the resized levels are rounded, as where a picture is given in bytes.
pub(super) fn preprocess(writer: &mut Writer, spec: &InputSpec, whole: bool) -> String {
    let shape = writer.node("preprocess/shape", "Shape", &[INPUT]);
    let rows = axis_weights(writer, "rows", &shape, 1, spec.height);
    let columns = axis_weights(writer, "columns", &shape, 2, spec.width);
    // Moved while still bytes, a quarter of the traffic.
    let planes = writer.node_ints("preprocess/planes", "Transpose", &[INPUT], &[("perm", Ints::List(&[0, 3, 1, 2]))]);
    let to_float = [("to", Ints::One(i64::from(data_type::FLOAT)))];
    let float = writer.node_ints("preprocess/float", "Cast", &[&planes], &to_float);
    let narrow = writer.node("preprocess/narrow", "MatMul", &[&float, &columns]);
    let small = writer.node("preprocess/small", "MatMul", &[&rows, &narrow]);
    let small = match whole {
        true => {
            let half = writer.floats("preprocess/half", &[], &[0.5]);
            let raised = writer.node("preprocess/raised", "Add", &[&small, &half]);
            writer.node("preprocess/levels", "Floor", &[&raised])
        }
        false => small,
    };
    // (x / 255 - mean) / std as one product and one sum.
    let channels = spec.mean.iter().zip(&spec.std).map(|(mean, std)| (f64::from(*mean), f64::from(*std)));
    let (factor, offset): (Vec<f32>, Vec<f32>) =
        channels.map(|(mean, std)| ((1.0 / (255.0 * std)) as f32, (-mean / std) as f32)).unzip();
    let factor = writer.floats("preprocess/factor", &[1, spec.channels, 1, 1], &factor);
    let offset = writer.floats("preprocess/offset", &[1, spec.channels, 1, 1], &offset);
    let scaled = writer.node("preprocess/scaled", "Mul", &[&small, &factor]);
    writer.node("preprocess/normalised", "Add", &[&scaled, &offset])
}

/// The weights along one axis of the image: `[size, H]` for rows, `[W, size]` for columns.
///
/// Sample `o` of `size` is centred on `(o + 0.5) * scale - 0.5` in pixels, `scale` being the image's
/// length over `size`; pixel `i` weighs `max(0, 1 - |i - centre| / max(scale, 1))`, divided by the sum
/// over all pixels: an antialiased triangle filter when shrinking, bilinear with the edges held when growing.
fn axis_weights(writer: &mut Writer, name: &str, shape: &str, axis: i64, size: usize) -> String {
    let rows = axis == 1;
    let at = |part: &str| format!("preprocess/{name}/{part}");
    let to_float = [("to", Ints::One(i64::from(data_type::FLOAT)))];
    // Along which axis of the matrix the samples lie, and along which the pixels.
    let (sample_shape, pixel_axis) = if rows { ([size, 1], 1) } else { ([1, size], 0) };

    let index = writer.ints(&at("axis"), &[], &[axis]);
    let length = writer.node(&at("length"), "Gather", &[shape, &index]);
    let (zero, one) = (writer.ints("preprocess/zero", &[], &[0]), writer.ints("preprocess/step", &[], &[1]));
    let pixels = writer.node(&at("pixels"), "Range", &[&zero, &length, &one]);
    let pixels = writer.node_ints(&at("pixels_float"), "Cast", &[&pixels], &to_float);
    let pixel_shape = writer.ints(&at("pixel_shape"), &[2], if rows { &[1, -1] } else { &[-1, 1] });
    let pixels = writer.node(&at("pixels_line"), "Reshape", &[&pixels, &pixel_shape]);

    let length = writer.node_ints(&at("length_float"), "Cast", &[&length], &to_float);
    // (o + 0.5) / size, in double precision until here.
    let middles: Vec<f32> = (0..size).map(|o| ((o as f64 + 0.5) / size as f64) as f32).collect();
    let middles = writer.floats(&at("middles"), &sample_shape, &middles);
    let half = writer.floats("preprocess/half", &[], &[0.5]);
    let unit = writer.floats("preprocess/one", &[], &[1.0]);
    let centres = writer.node(&at("centres_edge"), "Mul", &[&middles, &length]);
    let centres = writer.node(&at("centres"), "Sub", &[&centres, &half]);

    let sizes = writer.floats(&at("size"), &[], &[size as f32]);
    let scale = writer.node(&at("scale"), "Div", &[&length, &sizes]);
    let support = writer.node(&at("support"), "Max", &[&scale, &unit]);
    let offset = writer.node(&at("offset"), "Sub", &[&pixels, &centres]);
    let distance = writer.node(&at("distance"), "Abs", &[&offset]);
    let distance = writer.node(&at("distance_scaled"), "Div", &[&distance, &support]);
    let ramp = writer.node(&at("ramp"), "Sub", &[&unit, &distance]);
    let ramp = writer.node(&at("triangle"), "Relu", &[&ramp]);
    let axes = writer.ints(&at("pixel_axis"), &[1], &[pixel_axis]);
    let sum = writer.node_ints(&at("sum"), "ReduceSum", &[&ramp, &axes], &[("keepdims", Ints::One(1))]);
    writer.node(&at("weights"), "Div", &[&ramp, &sum])
}
