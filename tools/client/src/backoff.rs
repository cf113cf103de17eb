//! Exponential back-off with full jitter (pure: the seed comes from outside).
//!
//! A wait is uniform between 0 and `min(cap, base * 2^attempt)`: clients that lost one server
//! together come back spread out. See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

/// A small generator for jitter (SplitMix64); nothing secret depends on it.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `0..=max`.
    pub fn up_to(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // Multiply and shift: uniform enough, and never out of range.
        ((u128::from(mixed) * (u128::from(max) + 1)) >> 64) as u64
    }
}

/// Bounds of a back-off, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Upper end of the first wait.
    pub base_ms: u64,
    /// No wait is longer, unless the server asks for it.
    pub cap_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { base_ms: 100, cap_ms: 30_000 }
    }
}

impl Bounds {
    /// The wait after `attempt` failures in a row (counted from 0), and not below `at_least_ms`,
    /// which the server asked for.
    pub fn wait_ms(self, attempt: u32, at_least_ms: u64, jitter: &mut Jitter) -> u64 {
        let ceiling = self.base_ms.saturating_mul(1_u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(self.cap_ms);
        at_least_ms.saturating_add(jitter.up_to(ceiling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_wait_stays_between_what_the_server_asks_and_the_cap_above_it(
            seed: u64, attempt in 0..200_u32, asked in 0..100_000_u64,
        ) {
            let bounds = Bounds::default();
            let wait = bounds.wait_ms(attempt, asked, &mut Jitter::new(seed));
            let ceiling = 100_u64.saturating_mul(1_u64 << attempt.min(20)).min(30_000);
            prop_assert!(wait >= asked && wait <= asked + ceiling);
        }
    }

    #[test]
    fn jitter_uses_the_whole_range() {
        let mut jitter = Jitter::new(7);
        let drawn: Vec<u64> = (0..4_000).map(|_| jitter.up_to(9)).collect();
        for value in 0..=9 {
            assert!(drawn.iter().filter(|&&other| other == value).count() > 300, "{value}");
        }
    }
}
