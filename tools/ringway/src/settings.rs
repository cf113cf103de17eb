//! The arguments by which commands find the configuration and the data folder.

use std::path::PathBuf;

use clap::Args;
use ringway_service::config::Sources;

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; `ringway config` prints one with every key
    #[arg(long, env = "RINGWAY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The sources of the configuration.
    pub(crate) fn sources(&self) -> Sources {
        Sources::new(self.config.clone())
    }
}

/// Where configuration and data folder are.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Data folder [default: ./ringway-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataArgs {
    /// The sources of the configuration, with the data folder among them.
    pub(crate) fn sources(&self) -> Sources {
        let data = self.data.as_ref().map(|folder| folder.display());
        self.config.sources().flag("data.folder", "--data", data)
    }
}
