//! Commands that are unknown, malformed or not allowed: an error, and the connection lives.

use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, group, send, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{Command, Empty, Point, Read, Sync, Typing};

/// Sends text; the code of the error that answers it, under the id that the text has.
async fn answer(peer: &mut Peer, text: &str) -> u32 {
    peer.text(text).await.unwrap();
    let packet = peer.wait(|packet| packet.error.is_some().then(|| packet.clone())).await.unwrap();
    let id = serde_json::from_str::<serde_json::Value>(text).unwrap()["id"].as_u64().unwrap_or(0);
    assert_eq!(packet.id, id, "{text}");
    let error = packet.error.unwrap();
    assert!(!error.temporary && !error.message.is_empty(), "{error:?}");
    error.code
}

async fn lives(peer: &mut Peer) {
    let pong = peer.ask(Command { ping: Some(Empty {}), ..Command::default() }).await.unwrap();
    assert!(pong.pong.is_some(), "{pong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_command_has_its_error_and_the_connection_lives() {
    let server = Server::start().unwrap();
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let (mut peer, _) = Peer::connect(server.addresses().ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let long = "x".repeat(65);
    let to_ben = |rest: &str| format!(r#"{{"id":9000,"send":{{"to":{{"user":"ben"}},{rest}}}}}"#);
    let to = |to: &str| format!(r#"{{"id":9000,"send":{{"to":{to},"client_msg_id":"c","body":"x"}}}}"#);
    let cases = [
        (r#"{"id":9000,"fly":{}}"#.to_owned(), 4001),
        (r#"{"id":9000}"#.to_owned(), 4000),
        ("{}".to_owned(), 4000),
        (r#"{"id":9000,"ping":{},"conversations":{}}"#.to_owned(), 4000),
        (r#"{"id":9000,"send":"x"}"#.to_owned(), 4000),
        (r#"{"id":9000,"send":[]}"#.to_owned(), 4000),
        (r#"{"id":-1,"ping":{}}"#.to_owned(), 4000),
        (r#"{"id":"9","ping":{}}"#.to_owned(), 4000),
        (r#"{"id":9000,"sync":{"conv":5}}"#.to_owned(), 4000),
        (to_ben(r#""client_msg_id":5"#), 4000),
        (r#"{"id":9000,"connect":{"token":"","device":"phone"}}"#.to_owned(), 4011),
        (to("{}"), 4002),
        (to(r#"{"user":"ben","group":"g"}"#), 4002),
        (to(r#"{"user":"BEN"}"#), 4002),
        (to(r#"{"user":"b\u0000n"}"#), 4002),
        (to(r#"{"user":"b\u007fn"}"#), 4002),
        (to(r#"{"user":"../ben"}"#), 4002),
        (to(r#"{"user":"nobody"}"#), 4040),
        (to(r#"{"group":"g\n"}"#), 4002),
        (to(r#"{"group":"nowhere"}"#), 4031),
        (to_ben(r#""client_msg_id":"","body":"x""#), 4002),
        (to_ben(r#""client_msg_id":"a\u0007b","body":"x""#), 4002),
        (to_ben(r#""client_msg_id":"a\u0085b","body":"x""#), 4002),
        (to_ben(&format!(r#""client_msg_id":"{long}","body":"x""#)), 4002),
        (to_ben(r#""client_msg_id":"c","type":"te xt","body":"x""#), 4002),
        (to_ben(r#""client_msg_id":"c","type":"a\u0000","body":"x""#), 4002),
        (to_ben(r#""client_msg_id":"c","enc":"gzip","body":"x""#), 4002),
        (to_ben(r#""client_msg_id":"c","type":"system","body":"x""#), 4030),
        (r#"{"id":9000,"sync":{"conv":"group:a\u0001"}}"#.to_owned(), 4002),
        (r#"{"id":9000,"sync":{"conv":"what"}}"#.to_owned(), 4002),
        (r#"{"id":9000,"read":{"conv":"p2p:ben:ann","seq":1}}"#.to_owned(), 4002),
        (r#"{"id":9000,"refresh":{"token":"x"}}"#.to_owned(), 4012),
        (r#"{"id":9000,"signal":{"to":{"group":"g"},"call":"c","body":"x"}}"#.to_owned(), 4002),
    ];
    for (text, expected) in cases {
        assert_eq!(answer(&mut peer, &text).await, expected, "{text}");
        lives(&mut peer).await;
    }
    // Nothing of it was stored.
    assert_eq!(peer.read_all(&pair("ann", "ben"), 0).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_before_connect_are_refused_and_those_behind_it_served_in_order() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let mut peer = Peer::open(ws, Format::Json).await.unwrap();
    for text in [
        r#"{"id":8,"ping":{}}"#,
        r#"{"id":8,"send":{"to":{"user":"ben"},"client_msg_id":"c","body":"x"}}"#,
        r#"{"id":8,"conversations":{}}"#,
        r#"{"id":8,"ack":{"conv":"p2p:ann:ben","epoch":1,"seq":9}}"#,
        r#"{"id":8,"refresh":{"token":"x"}}"#,
    ] {
        assert_eq!(answer(&mut peer, text).await, 4010, "{text}");
    }
    assert_eq!(answer(&mut peer, r#"{"id":8,"fly":{}}"#).await, 4001);
    assert_eq!(answer(&mut peer, r#"{"id":8,"connect":{"token":"x","device":"a b"}}"#).await, 4002);
    let long = "x".repeat(5_000);
    let text = format!(r#"{{"id":8,"connect":{{"token":"{long}","device":"phone"}}}}"#);
    assert_eq!(answer(&mut peer, &text).await, 4130);
    // All in one WebSocket message, and the connection is as good as new.
    let token = &tokens[0];
    let line = |n: u64| format!(r#"{{"id":{n},"send":{{"to":{{"user":"ben"}},"client_msg_id":"c{n}","body":"x"}}}}"#);
    let text = format!(r#"{{"id":1,"connect":{{"token":"{token}","device":"phone"}}}}"#);
    peer.text(&[text, line(2), line(3), line(4)].join("\n")).await.unwrap();
    assert!(peer.reply(1).await.unwrap().connected.is_some());
    for n in 2..=4 {
        let packet = peer.next().await.unwrap();
        assert_eq!((packet.id, packet.sent.unwrap().seq), (n, n - 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_others_can_neither_be_read_nor_joined_nor_written() {
    let server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let (ws, api) = (server.addresses().ws, server.addresses().api);
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben", "eve"]).await.unwrap();
    let conv = http::create_group(api, &tokens[0], &["ben".to_owned()]).await.unwrap();
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let pair = pair("ann", "ben");
    // With points of resume that are none of hers.
    let login = Login::new(&tokens[2], "phone").at(&pair, 1, 0).at(&conv, 1, 0);
    let (mut eve, _) = Peer::connect(ws, &login).await.unwrap();
    ann.say(&user("ben"), "c1", "secret").await.unwrap();
    ann.say(&group(&conv), "c2", "secret").await.unwrap();
    for conv in [&pair, &conv] {
        let sync = Sync { conv: conv.clone(), ..Sync::default() };
        let before = Sync { before_seq: 9, ..sync.clone() };
        let typing = Typing { conv: conv.clone(), uid: String::new() };
        for command in [
            Command { sync: Some(sync), ..Command::default() },
            Command { sync: Some(before), ..Command::default() },
            Command { read: Some(Read { conv: conv.clone(), seq: 1 }), ..Command::default() },
            Command { typing: Some(typing), ..Command::default() },
        ] {
            assert_eq!(eve.refused(command).await.unwrap().code, 4031, "{conv}");
        }
        // An acknowledgement has no answer; it changes nothing.
        let ack = Point { conv: conv.clone(), epoch: 1, seq: 99 };
        eve.commands(&[Command { ack: Some(ack), ..Command::default() }]).await.unwrap();
        let path = format!("/v1/conversations/{conv}/messages");
        let answer = http::call(api, &tokens[2], "GET", &path, None).await.unwrap();
        assert_eq!((answer.status, answer.code()), (403, 4031), "{}", answer.text);
    }
    assert_eq!(eve.refused(send(&group(&conv), "c3", "me too")).await.unwrap().code, 4031);
    let members = format!("/v1/groups/{}/members", conv.strip_prefix("group:").unwrap());
    let join = Some(serde_json::json!({"uids": ["eve"]}));
    let answer = http::call(api, &tokens[2], "POST", &members, join).await.unwrap();
    assert_eq!((answer.status, answer.code()), (403, 4031), "{}", answer.text);
    lives(&mut eve).await;
    assert!(
        eve.untaken().all(|packet| packet.message.is_none() && packet.messages.is_none() && packet.receipt.is_none())
    );
    lives(&mut ann).await;
    assert!(ann.untaken().all(|packet| packet.receipt.is_none()), "a stranger's acknowledgement was shown");
}
