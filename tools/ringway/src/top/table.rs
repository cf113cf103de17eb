//! The figures as lines of text, the same on paper and on the screen.

use super::figures::{Figures, Journal, STAGES, Shard, Stage, Uplink};

/// What stands where there is no figure.
const NONE: &str = "-";

/// A line, and whether it names what stands below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) head: bool,
}

impl Line {
    fn head(text: String) -> Self {
        Self { text, head: true }
    }

    fn plain(text: String) -> Self {
        Self { text, head: false }
    }
}

/// The whole table as text, with an empty line after it.
pub(super) fn plain(admin: &str, figures: &Figures) -> String {
    lines(admin, figures).iter().map(|line| format!("{}\n", line.text)).chain(["\n".to_owned()]).collect()
}

/// A column: its name, and its cell for a shard.
type Column = (&'static str, fn(&Shard) -> String);

const WORK: [Column; 11] = [
    ("cpu %", |shard| figure(shard.cpu.map(|cpu| cpu * 100.0))),
    ("connections", |shard| whole(shard.connections)),
    ("turns/s", |shard| rate(shard.turns_per_s)),
    ("compl/turn", |shard| figure(shard.completions_per_turn)),
    ("polls/turn", |shard| figure(shard.polls_per_turn)),
    ("commands/s", |shard| rate(Some(shard.commands_per_s))),
    ("delivered/s", |shard| rate(Some(shard.delivered_per_s))),
    ("frames/s", |shard| rate(Some(shard.frames_per_s))),
    ("writes/s", |shard| rate(Some(shard.writes_per_s))),
    ("frames/write", |shard| figure(shard.frames_per_write)),
    ("bytes/write", |shard| rate(shard.bytes_per_write)),
];

const EXCHANGE: [Column; 8] = [
    ("mail/s", |shard| rate(Some(shard.mailbox_items_per_s))),
    ("mail/turn", |shard| figure(shard.mailbox_items_per_turn)),
    ("depth", |shard| whole(shard.mailbox_depth)),
    ("wakes/s", |shard| rate(Some(shard.mailbox_wakes_per_s))),
    ("hubs", |shard| whole(shard.hubs)),
    ("batches/s", |shard| rate(Some(shard.batches_per_s))),
    ("messages/batch", |shard| figure(shard.messages_per_batch)),
    ("numbered/s", |shard| rate(Some(shard.numbered_per_s))),
];

/// The table, line by line.
pub(super) fn lines(admin: &str, figures: &Figures) -> Vec<Line> {
    let Figures { seconds, shards, all, uplink, journal, .. } = figures;
    let count = shards.len();
    let shown = format!("{count} shard{}, {} connections", if count == 1 { "" } else { "s" }, whole(all.connections));
    let mut lines = vec![Line::plain(format!("{admin}: {shown}, over {seconds:.1} s")), Line::plain(String::new())];
    let rows: Vec<&Shard> = shards.iter().chain((count > 1).then_some(all)).collect();
    for columns in [WORK.as_slice(), EXCHANGE.as_slice()] {
        let cells = |shard: &&Shard| columns.iter().map(|(_, cell)| cell(shard)).collect();
        add_table(columns.iter().map(|(name, _)| (*name).to_owned()), rows.iter().map(cells), &rows, &mut lines);
    }
    let stages = |shard: &&Shard| STAGES.iter().map(|stage| times(shard.stages.get(stage))).collect();
    let names = STAGES.iter().map(|stage| format!("{stage} p50/p99 ms"));
    add_table(names, rows.iter().map(stages), &rows, &mut lines);
    lines.push(Line::plain(of_uplink(uplink)));
    lines.extend(journal.as_ref().map(|journal| Line::plain(of_journal(journal))));
    lines
}

/// A table with the shard in its first column, and an empty line after it.
fn add_table(
    names: impl Iterator<Item = String>,
    cells: impl Iterator<Item = Vec<String>>,
    rows: &[&Shard],
    lines: &mut Vec<Line>,
) {
    let names: Vec<String> = names.collect();
    let cells: Vec<Vec<String>> = cells.collect();
    let width = |column: usize, name: &String| {
        let widest = cells.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        widest.max(name.len())
    };
    let widths: Vec<usize> = names.iter().enumerate().map(|(column, name)| width(column, name)).collect();
    let row = |first: &str, cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("  {cell:>width$}"));
        format!("{first:>5}{}", cells.collect::<String>())
    };
    lines.push(Line::head(row("shard", &names)));
    for (shard, cells) in rows.iter().zip(&cells) {
        let first = shard.shard.map_or_else(|| "all".to_owned(), |shard| shard.to_string());
        lines.push(Line::plain(row(&first, cells)));
    }
    lines.push(Line::plain(String::new()));
}

fn of_uplink(uplink: &Uplink) -> String {
    let Uplink { appends_per_s, messages_per_append, append, number } = uplink;
    let (appends, messages) = (rate(Some(*appends_per_s)), figure(*messages_per_append));
    let (append, number) = (times(Some(append)), times(Some(number)));
    format!("uplink   {appends} appends/s of {messages} messages, append {append} ms, number {number} ms (p50/p99)")
}

fn of_journal(journal: &Journal) -> String {
    let Journal { commits_per_s, records_per_commit, bytes_per_commit, commit, commit_max_us } = journal;
    let (commits, records, bytes) = (rate(Some(*commits_per_s)), figure(*records_per_commit), rate(*bytes_per_commit));
    let (times, longest) = (times(Some(commit)), milliseconds(*commit_max_us));
    format!(
        "journal  {commits} commits/s of {records} records, {bytes} bytes; {times} ms (p50/p99), longest since start {longest} ms"
    )
}

fn times(stage: Option<&Stage>) -> String {
    match stage.and_then(|stage| stage.p50_us.zip(stage.p99_us)) {
        Some((p50_us, p99_us)) => format!("{}/{}", milliseconds(p50_us), milliseconds(p99_us)),
        None => NONE.to_owned(),
    }
}

/// Three figures of it, no finer than a microsecond.
fn milliseconds(us: f64) -> String {
    let ms = us / 1e3;
    match ms {
        ..1.0 => format!("{ms:.3}"),
        ..10.0 => format!("{ms:.2}"),
        ..100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| if value < 100.0 { format!("{value:.2}") } else { whole(value) })
}

fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| if value < 10.0 { format!("{value:.1}") } else { whole(value) })
}

/// Rounded, with its thousands set apart.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::reading::Reading;
    use super::*;

    #[test]
    fn numbers_are_as_fine_as_one_reads_them() {
        assert_eq!((whole(0.0), whole(999.0), whole(1_234_567.4)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((rate(Some(0.5)), rate(Some(12.3)), rate(None)), ("0.5".into(), "12".into(), "-".into()));
        assert_eq!((figure(Some(1.0)), figure(Some(1_024.0))), ("1.00".into(), "1,024".into()));
        assert_eq!(
            (milliseconds(31.0), milliseconds(12_345.0), milliseconds(1e6)),
            ("0.031".into(), "12.3".into(), "1000".into())
        );
    }

    #[test]
    fn a_table_has_a_row_for_each_shard_and_one_for_all() {
        let text = |n: u32| {
            let shard = |shard: u32| {
                format!(
                    "ringway_connections{{shard=\"{shard}\"}} 1500\nringway_frames_total{{shard=\"{shard}\"}} {}\n\
                     ringway_writes_total{{shard=\"{shard}\"}} {}\n\
                     ringway_stage_seconds_bucket{{stage=\"sent\",shard=\"{shard}\",le=\"0.002\"}} {n}\n\
                     ringway_stage_seconds_bucket{{stage=\"sent\",shard=\"{shard}\",le=\"+Inf\"}} {n}\n",
                    n * 4,
                    n * 2
                )
            };
            format!("{}{}ringway_journal_commit_seconds_max 0.1\n", shard(0), shard(1))
        };
        let begin = Instant::now();
        let read = |n, after| Reading::parse(&text(n), begin + Duration::from_secs(after)).unwrap();
        let shown = plain("http://h:1", &Figures::between(&read(0, 0), &read(1_000, 1)));
        let expected = "\
http://h:1: 2 shards, 3,000 connections, over 1.0 s

shard  cpu %  connections  turns/s  compl/turn  polls/turn  commands/s  delivered/s  frames/s  writes/s  frames/write  bytes/write
    0      -        1,500        -           -           -         0.0          0.0     4,000     2,000          2.00            -
    1      -        1,500        -           -           -         0.0          0.0     4,000     2,000          2.00            -
  all      -        3,000        -           -           -         0.0          0.0     8,000     4,000          2.00            -

shard  mail/s  mail/turn  depth  wakes/s  hubs  batches/s  messages/batch  numbered/s
    0     0.0          -      0      0.0     0        0.0               -         0.0
    1     0.0          -      0      0.0     0        0.0               -         0.0
  all     0.0          -      0      0.0     0        0.0               -         0.0

shard  home p50/p99 ms  batch p50/p99 ms  commit p50/p99 ms  sent p50/p99 ms  push p50/p99 ms  ack p50/p99 ms
    0                -                 -                  -        1.00/1.98                -               -
    1                -                 -                  -        1.00/1.98                -               -
  all                -                 -                  -        1.00/1.98                -               -

uplink   0.0 appends/s of - messages, append - ms, number - ms (p50/p99)
journal  0.0 commits/s of - records, - bytes; - ms (p50/p99), longest since start 100 ms

";
        assert_eq!(shown, expected);
    }
}
