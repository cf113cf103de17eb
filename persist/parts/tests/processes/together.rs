//! All three on the real servers: a message from one gateway to another and into the archive.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringway_client::http::{Api, From};
use ringway_client::{Client, Event, Options, State, user};
use serde_json::Value;
use tokio::time::timeout;

use crate::deployment::{Deployment, get, keys, wait_for, wait_until_ready_is};
use crate::exported::Exported;
use crate::program::{LIMIT, Program};

/// Time for the last hop of a message to be told. Past it what is missing is named.
const TRACED: Duration = Duration::from_secs(20);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, future).await.unwrap() })
}

/// Waits until the API sends clients that want this version to these nodes, in this order.
fn check_preferred(api: &str, version: &str, expected: [&str; 2]) {
    let mut told = Vec::new();
    wait_for(&format!("{expected:?} for {version:?}"), || {
        let (status, body) = get(api, &format!("/v1/locate?version={version}"));
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        told = body["items"].as_array().unwrap().clone();
        told.iter().map(|node| node["ws"].as_str().unwrap()).eq(expected).then_some(())
    });
    assert!(told.iter().any(|node| node["version"] == version), "{told:?}");
}

/// What is said before waits for the device to ask: a node that has just come is known within a second.
fn wait_for_links(gateways: &[Program], api: &Program) {
    for gateway in gateways {
        gateway.wait_for_log("a peer link stands");
        api.wait_for_log("a peer link stands");
    }
}

/// Nobody is connected yet: without a version the first of equals would always be the first.
fn check_versions(api: &str, [one, two]: &[String; 2]) {
    check_preferred(api, "beta", [two, one]);
    check_preferred(api, env!("CARGO_PKG_VERSION"), [one, two]);
}

/// What an admin listener tells of a message.
fn trace(admin: &str, msg_id: u64) -> Value {
    let (status, text) = get(admin, &format!("/admin/trace/{msg_id}"));
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Waits until a message is in the archive; the gateways' hops are told with it.
fn check_archived(admin: &str, msg_id: u64, seq: u64) {
    let found = wait_for("the archived message", || {
        let found = trace(admin, msg_id);
        (!found["archived"].is_null()).then_some(found)
    });
    assert_eq!(found["archived"]["seq"], seq);
    assert!(!found["hops"].as_array().unwrap().is_empty(), "{found}");
}

/// Waits until every station of a message from the first gateway to both is told, with where it was.
fn check_traced(admin: &str, msg_id: u64) {
    let of_sender = ["received", "batched", "logged", "numbered", "told", "fanned", "sent", "pushed", "acknowledged"];
    let of_other = ["arrived", "pushed", "acknowledged"];
    let of_persist = ["consumed", "numbered", "archived"];
    let of = |node: &'static str, stations: &[&'static str]| stations.iter().map(move |of| (node, *of)).collect();
    let expected: [BTreeSet<_>; 3] =
        [of("gateway-1", &of_sender), of("gateway-2", &of_other), of("persist-1", &of_persist)];
    let expected: BTreeSet<_> = expected.into_iter().flatten().collect();
    let text = |hop: &Value, key: &str| hop[key].as_str().unwrap_or_default().to_owned();
    let is = |hop: &Value, (node, station): (&str, &str)| hop["node"] == node && hop["station"] == station;
    // The sender's device acknowledges too: that of a device that it was pushed to is looked for.
    let received = |hops: &[Value]| {
        let mut pushed = hops.iter().filter(|hop| is(hop, ("gateway-1", "pushed")));
        pushed.any(|push| hops.iter().any(|ack| is(ack, ("gateway-1", "acknowledged")) && ack["who"] == push["who"]))
    };
    let began = Instant::now();
    let hops = wait_for("a trace", || {
        let hops = trace(admin, msg_id)["hops"].as_array().unwrap().clone();
        let whole = expected.iter().all(|station| hops.iter().any(|hop| is(hop, *station)));
        ((whole && received(&hops)) || began.elapsed() > TRACED).then_some(hops)
    });
    let seen: Vec<(String, String)> = hops.iter().map(|hop| (text(hop, "node"), text(hop, "station"))).collect();
    for station in expected {
        assert!(hops.iter().any(|hop| is(hop, station)), "{station:?} is not among {seen:?}");
    }
    assert!(received(&hops), "no acknowledgement of the recipient's device is told: {hops:?}");
    let times: Vec<u64> = hops.iter().map(|hop| hop["at_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{hops:?}");
    let find = |station| hops.iter().find(|hop| is(hop, station)).unwrap();
    let (consumed, archived) = (find(("persist-1", "consumed")), find(("persist-1", "archived")));
    assert!(consumed["offset"].is_u64() && consumed["queue"] == archived["queue"], "{consumed} {archived}");
    assert_eq!(archived["seq"], find(("gateway-2", "pushed"))["seq"]);
}

#[test]
fn a_message_goes_from_gateway_to_gateway_and_into_the_archive_and_all_end_in_time() {
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let deployment = Deployment::new();
    let exported = Exported::start();
    let start = |name: &str, arguments: Vec<String>| Program::start(name, &exported.added_to(arguments));
    let of_second = [deployment.gateway(2), keys(&[("node.version", "beta")])].concat();
    let mut gateways = [deployment.gateway(1), of_second].map(|arguments| start("ringway-gateway", arguments));
    let mut persist = start("ringway-persist", deployment.persist("persist-1"));
    let mut api = start("ringway-api", deployment.api());
    let ready: Vec<Value> = gateways.iter_mut().map(Program::ready).collect();
    let (of_persist, of_api) = (persist.ready(), api.ready());
    let address = |ready: &Value, name: &str| ready[name].as_str().unwrap().to_owned();
    for line in ready.iter().chain([&of_persist, &of_api]) {
        wait_until_ready_is(&address(line, "admin"), 200, "true");
        let (status, metrics) = get(&address(line, "admin"), "/metrics");
        assert!(status == 200 && metrics.contains("\nringway_ready 1\n"), "{metrics}");
    }
    assert!(!address(&ready[0], "peer").is_empty());
    wait_for_links(&gateways, &api);
    check_versions(&address(&of_api, "url"), &[0, 1].map(|at: usize| address(&ready[at], "ws")));

    let client = Api::new(&address(&of_api, "url")).unwrap();
    let msg_id = block_on(async {
        assert_eq!(client.locate().await.unwrap().items.len(), 2);
        let alice = client.register("alice", "correct horse battery", "phone", "ios").await.unwrap();
        let bob = client.register("bob", "correct horse battery", "laptop", "linux").await.unwrap();
        let connect = |ready: &Value, device: &str, token: &str| {
            Client::connect(Options::new(address(ready, "ws"), device, token.to_owned())).unwrap()
        };
        let (sender, mut of_sender) = connect(&ready[0], "phone", &alice.access_token);
        let (receiver, mut of_receiver) = connect(&ready[1], "laptop", &bob.access_token);
        let bob_here = client.login("bob", "correct horse battery", "tablet", "web").await.unwrap();
        let (neighbour, mut of_neighbour) = connect(&ready[0], "tablet", &bob_here.access_token);
        let reading = tokio::spawn(async move { while of_sender.next().await.is_some() {} });
        let reading_too = tokio::spawn(async move { while of_neighbour.next().await.is_some() {} });
        for device in [&receiver, &neighbour] {
            device.wait_for(|state| matches!(state, State::Connected { .. })).await.unwrap();
        }
        let sent = sender.send(user("bob"), "hello").await.unwrap();
        let received = loop {
            if let Event::Message(message) = of_receiver.next().await.unwrap() {
                break message;
            }
        };
        assert_eq!((received.seq, received.body.as_str()), (sent.seq, "hello"));
        let history = client.history(&bob.access_token, "p2p:alice:bob", From::After(0), 10).await.unwrap();
        assert_eq!(history.items.len(), 1);
        let admins = [&of_api, &of_persist].map(|ready| address(ready, "admin"));
        let (msg_id, seq) = (sent.msg_id, sent.seq);
        tokio::task::spawn_blocking(move || {
            check_archived(&admins[0], msg_id, seq);
            check_traced(&admins[1], msg_id);
        })
        .await
        .unwrap();
        for device in [sender, receiver, neighbour] {
            device.close().await;
        }
        reading.await.unwrap();
        reading_too.await.unwrap();
        msg_id
    });
    api.stop();
    persist.stop();
    gateways.into_iter().for_each(Program::stop);
    exported.check(msg_id, &["alice", "bob", "hello"]);
}
