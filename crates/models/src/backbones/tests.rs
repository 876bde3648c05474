//! Every backbone is held to the same rules; none of these needs its weights.

#![allow(clippy::unwrap_used)]

use super::*;
use kindling_graph::{Cost, Statistics, Tensor, execute, execute_with, random_weights_with};

fn cuts(backbone: &dyn Backbone) -> Vec<Cut> {
    (0..backbone.blocks()).map(Cut::After).chain([Cut::Whole]).collect()
}

fn cost(backbone: &dyn Backbone, cut: Cut, resolution: usize, classes: usize) -> Cost {
    backbone.build(cut, resolution, End::Classes(classes)).unwrap().cost().unwrap()
}

fn image(graph: &Graph) -> Tensor {
    let shape: Vec<usize> = [1].into_iter().chain(graph.input.shape()).collect();
    let count: usize = shape.iter().product();
    Tensor::new(shape, (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()).unwrap()
}

/// As a publisher's checkpoint would name the weights of the whole.
fn checkpoint(backbone: &dyn Backbone, weights: &Weights) -> Weights {
    weights.iter().map(|(name, tensor)| (backbone.checkpoint_name(name).unwrap(), tensor.clone())).collect()
}

#[test]
fn every_cut_builds_at_multiples_of_its_stride_and_nowhere_else() {
    for backbone in BACKBONES {
        let mut before = 0;
        for cut in cuts(*backbone) {
            let stride = backbone.stride(cut).unwrap();
            assert!(stride >= before, "{cut:?}");
            before = stride;
            for resolution in [stride, 3 * stride, 160] {
                let graph = backbone.build(cut, resolution, End::Classes(3)).unwrap();
                assert_eq!(graph.output_shape().unwrap(), [3]);
                let pool = graph.nodes.iter().position(|node| node.name == "head.pool").unwrap();
                let kindling_graph::Source::Node(map) = graph.nodes[pool].inputs[0] else { panic!("{cut:?}") };
                assert_eq!(graph.shapes().unwrap()[map][1..], [resolution / stride; 2], "{cut:?}");
                assert!(backbone.build(cut, resolution, End::Features).is_ok());
            }
            for resolution in [0, stride + 1] {
                let error = backbone.build(cut, resolution, End::Features).unwrap_err().to_string();
                assert!(error.contains("multiple"), "{error}");
            }
        }
        let beyond = Cut::After(backbone.blocks());
        assert_eq!(backbone.stride(beyond), None);
        assert!(backbone.build(beyond, 224, End::Features).is_err());
        assert!(backbone.build(Cut::Whole, 224, End::Classes(1)).is_err());
        assert!(std::ptr::eq(super::backbone(backbone.name()).unwrap(), *backbone));
    }
    assert!(super::backbone("nonesuch").err().unwrap().to_string().contains("efficientnet-lite0"));
}

#[test]
fn efficientnet_lite0_costs_what_is_published() {
    let lite = backbone("efficientnet-lite0").unwrap();
    let graph = whole(lite).unwrap();
    let trained: u64 = graph.params().unwrap().iter().filter(|p| p.trainable).map(|p| p.numbers()).sum();
    // As many as its checkpoint holds; Google's page says 4.65 M and 407 M multiply-adds.
    assert_eq!(trained, 4_652_008);
    let macs = cost(lite, Cut::Whole, 224, 1000).macs;
    assert!((380_000_000..410_000_000).contains(&macs), "{macs}");
    // What may compete under 200 kB of weights.
    assert!(cost(lite, Cut::After(3), 160, 3).weights_bytes < 200_000);
}

#[test]
fn every_tensor_of_a_checkpoint_is_accounted_for() {
    for backbone in BACKBONES {
        let graph = whole(*backbone).unwrap();
        let weights = random_weights_with(&graph, 7, Statistics::Random).unwrap();
        let file = checkpoint(*backbone, &weights);
        assert_eq!(file.len(), weights.len(), "two parameters share a name");
        assert_eq!(weights_of_checkpoint(*backbone, file.clone()).unwrap(), weights);
        let told = |file: Weights| weights_of_checkpoint(*backbone, file).unwrap_err().to_string();
        let some = file.keys().nth(5).unwrap().clone();
        let mut less = file.clone();
        less.remove(&some);
        assert!(told(less).contains(&format!("`{some}` is missing")));
        let mut more = file.clone();
        more.insert("another.weight".into(), file[&some].clone());
        assert!(told(more).contains("`another.weight` is not of"));
        let mut other = file.clone();
        other.get_mut(&some).unwrap().shape.insert(0, 1);
        assert!(told(other).contains(&format!("`{some}` has the shape")));
        for name in ["stem.conv", "b99.dw.conv.weight", "b0.dw.conv.size", "bx.dw.conv.weight", "head"] {
            assert_eq!(backbone.checkpoint_name(name), None, "{name}");
        }
    }
}

#[test]
fn a_cut_computes_what_the_whole_does_up_to_there() {
    for backbone in BACKBONES {
        let whole_graph = backbone.build(Cut::Whole, 64, End::Classes(backbone.trained().1)).unwrap();
        let weights = random_weights_with(&whole_graph, 3, Statistics::Random).unwrap();
        let image = image(&whole_graph);
        let mut planes = std::collections::BTreeMap::new();
        execute_with(&whole_graph, &weights, &image, &mut |id, tensor| {
            planes.insert(whole_graph.nodes[id].name.clone(), tensor.clone());
        })
        .unwrap();
        for cut in cuts(*backbone) {
            let graph = backbone.build(cut, 64, End::Features).unwrap();
            let cut_weights = pretrained_weights(&graph, &weights, 0).unwrap();
            let features = execute(&graph, &cut_weights, &image).unwrap();
            let pool = graph.nodes.iter().find(|node| node.name == "head.pool").unwrap();
            let kindling_graph::Source::Node(last) = pool.inputs[0] else { panic!("{cut:?}") };
            let plane = &planes[&graph.nodes[last].name];
            let size = plane.shape[2] * plane.shape[3];
            let means: Vec<f32> = plane.data.chunks(size).map(|p| p.iter().sum::<f32>() / size as f32).collect();
            assert_eq!(features.data.len(), means.len());
            for (a, b) in features.data.iter().zip(&means) {
                assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{cut:?}: {a} is not {b}");
            }
        }
    }
}

#[test]
fn only_the_classifier_is_drawn_anew() {
    for backbone in BACKBONES {
        let pretrained = random_weights_with(&whole(*backbone).unwrap(), 3, Statistics::Random).unwrap();
        let graph = backbone.build(Cut::After(2), 32, End::Classes(3)).unwrap();
        let weights = pretrained_weights(&graph, &pretrained, 1).unwrap();
        graph.check_weights(&weights).unwrap();
        for (name, tensor) in &weights {
            if name.starts_with("head.") {
                assert_eq!(tensor, &initial_weights(&graph, 1).unwrap()[name]);
            } else {
                assert_eq!(tensor, &pretrained[name]);
            }
        }
        let name = weights.keys().find(|name| !name.starts_with("head.")).unwrap();
        let mut short = pretrained.clone();
        short.remove(name);
        assert!(pretrained_weights(&graph, &short, 1).unwrap_err().to_string().contains(name.as_str()));
        let mut other = pretrained.clone();
        other.insert(name.clone(), Tensor::new(vec![1], vec![0.0]).unwrap());
        assert!(pretrained_weights(&graph, &other, 1).unwrap_err().to_string().contains("has the shape [1]"));
    }
}
