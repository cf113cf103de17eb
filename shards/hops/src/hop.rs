//! A station on a message's way, and a message that was there.

use std::sync::Arc;

use serde::Serialize;

/// A station on a message's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Station {
    /// Its sender's command was taken from the connection; noted once it is answered.
    Received,
    /// The hub handed its batch to the uplink.
    Batched,
    /// It is durable in the event log.
    Logged,
    /// It has its number.
    Numbered,
    /// It was said to other nodes that hold somebody of its conversation.
    Told,
    /// Another node has said it.
    Arrived,
    /// The hub gave it to the shards.
    Fanned,
    /// The sender's `sent` was queued.
    Sent,
    /// It was queued for a device.
    Pushed,
    /// A device acknowledged its number or a higher one.
    Acknowledged,
    /// It was read from its queue.
    Consumed,
    /// The transaction that archives it is committed.
    Archived,
}

impl Station {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Received,
        Self::Batched,
        Self::Logged,
        Self::Numbered,
        Self::Told,
        Self::Arrived,
        Self::Fanned,
        Self::Sent,
        Self::Pushed,
        Self::Acknowledged,
        Self::Consumed,
        Self::Archived,
    ];

    /// Its name, as it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Batched => "batched",
            Self::Logged => "logged",
            Self::Numbered => "numbered",
            Self::Told => "told",
            Self::Arrived => "arrived",
            Self::Fanned => "fanned",
            Self::Sent => "sent",
            Self::Pushed => "pushed",
            Self::Acknowledged => "acknowledged",
            Self::Consumed => "consumed",
            Self::Archived => "archived",
        }
    }

    /// The stations of the same process from which a message comes to this one; none where it enters a process.
    #[must_use]
    pub fn follows(self) -> &'static [Self] {
        match self {
            Self::Received | Self::Batched | Self::Arrived | Self::Consumed => &[],
            Self::Logged => &[Self::Batched],
            Self::Numbered => &[Self::Logged, Self::Consumed],
            Self::Told | Self::Archived => &[Self::Numbered],
            Self::Fanned => &[Self::Numbered, Self::Arrived],
            Self::Sent | Self::Pushed => &[Self::Fanned],
            Self::Acknowledged => &[Self::Pushed],
        }
    }
}

/// A message at a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Unix time in microseconds.
    pub at_us: u64,
    /// When it left the station before, where that is known here; 0: whoever keeps hops looks for it.
    pub from_us: u64,
    /// The station.
    pub station: Station,
    /// The message.
    pub msg_id: u64,
    /// Its conversation's stable hash; 0 where nobody has it at hand.
    pub conv: u64,
    /// Its number; 0 before it has one.
    pub seq: u64,
    /// The other side: nodes it was told, the connection that it was sent or pushed to, its offset in the queue that it
    /// was consumed from.
    pub who: u64,
    /// The shard it was on.
    pub shard: Option<u16>,
    /// The queue it was consumed from.
    pub queue: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_station_comes_after_itself() {
        for station in Station::ALL {
            let mut before = station.follows().to_vec();
            for _ in 0..Station::ALL.len() {
                assert!(!before.contains(&station), "{station:?}");
                before = before.iter().flat_map(|one| one.follows()).copied().collect();
            }
            assert!(before.is_empty(), "{station:?}");
        }
    }
}
