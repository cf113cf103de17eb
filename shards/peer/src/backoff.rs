//! How long a broken link rests before it is tried again.

use std::time::Duration;

use crate::limits::PeerLimits;

/// Doubles with each failure up to the bound. Each rest is drawn between half of it and all of it, so that the links
/// of a cluster do not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    pub(crate) fn new(limits: &PeerLimits) -> Self {
        Self { min_ms: limits.rest_min_ms, max_ms: limits.rest_max_ms, next_ms: limits.rest_min_ms }
    }

    /// The link has stood.
    pub(crate) fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }

    /// The next rest; `random` is any number.
    pub(crate) fn rest(&mut self, random: u64) -> Duration {
        let whole = self.next_ms.max(1);
        self.next_ms = whole.saturating_mul(2).min(self.max_ms);
        Duration::from_millis(whole / 2 + random % (whole - whole / 2 + 1))
    }
}

/// A number for a rest's jitter; without a source of them, rests have none.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rest_doubles_within_its_bounds(randoms in prop::collection::vec(any::<u64>(), 1..20)) {
            let limits = PeerLimits { rest_min_ms: 50, rest_max_ms: 2_000, ..PeerLimits::DEFAULT };
            let mut backoff = Backoff::new(&limits);
            for (turn, random) in randoms.into_iter().enumerate() {
                let whole = 50_u64.saturating_mul(1 << turn).min(2_000);
                let rest = backoff.rest(random).as_millis() as u64;
                prop_assert!((whole / 2..=whole).contains(&rest), "{rest} of {whole}");
            }
            backoff.reset();
            prop_assert!(backoff.rest(0) == Duration::from_millis(25));
        }
    }
}
