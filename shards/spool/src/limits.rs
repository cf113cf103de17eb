//! Bounds of the spool, by name: the reason, and what happens when one is hit.

/// An append that the remote log has not answered after this long goes to the journal (default): long enough for a
/// slow flush, short enough that senders hardly notice.
pub const SPOOL_AFTER_MS: u64 = 300;
/// Bytes of the journal's files (default). Past it appends are refused `Full`, and senders get `busy`.
pub const SPOOL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Age of the oldest record in the journal (default). Past it appends are refused `Full`: for so long history and
/// other nodes have waited for what this node holds.
pub const SPOOL_AGE_MAX_MS: u64 = 3_600_000;
/// A remote log that is away is tried this often, with one record.
pub const PROBE_MS: u64 = 1_000;
/// How long the forwarder waits for an answer; then it tries the same records again.
pub const FORWARD_TIMEOUT_MS: u64 = 3_000;
/// Records of one forwarded batch. So much may also be left when appends are held back for the change to direct.
pub const FORWARD_RECORDS_MAX: usize = 2_048;
/// Bytes of one forwarded batch.
pub const FORWARD_BYTES_MAX: usize = 1024 * 1024;
/// Pause of the forwarder after the remote log has said that it is full.
pub const FULL_PAUSE_MS: u64 = 100;
/// Size of the journal's files. Whole ones are let go, so after a crash at most about one is forwarded again.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// Recent records that the journal keeps in memory for the forwarder; older ones it reads from disk.
pub const TAIL_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes read at once when a spool is looked through at start.
pub const SCAN_BYTES: usize = 4 * 1024 * 1024;

const _: () = {
    assert!(SPOOL_BYTES_MAX >= 4 * SEGMENT_BYTES);
    assert!(FORWARD_BYTES_MAX < TAIL_CACHE_BYTES);
    assert!(SPOOL_AFTER_MS < PROBE_MS && PROBE_MS < FORWARD_TIMEOUT_MS && FORWARD_TIMEOUT_MS < SPOOL_AGE_MAX_MS);
};
