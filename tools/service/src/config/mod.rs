//! The configuration: tables of keys, and what is made of them.
//!
//! [`keys!`](crate::keys) makes a table of keys, [`settings!`](crate::settings) a process's configuration of
//! tables; [`Sources`] read file, environment and arguments; [`print()`] writes the file that a `config` command
//! shows; [`reload`] follows the sources. A key that is in no table is an error wherever it turns up.

mod key;
mod nearest;
mod print;
mod reload;
#[cfg(test)]
pub(crate) mod sample;
mod source;
mod tables;
mod value;

pub use key::{Key, Keys, Settings, changed};
pub use print::print;
pub use reload::reload;
pub use source::Sources;
pub use toml::Value;
pub use value::{LogFormat, Raw, Setting};
