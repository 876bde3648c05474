//! Zips that lie in their headers, written byte by byte.

use super::Sent::Classes;
use super::{Case, case, good};
use crate::harness::zip_of;
use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::Write;

/// An entry, and what the directory says of it.
#[derive(Clone, Default)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) packed: Vec<u8>,
    pub(super) size: u32,
    pub(super) crc: u32,
    pub(super) method: u16,
    pub(super) flags: u16,
    /// Unix's mode; 0 is none.
    pub(super) mode: u32,
    pub(super) extra: Vec<u8>,
    /// How many bytes are said to be there, if not as many as there are.
    pub(super) packed_size: Option<u32>,
    /// Where the directory says that it begins, if not there.
    pub(super) offset: Option<u32>,
}

pub(super) fn entry(name: impl AsRef<[u8]>, bytes: &[u8]) -> Entry {
    let mut crc = Crc::new();
    crc.update(bytes);
    let (size, crc) = (bytes.len() as u32, crc.sum());
    Entry { name: name.as_ref().to_vec(), packed: bytes.to_vec(), size, crc, ..Entry::default() }
}

pub(super) fn deflated(name: &str, bytes: &[u8]) -> Entry {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
    deflate.write_all(bytes).unwrap();
    Entry { packed: deflate.finish().unwrap(), method: 8, ..entry(name, bytes) }
}

fn header(entry: &Entry, central: bool, offset: u32) -> Vec<u8> {
    let numbers = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let long = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let common = [
        numbers(&[20, entry.flags, entry.method, 0, 0]),
        long(&[entry.crc, entry.packed_size.unwrap_or(entry.packed.len() as u32), entry.size]),
        numbers(&[entry.name.len() as u16, entry.extra.len() as u16]),
    ]
    .concat();
    match central {
        false => [&b"PK\x03\x04"[..], &common, &entry.name, &entry.extra].concat(),
        true => {
            let rest = [numbers(&[0, 0, 0]), long(&[entry.mode << 16, entry.offset.unwrap_or(offset)])].concat();
            [&b"PK\x01\x02"[..], &numbers(&[0x0314]), &common, &rest, &entry.name, &entry.extra].concat()
        }
    }
}

/// The end: count of entries, bytes of the directory and where it begins.
fn end(count: u16, size: u32, offset: u32) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    [count, count].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [size, offset].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend([0, 0]);
    out
}

/// The end of a zip64, which stands before the other.
fn end64(count: u64, size: u64, offset: u64, at: u64) -> Vec<u8> {
    let mut out = b"PK\x06\x06".to_vec();
    out.extend(44u64.to_le_bytes());
    out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    [count, count, size, offset].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(at.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out
}

pub(super) fn raw_zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(header(entry, true, out.len() as u32));
        // An entry that is said to be elsewhere has no bytes of its own.
        if entry.offset.is_none() {
            out.extend(header(entry, false, 0));
            out.extend(&entry.packed);
        }
    }
    let (size, offset) = (directory.len() as u32, out.len() as u32);
    [out, directory, end(entries.len() as u16, size, offset)].concat()
}

/// The good pictures and one bad entry.
fn with(bad: Entry) -> super::Sent {
    let mut entries: Vec<Entry> = good().iter().map(|(name, bytes)| entry(name, bytes)).collect();
    entries.push(bad);
    Classes(raw_zip(&entries))
}

/// The good pictures of one class, and twelve that are spoiled by `spoil`.
fn half(spoil: impl Fn(Entry) -> Entry) -> super::Sent {
    let spoiled = |(name, bytes): &(String, Vec<u8>)| match entry(name, bytes) {
        bad if name.starts_with('b') => spoil(bad),
        fine => fine,
    };
    Classes(raw_zip(&good().iter().map(spoiled).collect::<Vec<_>>()))
}

/// Millions of entries of one small content: the directory is all there is.
fn many(count: u32) -> Vec<u8> {
    let first = entry("a/x.png", &good()[0].1);
    let mut out = header(&first, false, 0);
    out.extend(&first.packed);
    let offset = out.len() as u64;
    for number in 0..count {
        out.extend(header(&Entry { name: format!("a/{number:08}.png").into_bytes(), ..first.clone() }, true, 0));
    }
    let (size, at) = (out.len() as u64 - offset, out.len() as u64);
    out.extend(end64(count.into(), size, offset, at));
    out.extend(end(u16::MAX, u32::MAX, u32::MAX));
    out
}

fn named(name: &'static [u8]) -> impl Fn() -> super::Sent {
    move || with(entry(name, &good()[0].1))
}

fn image() -> Vec<u8> {
    good()[0].1.clone()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("zip: a path that climbs out", 422, "unsafe_path", named(b"../../etc/cron.d/x.png")),
        case("zip: a path that climbs out in the middle", 422, "unsafe_path", named(b"a/../../x.png")),
        case("zip: a path that climbs out with backslashes", 422, "unsafe_path", named(b"..\\..\\x.png")),
        case("zip: an absolute path", 422, "unsafe_path", named(b"/etc/passwd")),
        case("zip: a drive letter", 422, "unsafe_path", named(b"C:\\windows\\x.png")),
        case("zip: a name with NUL", 422, "unsafe_path", named(b"a/x.png\0.txt")),
        case("zip: a name with a line break", 422, "unsafe_path", named(b"a/x\r\nset-cookie: y.png")),
        case("zip: a name with an escape sequence", 422, "unsafe_path", named(b"a/\x1b[2J.png")),
        case("zip: a name that is written backwards", 422, "unsafe_path", || {
            with(Entry { flags: 0x800, ..entry("a/x\u{202e}gnp.exe", &image()) })
        }),
        case("zip: overlong UTF-8 for `..`", 422, "too_few_examples", || {
            with(Entry { flags: 0x800, ..entry(b"\xC0\xAE\xC0\xAE/x.png", &image()) })
        }),
        case("zip: classes that differ by case alone", 422, "too_few_examples", named(b"A/x.png")),
        case("zip: a path of 60,000 bytes", 422, "unsafe_path", || with(entry("x/".repeat(30_000), &image()))),
        case("zip: the same name twice", 422, "invalid_archive", named(b"a/0.png")),
        case("zip: a symbolic link", 422, "unsafe_path", || {
            with(Entry { mode: 0o120_777, ..entry("a/x.png", b"/etc/passwd") })
        }),
        case("zip: a device", 422, "unsafe_path", || with(Entry { mode: 0o020_666, ..entry("a/x.png", b"") })),
        case("zip: a pipe", 422, "unsafe_path", || with(Entry { mode: 0o010_666, ..entry("a/x.png", b"") })),
        case("zip: an unknown compression", 415, "invalid_image", || half(|bad| Entry { method: 77, ..bad })),
        case("zip: encrypted", 422, "invalid_archive", || with(Entry { flags: 1, ..entry("a/x.png", &image()) })),
        case("zip: wrong checksums", 415, "invalid_image", || half(|bad| Entry { crc: !bad.crc, ..bad })),
        case("zip: deflate that is none", 415, "invalid_image", || half(|bad| Entry { method: 8, ..bad })),
        case("zip: more bytes than it says", 415, "invalid_image", || {
            half(|bad| Entry { size: 10, ..deflated(std::str::from_utf8(&bad.name).unwrap(), &bad.packed) })
        }),
        case("zip: fewer bytes than it says", 415, "invalid_image", || {
            half(|bad| Entry { packed_size: Some(1 << 30), ..bad })
        }),
        case("zip: an entry that begins behind the end", 422, "invalid_archive", || {
            with(Entry { offset: Some(u32::MAX - 9), ..entry("a/x.png", &image()) })
        }),
        case("zip: entries that overlap", 413, "archive_too_large", || {
            let kernel = deflated("a/x.bmp", &vec![0; 8 << 20]);
            let again = |i: usize| Entry {
                name: format!("{}/{i}.bmp", ["a", "b"][i % 2]).into_bytes(),
                offset: Some(0),
                ..kernel.clone()
            };
            Classes(raw_zip(&[vec![kernel.clone()], (0..200).map(again).collect()].concat()))
        }),
        case("zip: a million entries", 413, "archive_too_large", || Classes(many(1_000_000))),
        case("zip: more entries than there is room for", 422, "invalid_archive", || {
            let zip = zip_of(&good());
            let cut = zip.len() - 22;
            let at = cut as u64;
            Classes([&zip[..cut], &end64(u64::MAX, u64::MAX, 0, at), &end(u16::MAX, u32::MAX, u32::MAX)].concat())
        }),
        case("zip: a directory behind the end", 422, "invalid_archive", || {
            let zip = zip_of(&good());
            let cut = zip.len() - 22;
            Classes([&zip[..cut], &end64(24, 1000, 1 << 60, cut as u64), &end(u16::MAX, u32::MAX, u32::MAX)].concat())
        }),
        case("zip: nothing but ends", 422, "invalid_archive", || {
            let ends: Vec<u8> = (0..3000).flat_map(|i| end(9, 9, i)).collect();
            Classes([&b"PK\x03\x04"[..], &ends].concat())
        }),
        case("zip: without any entry", 422, "invalid_layout", || Classes(end(0, 0, 0))),
    ]
}
