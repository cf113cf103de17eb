//! A process that was started for a share of the people: what it hears from the one that started it, and tells it.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::{CONNECTED, GO};
use crate::people::Person;

/// The process that started this one.
pub(crate) struct Parent {
    lines: Receiver<String>,
}

impl Parent {
    /// Listens on standard input.
    pub(crate) fn listen() -> Self {
        let (say, lines) = channel();
        // It ends with the process, or when the parent is gone.
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// This process's share of the people; waits for it.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn people(&self) -> anyhow::Result<Vec<Person>> {
        let line = self.lines.recv().context("the process that started this one is gone")?;
        serde_json::from_str(&line).context("the people of this process")
    }

    /// Everybody is authenticated.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn say_connected(&self) -> anyhow::Result<()> {
        say(CONNECTED)
    }

    /// Whether this process's part begins.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn says_go(&self) -> anyhow::Result<bool> {
        match self.lines.try_recv() {
            Ok(line) => {
                ensure!(line == GO, "the process that started this one says {line:?}");
                Ok(true)
            }
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => bail!("the process that started this one is gone"),
        }
    }

    /// What this process found.
    ///
    /// # Errors
    /// The parent is gone.
    pub(crate) fn tell(&self, figures: &impl Serialize) -> anyhow::Result<()> {
        say(&serde_json::to_string(figures)?)
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
