//! Logs: on standard error, for people or as JSON, with a level that a reload may change.
//!
//! No thread that logs ever waits for whoever reads standard error: lines go through a bounded queue to a
//! thread of their own (see `writer`).

mod writer;

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::LogFormat;
use writer::Lines;

/// The running log.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    lines: Lines,
}

/// Starts logging as configured.
///
/// # Errors
/// The level cannot be read, or no thread can be started.
pub fn start(config: &crate::sections::Log) -> anyhow::Result<Log> {
    let lines = Lines::start().context("cannot start the log's thread")?;
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let target = lines.clone();
    let writer = move || target.clone();
    let layer = match config.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(writer).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init().context("logging is set up twice")?;
    Ok(Log { filter: handle, lines })
}

impl Log {
    /// Changes the level.
    ///
    /// # Errors
    /// It cannot be read; the old one stays.
    pub fn set_level(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(filter(level)?)?)
    }

    /// Waits a moment until what was logged is written.
    pub fn flush(&self) {
        self.lines.flush();
    }
}

/// Reads a level for all, or levels of modules: `info`, `warn,ringway_gateway=debug`.
///
/// # Errors
/// It is neither. Stricter than the library, to which a mistyped level is the name of a module.
pub fn filter(level: &str) -> anyhow::Result<Targets> {
    let is_level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    let is_known = |part: &str| match part.split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level),
        None => is_level(part),
    };
    if let Some(part) = level.split(',').find(|part| !is_known(part)) {
        bail!("log.level {level:?}: {part:?} is neither a level nor module=level");
    }
    level.parse().with_context(|| format!("log.level {level:?}"))
}
