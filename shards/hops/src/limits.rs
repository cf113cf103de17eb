//! Bounds of the hand-over.

/// Hops on their way to the exporter, which takes them a few times a second: some 600 KiB. Past it they are dropped and
/// counted; their traces have holes.
pub const LANE_MAX: usize = 8_192;
