//! A small seeded generator, so that a draw is the same on every device, machine and version of
//! any library: burn's own seed is shared by the whole process.

/// SplitMix64 (Steele, Lea and Flood 2014): one 64-bit state, every seed good.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for each combination of the parts.
    pub fn new(parts: &[u64]) -> Self {
        let mut random = Self { state: 0x9e37_79b9_7f4a_7c15 };
        for part in parts {
            random.state = random.next_u64() ^ part;
        }
        random.next_u64();
        random
    }

    /// A stream named by a word too.
    pub fn named(seed: u64, name: &str) -> Self {
        // FNV-1a: the standard library's hasher may change between versions.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self::new(&[seed, hash])
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..below`; 0 when `below` is 0.
    pub fn below(&mut self, below: usize) -> usize {
        ((u128::from(self.next_u64()) * below as u128) >> 64) as usize
    }

    /// Puts the items in a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A draw from Beta(alpha, alpha) for `0 < alpha <= 1` (Jöhnk 1964); 1 when `alpha` is 0.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        if alpha <= 0.0 {
            return 1.0;
        }
        loop {
            let (x, y) = (self.uniform().powf(1.0 / alpha), self.uniform().powf(1.0 / alpha));
            // Both may underflow to 0 for a tiny alpha; then draw again.
            if x + y > 0.0 && x + y <= 1.0 {
                return x / (x + y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_repeatable_and_apart() {
        let draw = |parts: &[u64]| Random::new(parts).next_u64();
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
        assert_ne!(Random::named(1, "a").next_u64(), Random::named(1, "b").next_u64());
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(&[7]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        let mut random = Random::new(&[3]);
        let draws: Vec<f64> = (0..20_000).map(|_| random.beta(0.4)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        // Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((variance - 1.0 / (4.0 * 1.8)).abs() < 0.005, "{variance}");
    }
}
