//! Runs a generated model on pictures from the standard input: for each, width and height as little-endian 32-bit
//! words, then its RGB bytes. Writes for each the probabilities (floats), and with `--cfg int8` before them the logits
//! (words) where the picture has the network's size. All little-endian. Next to it lies `model.rs`, the float or the
//! 8-bit network:
//!
//! ```text
//! rustc --edition 2024 -O [--cfg int8] rust_main.rs
//! ```
//!
//! With `--cfg boxes`, of a network that finds objects: where the picture has the network's size the map, floats or words; then
//! how many objects have a score of 0.05 or more (a word), and each as label, score, left, top, right, bottom (floats).
//!
//! With the argument `labels` it writes the labels instead, each ended by a zero byte; with a number, as text, the least
//! nanoseconds that one of so many runs took.

mod model;

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let word = std::env::args().nth(1);
    let mut out = io::stdout().lock();
    if word.as_deref() == Some("labels") {
        return model::LABELS.iter().try_for_each(|label| write!(out, "{label}\0"));
    }
    let times: u32 = word.and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let mut model = Box::new(model::Model::new());
    let mut rest = input.as_slice();
    while let Some((size, pixels)) = rest.split_first_chunk::<8>() {
        let side = |at: usize| u32::from_le_bytes([size[at], size[at + 1], size[at + 2], size[at + 3]]) as usize;
        let (width, height) = (side(0), side(4));
        let (rgb, after) = pixels.split_at_checked(width * height * 3).ok_or_else(|| wrong("a picture is cut short"))?;
        rest = after;
        let own: Option<&Own> =
            if (width, height) == (model::WIDTH, model::HEIGHT) { rgb.try_into().ok() } else { None };
        if let (1.., Some(own)) = (times, own) {
            let least = (0..times).map(|_| {
                let start = std::time::Instant::now();
                std::hint::black_box(model.run(std::hint::black_box(own)));
                start.elapsed().as_nanos()
            });
            writeln!(out, "{}", least.min().unwrap_or_default())?;
            continue;
        }
        answer(&mut model, rgb, width, height, own, &mut out)?;
    }
    Ok(())
}

type Own = [u8; model::WIDTH * model::HEIGHT * 3];

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(boxes)]
fn answer(
    model: &mut model::Model,
    rgb: &[u8],
    width: usize,
    height: usize,
    own: Option<&Own>,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(own) = own {
        for number in model.run(own) {
            out.write_all(&number.to_le_bytes())?;
        }
    }
    // Where there is room for fewer, they are the first of all.
    let mut first = [model::Object::NONE; 2];
    let first = model.detect(rgb, width, height, 0.05, &mut first).ok_or_else(|| wrong("a picture is refused"))?.to_vec();
    let mut objects = [model::Object::NONE; model::MOST_OBJECTS];
    let found = model.detect(rgb, width, height, 0.05, &mut objects).ok_or_else(|| wrong("a picture is refused"))?;
    if first != found[..found.len().min(2)] || model.detect(&rgb[1..], width, height, 0.05, &mut []).is_some() {
        return Err(wrong("fewer objects are others, or bytes too few are a picture"));
    }
    out.write_all(&(found.len() as u32).to_le_bytes())?;
    for object in found {
        let numbers = [object.label as f32, object.score, object.left, object.top, object.right, object.bottom];
        for number in numbers {
            out.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(())
}

#[cfg(not(boxes))]
fn answer(
    model: &mut model::Model,
    rgb: &[u8],
    width: usize,
    height: usize,
    own: Option<&Own>,
    out: &mut impl Write,
) -> io::Result<()> {
    #[cfg(int8)]
    if let Some(own) = own {
        for logit in model.logits(own) {
            out.write_all(&logit.to_le_bytes())?;
        }
    }
    let probabilities = model.predict(rgb, width, height).ok_or_else(|| wrong("a picture is refused"))?;
    if own.is_some_and(|own| model.run(own).iter().zip(&probabilities).any(|(a, b)| (a - b).abs() > 1e-6)) {
        return Err(wrong("run and predict differ"));
    }
    for probability in probabilities {
        out.write_all(&probability.to_le_bytes())?;
    }
    Ok(())
}
