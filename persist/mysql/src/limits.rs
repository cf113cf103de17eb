//! Bounds of the MySQL adapters, by name: the reason, and what happens when one is hit.

use ringway_engine::limits::{CLIENT_MSG_ID_BYTES_MAX, DEDUP_ARCHIVE_MS, DEDUP_MS, MESSAGE_BYTES_MAX, UID_BYTES_MAX};
use ringway_store::limits::LEASE_NAME_BYTES_MAX;

/// Connections to the primary of one process. More calls wait for one, for [`ACQUIRE_MS`].
pub const CONNECTIONS_MAX: u32 = 16;
/// How long a call waits for a free connection, or for a new one with its TLS and log-in, before it fails as temporary.
pub const ACQUIRE_MS: u64 = 5_000;
/// How long one statement may run on the server, which ends it then. On MySQL this bounds reads only; there
/// [`CALL_MS`] bounds the rest.
pub const STATEMENT_MS: u64 = 20_000;
/// How long a whole call may take, its repeats with it, before it fails as temporary: a server that has stopped, or is
/// cut off, answers nothing at all.
pub const CALL_MS: u64 = 30_000;
/// How long a statement waits for a row that another transaction holds before its transaction is tried again.
pub const LOCK_WAIT_MS: u64 = 4_000;
/// How long a page waits for the replica before the primary is asked.
pub const REPLICA_MS: u64 = 1_000;
/// How long a replica that failed is left alone.
pub const REPLICA_REST_MS: u64 = 5_000;

/// How often a transaction that met a deadlock or a lock wait is run in one call. Past it the call fails as temporary.
pub const TRIES_MAX: u32 = 5;
/// First wait before a transaction is run again; it doubles.
pub const RETRY_MS: u64 = 10;

/// A connection idle for this long is closed by us.
pub const IDLE_MS: u64 = 30_000;
/// A connection on which nothing comes for this long is closed by the server, which lets its locks go: a process that
/// lost its power or its network cannot hold up the one that takes over for longer.
pub const SERVER_IDLE_S: u64 = 90;
/// A connection idle for longer than this is asked whether it still lives before it serves a call.
pub const PING_AFTER_MS: u64 = 1_000;
/// How long a connection that comes back from a call that was dropped may take to be usable again, else it is closed.
pub const RELEASE_MS: u64 = 5_000;

/// Values bound to one statement, by the protocol.
pub const BINDS_MAX: usize = 65_535;
/// Messages of one insert, falling: a batch is cut into these, so that few statement texts stay prepared.
pub const INSERT_ROWS: [usize; 4] = [512, 64, 8, 1];
/// Values of a row of messages.
pub const MESSAGE_VALUES: usize = 12;
/// Bytes of one insert's messages: with its text and numbers it fits [`PACKET_BYTES_MIN`].
pub const INSERT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What `max_allowed_packet` must be at least, else the database does not open.
pub const PACKET_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Items of one list in a statement; longer lists use more statements.
pub const LIST_MAX: usize = 512;
/// Places (ranges or sends) looked up by one statement; more use more statements.
pub const PLACES_MAX: usize = 64;
/// Lengths of lists in statements, rising: a list is filled up to the next one.
pub const LIST_SIZES: [usize; 4] = [1, 8, PLACES_MAX, LIST_MAX];
/// Statements that stay prepared on a connection: about all there are. Past it the one used longest ago is closed. With
/// [`CONNECTIONS_MAX`] connections it bounds what a process takes of the server's `max_prepared_stmt_count`.
pub const STATEMENTS_PREPARED_MAX: usize = 256;
/// Numbers read at once when holes are looked for.
pub const NUMBERS_AT_ONCE: u64 = 1_024;

/// Tables of this many months after the current one are made ahead.
pub const MONTHS_AHEAD: u32 = 2;
/// Rows taken away by one statement when a month is dropped: short transactions, so that commits do not wait.
pub const DROP_ROWS_MAX: u64 = 10_000;
/// The newest months of a conversation in which an earlier send is looked for. A send is asked for during
/// `DEDUP_ARCHIVE_MS`, which touches two months; a clock that was ahead once may have opened a third.
pub const SEND_MONTHS_MAX: usize = 3;
/// The longest time of a lease, 100 days; a longer one is cut to it, so that no time is past what can be counted.
pub const LEASE_MS_MAX: u64 = 100 * 24 * 3_600_000;
/// A lease that has run out for this long is removed when another is made.
pub const LEASES_FORGOTTEN_AFTER_MS: u64 = 24 * 3_600_000;
/// Leases removed at once; the rest goes with the next new one.
pub const LEASES_FORGOTTEN_MAX: u64 = 100;
/// Dead letters of one list, the newest. Past it: those before are not shown.
pub const LETTERS_LISTED_MAX: usize = 1_000;
/// Bytes shown of a dead letter; the whole is in its table.
pub const LETTER_BYTES_SHOWN: usize = 4_096;
/// Two messages of one conversation, sender and client message id whose times are closer than this are one send that
/// was numbered twice: the commit fails. Half the time of dedup, so that gateways' clocks may differ by the other half.
pub const REPEAT_MS: u64 = DEDUP_MS / 2;

const _: () = {
    assert!(INSERT_ROWS[0] * MESSAGE_VALUES <= BINDS_MAX);
    assert!(LIST_MAX * 6 <= BINDS_MAX && PLACES_MAX * 4 <= BINDS_MAX);
    assert!(INSERT_BYTES_MAX + 2 * MESSAGE_BYTES_MAX < PACKET_BYTES_MIN as usize);
    assert!(STATEMENT_MS < CALL_MS && LOCK_WAIT_MS * TRIES_MAX as u64 <= CALL_MS);
    assert!(IDLE_MS < SERVER_IDLE_S * 1_000);
    assert!(DEDUP_ARCHIVE_MS < 28 * 24 * 3_600_000, "two months hold the sends that are asked for");
    assert!(LEASE_NAME_BYTES_MAX <= 128, "the columns are that wide");
    assert!(UID_BYTES_MAX <= 32 && CLIENT_MSG_ID_BYTES_MAX <= 64, "the columns are that wide");
};
