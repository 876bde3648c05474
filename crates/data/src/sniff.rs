//! What bytes are, by their content: file names lie.

use image::ImageFormat;

/// The formats that are read, or none.
pub(crate) fn image_format(bytes: &[u8]) -> Option<ImageFormat> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(ImageFormat::Png),
        [0xFF, 0xD8, 0xFF, ..] => Some(ImageFormat::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageFormat::WebP),
        [b'B', b'M', rest @ ..] if rest.len() > 24 => Some(ImageFormat::Bmp),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(ImageFormat::Tiff),
        _ => None,
    }
}

/// The kind of archive or compressed file this is, by its first 512 bytes.
pub(crate) fn archive_kind(head: &[u8]) -> Option<&'static str> {
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] => Some("zip"),
        [0x1F, 0x8B, 8, ..] => Some("gzip"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Some("bzip2"),
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C, ..] => Some("7z"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("zstd"),
        [b'R', b'a', b'r', b'!', 0x1A, 7, ..] => Some("rar"),
        _ if is_tar(head) => Some("tar"),
        _ => None,
    }
}

/// Whether this is a tar header, of POSIX or GNU or of before them: by its magic, else by its
/// checksum, which is the sum of all header bytes with its own field read as blanks.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    if head.len() < 512 {
        return false;
    }
    if &head[257..262] == b"ustar" {
        return true;
    }
    let field = &head[148..156];
    let digits: String = field.iter().map(|b| char::from(*b)).filter(|c| ('0'..='7').contains(c)).collect();
    let sum: u64 = head[..512].iter().map(|b| u64::from(*b)).sum::<u64>()
        - field.iter().map(|b| u64::from(*b)).sum::<u64>()
        + 8 * u64::from(b' ');
    digits.len() >= 4 && u64::from_str_radix(&digits, 8) == Ok(sum)
}

/// A few words for a person whose file is no image.
pub(crate) fn describe(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "an empty file";
    }
    if let Some(kind) = archive_kind(bytes) {
        return match kind {
            "zip" => "a zip archive or office document",
            _ => "an archive or compressed file",
        };
    }
    let head = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<head") {
        return "an HTML page";
    }
    if text.contains("<svg") {
        return "an SVG drawing";
    }
    if text.starts_with("<?xml") {
        return "an XML file";
    }
    if text.starts_with("version https://git-lfs") {
        return "a Git LFS pointer (run `git lfs pull` first)";
    }
    match head {
        [b'G', b'I', b'F', b'8', ..] => "a GIF image",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [0, 0, 0, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => "an AVIF image",
        [0, 0, 0, _, b'f', b't', b'y', b'p', b'h', b'e', b'i' | b'v', ..] => "a HEIC image",
        [0, 0, 0, _, b'f', b't', b'y', b'p', ..] => "a video",
        _ if head.iter().all(|b| *b == 0) => "a file of zeros",
        _ if std::str::from_utf8(head).is_ok() || !head.iter().any(|b| *b < 9) => "a text file",
        _ => "unknown data",
    }
}

/// A JPEG cut off early decodes to a picture with a grey rest, so its end is looked for.
///
/// The end marker may be followed by a little rubbish (cameras append previews) and is the only
/// `FF D9` that cannot stand inside compressed data. A file that has none anywhere in its second
/// half was cut off.
pub(crate) fn check_jpeg_ends(bytes: &[u8]) -> Result<(), String> {
    let half = &bytes[bytes.len() / 2..];
    if half.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]) {
        Ok(())
    } else {
        Err("the JPEG is cut off: its end is missing".to_owned())
    }
}

/// Whether a file's name claims that it is an image, so that its being none is worth telling.
pub(crate) fn named_as_image(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        None => true,
        Some((_, extension)) => matches!(
            extension.to_ascii_lowercase().as_str(),
            "png" | "jpg" | "jpeg" | "jpe" | "jfif" | "webp" | "bmp" | "dib" | "tif" | "tiff" | "gif" | "heic" | "avif"
        ),
    }
}
