//! The WebSocket gateway: shard loop, uplink, drain.
