//! `ringway trace`: every hop of one message, with times.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use ringway_service::failure::Failure;
use serde::Deserialize;

use crate::address_file::AddressFile;
use crate::clock::time_of_day;
use crate::config::Config;
use crate::settings::DataArgs;

/// How long the node has to answer.
const ANSWER_MS: u64 = 10_000;
/// The shard number that stands for the uplink.
const UPLINK: u16 = u16::MAX;

/// Arguments of `ringway trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Message id, as in `sent` and `message`
    msg_id: u64,
    /// Address of the node's admin listener [default: that of the node that serves the data folder]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[command(flatten)]
    data: DataArgs,
}

/// What the admin listener answers.
#[derive(Debug, Deserialize)]
struct Trace {
    hops: Vec<Hop>,
    archived: Option<Archived>,
}

#[derive(Debug, Deserialize)]
struct Hop {
    at_us: u64,
    station: String,
    who: u64,
    shard: u16,
}

#[derive(Debug, Deserialize)]
struct Archived {
    conv: String,
    epoch: u64,
    seq: u64,
    from: String,
    r#type: String,
    body_bytes: usize,
    archived_at_ms: u64,
}

/// Asks the node and prints.
///
/// # Errors
/// No node, or a message that nobody remembers.
pub(crate) fn run(args: &TraceArgs) -> Result<(), Failure> {
    let admin = match &args.admin {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => of_folder(&args.data)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let trace = runtime.block_on(ask(&admin, args.msg_id))?;
    if trace.hops.is_empty() && trace.archived.is_none() {
        let why = "no hop of it is remembered and it is not in the archive";
        return Err(anyhow::anyhow!("message {} is unknown: {why}", args.msg_id).into());
    }
    // A reader that has seen enough closes its end.
    let _ = std::io::stdout().write_all(render(args.msg_id, &trace).as_bytes());
    Ok(())
}

fn of_folder(data: &DataArgs) -> Result<String, Failure> {
    let config = data.sources().load::<Config>().map_err(Failure::Usage)?;
    let folder = &config.data.folder;
    let running = AddressFile::of_running(folder);
    let running = running.with_context(|| format!("no ringway serves {}: name one with --admin", folder.display()))?;
    Ok(running.ready.admin)
}

async fn ask(admin: &str, msg_id: u64) -> anyhow::Result<Trace> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(ANSWER_MS)).build()?;
    let response = client.get(format!("{admin}/admin/trace/{msg_id}")).send().await;
    let response = response.with_context(|| format!("no answer from {admin}"))?;
    if !response.status().is_success() {
        bail!("{admin} answers {}", response.status());
    }
    response.json().await.with_context(|| format!("{admin} answers something else than a trace"))
}

fn render(msg_id: u64, trace: &Trace) -> String {
    let mut text = String::new();
    // Writing into a string has no way to fail.
    let _ = match &trace.archived {
        Some(Archived { conv, epoch, seq, from, r#type, body_bytes, .. }) => {
            let from = if from.is_empty() { "the server" } else { from };
            writeln!(text, "message {msg_id}: {conv} seq {seq} epoch {epoch}, {type} of {body_bytes} bytes from {from}")
        }
        None => writeln!(text, "message {msg_id}: not in the archive yet"),
    };
    let mut rows: Vec<Row<'_>> = trace.hops.iter().map(Row::of_hop).collect();
    rows.extend(trace.archived.as_ref().map(Row::of_archive));
    rows.sort_by_key(|row| row.at_us);
    let first_us = rows.first().map_or(0, |row| row.at_us);
    let mut before_us = first_us;
    let _ = writeln!(text, "{:<16}  {:>12}  {:>12}  {:<13}  {:<6}  connection", "UTC", "ms", "+ms", "station", "shard");
    for Row { at_us, station, shard, connection } in rows {
        let (time, passed, delta) =
            (time_of_day(at_us), milliseconds(at_us - first_us), milliseconds(at_us - before_us));
        let _ = writeln!(text, "{time}  {passed:>12}  {delta:>12}  {station:<13}  {shard:<6}  {connection}");
        before_us = at_us;
    }
    text
}

/// One line of the table.
struct Row<'a> {
    at_us: u64,
    station: &'a str,
    shard: String,
    connection: String,
}

impl<'a> Row<'a> {
    fn of_hop(hop: &'a Hop) -> Self {
        let shard = if hop.shard == UPLINK { "uplink".to_owned() } else { hop.shard.to_string() };
        let connection = if hop.who == 0 { "-".to_owned() } else { format!("{:x}", hop.who) };
        Self { at_us: hop.at_us, station: &hop.station, shard, connection }
    }

    /// Its clock counts whole milliseconds.
    fn of_archive(archived: &Archived) -> Self {
        let at_us = archived.archived_at_ms.saturating_mul(1_000);
        Self { at_us, station: "archived", shard: "-".to_owned(), connection: "-".to_owned() }
    }
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_archive_are_shown_in_order_with_times_deltas_and_places() {
        let trace: Trace = serde_json::from_str(
            r#"{"msg_id":"7","hops":[
                {"at_us":1000000,"station":"batched","seq":0,"who":0,"shard":1},
                {"at_us":1000250,"station":"logged","seq":0,"who":0,"shard":65535},
                {"at_us":1012250,"station":"acknowledged","seq":3,"who":255,"shard":0}],
               "archived":{"conv":"p2p:a:b","epoch":1,"seq":3,"from":"a","client_msg_id":"c","type":"text",
                "body_bytes":2,"ts":1,"archived_at_ms":1010}}"#,
        )
        .unwrap();
        let expected = "\
message 7: p2p:a:b seq 3 epoch 1, text of 2 bytes from a
UTC                         ms           +ms  station        shard   connection
00:00:01.000 000         0.000         0.000  batched        1       -
00:00:01.000 250         0.250         0.250  logged         uplink  -
00:00:01.010 000        10.000         9.750  archived       -       -
00:00:01.012 250        12.250         2.250  acknowledged   0       ff
";
        assert_eq!(render(7, &trace), expected);
    }
}
