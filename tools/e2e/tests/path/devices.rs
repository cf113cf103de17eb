//! Several devices of a user, their tokens, and their ends.

use std::process::Command as Process;
use std::time::{Duration, Instant};

use ringway_e2e::http::{self, Grant};
use ringway_e2e::peer::{Login, Peer, user};
use ringway_e2e::people::People;
use ringway_e2e::server::Server;
use ringway_engine::packet::schema::{Command, Refresh};

fn refresh(token: &str) -> Command {
    Command { refresh: Some(Refresh { token: token.to_owned() }), ..Command::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connect_of_a_device_ends_the_first_with_a_reason() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let token = People::of(&server.data()).await.unwrap().add("ann").await.unwrap();
    let (mut first, _) = Peer::connect(ws, &Login::new(&token, "phone")).await.unwrap();
    let (mut other, _) = Peer::connect(ws, &Login::new(&token, "tablet")).await.unwrap();
    let (mut second, _) = Peer::connect(ws, &Login::new(&token, "phone").protobuf()).await.unwrap();
    let kicked = first.wait(|packet| packet.kicked.clone()).await.unwrap();
    assert_eq!(kicked.reason, "same_device");
    assert_eq!(first.ended().await.unwrap(), Some(4500));
    second.say(&user("ann"), "c1", "to myself").await.unwrap();
    assert_eq!(other.message().await.unwrap().body, "to myself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_too_many_ends_the_oldest() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let token = People::of(&server.data()).await.unwrap().add("ann").await.unwrap();
    let mut peers = Vec::new();
    for n in 0..=ringway_engine::limits::DEVICES_PER_USER_MAX {
        peers.push(Peer::connect(ws, &Login::new(&token, &format!("device-{n}"))).await.unwrap().0);
    }
    assert_eq!(peers[0].ended().await.unwrap(), Some(4501));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_refreshed_while_connected_and_its_end_ends_the_session() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let people = People::of(&server.data()).await.unwrap();
    people.add_all(&["ann", "ben"]).await.unwrap();
    let short = people.token("ann", 3).unwrap();
    let began = Instant::now();
    let (mut ending, connected) = Peer::connect(ws, &Login::new(&short, "ending")).await.unwrap();
    assert!(connected.expires_in_s <= 3);
    let (mut renewed, _) = Peer::connect(ws, &Login::new(&short, "renewed")).await.unwrap();
    // Not of this user: refused, and the session goes on.
    let foreign = renewed.refused(refresh(&people.token("ben", 60).unwrap())).await.unwrap();
    assert_eq!(foreign.code, 4012);
    assert!(renewed.ask(refresh(&people.token("ann", 60).unwrap())).await.unwrap().ok.is_some());
    assert_eq!(ending.ended().await.unwrap(), Some(4001));
    assert!(began.elapsed() >= Duration::from_secs(1));
    renewed.say(&user("ben"), "c1", "still here").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_closes_the_live_session_within_five_seconds() {
    let server = Server::start().unwrap();
    let (ws, api) = (server.addresses().ws, server.addresses().api);
    let grant = http::register(api, "ann").await.unwrap();
    let login = serde_json::json!({"user": "ann", "password": http::PASSWORD, "device": "tablet", "platform": "web"});
    let other = http::call(api, "", "POST", "/v1/auth/login", Some(login)).await.unwrap().expect(200).unwrap();
    let other = Grant::of(&other).unwrap();
    let (mut phone, _) = Peer::connect(ws, &Login::new(&grant.access, "phone")).await.unwrap();
    let (mut tablet, _) = Peer::connect(ws, &Login::new(&other.access, "tablet")).await.unwrap();
    let began = Instant::now();
    http::call(api, &grant.access, "POST", "/v1/auth/logout", None).await.unwrap().expect(204).unwrap();
    assert_eq!(phone.ended().await.unwrap(), Some(4502));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The token is spent for good; the user's other sign-in is not.
    let mut again = Peer::open(ws, ringway_engine::packet::Format::Json).await.unwrap();
    assert!(again.log_in(&Login::new(&grant.access, "phone")).await.is_err());
    assert_eq!(again.ended().await.unwrap(), Some(3501));
    tablet.say(&user("ann"), "c1", "still here").await.unwrap();
    let renewed = serde_json::json!({"refresh_token": grant.refresh});
    http::call(api, "", "POST", "/v1/auth/refresh", Some(renewed)).await.unwrap().expect(401).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_tool_makes_users_beside_a_running_server_and_a_second_server_is_refused() {
    let server = Server::start().unwrap();
    let data = server.data();
    let data = data.to_str().unwrap();
    let mut tool: Process = Server::tool(&["token", "--data", data, "--user", "zoe", "--device", "phone-1"]).unwrap();
    let output = tool.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let (mut zoe, connected) = Peer::connect(server.addresses().ws, &Login::new(&token, "phone-1")).await.unwrap();
    assert_eq!(connected.uid, "zoe");
    zoe.say(&user("zoe"), "c1", "me").await.unwrap();
    // Bound to its device.
    let other = Peer::connect(server.addresses().ws, &Login::new(&token, "phone-2")).await;
    assert!(other.is_err());

    let second = ["up", "--data", data, "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = Server::tool(&second).unwrap().output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("in use by process"), "{said}");
}
