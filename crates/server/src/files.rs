//! Handing out files that never change: ranges, entity tags, HEAD (RFC 9110, sections 13 and 14).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kindling_spec::ErrorCode;
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::Problem;

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).collect()
}

/// What is handed out.
pub(crate) struct Offer<'a> {
    /// The open file.
    pub(crate) file: std::fs::File,
    /// Its size.
    pub(crate) bytes: u64,
    /// A hash of its content.
    pub(crate) sha256: &'a str,
    /// Its media type.
    pub(crate) media_type: &'a str,
    /// The name a browser saves it under.
    pub(crate) name: &'a str,
}

/// The part of a file a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From the first byte to the last, both included.
    Bytes(u64, u64),
    /// None of it is there.
    Outside,
}

/// Reads a Range header. What is not a single byte range is ignored, as RFC 9110 allows.
pub(crate) fn part(range: Option<&str>, size: u64) -> Part {
    let Some(spec) = range.and_then(|r| r.trim().strip_prefix("bytes=")) else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let number = |text: &str| match text {
        "" => None,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().unwrap_or(u64::MAX)),
        _ => None,
    };
    match (first, number(first), last, number(last)) {
        // The last so many bytes.
        ("", _, _, Some(0)) => Part::Outside,
        ("", _, _, Some(_)) if size == 0 => Part::Outside,
        ("", _, _, Some(length)) => Part::Bytes(size.saturating_sub(length), size - 1),
        (_, Some(first), "", _) if first < size => Part::Bytes(first, size - 1),
        (_, Some(first), _, Some(last)) if first > last => Part::Whole,
        (_, Some(first), _, Some(last)) if first < size => Part::Bytes(first, last.min(size - 1)),
        (_, Some(_), "", _) | (_, Some(_), _, Some(_)) => Part::Outside,
        _ => Part::Whole,
    }
}

/// Whether a list of entity tags names this one (weakly compared) or is `*`.
fn names(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// Whether the client has the content of this hash already.
pub(crate) fn is_known(headers: &HeaderMap, sha256: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    given.is_some_and(|list| names(list, &format!("\"{sha256}\"")))
}

/// Content that never changes may be kept, but only by the one who asked.
pub(crate) const KEEP: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Answers with a file or the part asked for.
///
/// # Errors
/// The range lies outside, or the file cannot be read.
pub(crate) async fn hand_out(headers: &HeaderMap, offer: Offer<'_>) -> Result<Response, Problem> {
    let tag = format!("\"{}\"", offer.sha256);
    let etag = HeaderValue::try_from(&tag).map_err(Problem::internal)?;
    let size = offer.bytes;
    if is_known(headers, offer.sha256) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag), (header::CACHE_CONTROL, KEEP)]).into_response());
    }
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    // A range of another version of the file would be glued to the wrong rest.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|given| given == tag));
    let (first, length, status) = match part(range, size) {
        Part::Whole => (0, size, StatusCode::OK),
        Part::Bytes(first, last) => (first, last - first + 1, StatusCode::PARTIAL_CONTENT),
        Part::Outside => {
            let whole = HeaderValue::try_from(format!("bytes */{size}")).map_err(Problem::internal)?;
            let detail = format!("`{}` has {size} bytes; the range lies outside", offer.name);
            return Err(Problem::new(ErrorCode::RangeNotSatisfiable, detail).with_header(header::CONTENT_RANGE, whole));
        }
    };
    let mut file = tokio::fs::File::from_std(offer.file);
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await.map_err(Problem::internal)?;
    }
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_LENGTH, length.into());
    out.insert(header::ETAG, etag);
    out.insert(header::CACHE_CONTROL, KEEP);
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(media_type) = HeaderValue::try_from(offer.media_type) {
        out.insert(header::CONTENT_TYPE, media_type);
    }
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{}\"", offer.name)) {
        out.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::try_from(format!("bytes {first}-{}/{size}", first + length - 1))
    {
        out.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (range, expected) in [
            ("bytes=0-4", Part::Bytes(0, 4)),
            ("bytes=5-", Part::Bytes(5, 9)),
            ("bytes=5-100", Part::Bytes(5, 9)),
            ("bytes=9-99999999999999999999999", Part::Bytes(9, 9)),
            ("bytes=-3", Part::Bytes(7, 9)),
            ("bytes=-30", Part::Bytes(0, 9)),
            ("bytes=-0", Part::Outside),
            ("bytes=10-", Part::Outside),
            ("bytes=10-12", Part::Outside),
            ("bytes=4-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("items=0-4", Part::Whole),
        ] {
            assert_eq!(part(Some(range), 10), expected, "{range}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
        assert_eq!(part(Some("bytes=-1"), 0), Part::Outside);
        assert_eq!(part(None, 10), Part::Whole);
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(names("\"a\", W/\"b\"", "\"b\"") && names("*", "\"x\""));
        assert!(!names("\"a\"", "\"b\"") && !names("a", "\"a\""));
    }

    /// Headers as clients send them, wrong ones among them: a part lies within its file, whatever was asked for.
    #[test]
    fn no_spoiled_header_is_answered_with_what_is_not_there() {
        let read = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            for size in [0, 1, 10, 1 << 40, u64::MAX] {
                if let Part::Bytes(first, last) = part(Some(&text), size) {
                    assert!(first <= last && last < size, "{text}: {first} to {last} of {size}");
                }
            }
            let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
            let mut headers = HeaderMap::new();
            for name in [header::IF_NONE_MATCH, header::CONTENT_LENGTH] {
                headers.insert(name, value.clone());
            }
            let _ = (is_known(&headers, "ab"), crate::request::content_length(&headers));
        };
        let seeds = || {
            let texts = ["bytes=0-4", "bytes=5-", "bytes=-3", "bytes=0-1,4-5", "W/\"ab\", *", "12345"];
            texts.map(|text| text.as_bytes().to_vec()).to_vec()
        };
        kindling_spoil::check(&[kindling_spoil::Parser { name: "range", read, seeds, cases: 20_000 }]);
    }
}
