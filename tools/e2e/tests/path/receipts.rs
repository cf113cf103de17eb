//! Delivered and read receipts, the conversation list, and history over HTTP.

use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, group, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::packet::schema::{Command, ListConversations, Point, Read};

fn read(conv: &str, seq: u64) -> Command {
    Command { read: Some(Read { conv: conv.to_owned(), seq }), ..Command::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_reach_the_sender_and_the_users_other_devices() {
    let mut server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let (ws, api) = (server.addresses().ws, server.addresses().api);
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let conv = pair("ann", "ben");
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let (mut own_other, _) = Peer::connect(ws, &Login::new(&tokens[0], "laptop").protobuf()).await.unwrap();
    let (mut ben, _) = Peer::connect(ws, &Login::new(&tokens[1], "phone")).await.unwrap();
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&tokens[1], "tablet").protobuf()).await.unwrap();
    for n in 1..=3 {
        let sent = ann.say(&user("ben"), &format!("c{n}"), &format!("body {n}")).await.unwrap();
        for peer in [&mut ben, &mut tablet, &mut own_other] {
            let message = peer.message().await.unwrap();
            assert_eq!((message.seq, message.msg_id, message.from.as_str()), (n, sent.msg_id, "ann"));
        }
    }
    let ack = Point { conv: conv.clone(), epoch: 1, seq: 3 };
    ben.commands(&[Command { ack: Some(ack), ..Command::default() }]).await.unwrap();
    for peer in [&mut ann, &mut own_other] {
        let receipt = peer.wait(|packet| packet.receipt.clone()).await.unwrap();
        assert_eq!((receipt.kind.as_str(), receipt.uid.as_str(), receipt.seq), ("delivered", "ben", 3));
    }
    assert!(ben.ask(read(&conv, 2)).await.unwrap().ok.is_some());
    for peer in [&mut ann, &mut own_other, &mut tablet] {
        let receipt =
            peer.wait(|packet| packet.receipt.clone().filter(|receipt| receipt.kind == "read")).await.unwrap();
        assert_eq!((receipt.conv.as_str(), receipt.uid.as_str(), receipt.seq), (conv.as_str(), "ben", 2));
    }
    let of_group = http::create_group(api, &tokens[0], &["ben".to_owned()]).await.unwrap();
    ann.say(&group(&of_group), "g1", "to the group").await.unwrap();
    // The mark outlives a kill: it is in the log.
    for round in 0..2 {
        let list = Command { conversations: Some(ListConversations::default()), ..Command::default() };
        let list = ben.ask(list).await.unwrap().conversations.unwrap();
        let found = list.items.iter().find(|item| item.conv == conv).unwrap();
        assert_eq!((found.head, found.read, found.unread), (3, 2, 1), "round {round}");
        assert_eq!(found.last.as_ref().unwrap().body, "body 3");
        assert!(list.items.iter().any(|item| item.conv == of_group));
        let path = format!("/v1/conversations/{conv}/messages?before_seq=3&limit=10");
        let page = http::call(api, &tokens[1], "GET", &path, None).await.unwrap().expect(200).unwrap().json();
        let bodies: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|item| item["body"].as_str().unwrap()).collect();
        assert_eq!(bodies, ["body 1", "body 2"]);
        if round == 0 {
            server.kill().unwrap();
            server.launch().unwrap();
            ben = Peer::connect(ws, &Login::new(&tokens[1], "phone")).await.unwrap().0;
        }
    }
}
