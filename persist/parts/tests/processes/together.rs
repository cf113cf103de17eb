//! All three on the real servers: a message from one gateway to another and into the archive.

use std::collections::BTreeSet;
use std::time::Duration;

use ringway_client::http::{Api, From};
use ringway_client::{Client, Event, Options, State, user};
use tokio::time::timeout;

use crate::deployment::{Deployment, get, wait_for, wait_until_ready_is};
use crate::program::{LIMIT, Program};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, future).await.unwrap() })
}

#[test]
fn a_message_goes_from_gateway_to_gateway_and_into_the_archive_and_all_end_in_time() {
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let deployment = Deployment::new();
    let mut gateways = [1, 2].map(|number| Program::start("ringway-gateway", &deployment.gateway(number)));
    let mut persist = Program::start("ringway-persist", &deployment.persist("persist-1"));
    let mut api = Program::start("ringway-api", &deployment.api());
    let ready: Vec<serde_json::Value> = gateways.iter_mut().map(Program::ready).collect();
    let (of_persist, of_api) = (persist.ready(), api.ready());
    let address = |ready: &serde_json::Value, name: &str| ready[name].as_str().unwrap().to_owned();
    for line in ready.iter().chain([&of_persist, &of_api]) {
        wait_until_ready_is(&address(line, "admin"), 200, "true");
        let (status, metrics) = get(&address(line, "admin"), "/metrics");
        assert!(status == 200 && metrics.contains("\nringway_ready 1\n"), "{metrics}");
    }
    assert!(!address(&ready[0], "peer").is_empty());
    // What is said before waits for the device to ask: a node that has just come is known within a second.
    for gateway in &gateways {
        gateway.wait_for_log("a peer link stands");
        api.wait_for_log("a peer link stands");
    }

    let client = Api::new(&address(&of_api, "url")).unwrap();
    block_on(async {
        let told = || async {
            let nodes = client.locate().await.unwrap().items;
            nodes.into_iter().map(|node| node.ws).collect::<BTreeSet<_>>()
        };
        let both: BTreeSet<String> = ready.iter().map(|ready| address(ready, "ws")).collect();
        while told().await != both {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let alice = client.register("alice", "correct horse battery", "phone", "ios").await.unwrap();
        let bob = client.register("bob", "correct horse battery", "laptop", "linux").await.unwrap();
        let connect = |ready: &serde_json::Value, device: &str, token: &str| {
            Client::connect(Options::new(address(ready, "ws"), device, token.to_owned())).unwrap()
        };
        let (sender, mut of_sender) = connect(&ready[0], "phone", &alice.access_token);
        let (receiver, mut of_receiver) = connect(&ready[1], "laptop", &bob.access_token);
        let reading = tokio::spawn(async move { while of_sender.next().await.is_some() {} });
        receiver.wait_for(|state| matches!(state, State::Connected { .. })).await.unwrap();
        let sent = sender.send(user("bob"), "hello").await.unwrap();
        let received = loop {
            if let Event::Message(message) = of_receiver.next().await.unwrap() {
                break message;
            }
        };
        assert_eq!((received.seq, received.body.as_str()), (sent.seq, "hello"));
        let history = client.history(&bob.access_token, "p2p:alice:bob", From::After(0), 10).await.unwrap();
        assert_eq!(history.items.len(), 1);
        let admin = address(&of_api, "admin");
        let trace = format!("/admin/trace/{}", sent.msg_id);
        let archived = tokio::task::spawn_blocking(move || {
            wait_for("the archived message", || {
                let (_, text) = get(&admin, &trace);
                let found: serde_json::Value = serde_json::from_str(&text).unwrap();
                (!found["archived"].is_null()).then_some(found)
            })
        });
        let archived = archived.await.unwrap();
        assert_eq!(archived["archived"]["seq"], sent.seq);
        assert!(!archived["hops"].as_array().unwrap().is_empty(), "{archived}");
        sender.close().await;
        receiver.close().await;
        reading.await.unwrap();
    });
    api.stop();
    persist.stop();
    gateways.into_iter().for_each(Program::stop);
}
