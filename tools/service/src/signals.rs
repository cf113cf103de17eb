//! What asks a process to end, or to read its configuration again.
//!
//! | Signal | Answer |
//! |---|---|
//! | SIGTERM, SIGINT | drain and end with exit code 0; a second one ends the process at once |
//! | SIGHUP | read the configuration again; what may change does |

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals of this process, from the moment of [`Signals::new`] on.
#[derive(Debug)]
pub struct Signals {
    /// The ones that ask for the end.
    pub ends: EndSignals,
    /// SIGHUP.
    pub hangup: Signal,
}

impl Signals {
    /// Listens. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refused a handler.
    pub fn new() -> std::io::Result<Self> {
        let ends =
            EndSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { ends, hangup: signal(SignalKind::hangup())? })
    }
}

/// The signals that ask for the end.
#[derive(Debug)]
pub struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    /// Returns the name of the next one. A dropped call loses none.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Has the next one end the process at once, while it drains for the first.
    pub fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(signal = name, "told to end again: at once");
            // Nothing acknowledged is lost by it; the next start recovers.
            std::process::exit(1);
        });
    }
}
