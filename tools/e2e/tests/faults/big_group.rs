//! A group of 10,000 members, 2,000 of them connected: one encoding a wire format, order for everybody who
//! reads, bounded memory for those who never do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::metrics::{self, Metrics};
use ringway_e2e::peer::{Login, Peer, group};
use ringway_e2e::people::People;
use ringway_e2e::server::{Server, Settings};
use ringway_e2e::wire::{Frame, Wire};
use ringway_engine::packet::{self, Format};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const MEMBERS: usize = 10_000;
const CONNECTED: usize = 2_000;
/// One in so many never reads.
const SILENT_EVERY: usize = 100;
const SILENT: usize = CONNECTED / SILENT_EVERY;
/// Small messages, then large ones.
const SMALL: u64 = 100;
const LARGE: u64 = 48;
const LARGE_BYTES: usize = 48 * 1024;
/// Large messages on their way to those who read.
const AHEAD: u64 = 2;
/// What the server may gain by the large ones. A copy of each for each member that does not read would be
/// 46 MB, for each that is connected 4.6 GB; what the conversation itself keeps (the archive's caches, the
/// hub's recent ring) is a few MB.
const GROWTH_BYTES_MAX: u64 = 40 * 1024 * 1024;
/// Everything takes as long as two busy cores need.
const LIMIT: Duration = Duration::from_secs(60);

fn member(n: usize) -> String {
    format!("m{n:05}")
}

/// Reads live messages up to a number: rising by one from the first on. Counts what it has read.
async fn read_in_order(mut peer: Peer, format: Format, conv: String, last: u64, read: Arc<AtomicU64>) -> Peer {
    let mut expected = None;
    loop {
        let payload = match peer.wire().frame_within(LIMIT).await.unwrap() {
            Frame::Text(payload) | Frame::Binary(payload) => payload,
            // Any word of ours says that we live.
            Frame::Ping(_) => {
                let ping = ringway_engine::packet::schema::Empty {};
                let alive = ringway_engine::packet::schema::Command { ping: Some(ping), ..Default::default() };
                peer.command(alive).await.unwrap();
                continue;
            }
            other => panic!("{other:?}"),
        };
        let mut seqs = Vec::new();
        packet::decode_server(format, &payload, &mut |packet| {
            let items = packet.messages.into_iter().flat_map(|page| page.items).chain(packet.message);
            assert!(packet.resync.is_none(), "a member that reads was too slow");
            seqs.extend(items.filter(|message| message.conv == conv).map(|message| message.seq));
        })
        .unwrap();
        for seq in seqs {
            assert_eq!(seq, expected.unwrap_or(seq), "out of order");
            expected = Some(seq + 1);
            if seq > 1 {
                read.fetch_add(1, Ordering::Relaxed);
            }
            if seq == last {
                return peer;
            }
        }
    }
}

/// Waits until so many messages were read by all together.
async fn until_read(read: &AtomicU64, count: u64) {
    let deadline = Instant::now() + LIMIT;
    while read.load(Ordering::Relaxed) < count {
        assert!(Instant::now() < deadline, "{} of {count} read", read.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Connects as member `n`: every second one in protobuf, the silent ones by a narrow pipe.
async fn connect(ws: SocketAddr, n: usize, token: &str) -> (Peer, Format) {
    let format = Format::ALL[n % 2];
    let wire = if is_silent(n) { Wire::open_narrow(ws).await } else { Wire::open(ws).await };
    let mut peer = Peer::over(wire.unwrap(), ws, format).await.unwrap();
    peer.log_in(&Login { format, ..Login::new(token, "phone") }).await.unwrap();
    (peer, format)
}

fn is_silent(n: usize) -> bool {
    n % SILENT_EVERY == SILENT_EVERY / 2
}

// Long because it is one story: the group, the burst, what each kind of member saw, what it cost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_ten_thousand_is_encoded_once_a_format_and_memory_stays_bounded() {
    let server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let (ws, admin) = (server.addresses().ws, server.addresses().admin);
    let people = People::of(&server.data()).await.unwrap();
    let mut tokens = Vec::new();
    for n in 0..MEMBERS {
        tokens.push(people.add(&member(n)).await.unwrap());
    }
    let members: Vec<String> = (1..MEMBERS).map(member).collect();
    let conv = http::create_group(server.addresses().api, &tokens[0], &members).await.unwrap();
    let (mut sender, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    // The group's first message, the server's own, is out before anybody counts.
    let head = sender.wait(|packet| first_seq(packet, &conv)).await.unwrap();
    assert_eq!(head, 1);

    let (mut reading, mut silent) = (Vec::new(), Vec::new());
    let mut connecting = JoinSet::new();
    let gate = Arc::new(Semaphore::new(64));
    for (n, token) in tokens.iter().enumerate().take(CONNECTED + 1).skip(1) {
        let (gate, token) = (Arc::clone(&gate), token.clone());
        connecting.spawn(async move {
            let _turn = gate.acquire().await.unwrap();
            (n, connect(ws, n, &token).await)
        });
    }
    while let Some(connected) = connecting.join_next().await {
        let (n, peer) = connected.unwrap();
        if is_silent(n) { silent.push(peer) } else { reading.push(peer) }
    }
    assert_eq!(silent.len(), SILENT);

    let before = Metrics::read(admin).await.unwrap();
    let (rss_before, _) = server.memory().unwrap();
    let last = 1 + SMALL + LARGE;
    let read = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    let readers_count = reading.len() as u64;
    for (peer, format) in reading {
        readers.spawn(read_in_order(peer, format, conv.clone(), last, Arc::clone(&read)));
    }
    let large = "x".repeat(LARGE_BYTES);
    for n in 0..SMALL + LARGE {
        let body = if n < SMALL { "small" } else { &large };
        // Those who read keep up; only those who do not are to fall behind.
        until_read(&read, readers_count * n.saturating_sub(if n < SMALL { SMALL } else { AHEAD })).await;
        let sent = sender.say(&group(&conv), &format!("c{n}"), body).await.unwrap();
        assert_eq!(sent.seq, n + 2);
    }
    let mut peers = Vec::new();
    while let Some(peer) = readers.join_next().await {
        peers.push(peer.unwrap());
    }
    assert_eq!(read.load(Ordering::Relaxed), readers_count * (SMALL + LARGE));

    let after = Metrics::read(admin).await.unwrap();
    let gained = |name: &str| after.sum(name) - before.sum(name);
    assert_eq!(gained("ringway_numbered_total"), SMALL + LARGE);
    assert_eq!(gained("ringway_encodings_total"), 2 * (SMALL + LARGE), "one a message and wire format");
    let (rss_after, peak) = server.memory().unwrap();
    println!("resident before {rss_before}, after {rss_after}, peak {peak}");
    assert!(peak.saturating_sub(rss_before) < GROWTH_BYTES_MAX, "{rss_before} grew to {peak}");

    // Those who never read are told to read anew, then closed.
    metrics::until(admin, LIMIT, |metrics| {
        metrics.sum("ringway_slow_readers_total") >= SILENT as u64
            && metrics.sum("ringway_resyncs_total") >= SILENT as u64
    })
    .await
    .unwrap();
    let mut codes = BTreeSet::new();
    for (peer, _) in &mut silent {
        codes.insert(peer.wire().close_code().await.unwrap_or(None));
    }
    assert!(codes.is_subset(&BTreeSet::from([None, Some(3002)])), "{codes:?}");
    drop(peers);
}

/// The first number of the conversation that a packet shows.
fn first_seq(packet: &packet::schema::ServerPacket, conv: &str) -> Option<u64> {
    let items = packet.messages.iter().flat_map(|page| &page.items).chain(&packet.message);
    items.filter(|message| message.conv == conv).map(|message| message.seq).next()
}
