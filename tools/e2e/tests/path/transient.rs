//! Typing and signals: passed on, never stored.

use ringway_e2e::http;
use ringway_e2e::metrics::Metrics;
use ringway_e2e::peer::{Login, Peer, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::packet::schema::{Command, Signal, Typing};

fn typing(conv: &str) -> Command {
    Command { typing: Some(Typing { conv: conv.to_owned(), uid: String::new() }), ..Command::default() }
}

fn signal(to: &str, n: u64) -> Command {
    let signal = Signal { to: Some(user(to)), call: format!("call-{n}"), body: "offer".into(), from: String::new() };
    Command { signal: Some(signal), ..Command::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_and_signals_reach_the_others_and_never_the_journal() {
    let server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let (ws, admin) = (server.addresses().ws, server.addresses().admin);
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben", "cem"]).await.unwrap();
    let group = http::create_group(server.addresses().api, &tokens[0], &["ben".to_owned()]).await.unwrap();
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let (mut ben, _) = Peer::connect(ws, &Login::new(&tokens[1], "phone").protobuf()).await.unwrap();
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&tokens[1], "tablet")).await.unwrap();
    let (mut cem, _) = Peer::connect(ws, &Login::new(&tokens[2], "phone")).await.unwrap();
    // The group's own first message is out, so nothing durable is under way any more.
    for peer in [&mut ann, &mut ben, &mut tablet] {
        peer.wait(|packet| packet.messages.as_ref().map(|_| ()).or(packet.message.as_ref().map(|_| ()))).await.unwrap();
    }
    let before = Metrics::read(admin).await.unwrap();
    assert!(before.has("ringway_journal_records_total"));

    for n in 0..50 {
        ann.command(typing(&pair("ann", "ben"))).await.unwrap();
        ann.command(typing(&group)).await.unwrap();
        ann.command(signal("ben", n)).await.unwrap();
    }
    for peer in [&mut ben, &mut tablet] {
        for n in 0..50 {
            for conv in [&pair("ann", "ben"), &group] {
                let typing = peer.wait(|packet| packet.typing.clone()).await.unwrap();
                assert_eq!((&typing.conv, typing.uid.as_str()), (conv, "ann"));
            }
            let signal = peer.wait(|packet| packet.signal.clone()).await.unwrap();
            assert_eq!(
                (signal.call, signal.body.as_str(), signal.from.as_str()),
                (format!("call-{n}"), "offer", "ann")
            );
        }
    }
    // Neither the sender nor a stranger was told; a pong shows that everything before it was.
    for peer in [&mut ann, &mut cem] {
        let ping = Command { ping: Some(ringway_engine::packet::schema::Empty {}), ..Command::default() };
        peer.ask(ping).await.unwrap();
        assert!(peer.untaken().all(|packet| packet.typing.is_none() && packet.signal.is_none()));
    }
    let after = Metrics::read(admin).await.unwrap();
    for name in ["ringway_journal_records_total", "ringway_journal_record_bytes_total", "ringway_journal_end"] {
        assert_eq!(after.sum(name), before.sum(name), "{name}");
    }
    assert!(after.sum("ringway_transients_total") - before.sum("ringway_transients_total") >= 300);

    // Nor are they for a conversation of others.
    let refused = cem.refused(typing(&pair("ann", "ben"))).await.unwrap();
    assert_eq!(refused.code, 4031);
    let refused = cem.refused(typing(&group)).await.unwrap();
    assert_eq!(refused.code, 4031);
}
