//! The chores as a script calls them, and a place for what they start that is empty afterwards, whatever happens.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// Runs a chore on a folder to its end.
pub(crate) fn xtask(words: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).arg("--dir").arg(folder).stdin(Stdio::null());
    command.output().unwrap()
}

/// What it printed, which is one line of JSON.
pub(crate) fn only_line(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

/// Ends a stack and removes the folder it is in, also when the test fails, and when its process is killed: a shell
/// waits for the end of a pipe that only the test holds open.
pub(crate) struct Place {
    parent: PathBuf,
    remover: Child,
}

impl Place {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let parent = env::temp_dir().join(format!("ringway-stack-test.{}.{number}", std::process::id()));
        fs::create_dir(&parent).unwrap();
        let script = r#"read -r _; "$0" stack down --dir "$1/stack" 2>/dev/null; rm -rf -- "$1""#;
        let mut remover = Command::new("sh");
        remover.args(["-c", script, env!("CARGO_BIN_EXE_xtask")]).arg(&parent).process_group(0);
        let remover = remover.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { parent, remover }
    }

    /// Where the stack goes; it is not there yet.
    pub(crate) fn folder(&self) -> PathBuf {
        self.parent.join("stack")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        self.remover.wait().unwrap();
    }
}

/// The processes that were given a file of this folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<u32> {
    let name = folder.to_str().unwrap();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // The shell above is given the parent alone.
        String::from_utf8_lossy(&words).contains(&format!("{name}/"))
    })
    .collect()
}

/// Whether a process is no more; one that waits to be cleared away is not.
pub(crate) fn is_gone(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z ") || state.contains(") X ")
}
