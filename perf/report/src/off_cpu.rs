//! Off-CPU time: what a thread waited for while it did not run, by the stack at which it stopped.
//!
//! `perf` notes the stack at `sched:sched_switch` when a thread stops, and a switch record when it runs again; the time
//! between is the stack's. The tracepoint needs tracefs, a kernel that has it, and the right to use it: what is missing is
//! found by trying, and told.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Result};
use std::path::Path;

/// The tracepoint, as `perf` calls it.
pub(crate) const EVENT: &str = "sched:sched_switch";
/// Where tracefs may be mounted.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The leaf of a stack that another thread was preferred to.
const PREEMPTED: &str = "(waits for a processor)";

/// A thread that stopped, or is about to.
#[derive(Debug, Default)]
struct Thread {
    /// From the thread's name to where it stopped, folded.
    stack: String,
    /// When it did, in nanoseconds.
    stopped_ns: Option<u64>,
}

/// Folds what `perf script --show-switch-events -F comm,tid,time,event,ip,sym` prints: a line a stack, nanoseconds behind it.
///
/// # Errors
/// It cannot be read.
pub(crate) fn fold(script: impl BufRead) -> Result<String> {
    let mut threads: HashMap<u32, Thread> = HashMap::new();
    let mut waited: BTreeMap<String, u64> = BTreeMap::new();
    // The sample whose frames are being read: its thread, the thread's name, frames from the leaf.
    let mut sample: Option<(u32, String, Vec<String>)> = None;
    for line in script.lines() {
        let line = line?;
        if line.starts_with(['\t', ' '])
            && let Some((_, _, frames)) = &mut sample
        {
            frames.extend(frame(&line));
            continue;
        }
        if let Some((thread, name, frames)) = sample.take() {
            let stack = [name].into_iter().chain(frames.into_iter().rev()).collect::<Vec<_>>().join(";");
            threads.insert(thread, Thread { stack, stopped_ns: None });
        }
        let Some((name, thread, ns, event)) = head(&line) else { continue };
        if event.starts_with(EVENT) {
            sample = Some((thread, name.to_owned(), Vec::new()));
        } else if event.starts_with("PERF_RECORD_SWITCH OUT") {
            let Some(stopped) = threads.get_mut(&thread) else { continue };
            stopped.stopped_ns = Some(ns);
            if event.contains("preempt") {
                stopped.stack.push(';');
                stopped.stack.push_str(PREEMPTED);
            }
        } else if event.starts_with("PERF_RECORD_SWITCH IN")
            && let Some(Thread { stack, stopped_ns: Some(stopped_ns) }) = threads.remove(&thread)
        {
            *waited.entry(stack).or_default() += ns.saturating_sub(stopped_ns);
        }
    }
    Ok(waited.iter().map(|(stack, ns)| format!("{stack} {ns}\n")).collect())
}

/// Name, number, time and event of a line such as `shard-0 12 34.567890: sched:sched_switch:`; names may have spaces.
fn head(line: &str) -> Option<(&str, u32, u64, &str)> {
    let (before, event) = line.split_once(": ")?;
    let (before, time) = before.trim_end().rsplit_once(' ')?;
    let (name, thread) = before.trim_end().rsplit_once(' ')?;
    let (seconds, fraction) = time.split_once('.')?;
    let ns = seconds.parse::<u64>().ok()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().ok()?;
    Some((name.trim(), thread.parse().ok()?, ns, event.trim()))
}

/// The symbol of a line such as `\tffffffff821f8298 __schedule`.
fn frame(line: &str) -> Option<String> {
    let (_, symbol) = line.trim().split_once(' ')?;
    Some(symbol.replace(';', ":"))
}

/// Why there is no off-CPU time, in words: what this machine lacks, or else what `perf` said.
pub(crate) fn missing(said: &str) -> String {
    missing_in(&TRACEFS.map(Path::new), said)
}

fn missing_in(places: &[&Path], said: &str) -> String {
    let Some(tracefs) = places.iter().find(|place| place.join("events").exists()) else {
        return "tracefs is not mounted, or not to be read: `mount -t tracefs none /sys/kernel/tracing`, as root"
            .to_owned();
    };
    if !tracefs.join("events/sched/sched_switch").exists() {
        return format!("this kernel has no tracepoint {EVENT}");
    }
    if std::fs::read(tracefs.join("events/sched/sched_switch/id")).is_err() {
        return format!(
            "no permission for the tracepoint {EVENT}: it needs root, or CAP_PERFMON and a readable tracefs"
        );
    }
    let said = said.trim();
    format!("perf recorded no {EVENT}: {}", if said.is_empty() { "it says nothing" } else { said })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
shard-0 11 100.000001000: PERF_RECORD_SWITCH IN
shard-0 11 100.000002: sched:sched_switch:
\tffffffff821f8298 __schedule
\tffffffff821f8c03 schedule
\t    7f9ca425e2ad turn

shard-0 11 100.000003: PERF_RECORD_SWITCH OUT
up link 12 100.000004: sched:sched_switch:
\tffffffff821f8298 __schedule
\t    7f9ca425e2ad <A as B>::append

up link 12 100.000005: PERF_RECORD_SWITCH OUT preempt
up link 12 100.000006: PERF_RECORD_SWITCH IN
shard-0 11 100.500003: PERF_RECORD_SWITCH IN
shard-0 11 100.600000: PERF_RECORD_SWITCH OUT
shard-0 11 100.700000: PERF_RECORD_SWITCH IN
";

    #[test]
    fn time_between_stopping_and_running_again_is_the_stacks() {
        let expected = "shard-0;turn;schedule;__schedule 500000000\n\
                        up link;<A as B>::append;__schedule;(waits for a processor) 1000\n";
        assert_eq!(fold(SCRIPT.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_a_machine_lacks_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let check = |words: &str| {
            let told = missing_in(&[folder.path()], " no idea ");
            assert!(told.contains(words), "{told}");
        };
        check("not mounted");
        std::fs::create_dir_all(folder.path().join("events/sched")).unwrap();
        check("no tracepoint");
        std::fs::create_dir(folder.path().join("events/sched/sched_switch")).unwrap();
        check("no permission");
        std::fs::write(folder.path().join("events/sched/sched_switch/id"), "1").unwrap();
        check("sched:sched_switch: no idea");
    }
}
