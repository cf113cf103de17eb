//! Flame graphs: stacks by `perf`, sampled on the processor's clock, folded and drawn by inferno.
//!
//! `perf` needs root or `kernel.perf_event_paranoid` of 1 or less. Stacks are walked by frame pointers, so the server is
//! built with them. One graph is of the whole process, one of each thread: a shard is a thread. Two views: time on a
//! processor, and time off it, which a kernel may not permit ([`crate::off_cpu`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options as FoldOptions};
use inferno::differential;
use inferno::flamegraph::{self, Options as DrawOptions};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::off_cpu;

/// Samples a second of each thread: no divisor of a timer's rate.
const SAMPLES_PER_S: &str = "499";
/// Threads with a smaller share of the time get no graph of their own.
const SHARE_MIN: f64 = 0.01;

/// A drawn graph.
#[derive(Debug)]
pub(crate) struct Graph {
    /// What it shows.
    pub(crate) title: String,
    /// A document that stands for itself.
    pub(crate) svg: String,
    /// The stacks that it is drawn from, folded: a line a stack, its frames, and nanoseconds on a processor.
    pub(crate) folded: String,
}

/// What a graph is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Time on a processor.
    OnCpu,
    /// Time off it.
    OffCpu,
}

/// `perf` at work.
pub(crate) struct Recording {
    perf: Child,
    folder: TempDir,
    view: View,
}

impl Recording {
    /// Begins to sample a process and the threads that it starts.
    ///
    /// # Errors
    /// `perf` is not to be had.
    pub(crate) fn start(pid: u32, view: View) -> Result<Self> {
        let folder = TempDir::new().context("no temporary folder")?;
        let data = folder.path().join("perf.data");
        let mut perf = Command::new("perf");
        perf.args(["record", "--quiet", "--call-graph", "fp"]).stderr(File::create(folder.path().join("said"))?);
        match view {
            View::OnCpu => perf.args(["--event", "cpu-clock", "--freq", SAMPLES_PER_S]),
            View::OffCpu => perf.args(["--event", off_cpu::EVENT, "--switch-events"]),
        };
        perf.args(["--pid", &pid.to_string(), "--output"]).arg(data).stdin(Stdio::null()).stdout(Stdio::null());
        let perf = perf.spawn().context("perf is missing: install Debian's linux-perf, or your system's package")?;
        Ok(Self { perf, folder, view })
    }

    /// Ends, and draws what was sampled.
    ///
    /// # Errors
    /// `perf` was not allowed to sample, or its data cannot be read: says what is missing.
    pub(crate) fn finish(mut self, name: &str) -> Result<Vec<Graph>> {
        let pid = i32::try_from(self.perf.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        // When it has ended by itself, what it wrote tells why.
        let _ = kill_process(pid, Signal::INT);
        self.perf.wait()?;
        let said = fs::read_to_string(self.folder.path().join("said"))?;
        let folded = match self.view {
            View::OnCpu => self.fold().with_context(|| {
                format!(
                    "perf has no stacks: it needs root, or kernel.perf_event_paranoid of 1 or less (0 for a process of \
                     another user). {said}"
                )
            })?,
            View::OffCpu => self.fold_off_cpu().with_context(|| off_cpu::missing(&said))?,
        };
        let name = if self.view == View::OffCpu { format!("{name} off CPU") } else { name.to_owned() };
        let mut graphs = vec![draw(format!("{name}: whole process"), folded.clone())?];
        let all = time_ns(&folded).max(1);
        for (thread, lines) in by_thread(&folded) {
            if time_ns(&lines) as f64 / all as f64 >= SHARE_MIN {
                graphs.push(draw(format!("{name}: thread {thread}"), lines)?);
            }
        }
        Ok(graphs)
    }

    fn fold(&self) -> Result<String> {
        let data: PathBuf = self.folder.path().join("perf.data");
        let script = Command::new("perf").args(["script", "--no-inline", "--input"]).arg(data).output()?;
        ensure!(script.status.success(), "perf script: {}", String::from_utf8_lossy(&script.stderr).trim());
        let mut folded = Vec::new();
        Folder::from(FoldOptions::default()).collapse(script.stdout.as_slice(), &mut folded)?;
        let folded = String::from_utf8(folded)?;
        ensure!(!folded.is_empty(), "no samples");
        Ok(folded)
    }

    /// Read as it comes: a busy server stops and goes on many thousand times a second.
    fn fold_off_cpu(&self) -> Result<String> {
        let mut script = Command::new("perf");
        script.args(["script", "--no-inline", "--show-switch-events", "-F", "comm,tid,time,event,ip,sym", "--input"]);
        script.arg(self.folder.path().join("perf.data")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut script = script.stderr(Stdio::null()).spawn()?;
        let output = script.stdout.take().context("no output")?;
        let folded = off_cpu::fold(BufReader::new(output));
        let status = script.wait()?;
        let folded = folded?;
        ensure!(status.success() && !folded.is_empty(), "no thread was seen to stop and go on");
        Ok(folded)
    }
}

/// Draws folded stacks.
fn draw(title: String, folded: String) -> Result<Graph> {
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut settings(&title), folded.lines(), &mut svg)?;
    Ok(Graph { title, svg: String::from_utf8(svg)?, folded })
}

/// Draws what differs: red is more in `after`, blue less. Both are scaled to the same whole.
pub(crate) fn difference(before: &Graph, after: &Graph) -> Result<Graph> {
    let title = format!("{} → {}", before.title, after.title);
    let options = differential::Options { normalize: true, ..differential::Options::default() };
    let mut lines = Vec::new();
    differential::from_readers(options, before.folded.as_bytes(), after.folded.as_bytes(), &mut lines)?;
    let folded = String::from_utf8(lines)?;
    draw(title, folded)
}

fn settings(title: &str) -> DrawOptions<'static> {
    let mut options = DrawOptions::default();
    title.clone_into(&mut options.title);
    // A sample of the processor's clock counts as the time since the one before; off it, the time is known.
    options.count_name = "ns".to_owned();
    options
}

/// Threads by their name, the first frame; threads of one name are one.
fn by_thread(folded: &str) -> BTreeMap<String, String> {
    let mut threads: BTreeMap<String, String> = BTreeMap::new();
    for line in folded.lines() {
        let thread = line.split(';').next().unwrap_or_default();
        let lines = threads.entry(thread.to_owned()).or_default();
        lines.push_str(line);
        lines.push('\n');
    }
    threads
}

fn time_ns(folded: &str) -> u64 {
    folded.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDED: &str = "shard-0;run;send 30\nshard-0;run;recv 10\nshard-1;run 20\nuplink;append 5\n";

    #[test]
    fn each_thread_has_its_own_stacks() {
        let threads = by_thread(FOLDED);
        assert_eq!(threads.keys().collect::<Vec<_>>(), ["shard-0", "shard-1", "uplink"]);
        assert_eq!((time_ns(FOLDED), time_ns(&threads["shard-0"])), (65, 40));
    }

    #[test]
    fn a_drawing_names_the_frames_and_a_difference_both_sides() {
        let before = draw("before".into(), FOLDED.into()).unwrap();
        assert!(before.svg.contains("recv") && before.svg.contains("before"));
        let after = draw("after".into(), FOLDED.replace("recv 10", "recv 60")).unwrap();
        let difference = difference(&before, &after).unwrap();
        assert!(difference.title == "before → after" && difference.svg.contains("recv"));
        let line = difference.folded.lines().find(|line| line.contains("recv")).unwrap();
        assert_eq!(line.split(' ').count(), 3, "both counts stand in {line}");
    }
}
