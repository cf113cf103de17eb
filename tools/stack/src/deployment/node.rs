//! Ringway's own processes, started like any other server: a gateway, a persist daemon, or the API.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::server::Plan;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// `ringway-gateway`.
    Gateway,
    /// `ringway-persist`.
    Persist,
    /// `ringway-api`.
    Api,
}

impl NodeKind {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Gateway => "ringway-gateway",
            Self::Persist => "ringway-persist",
            Self::Api => "ringway-api",
        }
    }
}

/// How one of them is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePlan {
    pub(super) kind: NodeKind,
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// The program's file.
    pub(super) program: PathBuf,
    /// Where clients connect, or the API serves; unused by a persist daemon.
    pub(super) port: u16,
    /// Health and metrics.
    pub(super) admin_port: u16,
    /// The configuration file's text.
    pub(super) config: String,
}

impl NodePlan {
    /// Which program it is.
    #[must_use]
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Where clients connect, or the API serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin_port))
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }
}

impl Plan for NodePlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        ensure!(self.program.is_file(), "there is no {}: build it first", self.program.display());
        fs::write(self.config_file(), &self.config).context("cannot write its configuration")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.config_file()).current_dir(&self.folder);
        Ok(command)
    }

    fn ask(&self, _pid: u32) -> Result<()> {
        let (status, body) = get(self.admin(), "/readyz")?;
        if status != 200 {
            bail!("/readyz answers {status}: {body}");
        }
        Ok(())
    }
}

/// One plain request.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no whole answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.trim().to_owned()))
}
