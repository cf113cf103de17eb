//! `ringway trace`: every hop of one message, with times, from one admin listener or several.
//!
//! What several tell is put together by time; a hop that two of them tell is shown once. Clocks of different machines
//! are compared as they are: a hop may stand before its cause by as much as they differ.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use ringway_service::failure::{Failure, one_line};
use ringway_service::sections::secret;
use serde::Deserialize;

use crate::PROGRAM;
use crate::clock::time_of_day;
use crate::settings::DataArgs;

/// How long a node has to answer.
const ANSWER_MS: u64 = 10_000;
/// The shard number that stands for the uplink.
const UPLINK: u16 = u16::MAX;
/// The station of what has been said to other nodes: it counts them where others name a connection.
const TOLD: &str = "told";
/// The station of a committed archive.
const ARCHIVED: &str = "archived";

/// Arguments of `ringway trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Message id, as in `sent` and `message`
    msg_id: u64,
    /// Address of an admin listener; may be given several times [default: that of the node that serves the data folder]
    ///
    /// That of a persist process or of the API tells the hops of all gateways, that of a gateway its own; the hops of a
    /// persist process are told by its own alone: name each of them. Hops are merged by their times, and clocks of
    /// different machines are compared as they are.
    #[arg(long, value_name = "URL")]
    admin: Vec<String>,
    /// File with the secret that they want (admin.secret_file)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
}

/// What an admin listener answers.
#[derive(Debug, Deserialize)]
struct Trace {
    hops: Vec<Hop>,
    archived: Option<Archived>,
}

/// One hop. The fields in their order are the order of hops that are compared to find doubles.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Hop {
    at_us: u64,
    station: String,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    who: u64,
    shard: Option<u16>,
    queue: Option<String>,
    offset: Option<u64>,
    node: Option<String>,
}

impl Hop {
    /// Whether it is the other one, told by somebody else: who is asked for its own hops alone names no node.
    fn is(&self, other: &Self) -> bool {
        let what = |hop: &Self| (hop.at_us, hop.seq, hop.who, hop.shard, hop.offset);
        let same = what(self) == what(other) && self.station == other.station && self.queue == other.queue;
        same && (self.node == other.node || self.node.is_none() || other.node.is_none())
    }
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

/// Asks the nodes and prints.
///
/// # Errors
/// No node, or a message that nobody remembers.
pub(crate) fn run(args: &TraceArgs) -> Result<(), Failure> {
    let mut admins: Vec<String> = args.admin.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    if admins.is_empty() {
        admins.push(args.data.admin()?);
    }
    let secret = secret("--secret-file", args.secret_file.as_ref())?;
    if secret.as_deref() == Some("") {
        return Err(anyhow!("--secret-file: there is nothing in it").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let (traces, missing) = runtime.block_on(ask_all(&admins, secret.as_deref(), args.msg_id))?;
    for error in &missing {
        eprintln!("{PROGRAM}: warning: {}", one_line(error));
    }
    let trace = merge(traces);
    if trace.hops.is_empty() && trace.archived.is_none() {
        let why = "no hop of it is remembered and it is not in the archive";
        return Err(anyhow!("message {} is unknown: {why}", args.msg_id).into());
    }
    // A reader that has seen enough closes its end.
    let _ = std::io::stdout().write_all(render(args.msg_id, &trace).as_bytes());
    Ok(())
}

/// What they answer, each with its address, and why others do not.
///
/// # Errors
/// None of them answers.
async fn ask_all(
    admins: &[String],
    secret: Option<&str>,
    msg_id: u64,
) -> anyhow::Result<(Vec<(String, Trace)>, Vec<anyhow::Error>)> {
    let asked = |admin: &String| {
        let (admin, secret) = (admin.clone(), secret.map(str::to_owned));
        tokio::spawn(async move { ask(&admin, secret.as_deref(), msg_id).await.map(|trace| (admin, trace)) })
    };
    let asked: Vec<_> = admins.iter().map(asked).collect();
    let (mut traces, mut missing) = (Vec::new(), Vec::new());
    for answer in asked {
        match answer.await.context("a question was cut off")? {
            Ok(trace) => traces.push(trace),
            Err(error) => missing.push(error),
        }
    }
    if traces.is_empty() {
        let why: Vec<String> = missing.iter().map(one_line).collect();
        bail!("{}", why.join("; "));
    }
    Ok((traces, missing))
}

async fn ask(admin: &str, secret: Option<&str>, msg_id: u64) -> anyhow::Result<Trace> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(ANSWER_MS)).build()?;
    let mut request = client.get(format!("{admin}/admin/trace/{msg_id}"));
    if let Some(secret) = secret {
        request = request.bearer_auth(secret);
    }
    let response = request.send().await;
    let response = response.with_context(|| format!("no answer from {admin}"))?;
    if !response.status().is_success() {
        bail!("{admin} answers {}", response.status());
    }
    response.json().await.with_context(|| format!("{admin} answers something else than a trace"))
}

/// Puts together what several tell: hops by their time, each once. A hop that none of them gives a node has the address
/// of who told it in its place, unless there is only one who could.
fn merge(traces: Vec<(String, Trace)>) -> Trace {
    let several = traces.len() > 1;
    let (mut told, mut archived) = (Vec::new(), None);
    for (admin, trace) in traces {
        archived = archived.or(trace.archived);
        let first = told.len();
        told.extend(trace.hops.into_iter().zip(first..).map(|(hop, nth)| (hop, nth, admin.clone())));
    }
    told.sort();
    told.dedup_by(|(later, ..), (earlier, ..)| {
        let double = later.is(earlier);
        if double && earlier.node.is_none() {
            earlier.node = later.node.take();
        }
        double
    });
    // Those of the same moment stay as they were told.
    told.sort_by_key(|(hop, nth, _)| (hop.at_us, *nth));
    let named = told.into_iter().map(|(mut hop, _, admin)| {
        if several && hop.node.is_none() {
            hop.node = Some(admin.rsplit('/').next().unwrap_or_default().to_owned());
        }
        hop
    });
    Trace { hops: named.collect(), archived }
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
    if !trace.hops.iter().any(|hop| hop.station == ARCHIVED) {
        rows.extend(trace.archived.as_ref().map(Row::of_archive));
    }
    rows.sort_by_key(|row| row.at_us);
    let place = if trace.hops.iter().any(|hop| hop.queue.is_some()) { "shard or queue" } else { "shard" };
    let place_width = rows.iter().map(|row| row.place.len()).chain([6, place.len()]).max().unwrap_or_default();
    let with_nodes = trace.hops.iter().any(|hop| hop.node.is_some());
    let node_width = rows.iter().map(|row| row.node.len()).chain(["node".len()]).max().unwrap_or_default();
    let node_cell = |node: &str| if with_nodes { format!("{node:<node_width$}  ") } else { String::new() };
    let _ = write!(text, "{:<16}  {:>12}  {:>12}  {}", "UTC", "ms", "+ms", node_cell("node"));
    let _ = writeln!(text, "{:<13}  {place:<place_width$}  connection", "station");
    let first_us = rows.first().map_or(0, |row| row.at_us);
    let mut before_us = first_us;
    for Row { at_us, node, station, place, connection } in rows {
        let (time, passed, delta) =
            (time_of_day(at_us), milliseconds(at_us - first_us), milliseconds(at_us - before_us));
        let _ = write!(text, "{time}  {passed:>12}  {delta:>12}  {}", node_cell(node));
        let _ = writeln!(text, "{station:<13}  {place:<place_width$}  {connection}");
        before_us = at_us;
    }
    text
}

/// One line of the table.
struct Row<'a> {
    at_us: u64,
    node: &'a str,
    station: &'a str,
    place: String,
    connection: String,
}

impl<'a> Row<'a> {
    fn of_hop(hop: &'a Hop) -> Self {
        let place = match (hop.shard, &hop.queue, hop.offset) {
            (Some(UPLINK), ..) => "uplink".to_owned(),
            (Some(shard), ..) => shard.to_string(),
            (None, Some(queue), Some(offset)) => format!("{queue} at {offset}"),
            (None, Some(queue), None) => queue.clone(),
            (None, None, _) => "-".to_owned(),
        };
        let connection = match hop.who {
            who if hop.station == TOLD => format!("of {who} node{}", if who == 1 { "" } else { "s" }),
            0 => "-".to_owned(),
            who => format!("{who:x}"),
        };
        Self { at_us: hop.at_us, node: hop.node.as_deref().unwrap_or("-"), station: &hop.station, place, connection }
    }

    /// Its clock counts whole milliseconds.
    fn of_archive(archived: &Archived) -> Self {
        let at_us = archived.archived_at_ms.saturating_mul(1_000);
        Self { at_us, node: "-", station: ARCHIVED, place: "-".to_owned(), connection: "-".to_owned() }
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

    const GATEWAYS: &str = r#"{"msg_id":"7","archived":null,"hops":[
        {"at_us":1000000,"station":"batched","seq":0,"who":0,"shard":1,"node":"gateway-1"},
        {"at_us":1000250,"station":"logged","seq":0,"who":0,"shard":65535,"node":"gateway-1"},
        {"at_us":1000250,"station":"arrived","seq":3,"who":0,"shard":0,"node":"gateway-1"},
        {"at_us":1000250,"station":"arrived","seq":3,"who":0,"shard":0,"node":"gateway-2"},
        {"at_us":1001000,"station":"told","seq":3,"who":1,"shard":65535,"node":"gateway-1"}]}"#;

    const PERSIST: &str = r#"{"msg_id":"7","hops":[
        {"at_us":1000500,"station":"consumed","seq":0,"queue":"b/0","offset":41,"node":"p"},
        {"at_us":1001000,"station":"told","seq":3,"who":1,"shard":65535,"node":"gateway-1"},
        {"at_us":1009000,"station":"archived","seq":3,"queue":"b/0","node":"p"}],
       "archived":{"conv":"p2p:a:b","epoch":1,"seq":3,"from":"a","client_msg_id":"c","type":"text",
        "body_bytes":2,"ts":1,"archived_at_ms":1008}}"#;

    /// That of a gateway, which tells its own and names nobody.
    const GATEWAY: &str = r#"{"msg_id":"7","archived":null,"hops":[
        {"at_us":1000000,"station":"batched","seq":0,"who":0,"shard":1},
        {"at_us":1012250,"station":"acknowledged","seq":3,"who":255,"shard":0}]}"#;

    fn merged(texts: &[(&str, &str)]) -> Trace {
        let read = |(admin, text): &(&str, &str)| ((*admin).to_owned(), serde_json::from_str(text).unwrap());
        merge(texts.iter().map(read).collect())
    }

    #[test]
    fn hops_of_several_nodes_are_shown_by_time_and_once_with_their_nodes() {
        let (api, persist, gateway) =
            (("http://h:1", GATEWAYS), ("http://h:2", PERSIST), ("http://10.0.0.1:7481", GATEWAY));
        let expected = "\
message 7: p2p:a:b seq 3 epoch 1, text of 2 bytes from a
UTC                         ms           +ms  node           station        shard or queue  connection
00:00:01.000 000         0.000         0.000  gateway-1      batched        1               -
00:00:01.000 250         0.250         0.250  gateway-1      logged         uplink          -
00:00:01.000 250         0.250         0.000  gateway-1      arrived        0               -
00:00:01.000 250         0.250         0.000  gateway-2      arrived        0               -
00:00:01.000 500         0.500         0.250  p              consumed       b/0 at 41       -
00:00:01.001 000         1.000         0.500  gateway-1      told           uplink          of 1 node
00:00:01.009 000         9.000         8.000  p              archived       b/0             -
00:00:01.012 250        12.250         3.250  10.0.0.1:7481  acknowledged   0               ff
";
        assert_eq!(render(7, &merged(&[api, persist, gateway])), expected);
        let other_way = merged(&[gateway, persist, persist, api]);
        assert_eq!(other_way.hops.len(), 8, "{other_way:?}");
        assert_eq!(other_way.hops[0].node.as_deref(), Some("gateway-1"), "a node is found for what had none");
    }

    #[test]
    fn who_alone_tells_hops_without_nodes_gives_none() {
        let trace = merged(&[("http://h:1", GATEWAY)]);
        assert!(trace.hops.len() == 2 && trace.hops.iter().all(|hop| hop.node.is_none()), "{trace:?}");
    }

    /// Answers every request with this; the address to ask at.
    async fn serve(answer: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/admin/trace/7", axum::routing::get(move || async move { answer }));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    #[tokio::test]
    async fn those_that_do_not_answer_are_named_and_all_of_them_are_a_failure() {
        // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Taken, and never listened on: nobody else gets it while the test runs.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let away = format!("http://{}", taken.local_addr().unwrap());
        let (persist, other) = (serve(PERSIST).await, serve("no trace").await);
        let (traces, missing) = ask_all(&[away.clone(), persist.clone(), other.clone()], None, 7).await.unwrap();
        assert!(traces.len() == 1 && traces[0].0 == persist && traces[0].1.hops.len() == 3, "{traces:?}");
        let missing: Vec<String> = missing.iter().map(one_line).collect();
        assert!(missing.len() == 2 && missing[0].starts_with(&format!("no answer from {away}")), "{missing:?}");
        assert!(missing[1].starts_with(&format!("{other} answers something else")), "{missing:?}");
        let failed = ask_all(&[away.clone(), other.clone()], None, 7).await.unwrap_err().to_string();
        assert!(failed.contains(&away) && failed.contains(&other) && !failed.contains('\n'), "{failed}");
    }
}
