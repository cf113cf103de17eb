//! The real servers that Ringway runs against, started for a test or a developer on free loopback ports, and ended by
//! process id.
//!
//! A server belongs to the test that started it: it ends when its handle is dropped, also while the test panics, and
//! the kernel ends it when the test's process dies in any other way. Its files lie in the folder it was given; a
//! [`Folder`] goes the same two ways. Everything here blocks the calling thread, for as long as a start or an exit
//! takes.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let folder = ringway_stack::Folder::new()?;
//! let mut redis = ringway_stack::RedisServer::start(folder.path())?;
//! println!("{} is process {}", redis.url(), redis.pid()?);
//! redis.kill()?;
//! redis.restart_empty()?;
//! # Ok(())
//! # }
//! ```

mod cache;
mod cluster;
mod deployment;
mod folder;
mod install;
mod mariadb;
mod ports;
mod process;
mod programs;
mod redis;
mod replicated;
mod resp;
mod rocketmq;
mod sentinel;
mod server;
mod stack;
mod wait;

pub use crate::cluster::ClusterRedis;
pub use crate::deployment::{Backends, NodeKind, NodePlan, Size};
pub use crate::folder::Folder;
pub use crate::install::prepare;
pub use crate::mariadb::{MariaDb, MariaDbOptions, MariaDbPlan};
pub use crate::redis::{RedisOptions, RedisPlan, RedisServer};
pub use crate::replicated::ReplicatedMariaDb;
pub use crate::resp::{Connection, Reply};
pub use crate::rocketmq::{
    BrokerPlan, NameServerPlan, QUEUES, RocketMq, RocketMqOptions, RocketMqTls, RocketMqUser, TOPICS,
};
pub use crate::sentinel::{SENTINEL_SERVICE, SentinelPlan, SentinelRedis};
pub use crate::server::{Plan, Server};
pub use crate::stack::{Condition, Extra, Stack, Status};
