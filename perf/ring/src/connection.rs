//! One connection of the ring: what is under way on it.

/// How far it has come.
///
/// ```text
///  Free --enter--> Open --end, error, end of what comes--> Ending --nothing under way--> Closing --closed--> Free
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// The place is nobody's.
    #[default]
    Free,
    /// Bytes go both ways.
    Open,
    /// It is over, and waits for what is under way.
    Ending,
    /// Its descriptor is being closed.
    Closing,
}

/// What a connection has on its way out.
///
/// ```text
///  Idle --send--> Trying --no word--> Idle
///                    \---no room, in part--> Waiting --all gone--> Idle
/// ```
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// Neither changed nor moved while the kernel may read it.
    pub(crate) bytes: Vec<u8>,
    /// Bytes of it that are gone.
    pub(crate) gone: usize,
    /// A try was queued since the last time that anything was handed over.
    pub(crate) trying: bool,
    /// An operation waits for room.
    pub(crate) waiting: bool,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) state: State,
    /// A receive is armed.
    pub(crate) receiving: bool,
    /// What comes is not wanted at this time.
    pub(crate) paused: bool,
    pub(crate) sending: Sending,
}

impl Connection {
    /// Whether the kernel has nothing of it in hand.
    pub(crate) fn is_idle(&self) -> bool {
        !self.receiving && !self.sending.waiting && !self.sending.trying
    }
}
