//! Where in an image a model sees its answer.

use image::RgbImage;
use kindling_data::{Limits, decode_image, resize_f32};
use kindling_export::network_files;
use kindling_graph::{Answer, Heat, Tensor, heat};
use kindling_spec::{ErrorCode, ModelId, TaskKind, TaskSpec};
use std::io::Cursor;
use std::path::Path;

use crate::error::blocking;
use crate::{EngineError, Service};

/// The network itself, which answers only for what it is asked.
const WEIGHTS: &str = "weights.safetensors";
/// Pixels of the longer side of what is drawn, at most.
const MOST_PIXELS: u32 = 1024;
/// What the hottest place is painted with, and how thickly.
const COLOUR: [f32; 3] = [255.0, 45.0, 0.0];
const THICKNESS: f32 = 0.75;

impl Service {
    /// A PNG of the image with the places painted over that speak for a class, the likeliest where none is named, or what is
    /// faulty where anomalies are looked for: Grad-CAM (Selvaraju et al. 2017), or the probability of each place.
    ///
    /// # Errors
    /// There is no such model or class, its weights were not exported, or the image cannot be read or is too large.
    pub async fn explain(&self, id: &ModelId, image: &[u8], class: Option<&str>) -> Result<Vec<u8>, EngineError> {
        let model = self.open_model(id).await?;
        if model.answer() == Answer::Map {
            let what = "a heat map is of a class; this model finds objects, whose boxes say where they are";
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        let (_, path) = self.model_file(id, WEIGHTS).await?;
        let task = self.store().meta.task(&self.model(id).await?.task).await?;
        // Where an anomaly is looked for, it is that.
        let class = class.or((task.spec.kind == TaskKind::AnomalyDetection).then_some(TaskSpec::FAULTY));
        let (bytes, limits) = (image.to_vec(), self.limits().clone());
        let wanted = class.map(|name| {
            model.labels().iter().position(|label| label == name).ok_or_else(|| {
                let shown: String = name.chars().take(60).collect();
                let detail = format!("`{shown}` is none of the model's labels: {}", model.labels().join(", "));
                EngineError::refused(ErrorCode::InvalidRequest, detail)
            })
        });
        let wanted = wanted.transpose()?;
        blocking(move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            explain(folder, &bytes, &limits, |image| match wanted {
                Some(class) => Ok(class),
                None => {
                    let answers = model.predict(image.as_raw(), image.width(), image.height())?;
                    Ok((0..answers.len()).max_by(|a, b| answers[*a].total_cmp(&answers[*b])).unwrap_or(0))
                }
            })
        })
        .await
    }
}

fn explain(
    folder: &Path,
    bytes: &[u8],
    limits: &Limits,
    class: impl Fn(&RgbImage) -> Result<usize, EngineError>,
) -> Result<Vec<u8>, EngineError> {
    let mut image = decode_image(bytes, limits)?;
    let (graph, weights) = network_files(folder)?;
    let input = &graph.input;
    let pixels = resize_f32(&image, input.height);
    let plane = input.height * input.width;
    let normalised = (0..input.channels)
        .flat_map(|c| (0..plane).map(move |at| (c, at)))
        .map(|(c, at)| (pixels[at * input.channels + c] / 255.0 - input.mean[c]) / input.std[c])
        .collect();
    let normalised = Tensor::new(vec![1, input.channels, input.height, input.width], normalised)?;
    let heat = heat(&graph, &weights, &normalised, class(&image)?)?;
    if image.width().max(image.height()) > MOST_PIXELS {
        let smaller = image::DynamicImage::from(image);
        image = smaller.resize(MOST_PIXELS, MOST_PIXELS, image::imageops::FilterType::Triangle).into_rgb8();
    }
    paint(&mut image, &heat);
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).map_err(|error| {
        EngineError::refused(ErrorCode::Internal, format!("the picture cannot be written: {error}"))
    })?;
    Ok(png.into_inner())
}

/// Paints hot places over, colour spread smoothly from the middle of each.
fn paint(image: &mut RgbImage, heat: &Heat) {
    let (width, height) = image.dimensions();
    let place = |pixel: u32, pixels: u32, places: usize| {
        let at = ((pixel as f32 + 0.5) / pixels as f32 * places as f32 - 0.5).clamp(0.0, (places - 1) as f32);
        (at as usize, (at as usize + 1).min(places - 1), at.fract())
    };
    if heat.width == 0 || heat.height == 0 {
        return;
    }
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (left, right, across) = place(x, width, heat.width);
        let (top, bottom, down) = place(y, height, heat.height);
        let value = |row: usize, column: usize| heat.values.get(row * heat.width + column).copied().unwrap_or(0.0);
        let row = |row| value(row, left) * (1.0 - across) + value(row, right) * across;
        let share = (row(top) * (1.0 - down) + row(bottom) * down) * THICKNESS;
        for (channel, colour) in pixel.0.iter_mut().zip(COLOUR) {
            *channel = (f32::from(*channel) * (1.0 - share) + colour * share).round() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_places_are_painted_and_cold_ones_left() {
        let mut image = RgbImage::from_pixel(40, 20, image::Rgb([10, 20, 30]));
        let mut values = vec![0.0; 8];
        values[3] = 1.0;
        paint(&mut image, &Heat { height: 2, width: 4, values });
        assert_eq!(image.get_pixel(2, 18).0, [10, 20, 30]);
        let hot = image.get_pixel(39, 0).0;
        let expected = [10.0, 20.0, 30.0].iter().zip(COLOUR).map(|(a, b)| a * 0.25 + b * 0.75);
        assert!(hot.iter().zip(expected).all(|(a, b)| (f32::from(*a) - b).abs() <= 1.0), "{hot:?}");
        // Half way between the hot place and a cold one.
        let between = image.get_pixel(29, 0).0;
        assert!(between[0] > 60 && between[0] < hot[0], "{between:?}");
    }
}
