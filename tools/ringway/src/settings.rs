//! The arguments by which commands find the configuration and the data folder.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ringway_service::config::Sources;
use ringway_service::failure::Failure;

use crate::address_file::AddressFile;
use crate::config::Config;

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

    /// The admin listener of the node that serves the data folder.
    ///
    /// # Errors
    /// No node does.
    pub(crate) fn admin(&self) -> Result<String, Failure> {
        let config = self.sources().load::<Config>().map_err(Failure::Usage)?;
        let folder = &config.data.folder;
        let running = AddressFile::of_running(folder);
        let running =
            running.with_context(|| format!("no ringway serves {}: name one with --admin", folder.display()))?;
        Ok(running.ready.admin)
    }
}
