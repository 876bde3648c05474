//! A downloaded bundle, checked again with nothing but its files: that none was changed, that they are of one network, that
//! they answer alike, and, with pictures, that they are as good as the card says.

use crate::answer::{OBJECT_NUMBERS, difference, difference_from_map, partners};
use crate::formats::{FORMATS, INT8_FILE, INT8_TOLERANCE, Picture, Run, read_network};
use crate::{
    Card, CardMetrics, ExportError, OnnxModel, SplitMetrics, TOLERANCE, bundle, hash_of_hashes, measure_latency,
    preprocess::preprocess,
};
use kindling_graph::{Answer, Tensor, execute};
use kindling_spec::{ExportFormat, Split};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The file that it is about.
    pub file: String,
    /// What was checked.
    pub what: String,
    /// What the bundle says.
    pub said: String,
    /// What was found.
    pub found: String,
    /// Whether the two agree; always so for what is only told.
    pub ok: bool,
}

/// A picture whose label is known.
#[derive(Debug, Clone)]
pub struct Example {
    /// `[height, width, 3]`: rows from the top, red, green, blue.
    pub rgb: Vec<u8>,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Its label.
    pub label: String,
    /// Of its file, in hexadecimal.
    pub sha256: String,
}

/// Sizes of the made-up pictures that the files are run on where none are given.
const SIZES: [(u32, u32); 4] = [(96, 96), (131, 77), (20, 45), (1, 1)];
/// The share of objects that two files of 8 bits must agree on.
const SAME_OBJECTS: f64 = 0.9;
/// Pictures that every file is run on, where some are given.
const MOST: usize = 16;

/// Checks the bundle in a folder. Damage is a finding, not an error.
///
/// # Errors
/// [`ExportError::Model`] if the folder is no bundle at all: it has neither `SHA256SUMS` nor `card.json`.
pub fn verify_bundle(dir: &Path, examples: &[Example]) -> Result<Vec<Finding>, ExportError> {
    if !dir.join(bundle::SUMS).is_file() && !dir.join(CARD).is_file() {
        let what = format!(
            "{} holds neither {} nor {CARD}; give the folder of a download, unpacked",
            dir.display(),
            bundle::SUMS
        );
        return Err(ExportError::Model(what));
    }
    let mut findings = Findings::default();
    let sums = findings.sums(dir);
    let Some(card) = findings.card(dir, &sums) else { return Ok(findings.0) };
    let changed = findings.0.iter().any(|finding| !finding.ok);
    findings.network(dir, &card);
    findings.runs(dir, &card, examples);
    // A broken file's accuracy says nothing.
    if !examples.is_empty() && !changed {
        match &card.test {
            SplitMetrics::Classes(test) => findings.accuracy(dir, &card, test, examples),
            SplitMetrics::Boxes(test) => findings.add(
                CARD,
                "average precision",
                test.map50.map_or("not measured".into(), |map50| format!("{map50:.4}")),
                "not measured here: a picture's label does not say where its objects are; see the card's `how_to_check`",
                true,
            ),
        }
    }
    Ok(findings.0)
}

const CARD: &str = "card.json";

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, file: &str, what: &str, said: impl ToString, found: impl ToString, ok: bool) {
        let (file, what) = (file.to_owned(), what.to_owned());
        self.0.push(Finding { file, what, said: said.to_string(), found: found.to_string(), ok });
    }

    fn equal<T: PartialEq + ToString>(&mut self, file: &str, what: &str, said: T, found: T) {
        let ok = said == found;
        self.add(file, what, said, found, ok);
    }

    /// Each file's SHA-256 as listed, after checking it.
    fn sums(&mut self, dir: &Path) -> BTreeMap<String, String> {
        let mut sums = BTreeMap::new();
        let text = match std::fs::read_to_string(dir.join(bundle::SUMS)) {
            Ok(text) => text,
            Err(error) => {
                self.add(bundle::SUMS, "is there", "the SHA-256 of every other file", error, false);
                return sums;
            }
        };
        for line in text.lines() {
            match line.split_once("  ") {
                Some((sum, name)) if sum.len() == 64 && bundle::is_plain_name(name) => {
                    sums.insert(name.to_owned(), sum.to_owned());
                }
                _ => self.add(bundle::SUMS, "is a list of checksums", "64 digits, two spaces, a name", line, false),
            }
        }
        for (name, sum) in &sums {
            match std::fs::read(dir.join(name)) {
                Ok(bytes) => {
                    let found = bundle::hex(&Sha256::digest(&bytes));
                    let ok = found == *sum;
                    self.add(name, "SHA-256", start(sum), start(&found), ok);
                }
                Err(error) => self.add(name, "is there", "listed in SHA256SUMS", error, false),
            }
        }
        let entries = std::fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != bundle::SUMS && !sums.contains_key(&name) {
                self.add(&name, "is of the bundle", "not listed in SHA256SUMS", "it is in the folder", false);
            }
        }
        sums
    }

    fn card(&mut self, dir: &Path, sums: &BTreeMap<String, String>) -> Option<Card> {
        let read = std::fs::read(dir.join(CARD)).map_err(|error| error.to_string());
        let card: Card = match read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        {
            Ok(card) => card,
            Err(error) => {
                self.add(CARD, "can be read", "a model card", error, false);
                return None;
            }
        };
        for file in &card.files {
            if sums.get(&file.name).is_some_and(|sum| *sum != file.sha256) {
                self.add(
                    &file.name,
                    "SHA-256 in the card",
                    &file.sha256[..12.min(file.sha256.len())],
                    "another in SHA256SUMS",
                    false,
                );
            }
            if !sums.contains_key(&file.name) && !sums.is_empty() {
                self.add(&file.name, "is listed", "it is in the card", "not in SHA256SUMS", false);
            }
        }
        let listed: BTreeSet<&str> = card.files.iter().map(|file| file.name.as_str()).collect();
        for name in sums.keys().filter(|name| !listed.contains(name.as_str()) && !name.starts_with("card.")) {
            self.add(name, "is in the card", "listed in SHA256SUMS", "not in the card's files", false);
        }
        let labels = std::fs::read(dir.join("labels.json")).ok();
        let labels: Option<Vec<String>> = labels.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let found = labels.map_or("no list of labels".to_owned(), |labels| labels.join(", "));
        self.equal("labels.json", "labels", card.labels.join(", "), found);
        Some(card)
    }

    /// What is known of the network without running it.
    fn network(&mut self, dir: &Path, card: &Card) {
        if !card.files.iter().any(|file| file.name == "graph.json") {
            return;
        }
        let (graph, weights) = match read_network(dir) {
            Ok(network) => network,
            Err(error) => {
                return self.add("weights.safetensors", "is the network of graph.json", "one network", error, false);
            }
        };
        self.equal("graph.json", "SHA-256 of the network", start(&card.graph_sha256), start(&graph.hash()));
        match graph.cost() {
            Ok(cost) => {
                self.equal("graph.json", "parameters", card.cost.parameters, cost.parameters);
                self.equal("graph.json", "bytes of weights", card.cost.weights_bytes, cost.weights_bytes);
                self.equal("graph.json", "multiply-accumulates", card.cost.macs, cost.macs);
                self.equal("graph.json", "bytes of activations", card.cost.peak_ram_bytes, cost.peak_ram_bytes);
                if let Some(int8) = &card.int8 {
                    self.equal(
                        INT8_FILE,
                        "bytes of activations in 8 bits",
                        int8.peak_ram_bytes,
                        cost.peak_ram_bytes / 4,
                    );
                }
            }
            Err(error) => self.add("graph.json", "costs", card.cost.macs, error, false),
        }
        let said =
            card.cost.latency.as_ref().map_or("not measured".into(), |l| format!("{:.3} ms on {}", l.median_ms, l.cpu));
        match measure_latency(&graph, Some(&weights)) {
            // Another machine, or a busy one: told, not judged.
            Ok(latency) => {
                self.add("graph.json", "time for an image", said, format!("{:.3} ms here", latency.median_ms), true)
            }
            Err(error) => self.add("graph.json", "time for an image", said, error, false),
        }
    }

    /// Runs every file that can be run here and compares them.
    fn runs(&mut self, dir: &Path, card: &Card, examples: &[Example]) {
        let made: Vec<Vec<u8>> = SIZES.iter().enumerate().map(|(seed, (w, h))| noise(seed as u64, w * h * 3)).collect();
        let step = examples.len().div_ceil(MOST).max(1);
        let pictures: Vec<Picture<'_>> = match examples {
            [] => made.iter().zip(SIZES).map(|(rgb, (width, height))| Picture { rgb, width, height }).collect(),
            _ => {
                let given = examples.iter().step_by(step);
                given.map(|e| Picture { rgb: &e.rgb, width: e.width, height: e.height }).collect()
            }
        };
        let mut runs: Vec<Run> = Vec::new();
        let listed = |name: &str| card.files.iter().any(|file| file.name == name);
        let here = |format: ExportFormat| {
            card.task.exports.contains(&format) && (format != ExportFormat::OnnxInt8 || listed(INT8_FILE))
        };
        for format in FORMATS.iter().filter(|format| here(format.format())) {
            match format.run(dir, &pictures) {
                Ok(more) => runs.extend(more),
                Err(error) => self.add(&format!("{}", format.format()), "runs", "answers for pictures", error, false),
            }
        }
        let kind = if card.test.boxes().is_some() { Answer::Map } else { Answer::Classes };
        // Two places of a map that are all but equal are a peak for one runtime or the other.
        let maps = if kind == Answer::Map { maps(dir, &pictures).ok() } else { None };
        for int8 in [false, true] {
            let mut of_kind = runs.iter().filter(|run| run.int8 == int8);
            let Some(first) = of_kind.next() else { continue };
            let tolerance = if int8 { INT8_TOLERANCE } else { TOLERANCE };
            let sound = |row: &Vec<f32>| is_sound(kind, row, card.labels.len());
            let wrong = first.answers.iter().find(|row| !sound(row));
            self.add(
                first.file,
                &format!("answers, run by {}", first.by),
                match kind {
                    Answer::Classes => format!("{} probabilities that sum to 1", card.labels.len()),
                    Answer::Map => "objects of its labels, with scores and sides from 0 to 1".into(),
                },
                wrong.map_or(format!("so on {} pictures", pictures.len()), |row| format!("{row:?}")),
                wrong.is_none(),
            );
            for run in of_kind {
                if int8 && kind == Answer::Map {
                    self.same_objects(first, run, tolerance);
                    continue;
                }
                let pairs = first.answers.iter().zip(&run.answers);
                let far = pairs
                    .enumerate()
                    .map(|(i, (a, b))| match &maps {
                        Some(maps) => far_by_map(a, b, &maps[i], tolerance),
                        None => difference(kind, a, b, tolerance),
                    })
                    .fold(0.0f32, |most, far| if far.is_nan() || most.is_nan() { f32::NAN } else { most.max(far) });
                self.add(
                    run.file,
                    &format!("answers as {}, run by {}", first.file, run.by),
                    format!("at most {tolerance:e} away"),
                    format!("{far:.1e} on {} pictures", pictures.len()),
                    far <= tolerance,
                );
            }
        }
    }

    /// Runtimes round 8-bit networks a little differently, so that of two places that are nearly equal the one or the other is a
    /// peak: most objects must be the same, not all.
    fn same_objects(&mut self, first: &Run, run: &Run, tolerance: f32) {
        let pairs = first.answers.iter().zip(&run.answers).map(|(a, b)| partners(a, b, tolerance));
        let [near, all] = pairs.fold([0, 0], |[near, all], [more_near, more]| [near + more_near, all + more]);
        let share = if all == 0 { 1.0 } else { near as f64 / all as f64 };
        self.add(
            run.file,
            &format!("answers as {}, run by {}", first.file, run.by),
            format!("{:.0}% of the objects at most {tolerance:e} away", SAME_OBJECTS * 100.0),
            format!("{:.1}% of {all} on {} pictures", share * 100.0, run.answers.len()),
            share >= SAME_OBJECTS,
        );
    }

    /// Accuracy of the ONNX files on all examples.
    fn accuracy(&mut self, dir: &Path, card: &Card, told: &CardMetrics, examples: &[Example]) {
        let hash = hash_of_hashes(examples.iter().map(|example| &example.sha256));
        let test = card.data.splits.iter().any(|split| split.split == Split::Test && split.sha256 == hash);
        let about = match test {
            true => "these pictures are the test split",
            false => "these pictures are not the test split, so that the figures need not be the same",
        };
        self.add(CARD, "pictures given", format!("{} in the test split", told.examples), about, true);
        let int8 = card.int8.as_ref().and_then(|int8| int8.accuracy);
        for (file, said) in [("model.onnx", Some(told.accuracy)), (INT8_FILE, int8)] {
            let (Some(said), true) = (said, card.files.iter().any(|f| f.name == file)) else { continue };
            match measure(dir, file, card, examples) {
                Ok(right) => {
                    let found = right as f64 / examples.len() as f64;
                    // One picture whose two best answers are all but equal may fall to either side on another processor.
                    let ok = !test || (found - said).abs() * examples.len() as f64 <= 1.01;
                    self.add(file, "accuracy", format!("{:.2}%", said * 100.0), format!("{:.2}%", found * 100.0), ok);
                }
                Err(error) => self.add(file, "accuracy", format!("{:.2}%", said * 100.0), error, false),
            }
        }
    }
}

/// What the network of the bundle makes of pictures, run by the reference executor.
fn maps(dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Tensor>, ExportError> {
    let (graph, weights) = read_network(dir)?;
    let map = |picture: &Picture<'_>| {
        let input = preprocess(picture.rgb, picture.width, picture.height, &graph.input)?;
        Ok(execute(&graph, &weights, &input)?)
    };
    pictures.iter().map(map).collect()
}

/// How far the further of two answers is from what a map may say.
fn far_by_map(a: &[f32], b: &[f32], map: &Tensor, tolerance: f32) -> f32 {
    let [_, channels, height, width] = map.shape[..] else { return f32::NAN };
    let [a, b] = [a, b].map(|answer| difference_from_map(answer, &map.data, [channels, height, width], tolerance));
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// Whether a list of numbers can be an answer.
fn is_sound(kind: Answer, answer: &[f32], labels: usize) -> bool {
    match kind {
        Answer::Classes => answer.len() == labels && (answer.iter().sum::<f32>() - 1.0).abs() < 1e-3,
        Answer::Map => {
            let is_object = |object: &[f32]| {
                let is_label = object[0] >= 0.0 && object[0].fract() == 0.0 && object[0] < labels as f32;
                is_label && object[1..].iter().all(|number| (0.0..=1.0).contains(number))
            };
            answer.len().is_multiple_of(OBJECT_NUMBERS) && answer.chunks_exact(OBJECT_NUMBERS).all(is_object)
        }
    }
}

/// Enough of a checksum to tell it by.
fn start(sum: &str) -> String {
    format!("{}…", sum.chars().take(12).collect::<String>())
}

/// Examples answered right.
fn measure(dir: &Path, file: &str, card: &Card, examples: &[Example]) -> Result<u64, ExportError> {
    let model = OnnxModel::load(&bundle::read(&dir.join(file))?)?;
    let mut right = 0;
    for example in examples {
        let answer = model.predict(&example.rgb, example.width, example.height)?;
        let best = (0..answer.len()).max_by(|a, b| answer[*a].total_cmp(&answer[*b]));
        right += u64::from(best.and_then(|at| card.labels.get(at)) == Some(&example.label));
    }
    Ok(right)
}

/// Bytes that are the same for a seed (xorshift, Marsaglia 2003).
fn noise(seed: u64, length: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as u8
    };
    (0..length).map(|_| next()).collect()
}
