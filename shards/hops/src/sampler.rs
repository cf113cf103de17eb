//! Which messages are traced: one in so many, chosen by their ids, so that all processes choose the same ones.

use crate::ids::mix;

/// Takes one message in so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    highest: u64,
}

impl Sampler {
    /// Takes one in `count`; 0 stands for 1. What one sampler takes every other takes too that takes more.
    #[must_use]
    pub fn one_in(count: u64) -> Self {
        Self { highest: u64::MAX / count.max(1) }
    }

    /// Whether it takes this message. The id 0 is no message.
    #[must_use]
    pub fn takes(self, msg_id: u64) -> bool {
        msg_id != 0 && mix(msg_id) <= self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_in_so_many_is_taken_and_always_the_same() {
        let check = |count: u64, least: usize, most: usize| {
            let sampler = Sampler::one_in(count);
            // Ids of one shard in one second, as a snowflake makes them.
            let taken = (0..100_000_u64).filter(|n| sampler.takes(((n / 100) << 22) | (7 << 10) | (n % 100))).count();
            assert!((least..=most).contains(&taken), "one in {count}: {taken}");
        };
        check(0, 100_000, 100_000);
        check(1, 100_000, 100_000);
        check(10, 9_500, 10_500);
        check(1_000, 60, 140);
        let (few, many) = (Sampler::one_in(100), Sampler::one_in(10));
        assert!((1..10_000).all(|id| many.takes(id) || !few.takes(id)));
    }
}
