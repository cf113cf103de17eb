//! Bounds of the SDK: reasons, and what happens when one is hit. Those of the server are in
//! `ringway_engine::limits`.

use ringway_engine::limits::MESSAGE_BYTES_MAX;

/// Bodies above this are deflated when that makes them smaller.
pub const DEFLATE_ABOVE_BYTES: usize = 1024;
/// Largest body after inflating. Past it the body is handed over as it came, `enc` still set.
pub const INFLATED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of commands gathered into one frame; half of what the server takes.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;
/// Largest message taken from the server: a page of bodies with JSON's escapes. Past it the
/// connection is dropped and made anew.
pub const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sends accepted and not yet answered. Past it `Client::send` waits.
pub const PENDING_MAX: usize = 16_384;
/// Bytes of bodies of those. Past it `Client::send` waits.
pub const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Calls (`sync`, `read`, …) accepted and not yet answered. Past it the next one waits.
pub const CALLS_MAX: usize = 256;
/// Requests between handle and task. Past it the caller waits.
pub const REQUESTS_MAX: usize = 256;
/// Events between task and application. Past it the socket is not read, so the server's byte bound
/// and `resync` take over.
pub const EVENTS_MAX: usize = 1_024;
/// Conversations whose place is remembered. Past it the one longest untouched is forgotten; the
/// server's stored cursor serves it then.
pub const CONVERSATIONS_MAX: usize = 8_192;
/// Ids of messages remembered in each conversation, to drop what a new epoch sends again.
pub const REMEMBERED_MAX: usize = 256;
/// Stretches of own messages shown in a conversation before its beginning is known. Past it the oldest
/// is forgotten, and its messages may be shown again.
pub const FLOATED_MAX: usize = 64;
/// Messages of one conversation that wait above a hole. Past it the highest is dropped; the `sync`
/// that fills the hole brings it again.
pub const AHEAD_MAX: usize = 512;
/// Bytes of bodies that wait above holes, all conversations together. Past it as above.
pub const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// `sync` commands in flight at once; the others wait their turn.
pub const SYNCS_INFLIGHT_MAX: usize = 4;
/// A hole that nothing has filled for this long is read by `sync`: what fills it is mostly on its way.
pub const HOLE_WAIT_MS: u64 = 200;
/// Longest wait between two tries at a hole that the server cannot fill yet.
pub const HOLE_RETRY_MS_MAX: u64 = 5_000;
/// Bytes of resume points in one `connect`, which has to fit a frame; the longest untouched are left out.
pub const RESUME_BYTES_MAX: usize = MESSAGE_BYTES_MAX * 3 / 4;
/// Time from the start of a connection attempt to `connected`.
pub const CONNECT_TIMEOUT_MS: u64 = 15_000;
/// A command without an answer for this long: the connection is dropped and made anew.
pub const REPLY_TIMEOUT_MS: u64 = 30_000;
/// A connection that lasted this long starts the back-off anew.
pub const STABLE_MS: u64 = 5_000;
/// How long a drained connection may take to answer what is in flight.
pub const LEAVE_MS: u64 = 2_000;
/// Messages that `MemoryStore` keeps in each conversation; the oldest go first.
pub const KEPT_MESSAGES_MAX: usize = 1_000;

const _: () = {
    assert!(DEFLATE_ABOVE_BYTES < FRAME_BYTES_MAX);
    assert!(RESUME_BYTES_MAX < MESSAGE_BYTES_MAX, "a connect fits a frame");
    assert!(INFLATED_BYTES_MAX < INBOUND_BYTES_MAX);
};
