//! Tables of keys for the production parts, and what the parts are told of them.
//!
//! Passwords are no keys: they lie in files of their own, so that no printed configuration shows one.

mod keys;
mod mysql;
mod otlp;
mod redis;
mod rocketmq;

use std::path::PathBuf;

pub use keys::{Peers, Tokens};
pub use mysql::MySql;
pub use otlp::Otlp;
pub use redis::Redis;
pub use ringway_service::sections::secret;
pub use rocketmq::RocketMq;

/// The empty text stands for none.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Two files that belong together.
///
/// # Errors
/// Names the keys when only one is given.
fn pair(
    keys: &str,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    if certificate.is_some() != key.is_some() {
        anyhow::bail!("{keys} belong together: one of them is empty");
    }
    Ok(certificate.cloned().zip(key.cloned()))
}
