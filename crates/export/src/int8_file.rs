//! How good `model.int8.onnx` is: the file itself, run on the whole test split.

use crate::answer::{difference_from_map, objects_answer};
use crate::formats::INT8_TOLERANCE;
use crate::{CardInt8, ExportError, Int8, OnnxModel, Truth};
use kindling_graph::Found;

/// Pictures that the file is compared with the whole-number network on, at most; that is slower.
const COMPARED: usize = 64;
/// Pictures answered at once.
const BATCH: usize = 32;

/// Measures the file.
///
/// # Errors
/// [`ExportError::Input`] if the pictures are not as many as are right of them, or none; what running the file says.
pub(crate) fn measure(model: &OnnxModel, int8: Int8<'_>) -> Result<CardInt8, ExportError> {
    let (quantized, spec) = (int8.quantized, &int8.quantized.lowered.input);
    let size = spec.height * spec.width * spec.channels;
    let examples = match int8.truth {
        Truth::Classes(labels) => labels.len(),
        Truth::Boxes(_) => int8.pictures.len() / size.max(1),
    };
    if examples == 0 || int8.pictures.len() != examples * size {
        let what = format!("{} bytes are not {examples} pictures of {size}", int8.pictures.len());
        return Err(ExportError::Input(what));
    }
    let of = Pictures { model, int8, size, every: examples.div_ceil(COMPARED).max(1) };
    let mut card = CardInt8 {
        examples: examples as u64,
        accuracy: None,
        map50: None,
        map: None,
        compared: examples.div_ceil(of.every) as u64,
        agreement: 0.0,
        weights_bytes: quantized.weights_bytes(),
        peak_ram_bytes: quantized.lowered.arena as u64,
        calibration: quantized.calibration.name().to_owned(),
    };
    let same = match int8.truth {
        Truth::Classes(truth) => {
            let (right, same) = of.classes(truth)?;
            card.accuracy = Some(right as f64 / examples as f64);
            same
        }
        Truth::Boxes(measure) => {
            let (found, same) = of.boxes()?;
            let [map50, map] = measure(&found);
            (card.map50, card.map) = (Some(map50), Some(map));
            same
        }
    };
    card.agreement = same as f64 / card.compared as f64;
    Ok(card)
}

struct Pictures<'a> {
    model: &'a OnnxModel,
    int8: Int8<'a>,
    /// Bytes of one.
    size: usize,
    /// One of so many is compared.
    every: usize,
}

impl Pictures<'_> {
    /// Those answered right, and those compared that are answered alike.
    fn classes(&self, truth: &[usize]) -> Result<(u64, u64), ExportError> {
        let spec = &self.int8.quantized.lowered.input;
        let top = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
        let (mut right, mut same) = (0, 0);
        for (batch, pictures) in self.int8.pictures.chunks(BATCH * self.size).enumerate() {
            let images = pictures.len() / self.size;
            let answers = self.model.predict_batch(pictures, images, spec.width as u32, spec.height as u32)?;
            for (at, (answer, rgb)) in answers.iter().zip(pictures.chunks_exact(self.size)).enumerate() {
                let at = batch * BATCH + at;
                right += u64::from(truth.get(at) == Some(&top(answer)));
                if at.is_multiple_of(self.every) {
                    same += u64::from(top(answer) == top(&self.int8.quantized.answer(rgb)?));
                }
            }
        }
        Ok((right, same))
    }

    /// What is found in each, and in how many of those compared the same is found.
    fn boxes(&self) -> Result<(Vec<Vec<Found>>, u64), ExportError> {
        let quantized = self.int8.quantized;
        let spec = &quantized.lowered.input;
        let shape = quantized.lowered.layers.get(quantized.lowered.output).map_or([0; 3], |layer| layer.to);
        let (mut all, mut same) = (Vec::new(), 0);
        for pictures in self.int8.pictures.chunks(BATCH * self.size) {
            let images = pictures.len() / self.size;
            let found = self.model.detect_batch(pictures, images, spec.width as u32, spec.height as u32, 0.0)?;
            for (found, rgb) in found.into_iter().zip(pictures.chunks_exact(self.size)) {
                if all.len().is_multiple_of(self.every) {
                    let map = quantized.answer(rgb)?;
                    let far = difference_from_map(&objects_answer(&found), &map, shape, INT8_TOLERANCE);
                    same += u64::from(far <= INT8_TOLERANCE);
                }
                all.push(found);
            }
        }
        Ok((all, same))
    }
}
