//! Running other programs: announced before they start, bounded in time, ended by their process id.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program is looked at.
const POLL_MS: u64 = 50;
/// How long a program's output may trickle in after its end, from children that it left behind.
const OUTPUT_GRACE_MS: u64 = 2_000;

/// How the variables begin that tell a program of the package that cargo runs it for.
const OF_A_PACKAGE: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// A child that does not outlive its owner.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only when the child is already gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command with its output on ours; an error unless it exits with 0 within `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<()> {
    announce(command);
    let mut child = spawn(command)?;
    let status = wait(&mut child, Instant::now() + limit, command)?;
    check(command, status)
}

/// Runs a command and hands over each line of its standard output as it comes; returns how it ended.
pub(crate) fn run_lines(command: &mut Command, limit: Duration, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    announce(command);
    let deadline = Instant::now() + limit;
    let mut child = spawn(command.stdout(Stdio::piped()))?;
    let output = child.0.stdout.take().context("standard output was not piped")?;
    let (sender, lines) = mpsc::channel();
    // Ends with the pipe. When someone left behind holds the pipe open, it ends with this program.
    std::thread::spawn(move || {
        for text in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(POLL_MS)) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        match ended {
            Some((_, at)) if at.elapsed() > Duration::from_millis(OUTPUT_GRACE_MS) => break,
            Some(_) => {}
            None => ended = child.0.try_wait()?.map(|status| (status, Instant::now())),
        }
        if ended.is_none() && Instant::now() > deadline {
            bail!("{} was ended after {} s", shown(command), limit.as_secs());
        }
    }
    match ended {
        Some((status, _)) => Ok(status),
        None => wait(&mut child, deadline, command),
    }
}

/// Runs a command quietly and returns its standard output; an error unless it exits with 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    check(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Lets a `cargo` below this program be as one that a person calls, with this target folder.
pub(crate) fn as_called(cargo: &mut Command, target: &Path) {
    cargo.env("CARGO_TARGET_DIR", target);
    // Set for this program by `cargo run`. The tools below must find their own, and build scripts that look at them
    // (ring's does) would run again, with all that depends on them.
    cargo.env_remove("CARGO");
    for (variable, _) in env::vars_os() {
        if OF_A_PACKAGE.iter().any(|start| variable.as_encoded_bytes().starts_with(start.as_bytes())) {
            cargo.env_remove(variable);
        }
    }
}

/// Cargo in the checkout that this program was called for, and its target folder.
pub(crate) fn cargo_here() -> Result<(Command, PathBuf)> {
    // This program itself lies where cargo puts them, in the profile that it was built with.
    let own = env::current_exe().context("where this program is")?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target folder")?;
    // At run time, as the workplace of the checks: checkouts that share a target folder share this program's file.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("call me as `cargo xtask`")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(manifest);
    as_called(&mut cargo, target);
    Ok((cargo, target.to_owned()))
}

/// Whether a program is there and answers `--version` (or what else is given) with success.
pub(crate) fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts a command without input; it ends with the returned guard.
pub(crate) fn spawn(command: &mut Command) -> Result<Guarded> {
    command.stdin(Stdio::null());
    command.spawn().map(Guarded).with_context(|| format!("cannot run {}", shown(command)))
}

/// An error that names the command unless it ended with 0.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

fn wait(child: &mut Guarded, deadline: Instant, command: &Command) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.0.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            bail!("{} took too long and was ended", shown(command));
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}

fn announce(command: &Command) {
    println!("$ {}", shown(command));
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn every_line_is_handed_over_and_the_end_is_told() {
        let mut lines = Vec::new();
        let status = run_lines(&mut shell("echo one; echo two; exit 3"), Duration::from_secs(20), |line| {
            lines.push(line.to_owned());
        });
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_program_past_its_limit_is_ended() {
        let started = Instant::now();
        let error = run(&mut shell("exec sleep 60"), Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("took too long"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut shell("exit 1"), Duration::from_secs(20)).unwrap_err();
        assert!(error.to_string().contains("sh -c exit 1"), "{error}");
    }
}
