//! Every bound of the peer network by name: its reason, and what happens when it is hit.

use std::time::Duration;

/// Bytes of a body before the other end has proved itself: a hello has some 80. Past it the connection is closed
/// from the header.
pub(crate) const GREETING_BYTES_MAX: usize = 512;
/// Bytes of a shared key. Fewer can be guessed; more than this is not a key but another file.
pub(crate) const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=4_096;
/// Bytes of a node's name (`[a-z0-9-]`). A hello with another is refused.
pub(crate) const NODE_NAME_BYTES_MAX: usize = 32;
/// Bytes gathered into one write: large enough that a system call costs nothing beside the tags, small enough to
/// stay in the cache. A longer frame goes out alone.
pub(crate) const WRITE_BYTES_MAX: usize = 256 * 1024;
/// Room made for one read; a buffer that grew for one large frame is let go once it is empty.
pub(crate) const READ_BYTES: usize = 64 * 1024;
/// How long a link must have stood for its next failure to be tried again at once.
pub(crate) const STEADY: Duration = Duration::from_secs(5);

/// Bounds of links and servers. The defaults serve; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Connections of one server that have proved themselves: a cluster has fewer processes. A further one is closed.
    pub connections_max: usize,
    /// Connections of one server that have not proved themselves yet. Past it the oldest of them is closed, so that
    /// silent strangers do not keep peers out.
    pub greetings_max: usize,
    /// Time from the connection to its last proof, in milliseconds. Past it the connection is closed.
    pub greeting_ms: u64,
    /// Time for a TCP connection to open, in milliseconds. Past it the link rests and tries again.
    pub connect_ms: u64,
    /// Bytes of a frame's body. One that is longer is refused where it is said, and from its header where it is heard.
    pub frame_bytes_max: usize,
    /// Bytes that wait on one link. Words past it are dropped and counted; asks past twice as many fail as `Busy`;
    /// answers are never dropped, but nothing more is read from a connection while this many bytes of them wait.
    pub queue_bytes_max: usize,
    /// Asks of one link that wait for their answers. Past it an ask fails as `Busy`, and a server stops reading from
    /// whoever keeps no such bound.
    pub asks_max: usize,
    /// Time for an answer, in milliseconds. Past it the asker is told `Temporary`, and the handler's future is dropped.
    pub answer_ms: u64,
    /// Time in which a write must make some progress, in milliseconds. Past it the connection is closed.
    pub write_ms: u64,
    /// A link on which nothing came for this long asks for a sign of life, in milliseconds.
    pub idle_ms: u64,
    /// A connection on which nothing came for this long is taken for dead, in milliseconds.
    pub dead_ms: u64,
    /// First rest before a broken link is tried again, in milliseconds; doubles with each failure, with jitter.
    pub rest_min_ms: u64,
    /// Longest rest, in milliseconds.
    pub rest_max_ms: u64,
    /// Time that `close` gives to what is queued or being answered, in milliseconds.
    pub close_ms: u64,
}

impl PeerLimits {
    /// The bounds that the processes run with.
    pub const DEFAULT: Self = Self {
        connections_max: 256,
        greetings_max: 64,
        greeting_ms: 5_000,
        connect_ms: 3_000,
        frame_bytes_max: 4 * 1024 * 1024,
        queue_bytes_max: 16 * 1024 * 1024,
        asks_max: 256,
        answer_ms: 30_000,
        write_ms: 10_000,
        idle_ms: 5_000,
        dead_ms: 15_000,
        rest_min_ms: 50,
        rest_max_ms: 2_000,
        close_ms: 1_000,
    };
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const _: () = {
    let limits = PeerLimits::DEFAULT;
    assert!(limits.dead_ms > 2 * limits.idle_ms, "one lost sign of life must not end a link");
    assert!(limits.queue_bytes_max > limits.frame_bytes_max, "a queue holds any word");
    assert!(limits.frame_bytes_max > 2 * ringway_engine::limits::BATCH_BYTES_MAX, "a word holds any batch");
    assert!(limits.rest_min_ms < limits.rest_max_ms);
    assert!(GREETING_BYTES_MAX > 64 + NODE_NAME_BYTES_MAX);
    assert!(limits.frame_bytes_max <= u32::MAX as usize);
};
