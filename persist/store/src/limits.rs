//! Bounds of the stores, by name: the reason, and what happens when one is hit.
//!
//! Bounds that the engine shares are in `ringway_engine::limits`.

use ringway_engine::limits::{DEDUP_ENTRIES_MAX, MESSAGE_BYTES_MAX, OFFLINE_MESSAGES_MAX, UID_BYTES_MAX};

/// Members of one group. Past it: [`crate::ports::DirectoryError::Limit`].
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Groups one user may be in: it bounds what a connect has to look through. Past it: `Limit`.
pub const GROUPS_PER_USER_MAX: usize = 2_000;
/// User ids named in one system message, which must fit a packet. The rest is told by its `count` alone.
pub const SYSTEM_MESSAGE_UIDS_MAX: usize = 100;

/// How long a statement waits for another process's write (`ringway token` while `up` runs) before it fails.
pub const SQLITE_BUSY_MS: u64 = 5_000;
/// Connections that read. Past it a read waits for one; writers have one connection of their own.
pub const SQLITE_READERS_MAX: u32 = 4;
/// Questions of several callers that are put to the database by one statement. Past it they are the next one's.
pub const GATHERED_MAX: usize = 64;
/// How long a call waits for a free connection before it fails as temporary.
pub const SQLITE_ACQUIRE_MS: u64 = 10_000;
/// Pages of the write-ahead log before it is copied into the database: large enough that hot pages are
/// copied once for some commits, small enough (8 MiB) that the copying does not hold up the journal's flushes.
pub const SQLITE_CHECKPOINT_PAGES: u32 = 2_048;
/// Rows of one bulk insert. More rows use more statements; 128 × 11 values is far below SQLite's 32,766.
pub const INSERT_ROWS_MAX: usize = 128;
/// Conversations whose row number the archive keeps in memory. Past it the table of them starts anew.
pub const CONVERSATION_ROWS_MAX: usize = 200_000;
/// Conversations the archive can number: 31 bits of a message's key. Past it a commit fails.
pub const CONVERSATION_ID_MAX: i64 = (1 << 31) - 1;
/// Messages of one conversation the archive can hold: 32 bits of a message's key. Past it a commit fails.
pub const CONVERSATION_SEQ_MAX: u64 = (1 << 32) - 1;

/// Conversations kept in memory without unarchived messages. Past it those not used since the last
/// sweep are forgotten, whatever their age; each is read anew when it is needed.
pub const CONVERSATIONS_CACHED_MAX: usize = 200_000;
/// A conversation without unarchived messages and unused for this long is forgotten.
pub const CONVERSATION_IDLE_MS: u64 = 60_000;
/// Client message ids loaded into the window at start, newest first. Older ones follow while the node
/// serves; until then sends are asked of the archive.
pub const DEDUP_LOADED_MAX: usize = 100_000;
/// Client message ids read at once by what follows: the mutex is held for some 100 µs.
pub const DEDUP_READ_MAX: usize = 4_096;
/// Filters of forgotten client message ids, one per [`DEDUP_FILTER_ENTRIES`] of them. Past it the oldest
/// goes, and messages that it could have known are asked of the archive.
pub const DEDUP_FILTERS_MAX: usize = 64;
/// Client message ids of one filter.
pub const DEDUP_FILTER_ENTRIES: usize = 1 << 20;
/// Cursors that wait to be written. Past it new ones are dropped: the device is sent again what it has,
/// and drops it by number.
pub const CURSORS_WAITING_MAX: usize = 1_000_000;
/// Unread messages are counted among this many of the newest; that many unread means "or more".
pub const UNREAD_COUNTED_MAX: u64 = 1_000;
/// Bytes of a lease's name and of its owner's. Longer ones are an error.
pub const LEASE_NAME_BYTES_MAX: usize = 128;
/// Leases that one list names: a deployment has a few for each process and queue. What lies above, in the order of
/// names, is left out.
pub const LEASES_LISTED_MAX: usize = 10_000;

const _: () = {
    assert!(SYSTEM_MESSAGE_UIDS_MAX * (UID_BYTES_MAX + 3) < MESSAGE_BYTES_MAX / 4);
    assert!(DEDUP_LOADED_MAX <= DEDUP_ENTRIES_MAX);
    assert!(OFFLINE_MESSAGES_MAX < CONVERSATION_SEQ_MAX);
};
