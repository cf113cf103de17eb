//! The event log over Apache RocketMQ.
//!
//! [`RocketLog`] is the `EventLog` port for gateways, [`RocketQueues`] gives the `LogQueue`s for consumers. Records of
//! one key are in one queue, in order; an append is answered when its records are flushed to the brokers' disks.

mod broker;
mod config;
mod connection;
mod error;
mod keeper;
mod lanes;
pub mod limits;
mod log;
mod queue;
mod queues;
mod requests;
mod route;
mod runtime;
mod sender;
mod sign;
mod tls;
mod window;

pub use config::{Credentials, EVENT_TOPIC, RocketConfig, SIGNAL_TOPIC, STATUS_TOPIC, TlsFiles};
pub use error::RocketError;
pub use log::{LogCounts, RocketLog};
pub use queues::RocketQueues;
