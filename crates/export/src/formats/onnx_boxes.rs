//! What ONNX files do with a map of objects: [`find_objects`](kindling_graph::find_objects) in plain operators.

use super::Source;
use super::onnx::{Ints, Writer, int, value};
use crate::ExportError;
use crate::onnx_proto::{Dimension, ValueInfoProto, data_type};
use kindling_graph::MOST_OBJECTS;

/// The outputs of a file that finds objects, the surest first: float `[N, n, 4]`, the left, top, right and bottom side in shares
/// of the picture's width and height; float `[N, n]`, 0 where there is no object; int64 `[N, n]`, the label's number.
pub const OUTPUTS: [&str; 3] = ["boxes", "scores", "classes"];
/// In the metadata: the score from which on to say that an object is there.
pub(crate) const AT_LEAST_KEY: &str = "at_least";
/// Under which the file says how many objects to say at most, where not all.
pub(crate) const AT_MOST_KEY: &str = "at_most";
/// No side is further from the middle than `exp` of this, in places.
const FARTHEST: f32 = 6.0;

/// Objects said of a picture.
fn count([channels, height, width]: [usize; 3]) -> usize {
    MOST_OBJECTS.min((channels - 4) * height * width)
}

/// `[channels, height, width]` of the map.
pub(super) fn map_shape(source: &Source<'_>) -> Result<[usize; 3], ExportError> {
    let shape = source.graph.output_shape()?;
    <[usize; 3]>::try_from(shape).map_err(|shape| {
        ExportError::Input(format!("the output has the shape {shape:?}; a map of objects has three axes"))
    })
}

/// Ends the graph in [`OUTPUTS`], `map` being float `[N, channels, height, width]`.
pub(super) fn find(writer: &mut Writer, map: &str, shape: [usize; 3]) {
    let [channels, height, width] = shape;
    let (classes, plane, count) = (channels - 4, height * width, count(shape));
    let mut channels_of = |name: &str, from: usize, to: usize| {
        let numbers: Vec<i64> = (from..to).map(|channel| channel as i64).collect();
        let list = writer.ints(&format!("objects/{name}_channels"), &[to - from], &numbers);
        writer.node_ints(&format!("objects/{name}"), "Gather", &[map, &list], &[("axis", Ints::One(1))])
    };
    let logits = channels_of("logits", 0, classes);
    let reaches = channels_of("reaches", classes, channels);

    // Peaks: what is as great as the greatest of the nine places around it, itself among them.
    let around =
        [("kernel_shape", Ints::List(&[3, 3])), ("strides", Ints::List(&[1, 1])), ("pads", Ints::List(&[1; 4]))];
    let greatest = writer.node_ints("objects/greatest", "MaxPool", &[&logits], &around);
    let peak = writer.node("objects/is_peak", "Equal", &[&logits, &greatest]);
    let float = [("to", Ints::One(i64::from(data_type::FLOAT)))];
    let peak = writer.node_ints("objects/peak", "Cast", &[&peak], &float);
    let scores = writer.node("objects/scores", "Sigmoid", &[&logits]);
    let scores = writer.node("objects/peak_scores", "Mul", &[&scores, &peak]);
    let list = writer.ints("objects/list", &[2], &[0, (classes * plane) as i64]);
    let scores = writer.node("objects/score_list", "Reshape", &[&scores, &list]);
    let most = writer.ints("objects/most", &[1], &[count as i64]);
    let ways = vec![int("axis", 1), int("largest", 1), int("sorted", 1)];
    let [_, scores_out, classes_out] = OUTPUTS;
    writer.push_outputs("objects/surest", "TopK", &[&scores, &most], &[scores_out, "objects/at"], ways);

    // Where they are, and of which class.
    let places = writer.ints("objects/places", &[], &[plane as i64]);
    writer.push("objects/class", "Div", &["objects/at", &places], classes_out, Vec::new());
    let before = writer.node("objects/before", "Mul", &[classes_out, &places]);
    let place = writer.node("objects/place", "Sub", &["objects/at", &before]);

    // The four sides: from the middle of the place, by how far it reaches.
    let share = [width, height, width, height].map(|places| 1.0 / places as f32);
    let middles: Vec<f32> = (0..plane)
        .flat_map(|at| [at % width, at / width, at % width, at / width])
        .zip(share.iter().cycle())
        .map(|(place, share)| (place as f32 + 0.5) * share)
        .collect();
    let middles = writer.floats("objects/middles", &[plane, 4], &middles);
    let middles = writer.node_ints("objects/middle", "Gather", &[&middles, &place], &[("axis", Ints::One(0))]);
    let rows = writer.ints("objects/reach_rows", &[3], &[0, 4, plane as i64]);
    let reaches = writer.node("objects/reach_list", "Reshape", &[&reaches, &rows]);
    let last = [("perm", Ints::List(&[0, 2, 1]))];
    let reaches = writer.node_ints("objects/reach_places", "Transpose", &[&reaches], &last);
    let column = writer.ints("objects/column", &[3], &[0, count as i64, 1]);
    let place = writer.node("objects/place_column", "Reshape", &[&place, &column]);
    let zeros = writer.ints("objects/four", &[1, 1, 4], &[0; 4]);
    let place = writer.node("objects/place_sides", "Add", &[&place, &zeros]);
    let reaches = writer.node_ints("objects/reach", "GatherElements", &[&reaches, &place], &[("axis", Ints::One(1))]);
    let [least, farthest] = [("least", f32::MIN), ("farthest", FARTHEST)]
        .map(|(name, limit)| writer.floats(&format!("objects/{name}"), &[], &[limit]));
    let reaches = writer.node("objects/reach_limited", "Clip", &[&reaches, &least, &farthest]);
    let reaches = writer.node("objects/reach_in_places", "Exp", &[&reaches]);
    let [right, down, ..] = share;
    let signed = writer.floats("objects/sides", &[4], &[-right, -down, right, down]);
    let reaches = writer.node("objects/reach_in_shares", "Mul", &[&reaches, &signed]);
    let sides = writer.node("objects/whole", "Add", &[&middles, &reaches]);
    let [zero, one] =
        [("zero", 0.0), ("one", 1.0)].map(|(name, limit)| writer.floats(&format!("objects/{name}"), &[], &[limit]));
    writer.push("objects/box", "Clip", &[&sides, &zero, &one], OUTPUTS[0], Vec::new());
}

/// What comes out.
pub(super) fn outputs(shape: [usize; 3]) -> Vec<ValueInfoProto> {
    let count = count(shape) as i64;
    let dims = |more: &[i64]| {
        let all = [count].into_iter().chain(more.iter().copied()).map(Dimension::Value);
        [Dimension::Param("N".into())].into_iter().chain(all).collect::<Vec<_>>()
    };
    let kinds = [
        (
            data_type::FLOAT,
            dims(&[4]),
            "Of each object the left, top, right and bottom side, in shares of the picture's size.",
        ),
        (data_type::FLOAT, dims(&[]), "How sure it is of each, 0 to 1, the surest first; 0 is no object."),
        (data_type::INT64, dims(&[]), "Each one's label: its place among the labels of the metadata."),
    ];
    let output = |(name, (kind, dims, about)): (&str, (i32, Vec<Dimension>, &str))| {
        let mut output = value(name, kind, dims);
        output.doc_string = about.into();
        output
    };
    OUTPUTS.into_iter().zip(kinds).map(output).collect()
}
