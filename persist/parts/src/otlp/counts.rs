//! What became of spans, as Prometheus text. There only where traces are exported.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one exporter.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Spans that the collector took.
    pub(super) exported: AtomicU64,
    /// Spans that it refused.
    pub(super) refused: AtomicU64,
    /// Spans that found no room while it took none.
    pub(super) dropped: AtomicU64,
    /// Requests to it that failed.
    pub(super) failures: AtomicU64,
}

impl Counts {
    /// `unseen`: how many hops and requests found no room on the way to the exporter.
    pub(super) fn text(&self, unseen: u64) -> String {
        let name = "ringway_otlp_spans_total";
        let mut text = format!("# HELP {name} Spans by what became of them.\n# TYPE {name} counter\n");
        let dropped = self.dropped.load(Relaxed) + unseen;
        let rows =
            [("exported", self.exported.load(Relaxed)), ("refused", self.refused.load(Relaxed)), ("dropped", dropped)];
        // Writing into a string has no way to fail.
        for (outcome, count) in rows {
            let _ = writeln!(text, "{name}{{outcome=\"{outcome}\"}} {count}");
        }
        let (name, failures) = ("ringway_otlp_failures_total", self.failures.load(Relaxed));
        let help = "Requests to the collector that failed.";
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {failures}");
        text
    }
}
