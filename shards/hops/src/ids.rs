//! The ids of a message's trace. Every process finds them by itself, from the message's id alone, so that the spans of
//! all join in one trace and no message carries anything.
//!
//! ```text
//! trace id  (16 bytes, big endian)   msg_id ‖ mix(mix(msg_id))
//! root span (8 bytes, big endian)    mix(mix(mix(msg_id)))
//! ```
//!
//! `mix` is the last step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). The
//! second half of a trace id is as good as random, as collectors that sample by it want it, and has nothing to do with
//! the hash by which a [`Sampler`](crate::Sampler) chooses. None of these functions may ever change: nodes of two
//! versions run side by side.

/// Makes every bit depend on every other; 0 stays 0, and no two numbers become one.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The trace of a message. Its first half is the id as it is, in hexadecimal: whoever has one has the other.
#[must_use]
pub fn trace_id(msg_id: u64) -> [u8; 16] {
    ((u128::from(msg_id) << 64) | u128::from(mix(mix(msg_id)))).to_be_bytes()
}

/// The span that all others of the trace have as their parent.
#[must_use]
pub fn root_span(msg_id: u64) -> [u8; 8] {
    mix(mix(mix(msg_id))).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_trace_never_change() {
        // Of the generator seeded with 0, whose steps are multiples of this increment.
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&trace_id(0x0123_4567_89ab_cdef)), "0123456789abcdefb8d5d379847aaf50");
        assert_eq!(hex(&root_span(0x0123_4567_89ab_cdef)), "c989985671808456");
    }
}
