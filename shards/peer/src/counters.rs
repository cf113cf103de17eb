//! What links and servers count.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:literal, $metric:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $(#[doc = $help] pub $field: AtomicU64,)* }

        impl $name {
            /// All of it in Prometheus' text form.
            #[must_use]
            pub fn text(&self) -> String {
                let mut out = String::new();
                $(
                    // Writing into a string does not fail.
                    let _ = writeln!(out, concat!("# HELP ", $metric, " ", $help, "\n# TYPE ", $metric, " ", $kind));
                    let _ = writeln!(out, concat!($metric, " {}"), self.$field.load(Relaxed));
                )*
                out
            }
        }
    };
}

counters! {
    /// What the links of a process count, all together.
    LinkCounters {
        linked: "gauge", "ringway_peer_links", "Links that stand.";
        opened: "counter", "ringway_peer_links_opened_total", "Links opened.";
        broken: "counter", "ringway_peer_links_broken_total", "Links broken.";
        failed: "counter", "ringway_peer_links_failed_total", "Attempts to open a link that failed.";
        words: "counter", "ringway_peer_words_said_total", "Words queued on links.";
        words_dropped: "counter", "ringway_peer_words_dropped_total", "Words dropped: no link, a full queue, or too long.";
        asks: "counter", "ringway_peer_asks_total", "Asks queued on links.";
        asks_failed: "counter", "ringway_peer_asks_failed_total", "Asks without an answer.";
        resyncs: "counter", "ringway_peer_resyncs_total", "Nodes brought up to date because they may have missed a signal.";
        resyncs_failed: "counter", "ringway_peer_resyncs_failed_total", "Attempts at that which failed; they are repeated.";
        writes: "counter", "ringway_peer_link_writes_total", "Writes to links; each carries all frames that waited.";
        frames_out: "counter", "ringway_peer_link_frames_total", "Frames written to links.";
        bytes_out: "counter", "ringway_peer_link_sent_bytes_total", "Bytes written to links.";
        bytes_in: "counter", "ringway_peer_link_received_bytes_total", "Bytes read from links.";
    }
}

counters! {
    /// What a server counts.
    ServerCounters {
        connections: "gauge", "ringway_peer_connections", "Connections that have proved themselves.";
        accepted: "counter", "ringway_peer_accepted_total", "Connections accepted.";
        refused: "counter", "ringway_peer_refused_total", "Connections closed before they proved themselves.";
        wrong_key: "counter", "ringway_peer_wrong_key_total", "Connections closed because of a wrong key.";
        no_version: "counter", "ringway_peer_no_version_total", "Connections closed because no version is common.";
        bad_frames: "counter", "ringway_peer_bad_frames_total", "Connections closed because of a bad or forged frame.";
        words: "counter", "ringway_peer_words_heard_total", "Words heard.";
        asks: "counter", "ringway_peer_asked_total", "Asks answered.";
        unknown: "counter", "ringway_peer_unknown_total", "Words skipped and asks refused for a kind of a later version.";
        malformed: "counter", "ringway_peer_malformed_total", "Words skipped and asks refused for a malformed body.";
        writes: "counter", "ringway_peer_server_writes_total", "Writes of answers.";
        frames_out: "counter", "ringway_peer_server_frames_total", "Answers written.";
        bytes_out: "counter", "ringway_peer_server_sent_bytes_total", "Bytes written to peers.";
        bytes_in: "counter", "ringway_peer_server_received_bytes_total", "Bytes read from peers.";
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

pub(crate) fn sub(counter: &AtomicU64, n: u64) {
    counter.fetch_sub(n, Relaxed);
}

/// The counters of a writer.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) writes: &'a AtomicU64,
    pub(crate) frames: &'a AtomicU64,
    pub(crate) bytes: &'a AtomicU64,
}

impl LinkCounters {
    pub(crate) fn written(&self) -> Written<'_> {
        Written { writes: &self.writes, frames: &self.frames_out, bytes: &self.bytes_out }
    }
}

impl ServerCounters {
    pub(crate) fn written(&self) -> Written<'_> {
        Written { writes: &self.writes, frames: &self.frames_out, bytes: &self.bytes_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_text_with_its_help_and_kind() {
        let counters = LinkCounters::default();
        add(&counters.words, 3);
        let text = counters.text();
        assert!(text.contains("\n# TYPE ringway_peer_words_said_total counter\nringway_peer_words_said_total 3\n"));
        let count = |text: &str, what| text.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!((count(&text, "# HELP"), count(&text, "# TYPE"), count(&text, "ringway_")), (14, 14, 14));
        let text = ServerCounters::default().text();
        assert_eq!((count(&text, "# HELP"), count(&text, "ringway_")), (14, 14));
    }
}
