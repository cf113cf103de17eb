//! Bounds of the export.

use std::time::Duration;

/// Answered requests on their way to the exporter. Past it they are dropped and counted.
pub const REQUESTS_MAX: usize = 1_024;
/// Spans that wait for the collector: some 5 MiB. Past it the oldest are dropped and counted.
pub const SPANS_MAX: usize = 8_192;
/// Spans of one request to the collector; more go in several.
pub const BATCH_MAX: usize = 512;
/// Messages of which is remembered when they were at which station. Past it the oldest is forgotten: its next span
/// has no length.
pub const MESSAGES_MAX: usize = 4_096;
/// How often what was handed over is gathered and sent: often enough that the lanes do not overflow.
pub const GATHER_EVERY: Duration = Duration::from_millis(250);
/// Time for one request to the collector. Past it the batch is sent again.
pub const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: it says how many spans were refused, and why.
pub const ANSWER_BYTES_MAX: usize = 16 * 1_024;
/// Pause after the first request that failed; doubled by each that follows.
pub const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause, whatever the collector asks for.
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A collector that fails is in the log once in this time.
pub const WARN_EVERY: Duration = Duration::from_secs(60);
/// What the last spans get at the end of a process. Past it they are lost.
pub const FLUSH: Duration = Duration::from_secs(1);

const _: () = {
    assert!(BATCH_MAX <= SPANS_MAX, "a batch that failed finds room again");
    assert!(PAUSE_MIN.as_millis() <= PAUSE_MAX.as_millis());
    assert!(FLUSH.as_millis() > GATHER_EVERY.as_millis());
};
