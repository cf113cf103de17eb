//! A program under test. A [`Program`] owns its process and kills it when dropped, also while a test panics. What it
//! logs is gathered by a thread, so that tests wait for lines and not for time.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes more than some seconds; a loaded machine gets more.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The promise of a drain.
const DRAIN: Duration = Duration::from_secs(10);

/// Names the folder of the programs to test.
const VARIABLE: &str = "RINGWAY_PRODUCTION_BINS";

/// The folder of the programs: named by the environment, else built once for all tests. A program left over from older
/// code would test nothing.
fn folder() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(named) = std::env::var_os(VARIABLE) {
            return named.into();
        }
        // A test runs from `<target>/<profile>/deps`, programs lie in `<target>/<profile>`.
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().unwrap().parent().unwrap().to_owned();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.env("CARGO_TARGET_DIR", folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        // What cargo tells of this package is no news of that build: some build scripts would run anew for it.
        for (variable, _) in std::env::vars_os().filter(|(variable, _)| is_of_this_package(variable)) {
            build.env_remove(variable);
        }
        let packages = ["ringway-gateway-bin", "ringway-persist-bin", "ringway-api-bin"];
        build.arg("build").args(packages.iter().flat_map(|package| ["--package", package]));
        assert!(build.status().unwrap().success());
        folder
    })
}

fn is_of_this_package(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|begin| variable.starts_with(begin))
}

/// A program with no configuration but ours.
pub(crate) fn command(name: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(folder().join(name));
    for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("RINGWAY_")) {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a program that must end by itself with this code and one line that contains the text.
pub(crate) fn check_fails(name: &str, arguments: &[String], code: i32, expected: &str) {
    let mut child = command(name, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{name} does not end: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    // Logs come before the one line that says why it ended.
    let own = format!("{name}: ");
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with(&own)).collect();
    assert_eq!(status.code(), Some(code), "{error}");
    assert!(lines.len() == 1 && lines[0].contains(expected), "{expected:?} is not in: {error}");
    assert!(stdout.is_empty(), "{:?}", String::from_utf8_lossy(&stdout));
}

/// A running program.
pub(crate) struct Program {
    name: String,
    child: Child,
    output: Receiver<String>,
    log: Receiver<String>,
}

impl Program {
    pub(crate) fn start(name: &str, arguments: &[String]) -> Self {
        let mut child = command(name, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, log) = (gather(child.stdout.take().unwrap()), gather(child.stderr.take().unwrap()));
        Self { name: name.to_owned(), child, output, log }
    }

    /// Waits until it is ready; what stands in the ready line.
    pub(crate) fn ready(&mut self) -> Value {
        self.says("ready")
    }

    /// Waits for its line on standard output; what stands in it under this name.
    pub(crate) fn says(&mut self, name: &str) -> Value {
        let line = self.output.recv_timeout(LIMIT).unwrap_or_else(|_| {
            let _ = self.child.kill();
            panic!("{} does not say {name:?}: {:#?}", self.name, self.log.try_iter().collect::<Vec<_>>())
        });
        serde_json::from_str::<Value>(&line).unwrap()[name].clone()
    }

    /// Waits until it has ended by itself, and well.
    pub(crate) fn ends(mut self) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "{} does not end: {:#?}", self.name, self.logged());
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{}: {status}: {:#?}", self.name, self.logged());
    }

    /// Waits until it logs a line with this text; every line before it is an object too.
    pub(crate) fn wait_for_log(&self, text: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("{text:?} was never logged"));
            let object: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            if line.contains(text) {
                return object;
            }
        }
    }

    /// Tells it to end; it does so in time, and well.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        let status = self.wait();
        let took = began.elapsed();
        assert!(status.success() && took < DRAIN, "{}: {status} after {took:?}: {:#?}", self.name, self.logged());
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    fn logged(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} logged ----\n{:#?}", self.name, self.logged());
        }
    }
}

fn gather(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, gathered) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // The test may be over.
            let _ = lines.send(line);
        }
    });
    gathered
}
