//! Generated C, Rust and JavaScript, compiled and run: floats within 1e-5 of the reference, 8 bits equal to the last bit.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use kindling_export::formats::{FORMATS, Picture, Source};
use kindling_export::{LEAST_SCORE, OBJECT_NUMBERS, objects_answer};
use kindling_graph::{Answer, Graph, Quantized, Statistics, Weights, find_objects, memory_plan, random_weights_with};
use kindling_spec::ExportFormat;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const HARNESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness");
/// Sizes of the pictures beside the network's own.
const SIZES: [(u32, u32); 5] = [(1, 1), (7, 40), (100, 61), (33, 31), (211, 180)];

/// Bytes that one function of C may keep on the stack, where it has AVX2 and where it has not.
const STACKS: [(&str, u32); 2] = [("", 32768), ("-DKINDLING_PORTABLE", 1024)];

/// Labels that are not easily quoted.
const ODD: [&str; 3] = [r#"fi"re\??="#, "smo`ke</script>${x}", "né\nither"];

/// A network with its files on disk and what they are to answer.
struct Case {
    name: String,
    graph: Graph,
    weights: Weights,
    quantized: Quantized,
    dir: tempfile::TempDir,
    pictures: Vec<(Vec<u8>, u32, u32)>,
    answers: Vec<Vec<f32>>,
}

impl Case {
    fn new(name: &str, graph: Graph, seed: u64) -> Self {
        let weights = random_weights_with(&graph, seed, Statistics::Random).unwrap();
        let quantized = quantized(&graph, &weights).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let odd = ODD.map(str::to_owned);
        let odd = &odd[..labels_of(&graph).len()];
        let source = Source::new(&graph, &weights, Some(&quantized), odd, "a */ task\\ \"<b>\" {{x}}").unwrap();
        for format in FORMATS {
            for file in format.write(&source).unwrap() {
                fs::write(dir.path().join(file.name), file.bytes).unwrap();
            }
        }
        let own = (graph.input.width as u32, graph.input.height as u32);
        let pictures: Vec<_> = SIZES
            .into_iter()
            .chain([own, own])
            .enumerate()
            .map(|(i, (width, height))| (picture(width, height, i as u64), width, height))
            .collect();
        let answers = pictures.iter().map(|(rgb, w, h)| answer(&graph, &weights, rgb, *w, *h)).collect();
        Self { name: format!("{name}, seed {seed}"), graph, weights, quantized, dir, pictures, answers }
    }

    fn all() -> Vec<Self> {
        let cases = every_kind().into_iter().flat_map(|(name, graph)| [1, 2].map(|seed| (name, graph.clone(), seed)));
        cases.map(|(name, graph, seed)| Self::new(name, graph, seed)).collect()
    }

    fn input(&self) -> Vec<u8> {
        let each = self.pictures.iter().flat_map(|(rgb, w, h)| [&w.to_le_bytes()[..], &h.to_le_bytes(), rgb].concat());
        each.collect()
    }

    fn is_own(&self, at: usize) -> bool {
        let (_, width, height) = self.pictures[at];
        (width as usize, height as usize) == (self.graph.input.width, self.graph.input.height)
    }

    fn is_boxes(&self) -> bool {
        self.graph.answer == Answer::Map
    }

    /// For pictures of the network's size the map, then for all the objects.
    fn check_objects(&self, by: &str, mut bytes: &[u8], int8: bool) {
        let (mut most, shape) = (0, map_shape(&self.graph));
        for (at, (rgb, width, height)) in self.pictures.iter().enumerate() {
            let mut expected = (!int8).then(|| self.answers[at].clone());
            if self.is_own(at) {
                let (map, rest) = bytes.split_at(4 * shape.iter().product::<usize>());
                bytes = rest;
                let map = if int8 {
                    self.check_logits(by, rgb, map);
                    self.quantized.answer(rgb).unwrap()
                } else {
                    let found = channels_first(&floats(map), shape);
                    let expected = output(&self.graph, &self.weights, rgb, *width, *height);
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5 * (1.0 + a.abs());
                    assert!(expected.iter().zip(&found).all(near), "{}: {by}: {expected:?} {found:?}", self.name);
                    found
                };
                expected = Some(objects_answer(&find_objects(&map, shape, LEAST_SCORE)));
            }
            let (count, rest) = bytes.split_first_chunk::<4>().unwrap();
            let (objects, rest) = rest.split_at(u32::from_le_bytes(*count) as usize * OBJECT_NUMBERS * 4);
            bytes = rest;
            let found = floats(objects);
            let scores: Vec<f32> = found.iter().skip(1).step_by(OBJECT_NUMBERS).copied().collect();
            assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{}: {by}: {scores:?}", self.name);
            // In a picture of one colour many places are a peak but for rounding.
            let apart = if (*width, *height) == (1, 1) {
                assert!(!found.is_empty(), "{}: {by}", self.name);
                |expected: &[f32], found: &[f32]| objects_from(found, expected)
            } else {
                objects_apart
            };
            let far = expected.map_or(0.0, |expected| apart(&expected, &found));
            assert!(far < 1e-4, "{}: {by}, picture {at}: {far}: {:?} {found:?}", self.name, self.answers[at]);
            most = most.max(scores.len());
        }
        assert!(bytes.is_empty() && most >= 3, "{}: {by}: {most}", self.name);
    }

    /// Floats alone.
    fn check_floats(&self, by: &str, bytes: &[u8]) {
        if self.is_boxes() {
            return self.check_objects(by, bytes, false);
        }
        let found = floats(bytes);
        assert_eq!(found.len(), self.pictures.len() * 3, "{}: {by}", self.name);
        for (answer, found) in self.answers.iter().zip(found.chunks(3)) {
            assert!(
                answer.iter().zip(found).all(|(a, b)| (a - b).abs() < 1e-5),
                "{}: {by}: {answer:?} {found:?}",
                self.name
            );
        }
    }

    /// For pictures of the network's size logits, then for all probabilities.
    fn check_codes(&self, by: &str, mut bytes: &[u8]) {
        if self.is_boxes() {
            return self.check_objects(by, bytes, true);
        }
        for (at, (rgb, ..)) in self.pictures.iter().enumerate() {
            if self.is_own(at) {
                let (logits, rest) = bytes.split_at(12);
                bytes = rest;
                self.check_logits(by, rgb, logits);
            }
            let (probabilities, rest) = bytes.split_at(12);
            bytes = rest;
            let found = floats(probabilities);
            assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{}: {by}: {found:?}", self.name);
            if self.is_own(at) {
                let expected = self.quantized.answer(rgb).unwrap();
                assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {by}", self.name);
            }
        }
        assert!(bytes.is_empty(), "{}: {by}", self.name);
    }

    fn check_logits(&self, by: &str, rgb: &[u8], bytes: &[u8]) {
        let mut logits: Vec<i32> = bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        if self.is_boxes() {
            logits = channels_first(&logits, map_shape(&self.graph));
        }
        assert_eq!(logits, self.quantized.run(&self.quantized.codes(rgb)).unwrap(), "{}: {by}", self.name);
    }
}

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    writer.join().unwrap().unwrap();
    output.stdout
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn is_here(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Whether a test that needs this may be left out.
fn must_have(program: &str) -> bool {
    let here = is_here(program);
    assert!(here || std::env::var_os("KINDLING_TEST_BROWSER").is_none(), "{program} is not here, and is asked for");
    here
}

#[test]
fn c_compiles_without_a_warning_and_answers_the_same() {
    let compilers: Vec<&str> = ["gcc", "clang"].into_iter().filter(|name| is_here(name)).collect();
    let compilers = if compilers.is_empty() { vec!["cc"] } else { compilers };
    let uneven = [("uneven", uneven()), ("row", row())];
    let more = uneven.into_iter().map(|(name, graph)| Case::new(name, graph, 1));
    for case in Case::all().into_iter().chain(more) {
        let at = |name: &str| case.dir.path().join(name);
        for compiler in &compilers {
            // The kernels that this processor has beside those that every one has: both are held to the reference.
            for (kernels, stack) in STACKS {
                for (code, program, int8) in [("model.c", "float", false), ("model_int8.c", "int8", true)] {
                    let mut command = Command::new(compiler);
                    command.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-I"]);
                    command.arg(case.dir.path()).args((!kernels.is_empty()).then_some(kernels));
                    if *compiler == "gcc" {
                        command.arg(format!("-Wstack-usage={stack}"));
                    }
                    command.arg("-o").arg(at(program)).arg(Path::new(HARNESS).join("main.c")).arg(at(code)).arg("-lm");
                    done(command.args(int8.then_some("-DINT8")).args(case.is_boxes().then_some("-DBOXES")));
                    let output = run(&mut Command::new(at(program)), &case.input());
                    let by = format!("{compiler} {kernels}");
                    match int8 {
                        true => case.check_codes(&by, &output),
                        false => case.check_floats(&by, &output),
                    }
                    let labels = run(Command::new(at(program)).arg("labels"), &[]);
                    let odd: String =
                        ODD.iter().take(labels_of(&case.graph).len()).map(|label| format!("{label}\0")).collect();
                    assert_eq!(String::from_utf8(labels).unwrap(), odd);
                }
            }
        }
        // One program may hold both, and be of C++.
        let both = "#include \"model.h\"\n#include \"model_int8.h\"\nint main() { return MODEL_CLASSES - MODEL_INT8_CLASSES; }\n";
        fs::write(at("both.cpp"), both).unwrap();
        if is_here("g++") {
            done(Command::new("g++").args(["-Wall", "-Werror", "-fsyntax-only"]).arg(at("both.cpp")));
        }
        // The arena that was planned is the one that is there.
        let planned = memory_plan(&kindling_graph::fold_graph(&case.graph).unwrap()).unwrap().arena_bytes;
        for (code, macro_name, bytes) in
            [("model.h", "MODEL_ARENA_BYTES", planned), ("model_int8.h", "MODEL_INT8_ARENA_BYTES", planned / 4)]
        {
            let text = fs::read_to_string(at(code)).unwrap();
            assert!(text.contains(&format!("#define {macro_name} {bytes}\n")), "{code} of {}", case.name);
        }
        if is_here("nm") {
            for (program, bytes) in [("float", planned), ("int8", planned / 4)] {
                let symbols = String::from_utf8(done(Command::new("nm").arg("-S").arg(at(program))).stdout).unwrap();
                let arena =
                    symbols.lines().find(|line| line.ends_with(" arena")).unwrap_or_else(|| panic!("{symbols}"));
                let size = u64::from_str_radix(arena.split_whitespace().nth(1).unwrap(), 16).unwrap();
                assert_eq!(size, bytes, "{program} of {}", case.name);
            }
        }
    }
}

#[test]
fn rust_compiles_without_the_standard_library_and_answers_the_same() {
    // A build is slow: one seed of each.
    for case in Case::all().into_iter().step_by(2) {
        for (code, int8) in [("model.rs", false), ("model_int8.rs", true)] {
            let work = tempfile::tempdir().unwrap();
            let at = |name: &str| work.path().join(name);
            fs::copy(case.dir.path().join(code), at("model.rs")).unwrap();
            fs::copy(Path::new(HARNESS).join("rust_main.rs"), at("main.rs")).unwrap();
            let mut command = Command::new("rustc");
            command.args(["--edition", "2024", "-O", "-D", "warnings", "--check-cfg", "cfg(int8, boxes)"]);
            for (cfg, is_so) in [("int8", int8), ("boxes", case.is_boxes())] {
                command.args(["--cfg", cfg].iter().filter(|_| is_so));
            }
            done(command.arg("-o").arg(at("program")).arg(at("main.rs")));
            let output = run(&mut Command::new(at("program")), &case.input());
            match int8 {
                true => case.check_codes("rustc", &output),
                false => case.check_floats("rustc", &output),
            }
            fs::write(at("bare.rs"), "#![no_std]\npub mod model;\n").unwrap();
            let mut bare = Command::new("rustc");
            bare.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-o"]);
            done(bare.arg(at("bare.rmeta")).arg(at("bare.rs")));
        }
    }
}

#[test]
fn javascript_answers_the_same_with_webassembly_and_without() {
    if !must_have("node") {
        return;
    }
    for case in Case::all() {
        // Node takes it for a module by its name.
        let module = case.dir.path().join("model.mjs");
        fs::copy(case.dir.path().join("model.js"), &module).unwrap();
        let node = || {
            let mut node = Command::new("node");
            node.arg(Path::new(HARNESS).join("main.mjs")).arg(&module);
            node
        };
        let own: Vec<usize> = (0..case.pictures.len()).filter(|at| case.is_own(*at)).collect();
        let input: Vec<u8> = own
            .iter()
            .flat_map(|at| {
                let (rgb, w, h) = &case.pictures[*at];
                [&w.to_le_bytes()[..], &h.to_le_bytes(), rgb].concat()
            })
            .collect();
        for words in [&["logits"][..], &["logits", "plain"]] {
            let output = run(node().args(words), &input);
            let outputs: usize = case.graph.output_shape().unwrap().iter().product();
            assert_eq!(output.len(), own.len() * outputs * 4);
            for (at, logits) in own.iter().zip(output.chunks(outputs * 4)) {
                case.check_logits(&words.join(" "), &case.pictures[*at].0, logits);
            }
        }
        if case.is_boxes() {
            check_objects_of_javascript(&case, node);
            continue;
        }
        let found = floats(&run(&mut node(), &case.input()));
        for (at, row) in found.chunks(3).enumerate().filter(|(at, _)| case.is_own(*at)) {
            let expected = case.quantized.answer(&case.pictures[at].0).unwrap();
            assert!(expected.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-5), "{}", case.name);
        }
        // Without an 8-bit network the same files are of floats.
        let weights: Weights = random_weights_with(&case.graph, 1, Statistics::Random).unwrap();
        let labels = labels();
        let source = Source::new(&case.graph, &weights, None, &labels, "floats").unwrap();
        let web = FORMATS.iter().find(|format| format.format() == ExportFormat::Web).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for file in web.write(&source).unwrap() {
            fs::write(dir.path().join(file.name), file.bytes).unwrap();
        }
        let pictures: Vec<Picture<'_>> =
            case.pictures.iter().map(|(rgb, w, h)| Picture { rgb, width: *w, height: *h }).collect();
        let runs = web.run(dir.path(), &pictures).unwrap();
        assert!(runs.len() == 1 && !runs[0].int8);
        for ((rgb, w, h), row) in case.pictures.iter().zip(&runs[0].answers) {
            let expected = answer(&case.graph, &weights, rgb, *w, *h);
            assert!(expected.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {expected:?} {row:?}", case.name);
        }
    }
}

/// The objects of the 8-bit file, and map and objects of the same network without an 8-bit one.
fn check_objects_of_javascript(case: &Case, node: impl Fn() -> Command) {
    let interleaved = |node: &dyn Fn() -> Command| {
        // The map of a picture, then its objects, as the other languages say them.
        let each = case.pictures.iter().enumerate().flat_map(|(at, (rgb, w, h))| {
            let input = [&w.to_le_bytes()[..], &h.to_le_bytes(), rgb].concat();
            let map = if case.is_own(at) { run(node().arg("logits"), &input) } else { Vec::new() };
            [map, run(&mut node(), &input)].concat()
        });
        each.collect::<Vec<u8>>()
    };
    case.check_codes("node", &interleaved(&node));
    let labels = labels_of(&case.graph);
    let source = Source::new(&case.graph, &case.weights, None, &labels, "floats").unwrap();
    let web = FORMATS.iter().find(|format| format.format() == ExportFormat::Web).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("model.mjs");
    let text = web.write(&source).unwrap().into_iter().find(|file| file.name == "model.js").unwrap().bytes;
    fs::write(&module, text).unwrap();
    let node = || {
        let mut node = Command::new("node");
        node.arg(Path::new(HARNESS).join("main.mjs")).arg(&module);
        node
    };
    case.check_floats("node, floats", &interleaved(&node));
}

#[test]
fn the_arduino_library_has_what_the_tools_look_for() {
    for (name, graph, example) in [("same_padded", same_padded(), "Classify"), ("plain_boxes", plain_boxes(), "Detect")]
    {
        check_arduino(&Case::new(name, graph, 1), example);
    }
}

fn check_arduino(case: &Case, example: &str) {
    let bytes = fs::read(case.dir.path().join("arduino.zip")).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut read = |name: &str| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut zip.by_name(&format!("KindlingModel/{name}")).unwrap(), &mut text).unwrap();
        text
    };
    assert_eq!(read("src/model_int8.c"), fs::read_to_string(case.dir.path().join("model_int8.c")).unwrap());
    assert_eq!(read("src/model_int8.h"), fs::read_to_string(case.dir.path().join("model_int8.h")).unwrap());
    for line in read("library.properties").lines() {
        assert!(line.contains('='), "{line}");
    }
    serde_json::from_str::<serde_json::Value>(&read("library.json")).unwrap();
    let sketch = read(&format!("examples/{example}/{example}.ino"));
    assert!(!sketch.contains("{{") && sketch.contains("model_int8_"), "{sketch}");
}
