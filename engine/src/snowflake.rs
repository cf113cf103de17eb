//! Message ids: 64 bits, rising with time, safe when the clock steps back.
//!
//! ```text
//! 63  62                                   22 21           10 9          0
//! +---+--------------------------------------+---------------+------------+
//! | 0 | ms since 2024-01-01T00:00:00Z (41)    | node (12)     | count (10) |
//! +---+--------------------------------------+---------------+------------+
//! ```
//!
//! A generator belongs to one shard; the node field holds node and shard, so no two generators
//! alive at once share it. When the clock stands still or steps back, the generator goes on from
//! the last millisecond it used and borrows the next one when the counter is full: ids keep rising.

/// 2024-01-01T00:00:00Z in Unix milliseconds.
pub const EPOCH_MS: u64 = 1_704_067_200_000;
const COUNT_BITS: u32 = 10;
const NODE_BITS: u32 = 12;
/// Largest value of the node field.
pub const NODE_MAX: u16 = (1 << NODE_BITS) - 1;
/// Low bits of the node field that name the shard; those above are the number of the node.
pub const SHARD_BITS: u32 = 6;

/// Makes message ids for one shard.
#[derive(Debug)]
pub struct Snowflake {
    node: u64,
    last_ms: u64,
    count: u64,
}

impl Snowflake {
    /// A generator for `node` (its low 12 bits count). `floor` is the highest id known to have been
    /// given out by it before, 0 if none: ids start above it even if the clock was set back.
    #[must_use]
    pub fn new(node: u16, floor: u64) -> Self {
        Self {
            node: u64::from(node & NODE_MAX),
            last_ms: floor >> (COUNT_BITS + NODE_BITS),
            count: (1 << COUNT_BITS) - 1,
        }
    }

    /// The next id, above every earlier one of this generator. `now_ms` is Unix time.
    pub fn next_id(&mut self, now_ms: u64) -> u64 {
        let now = now_ms.saturating_sub(EPOCH_MS);
        if now > self.last_ms {
            self.last_ms = now;
            self.count = 0;
        } else if self.count + 1 < 1 << COUNT_BITS {
            self.count += 1;
        } else {
            self.last_ms += 1;
            self.count = 0;
        }
        (self.last_ms << (COUNT_BITS + NODE_BITS)) | (self.node << COUNT_BITS) | self.count
    }
}

/// The Unix millisecond in which an id was made.
#[must_use]
pub fn made_at_ms(id: u64) -> u64 {
    (id >> (COUNT_BITS + NODE_BITS)) + EPOCH_MS
}

/// The number of the node that made an id.
#[must_use]
pub fn made_by(id: u64) -> u64 {
    (id >> (COUNT_BITS + SHARD_BITS)) & ((1 << (NODE_BITS - SHARD_BITS)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_rise_whatever_the_clock_does(times in prop::collection::vec(EPOCH_MS..EPOCH_MS + 5_000, 1..5_000)) {
            let mut ids = Snowflake::new(7, 0);
            let mut last = 0;
            for now in times {
                let id = ids.next_id(now);
                prop_assert!(id > last);
                last = id;
            }
        }
    }

    #[test]
    fn a_restart_with_the_clock_set_back_stays_above_the_floor() {
        let mut before = Snowflake::new(7, 0);
        let floor = before.next_id(EPOCH_MS + 1_000_000);
        let mut after = Snowflake::new(7, floor);
        assert!(after.next_id(EPOCH_MS + 10) > floor);
        assert_eq!(made_at_ms(floor), EPOCH_MS + 1_000_000);
    }

    #[test]
    fn an_id_tells_its_node_whatever_shard_made_it() {
        for (node, shard) in [(0, 63), (1, 0), (41, 5), (63, 63)] {
            let id = Snowflake::new(node << SHARD_BITS | shard, 0).next_id(EPOCH_MS + 1_234_567);
            assert_eq!(made_by(id), u64::from(node), "{node} {shard}");
        }
    }
}
