//! One image file to upright RGB, whatever it is called and however it was saved.

use crate::{DataError, Limits, sniff};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, RgbImage};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Memory a decoder may use beyond the picture itself, also for what stands before it: profiles and texts are packed too.
const DECODER_HEADROOM: u64 = 64 << 20;
/// Bytes of a pixel, on average, that a picture as large as is allowed may decode to: red, green, blue and alpha.
const BYTES_A_PIXEL: u64 = 4;

/// Width and height in pixels, by the header alone; nothing is decoded.
///
/// # Errors
/// [`DataError::InvalidImage`] when it is no image that is read here, [`DataError::ImageTooLarge`]
/// when it has more pixels or bytes than the limits allow.
pub fn image_size(bytes: &[u8], limits: &Limits) -> Result<(u32, u32), DataError> {
    guarded(|| Ok(open(bytes, limits)?.dimensions()))
}

/// Width and height as the file has them, and how it is turned to stand upright; nothing is decoded.
pub(crate) fn shape(bytes: &[u8], limits: &Limits) -> Result<((u32, u32), Orientation), DataError> {
    guarded(|| {
        let mut decoder = open(bytes, limits)?;
        Ok((decoder.dimensions(), decoder.orientation().unwrap_or(Orientation::NoTransforms)))
    })
}

/// Decodes PNG, JPEG, WebP, BMP or TIFF, told apart by content.
///
/// Grey becomes three equal channels, 16 bits are scaled to 8, CMYK is converted without its
/// profile, transparency is laid over white, the EXIF orientation is applied, and of several
/// frames or pages the first is taken.
///
/// # Errors
/// [`DataError::InvalidImage`] when it is no such image or is damaged, [`DataError::ImageTooLarge`]
/// when its header says that it has more pixels than the limits allow; it is not decoded then.
pub fn decode_image(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DataError> {
    guarded(|| {
        let mut decoder = open(bytes, limits)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut bounds = image::Limits::no_limits();
        bounds.max_alloc = Some(decoder.total_bytes().saturating_mul(2).saturating_add(DECODER_HEADROOM));
        decoder.set_limits(bounds).map_err(damaged)?;
        let mut decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        decoded.apply_orientation(orientation);
        Ok(to_rgb(decoded))
    })
}

/// A decoder of bytes whose header is within the limits.
fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Box<dyn ImageDecoder + 'a>, DataError> {
    if bytes.len() as u64 > limits.max_image_bytes {
        return Err(too_many_bytes(bytes.len() as u64, limits));
    }
    let Some(format) = sniff::image_format(bytes) else {
        return Err(DataError::InvalidImage(format!(
            "not a PNG, JPEG, WebP, BMP or TIFF image but {}",
            sniff::describe(bytes)
        )));
    };
    let data = Cursor::new(bytes);
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(DECODER_HEADROOM);
    use image::codecs::{bmp, jpeg, png, tiff, webp};
    let decoder: Box<dyn ImageDecoder + 'a> = match format {
        ImageFormat::Png => Box::new(png::PngDecoder::with_limits(data, bounds).map_err(damaged)?),
        ImageFormat::Jpeg => {
            sniff::check_jpeg_ends(bytes).map_err(DataError::InvalidImage)?;
            Box::new(jpeg::JpegDecoder::new(data).map_err(damaged)?)
        }
        ImageFormat::WebP => Box::new(webp::WebPDecoder::new(data).map_err(damaged)?),
        ImageFormat::Bmp => Box::new(bmp::BmpDecoder::new(data).map_err(damaged)?),
        _ => Box::new(tiff::TiffDecoder::new(data).map_err(damaged)?),
    };
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(DataError::InvalidImage("the image is empty (0 pixels)".into()));
    }
    if pixels > limits.max_pixels {
        return Err(DataError::ImageTooLarge(format!(
            "{width}x{height} is {} megapixels, more than the {} allowed",
            pixels.div_ceil(1_000_000),
            limits.max_pixels as f64 / 1e6
        )));
    }
    if decoder.total_bytes() > limits.max_pixels.saturating_mul(BYTES_A_PIXEL) {
        return Err(DataError::ImageTooLarge(format!(
            "{width}x{height} pixels of {} bytes are more than can be decoded here; save it with 8 bits a channel",
            decoder.color_type().bytes_per_pixel()
        )));
    }
    Ok(decoder)
}

/// The refusal of a file by its length.
pub(crate) fn too_many_bytes(bytes: u64, limits: &Limits) -> DataError {
    DataError::ImageTooLarge(format!(
        "the file is {} MiB or more, larger than the {} MiB allowed",
        bytes >> 20,
        limits.max_image_bytes >> 20
    ))
}

fn damaged(error: image::ImageError) -> DataError {
    // It may name each of 65535 samples.
    DataError::InvalidImage(format!("the image is damaged or of an unknown variant: {:.300}", error.to_string()))
}

/// Runs a decoder over a stranger's bytes: a bug in it must cost that image and nothing else.
fn guarded<T>(work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DataError::InvalidImage("the image is damaged: its decoder gave up".into())))
}

fn to_rgb(decoded: DynamicImage) -> RgbImage {
    if !decoded.color().has_alpha() {
        return decoded.into_rgb8();
    }
    let rgba = decoded.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(from[3]);
        for c in 0..3 {
            to[c] = ((u32::from(from[c]) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    rgb
}
