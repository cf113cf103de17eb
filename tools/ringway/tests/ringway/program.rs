//! The program under test: commands that end, and nodes that serve.
//!
//! A [`Node`] owns its process and kills it when dropped, also while a test panics. What it logs is gathered
//! by a thread, so that tests wait for lines and not for time.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes a second; a loaded machine gets more.
const LIMIT: Duration = Duration::from_secs(60);

/// The program with no configuration but ours.
pub(crate) fn ringway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RINGWAY_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    ringway(arguments).output().unwrap()
}

/// Runs a command that must fail with this code and one line that contains the text.
pub(crate) fn check_fails(command: &mut Command, code: i32, expected: &str) {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    // Logs come before the one line that says why it ended.
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("ringway: ")).collect();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(lines.len() == 1 && lines[0].contains(expected), "{expected:?} is not in: {error}");
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
}

/// A running `ringway up`.
pub(crate) struct Node {
    child: Child,
    log: Receiver<String>,
    /// The ready line.
    pub(crate) ready_line: String,
    /// What stands in it.
    pub(crate) ready: serde_json::Value,
}

impl Node {
    /// A node on free ports, ready.
    pub(crate) fn start(data: &Path, further: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let ports = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut command = ringway(&["up", "--data", data, "--shards", "1"]);
        command.args(ports).args(further).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = gather(child.stderr.take().unwrap());
        let output = gather(child.stdout.take().unwrap());
        let ready_line = output.recv_timeout(LIMIT).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("no ready line: {:?}", lines.try_iter().collect::<Vec<_>>())
        });
        let ready = serde_json::from_str::<serde_json::Value>(&ready_line).unwrap()["ready"].clone();
        Self { child, log: lines, ready_line, ready }
    }

    /// One of its addresses.
    pub(crate) fn url(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap().to_owned()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it logs a line with this text.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("{text:?} was never logged"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; how it ended and how long that took.
    pub(crate) fn wait(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let status = self.child.wait().unwrap();
        (status, begun.elapsed())
    }

    /// Kills it as a crash would.
    pub(crate) fn crash(self) {
        self.signal(Signal::KILL);
        let _ = self.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (lines, gathered) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // The test may be over.
            let _ = lines.send(line);
        }
    });
    gathered
}

/// A token for a user of a data folder.
pub(crate) fn token(data: &Path, user: &str) -> String {
    let output = run(&["token", "--data", data.to_str().unwrap(), "--user", user]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A runtime for clients.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.unwrap() })
}
