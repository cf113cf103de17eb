//! People on different nodes.

use std::process::Command as Program;
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::metrics::{self, Metrics};
use ringway_e2e::peer::{Login, Peer, group, user};
use ringway_e2e::program;
use ringway_engine::packet::schema::{Command, Message, Sent, ServerPacket};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::deployment::Deployment;

/// Time for the last hop of a message to be told.
const TRACED: Duration = Duration::from_secs(20);

/// Two users on two nodes, one of them on both; a group; a device that moves; a membership that ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_different_nodes_talk() {
    let mut deployment = Deployment::start(&[]).await;
    let site = deployment.site().await;
    let (here, there) = (deployment.gateways[0], deployment.gateways[1]);
    let (mut ann, _) = Peer::connect(here, &Login::new(&site.tokens[0], "phone")).await.unwrap();
    let (mut ben, _) = Peer::connect(there, &Login::new(&site.tokens[1], "phone").protobuf()).await.unwrap();

    let sent = ann.say(&user("ben"), "c-1", "hello").await.unwrap();
    let heard = shown(&mut ben, &sent).await;
    assert_eq!((heard.msg_id, heard.body.as_str()), (sent.msg_id, "hello"));
    acknowledge(&mut ben, &heard).await;
    check_traced(&deployment, sent.msg_id).await;
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
    let (mut moved, _) = Peer::connect(there, &Login::new(&site.tokens[0], "phone")).await.unwrap();
    let kicked = ann.wait(|packet| packet.kicked.clone()).await.unwrap();
    assert_eq!(kicked.reason, "same_device");

    // Without the database too, although nobody on that node has asked it whether she may: who is a member is known there,
    // and so is that the two have talked.
    deployment = deployment.change(|stack| stack.kill("mysql").unwrap()).await;
    for (to, id) in [(user("ben"), "c-5"), (group(&conv), "c-6")] {
        let sent = moved.say(&to, id, "without a database").await.unwrap();
        assert_eq!(shown(&mut ben, &sent).await.body, "without a database");
    }
    drop(deployment);
}

/// Whoever reaches a node's port for peers without being one gets nothing, and people talk on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_the_port_of_peers_do_no_harm() {
    let mut deployment = Deployment::start(&[]).await;
    let site = deployment.site().await;
    let (mut ann, _) = Peer::connect(deployment.gateways[0], &Login::new(&site.tokens[0], "phone")).await.unwrap();
    let (mut ben, _) = Peer::connect(deployment.gateways[1], &Login::new(&site.tokens[1], "phone")).await.unwrap();
    let log = deployment.stack.logged("gateway-2").unwrap();
    let port = log.split(r#""peer":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    // A nudge and a delivery as a peer's frames begin, but nobody has proved anything; a request of another protocol; noise.
    let nudge = [b"RP\x01\x13".as_slice(), &[0; 60]].concat();
    let deliver = [b"RP\x01\x10".as_slice(), &[0xff; 4_096]].concat();
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let all = [nudge, deliver, noise, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()];
    for bytes in &all {
        let mut stream = TcpStream::connect(&port).await.unwrap();
        // It may be closed while this is written.
        let _ = stream.write_all(bytes).await;
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "a stranger is kept");
    }
    let refused = |metrics: &Metrics| metrics.sum("ringway_peer_refused_total") >= all.len() as u64;
    let metrics = metrics::until(deployment.admins[1], Duration::from_secs(10), refused).await.unwrap();
    assert_eq!(metrics.sum("ringway_peer_malformed_total"), 0, "nothing of it was taken for a word");
    let sent = ann.say(&user("ben"), "c-1", "hello").await.unwrap();
    assert_eq!(shown(&mut ben, &sent).await.body, "hello");
}

async fn acknowledge(peer: &mut Peer, message: &Message) {
    let ack = Command::ack(message.conv.as_str(), message.epoch, message.seq);
    peer.command(ack).await.unwrap();
}

/// Each hop of a message, from its sender's connection over queue, daemon, archive and the other node to the device,
/// as the program tells them that an operator would ask.
async fn check_traced(deployment: &Deployment, msg_id: u64) {
    let mut command = Program::new(program::ringway().unwrap());
    command.args(["trace", &msg_id.to_string()]);
    for persist in deployment.daemons() {
        command.args(["--admin", &format!("http://{persist}")]);
    }
    let of_sender = ["received", "batched", "logged", "numbered", "told", "fanned", "sent"];
    let of_sender = of_sender.map(|station| ("gateway-1", station));
    let of_other = ["arrived", "fanned", "pushed", "acknowledged"].map(|station| ("gateway-2", station));
    let deadline = Instant::now() + TRACED;
    loop {
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let is_told = |node: &str, station: &str| {
            let mut rows = text.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
            rows.any(|row| row.contains(&station) && row.iter().any(|cell| cell.starts_with(node)))
        };
        let of_persist = ["consumed", "numbered", "archived"].map(|station| ("persist-", station));
        let all = of_sender.iter().chain(&of_other).chain(&of_persist);
        let missing: Vec<_> = all.filter(|(node, station)| !is_told(node, station)).collect();
        if missing.is_empty() {
            return;
        }
        let warned = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "{missing:?} is not told:\n{text}\n{warned}");
        tokio::time::sleep(Duration::from_millis(200)).await;
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
