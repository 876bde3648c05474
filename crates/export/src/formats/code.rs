//! The formats that are source code, of floats and of 8 bits: C, Rust and JavaScript. Run again where the machine has a C compiler
//! or Node; what is generated is compiled and run on every kind of network in the tests.

use super::{
    Format, Picture, Run, Source, Written, c::c_files, onnx_int8::INT8_TOLERANCE, rust::rust_files, web::web_files,
};
use crate::{Check, ExportError, Judge, LEAST_SCORE, TOLERANCE, bundle, zip_files};
use kindling_graph::{Answer, lower};
use kindling_spec::ExportFormat;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// `model.h`, `model.c`, the same of 8 bits, and as an Arduino library.
pub(super) struct C;
/// `model.rs`, and the same of 8 bits.
pub(super) struct Rust;
/// `model.js` and `model.html`: of 8 bits where there are such.
pub(super) struct Web;

const TEXT: &str = "text/plain; charset=utf-8";
const C_CHECK: &str = include_str!("c/check.c");
const JS_CHECK: &str = include_str!("web/check.mjs");
const SKETCH: &str = include_str!("c/sketch.ino");
const BOXES_SKETCH: &str = include_str!("c/boxes.ino");
/// C's files with the name of their code.
const C_FILES: [(&str, bool); 2] = [("model.c", false), ("model_int8.c", true)];

impl Format for C {
    fn format(&self) -> ExportFormat {
        ExportFormat::C
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        let (graph, weights) = &source.folded;
        let files = c_files(&lower(graph, weights)?, source);
        let library = arduino(&files, source)?;
        let mut written: Vec<Written> =
            files.into_iter().map(|(name, text)| text_file(name, text, TEXT, about_c(name))).collect();
        written.push(Written {
            name: "arduino.zip",
            bytes: library,
            media_type: "application/zip",
            about: "the same C as a library for the Arduino IDE (Sketch, Include Library, Add .ZIP Library) and PlatformIO, with an example",
        });
        Ok(written)
    }

    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
        compare(self.run(dir, &pictures(judges))?, source, judges)
    }

    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        let mut runs = Vec::new();
        for (file, int8) in C_FILES.into_iter().filter(|(file, _)| dir.join(file).is_file()) {
            let header = bundle::read(&dir.join(file).with_extension("h"))?;
            let is_boxes = holds(&header, b"_detect(");
            let work = tempfile::tempdir().map_err(|error| ExportError::io(dir, error))?;
            let check = work.path().join("check.c");
            std::fs::write(&check, C_CHECK).map_err(|error| ExportError::io(&check, error))?;
            let program = work.path().join("check");
            let mut compiler = Command::new("cc");
            compiler.args(["-std=c99", "-O1", "-I"]).arg(dir).arg("-o").arg(&program).arg(&check).arg(dir.join(file));
            compiler.args(int8.then_some("-DINT8")).args(is_boxes.then_some("-DBOXES"));
            compiler.arg(format!("-DLEAST_SCORE={LEAST_SCORE}f")).arg("-lm");
            match compiler.output() {
                // No compiler here: nothing is said of the file.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(ExportError::runtime("cc", error)),
                Ok(output) if !output.status.success() => {
                    let what = format!("does not compile: {}", String::from_utf8_lossy(&output.stderr).trim());
                    return Err(ExportError::ReadBack { file: file.into(), what });
                }
                Ok(_) => {}
            }
            let answers = answer(file, Command::new(&program), pictures)?;
            runs.push(Run { file, by: "a program compiled by cc", int8, answers });
        }
        Ok(runs)
    }
}

impl Format for Rust {
    fn format(&self) -> ExportFormat {
        ExportFormat::Rust
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        let (graph, weights) = &source.folded;
        let files = rust_files(&lower(graph, weights)?, source);
        let about = |name: &str| match name {
            "model.rs" => "a Rust module, no_std, without allocation or dependencies: `mod model;`",
            _ => "the same in 8 bits, for processors without floats",
        };
        Ok(files.into_iter().map(|(name, text)| text_file(name, text, TEXT, about(name))).collect())
    }

    /// A build takes longer than all else here: the tests do it for every kind of network.
    fn verify(&self, _: &Path, _: &Source<'_>, _: &[Judge]) -> Result<Vec<Check>, ExportError> {
        Ok(Vec::new())
    }

    fn run(&self, _: &Path, _: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        Ok(Vec::new())
    }
}

impl Format for Web {
    fn format(&self) -> ExportFormat {
        ExportFormat::Web
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        let (graph, weights) = &source.folded;
        let files = web_files(&lower(graph, weights)?, source);
        let files = files.map_err(|what| ExportError::Unsupported { format: "web", what })?;
        let written = files.into_iter().map(|(name, text)| match name {
            "model.html" => text_file(
                name,
                text,
                "text/html; charset=utf-8",
                "a page that answers for pictures and the camera: open it, no network needed",
            ),
            _ => text_file(
                name,
                text,
                "text/javascript; charset=utf-8",
                "a JavaScript module for browsers, Node and Deno, without dependencies",
            ),
        });
        Ok(written.collect())
    }

    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
        compare(self.run(dir, &pictures(judges))?, source, judges)
    }

    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        let module = dir.join("model.js");
        let text = bundle::read(&module)?;
        let work = tempfile::tempdir().map_err(|error| ExportError::io(dir, error))?;
        let write = |name: &str, bytes: &[u8]| {
            let path = work.path().join(name);
            std::fs::write(&path, bytes).map_err(|error| ExportError::io(&path, error)).map(|()| path)
        };
        let check = write("check.mjs", JS_CHECK.as_bytes())?;
        // Node takes it for a module by its name alone.
        let module = write("model.mjs", &text)?;
        if Command::new("node").arg("--version").output().is_err() {
            return Ok(Vec::new());
        }
        let mut node = Command::new("node");
        node.arg(check).arg(module).arg(LEAST_SCORE.to_string());
        let int8 = holds(text.get(..1000).unwrap_or(&text), INT8_MARK);
        Ok(vec![Run { file: "model.js", by: "Node", int8, answers: answer("model.js", node, pictures)? }])
    }
}

/// What the head of a model.js of 8 bits says.
const INT8_MARK: &[u8] = b"8-bit whole numbers";

fn holds(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

fn text_file(name: &'static str, text: String, media_type: &'static str, about: &'static str) -> Written {
    Written { name, bytes: text.into_bytes(), media_type, about }
}

fn about_c(name: &str) -> &'static str {
    match name {
        "model.c" => "C99 without heap or libraries: the network with its weights; `cc -O2 -c model.c`",
        "model.h" => "what model.c offers, with an example",
        "model_int8.c" => "C99 in 8-bit whole numbers, for microcontrollers",
        _ => "what model_int8.c offers, with an example",
    }
}

/// The C of 8 bits, or of floats where there is no other, as a library.
fn arduino(files: &[(&'static str, String)], source: &Source<'_>) -> Result<Vec<u8>, ExportError> {
    let (what, sketch, example) = match source.answer() {
        Answer::Classes => ("An image classifier", SKETCH, "Classify"),
        Answer::Map => ("A finder of objects in images", BOXES_SKETCH, "Detect"),
    };
    let int8 = files.iter().any(|(name, _)| *name == "model_int8.c");
    let (header, prefix, name) =
        if int8 { ("model_int8", "MODEL_INT8", "model_int8") } else { ("model", "MODEL", "model") };
    let fill = |text: &str| text.replace("{{HEADER}}", header).replace("{{PREFIX}}", prefix).replace("{{NAME}}", name);
    let sentence: String = source.task.chars().filter(|c| !c.is_control()).collect();
    let properties = format!(
        "name=Kindling Model\nversion=1.0.0\nauthor=Kindling\nmaintainer=Kindling\nsentence={what}: {sentence}\n\
         paragraph=Made by Kindling. Answers for pictures without heap or network.\ncategory=Data Processing\nurl=https://example.invalid\n\
         architectures=*\nincludes={header}.h\n"
    );
    let json = serde_json::json!({
        "name": "Kindling Model",
        "version": "1.0.0",
        "description": format!("{what}: {sentence}"),
        "frameworks": "*",
        "platforms": "*",
        "headers": format!("{header}.h"),
    });
    let mut inside =
        vec![("library.properties".to_owned(), properties), ("library.json".to_owned(), format!("{json:#}\n"))];
    for (file, text) in files.iter().filter(|(file, _)| file.contains("int8") == int8) {
        inside.push((format!("src/{file}"), text.clone()));
    }
    inside.push((format!("examples/{example}/{example}.ino"), fill(sketch)));
    let files =
        inside.into_iter().map(|(name, text)| (format!("KindlingModel/{name}"), Cursor::new(text.into_bytes())));
    Ok(zip_files(files, Cursor::new(Vec::new()))?.into_inner())
}

fn pictures(judges: &[Judge]) -> Vec<Picture<'_>> {
    judges.iter().map(|judge| Picture { rgb: &judge.rgb, width: judge.width, height: judge.height }).collect()
}

/// Gives a program the pictures and takes its answers.
fn answer(file: &str, mut program: Command, pictures: &[Picture<'_>]) -> Result<Vec<Vec<f32>>, ExportError> {
    let failed = |error: std::io::Error| ExportError::runtime(file, error);
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut input = Vec::new();
    for picture in pictures {
        input.extend(picture.width.to_le_bytes());
        input.extend(picture.height.to_le_bytes());
        input.extend(picture.rgb);
    }
    let stdin = child.stdin.take();
    // Beside reading, so that neither waits for the other.
    let writer = std::thread::spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&input)));
    let output = child.wait_with_output().map_err(failed)?;
    // A program that ended early says why itself.
    let _ = writer.join();
    if !output.status.success() {
        let what = format!("does not run: {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(ExportError::ReadBack { file: file.into(), what });
    }
    let (numbers, rest) = output.stdout.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (answers, more) = split_answers(&numbers);
    if answers.len() != pictures.len() || !more.is_empty() || !rest.is_empty() {
        let what = format!("gives {} bytes for {} pictures", output.stdout.len(), pictures.len());
        return Err(ExportError::ReadBack { file: file.into(), what });
    }
    Ok(answers)
}

/// Answers one after another, each after the count of its numbers; and what is left that is none.
fn split_answers(numbers: &[f32]) -> (Vec<Vec<f32>>, &[f32]) {
    let (mut answers, mut rest) = (Vec::new(), numbers);
    while let Some((count, more)) = rest.split_first()
        && let Some((answer, more)) = more.split_at_checked(*count as usize)
    {
        answers.push(answer.to_vec());
        rest = more;
    }
    (answers, rest)
}

/// Holds each run to the trained network, or to the 8-bit network in whole numbers.
fn compare(runs: Vec<Run>, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
    let mut checks = Vec::new();
    for run in runs {
        let tolerance = if run.int8 { INT8_TOLERANCE } else { TOLERANCE };
        let mut greatest = 0.0f32;
        for (judge, answer) in judges.iter().zip(&run.answers) {
            let far = if run.int8 { source.far_from_int8(judge, answer)? } else { source.far_from(judge, answer)? };
            greatest = bundle::agree(run.file, judge, far, tolerance, greatest)?;
        }
        let than = if run.int8 { "the 8-bit network in whole numbers" } else { "the trained network" };
        checks.push(Check {
            file: run.file.into(),
            how: format!("run by {} on test images at their own size and compared with {than}", run.by),
            images: judges.len() as u64,
            max_difference: greatest,
            tolerance,
        });
    }
    Ok(checks)
}
