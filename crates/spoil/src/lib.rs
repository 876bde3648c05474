//! Good files spoiled in the ways that find faults in parsers: bits flipped, numbers made extreme, pieces deleted,
//! doubled, cut off, or put together from two files. Nothing but tests depends on it.

#![forbid(unsafe_code)]

pub use proptest;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

/// A parser of strangers' bytes.
pub struct Parser {
    /// Its name.
    pub name: &'static str,
    /// Reads any bytes; panics only if something is wrong with the parser.
    pub read: fn(&[u8]),
    /// Good files.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Spoiled files that a test of a second or so has time for.
    pub cases: u32,
}

/// Has every parser read its good files, then spoiled ones.
///
/// # Panics
/// If one of them does, with the shortest file that was found to make it.
pub fn check(parsers: &[Parser]) {
    for Parser { name, read, seeds, cases } in parsers {
        let seeds = seeds();
        seeds.iter().for_each(|seed| read(seed));
        println!("{name}: {} cases", config(*cases).cases);
        proptest!(config(*cases), |(bytes in spoiled(seeds))| { read(&bytes); });
    }
}

/// Multiplies the cases of every test and draws them anew each time, for runs of minutes instead of seconds.
pub const MORE: &str = "KINDLING_SPOIL";

/// The same `cases` in every run, or other ones and more if the environment's [`MORE`] is a number.
pub fn config(cases: u32) -> ProptestConfig {
    let more: Option<u32> = std::env::var(MORE).ok().and_then(|text| text.parse().ok());
    let rng_seed = if more.is_some() { RngSeed::Random } else { RngSeed::Fixed(1) };
    let cases = cases.saturating_mul(more.unwrap_or(1));
    ProptestConfig { cases, failure_persistence: None, rng_seed, max_shrink_iters: 4096, ..ProptestConfig::default() }
}

/// Any bytes, now and then; else one of the good files with up to eight changes.
pub fn spoiled(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<u8>(), any::<Index>(), any::<Index>(), any::<u64>());
    let changed = (any::<Index>(), prop::collection::vec(change, 1..8)).prop_map(move |(seed, changes)| {
        let mut bytes = if seeds.is_empty() { Vec::new() } else { seed.get(&seeds).clone() };
        for (kind, at, other, value) in changes {
            let donor = if seeds.is_empty() { &[][..] } else { other.get(&seeds) };
            spoil(&mut bytes, donor, kind, at, other, value);
        }
        bytes
    });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..300), 19 => changed]
}

/// Lengths and offsets that sums and products of go wrong with.
const NUMBERS: [u64; 12] =
    [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, i64::MAX as u64, u64::MAX];
/// Pieces of the text formats.
const WORDS: [&str; 32] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "&x;",
    "<!DOCTYPE a [<!ENTITY x \"y\">]>",
    "[[[[[[[[",
    "{\"a\":",
    ",",
    ";",
    ":",
    "\n",
    "\r",
    "\t",
    "-",
    "1e999",
    "-1e308",
    "NaN",
    "1e-400",
    "99999999999999999999",
    "0x10",
    "null",
    "true",
    "../",
    "\\u0000",
    "\u{202e}",
    "*x",
    "- ",
];

fn spoil(bytes: &mut Vec<u8>, donor: &[u8], kind: u8, at: Index, other: Index, value: u64) {
    if bytes.is_empty() {
        bytes.push(value as u8);
        return;
    }
    let at = at.index(bytes.len());
    let small = 1 + (value % 64) as usize;
    let end = (at + small).min(bytes.len());
    match kind % 10 {
        0 => bytes[at] ^= 1 << (value % 8),
        1 => bytes[at] = value as u8,
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let piece = bytes[at..end].to_vec();
            let to = other.index(bytes.len());
            let times = 1 + (value >> 8) as usize % 4;
            bytes.splice(to..to, piece.repeat(times));
        }
        5 => {
            let number = NUMBERS[(value >> 8) as usize % NUMBERS.len()];
            let width = [1, 2, 4, 8][value as usize % 4].min(bytes.len() - at);
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            let written = if value & 16 == 0 { &little[..width] } else { &big[8 - width..] };
            bytes[at..at + width].copy_from_slice(written);
        }
        6 => drop(bytes.splice(at..at, WORDS[value as usize % WORDS.len()].bytes())),
        7 => {
            let from = if donor.is_empty() { 0 } else { value as usize % donor.len() };
            bytes.truncate(at);
            bytes.extend_from_slice(&donor[from..]);
        }
        8 => {
            // Text formats have their numbers as digits.
            let digit = (0..bytes.len()).map(|i| (at + i) % bytes.len()).find(|i| bytes[*i].is_ascii_digit());
            if let Some(digit) = digit {
                bytes.splice(digit..=digit, NUMBERS[value as usize % NUMBERS.len()].to_string().bytes());
            }
        }
        _ => bytes[at..end].reverse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::collections::HashSet;

    #[test]
    fn files_come_out_spoiled_in_many_ways() {
        let mut runner = TestRunner::new(config(1));
        let strategy = spoiled(vec![b"a good file, 1234".to_vec(), b"another".to_vec()]);
        let drawn: HashSet<Vec<u8>> =
            (0..500).map(|_| strategy.new_tree(&mut runner).expect("a case").current()).collect();
        assert!(drawn.len() > 400, "{}", drawn.len());
        assert!(drawn.iter().any(|file| file.starts_with(b"a good")));
    }
}
