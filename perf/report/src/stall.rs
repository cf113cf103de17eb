//! Where a server stood still: intervals of a round that are far off the rest.
//!
//! Pure: from the generator's `intervals`, without what the generator itself was late with. A single message that was
//! late, as after a lost packet, is no stall: then others of the interval were not.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Shorter ones happen on any machine that does something else as well.
const STALL_US_MIN: f64 = 50_000.0;
/// So many times as late as the latest of a usual interval.
const OFF_MIN: f64 = 10.0;
/// The mean of an interval's latencies is at least this share of the longest.
const MEAN_SHARE_MIN: f64 = 0.1;

/// A time in which nothing went on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stall {
    /// When it began, in seconds from the start of the measured window, to an interval.
    pub(crate) at_s: f64,
    /// How long whoever waited longest had to.
    pub(crate) ms: f64,
}

/// What stood still in a round of which this is the report, from the first to the last.
pub(crate) fn all(report: &Value) -> Vec<Stall> {
    let column = |name: &str| -> Vec<f64> {
        let values = report.pointer(&format!("/intervals/{name}")).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let seconds = report.pointer("/intervals/seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let late = column("max_us").into_iter().zip(column("lag_max_us")).map(|(max, lag)| max - lag);
    let mean = column("sum_us").into_iter().zip(column("deliveries")).map(|(sum, count)| sum / count.max(1.0));
    let intervals: Vec<(f64, f64)> = late.zip(mean).collect();
    let mut usual: Vec<f64> = intervals.iter().map(|(late, _)| *late).filter(|late| *late > 0.0).collect();
    usual.sort_by(f64::total_cmp);
    let usual = usual.get(usual.len() / 2).copied().unwrap_or(0.0);
    let least = STALL_US_MIN.max(usual * OFF_MIN);
    let mut stalls = Vec::new();
    // What is late goes on into the intervals that follow.
    for group in intervals.iter().enumerate().collect::<Vec<_>>().chunk_by(|one, other| {
        let is_late = |(late, _): &(f64, f64)| *late >= least;
        is_late(one.1) == is_late(other.1)
    }) {
        let longest = group.iter().map(|(_, (late, _))| *late).fold(0.0, f64::max);
        let is_broad = group.iter().any(|(_, (_, mean))| *mean >= longest * MEAN_SHARE_MIN);
        if let Some((first, _)) = group.first().filter(|_| longest >= least && is_broad) {
            stalls.push(Stall { at_s: *first as f64 * seconds, ms: longest / 1e3 });
        }
    }
    stalls
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Intervals as (the latest, the mean, the generator's lag), in ms, and what is said of them.
    fn check(late: &[(u64, u64, u64)], expected: &[(f64, f64)]) {
        let column = |of: fn(&(u64, u64, u64)) -> u64| late.iter().map(of).collect::<Vec<_>>();
        let report = json!({"intervals": {
            "seconds": 0.1, "deliveries": column(|_| 10), "sum_us": column(|(_, mean, _)| mean * 10_000),
            "max_us": column(|(max, ..)| max * 1_000), "lag_max_us": column(|(.., lag)| lag * 1_000),
        }});
        let seen: Vec<(f64, f64)> = all(&report).iter().map(|stall| (stall.at_s, stall.ms)).collect();
        assert_eq!(seen, expected, "{late:?}");
    }

    #[test]
    fn a_stall_is_named_once_though_it_makes_several_intervals_late() {
        check(
            &[(2, 1, 0), (201, 60, 1), (151, 90, 0), (51, 9, 0), (3, 1, 0), (2, 1, 0), (2, 1, 0), (2, 1, 0)],
            &[(0.1, 200.0)],
        );
        check(
            &[(2, 1, 0), (90, 60, 0), (2, 1, 0), (80, 50, 0), (3, 1, 0)],
            &[(0.1, 90.0), (0.30000000000000004, 80.0)],
        );
    }

    #[test]
    fn a_late_generator_a_late_message_and_a_server_that_is_always_late_are_no_stall() {
        check(&[(2, 1, 0), (201, 90, 190), (3, 1, 0)], &[]);
        check(&[(2, 1, 0), (201, 2, 0), (3, 1, 0)], &[]);
        check(&[(120, 80, 0), (201, 90, 0), (130, 80, 0)], &[]);
        assert!(all(&json!({})).is_empty());
    }
}
