//! `ringway top`: what a running node does inside, shard by shard, from its `/metrics` alone.
//!
//! `reading` is one answer of the node, `figures` what two of them say about the time between, `table` how that is
//! written, `screen` the terminal. Runs on a tokio runtime of its own, a question at a time.

mod figures;
mod reading;
mod screen;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use ringway_service::failure::Failure;
use tokio::runtime::Runtime;

use self::figures::Figures;
use self::reading::Reading;
use crate::settings::DataArgs;

/// How long a node has to answer.
const ANSWER_MS: u64 = 5_000;
/// From one reading to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watch what a running node does inside, shard by shard.
///
/// Each figure is of the second before. Without a terminal, a table is printed every second.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Address of the admin listener of a node or of a gateway [default: that of the node that serves the data folder]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Print one table and end: two readings, a second apart
    #[arg(long)]
    once: bool,
    /// Print a line of JSON for each second
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Watches until it is told to stop.
///
/// # Errors
/// No node answers at the start, or, where there is no terminal to say so, later; or what answers has no shards.
pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let admin = match &args.admin {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => args.data.admin()?,
    };
    let source = Source::new(admin)?;
    let first = source.read()?;
    if args.once || args.json || !std::io::stdout().is_terminal() {
        return Ok(print(&source, first, args)?);
    }
    Ok(screen::run(&source, first)?)
}

/// One table or line after the other, or a single one.
fn print(source: &Source, mut before: Reading, args: &TopArgs) -> anyhow::Result<()> {
    loop {
        thread::sleep((before.at + INTERVAL).saturating_duration_since(Instant::now()));
        let after = source.read()?;
        let figures = Figures::between(&before, &after);
        let text = if args.json {
            format!("{}\n", serde_json::to_string(&figures)?)
        } else {
            table::plain(&source.admin, &figures)
        };
        let written = std::io::stdout().write_all(text.as_bytes());
        // A reader that has seen enough closes its end.
        if args.once || written.is_err() {
            return Ok(());
        }
        before = after;
    }
}

/// A node to ask.
struct Source {
    admin: String,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Source {
    fn new(admin: String) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(ANSWER_MS)).build()?;
        Ok(Self { admin, client, runtime })
    }

    /// Asks once; blocks for as long as a node has to answer.
    fn read(&self) -> anyhow::Result<Reading> {
        self.runtime.block_on(async {
            let admin = &self.admin;
            let response = self.client.get(format!("{admin}/metrics")).send().await;
            let response = response.with_context(|| format!("no answer from {admin}"))?;
            if !response.status().is_success() {
                bail!("{admin} answers {}", response.status());
            }
            let text = response.text().await.with_context(|| format!("the answer of {admin} was cut off"))?;
            let reading = Reading::parse(&text, Instant::now());
            let reading = reading.with_context(|| format!("{admin} answers something else than metrics"))?;
            if reading.shards().is_empty() {
                bail!("{admin} has no shards: name the admin listener of a gateway, or of `ringway up`");
            }
            Ok(reading)
        })
    }
}
