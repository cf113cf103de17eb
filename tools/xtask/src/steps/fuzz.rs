//! Every fuzz target for a few seconds, from its seeds: enough to see that it builds and that nothing obvious breaks.
//!
//! Without a sanitizer (`-s none`) libFuzzer's driver works on the stable toolchain that builds everything else.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::tools;
use crate::workplace::Workplace;

const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
const SECONDS_DEFAULT: u64 = 10;
/// What starting, loading the seeds and reporting may take on top.
const SLACK: Duration = Duration::from_secs(120);
/// How much of the log of a broken target is shown.
const LOG_LINES: usize = 60;

/// Builds all targets, then runs each.
pub(super) fn briefly(workplace: &Workplace) -> Result<String> {
    tools::cxx()?;
    let folder = tools::CARGO_FUZZ.folder(workplace)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)))?;
    let target = workplace.target.join("fuzz");
    let fuzz = |verb: &str| -> Command {
        let mut cargo = workplace.cargo(["fuzz", verb]);
        // The driver has a target folder of its own, in which nothing else is built.
        cargo.current_dir(workplace.root.join("engine")).env("PATH", &path).env_remove("CARGO_TARGET_DIR");
        cargo
    };
    let seconds = match std::env::var("RINGWAY_FUZZ_SECONDS") {
        Ok(text) => text.parse().with_context(|| format!("RINGWAY_FUZZ_SECONDS is {text:?}"))?,
        Err(_) => SECONDS_DEFAULT,
    };

    let list = process::output(&mut fuzz("list"))?;
    let targets: Vec<&str> = list.split_whitespace().collect();
    if targets.is_empty() {
        bail!("engine/fuzz has no target");
    }
    process::run(fuzz("build").args(["-s", "none", "--target-dir"]).arg(&target), BUILD_LIMIT)?;

    let mut broken = Vec::new();
    for name in &targets {
        let corpus = workplace.scratch.join("corpus").join(name);
        fs::create_dir_all(&corpus)?;
        let findings = workplace.artefacts.join("fuzz").join(name);
        fs::create_dir_all(&findings)?;
        let mut run = fuzz("run");
        run.args(["-s", "none", "--target-dir"]).arg(&target).arg(name).arg(&corpus);
        let seeds = workplace.root.join("engine/fuzz/seeds").join(name);
        if seeds.is_dir() {
            run.arg(seeds);
        }
        run.arg("--").arg(format!("-max_total_time={seconds}")).args(["-timeout=10", "-rss_limit_mb=2048"]);
        run.arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/", findings.display()));
        let log = findings.join("log");
        run.stderr(fs::File::create(&log)?);
        let ended = process::run(&mut run, Duration::from_secs(seconds) + SLACK);
        let log = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        if let Err(error) = ended {
            println!("{}\n{error:#}", last_lines(&log, LOG_LINES));
            broken.push(*name);
        } else if let Some(units) = log.lines().find(|line| line.starts_with("stat::number_of_executed_units")) {
            println!("{name}: {units}");
        }
    }
    if !broken.is_empty() {
        bail!("{} broke; what broke them is in {}", broken.join(", "), workplace.artefacts.join("fuzz").display());
    }
    Ok(format!("{} targets, {seconds} s each", targets.len()))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_long_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
    }
}
