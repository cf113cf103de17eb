//! One server process: started, signalled and ended by its id.
//!
//! An owned process ends with its handle, and by the kernel's parent-death signal when ours dies without dropping it.
//! That signal comes when the *thread* that started the process ends, so one thread that never ends starts them all.
//! A detached process has a session of its own and lives until somebody ends it by its id. Its environment names the
//! folder of its stack, by which it is found when its id was not written down.
//!
//! An id is a number and the moment the process began: a number that was given to another process since is never
//! signalled.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::programs;

/// How often an end is looked for.
const POLL: Duration = Duration::from_millis(10);
/// How long the kernel may take to clear a killed process away: one that writes to a slow disk takes a while.
const KILLED_LIMIT: Duration = Duration::from_secs(30);

/// The variable that names a detached process's stack.
const MARK: &str = "RINGWAY_STACK_FOLDER";

/// How long a process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// As long as its handle.
    Owned,
    /// Until it is ended by its id; it is part of the stack in this folder.
    Detached(PathBuf),
}

/// Which process is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pid: u32,
    /// Clock ticks from the machine's start to the process's.
    began: u64,
}

impl ProcessId {
    /// The number.
    pub(crate) fn number(self) -> u32 {
        self.pid
    }

    /// Whether it is there; one that ended and waits to be cleared away is not. Its first thread may have ended while
    /// others still hold its ports and files: then it is there.
    pub(crate) fn is_running(self) -> bool {
        look(self.pid).is_some_and(|seen| seen.began == self.began && (seen.threads > 1 || !"ZX".contains(seen.state)))
    }

    /// Sends a signal, unless the process is gone.
    fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            bail!("process {} does not run", self.pid);
        }
        let pid = Pid::from_raw(i32::try_from(self.pid)?).context("process id 0")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal process {}", self.pid))
    }
}

/// What the kernel's table says of a process.
struct Seen {
    /// Of its first thread.
    state: char,
    threads: u32,
    began: u64,
}

fn look(pid: u32) -> Option<Seen> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets, which may hold anything; the state is the third, the number of threads
    // the 20th, the start the 22nd.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let threads = fields.nth(16)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    Some(Seen { state, threads, began })
}

/// A process that we started, or one of an earlier run that we found again.
#[derive(Debug)]
pub(crate) struct Process {
    id: ProcessId,
    /// Ours to reap; an earlier run's are not.
    child: Option<Child>,
    is_owned: bool,
}

impl Process {
    /// Starts a program in the background with its output on `log`.
    pub(crate) fn start(command: &Command, life: &Life, log: File) -> Result<Self> {
        let (wrapper, arguments): (&str, &[&str]) = match life {
            Life::Owned => ("setpriv", &["--pdeathsig", "KILL", "--"]),
            Life::Detached(_) => ("setsid", &["--"]),
        };
        // Both become the program they are given, under the same process id.
        let mut wrapped = Command::new(programs::find(wrapper, "util-linux")?);
        wrapped.args(arguments).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        if let Life::Detached(stack) = life {
            wrapped.env(MARK, stack);
        }
        wrapped.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn(wrapped).with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let Seen { began, .. } = look(child.id()).context("a process that was just started is not there")?;
        let is_owned = matches!(life, Life::Owned);
        Ok(Self { id: ProcessId { pid: child.id(), began }, child: Some(child), is_owned })
    }

    /// The detached process of an earlier run.
    pub(crate) fn adopt(id: ProcessId) -> Self {
        Self { id, child: None, is_owned: false }
    }

    /// The detached processes of the stack in a folder, whoever started them.
    pub(crate) fn marked(stack: &Path) -> Result<Vec<Self>> {
        let mark = [MARK.as_bytes(), b"=", stack.as_os_str().as_bytes()].concat();
        let program = [stack.as_os_str().as_bytes(), b"/"].concat();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Another user's, or one that has just ended, cannot be read and is not ours.
            let read = |what: &str| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            // Redis writes its title over its environment; its program lies in the folder.
            let is_marked = read("environ").split(|byte| *byte == 0).any(|variable| variable == mark);
            if (is_marked || read("cmdline").starts_with(&program))
                && let Some(Seen { began, .. }) = look(pid)
            {
                found.push(Self::adopt(ProcessId { pid, began }));
            }
        }
        Ok(found)
    }

    /// Which it is.
    pub(crate) fn id(&self) -> ProcessId {
        self.id
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !self.id.is_running(),
        }
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) -> Result<()> {
        self.id.signal(if paused { Signal::STOP } else { Signal::CONT })
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Result<()> {
        if !self.has_ended() {
            self.id.signal(Signal::TERM)?;
        }
        self.wait(limit)
    }

    /// Ends it at once, paused or not, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) => child.kill()?,
            // An error here means that it is gone, or is not ours, which the wait below tells apart.
            None => drop(self.id.signal(Signal::KILL)),
        }
        self.wait(KILLED_LIMIT)
    }

    fn wait(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.has_ended() {
            if Instant::now() > deadline {
                bail!("process {} did not end within {} s", self.id.pid, limit.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_owned
            && let Some(child) = &mut self.child
        {
            // Both fail only when it is already gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a child from the thread that starts them all.
fn spawn(command: Command) -> Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in jobs {
                // The one who asked waits for the answer.
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    starter.send((command, reply)).map_err(|_| anyhow!("the thread that starts processes has ended"))?;
    Ok(answer.recv()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(life: &Life) -> Process {
        let log = File::options().write(true).open("/dev/null").unwrap();
        Process::start(Command::new("sleep").arg("600"), life, log).unwrap()
    }

    #[test]
    fn an_owned_process_ends_with_its_handle() {
        let process = sleeper(&Life::Owned);
        let id = process.id();
        assert!(id.is_running());
        drop(process);
        assert!(!id.is_running());
    }

    #[test]
    fn an_owned_process_outlives_the_thread_that_asked_for_it() {
        let process = thread::spawn(|| sleeper(&Life::Owned)).join().unwrap();
        assert!(process.id().is_running());
    }

    #[test]
    fn a_detached_process_is_found_again_and_ended() {
        let process = sleeper(&Life::Detached("/a/stack".into()));
        let id = process.id();
        drop(process);
        assert!(id.is_running());
        let mut found = Process::adopt(id);
        assert!(!found.has_ended());
        found.kill().unwrap();
        assert!(!id.is_running());
    }

    #[test]
    fn a_detached_process_whose_id_is_lost_is_found_by_its_stack() {
        let folder = tempfile::tempdir().unwrap();
        let process = sleeper(&Life::Detached(folder.path().to_owned()));
        let id = process.id();
        drop(process);
        assert!(Process::marked(&folder.path().join("other")).unwrap().is_empty());
        let mut found = Process::marked(folder.path()).unwrap();
        assert_eq!(found.iter().map(Process::id).collect::<Vec<_>>(), [id]);
        found[0].kill().unwrap();
        assert!(Process::marked(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn a_number_that_went_to_another_process_is_not_signalled() {
        let process = sleeper(&Life::Owned);
        let other = ProcessId { began: process.id().began + 1, ..process.id() };
        Process::adopt(other).kill().unwrap();
        assert!(process.id().is_running() && !other.is_running());
    }

    #[test]
    fn a_paused_process_can_be_killed() {
        let mut process = sleeper(&Life::Owned);
        process.pause(true).unwrap();
        assert!(!process.has_ended());
        process.kill().unwrap();
        assert!(process.has_ended());
    }
}
