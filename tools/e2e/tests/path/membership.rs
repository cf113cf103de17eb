//! Joining and leaving while connected.

use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, group};
use ringway_e2e::people::People;
use ringway_e2e::server::{Server, Settings};
use ringway_engine::packet::schema::{Command, Sync};
use serde_json::json;

/// Within which a change reaches live sessions.
const CHANGE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_leaves_reach_live_sessions_within_two_seconds() {
    let server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let (ws, api) = (server.addresses().ws, server.addresses().api);
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben", "cem"]).await.unwrap();
    let conv = http::create_group(api, &tokens[0], &["ben".to_owned()]).await.unwrap();
    let members = format!("/v1/groups/{}/members", conv.strip_prefix("group:").unwrap());
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let (mut cem, _) = Peer::connect(ws, &Login::new(&tokens[2], "phone")).await.unwrap();
    for n in 0..5 {
        ann.say(&group(&conv), &format!("before-{n}"), "not for cem").await.unwrap();
    }
    let refused = cem.refused(ringway_e2e::peer::send(&group(&conv), "early", "let me in")).await.unwrap();
    assert_eq!(refused.code, 4031);

    let began = Instant::now();
    http::call(api, &tokens[0], "POST", &members, Some(json!({"uids": ["cem"]}))).await.unwrap().expect(200).unwrap();
    let changed = cem.wait(|packet| packet.changed.clone()).await.unwrap();
    assert_eq!((changed.conv.as_str(), changed.kind.as_str()), (conv.as_str(), "joined"));
    assert!(began.elapsed() < CHANGE, "{:?}", began.elapsed());
    let sent = ann.say(&group(&conv), "after", "hello cem").await.unwrap();
    // What was said before the join is not for those who join.
    let is_shown = |packet: &ringway_engine::packet::schema::ServerPacket| {
        let items = packet.messages.iter().flat_map(|page| &page.items).chain(&packet.message);
        items.into_iter().find(|message| message.kind != "system").cloned()
    };
    let first = cem.wait(is_shown).await.unwrap();
    assert_eq!((first.seq, first.body.as_str()), (sent.seq, "hello cem"));
    cem.say(&group(&conv), "mine", "hello all").await.unwrap();
    let page = cem.ask(sync(&conv, 0)).await.unwrap().messages.unwrap();
    assert!(page.items.iter().all(|message| message.body != "not for cem"), "{:?}", page.items);

    let began = Instant::now();
    let path = format!("{members}/cem");
    http::call(api, &tokens[0], "DELETE", &path, None).await.unwrap().expect(204).unwrap();
    let changed = cem.wait(|packet| packet.changed.clone()).await.unwrap();
    assert_eq!((changed.conv.as_str(), changed.kind.as_str()), (conv.as_str(), "left"));
    assert!(began.elapsed() < CHANGE, "{:?}", began.elapsed());
    let gone = ann.say(&group(&conv), "gone", "cem is gone").await.unwrap();
    for command in [ringway_e2e::peer::send(&group(&conv), "late", "still here"), sync(&conv, 0)] {
        assert_eq!(cem.refused(command).await.unwrap().code, 4031);
    }
    let leaked = cem.untaken().any(|packet| is_shown(packet).is_some_and(|message| message.seq >= gone.seq));
    assert!(!leaked, "a message came after the removal");
    // The changes themselves stand in the group's history; the last one is told like any other message.
    let is_removal = |packet: &ringway_engine::packet::schema::ServerPacket| {
        packet.message.clone().filter(|message| message.kind == "system" && message.body.contains("removed"))
    };
    ann.wait(is_removal).await.unwrap();
    let all = ann.read_all(&conv, 0).await.unwrap();
    let events: Vec<String> = all
        .iter()
        .filter(|message| message.kind == "system")
        .map(|message| serde_json::from_str::<serde_json::Value>(&message.body).unwrap()["event"].to_string())
        .collect();
    assert_eq!(events, ["\"created\"", "\"joined\"", "\"removed\""]);
    assert!(all.iter().map(|message| message.seq).eq(1..=all.len() as u64));
}

fn sync(conv: &str, after_seq: u64) -> Command {
    Command { sync: Some(Sync { conv: conv.to_owned(), after_seq, ..Sync::default() }), ..Command::default() }
}
