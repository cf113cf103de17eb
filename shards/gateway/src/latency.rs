//! A latency histogram with one writer: log-linear buckets, two adds a recording.
//!
//! ```text
//! bucket  0       1        2        3        4        …  40        41
//! up to   8 µs    12 µs    16 µs    24 µs    32 µs    …  8.39 s    ∞
//! ```
//!
//! Two buckets an octave: a quantile read from it is wrong by less than a fifth of itself as a rule, by a half at most.

use std::fmt::Write as _;

use crate::counter::Counter;

/// The bound of the first bucket is two to the power of this, microseconds.
const FIRST_OCTAVE: u32 = 3;
/// Octaves above it; what is longer goes into the last bucket.
const OCTAVES: u32 = 20;
const BUCKETS: usize = 2 + 2 * OCTAVES as usize;

/// A latency histogram; see the module's head.
#[derive(Debug)]
pub(crate) struct Latency {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Counter::default()), sum_us: Counter::default() }
    }
}

impl Latency {
    /// Counts one; only ever called on the owner's thread.
    pub(crate) fn record(&self, us: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            bucket.add(1);
        }
        self.sum_us.add(us);
    }

    /// Counts what lies between two readings of one clock, if the first was taken.
    pub(crate) fn record_since(&self, from_us: u64, to_us: u64) {
        if from_us > 0 {
            // Wall time may have stepped back between them.
            self.record(to_us.saturating_sub(from_us));
        }
    }

    /// Writes its rows, without a head: a Prometheus histogram with these labels.
    pub(crate) fn render(&self, metric: &str, labels: &str, out: &mut String) {
        let mut total = 0;
        let bounds = (0..BUCKETS - 1).map(|bucket| seconds(bound_us(bucket))).chain(["+Inf".to_owned()]);
        // Writing to a string cannot fail.
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            total += bucket.get();
            let _ = writeln!(out, "{metric}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{metric}_sum{{{labels}}} {}", seconds(self.sum_us.get()));
        let _ = writeln!(out, "{metric}_count{{{labels}}} {total}");
    }
}

/// The bucket whose bound is the least that is not below.
fn bucket_of(us: u64) -> usize {
    let below = us.saturating_sub(1);
    let Some(octave) = below.checked_ilog2().and_then(|log| log.checked_sub(FIRST_OCTAVE)) else { return 0 };
    let half = (below >> (octave + FIRST_OCTAVE - 1)) & 1;
    (1 + 2 * octave as usize + half as usize).min(BUCKETS - 1)
}

/// The longest that belongs into a bucket; the last one has no bound.
fn bound_us(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1) else { return 1 << FIRST_OCTAVE };
    // An octave's first half ends at one and a half times its beginning.
    (2 + above as u64 % 2 + 1) << (FIRST_OCTAVE - 1 + above as u32 / 2)
}

fn seconds(us: u64) -> String {
    (us as f64 / 1e6).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bucket_with_the_least_bound_that_is_not_below_it() {
        let bounds: Vec<u64> = (0..BUCKETS - 1).map(bound_us).collect();
        assert_eq!(bounds[..5], [8, 12, 16, 24, 32]);
        assert_eq!(bounds.last(), Some(&(1 << 23)));
        let around = bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for us in around.chain([0, 1, 1_000, 20_000_000, u64::MAX]) {
            assert_eq!(bucket_of(us), bounds.partition_point(|bound| *bound < us), "{us}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_at_its_count() {
        let latency = Latency::default();
        for us in [1, 8, 9, 9_999_999] {
            latency.record(us);
        }
        latency.record_since(0, 5);
        let mut text = String::new();
        latency.render("x", "stage=\"append\"", &mut text);
        for line in [
            "x_bucket{stage=\"append\",le=\"0.000008\"} 2",
            "x_bucket{stage=\"append\",le=\"0.000012\"} 3",
            "x_bucket{stage=\"append\",le=\"8.388608\"} 3",
            "x_bucket{stage=\"append\",le=\"+Inf\"} 4",
            "x_sum{stage=\"append\"} 10.000017",
            "x_count{stage=\"append\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
