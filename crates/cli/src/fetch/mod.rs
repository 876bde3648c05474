//! `kindling fetch`: downloads public data sets by the recipes in `datasets/`, and pretrained weights by
//! those in `backbones/`.

mod backbone;
mod convert;
pub(crate) mod download;
mod recipe;

use crate::commands::sample::refuse_full;
use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::output;
use recipe::{Layout, Recipe};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Downloads a public data set, checks it, and turns it into folders that every other command takes. A
/// download that broke off is taken up where it ended.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Fetch {
    #[command(subcommand)]
    what: Option<What>,
    /// Which one; --list shows them.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Where to; a folder of the data set's name by default.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// List the recipes.
    #[arg(long)]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What else there is to fetch.
#[derive(clap::Subcommand)]
enum What {
    /// Download the weights of a pretrained network.
    Backbone(backbone::FetchBackbone),
}

impl Fetch {
    pub(crate) fn run(self) -> Result<(), Failure> {
        if let Some(What::Backbone(backbone)) = self.what {
            return backbone.run();
        }
        if self.list {
            return list(self.json);
        }
        let name = self.name.unwrap_or_default();
        let recipe = recipe::named(&name)?;
        let to = self.to.unwrap_or_else(|| PathBuf::from(&name));
        let data = fetch(&recipe, &to)?;
        if self.json {
            return output::say_json(
                &json!({"name": name, "data": data, "licence": recipe.licence, "homepage": recipe.homepage}),
            );
        }
        output::say(&format!("{}\nlicence: {}\n\nkindling audit {}", recipe.title, recipe.licence, data.display()));
        Ok(())
    }
}

fn list(as_json: bool) -> Result<(), Failure> {
    let recipes = recipe::all()?;
    if as_json {
        return output::say_json(&recipes);
    }
    for (name, recipe) in &recipes {
        let known: u64 = recipe.files.iter().filter_map(|f| f.bytes).sum();
        let size = if known > 0 { output::bytes(known) } else { "size not known".into() };
        output::say(&format!(
            "{name:<14} {} ({size})\n{:15}{}\n{:15}licence: {}",
            recipe.title, "", recipe.about, "", recipe.licence
        ));
    }
    Ok(())
}

/// Downloads and converts; returns what to give to `--data`.
fn fetch(recipe: &Recipe, to: &Path) -> Result<PathBuf, Failure> {
    let done = match recipe.layout {
        Layout::Archive => recipe.files.first().map(|f| to.join(&f.name)),
        Layout::Idx | Layout::Cifar10 => Some(to.join("data")),
    };
    let done = done.ok_or_else(|| Failure::new(Exit::Failed, "the recipe names no file"))?;
    if done.is_dir() {
        refuse_full(&done)?;
    }
    std::fs::create_dir_all(to).map_err(Failure::io(to, "the folder cannot be made"))?;
    let mut files = Vec::new();
    for file in &recipe.files {
        let path = to.join(&file.name);
        let meter = Meter::new(&file.name, file.bytes.unwrap_or(0), Unit::Bytes);
        let hash = download::download(file, &path, &|done, total| {
            meter.total(total);
            meter.set(done);
        })?;
        drop(meter);
        match &file.sha256 {
            Some(_) => eprintln!("{}: SHA-256 as in the recipe", file.name),
            None => eprintln!("{}: nobody states its SHA-256, so it was not checked; it is {hash}", file.name),
        }
        files.push(path);
    }
    // Under another name until it is whole.
    let part = to.join("data.part");
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(Failure::io(&part, "what an earlier run left cannot be removed"))?;
    }
    match recipe.layout {
        Layout::Archive => return Ok(done),
        Layout::Idx => convert::idx(&files, &recipe.classes, &part)?,
        Layout::Cifar10 => convert::cifar10(&files, &recipe.classes, &part)?,
    }
    std::fs::rename(&part, &done).map_err(Failure::io(&done, "the pictures cannot be moved there"))?;
    Ok(done)
}

#[cfg(test)]
mod backbone_tests;
#[cfg(test)]
mod tests;
