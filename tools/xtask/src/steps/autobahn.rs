//! Autobahn's conformance cases against the echo listener of a real `ringway up`.
//!
//! The suite itself is fetched and adapted by `tools/e2e/autobahn/prepare.py`. Its verdicts are judged here, strictly:
//! every case, and its way of closing, must be OK or informational; NON-STRICT is a failure; and no case may be
//! missing, so that a run which quietly did less cannot pass.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, Guarded};
use crate::tools;
use crate::workplace::Workplace;

/// The suite's cases without compression (its categories 12 and 13): Ringway negotiates no extension.
const CASES: usize = 301;
const PREPARE_LIMIT: Duration = Duration::from_secs(10 * 60);
const CASES_LIMIT: Duration = Duration::from_secs(15 * 60);
const READY_LIMIT: Duration = Duration::from_secs(30);

/// The suite, adapted to this machine's Python; prepared when it is missing or of another version.
pub(super) fn suite(workplace: &Workplace) -> Result<PathBuf> {
    let folder = workplace.cache.join("autobahn");
    let mut prepare = Command::new(tools::python()?);
    prepare.arg(workplace.root.join("tools/e2e/autobahn/prepare.py")).arg(&folder);
    process::run(&mut prepare, PREPARE_LIMIT)?;
    Ok(folder)
}

/// Runs all cases and judges them.
pub(super) fn conformance(workplace: &Workplace) -> Result<String> {
    let suite = suite(workplace)?;
    let programs = workplace.programs()?;
    let scratch = workplace.scratch.join("autobahn");
    fs::create_dir_all(&scratch)?;

    let mut up = Command::new(&programs.ringway);
    up.arg("up").arg("--data").arg(scratch.join("data"));
    for listener in ["--listen", "--api", "--admin", "--conformance-echo"] {
        up.args([listener, "127.0.0.1:0"]);
    }
    up.stderr(fs::File::create(workplace.artefacts.join("autobahn-ringway.log"))?);
    let (server, echo) = start(&mut up)?;

    let reports = workplace.artefacts.join("autobahn");
    // A report of an earlier run must not be taken for this one's.
    let _ = fs::remove_dir_all(&reports);
    let mut fuzz = Command::new(tools::python()?);
    fuzz.arg(workplace.root.join("tools/e2e/autobahn/fuzz.py")).arg(&suite).arg(&echo).arg(&reports);
    let log = workplace.artefacts.join("autobahn-cases.log");
    fuzz.stdout(fs::File::create(&log)?);
    let ran = process::run(&mut fuzz, CASES_LIMIT);
    drop(server);
    ran.with_context(|| format!("see {}", log.display()))?;
    judge(&read(&reports)?)
}

/// Starts a server and reads from its ready line where the echo listener is.
fn start(up: &mut Command) -> Result<(Guarded, String)> {
    let mut server = process::spawn(up.stdout(Stdio::piped()))?;
    let output = server.0.stdout.take().context("standard output was not piped")?;
    let (sender, lines) = mpsc::channel();
    // Reads to the end, so that the server never waits for room in the pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody waits for more than the first; the server's later words are let go.
            let _ = sender.send(line);
        }
    });
    let line = lines.recv_timeout(READY_LIMIT).context("the server printed no ready line")?;
    let ready: Value = serde_json::from_str(&line).with_context(|| format!("the ready line is no JSON: {line}"))?;
    let echo = ready.pointer("/ready/conformance_echo").and_then(Value::as_str);
    let echo = echo.with_context(|| format!("the ready line names no conformance_echo: {line}"))?;
    Ok((server, echo.to_owned()))
}

fn read(reports: &Path) -> Result<Value> {
    let index = reports.join("index.json");
    let text = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", index.display()))
}

/// Judges the suite's `index.json`: `{agent: {case: {behavior, behaviorClose, remoteCloseCode, …}}}`.
fn judge(index: &Value) -> Result<String> {
    let agents = index.as_object().context("the report is no object")?;
    let [cases] = agents.values().collect::<Vec<_>>()[..] else {
        bail!("the report is of {} servers, not of one", agents.len());
    };
    let cases = cases.as_object().context("the report of a server is no object")?;
    let mut offences = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, case) in cases {
        let word = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or("missing");
        let (behavior, close) = (word("behavior"), word("behaviorClose"));
        *counts.entry(behavior).or_default() += 1;
        let passes = |word: &str| matches!(word, "OK" | "INFORMATIONAL");
        if !passes(behavior) || !passes(close) {
            let code = case.get("remoteCloseCode").unwrap_or(&Value::Null);
            offences.push(format!("  case {id}: {behavior}, closing {close} (its close code: {code})"));
        }
    }
    if !offences.is_empty() {
        bail!("{} of {} cases are not strictly OK\n{}", offences.len(), cases.len(), offences.join("\n"));
    }
    if cases.len() != CASES {
        bail!("{} cases ran, not {CASES}", cases.len());
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    Ok(format!("{CASES} cases: {}", counts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A report of `CASES` cases, all well but for the given changes.
    fn report(changes: &[(usize, &str, &str)]) -> Value {
        let mut cases = serde_json::Map::new();
        for number in 0..CASES {
            let (mut behavior, mut close) = ("OK", "OK");
            for (changed, what, how) in changes {
                if *changed == number {
                    (behavior, close) = (what, how);
                }
            }
            let case = json!({"behavior": behavior, "behaviorClose": close, "remoteCloseCode": 1000, "duration": 2});
            cases.insert(format!("1.{number}"), case);
        }
        json!({"ringway": cases})
    }

    #[track_caller]
    fn check_refused(report: &Value, why: &str) {
        let error = judge(report).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn the_echo_address_is_read_from_the_ready_line() {
        let up = |script: &str| start(Command::new("sh").args(["-c", script]));
        let ready = r#"echo '{"ready":{"ws":"ws://a","conformance_echo":"ws://b"}}'; exec cat"#;
        assert_eq!(up(ready).unwrap().1, "ws://b");
        let refused = |script| format!("{:#}", up(script).map(drop).unwrap_err());
        assert!(refused("exit 1").contains("printed no ready line"));
        assert!(refused("echo ready").contains("no JSON"));
        assert!(refused(r#"echo '{"ready":{"ws":"ws://a"}}'"#).contains("conformance_echo"));
    }

    #[test]
    fn strict_and_informational_cases_pass() {
        let detail = judge(&report(&[(7, "INFORMATIONAL", "INFORMATIONAL")])).unwrap();
        assert_eq!(detail, "301 cases: 1 INFORMATIONAL, 300 OK");
    }

    #[test]
    fn a_case_that_passes_only_loosely_is_refused() {
        check_refused(&report(&[(4, "NON-STRICT", "OK")]), "case 1.4: NON-STRICT, closing OK");
    }

    #[test]
    fn a_failed_case_is_refused() {
        check_refused(&report(&[(4, "FAILED", "OK"), (5, "FAILED", "OK")]), "2 of 301 cases");
        check_refused(&report(&[(4, "UNIMPLEMENTED", "OK")]), "UNIMPLEMENTED");
    }

    #[test]
    fn a_case_that_closes_badly_is_refused() {
        for close in ["FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"] {
            check_refused(&report(&[(4, "OK", close)]), close);
        }
    }

    #[test]
    fn a_missing_case_is_refused() {
        let mut report = report(&[]);
        report["ringway"].as_object_mut().unwrap().remove("1.9");
        check_refused(&report, "300 cases ran, not 301");
    }

    #[test]
    fn a_verdict_that_is_not_there_is_refused() {
        let mut report = report(&[]);
        report["ringway"]["1.9"] = json!({});
        check_refused(&report, "case 1.9: missing");
    }

    #[test]
    fn a_report_of_no_server_is_refused() {
        check_refused(&json!({}), "0 servers");
    }
}
