//! The figures as text: a row a subject, and each figure's median with the least and the most.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use crate::diff;
use crate::figures::{Figures, Round};
use crate::named;
use crate::targets::{self, figure};

/// A column: its head, and the figure.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) of: fn(&Round) -> Option<f64>,
}

/// What is shown of each subject, where there is any of it.
pub(crate) const COLUMNS: [Column; 13] = [
    Column { head: "CPU µs/delivery", of: |round| round.cpu_us_per_delivery },
    Column { head: "deliveries/s", of: |round| round.deliveries_per_s },
    Column { head: "p50 ms", of: |round| ms(round.p50_us) },
    Column { head: "p99 ms", of: |round| ms(round.p99_us) },
    Column { head: "p99.9 ms", of: |round| ms(round.p999_us) },
    Column { head: "max ms", of: |round| ms(round.max_us) },
    Column { head: "writes/delivery", of: |round| round.writes_per_delivery },
    Column { head: "reads/delivery", of: |round| round.reads_per_delivery },
    Column { head: "messages/hub batch", of: |round| round.messages_per_hub_batch },
    Column { head: "records/commit", of: |round| round.records_per_commit },
    Column { head: "load CPU µs/delivery", of: |round| round.load_cpu_us_per_delivery },
    Column { head: "user B/connection", of: |round| round.bytes_per_connection },
    Column { head: "kernel B/connection", of: |round| round.kernel_bytes_per_connection },
];

fn ms(us: Option<f64>) -> Option<f64> {
    us.map(|us| us / 1e3)
}

/// Median, and the least and most where there are several.
pub(crate) fn cell(figures: &Figures, subject: &str, column: &Column) -> Option<String> {
    let spread = figures.spread(subject, column.of)?;
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| figure(Some(value)));
    Some(if spread.min == spread.max { median } else { format!("{median} ({min}–{max})") })
}

/// All of a run.
pub(crate) fn of(figures: &Figures) -> String {
    let mut text = format!(
        "\n{}, commit {}, {} ({} cores), Linux {}\nmedian (least–most) of the rounds that count\n",
        figures.title(),
        figures.commit,
        figures.machine.cpu,
        figures.machine.cores,
        figures.kernel,
    );
    for name in figures.names() {
        let rounds = figures.rounds.iter().filter(|round| round.subject == name);
        let (all, good) = (rounds.clone().count(), rounds.clone().filter(|round| round.is_good()).count());
        let ratio = ratio(figures, name).map_or_else(String::new, |ratio| format!("   ours over theirs {ratio}"));
        // Writing into a string cannot fail.
        let _ = writeln!(text, "\n{name}: {good} of {all} rounds count{ratio}");
        for column in &COLUMNS {
            if let Some(cell) = cell(figures, name, column) {
                let _ = writeln!(text, "  {:22} {cell}", column.head);
            }
        }
    }
    for (name, why) in &figures.cannot {
        let _ = writeln!(text, "\n{name}: cannot: {why}");
    }
    text.push('\n');
    for sentence in named::of(figures) {
        let _ = writeln!(text, "{sentence}");
    }
    for target in targets::of(figures, &[]) {
        let _ = writeln!(text, "\ntarget: {}; seen {}: {}", target.wanted, target.seen, target.word());
    }
    text
}

/// Ours over theirs, and where it lies with a confidence of 95 %.
pub(crate) fn ratio(figures: &Figures, name: &str) -> Option<String> {
    let ratio = figures.confidence.get(name)?;
    let between = if ratio.is_known() { format!(" ({:.2}–{:.2})", ratio.low, ratio.high) } else { String::new() };
    Some(format!("{:.2}{between}", ratio.ratio))
}

/// How the second commit of a diff stands to the first.
pub(crate) fn of_difference(figures: &Figures) -> Result<String> {
    let ratio = diff::ratio(figures).context("a commit has no round that counts")?;
    Ok(format!("\nafter is {}\n", named::compared(&ratio, Some("before"), figures.is_memory())))
}
