//! What all servers have in common: a plan that starts them, and the handle of the running process.
//!
//! ```text
//!            start                 kill, terminate, its own end
//!  (nothing) ─────► serves ──────────────────────────────────────► away
//!                   │    ▲                                          │
//!              pause│    │resume          restart: same ports,      │
//!                   ▼    │                same files or none        │
//!                   paused   ◄──────────────────────────────────────┘
//!                            (to "serves")
//! ```
//!
//! A server "serves" when it answered a command, not when its port opened.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::ports::Reserved;
use crate::process::{Life, Process, ProcessId};

/// How often a starting server is asked.
const POLL: Duration = Duration::from_millis(20);
/// How long a start may take. The slowest takes 3 s here; a loaded machine gets more.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long an orderly end may take: the slowest takes 15 s.
const TERMINATE_LIMIT: Duration = Duration::from_secs(60);
/// How much of a log is shown.
const LOG_SHOWN_BYTES: u64 = 8 * 1024;

/// How one sort of server is started. All of it can be written down and read back, so that a server can be started
/// again by another process.
pub trait Plan {
    /// What to call it in messages, and its log.
    fn name(&self) -> &str;

    /// Where its files are.
    fn folder(&self) -> &Path;

    /// Makes the files that it wants to find; called before every start.
    ///
    /// # Errors
    /// The file system refused, or a program is missing.
    fn prepare(&self) -> Result<()>;

    /// The program with its arguments, staying in the foreground.
    ///
    /// # Errors
    /// The program is missing.
    fn command(&self) -> Result<Command>;

    /// Asks the process of this id once, and does what must be done after each start before others may use it.
    ///
    /// # Errors
    /// It does not serve yet.
    fn ask(&self, pid: u32) -> Result<()>;
}

/// A server that was started by a plan; see the module's head.
#[derive(Debug)]
pub struct Server<P: Plan> {
    plan: P,
    process: Option<Process>,
    life: Life,
    /// Keeps the ports ours while the server is away.
    _ports: Option<Reserved>,
}

impl<P: Plan> Server<P> {
    /// Starts what was planned and waits until it serves.
    pub(crate) fn start_planned(plan: P, life: Life, ports: Option<Reserved>) -> Result<Self> {
        let mut server = Self::planned(plan, life, ports);
        server.begin()?;
        server.wait_until_serves()?;
        Ok(server)
    }

    /// One that is not started yet.
    pub(crate) fn planned(plan: P, life: Life, ports: Option<Reserved>) -> Self {
        Self { plan, process: None, life, _ports: ports }
    }

    /// One that another process of ours started, as part of the stack in a folder.
    pub(crate) fn found(plan: P, process: Option<Process>, stack: &Path) -> Self {
        Self { plan, process, life: Life::Detached(stack.to_owned()), _ports: None }
    }

    /// Which process it is, if it was started and not ended by us.
    pub(crate) fn process_id(&self) -> Option<ProcessId> {
        self.process.as_ref().map(Process::id)
    }

    /// Starts the process without waiting for it to serve.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let name = self.plan.name();
        let folder = self.plan.folder();
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.plan.prepare().with_context(|| format!("cannot prepare {name}"))?;
        let command = self.plan.command()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        self.process = Some(Process::start(&command, &self.life, log)?);
        Ok(())
    }

    /// Waits until the process serves; one that does not is ended, since nobody else might.
    pub(crate) fn wait_until_serves(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let Err(unready) = self.ask() else { return Ok(()) };
            let why = if !self.is_running() {
                format!("ended at once ({unready:#})")
            } else if Instant::now() > deadline {
                format!("does not serve after {} s ({unready:#})", START_LIMIT.as_secs())
            } else {
                thread::sleep(POLL);
                continue;
            };
            self.end()?;
            bail!("{} {why}; it logged:\n{}", self.plan.name(), self.logged());
        }
    }

    /// Asks once whether it serves.
    pub(crate) fn ask(&self) -> Result<()> {
        self.plan.ask(self.pid()?)
    }

    /// How it was started.
    #[must_use]
    pub fn plan(&self) -> &P {
        &self.plan
    }

    /// The process id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.id().number())
    }

    /// Whether the process is there, paused or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.id().is_running())
    }

    /// `kill -9`, and waits for the end.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.running()?;
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// It does not run, or does not end within a minute.
    pub fn terminate(&mut self) -> Result<()> {
        self.running()?;
        if let Some(process) = &mut self.process {
            process.terminate(TERMINATE_LIMIT)?;
        }
        self.process = None;
        Ok(())
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.running()?.pause(true)
    }

    /// SIGCONT, after [`Server::pause`].
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.running()?.pause(false)
    }

    /// Starts it again on its ports and with its files, killed before if it still ran, and waits until it serves.
    ///
    /// # Errors
    /// It does not serve; what it logged is part of the error.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.begin()?;
        self.wait_until_serves()
    }

    /// Starts it again on its ports with nothing that it knew before, killed before if it still ran, and waits until
    /// it serves.
    ///
    /// # Errors
    /// As [`Server::restart`].
    pub fn restart_empty(&mut self) -> Result<()> {
        self.empty()?;
        self.restart()
    }

    /// Ends it and removes its files.
    pub(crate) fn empty(&mut self) -> Result<()> {
        self.end()?;
        let folder = self.plan.folder();
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))
    }

    /// The end of what it logged.
    #[must_use]
    pub fn logged(&self) -> String {
        last_bytes(&self.log()).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Ends the process if there is one.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    fn running(&self) -> Result<&Process> {
        let process = self.process.as_ref().filter(|process| process.id().is_running());
        process.with_context(|| format!("{} does not run", self.plan.name()))
    }

    fn log(&self) -> PathBuf {
        self.plan.folder().join(format!("{}.log", self.plan.name()))
    }
}

impl<P: Plan> Drop for Server<P> {
    fn drop(&mut self) {
        // A test that fails because its server ended by itself wants to know.
        if thread::panicking() && self.process.is_some() && !self.is_running() {
            eprintln!("---- {} ended by itself; its log: ----\n{}\n----", self.plan.name(), self.logged());
        }
    }
}

fn last_bytes(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LOG_SHOWN_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
