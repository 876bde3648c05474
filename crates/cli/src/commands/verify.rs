//! `kindling verify`.

use crate::commands::audit;
use crate::failure::{Exit, Failure};
use crate::output;
use kindling_data::{Dataset, View};
use kindling_export::{Card, Example, verify_bundle};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Checks a downloaded model with nothing but its files: that none was changed, that all are of one network and answer alike,
/// and, with the examples, that they are as good as the card says.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// The download: a zip, or the folder it was unpacked to.
    bundle: PathBuf,
    /// The examples that the model was made from, as they were given: a folder with one folder a class, or an archive of one.
    /// Their test split is answered anew.
    #[arg(long, value_name = "DIR|ZIP")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scratch = tempfile::tempdir()
            .map_err(|e| Failure::new(Exit::Failed, format!("a temporary folder cannot be made: {e}")))?;
        let bundle = match self.bundle.is_dir() {
            true => self.bundle.clone(),
            false => unpack(&self.bundle, &scratch.path().join("bundle"))?,
        };
        let examples = match &self.data {
            Some(data) => examples(data, &bundle, &scratch.path().join("dataset"))?,
            None => Vec::new(),
        };
        let findings = verify_bundle(&bundle, &examples)
            .map_err(|error| Failure::new(Exit::Refused, error.to_string()).at(self.bundle.display().to_string()))?;
        let wrong = findings.iter().filter(|finding| !finding.ok).count();
        if self.json {
            output::say_json(&findings)?;
        } else {
            let rows: Vec<Vec<String>> = findings
                .iter()
                .map(|f| {
                    let mark = if f.ok { "ok" } else { "WRONG" };
                    [f.file.as_str(), mark, &f.what, &f.said, &f.found].map(str::to_owned).to_vec()
                })
                .collect();
            output::say(&output::left_table(&["file", "", "checked", "the bundle says", "found"], &rows));
        }
        match wrong {
            0 => Ok(()),
            _ => {
                let mut files: Vec<&str> = findings.iter().filter(|f| !f.ok).map(|f| f.file.as_str()).collect();
                files.dedup();
                let what = format!("{wrong} of {} checks failed, on {}", findings.len(), files.join(", "));
                Err(Failure::new(Exit::Refused, what)
                    .at(self.bundle.display().to_string())
                    .mend("download it again; if that does not help, do not use it"))
            }
        }
    }
}

/// The test split of the examples, as the card's task divides them.
fn examples(data: &Path, bundle: &Path, sealed: &Path) -> Result<Vec<Example>, Failure> {
    let path = bundle.join("card.json");
    let bytes = std::fs::read(&path).map_err(Failure::io(&path, "the card cannot be read"))?;
    let card: Card = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(Exit::Refused, format!("the card cannot be read: {error}")).at(path.display().to_string())
    })?;
    audit::read(data, sealed)?;
    let dataset = Dataset::open(sealed)?;
    let view = View::new(&dataset, &card.task.groups(&dataset.manifest().classes))?;
    let example = |(at, label): &(usize, usize)| -> Result<Example, Failure> {
        let image = dataset.image(*at)?;
        let sha256 = dataset.manifest().examples[*at].sha256.clone();
        let (width, height) = image.dimensions();
        Ok(Example { rgb: image.into_raw(), width, height, label: view.classes[*label].clone(), sha256 })
    };
    view.test.iter().map(example).collect()
}

/// Unpacks the plain files of a download into a new folder; a bundle has no folders.
fn unpack(zip: &Path, to: &Path) -> Result<PathBuf, Failure> {
    /// No bundle is larger.
    const MOST: u64 = 1 << 30;
    let refuse = |error: String| Failure::new(Exit::Refused, error).at(zip.display().to_string());
    let file = File::open(zip).map_err(|error| refuse(format!("the bundle cannot be read: {error}")))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| refuse(format!("it is not a whole zip: {error}")))?;
    std::fs::create_dir(to).map_err(Failure::io(to, "the bundle cannot be unpacked"))?;
    let mut left = MOST;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|error| refuse(format!("it is not a whole zip: {error}")))?;
        let name = entry.name().map_err(|error| refuse(format!("it is not a whole zip: {error}")))?.into_owned();
        // A name that is a path could leave the folder.
        if !entry.is_file() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(refuse(format!("it holds `{name}`, which is not of a bundle")));
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| refuse("it unpacks to more than 1 GiB".into()))?;
        let path = to.join(&name);
        let mut out = File::create_new(&path).map_err(Failure::io(&path, "the bundle cannot be unpacked"))?;
        std::io::copy(&mut entry, &mut out).map_err(|error| refuse(format!("`{name}` does not unpack: {error}")))?;
    }
    Ok(to.to_owned())
}
