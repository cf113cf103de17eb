//! Bounds of the daemon, by name: the reason, and what happens when one is hit.

/// A process looks after its leases this often.
pub const TURN_MS: u64 = 2_000;
/// How long a lease lasts without being renewed. A killed process's queues are another's after this and one turn.
pub const LEASE_MS: u64 = 10_000;
/// How long a consumer that is told to stop has for the batch at hand; then it is dropped, and the batch is done
/// again by the next one.
pub const STOP_MS: u64 = 5_000;
/// Times that a batch may fail (default) before it is asked whether the archive is there at all: with the pauses
/// between them some ten seconds.
pub const POISON_TRIES_MAX: u32 = 8;
/// Times in a row that it may fail after that, while the archive takes an empty batch each time. Then a batch is
/// halved, and a single record set aside as a dead letter.
pub const POISON_REFUSALS_MAX: u32 = 3;
/// Pause between two pages of a round of the drift check: with some 256 conversations a page, a million of them take
/// some ten minutes, and the stores hardly feel it.
pub const DRIFT_PAUSE_MS: u64 = 100;
/// Whoever walks renews its lease this often; the others ask for it as often.
pub const DRIFT_TURN_MS: u64 = 15_000;
/// How long the lease of the drift check lasts. A killed process's rounds are another's after this and one turn.
pub const DRIFT_LEASE_MS: u64 = 60_000;
/// Times in a row that a page of a round may fail, with waits that double between them: with the last wait some ten
/// seconds. Then the round is given up.
pub const DRIFT_FAILURES_MAX: u32 = 8;
/// How long a queue may have been nobody's for what its last consumer kept in mind to be recalled: a lease and a restart.
/// After it, what is recalled would mostly be what that one had dealt with long before.
pub const RECALL_GAP_MS: u64 = 60_000;
/// Records that are read at once where it is looked what was archived last.
pub const RECALL_RECORDS: u64 = 1_024;
/// Bytes of them that one read asks for.
pub const RECALL_BYTES: usize = 1024 * 1024;
/// Records that are read again when a process begins to consume a queue, so that reminders outlive who kept them in
/// mind. Past it what is older is not: at 800 messages a second in one queue, ten seconds.
pub const RECALLED_RECORDS_MAX: u64 = 8_192;
/// Numbers that the archive is asked for at once meanwhile, one queue after the other: a quarter of the connections that a
/// process has by default.
pub const RECALL_AT_ONCE: usize = 4;
/// Times that it is tried, with pauses between them. Past it what was found is told, and the rest left out.
pub const RECALL_TRIES_MAX: u32 = 5;
/// Holes of the archive are looked for this often: one is told so much later at most.
pub const HOLES_LOOK_MS: u64 = 5_000;
/// How long the lease of whoever looks for holes lasts.
pub const HOLES_LEASE_MS: u64 = 20_000;
/// Holes of one look, the oldest. Past it: those after them are neither counted nor told before others are filled.
pub const HOLES_LISTED_MAX: usize = 256;
/// Messages on either side of a hole whose nodes are named where nobody has what is missing.
pub const HOLE_NEIGHBOURS: usize = 50;
/// Hops of recent messages that a process remembers for `trace`, three a message: some 5 MiB. Past it the oldest are
/// forgotten.
pub const TRACE_HOPS_MAX: usize = 131_072;
/// The rate of a queue is that of its last whole window of this length.
pub const RATE_WINDOW_MS: u64 = 5_000;

const _: () = {
    assert!(DRIFT_LEASE_MS >= 4 * DRIFT_TURN_MS, "two renewals in a row may fail");
    assert!(HOLES_LEASE_MS >= 4 * HOLES_LOOK_MS, "two renewals in a row may fail");
    assert!(LEASE_MS >= 4 * TURN_MS, "two renewals in a row may fail, and the last turn stops in time");
    assert!(STOP_MS + 2 * TURN_MS < LEASE_MS, "what ends still holds its lease");
};
