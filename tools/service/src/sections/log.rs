//! Where lines of the log go and how they look.

use crate::config::LogFormat;

crate::keys! {
    /// The section `log`.
    pub Log {
        level: String = "info".to_owned(), "", None, reload,
            "error, warn, info, debug or trace; single parts may differ, like \"info,ringway_gateway=debug\".";
        format: LogFormat = LogFormat::Text, "", None, restart,
            "\"text\" (coloured on a terminal) or \"json\" (one object a line).";
    }
}

impl Log {
    /// As processes that run under a supervisor log.
    #[must_use]
    pub fn json() -> Self {
        Self { format: LogFormat::Json, ..Self::default() }
    }

    /// Checks the level.
    ///
    /// # Errors
    /// Names the key and what cannot be read.
    pub fn check(&self) -> anyhow::Result<()> {
        crate::log::filter(&self.level).map(|_| ())
    }
}
