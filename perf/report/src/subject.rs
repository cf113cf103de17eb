//! Who is measured: how each is started on one processor, reached and stopped.
//!
//! A started subject owns its process and its folder; dropping it ends both.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::figures::OURS;
use crate::options::{Peers, RunOptions};
use crate::programs::Programs;

/// Relays without checks: what the kernel's work costs.
const FLOORS: [&str; 2] = ["floor_uring", "floor_epoll"];
/// Ours with one shard, where a run has several.
pub(crate) const ONE_SHARD: &str = "ringway_1_shard";
/// How long a server that is told to end may take.
const END: Duration = Duration::from_secs(20);

/// Somebody to measure.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What it is called in figures.
    pub(crate) name: String,
    /// What it is, and what is durable when it acknowledges.
    pub(crate) about: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// This program, with so many shards whatever a run says.
    Ringway(PathBuf, Option<usize>),
    /// By the script of `perf/peers`.
    Peer(Script),
}

/// `perf/peers/peer`, and what it is told of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    file: PathBuf,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Script {
    /// That of a checkout.
    pub(crate) fn of(programs: &Programs) -> Self {
        Self { file: programs.tree.join("perf/peers/peer"), environment: programs.relays.clone() }
    }

    fn told(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).args(arguments);
        command
    }

    fn call(&self, arguments: &[&str]) -> Command {
        self.told(Command::new(&self.file), arguments)
    }

    fn call_on(&self, cpus: &str, arguments: &[&str]) -> Command {
        self.told(pinned(&self.file, cpus), arguments)
    }
}

/// Ringway first, then the floors, then the peers that were asked for; all are installed.
///
/// # Errors
/// There is no peer of a name.
pub(crate) fn all(options: &RunOptions, programs: &Programs) -> Result<Vec<Subject>> {
    let script = Script::of(programs);
    let known = said(&mut script.call(&["list"]))?;
    let known: Vec<&str> = known.lines().filter(|name| !FLOORS.contains(name)).collect();
    let wanted: Vec<&str> = match &options.peers {
        Peers::None => Vec::new(),
        Peers::All => known.clone(),
        Peers::Named(names) => names.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("there is no peer {unknown}; there are {}", known.join(", "));
    }
    let ours = Subject::ringway(OURS, &programs.ringway)?;
    let one =
        Subject { name: ONE_SHARD.to_owned(), kind: Kind::Ringway(programs.ringway.clone(), Some(1)), ..ours.clone() };
    let mut subjects = vec![ours, one];
    for name in FLOORS.iter().chain(&wanted) {
        subjects.push(Subject::peer(name, &script)?);
    }
    Ok(subjects)
}

impl Subject {
    /// A build of Ringway.
    ///
    /// # Errors
    /// The program does not run.
    pub(crate) fn ringway(name: &str, program: &Path) -> Result<Self> {
        let version = said(Command::new(program).arg("--version"))?;
        let about = format!("{}; durable: the journal, flushed before `sent`", version.trim());
        Ok(Self { name: name.to_owned(), about, kind: Kind::Ringway(program.to_owned(), None) })
    }

    /// What `perf/peers` knows by this name; it is installed.
    ///
    /// # Errors
    /// It cannot be installed.
    pub(crate) fn peer(name: &str, script: &Script) -> Result<Self> {
        eprintln!("installing {name}");
        said(&mut script.call(&[name, "install"]))?;
        let about = said(&mut script.call(&[name, "about"]))?;
        let about = about.lines().collect::<Vec<_>>().join("; ");
        Ok(Self { name: name.to_owned(), about, kind: Kind::Peer(script.clone()) })
    }

    /// Whether it belongs to a run: ours with one shard only where a run has several.
    pub(crate) fn is_for(&self, options: &RunOptions) -> bool {
        options.shards > 1 || !matches!(self.kind, Kind::Ringway(_, Some(_)))
    }

    /// Whether it is somebody else's: not ours, and no floor.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Peer(_)) && !FLOORS.contains(&self.name.as_str())
    }

    /// Starts it where and as large as a run says, with an empty folder.
    ///
    /// # Errors
    /// It does not come up.
    pub(crate) fn start(&self, options: &RunOptions) -> Result<Running> {
        let folder = tempfile::Builder::new().prefix("ringway-perf-").tempdir().context("no temporary folder")?;
        match &self.kind {
            Kind::Ringway(program, shards) => {
                let options = RunOptions { shards: shards.unwrap_or(options.shards), ..options.clone() };
                start_ringway(program, &options, folder)
            }
            Kind::Peer(script) => self.start_peer(script, options.server_cpu, folder),
        }
        .with_context(|| format!("{} does not start", self.name))
    }

    fn start_peer(&self, script: &Script, cpu: usize, folder: TempDir) -> Result<Running> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let place = folder.path().display().to_string();
        let mut start = script.call_on(&cpu.to_string(), &[&self.name, "start", &place, &port.to_string()]);
        // From here on there may be something to stop.
        let mut running =
            Running { pid: 0, reach: Vec::new(), end: End::Peer(script.clone(), self.name.clone()), folder };
        said(&mut start)?;
        let pid = std::fs::read_to_string(running.folder.path().join("pid")).context("it left no process id")?;
        running.pid = pid.trim().parse().context("no process id")?;
        running.reach = [
            "--protocol",
            &self.name,
            "--url",
            &format!("ws://127.0.0.1:{port}/"),
            "--api",
            &format!("http://127.0.0.1:{port}"),
        ]
        .map(str::to_owned)
        .into();
        Ok(running)
    }
}

fn start_ringway(program: &Path, options: &RunOptions, folder: TempDir) -> Result<Running> {
    let any = "127.0.0.1:0";
    let mut command = pinned(program, &cpus(options));
    command.args([
        "up",
        "--shards",
        &options.shards.to_string(),
        "--listen",
        any,
        "--api",
        any,
        "--admin",
        any,
        "--data",
    ]);
    let data = folder.path().join("data");
    command.arg(&data).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let log = std::fs::File::create(folder.path().join("log"))?;
    let mut child = command.stderr(log).spawn().context("taskset")?;
    let pid = child.id();
    let output = child.stdout.take().context("no output")?;
    let mut running = Running { pid, reach: Vec::new(), end: End::Child(child), folder };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).with_context(|| running.log())?;
    let of = |key: &str| {
        let text = ready.pointer(&format!("/ready/{key}")).and_then(Value::as_str);
        text.map(str::to_owned).with_context(|| format!("{key} is missing in {line}"))
    };
    running.reach = ["ws", "api", "admin"]
        .into_iter()
        .zip(["--url", "--api", "--admin"])
        .map(|(key, flag)| Ok([flag.to_owned(), of(key)?]))
        .collect::<Result<Vec<_>>>()?
        .concat();
    running.reach.extend(["--data".to_owned(), data.display().to_string()]);
    Ok(running)
}

/// A processor a shard, none of them the load's, as far as the machine has them.
fn cpus(options: &RunOptions) -> String {
    let there = thread::available_parallelism().map_or(1, usize::from);
    let others = (0..there).filter(|cpu| ![options.server_cpu, options.load_cpu].contains(cpu));
    let all = [options.server_cpu].into_iter().chain(others).take(options.shards);
    all.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(",")
}

/// Somebody who runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// The server's process.
    pub(crate) pid: u32,
    /// Arguments that tell `ringway-load` where it is.
    pub(crate) reach: Vec<String>,
    end: End,
    folder: TempDir,
}

#[derive(Debug)]
enum End {
    Child(Child),
    Peer(Script, String),
}

impl Running {
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn stop(&mut self) -> Result<()> {
        match &mut self.end {
            End::Peer(script, name) => {
                let place = self.folder.path().display().to_string();
                said(&mut script.call(&[name.as_str(), "stop", &place])).map(drop)
            }
            End::Child(child) => {
                if child.try_wait()?.is_none() {
                    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
                    kill_process(pid, Signal::TERM)?;
                }
                let began = Instant::now();
                while child.try_wait()?.is_none() {
                    if began.elapsed() > END {
                        child.kill()?;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("what was started does not end: {error:#}");
        }
    }
}

/// A command on some processors, which its children inherit.
pub(crate) fn pinned(program: &Path, cpus: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cpus]).arg(program);
    command
}

/// Runs to the end and answers what was printed.
fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
