//! Recipes: where a public data set is, how to tell that it arrived whole, whose it is, how to read it.

use crate::failure::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The recipes in `datasets/`; each is one line here.
const RECIPES: &[(&str, &str)] = &[
    ("cifar10", include_str!("../../../../datasets/cifar10.toml")),
    ("fashion-mnist", include_str!("../../../../datasets/fashion-mnist.toml")),
    ("fire-smoke", include_str!("../../../../datasets/fire-smoke.toml")),
    ("mnist", include_str!("../../../../datasets/mnist.toml")),
];

/// How the files are turned into folders of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// One archive with folders of classes; kept as it is, every command reads it.
    Archive,
    /// Images and labels in gzipped IDX files (LeCun): train images, train labels, test images, test labels.
    Idx,
    /// CIFAR-10's binary version in a tar.gz.
    Cifar10,
}

/// One data set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) homepage: String,
    pub(crate) licence: String,
    pub(crate) layout: Layout,
    /// In the order of the labels' numbers.
    pub(crate) classes: Vec<String>,
    #[serde(rename = "file")]
    pub(crate) files: Vec<File>,
}

/// One file to download.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    /// Tried in turn.
    pub(crate) urls: Vec<String>,
    pub(crate) bytes: Option<u64>,
    /// In hexadecimal; absent where no reliable source states it.
    pub(crate) sha256: Option<String>,
    /// For people who compare with the publisher's page; not checked.
    pub(crate) md5: Option<String>,
}

/// Every recipe by name.
pub(crate) fn all() -> Result<BTreeMap<&'static str, Recipe>, Failure> {
    let parse = |(name, text): &(&'static str, &str)| {
        let recipe = toml::from_str(text).map_err(|e| {
            Failure::new(Exit::Failed, format!("the recipe cannot be read: {e}")).at(format!("datasets/{name}.toml"))
        })?;
        Ok((*name, recipe))
    };
    RECIPES.iter().map(parse).collect()
}

/// The recipe of this name.
pub(crate) fn named(name: &str) -> Result<Recipe, Failure> {
    let mut all = all()?;
    all.remove(name).ok_or_else(|| {
        let known: Vec<_> = all.keys().copied().collect();
        Failure::new(Exit::Usage, format!("there is no recipe `{name}`"))
            .mend(format!("use one of {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_complete() {
        for (name, recipe) in all().unwrap() {
            assert!(recipe.classes.len() >= 2 && !recipe.files.is_empty(), "{name}");
            assert_eq!(recipe.files.len(), if recipe.layout == Layout::Idx { 4 } else { 1 }, "{name}");
            for file in &recipe.files {
                assert!(!file.urls.is_empty() && !file.name.contains(['/', '\\']), "{name}");
                let hex =
                    |s: &String, n| s.len() == n && s.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
                assert!(file.sha256.as_ref().is_none_or(|s| hex(s, 64)), "{name}");
                assert!(file.md5.as_ref().is_none_or(|s| hex(s, 32)), "{name}");
            }
        }
    }

    #[test]
    fn every_recipe_in_the_folder_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut there: Vec<String> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        there.sort();
        assert_eq!(there, RECIPES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
