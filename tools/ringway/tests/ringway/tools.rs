//! The commands beside a node: `token`, `trace`, `doctor`.

use ringway_client::http::Api;
use ringway_client::{Client, Options, user};
use tempfile::tempdir;

use crate::program::{Node, block_on, check_fails, ringway, run, token};

#[test]
fn a_token_makes_its_user_before_a_node_ever_ran_and_while_one_runs() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let early = token(&data, "alice");
    let node = Node::start(&data, &[]);
    let late = token(&data, "bob");
    let api = Api::new(&node.url("api")).unwrap();
    block_on(async {
        assert_eq!(api.me(&early).await.unwrap().uid, "alice");
        assert_eq!(api.me(&late).await.unwrap().uid, "bob");
        assert!(api.login("alice", "", "test", "web").await.is_err(), "no password opens it");
    });
}

#[test]
fn wrong_ids_are_wrong_usage() {
    let folder = tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    check_fails(&mut ringway(&["token", "--data", data, "--user", "Alice!"]), 2, "--user \"Alice!\"");
    let mut command = ringway(&["token", "--data", data, "--user", "alice", "--device", "a b"]);
    check_fails(&mut command, 2, "--device");
}

#[test]
fn a_trace_shows_a_message_from_its_batch_to_its_sender_and_an_unknown_one_fails() {
    let folder = tempdir().unwrap();
    let data = folder.path();
    token(data, "bob");
    let node = Node::start(data, &[]);
    let options = Options::new(node.url("ws"), "test", token(data, "alice"));
    let msg_id = block_on(async {
        let (client, mut events) = Client::connect(options).unwrap();
        let reading = tokio::spawn(async move { while events.next().await.is_some() {} });
        let sent = client.send(user("bob"), "hi").await.unwrap();
        client.close().await;
        reading.await.unwrap();
        sent.msg_id.to_string()
    });
    let path = data.to_str().unwrap();
    for arguments in [vec!["trace", &msg_id, "--data", path], vec!["trace", &msg_id, "--admin", &node.url("admin")]] {
        let output = run(&arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for station in ["received", "batched", "logged", "numbered", "fanned", "sent"] {
            assert!(text.contains(&format!("  {station} ")), "{station}: {text}");
        }
    }
    check_fails(&mut ringway(&["trace", "7", "--data", path]), 1, "message 7 is unknown");
    drop(node);
    check_fails(&mut ringway(&["trace", "7", "--data", path]), 1, "no ringway serves");
}

#[test]
fn doctor_tells_a_running_node_from_a_stranger_on_its_port() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, &[]);
    let address = |name: &str| {
        let url = node.url(name);
        let rest = url.split_once("://").unwrap().1;
        rest.split('/').next().unwrap().to_owned()
    };
    let doctor = |data: &std::path::Path| {
        let output = ringway(&["doctor", "--data", data.to_str().unwrap()])
            .env("RINGWAY_GATEWAY_LISTEN", address("ws"))
            .env("RINGWAY_API_LISTEN", address("api"))
            .env("RINGWAY_API_ADMIN_LISTEN", address("admin"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = doctor(&data);
    assert_eq!(code, Some(0), "{text}");
    let names = ["kernel", "io_uring", "cores", "clock", "descriptors", "memlock", "journal", "data", "disk"];
    let ports = ["port gateway.listen", "port api.listen", "port api.admin_listen"];
    for (line, name) in text.lines().zip(names.into_iter().chain(ports)) {
        assert!(["ok   ", "warn "].iter().any(|level| line.starts_with(&format!("{level}{name}: "))), "{line}");
    }
    assert_eq!(text.lines().count(), names.len() + ports.len());
    let (code, text) = doctor(&folder.path().join("other"));
    assert_eq!(code, Some(1));
    assert_eq!(text.lines().filter(|line| line.starts_with("FAIL port ")).count(), 3, "{text}");
}
