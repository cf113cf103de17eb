//! People on different nodes.

use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, group, user};
use ringway_engine::packet::schema::{Message, Sent, ServerPacket};

use crate::deployment::Deployment;

/// Two users on two nodes, one of them on both; a group; a device that moves; a membership that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_different_nodes_talk() {
    let deployment = Deployment::start(2, 1, &[]).await;
    let site = deployment.site().await;
    let (here, there) = (deployment.gateways[0], deployment.gateways[1]);
    let (mut ann, _) = Peer::connect(here, &Login::new(&site.tokens[0], "phone")).await.unwrap();
    let (mut ben, _) = Peer::connect(there, &Login::new(&site.tokens[1], "phone").protobuf()).await.unwrap();

    let sent = ann.say(&user("ben"), "c-1", "hello").await.unwrap();
    let heard = shown(&mut ben, &sent).await;
    assert_eq!((heard.msg_id, heard.body.as_str()), (sent.msg_id, "hello"));
    let back = ben.say(&user("ann"), "c-2", "and back").await.unwrap();
    assert_eq!(shown(&mut ann, &back).await.body, "and back");

    // Another device of hers, on his node, sees both sides of what follows.
    let (mut pad, _) = Peer::connect(there, &Login::new(&site.tokens[0], "pad")).await.unwrap();
    let sent = ann.say(&user("ben"), "c-3", "again").await.unwrap();
    assert_eq!(shown(&mut pad, &sent).await.body, "again");

    let conv = http::create_group(deployment.api, &site.tokens[0], &["ann".into(), "ben".into()]).await.unwrap();
    let is_joined = |packet: &ServerPacket| packet.changed.clone().filter(|changed| changed.conv == conv);
    ben.wait(is_joined).await.unwrap();
    let sent = ann.say(&group(&conv), "c-4", "to all").await.unwrap();
    assert_eq!(shown(&mut ben, &sent).await.body, "to all");

    // The same device connects to the other node: the older session ends there.
    let (_moved, _) = Peer::connect(there, &Login::new(&site.tokens[0], "phone")).await.unwrap();
    let kicked = ann.wait(|packet| packet.kicked.clone()).await.unwrap();
    assert_eq!(kicked.reason, "same_device");

    // Bytes that are no peer's do no harm.
    for admin in &deployment.admins {
        let (status, _) = metrics(*admin).await;
        assert_eq!(status, 200);
    }
}

/// A message as a device is shown it: pushed, or on a page where the link between its nodes has only begun to stand.
async fn shown(peer: &mut Peer, sent: &Sent) -> Message {
    let is_it = |message: &&Message| (&message.conv, message.seq) == (&sent.conv, sent.seq);
    let of = |packet: &ServerPacket| {
        let page = packet.messages.iter().flat_map(|page| &page.items);
        packet.message.iter().chain(page).find(is_it).cloned()
    };
    peer.wait(of).await.unwrap()
}

async fn metrics(admin: std::net::SocketAddr) -> (u16, String) {
    let answer = http::call(admin, "", "GET", "/metrics", None).await.unwrap();
    (answer.status, answer.text)
}
