//! Images whose headers lie, that are cut off, or that are something else.

use super::Sent::Picture;
use super::{Case, Sent, case, good};
use crate::harness::{picture, png};
use flate2::{Compression, Crc, write::ZlibEncoder};
use image::ImageFormat;
use std::io::{Cursor, Write};

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// So many zeros, packed.
fn zeros(bytes: usize) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let block = vec![0; 1 << 16];
    (0..bytes >> 16).for_each(|_| zlib.write_all(&block).unwrap());
    zlib.write_all(&block[..bytes % (1 << 16)]).unwrap();
    zlib.finish().unwrap()
}

/// A PNG with these sides, bits and kind of colours, further chunks, and its data.
fn raw_png(sides: [u32; 2], bits: u8, colours: u8, more: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let head = [&sides[0].to_be_bytes()[..], &sides[1].to_be_bytes(), &[bits, colours, 0, 0, 0]].concat();
    let start = [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &head)].concat();
    [start, more.concat(), chunk(b"IDAT", data), chunk(b"IEND", &[])].concat()
}

fn written(format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture(40, 30, 1).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A JPEG that says it has other sides.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = written(ImageFormat::Jpeg);
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5;
    jpeg[at..at + 2].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// A TIFF of tags (number, type, count, value) and no data.
fn tiff(tags: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    out.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in tags {
        [*tag, *kind].iter().for_each(|n| out.extend(n.to_le_bytes()));
        [*count, *value].iter().for_each(|n| out.extend(n.to_le_bytes()));
    }
    out.extend(next.to_le_bytes());
    out
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    [&b"RIFF"[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WEBP", chunks].concat()
}

fn bmp(width: i32, height: i32, bits: u16, compression: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = b"BM".to_vec();
    [54 + rest.len() as u32, 0, 54, 40].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [width, height].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [1, bits].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [compression, 0, 0, 0, 0, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [out, rest.to_vec()].concat()
}

fn cut(format: ImageFormat) -> impl Fn() -> Sent {
    move || {
        let bytes = written(format);
        Picture(bytes[..bytes.len() / 2].to_vec())
    }
}

fn pngs() -> Vec<Case> {
    let lies = |sides: [u32; 2]| move || Picture(raw_png(sides, 8, 2, &[], &zeros(100)));
    vec![
        case("PNG: 65535 by 65535", 413, "image_too_large", lies([65_535; 2])),
        case("PNG: 2147483647 by 2147483647", 415, "invalid_image", lies([i32::MAX as u32; 2])),
        case("PNG: 4294967295 by 1", 415, "invalid_image", lies([u32::MAX, 1])),
        case("PNG: nothing by nothing", 415, "invalid_image", lies([0; 2])),
        case("PNG: less data than it says", 415, "invalid_image", lies([5000; 2])),
        case("PNG: 400 million grey pixels in half a megabyte", 413, "image_too_large", || {
            Picture(raw_png([20_000; 2], 1, 0, &[], &zeros(20_000 * 2501)))
        }),
        case("PNG: 100 million pixels of 8 bytes", 413, "image_too_large", || {
            Picture(raw_png([10_000; 2], 16, 6, &[], &zeros(100)))
        }),
        case("PNG: 100 million pixels of 4 bytes, cut off at the end", 415, "invalid_image", || {
            let mut data = zeros(10_000 * 40_001);
            data.truncate(data.len() - 9);
            Picture(raw_png([10_000; 2], 8, 6, &[], &data))
        }),
        case("PNG: a profile of 1 GiB", 415, "invalid_image", || {
            let profile = chunk(b"iCCP", &[b"x\0\0".to_vec(), zeros(1 << 30)].concat());
            Picture(raw_png([40_000, 1], 8, 2, &[profile], &[]))
        }),
        case("PNG: a text of 1 GiB", 415, "invalid_image", || {
            let text = chunk(b"zTXt", &[b"x\0\0".to_vec(), zeros(1 << 30)].concat());
            Picture(raw_png([40_000, 1], 8, 2, &[text], &[]))
        }),
        case("PNG: a chunk of 2 GiB that is not there", 415, "invalid_image", || {
            let mut bytes = raw_png([9; 2], 8, 2, &[], &[]);
            bytes.truncate(33);
            Picture([bytes, b"\x7f\xff\xff\xffiTXtx\0".to_vec()].concat())
        }),
        case("PNG: a palette that is missing", 415, "invalid_image", || {
            Picture(raw_png([9; 2], 8, 3, &[], &zeros(90)))
        }),
        case("PNG: a wrong checksum", 415, "invalid_image", || {
            let mut bytes = written(ImageFormat::Png);
            bytes[29] ^= 1;
            Picture(bytes)
        }),
        case("PNG: an animation of frames that reach out", 415, "invalid_image", || {
            let frames = [chunk(b"acTL", &[0, 0, 255, 255, 0, 0, 0, 0]), chunk(b"fcTL", &[0xFF; 26])];
            Picture(raw_png([9; 2], 8, 2, &frames, &zeros(9 * 28)))
        }),
        case("PNG: cut off", 415, "invalid_image", cut(ImageFormat::Png)),
    ]
}

fn others() -> Vec<Case> {
    const SIDES: [(u16, u16, u32, u32); 2] = [(256, 4, 1, 65_535), (257, 4, 1, 65_535)];
    const SMALL: [(u16, u16, u32, u32); 3] = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8)];
    let tags = |more: &[(u16, u16, u32, u32)], next: u32| {
        let bytes = tiff(&[&SMALL[..], more].concat(), next);
        move || Picture(bytes.clone())
    };
    vec![
        case("JPEG: 65535 by 65535", 413, "image_too_large", || Picture(jpeg_of(65_535, 65_535))),
        case("JPEG: nothing by nothing", 415, "invalid_image", || Picture(jpeg_of(0, 0))),
        case("JPEG: cut off", 415, "invalid_image", cut(ImageFormat::Jpeg)),
        case("JPEG: markers alone", 415, "invalid_image", || {
            Picture([&b"\xFF\xD8"[..], &[0xFF; 9000], b"\xFF\xD9"].concat())
        }),
        case("JPEG: a table of no length", 415, "invalid_image", || {
            Picture(b"\xFF\xD8\xFF\xC4\0\0\xFF\xDB\0\0\xFF\xD9".to_vec())
        }),
        case("TIFF: 65535 by 65535", 413, "image_too_large", || {
            let strips = [(258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, 65_535), (279, 4, 1, 9)];
            Picture(tiff(&[&SIDES[..], &strips].concat(), 0))
        }),
        case("TIFF: a directory that comes after itself", 415, "invalid_image", tags(&[(262, 3, 1, 1)], 8)),
        case("TIFF: four milliards of strips", 415, "invalid_image", {
            tags(&[(262, 3, 1, 1), (273, 4, u32::MAX, 8), (279, 4, u32::MAX, 8)], 0)
        }),
        case("TIFF: a strip of 4 GiB", 415, "invalid_image", {
            tags(&[(262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, 9), (279, 4, 1, u32::MAX)], 0)
        }),
        case("TIFF: tiles of no size", 415, "invalid_image", {
            tags(&[(262, 3, 1, 1), (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 8)], 0)
        }),
        case("TIFF: 65535 samples a pixel", 415, "invalid_image", tags(&[(262, 3, 1, 1), (277, 3, 1, 65_535)], 0)),
        case("TIFF: a palette of 65535 samples a pixel", 415, "invalid_image", {
            tags(&[(262, 3, 1, 3), (273, 4, 1, 8), (277, 3, 1, 65_535), (278, 4, 1, 9), (279, 4, 1, 9)], 0)
        }),
        case("TIFF: cut off", 415, "invalid_image", cut(ImageFormat::Tiff)),
        case("WebP: 16383 by 16383", 413, "image_too_large", || {
            Picture(riff(b"VP8L\x08\0\0\0\x2f\xfe\xbf\xff\x0f\0\0\0"))
        }),
        case("WebP: a canvas of 16777216 by 16777216", 415, "invalid_image", || {
            Picture(riff(&[&b"VP8X\x0a\0\0\0\x10\0\0\0"[..], &[0xFF; 6]].concat()))
        }),
        case("WebP: a chunk of 4 GiB", 415, "invalid_image", || {
            Picture(riff(b"VP8 \xfe\xff\xff\xff\0\0\0\x9d\x01\x2a"))
        }),
        case("WebP: cut off", 415, "invalid_image", cut(ImageFormat::WebP)),
        case("BMP: 65535 by 65535", 413, "image_too_large", || Picture(bmp(65_535, 65_535, 24, 0, &[]))),
        case("BMP: a height of -2147483648", 415, "invalid_image", || Picture(bmp(1, i32::MIN, 24, 0, &[0; 9]))),
        case("BMP: a negative width", 415, "invalid_image", || Picture(bmp(-9, 9, 24, 0, &[0; 999]))),
        case("BMP: runs of 24 bits", 415, "invalid_image", || Picture(bmp(9, 9, 24, 1, &[0; 999]))),
        case("BMP: cut off", 415, "invalid_image", cut(ImageFormat::Bmp)),
        case("an empty picture", 422, "invalid_archive", || Picture(Vec::new())),
        case("a GIF", 422, "invalid_archive", || Picture(b"GIF89a\x01\0\x01\0\0\0\0;".to_vec())),
        case("an SVG with a script", 422, "invalid_archive", || {
            Picture(b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>".to_vec())
        }),
        case("a web page", 422, "invalid_archive", || Picture(b"<!doctype html><title>404</title>".to_vec())),
        case("a PNG's beginning and a JPEG's rest", 415, "invalid_image", || {
            Picture([&png(&picture(9, 9, 1))[..40], &written(ImageFormat::Jpeg)].concat())
        }),
        case("a class of broken pictures", 415, "invalid_image", || {
            let spoiled = good().into_iter().map(|(name, bytes)| match name.starts_with('b') {
                true => (name, bytes[..bytes.len() / 2].to_vec()),
                false => (name, bytes),
            });
            Sent::Classes(crate::harness::zip_of(&spoiled.collect::<Vec<_>>()))
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    pngs().into_iter().chain(others()).collect()
}
