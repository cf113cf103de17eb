//! Bounds of the API that are not configuration: their reason, and what happens when one is hit.

/// Largest JSON body. Past it: 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest body that carries a list of members. Past it: 413.
pub const MEMBER_LIST_BYTES_MAX: usize = 1024 * 1024;
/// Most user ids in one list of members. Past it: 413.
pub const MEMBER_LIST_MAX: usize = 10_000;
/// Most header lines of a request. Past it: 431 and the connection is closed.
pub const HEADERS_MAX: usize = 64;
/// Largest request head in bytes. Past it: 431 and the connection is closed.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// What one connection may buffer of a request or a response that is on its way.
pub const CONNECTION_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Shortest password in bytes. Below it: 400.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Longest password in bytes: Argon2 hashes it whole, so its length is work. Past it: 400.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Longest display name, of a user or a group, in characters. Past it: 400.
pub const NAME_CHARACTERS_MAX: usize = 64;
/// Longest platform name in bytes. Past it: 400.
pub const PLATFORM_BYTES_MAX: usize = 32;
/// Longest refresh token looked at (ours have 43 bytes). Past it: 401.
pub const REFRESH_TOKEN_BYTES_MAX: usize = 128;

/// Argon2id memory in KiB; with [`ARGON2_PASSES`] and [`ARGON2_LANES`] the second choice of OWASP's
/// Password Storage Cheat Sheet. A hash takes some 20 ms of one core.
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id passes over its memory.
pub const ARGON2_PASSES: u32 = 2;
/// Argon2id lanes.
pub const ARGON2_LANES: u32 = 1;

/// Members of one page. A larger `limit` is taken for this.
pub const MEMBERS_PAGE_MAX: usize = 1_000;

/// Longest `Idempotency-Key`. Past it: 400.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How long an answer is kept to be given again to the same key.
pub const REPLAY_MS: u64 = 10 * 60_000;
/// Answers kept; the oldest go first, and their keys then count as new.
pub const REPLAYS_MAX: usize = 10_000;
/// Bytes of all answers kept; the oldest go first.
pub const REPLAY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest answer kept. A larger one is not, so a repeat is carried out again.
pub const REPLAY_ANSWER_BYTES_MAX: usize = 32 * 1024;

/// Keys (addresses or accounts) one limiter counts. Past it the keys whose minute is over are dropped,
/// and if that frees nothing, new keys are refused with 429: every key costs its owner a password hash
/// or a network of its own, so this many in a minute is an attack.
pub const LIMITER_KEYS_MAX: usize = 65_536;
/// The window of the limiters.
pub const LIMITER_WINDOW_MS: u64 = 60_000;

/// How old the list of revoked sessions may be when a token is checked against it.
pub const REVOKED_AGE_MS: u64 = 1_000;
/// How soon a client may try again after 503.
pub const RETRY_AFTER_S: u64 = 1;
/// Addresses believed of one `X-Forwarded-For` chain, from its near end on.
pub const FORWARDED_HOPS_MAX: usize = 8;

const _: () = {
    assert!(BODY_BYTES_MAX < MEMBER_LIST_BYTES_MAX);
    // The longest uid in quotes with a comma.
    assert!(MEMBER_LIST_MAX * (ringway_engine::limits::UID_BYTES_MAX + 3) < MEMBER_LIST_BYTES_MAX);
    assert!(REPLAY_ANSWER_BYTES_MAX < REPLAY_BYTES_MAX);
};

/// Time a request may take in all, in milliseconds, where nothing else is configured. Past it: 503.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// How long a list of nodes is told before it is read anew, in milliseconds: `/v1/locate` needs no token, so asking it
/// often must cost the store nothing.
pub const NODE_LIST_MS: u64 = 1_000;
/// Time for the store to tell the nodes, in milliseconds. Past it the last list is told again.
pub const NODE_LIST_TIMEOUT_MS: u64 = 2_000;
/// Nodes told at once: a client tries a few. Those past it carry more load.
pub const NODES_TOLD_MAX: usize = 16;
