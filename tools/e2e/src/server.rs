//! One real `ringway up`: started, killed, started again on the same ports and data folder.
//!
//! Owns the process and its folder; dropping a [`Server`] kills the one and removes the other, also while
//! a test panics, and then shows the end of what the process logged. Calls block the calling thread for
//! as long as a start or an exit takes: they belong on a test's own thread.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::program;

/// A start takes a second at most; a loaded machine gets more.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often an exit is looked for.
const POLL: Duration = Duration::from_millis(10);
/// How much of the log is shown when a test fails.
const LOG_SHOWN_BYTES: u64 = 16 * 1024;

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--shards`; 0 leaves it to the server.
    pub shards: u16,
    /// The configuration file's text.
    pub config: String,
    /// A data folder that stays; `None`: one of its own, which goes with it.
    pub data: Option<PathBuf>,
}

/// Where it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// WebSocket.
    pub ws: SocketAddr,
    /// HTTP API.
    pub api: SocketAddr,
    /// Admin listener.
    pub admin: SocketAddr,
}

/// The ready line.
#[derive(Debug, Deserialize)]
struct ReadyLine {
    ready: Ready,
}

#[derive(Debug, Deserialize)]
struct Ready {
    ws: String,
    api: String,
    admin: String,
    page: String,
}

/// A server; see the module's head.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    addresses: Option<Addresses>,
    settings: Settings,
    folder: TempDir,
}

impl Server {
    /// A server on free ports with an empty data folder, ready.
    ///
    /// # Errors
    /// It did not become ready; what it logged is part of the error.
    pub fn start() -> Result<Self> {
        Self::start_with(Settings::default())
    }

    /// The same, with settings.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(settings: Settings) -> Result<Self> {
        let mut server = Self::prepare(settings)?;
        server.launch()?;
        Ok(server)
    }

    /// A folder for a server that [`Server::launch`] starts later.
    ///
    /// # Errors
    /// The file system refused.
    pub fn prepare(settings: Settings) -> Result<Self> {
        // Beside the test, which lies on a disk: a temporary folder may be memory.
        let own = std::env::current_exe()?;
        let parent = own.parent().context("the test is in no folder")?;
        let folder = tempfile::Builder::new().prefix("ringway-e2e-").tempdir_in(parent)?;
        std::fs::write(folder.path().join("ringway.toml"), &settings.config)?;
        Ok(Self { child: None, addresses: None, settings, folder })
    }

    /// Starts the process, on the ports it had before if it had any, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn launch(&mut self) -> Result<()> {
        let mut command = self.command()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("standard output was not piped")?;
        self.child = Some(child);
        let (first, line) = mpsc::channel();
        // Reads on until the process ends, so that the pipe never breaks under it.
        thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                // Only the first line is waited for.
                let _ = first.send(text);
            }
        });
        let line = line.recv_timeout(START_LIMIT).map_err(|_| anyhow!("not ready; it logged:\n{}", self.logged()))?;
        let ReadyLine { ready } = serde_json::from_str(&line).with_context(|| format!("first line {line:?}"))?;
        let ws = ready.ws.strip_suffix("/v1/ws").with_context(|| format!("no WebSocket address: {}", ready.ws))?;
        let found = Addresses { ws: address(ws)?, api: address(&ready.api)?, admin: address(&ready.admin)? };
        if address(ready.page.trim_end_matches('/'))? != found.api {
            bail!("the page is at {}, not at {}", ready.page, ready.api);
        }
        if self.addresses.is_some_and(|before| before != found) {
            bail!("it came back at {found:?}");
        }
        self.addresses = Some(found);
        Ok(())
    }

    /// Where it serves.
    ///
    /// # Panics
    /// Before the first launch: a mistake of the test.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test that asks too early is to fail")]
    pub fn addresses(&self) -> Addresses {
        self.addresses.expect("the server was launched")
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("no server runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM; the exit is for [`Server::wait_exit`].
    ///
    /// # Errors
    /// It does not run.
    pub fn terminate(&mut self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::TERM)?)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let child = self.child.as_mut().context("no server runs")?;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("still running after {limit:?}");
            }
            thread::sleep(POLL);
        }
    }

    /// Memory of the process in bytes: what is resident, and the most that ever was.
    ///
    /// # Errors
    /// It does not run.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.pid()?.as_raw_nonzero());
        let status = std::fs::read_to_string(path)?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            let kilobytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(kilobytes * 1024)
        };
        Ok((field("VmRSS")?, field("VmHWM")?))
    }

    /// The process id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<Pid> {
        let child = self.child.as_ref().context("no server runs")?;
        Pid::from_raw(i32::try_from(child.id())?).context("process id 0")
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.settings.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Another command of the program, to run to its end.
    ///
    /// # Errors
    /// The program was not found.
    pub fn tool(arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::ringway()?);
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// The end of what it logged.
    #[must_use]
    pub fn logged(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.log())?;
            let from = file.metadata()?.len().saturating_sub(LOG_SHOWN_BYTES);
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// `ringway up` with this server's arguments.
    ///
    /// # Errors
    /// The program was not found.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(program::ringway()?);
        command.arg("up").arg("--config").arg(self.folder.path().join("ringway.toml"));
        command.arg("--data").arg(self.data());
        let free = "127.0.0.1:0".to_owned();
        let before = |of: fn(Addresses) -> SocketAddr| {
            self.addresses.map_or_else(|| free.clone(), |addresses| of(addresses).to_string())
        };
        command.arg("--listen").arg(before(|at| at.ws));
        command.arg("--api").arg(before(|at| at.api));
        command.arg("--admin").arg(before(|at| at.admin));
        if self.settings.shards > 0 {
            command.arg("--shards").arg(self.settings.shards.to_string());
        }
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is already gone.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("---- the server's log ----\n{}\n---- end of the log ----", self.logged());
        }
    }
}

/// The address of an URL without a path.
fn address(url: &str) -> Result<SocketAddr> {
    let (_, authority) = url.split_once("://").with_context(|| format!("no URL: {url}"))?;
    authority.parse().with_context(|| format!("no address: {url}"))
}
