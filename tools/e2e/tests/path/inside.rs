//! What a node says of its inside under a known load: figures that must add up, whatever the machine.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_e2e::metrics::{Metrics, until};
use ringway_e2e::peer::{Login, Peer, user};
use ringway_e2e::people::People;
use ringway_e2e::server::{Server, Settings};
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::schema::{Command, Point};
use serde_json::Value;

const SHARDS: u16 = 2;
const PAIRS: usize = 8;
/// Messages of each pair.
const EACH: u64 = 25;
const LIMIT: Duration = Duration::from_secs(20);

/// The node with its load done: every message sent, shown and acknowledged.
async fn loaded() -> (Server, Vec<Peer>) {
    let server = Server::start_with(Settings { shards: SHARDS, ..Settings::default() }).unwrap();
    let people = People::of(&server.data()).await.unwrap();
    let mut peers = Vec::new();
    for pair in 0..PAIRS {
        let (sender, receiver) = (format!("s{pair}"), format!("r{pair}"));
        let tokens = people.add_all(&[&sender, &receiver]).await.unwrap();
        let ws = server.addresses().ws;
        let (mut from, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
        let (mut to, _) = Peer::connect(ws, &Login::new(&tokens[1], "phone").protobuf()).await.unwrap();
        for n in 0..EACH {
            from.say(&user(&receiver), &format!("{pair}-{n}"), "a body").await.unwrap();
            let shown = to.message().await.unwrap();
            let ack = Point { conv: shown.conv, epoch: shown.epoch, seq: shown.seq };
            to.commands(&[Command { ack: Some(ack), ..Command::default() }]).await.unwrap();
        }
        peers.extend([from, to]);
    }
    (server, peers)
}

/// Conversations whose home is each shard.
fn homes() -> [u64; SHARDS as usize] {
    let mut homes = [0; SHARDS as usize];
    for pair in 0..PAIRS {
        let uid = |letter: char| Uid::parse(&format!("{letter}{pair}")).unwrap();
        homes[ConversationId::p2p(&uid('s'), &uid('r')).home_shard(usize::from(SHARDS))] += 1;
    }
    homes
}

async fn settled(admin: SocketAddr) -> Metrics {
    let sent = PAIRS as u64 * EACH;
    // The last acknowledgements are under way, and loops are shown once a tick. Pushes follow each other slowly enough
    // here for all of them to be watched, or nearly.
    until(admin, LIMIT, |metrics| {
        metrics.sum("ringway_commands_total") >= 2 * sent && metrics.sum("ringway_loop_turns_total") > 0
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_of_all_shards_add_up_to_what_was_sent_shown_and_written() {
    let (server, _peers) = loaded().await;
    let metrics = settled(server.addresses().admin).await;
    let sent = PAIRS as u64 * EACH;
    for name in ["submitted", "hub_batched", "numbered", "delivered"] {
        assert_eq!(metrics.sum(&format!("ringway_{name}_total")), sent, "{name}");
    }
    for (shard, homes) in homes().into_iter().enumerate() {
        let here = |name: &str| metrics.of(&format!("ringway_{name}"), &[("shard", &shard.to_string())]).unwrap();
        assert_eq!(here("hub_batched_total"), homes * EACH, "messages are of the shard that is their home");
        assert!(here("hub_batches_total") <= here("hub_batched_total"));
        assert!(here("loop_turns_total") > 0 && here("loop_wakes_total") <= here("loop_completions_total"));
        assert!(here("mailbox_wakes_total") <= here("mailbox_turns_total"));
        assert!(here("mailbox_turns_total") <= here("mailbox_items_total"));
    }
    // One `sent` and one push each, and what the sign-ins needed.
    assert!(metrics.sum("ringway_frames_total") >= 2 * sent);
    let stage = |name: &str| {
        let labels = [("stage", name)];
        let count = metrics.of("ringway_stage_seconds_count", &labels).unwrap();
        assert_eq!(
            metrics.of("ringway_stage_seconds_bucket", &[("stage", name), ("le", "+Inf")]),
            Some(count),
            "{name}"
        );
        count
    };
    assert_eq!((stage("batch"), stage("sent"), stage("push")), (sent, sent, sent));
    assert_eq!(stage("commit"), metrics.sum("ringway_hub_batches_total"));
    assert!(stage("home") <= sent, "only what crossed");
    assert!((1..=sent).contains(&stage("ack")), "some are watched");
    assert_eq!(stage("append"), metrics.sum("ringway_uplink_commits_total"));
    let commits = metrics.of("ringway_journal_commit_seconds_bucket", &[("le", "+Inf")]);
    assert_eq!(commits, metrics.of("ringway_journal_commit_records_bucket", &[("le", "+Inf")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_tells_what_the_node_counted() {
    let (server, mut peers) = loaded().await;
    settled(server.addresses().admin).await;
    let admin = format!("http://{}", server.addresses().admin);
    let mut command = Server::tool(&["top", "--once", "--json", "--admin", &admin]).unwrap();
    let top = tokio::task::spawn_blocking(move || command.output());
    // Work while it looks: some of it may fall between its readings.
    let mut more = 0;
    while !top.is_finished() {
        peers[0].say(&user("r0"), &format!("more-{more}"), "a body").await.unwrap();
        more += 1;
    }
    let output = top.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let figures: Value = serde_json::from_str(&text).unwrap();
    let number = |at: &str| figures.pointer(at).and_then(Value::as_f64).unwrap_or_else(|| panic!("{at}: {text}"));

    let sent = (PAIRS as u64 * EACH) as f64;
    for name in ["submitted", "batched", "numbered", "delivered"] {
        let of_all = number(&format!("/all/total/{name}"));
        assert!((sent..=sent + more as f64).contains(&of_all), "{name}: {of_all}");
        let of_each: f64 = (0..SHARDS).map(|shard| number(&format!("/shards/{shard}/total/{name}"))).sum();
        assert_eq!(of_each, of_all, "{name}");
    }
    assert_eq!(number("/all/connections"), 2.0 * PAIRS as f64);
    assert!(number("/seconds") >= 1.0);
    assert!(number("/all/numbered_per_s") * number("/seconds") <= more as f64 + 0.5);
    assert!(number("/all/messages_per_batch") >= 1.0 && number("/all/completions_per_turn") > 0.0);
    assert!(number("/all/frames_per_write") > 0.0 && number("/journal/records_per_commit") >= 1.0);
    for stage in ["batch", "commit", "sent", "push"] {
        let (p50, p99) =
            (number(&format!("/all/stages/{stage}/p50_us")), number(&format!("/all/stages/{stage}/p99_us")));
        assert!(0.0 < p50 && p50 <= p99, "{stage}: {p50} {p99}");
    }
}
