//! Near duplicates: a perceptual hash proposes pairs, a comparison of small pictures decides.

use std::collections::HashMap;

/// Bits of the hash two look-alikes may differ in.
const MAX_BITS: u32 = 7;
/// Mean difference of the small pictures, in levels, that two look-alikes may have at most.
const MAX_DIFFERENCE: f32 = 9.0;
/// The same as a share of the small pictures' contrast: dull pictures must agree more closely.
const MAX_RELATIVE: f32 = 0.22;

/// The perceptual hash of Zauner ("Implementation and benchmarking of perceptual image hash
/// functions", 2010): the signs of the lowest 8x8 frequencies of the 32x32 grey picture against
/// their median.
///
/// # Shapes
/// `rgb` `[32, 32, 3]`, 0 to 255.
pub(crate) fn perceptual_hash(rgb: &[f32]) -> u64 {
    const SIDE: usize = 32;
    let grey: Vec<f32> = rgb.chunks_exact(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect();
    // Frequencies 1 to 8 of each axis: the constant says nothing about what is in the picture.
    let basis: Vec<[f32; SIDE]> = (1..=8)
        .map(|k| std::array::from_fn(|i| (std::f32::consts::PI * k as f32 * (i as f32 + 0.5) / SIDE as f32).cos()))
        .collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let mut coefficients = [0.0f32; 64];
    for (u, across) in basis.iter().enumerate() {
        let column: Vec<f32> = grey.chunks_exact(SIDE).map(|row| dot(row, across)).collect();
        for (v, down) in basis.iter().enumerate() {
            coefficients[v * 8 + u] = dot(&column, down);
        }
    }
    let mut sorted = coefficients;
    sorted.sort_by(f32::total_cmp);
    let median = (sorted[31] + sorted[32]) / 2.0;
    coefficients.iter().enumerate().fold(0, |hash, (bit, c)| hash | u64::from(*c > median) << bit)
}

/// Sets that merge.
struct Union(Vec<u32>);

impl Union {
    fn root(&mut self, mut i: u32) -> u32 {
        while self.0[i as usize] != i {
            self.0[i as usize] = self.0[self.0[i as usize] as usize];
            i = self.0[i as usize];
        }
        i
    }

    /// The smaller number stays the root, so that groups are numbered in order.
    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

/// Groups of look-alikes, numbered from 0 by their first member. `same` holds keys that are equal
/// for pictures equal to the byte; `small` the pictures at `len` bytes each.
pub(crate) fn group(hashes: &[u64], same: &[[u8; 32]], small: &[u8], len: usize) -> Vec<u32> {
    let mut union = Union((0..hashes.len() as u32).collect());
    let mut first: HashMap<&[u8; 32], u32> = HashMap::new();
    for (i, key) in same.iter().enumerate() {
        let leader = *first.entry(key).or_insert(i as u32);
        union.join(leader, i as u32);
    }
    let contrast: Vec<f32> = small.chunks_exact(len).map(deviation).collect();
    // Two hashes that differ in at most 7 of 64 bits are equal in at least one of 8 bytes.
    for byte in 0..8 {
        let mut buckets: Vec<Vec<u32>> = vec![Vec::new(); 256];
        for (i, hash) in hashes.iter().enumerate() {
            buckets[(hash >> (8 * byte)) as usize & 255].push(i as u32);
        }
        for bucket in &buckets {
            for (at, a) in bucket.iter().enumerate() {
                for b in &bucket[at + 1..] {
                    let (i, j) = (*a as usize, *b as usize);
                    if (hashes[i] ^ hashes[j]).count_ones() > MAX_BITS || union.root(*a) == union.root(*b) {
                        continue;
                    }
                    let limit = MAX_DIFFERENCE.min(MAX_RELATIVE * contrast[i].min(contrast[j]) + 0.5);
                    if difference(&small[i * len..][..len], &small[j * len..][..len]) <= limit {
                        union.join(*a, *b);
                    }
                }
            }
        }
    }
    let mut numbers = HashMap::new();
    (0..hashes.len() as u32)
        .map(|i| {
            let next = numbers.len() as u32;
            *numbers.entry(union.root(i)).or_insert(next)
        })
        .collect()
}

fn difference(a: &[u8], b: &[u8]) -> f32 {
    let sum: u32 = a.iter().zip(b).map(|(x, y)| u32::from(x.abs_diff(*y))).sum();
    sum as f32 / a.len() as f32
}

fn deviation(values: &[u8]) -> f32 {
    let n = values.len() as f32;
    let mean = values.iter().map(|v| f32::from(*v)).sum::<f32>() / n;
    (values.iter().map(|v| (f32::from(*v) - mean).powi(2)).sum::<f32>() / n).sqrt()
}
