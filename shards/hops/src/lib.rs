//! Hops of sampled messages, on their way from the threads that see them to whoever exports traces.
//!
//! | Module | Noun |
//! |---|---|
//! | [`hop`] | a station on a message's way, and a message that was there |
//! | [`sampler`] | which messages are traced |
//! | [`ids`] | the ids of a message's trace, which every process finds by itself |
//! | [`lane`] | the bounded way from thread to thread |
//!
//! A process that exports nothing makes no [`Hops`]; who would hand over then has nothing to do. No clock, no I/O, no
//! thread of its own.

pub mod hop;
pub mod ids;
pub mod lane;
pub mod limits;
pub mod sampler;

pub use hop::{Hop, Station};
pub use lane::Lane;
pub use sampler::Sampler;

/// Where the threads of a process hand over the hops of the messages that are traced.
#[derive(Debug, Clone)]
pub struct Hops {
    sampler: Sampler,
    lane: Lane<Hop>,
}

impl Hops {
    /// For the messages that a sampler takes.
    #[must_use]
    pub fn new(sampler: Sampler) -> Self {
        Self { sampler, lane: Lane::new(limits::LANE_MAX) }
    }

    /// Whether hops of this message are wanted.
    #[must_use]
    pub fn takes(&self, msg_id: u64) -> bool {
        self.sampler.takes(msg_id)
    }

    /// Hands a hop over, of a message that is taken. Never waits: past [`limits::LANE_MAX`] the hop is dropped and
    /// counted.
    pub fn offer(&self, hop: Hop) {
        self.lane.offer(hop);
    }

    /// The other end.
    #[must_use]
    pub fn lane(&self) -> &Lane<Hop> {
        &self.lane
    }
}
