//! Counts of answered requests and how long they took, by method and route, as Prometheus text.
//!
//! Routes are the patterns of the route table, so the number of series is bounded. One short lock a
//! request; nothing is awaited under it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper edges of the latency buckets in seconds.
const EDGES_S: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Debug, Default)]
struct Series {
    by_status: BTreeMap<u16, u64>,
    buckets: [u64; EDGES_S.len()],
    count: u64,
    sum_s: f64,
}

/// The counters. One of them serves all listeners of a process.
#[derive(Debug, Default)]
pub struct RequestStats {
    series: Mutex<BTreeMap<(String, &'static str), Series>>,
}

impl RequestStats {
    /// Counts one answer. `route` is a pattern of the route table, or `unmatched`.
    pub(crate) fn record(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = series.entry((route.to_owned(), method)).or_default();
        *series.by_status.entry(status).or_default() += 1;
        for (bucket, edge) in series.buckets.iter_mut().zip(EDGES_S) {
            *bucket += u64::from(seconds <= edge);
        }
        series.count += 1;
        series.sum_s += seconds;
    }

    /// Prometheus text, format 0.0.4.
    pub(crate) fn render(&self) -> String {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from(
            "# HELP ringway_api_requests_total Requests answered.\n# TYPE ringway_api_requests_total counter\n",
        );
        // Writing into a string has no way to fail.
        for ((route, method), series) in all.iter() {
            for (status, count) in &series.by_status {
                let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
                let _ = writeln!(text, "ringway_api_requests_total{{{labels}}} {count}");
            }
        }
        text.push_str(
            "# HELP ringway_api_request_seconds Time from a request's head to its answer.\n\
             # TYPE ringway_api_request_seconds histogram\n",
        );
        for ((route, method), series) in all.iter() {
            let labels = format!("method=\"{method}\",route=\"{route}\"");
            for (bucket, edge) in series.buckets.iter().zip(EDGES_S) {
                let _ = writeln!(text, "ringway_api_request_seconds_bucket{{{labels},le=\"{edge}\"}} {bucket}");
            }
            let _ = writeln!(text, "ringway_api_request_seconds_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
            let _ = writeln!(text, "ringway_api_request_seconds_sum{{{labels}}} {}", series.sum_s);
            let _ = writeln!(text, "ringway_api_request_seconds_count{{{labels}}} {}", series.count);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let stats = RequestStats::default();
        stats.record("GET", "/v1/me", 200, Duration::from_millis(2));
        stats.record("GET", "/v1/me", 401, Duration::from_secs(9));
        let text = stats.render();
        for line in [
            "ringway_api_requests_total{method=\"GET\",route=\"/v1/me\",status=\"401\"} 1",
            "ringway_api_request_seconds_bucket{method=\"GET\",route=\"/v1/me\",le=\"0.001\"} 0",
            "ringway_api_request_seconds_bucket{method=\"GET\",route=\"/v1/me\",le=\"5\"} 1",
            "ringway_api_request_seconds_bucket{method=\"GET\",route=\"/v1/me\",le=\"+Inf\"} 2",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
