//! Devices that were away: the backlog first and whole, each device from its own cursor.

use ringway_e2e::peer::{Login, Peer, send, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::packet::schema::{Command, Connected, Message, Point};

const BACKLOG: u64 = 10_000;
/// Sends of one WebSocket message.
const BATCH: u64 = 100;

/// A server with two users; their tokens.
async fn two_users() -> (Server, String, String) {
    let server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    (server, tokens[0].clone(), tokens[1].clone())
}

/// Sends `from..=to` as fast as the window allows; all are numbered in that order.
async fn send_many(peer: &mut Peer, to: &str, range: std::ops::RangeInclusive<u64>) {
    let numbers: Vec<u64> = range.collect();
    for batch in numbers.chunks(BATCH as usize) {
        let command =
            |n: &u64| Command { id: 1_000_000 + n, ..send(&user(to), &format!("c{n}"), &format!("message {n}")) };
        peer.commands(&batch.iter().map(command).collect::<Vec<_>>()).await.unwrap();
        for n in batch {
            let sent = peer.reply(1_000_000 + n).await.unwrap();
            assert_eq!(sent.sent.expect("taken").seq, *n);
        }
    }
}

/// The next messages of a conversation, pages and live ones in the order of the wire; says which were live.
async fn shown(peer: &mut Peer, until: u64) -> Vec<(Message, bool)> {
    let mut all: Vec<(Message, bool)> = Vec::new();
    while all.last().is_none_or(|(last, _)| last.seq < until) {
        let packet = peer.next().await.unwrap();
        if let Some(page) = packet.messages {
            assert!(page.items.len() <= 100 && packet.id == 0);
            all.extend(page.items.into_iter().map(|message| (message, false)));
        }
        all.extend(packet.message.map(|message| (message, true)));
    }
    all
}

/// Rising by one from `first`, and nothing live before the last of the backlog.
fn check_in_order(all: &[(Message, bool)], first: u64) {
    for ((message, _), expected) in all.iter().zip(first..) {
        assert_eq!((message.seq, &message.body), (expected, &format!("message {expected}")));
    }
    let first_live = all.iter().position(|(_, live)| *live).unwrap_or(all.len());
    assert!(all[first_live..].iter().all(|(_, live)| *live), "backlog behind something live");
}

async fn ack(peer: &mut Peer, conv: &str, seq: u64) {
    let ack = Point { conv: conv.to_owned(), epoch: 1, seq };
    peer.commands(&[Command { ack: Some(ack), ..Command::default() }]).await.unwrap();
}

/// What a fresh connection of a device is shown first; it ends at once.
async fn first_shown(server: &Server, login: &Login) -> (Connected, Peer, u64) {
    let (mut peer, connected) = Peer::connect(server.addresses().ws, login).await.unwrap();
    let first = peer
        .wait(|packet| packet.messages.as_ref().and_then(|page| page.items.first()).map(|message| message.seq))
        .await
        .unwrap();
    (connected, peer, first)
}

/// Waits until a device without a resume point would go on above `seq`: its cursor is kept a moment after the ack.
async fn until_cursor(server: &Server, login: &Login, seq: u64) {
    for _ in 0..200 {
        let (_, _peer, first) = first_shown(server, login).await;
        if first == seq + 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the cursor of {} did not come to {seq}", login.device);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_missed_messages_come_in_order_before_anything_live() {
    let (server, ann, ben) = two_users().await;
    let (ws, conv) = (server.addresses().ws, pair("ann", "ben"));
    let (mut sender, _) = Peer::connect(ws, &Login::new(&ann, "phone")).await.unwrap();
    // Both devices of ben have seen something and go away at different places.
    let (mut phone, _) = Peer::connect(ws, &Login::new(&ben, "phone")).await.unwrap();
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&ben, "tablet")).await.unwrap();
    send_many(&mut sender, "ben", 1..=20).await;
    check_in_order(&shown(&mut phone, 20).await, 1);
    check_in_order(&shown(&mut tablet, 20).await, 1);
    ack(&mut phone, &conv, 15).await;
    ack(&mut tablet, &conv, 7).await;
    drop((phone, tablet));
    send_many(&mut sender, "ben", 21..=20 + BACKLOG).await;

    // The traffic goes on while the phone comes back with its own point and reads everything.
    let last = 20 + BACKLOG + 2_000;
    let (read, ()) = tokio::join!(
        async {
            let login = Login::new(&ben, "phone").at(&conv, 1, 20);
            let (mut phone, connected) = Peer::connect(ws, &login).await.unwrap();
            assert_eq!(connected.recovered.get(&conv), Some(&true));
            shown(&mut phone, last).await
        },
        send_many(&mut sender, "ben", 21 + BACKLOG..=last)
    );
    assert_eq!(read.len() as u64, last - 20);
    check_in_order(&read, 21);
    assert!(read[..BACKLOG as usize].iter().all(|(_, live)| !live), "what was missed came as backlog");

    // Without a point: each at its stored cursor, whole.
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&ben, "tablet").protobuf()).await.unwrap();
    let read = shown(&mut tablet, last).await;
    assert_eq!(read.len() as u64, last - 7);
    check_in_order(&read, 8);
    until_cursor(&server, &Login::new(&ben, "phone"), 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_goes_on_at_its_own_cursor_and_a_new_one_after_the_users() {
    let (mut server, ann, ben) = two_users().await;
    let (ws, conv) = (server.addresses().ws, pair("ann", "ben"));
    let (mut sender, _) = Peer::connect(ws, &Login::new(&ann, "phone")).await.unwrap();
    let (mut phone, _) = Peer::connect(ws, &Login::new(&ben, "phone")).await.unwrap();
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&ben, "tablet")).await.unwrap();
    send_many(&mut sender, "ben", 1..=300).await;
    shown(&mut phone, 300).await;
    shown(&mut tablet, 300).await;
    ack(&mut phone, &conv, 120).await;
    ack(&mut tablet, &conv, 250).await;
    // A cursor never goes back.
    ack(&mut phone, &conv, 60).await;
    drop((phone, tablet));
    until_cursor(&server, &Login::new(&ben, "phone"), 120).await;
    until_cursor(&server, &Login::new(&ben, "tablet"), 250).await;
    // A device never seen: what no device of the user has acknowledged, and nothing else.
    let (_, mut laptop, first) = first_shown(&server, &Login::new(&ben, "laptop")).await;
    assert_eq!(first, 251);
    send_many(&mut sender, "ben", 301..=310).await;
    let rest = shown(&mut laptop, 310).await;
    assert!(rest.iter().all(|(message, _)| message.seq > 250));
    // A point of the device's own goes before its cursor, down as well as up.
    let (_, _peer, first) = first_shown(&server, &Login::new(&ben, "phone").at(&conv, 1, 40)).await;
    assert_eq!(first, 41);
    let (_, _peer, first) = first_shown(&server, &Login::new(&ben, "tablet").at(&conv, 1, 305)).await;
    assert_eq!(first, 306);
    // The cursors outlive a clean stop and start.
    server.terminate().unwrap();
    assert!(server.wait_exit(std::time::Duration::from_secs(11)).unwrap().success());
    server.launch().unwrap();
    until_cursor(&server, &Login::new(&ben, "phone"), 120).await;
    until_cursor(&server, &Login::new(&ben, "tablet"), 250).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_too_far_back_is_not_recovered_and_pages_fill_it() {
    let (server, ann, ben) = two_users().await;
    let (ws, conv) = (server.addresses().ws, pair("ann", "ben"));
    let (mut sender, _) = Peer::connect(ws, &Login::new(&ann, "phone")).await.unwrap();
    let head = ringway_engine::limits::CATCHUP_MESSAGES_MAX + 50;
    send_many(&mut sender, "ben", 1..=head).await;
    let (mut phone, connected) = Peer::connect(ws, &Login::new(&ben, "phone").at(&conv, 1, 10)).await.unwrap();
    assert_eq!(connected.recovered.get(&conv), Some(&false));
    let all = phone.read_all(&conv, 10).await.unwrap();
    assert!(all.iter().map(|message| message.seq).eq(11..=head));
    // Paged up to the head, it is live again.
    sender.say(&user("ben"), "live", "live").await.unwrap();
    assert_eq!(phone.message().await.unwrap().seq, head + 1);
}
