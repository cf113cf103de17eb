//! The measured window cut into equal intervals by the intended time of sending: where in a run something was late.
//!
//! What the generator itself was late with, its lag, stands beside, so that nobody else is blamed for it.

use serde::Serialize;

/// An interval, in nanoseconds, unless there would be too many.
const LENGTH_NS: u64 = 100_000_000;
/// Intervals of a window at most; a longer window has longer ones.
const COUNT_MAX: u64 = 600;

/// Figures of a window, one of each kind for each interval.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Intervals {
    /// How long an interval is.
    seconds: f64,
    /// Deliveries of what was to be sent in it.
    deliveries: Vec<u64>,
    /// Their latencies added up.
    sum_us: Vec<u64>,
    /// The most of their latencies.
    max_us: Vec<u64>,
    /// The most that the generator lagged.
    lag_max_us: Vec<u64>,
    #[serde(skip)]
    from_ns: u64,
    #[serde(skip)]
    length_ns: u64,
}

impl Intervals {
    /// Of a window that begins and ends there.
    pub(crate) fn of((from_ns, to_ns): (u64, u64)) -> Self {
        let window_ns = to_ns.saturating_sub(from_ns);
        let length_ns = LENGTH_NS.max(window_ns.div_ceil(COUNT_MAX));
        let none = vec![0; usize::try_from(window_ns.div_ceil(length_ns)).unwrap_or(0)];
        Self {
            seconds: length_ns as f64 / 1e9,
            deliveries: none.clone(),
            sum_us: none.clone(),
            max_us: none.clone(),
            lag_max_us: none,
            from_ns,
            length_ns,
        }
    }

    /// The window ended there already, and has no intervals after it.
    pub(crate) fn end_at(&mut self, at_ns: u64) {
        let begun = at_ns.saturating_sub(self.from_ns).div_ceil(self.length_ns.max(1));
        let begun = usize::try_from(begun).unwrap_or(usize::MAX);
        for figures in [&mut self.deliveries, &mut self.sum_us, &mut self.max_us, &mut self.lag_max_us] {
            figures.truncate(begun);
        }
    }

    /// Something was delivered; outside the window it does not count.
    pub(crate) fn note_delivery(&mut self, intended_ns: u64, latency_ns: u64) {
        let Some(at) = self.at(intended_ns) else { return };
        let us = latency_ns / 1_000;
        if let (Some(deliveries), Some(sum), Some(max)) =
            (self.deliveries.get_mut(at), self.sum_us.get_mut(at), self.max_us.get_mut(at))
        {
            *deliveries += 1;
            *sum += us;
            *max = us.max(*max);
        }
    }

    /// The generator lagged.
    pub(crate) fn note_lag(&mut self, intended_ns: u64, lag_ns: u64) {
        if let Some(max) = self.at(intended_ns).and_then(|at| self.lag_max_us.get_mut(at)) {
            *max = (lag_ns / 1_000).max(*max);
        }
    }

    fn at(&self, intended_ns: u64) -> Option<usize> {
        let since_ns = intended_ns.checked_sub(self.from_ns)?;
        usize::try_from(since_ns.checked_div(self.length_ns)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_late_stands_where_it_was_to_be_sent() {
        let mut intervals = Intervals::of((SECOND, 2 * SECOND));
        intervals.note_delivery(SECOND + 250_000_000, 7_000);
        intervals.note_delivery(SECOND + 250_000_000, 90_000);
        intervals.note_lag(SECOND + 250_000_000, 3_000);
        // Before and after the window.
        intervals.note_delivery(SECOND - 1, 1_000);
        intervals.note_delivery(2 * SECOND, 1_000);
        assert_eq!((intervals.seconds, intervals.deliveries.len()), (0.1, 10));
        let of = |figures: &[u64]| (figures[2], figures.iter().sum::<u64>());
        let [deliveries, sum, max, lag] =
            [&intervals.deliveries, &intervals.sum_us, &intervals.max_us, &intervals.lag_max_us].map(|f| of(f));
        assert_eq!([deliveries, sum, max, lag], [(2, 2), (97, 97), (90, 90), (3, 3)]);
    }

    #[test]
    fn a_window_that_ends_early_has_no_intervals_after_its_end() {
        let mut intervals = Intervals::of((SECOND, 2 * SECOND));
        intervals.end_at(3 * SECOND);
        assert_eq!(intervals.deliveries.len(), 10);
        intervals.end_at(SECOND + 250_000_000);
        intervals.note_delivery(SECOND + 240_000_000, 1_000);
        intervals.note_delivery(SECOND + 350_000_000, 1_000);
        assert_eq!(intervals.deliveries, [0, 0, 1]);
        assert_eq!([intervals.sum_us.len(), intervals.max_us.len(), intervals.lag_max_us.len()], [3, 3, 3]);
    }

    #[test]
    fn a_long_window_has_no_more_intervals() {
        assert_eq!(Intervals::of((0, 3_600 * SECOND)).deliveries.len(), 600);
        assert_eq!(Intervals::default().at(5), None);
    }
}
