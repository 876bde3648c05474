//! Tars that lie in their headers, and gzips around them.

use super::Sent::Classes;
use super::archives::gzip;
use super::{Case, Sent, case, good};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// A header and its content, padded to whole blocks.
fn block(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    block_of(name, kind, content, &format!("{:011o}\0", content.len()).into_bytes())
}

fn block_of(name: &str, kind: u8, content: &[u8], size: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &size[..12]);
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, b"../../etc/passwd");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    [&head[..], content, &padding].concat()
}

fn tar(blocks: &[Vec<u8>]) -> Vec<u8> {
    let pictures: Vec<Vec<u8>> = good().iter().map(|(name, bytes)| block(name, b'0', bytes)).collect();
    [pictures.concat(), blocks.concat(), vec![0; 1024]].concat()
}

/// The good pictures and what is bad.
fn with(blocks: &[Vec<u8>]) -> Sent {
    Classes(tar(blocks))
}

fn pax(pairs: &[(&str, &str)]) -> Vec<u8> {
    let line = |key: &str, value: &str| {
        let rest = key.len() + value.len() + 3;
        let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
        format!("{length} {key}={value}\n")
    };
    block("pax", b'x', pairs.iter().map(|(key, value)| line(key, value)).collect::<String>().as_bytes())
}

/// A gzip of a header and so many MiB of a letter.
fn gzip_of_many(head: &[u8], mib: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(head).unwrap();
    let letters = vec![b'x'; 1 << 20];
    (0..mib).for_each(|_| gzip.write_all(&letters).unwrap());
    gzip.finish().unwrap()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("tar: a path that climbs out", 422, "unsafe_path", || with(&[block("a/../../x.png", b'0', b"x")])),
        case("tar: an absolute path", 422, "unsafe_path", || with(&[block("/etc/passwd", b'0', b"x")])),
        case("tar: a symbolic link", 422, "unsafe_path", || with(&[block("a/x.png", b'2', b"")])),
        case("tar: a hard link", 422, "unsafe_path", || with(&[block("a/x.png", b'1', b"")])),
        case("tar: a character device", 422, "unsafe_path", || with(&[block("a/x.png", b'3', b"")])),
        case("tar: a block device", 422, "unsafe_path", || with(&[block("a/x.png", b'4', b"")])),
        case("tar: a pipe", 422, "unsafe_path", || with(&[block("a/x.png", b'6', b"")])),
        case("tar: a sparse file of 8 EiB", 422, "invalid_archive", || with(&[block("a/x.png", b'S', b"x")])),
        case("tar: a path that climbs out by an extended header", 422, "unsafe_path", || {
            with(&[pax(&[("path", "../../x.png")]), block("a/x.png", b'0', b"x")])
        }),
        case("tar: a size of 8 EiB by an extended header", 422, "invalid_archive", || {
            with(&[pax(&[("size", "9223372036854775807")]), block("a/x.png", b'0', b"x")])
        }),
        case("tar: a size that overflows by an extended header", 422, "invalid_archive", || {
            with(&[pax(&[("size", "18446744073709551615")]), block("a/x.png", b'0', b"x")])
        }),
        case("tar: a negative size", 422, "invalid_archive", || with(&[block_of("a/x.png", b'0', b"x", &[0xFF; 12])])),
        case("tar: a size that is no number", 422, "invalid_archive", || {
            with(&[block_of("a/x.png", b'0', b"x", b"zzzzzzzzzzz\0")])
        }),
        case("tar: more bytes than there are", 422, "invalid_archive", || {
            Classes(block_of("a/x.png", b'0', b"x", b"00077777777\0"))
        }),
        case("tar: two long names for one entry", 422, "invalid_archive", || {
            with(&[block("n", b'L', b"a/x.png\0"), block("n", b'L', b"a/y.png\0"), block("a/z.png", b'0', b"x")])
        }),
        case("tar: a long name for nothing", 422, "invalid_archive", || with(&[block("n", b'L', b"a/x.png\0")])),
        case("tar: a name of 60,000 bytes", 422, "unsafe_path", || {
            with(&[block("n", b'L', "x/".repeat(30_000).as_bytes()), block("a/x.png", b'0', b"x")])
        }),
        case("tar: a name of 500 MiB", 413, "archive_too_large", || {
            let size = format!("{:011o}\0", 500u64 << 20);
            Classes(gzip_of_many(&block_of("n", b'L', b"", size.as_bytes()), 500))
        }),
        case("tar: an extended header of 500 MiB", 413, "archive_too_large", || {
            let size = format!("{:011o}\0", 500u64 << 20);
            Classes(gzip_of_many(&block_of("n", b'x', b"", size.as_bytes()), 500))
        }),
        case("tar: the same name twice", 422, "invalid_archive", || with(&[block("a/0.png", b'0', &good()[0].1)])),
        case("tar: a wrong checksum", 422, "invalid_archive", || {
            let mut bad = block("a/x.png", b'0', b"x");
            bad[0] = b'b';
            with(&[bad])
        }),
        case("tar.gz: cut off", 422, "invalid_archive", || {
            let packed = gzip(&tar(&[]));
            Classes(packed[..packed.len() - 9].to_vec())
        }),
        case("tar.gz: a wrong checksum", 422, "invalid_archive", || {
            let mut packed = gzip(&tar(&[]));
            let at = packed.len() - 8;
            packed[at] ^= 1;
            Classes(packed)
        }),
        case("tar.gz: rubbish behind it", 422, "invalid_archive", || {
            Classes([gzip(&tar(&[])), b"rubbish that is no gzip".to_vec()].concat())
        }),
        case("tar.gz: a gzip in a gzip", 422, "invalid_archive", || Classes(gzip(&gzip(&tar(&[]))))),
        case("tar.gz: 100,000 empty gzips", 422, "invalid_layout", || Classes(gzip(b"").repeat(100_000))),
        case("tar.gz: 400 MiB of one letter", 413, "archive_too_large", || {
            let size = format!("{:011o}\0", 400u64 << 20);
            let pictures = tar(&[]);
            let head = [&pictures[..pictures.len() - 1024], &block_of("a/x.bmp", b'0', b"", size.as_bytes())].concat();
            Classes(gzip_of_many(&head, 400))
        }),
        case("tar.gz: 64 MiB of zeros behind the end", 413, "archive_too_large", || {
            Classes(gzip(&[tar(&[]), vec![0; 64 << 20]].concat()))
        }),
    ]
}
