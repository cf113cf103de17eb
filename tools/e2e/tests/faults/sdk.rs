//! The Rust SDK against a server that dies: each message once and in order, nobody has to know.

use std::collections::BTreeMap;
use std::time::Duration;

use ringway_client::backoff::Bounds;
use ringway_client::schema::Message;
use ringway_client::{Client, Draft, Event, Events, Format, Options, user};
use ringway_e2e::people::People;
use ringway_e2e::server::{Server, Settings};
use tokio::time::timeout;

const EACH: usize = 400;
const KILLS: usize = 4;
const LIMIT: Duration = Duration::from_secs(60);

fn connect(server: &Server, token: &str, format: Format) -> (Client, Events) {
    let url = format!("ws://{}/v1/ws", server.addresses().ws);
    let mut options = Options::new(url, "laptop", token.to_owned());
    options.format = format;
    options.backoff = Bounds { base_ms: 20, cap_ms: 200 };
    Client::connect(options).unwrap()
}

/// Every third body is long enough to be deflated.
fn body(from: &str, n: usize) -> String {
    format!("{from} {n} {}", "long ".repeat(if n.is_multiple_of(3) { 400 } else { 0 }))
}

/// Sends all of them one behind the other; their numbers by body.
async fn send_all(client: Client, from: &'static str, to: &'static str) -> BTreeMap<u64, String> {
    let mut pending = Vec::new();
    for n in 0..EACH {
        let body = body(from, n);
        pending.push((client.enqueue(Draft::text(user(to), body.clone())).await.unwrap(), body));
    }
    let mut numbers = BTreeMap::new();
    for (sent, body) in pending {
        let sent = timeout(LIMIT, sent).await.expect("an answer").unwrap();
        assert!(numbers.last_key_value().is_none_or(|(last, _)| *last < sent.seq), "sends change places");
        numbers.insert(sent.seq, body);
    }
    numbers
}

/// Takes messages until all are there.
async fn take_all(mut events: Events, count: tokio::sync::watch::Sender<usize>) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while all.len() < 2 * EACH {
        let event = timeout(LIMIT, events.next()).await.expect("an event").expect("the client lives");
        if let Event::Message(message) = event {
            let Message { seq, body, .. } = message.as_ref();
            all.push((*seq, body.clone()));
            count.send_replace(all.len());
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_shows_each_message_once_and_in_order_over_kills() {
    let mut server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let (ann, ann_events) = connect(&server, &tokens[0], Format::Json);
    let (ben, ben_events) = connect(&server, &tokens[1], Format::Protobuf);
    let (count, mut seen) = tokio::sync::watch::channel(0);
    let tasks = (
        tokio::spawn(send_all(ann.clone(), "ann", "ben")),
        tokio::spawn(send_all(ben.clone(), "ben", "ann")),
        tokio::spawn(take_all(ann_events, count)),
        tokio::spawn(take_all(ben_events, tokio::sync::watch::channel(0).0)),
    );
    for kill in 1..=KILLS {
        // Each lands while sends are on their way.
        let from = 2 * EACH * kill / (KILLS + 1);
        timeout(LIMIT, seen.wait_for(|seen| *seen >= from)).await.expect("messages come").unwrap();
        assert!(*seen.borrow() < 2 * EACH, "all was over before the kill");
        server.kill().unwrap();
        server.launch().unwrap();
    }
    let (from_ann, from_ben) = (tasks.0.await.unwrap(), tasks.1.await.unwrap());
    let sent: Vec<(u64, String)> =
        from_ann.into_iter().chain(from_ben).collect::<BTreeMap<_, _>>().into_iter().collect();
    assert!(sent.iter().map(|(seq, _)| *seq).eq(1..=2 * EACH as u64));
    for shown in [tasks.2.await.unwrap(), tasks.3.await.unwrap()] {
        assert!(shown == sent, "shown otherwise than sent");
    }
    // A client ends with its last handle.
    drop((ann, ben));
}
