//! The production parts, opened from configuration, and the life of a process that runs on them.
//!
//! | Module | Noun |
//! |---|---|
//! | [`sections`] | tables of keys for MySQL, Redis, RocketMQ, the collector of traces and the shared keys |
//! | [`stores`] | database and shared state, opened together |
//! | [`board`] | what a process waits for or misses, as `/readyz` tells it |
//! | [`awaited`] | opening a part again until it is there |
//! | [`measures`] | counters as Prometheus text |
//! | [`probe`] | asking the parts whether they still answer |
//! | [`otlp`] | traces, exported to an OpenTelemetry collector |
//! | [`process`] | a process from its arguments to its exit |
//!
//! Everything runs on tokio. A binary adds its own table of keys and what it is for.

pub mod awaited;
pub mod board;
pub mod measures;
pub mod otlp;
pub mod probe;
pub mod process;
pub mod sections;
pub mod stores;
