//! The WebSocket gateway: shards that carry, one uplink that asks; no SQL, no business rules beyond a
//! cached yes or no.
//!
//! A message's way through this crate: `shard/intake` (bytes) → `shard/commands` (what the session asks) →
//! `shard/hubs` (the conversation's order) → `uplink/commit` (durable, numbered) → `shard/fanout` (devices)
//! → `shard/output` (one send a turn). `mail` holds everything that threads say to each other.

mod clock;
mod cluster;
pub mod config;
mod counter;
mod echo;
mod exported;
mod gateway;
mod groups;
mod index;
mod latency;
mod live;
mod mail;
mod metrics;
mod outbox;
mod shard;
mod stages;
mod table;
mod trace;
mod uplink;

pub use cluster::Cluster;
pub use config::{GatewayConfig, LiveConfig};
pub use gateway::{Gateway, GatewayError};
pub use uplink::Ports;
