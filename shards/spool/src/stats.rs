//! What the spool has done and how it stands.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use ringway_journal::JournalStats;

/// A reading of the spool, each value taken on its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolStats {
    /// Whether appends go to the journal, or wait for the change back.
    pub spooling: bool,
    /// Records that are not in the remote log yet.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long the oldest of them has waited, milliseconds; 0 when there is none.
    pub oldest_age_ms: u64,
    /// Times that appends changed over to the journal.
    pub fallbacks: u64,
    /// Records written to the journal.
    pub spooled: u64,
    /// Records that the forwarder brought to the remote log.
    pub forwarded: u64,
    /// Appends refused because of a bound.
    pub refused: u64,
    /// The journal cannot be read: what it holds stays there until a person has looked at it.
    pub unreadable: bool,
    /// The journal's own counters; `failed` means that it takes nothing more until a restart.
    pub journal: JournalStats,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fallbacks: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unreadable: AtomicBool,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Relaxed);
    }
}

impl SpoolStats {
    /// As Prometheus text.
    #[must_use]
    pub fn text(&self) -> String {
        let rows: [(&str, &str, &str, f64); 10] = [
            ("active", "gauge", "Whether appends go to the spool.", f64::from(u8::from(self.spooling))),
            ("records", "gauge", "Records that wait for the queue.", self.records as f64),
            ("bytes", "gauge", "Bytes of the records that wait for the queue.", self.bytes as f64),
            ("oldest_age_seconds", "gauge", "How long the oldest one has waited.", self.oldest_age_ms as f64 / 1e3),
            ("disk_bytes", "gauge", "Bytes of the spool's files.", self.journal.disk_bytes as f64),
            ("fallbacks_total", "counter", "Times that appends changed over to the spool.", self.fallbacks as f64),
            ("spooled_total", "counter", "Records written to the spool.", self.spooled as f64),
            ("forwarded_total", "counter", "Records brought from the spool to the queue.", self.forwarded as f64),
            ("refused_total", "counter", "Appends refused because the spool is full.", self.refused as f64),
            ("failed", "gauge", "Whether the spool's journal has failed.", f64::from(u8::from(self.has_failed()))),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let name = format!("ringway_spool_{name}");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }

    /// Whether somebody has to look at the journal: it does not take records, or does not give them.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.unreadable || self.journal.failed
    }
}
