//! `kindling bench export`.

use crate::failure::{Exit, Failure};
use crate::output;
use kindling_export::formats::{FORMATS, Source};
use kindling_export::{cpu_name, measure_latency, network_files, network_onnx};
use kindling_graph::{Graph, Quantized, Statistics, Tensor, Weights, memory_plan, quantize, random_weights_with};
use kindling_models::reference::REFERENCES;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Times the files that models are downloaded as, beside onnxruntime on the same networks, one thread.
///
/// The networks are the reference ones with random weights, and those of the bundles that are named. C is compiled by `cc` as the
/// column says; onnxruntime and tract run the folded network alone, C also turns bytes into its input.
#[derive(clap::Args)]
pub(crate) struct Export {
    /// Folders of downloaded models, measured as well.
    bundles: Vec<PathBuf>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    seconds: f64,
    /// A Python with onnxruntime and numpy, to run benches/export_ort.py with.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const ORT: &str = include_str!("../../../../../benches/export_ort.py");
const TIME: &str = include_str!("../../../../../benches/export_time.c");
/// What C is compiled with.
const FLAGS: [(&str, &[&str]); 2] = [("-O2", &["-O2"]), ("-O3 native", &["-O3", "-march=native"])];

#[derive(Deserialize)]
struct Ort {
    ms: f64,
    memory: u64,
}

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, what.to_string())
}

impl Export {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut networks: Vec<(String, Graph, Weights)> = Vec::new();
        for reference in REFERENCES {
            let graph = reference.graph().map_err(failed)?;
            let weights = random_weights_with(&graph, 1, Statistics::Random).map_err(failed)?;
            networks.push((reference.name.to_owned(), graph, weights));
        }
        for bundle in &self.bundles {
            let name =
                bundle.file_name().map_or_else(|| bundle.display().to_string(), |n| n.to_string_lossy().into_owned());
            let (graph, weights) = network_files(bundle)
                .map_err(|error| Failure::new(Exit::Refused, error.to_string()).at(bundle.display().to_string()))?;
            networks.push((name, graph, weights));
        }
        let mut rows = Vec::new();
        for (name, graph, weights) in &networks {
            rows.push(self.measure(name, graph, weights)?);
        }
        if self.json {
            return output::say_json(&json!({"cpu": cpu_name(), "rows": rows}));
        }
        let ms = |row: &Value, key: &str| row[key].as_f64().map_or("-".into(), |ms| format!("{ms:.3}"));
        let size = |row: &Value, key: &str| row[key].as_u64().map_or("-".into(), output::bytes);
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let mut cells = vec![row["network"].as_str().unwrap_or_default().to_owned()];
                cells.push(row["macs"].as_u64().map_or("-".into(), output::count));
                cells.extend(TIMES.iter().map(|key| ms(row, key)));
                cells.extend(SIZES.iter().map(|key| size(row, key)));
                cells
            })
            .collect();
        let head: Vec<&str> = ["network", "MACs"].into_iter().chain(TIMES).chain(SIZES).collect();
        output::say(&format!("{}; times in ms\n", cpu_name()));
        output::say(&output::table(&head, &cells));
        Ok(())
    }

    fn measure(&self, name: &str, graph: &Graph, weights: &Weights) -> Result<Value, Failure> {
        let work = tempfile::tempdir().map_err(|e| failed(format!("a temporary folder cannot be made: {e}")))?;
        let dir = work.path();
        let quantized = rounded(graph, weights)?;
        let classes = graph.output_shape().map_err(failed)?.first().copied().unwrap_or(0);
        let labels: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        let source = Source::new(graph, weights, Some(&quantized), &labels, name).map_err(failed)?;
        let mut row = json!({"network": name, "macs": graph.cost().map_err(failed)?.macs});
        for format in FORMATS {
            for file in format.write(&source).map_err(failed)? {
                let path = dir.join(file.name);
                std::fs::write(&path, &file.bytes).map_err(Failure::io(&path, "a file cannot be written"))?;
                row[file.name] = json!(file.bytes.len());
            }
        }
        let arena = memory_plan(&source.folded.0).map_err(failed)?.arena_bytes;
        row["arena"] = json!(arena);
        row["int8 arena"] = json!(arena / 4);
        let alone = dir.join("network.onnx");
        let bytes = network_onnx(graph, weights).map_err(failed)?;
        std::fs::write(&alone, bytes).map_err(Failure::io(&alone, "a file cannot be written"))?;
        row["tract"] = json!(measure_latency(graph, Some(weights)).map_err(failed)?.median_ms);
        if let Some(python) = &self.python {
            for (file, key) in [(alone, "ort"), (dir.join("model.int8.onnx"), "ort int8")] {
                let input = &graph.input;
                let size = [input.height.to_string(), input.width.to_string()];
                let script = Command::new(python)
                    .args(["-c", ORT, &self.seconds.to_string()])
                    .arg(&file)
                    .args(size)
                    .output()
                    .map_err(|e| failed(format!("{} cannot be run: {e}", python.display())))?;
                if !script.status.success() {
                    return Err(failed(String::from_utf8_lossy(&script.stderr)));
                }
                let ort: Ort = serde_json::from_slice(&script.stdout).map_err(failed)?;
                row[key] = json!(ort.ms);
                row[format!("{key} memory")] = json!(ort.memory);
            }
        }
        let time = dir.join("time.c");
        std::fs::write(&time, TIME).map_err(Failure::io(&time, "a file cannot be written"))?;
        for (flags, words) in FLAGS {
            for (key, code, define) in [("C", "model.c", None), ("C int8", "model_int8.c", Some("-DINT8"))] {
                if dir.join(code).is_file() {
                    row[format!("{key} {flags}")] = json!(self.time_c(dir, code, words, define)?);
                }
            }
        }
        Ok(row)
    }

    fn time_c(&self, dir: &Path, code: &str, flags: &[&str], define: Option<&str>) -> Result<f64, Failure> {
        let compiled = Command::new("cc")
            .current_dir(dir)
            .args(["-std=c99", "-o", "timed", "time.c", code])
            .args(flags)
            .args(define)
            .arg("-lm")
            .output()
            .map_err(|e| failed(format!("cc cannot be run: {e}")).mend("install a C compiler"))?;
        if !compiled.status.success() {
            return Err(failed(String::from_utf8_lossy(&compiled.stderr)));
        }
        let ran = Command::new(dir.join("timed")).arg(self.seconds.to_string()).output().map_err(failed)?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        text.split_whitespace()
            .next()
            .and_then(|ms| ms.parse().ok())
            .ok_or_else(|| failed(format!("it printed {text:?}")))
    }
}

const TIMES: [&str; 7] = ["ort", "ort int8", "tract", "C -O2", "C -O3 native", "C int8 -O2", "C int8 -O3 native"];
const SIZES: [&str; 6] = ["model.onnx", "model.int8.onnx", "model.c", "arena", "int8 arena", "ort memory"];

/// In 8 bits, by noise; only time is measured here.
fn rounded(graph: &Graph, weights: &Weights) -> Result<Quantized, Failure> {
    let mut shape = vec![4];
    shape.extend(graph.input.shape());
    let count: usize = shape.iter().product();
    let data = (0..count).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 2.0).collect();
    let images = Tensor::new(shape, data).map_err(failed)?;
    quantize(graph, weights, &images).map_err(failed)
}
