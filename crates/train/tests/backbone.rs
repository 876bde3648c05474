//! Backbones' files, and the real one against PyTorch.

#![allow(clippy::unwrap_used)]

use kindling_graph::{Statistics, Tensor, execute_with, random_weights_with};
use kindling_models::backbones::{BACKBONES, Cut, End, backbone, whole};
use kindling_train::{Pretrained, TrainError, open_device, predict};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

#[test]
fn a_file_comes_back_and_others_are_refused() {
    for backbone in BACKBONES {
        let weights = random_weights_with(&whole(*backbone).unwrap(), 1, Statistics::Random).unwrap();
        let file = Pretrained { backbone: backbone.name().into(), source_sha256: "0".repeat(64), weights };
        let bytes = file.to_bytes().unwrap();
        assert_eq!(bytes, file.to_bytes().unwrap());
        assert_eq!(Pretrained::from_bytes(&bytes).unwrap(), file);
        assert!(matches!(Pretrained::from_bytes(&bytes[..bytes.len() - 4]), Err(TrainError::Backbone(_))));
        let mut less = file.clone();
        less.weights.remove("stem.conv.weight");
        let error = Pretrained::from_bytes(&less.to_bytes().unwrap()).unwrap_err().to_string();
        assert!(error.contains("stem.conv.weight"), "{error}");
        let other = Pretrained { backbone: "nonesuch".into(), ..file };
        let error = Pretrained::from_bytes(&other.to_bytes().unwrap()).unwrap_err().to_string();
        assert!(error.contains(backbone.name()), "{error}");
    }
    let error = Pretrained::from_bytes(b"<html>").unwrap_err().to_string();
    assert!(error.contains("kindling fetch backbone"), "{error}");
}

fn from_env(name: &str) -> Vec<u8> {
    let path = std::env::var_os(name).unwrap_or_else(|| panic!("set {name}; see benches/backbone_reference.py"));
    std::fs::read(path).unwrap()
}

/// Greatest difference, as a share of the greatest value where that is above 1.
fn furthest(found: &[f32], expected: &[f32]) -> (f32, f32) {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let difference = found.iter().zip(expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
    (difference, difference / greatest.max(1.0))
}

#[test]
#[ignore = "needs a backbone's weights and PyTorch's answers; see benches/backbone_reference.py"]
fn the_real_weights_answer_as_in_pytorch() {
    let pretrained = Pretrained::from_bytes(&from_env("KINDLING_BACKBONE")).unwrap();
    let backbone = backbone(&pretrained.backbone).unwrap();
    let bytes = from_env("KINDLING_BACKBONE_REFERENCE");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let array = |name: String| {
        let view = file.tensor(&name).unwrap();
        let data = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Tensor::new(view.shape().to_vec(), data).unwrap()
    };
    let device = open_device("flex").unwrap();
    let cases = file.names().iter().filter(|name| name.starts_with("input.")).count();
    assert!(cases > 0);
    let mut worst: BTreeMap<String, (f32, f32)> = BTreeMap::new();
    for case in 0..cases {
        let input = array(format!("input.{case}"));
        let graph = backbone.build(Cut::Whole, input.shape[2], End::Classes(backbone.trained().1)).unwrap();
        let mut found = BTreeMap::new();
        let logits = execute_with(&graph, &pretrained.weights, &input, &mut |id, tensor| {
            let name = &graph.nodes[id].name;
            if name.ends_with(".project.bn") || name.ends_with(".add") || name == "last.act" {
                let part = name.split('.').next().unwrap();
                found.insert(part.to_owned(), tensor.clone());
            }
        })
        .unwrap();
        let expected_logits = array(format!("logits.{case}"));
        let mut note = |name: &str, difference: (f32, f32)| {
            let worst = worst.entry(name.to_owned()).or_default();
            *worst = (worst.0.max(difference.0), worst.1.max(difference.1));
        };
        for (part, tensor) in &found {
            let name = part.strip_prefix('b').map_or("last".to_owned(), |block| format!("block.{block}"));
            note(&name, furthest(&tensor.data, &array(format!("{name}.{case}")).data));
        }
        note("logits", furthest(&logits.data, &expected_logits.data));
        // The same by the kernels that train it.
        let probabilities = predict(&device, &graph, &pretrained.weights, &input.data, 1).unwrap();
        let top = expected_logits.data.iter().copied().fold(f32::MIN, f32::max);
        let powers: Vec<f32> = expected_logits.data.iter().map(|v| (v - top).exp()).collect();
        let sum: f32 = powers.iter().sum();
        let expected: Vec<f32> = powers.iter().map(|v| v / sum).collect();
        note("probabilities, kernels", furthest(&probabilities, &expected));
    }
    assert_eq!(worst.len(), backbone.blocks() + 3);
    for (name, (difference, share)) in &worst {
        println!("{name:<24} greatest difference {difference:.2e}, {share:.2e} of the greatest value");
        assert!(*share < 1e-4, "{name}");
    }
}
