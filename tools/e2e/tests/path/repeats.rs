//! Sends that come more than once.

use ringway_e2e::peer::{Login, Peer, send, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::limits::DEVICES_PER_USER_MAX;
use ringway_engine::packet::schema::{Command, Sent};
use tokio::task::JoinSet;

/// Sends of each device.
const TIMES: u64 = 50;

fn repeated(retry: bool) -> Command {
    let mut command = send(&user("ben"), "the-one", "said often");
    command.send.as_mut().unwrap().retry = retry;
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_one_repeated_send_is_one_message_with_one_number() {
    let mut server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let ws = server.addresses().ws;
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let (mut ben, _) = Peer::connect(ws, &Login::new(&tokens[1], "phone")).await.unwrap();
    let mut storm = JoinSet::new();
    for device in 0..DEVICES_PER_USER_MAX - 1 {
        let login = Login::new(&tokens[0], &format!("device-{device}"));
        storm.spawn(async move {
            let (mut peer, _) = Peer::connect(ws, &login).await.unwrap();
            let commands: Vec<Command> =
                (1..=TIMES).map(|n| Command { id: 1_000 + n, ..repeated(n > 1 || device > 0) }).collect();
            peer.commands(&commands).await.unwrap();
            let mut answers: Vec<Sent> = Vec::new();
            for n in 1..=TIMES {
                answers.push(peer.reply(1_000 + n).await.unwrap().sent.expect("taken"));
            }
            answers
        });
    }
    let mut answers: Vec<Sent> = storm.join_all().await.into_iter().flatten().collect();
    // The first number is given again after a kill, and in ten minutes without the mark as well.
    server.kill().unwrap();
    server.launch().unwrap();
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    for retry in [true, false] {
        answers.push(ann.ask(repeated(retry)).await.unwrap().sent.expect("taken"));
    }
    let first = answers[0].clone();
    assert_eq!(first.seq, 1);
    for answer in &answers {
        assert_eq!((answer.seq, answer.msg_id), (first.seq, first.msg_id));
    }
    let all = ann.read_all(&pair("ann", "ben"), 0).await.unwrap();
    assert_eq!(all.iter().map(|message| message.msg_id).collect::<Vec<_>>(), [first.msg_id]);
    // And shown once.
    assert_eq!(ben.message().await.unwrap().msg_id, first.msg_id);
    assert!(ben.ended().await.is_ok());
    assert!(ben.untaken().all(|packet| packet.message.is_none()));
}
