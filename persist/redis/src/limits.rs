//! Bounds of the Redis adapter, by name: the reason, and what happens when one is hit.

use ringway_engine::limits::{BATCH_BYTES_MAX, DEDUP_MS};

/// How long a call waits for its answer before it fails as temporary. The server may still carry it out:
/// every call is idempotent.
pub const COMMAND_TIMEOUT_MS: u64 = 1_000;
/// How long connecting may take, TLS and sign-in included (default); then it is tried again.
pub const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// A connection on which an answer is overdue this long is closed and made anew.
pub const UNRESPONSIVE_MS: u64 = 2_000;
/// Longest pause between two tries to connect: a server that is back is noticed this soon.
pub const RECONNECT_MS_MAX: u32 = 500;
/// Calls that wait for the connection. Past it a call fails at once, as temporary.
pub const CALLS_WAITING_MAX: usize = 16_384;
/// Calls that one batch has under way at once; more of it wait their turn.
pub const CALLS_AT_ONCE: usize = 256;
/// Messages of one numbering script: Redis serves nobody else meanwhile (about 10 µs each).
pub const SCRIPT_MESSAGES_MAX: usize = 256;
/// Body bytes of one numbering script.
pub const SCRIPT_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Times that one call starts over because the epoch changed under it. Past it the call fails as temporary.
pub const EPOCH_CHANGES_MAX: usize = 8;
/// Rounds of one batch that read what is lacking while no conversation gets any further.
pub const LACKING_ROUNDS_MAX: usize = 4;
/// How long the winner of an epoch has for marking the servers. Past it, or when a marker was lost to a
/// flush, whoever meets the unmarked server takes the next epoch.
pub const MARKING_MS_MAX: u64 = 1_000;
/// The same for a cluster, where each slot is marked: a second or two on a busy machine.
pub const CLUSTER_MARKING_MS_MAX: u64 = 5_000;
/// The current epoch is asked of SQL this often: so long may a process work on under one that is over. What
/// it numbers then is numbered again before it is archived.
pub const EPOCH_POLL_MS: u64 = 1_000;
/// Unarchived state is kept this long: beyond what the event log itself keeps.
pub const UNARCHIVED_MS_MAX: u64 = 8 * 24 * 3_600_000;
/// A sequence whose messages are all archived, and that is not used, is kept this long; then the next use
/// reads the archive's head.
pub const SEQUENCE_IDLE_MS: u64 = 24 * 3_600_000;
/// Cursors that nobody writes to SQL are kept this long after the last change. Then the devices are sent again what
/// they have.
pub const CURSORS_MS: u64 = 8 * 24 * 3_600_000;
/// How long client message ids are remembered after their message is archived (default): the window in which
/// an id is a repeat, and some minutes in which the daemon may lag without asking SQL for each message.
pub const DEDUP_DEFAULT_S: u64 = 900;
/// Clocks of gateways and of the database differ by less than this.
pub const CLOCK_SKEW_MS: u64 = 10_000;
/// Conversations whose unarchived messages are looked after in one turn of the watch; the rest in the next.
pub const WATCHED_AT_ONCE: usize = 4_096;
/// A message this old that the state still holds as unarchived is looked up in the archive (default).
pub const REPAIR_MS: u64 = 30_000;
/// Conversations with such messages that are looked up in one turn of the watch; others have their turn after them.
/// Few, as they are many when the archive is behind, which is no time to ask it much.
pub const REPAIRS_AT_ONCE: usize = 8;
/// What is suspect of drift is looked at again after this long (default): whoever archived a message has told so by then,
/// and cursors were written.
pub const DRIFT_SETTLE_MS: u64 = 10_000;
/// Conversations, or users, that a round of the drift check compares at once.
pub const DRIFT_PAGE: usize = 256;
/// Names that a server walks through in one step of a scan: well under a millisecond in which it serves nobody else.
pub const DRIFT_SCAN_KEYS: u64 = 1_000;
/// Steps of a scan for one page: most names are those of sends. Past it the page is what was found.
pub const DRIFT_SCANS_AT_ONCE: usize = 8;
/// What a round holds as suspect. Past it it waits for the first of them to come of age.
pub const DRIFT_SUSPECTS_MAX: usize = 4_096;
/// Ranges of holes of a conversation that are compared, the first to be given out. With more it is not told whether
/// numbers are missing.
pub const DRIFT_HOLES_MAX: u64 = 256;
/// Longest time that a route, a seat or a node stays without being renewed. One that is asked for longer stays this long.
pub const ROUTE_MS_MAX: u64 = 24 * 3_600_000;
/// Users whose cursors are written in one transaction; more take more of them.
pub const CURSOR_USERS_AT_ONCE: usize = 256;
/// Cursors of one user that are written in one transaction.
pub const CURSORS_AT_ONCE: usize = 1_024;

const _: () = {
    assert!(DEDUP_DEFAULT_S * 1_000 > DEDUP_MS + CLOCK_SKEW_MS);
    assert!(DRIFT_SETTLE_MS >= 5 * COMMAND_TIMEOUT_MS, "a call that was late has ended, and so has its repeat");
    assert!(SEQUENCE_IDLE_MS > 10 * CLUSTER_MARKING_MS_MAX, "a start that was read is used long before its key goes");
};
