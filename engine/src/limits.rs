//! Every bound of the system by name: its reason, and what happens when it is hit.
//!
//! Names end in their unit (`_ms`, `_bytes`) or in `_MAX`. The relations between bounds that other
//! code relies on are asserted at compile time, at the end of this file.

// ---- the public port: bytes from strangers -------------------------------------------------------

/// Time a peer has to send a whole upgrade request (and, before it, its TLS handshake and PROXY
/// header). Past it the socket is closed without a word.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// Largest upgrade request, in bytes up to and including the blank line. Past it: HTTP 431.
pub const HANDSHAKE_BYTES_MAX: usize = 8 * 1024;
/// Most header lines in an upgrade request. Past it: HTTP 431.
pub const HANDSHAKE_HEADERS_MAX: usize = 64;
/// Largest WebSocket message, fragments added up. A frame that would pass it is refused from its
/// header, before anything is allocated: close 1009.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most fragments of one message: a flood of tiny ones costs more than it carries. Past it: close 1008.
pub const FRAGMENTS_MAX: u32 = 16;
/// Largest payload of a control frame (RFC 6455 §5.5). Past it: close 1002.
pub const CONTROL_BYTES_MAX: usize = 125;
/// Pings a peer may send in one second before its socket is closed with 1008.
pub const PINGS_PER_SECOND_MAX: u32 = 2;
/// Pings that may come at once before the rate above counts.
pub const PINGS_BURST_MAX: u32 = 8;

// ---- a session -----------------------------------------------------------------------------------

/// Time from the upgrade to a valid `connect`. Past it: close `AUTH_TIMEOUT`.
pub const AUTH_TIMEOUT_MS: u64 = 10_000;
/// The server pings a device from which nothing came for this long.
pub const HEARTBEAT_MS: u64 = 30_000;
/// A device from which nothing came for this long is taken for dead and its socket closed.
pub const HEARTBEAT_DEAD_MS: u64 = 90_000;
/// Commands of one connection that wait for an answer. At this many its socket is not read until
/// one is answered, so the kernel's window slows the peer.
pub const COMMANDS_INFLIGHT_MAX: usize = 1_024;
/// Commands of one WebSocket message. Past it the rest is no longer read and the connection is closed
/// `NOT_THE_PROTOCOL`: a message of nothing but separators would else cost a refusal for each.
pub const COMMANDS_PER_MESSAGE_MAX: usize = 1_024;
/// Largest user id in bytes (`[a-z0-9_.-]`).
pub const UID_BYTES_MAX: usize = 32;
/// Largest device id in bytes (`[A-Za-z0-9_.-]`).
pub const DEVICE_ID_BYTES_MAX: usize = 64;
/// Largest client message id in bytes (any UTF-8 without control characters).
pub const CLIENT_MSG_ID_BYTES_MAX: usize = 64;
/// Largest message `type` in bytes (`[a-z0-9_.-]`).
pub const MESSAGE_TYPE_BYTES_MAX: usize = 32;
/// Largest access token in bytes. Past it the token is refused unread.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Resume points one `connect` may carry. Past it the command is malformed.
pub const RESUME_POINTS_MAX: usize = 2_048;
/// Sessions one user may hold at once; a further one kicks the one idle longest.
pub const DEVICES_PER_USER_MAX: usize = 16;

// ---- the conversation hub ------------------------------------------------------------------------

/// Submissions that wait in one hub while its batch is in flight. Past it senders get `BUSY`.
pub const HUB_QUEUE_MAX: usize = 4_096;
/// Body bytes that wait in one hub. Past it senders get `BUSY`.
pub const HUB_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Submissions of one commit batch; more wait for the next.
pub const BATCH_MESSAGES_MAX: usize = 512;
/// Body bytes of one commit batch; more wait for the next. Always at least one message.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Messages a hub keeps to fill a device's short gap without a read of the store.
pub const RECENT_MESSAGES_MAX: usize = 64;
/// Bytes of encoded messages that one hub's recent ring may hold; the oldest go first.
pub const RECENT_BYTES_MAX: usize = 256 * 1024;
/// Senders whose permission one hub remembers. Past it the oldest answer is asked for again.
pub const PERMISSIONS_MAX: usize = 1_024;
/// How long a cached permission serves. Changes arrive as signals, so this only bounds a lost one.
pub const PERMISSION_TTL_MS: u64 = 60_000;
/// How long after that a permission still serves while it is asked for anew, counted again from each answer that nobody
/// could give: who cannot reach the directory cannot change it either, and sends go on without it.
pub const PERMISSION_STALE_MS: u64 = 600_000;
/// How soon it is asked for again when nobody could tell.
pub const PERMISSION_AGAIN_MS: u64 = 1_000;
/// How long a refusal serves: the user may be created or let in at any moment.
pub const DENIAL_TTL_MS: u64 = 1_000;
/// A hub without work for this long is dropped; its state is rebuilt by the next message.
pub const HUB_IDLE_MS: u64 = 60_000;

// ---- delivery to one device ----------------------------------------------------------------------

/// Bytes queued for one device. A push past it is dropped, its conversation told to `resync` once,
/// and nothing more of that conversation is pushed until the device has synced.
pub const DELIVERY_QUEUED_BYTES_MAX: usize = 256 * 1024;
/// Room above the bound for replies and `resync` notes. A frame that finds both full closes the socket
/// `SLOW_READER`; one frame may reach past them.
pub const DELIVERY_RESERVE_BYTES: usize = 512 * 1024;
/// Catch-up asks for its next page only below this many queued bytes.
pub const DELIVERY_LOW_WATER_BYTES: usize = 64 * 1024;
/// A device whose queue has not moved for this long is closed `SLOW_READER`.
pub const SLOW_READER_MS: u64 = 15_000;
/// Conversations a device's delivery state names; past it those without open work are forgotten,
/// which is safe: the next live message simply starts their state anew.
pub const DEVICE_CONVERSATIONS_MAX: usize = 4_096;
/// Conversations whose acknowledgements one device gathers; at that many they are handed on before their time.
pub const ACKS_GATHERED_MAX: usize = 256;
/// Page and list reads of one connection that are under way; more wait in its session, in order.
pub const READS_INFLIGHT_MAX: usize = 2;
/// Typing in groups that one session may send a second, because each may go to thousands; more is dropped,
/// as its contract allows.
pub const GROUP_TYPING_PER_SECOND_MAX: u16 = 100;
/// Body bytes that the uplink hands to the log in one append; a turn's surplus is another append.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Acknowledgements of a device are gathered for this long before they are handed to the shared state, and
/// the other party is told: longer costs less, and a crash shows a little more again.
pub const ACK_FLUSH_MS: u64 = 500;
/// Clients gather the acknowledgements of a group for this long at least: nobody waits for the mark of one member, and in a
/// large group they are most of what the server receives. With [`GROUP_ACK_SPREAD_MS`], the server's own
/// gathering and the daemon's it is three quarters of the time after which a device that has said nothing is told again.
pub const GROUP_ACK_MS: u64 = 1_000;
/// Each client adds what it has drawn of this, so that the members of a room do not acknowledge together.
pub const GROUP_ACK_SPREAD_MS: u64 = 250;

// ---- catch-up and reading ------------------------------------------------------------------------

/// Messages of one backlog push or one `sync` page.
pub const PAGE_MESSAGES_MAX: usize = 100;
/// Bytes of bodies in one page; the page ends early (always at least one message).
pub const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Backlog of one conversation that is pushed after `connected`. Past it the conversation is
/// `recovered: false`, and the client pages with `sync`.
pub const CATCHUP_MESSAGES_MAX: u64 = 50_000;
/// Conversations listed in one answer to `conversations`.
pub const CONVERSATIONS_MAX: usize = 1_000;

// ---- numbering and dedup -------------------------------------------------------------------------

/// How long the sequencer remembers a client message id without asking the archive.
pub const DEDUP_MS: u64 = 600_000;
/// Client message ids the sequencer remembers at most; the oldest go first, and a send marked
/// `retry` is then looked up in the archive.
pub const DEDUP_ENTRIES_MAX: usize = 1_000_000;
/// How long a send marked `retry` is looked up in the archive.
pub const DEDUP_ARCHIVE_MS: u64 = 7 * 24 * 3_600_000;
/// Messages kept for a device that is away, in each conversation; older ones are only history.
pub const OFFLINE_MESSAGES_MAX: u64 = 100_000;
/// How long messages are kept for a device that is away.
pub const OFFLINE_MS: u64 = 7 * 24 * 3_600_000;
/// Bytes of messages numbered but not yet archived. Past it senders get `BUSY`.
pub const UNARCHIVED_BYTES_MAX: usize = 256 * 1024 * 1024;

// ---- shards and the node -------------------------------------------------------------------------

/// Shards of one process: a set of them fits in one word.
pub const SHARDS_MAX: usize = 64;
/// Messages of one mailbox ring between two shards. Past it deliveries are noted as owed and made
/// up by a catch-up read, and requests wait with their sender.
pub const MAILBOX_MAX: usize = 8_192;
/// Connections of one node. Past it the upgrade is answered HTTP 503 with `Retry-After`.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// Connections from one address. Past it the upgrade is answered HTTP 429.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 20_000;
/// Time from SIGTERM to exit.
pub const DRAIN_MS: u64 = 10_000;
/// Names of a kind, of conversations or users, that each shard holds to look them up. Past it a name is copied each time.
pub const NAMES_MAX: usize = 65_536;
/// Hops of recent messages that each shard remembers for `trace`.
pub const TRACE_HOPS_MAX: usize = 65_536;

const _: () = {
    assert!(HEARTBEAT_DEAD_MS > 2 * HEARTBEAT_MS, "one lost ping must not end a session");
    assert!(DELIVERY_LOW_WATER_BYTES < DELIVERY_QUEUED_BYTES_MAX);
    assert!(BATCH_BYTES_MAX > MESSAGE_BYTES_MAX, "a batch holds any message");
    assert!(PAGE_BYTES_MAX > MESSAGE_BYTES_MAX, "a page holds any message");
    assert!(PAGE_BYTES_MAX <= DELIVERY_QUEUED_BYTES_MAX, "a page fits a drained queue");
    assert!(CATCHUP_MESSAGES_MAX <= OFFLINE_MESSAGES_MAX);
    assert!(HUB_QUEUE_MAX >= BATCH_MESSAGES_MAX && HUB_QUEUE_BYTES_MAX >= BATCH_BYTES_MAX);
    assert!(HANDSHAKE_TIMEOUT_MS < AUTH_TIMEOUT_MS);
    assert!(SHARDS_MAX <= u64::BITS as usize);
};
