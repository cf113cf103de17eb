//! Recipients who do not acknowledge: nudges at a gateway, notices at a push vendor, and who takes over.

use ringway_client::http::Api;
use ringway_client::{Client, Event, Events, Options, State, user};
use ringway_peer::Word;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::deployment::{Deployment, get, keys, wait_for};
use crate::listener::Listener;
use crate::program::{LIMIT, Program};
use crate::vendor::Vendor;

const SECRET: &str = "bearer-of-the-test";
const TEXT: &str = "for their eyes only";

/// Clients run on the threads of the runtime, while the test itself may wait for processes.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, future).await.unwrap() })
}

/// A user with a connected device.
async fn connected(api: &Api, ws: &str, uid: &str) -> (Client, Events) {
    let session = api.register(uid, "correct horse battery", "phone", "ios").await.unwrap();
    let (client, events) = Client::connect(Options::new(ws, "phone", session.access_token)).unwrap();
    client.wait_for(|state| matches!(state, State::Connected { .. })).await.unwrap();
    (client, events)
}

/// Waits until a counter has at least this value.
fn wait_until_counted(admin: &str, name: &str, at_least: u64) {
    wait_for(&format!("{name} {at_least}"), || (counted(admin, name) >= at_least).then_some(()));
}

fn counted(admin: &str, name: &str) -> u64 {
    let (_, text) = get(admin, "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A daemon that reminds soon, and whose vendor is `vendor`.
fn arguments(deployment: &Deployment, name: &str, push_after_ms: &str, vendor: &Vendor) -> Vec<String> {
    let file = deployment.folder().join("vendor.secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let push = keys(&[
        ("push.nudge_after_ms", "300"),
        ("push.push_after_ms", push_after_ms),
        ("push.url", &vendor.url()),
        ("push.secret_file", &file.display().to_string()),
    ]);
    [deployment.persist(name), push].concat()
}

#[test]
fn who_does_not_acknowledge_is_nudged_and_then_pushed_once_without_the_text() {
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (deployment, vendor) = (Deployment::new(), Vendor::start());
    let mut gateway = Program::start("ringway-gateway", &deployment.gateway(1));
    let mut persist = Program::start("ringway-persist", &arguments(&deployment, "persist-1", "2000", &vendor));
    let mut api = Program::start("ringway-api", &deployment.api());
    let [of_gateway, of_persist, of_api] = [&mut gateway, &mut persist, &mut api].map(Program::ready);
    let address = |ready: &Value, name: &str| ready[name].as_str().unwrap().to_owned();
    let admin = address(&of_persist, "admin");

    block_on(async {
        let listener = Listener::start(&deployment).await;
        let api = Api::new(&address(&of_api, "url")).unwrap();
        let ws = address(&of_gateway, "ws");
        let (alice, _) = connected(&api, &ws, "alice").await;
        let (bob, mut of_bob) = connected(&api, &ws, "bob").await;
        for other in ["carol", "dave", "erin"] {
            api.register(other, "correct horse battery", "phone", "ios").await.unwrap();
        }
        // Whatever is said to carol is lost on its way: her node shows it to nobody.
        listener.hold("carol").await;
        wait_until_counted(&admin, "ringway_peer_links", 2);
        let reading = tokio::spawn(async move {
            while let Some(event) = of_bob.next().await {
                if matches!(&event, Event::Message(message) if message.body == TEXT) {
                    return of_bob;
                }
            }
            panic!("nothing comes");
        });
        alice.send(user("bob"), TEXT).await.unwrap();
        let _of_bob = reading.await.unwrap();
        let to_carol = alice.send(user("carol"), TEXT).await.unwrap();
        let sent = alice.send(user("dave"), TEXT).await.unwrap();

        let (uid, conv) = ("carol".to_owned(), "p2p:alice:carol".to_owned());
        assert_eq!(listener.nudge(), Word::Nudge { uid, conv, epoch: to_carol.epoch, head: to_carol.seq });
        let mut pushed = [vendor.next(), vendor.next()];
        pushed.sort_by_key(|notice| notice.body["uid"].to_string());
        assert_eq!(pushed[0].body["uid"], "carol");
        let (conv, msg_id) = ("p2p:alice:dave", sent.msg_id.to_string());
        let expected =
            json!({"uid": "dave", "conv": conv, "seq": 1, "msg_id": msg_id, "from": "alice", "kind": "text"});
        assert_eq!(pushed[1].body, expected, "where, and not what");
        let head = pushed[1].head.to_ascii_lowercase();
        assert!(head.starts_with("post /notices http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("authorization: bearer {SECRET}\r\n")), "{head}");

        // More for dave is held back while he reads nothing: by the time of erin's it would have come.
        alice.send(user("dave"), TEXT).await.unwrap();
        alice.send(user("erin"), TEXT).await.unwrap();
        assert_eq!(vendor.next().body["uid"], "erin");
        assert_eq!(vendor.rest(), Vec::<Value>::new());
        wait_until_counted(&admin, "ringway_persist_pushes_total", 3);
        assert_eq!(counted(&admin, "ringway_persist_reminders_waiting"), 3, "bob acknowledged his");
        assert!(counted(&admin, "ringway_persist_nudges_absent_total") >= 2);
        for client in [alice, bob] {
            client.close().await;
        }
        listener.close().await;
    });
    for program in [api, persist, gateway] {
        program.stop();
    }
}

/// A daemon that is killed takes along whom it waited for: whoever consumes after it waits for them.
#[test]
fn who_is_waited_for_outlives_the_daemon_that_waits() {
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (deployment, vendor) = (Deployment::new(), Vendor::start());
    let start = |name: &str| Program::start("ringway-persist", &arguments(&deployment, name, "10000", &vendor));
    let mut gateway = Program::start("ringway-gateway", &deployment.gateway(1));
    let mut one = start("persist-1");
    let mut api = Program::start("ringway-api", &deployment.api());
    let [of_gateway, of_one, of_api] = [&mut gateway, &mut one, &mut api].map(Program::ready);
    let address = |ready: &Value, name: &str| ready[name].as_str().unwrap().to_owned();
    block_on(async {
        let api = Api::new(&address(&of_api, "url")).unwrap();
        let (alice, _) = connected(&api, &address(&of_gateway, "ws"), "alice").await;
        api.register("dave", "correct horse battery", "phone", "ios").await.unwrap();
        let sent = alice.send(user("dave"), TEXT).await.unwrap();
        wait_until_counted(&address(&of_one, "admin"), "ringway_persist_reminders_waiting", 1);
        one.signal(Signal::KILL);
        drop(one);
        assert_eq!(vendor.rest(), Vec::<Value>::new(), "not yet");
        let mut two = start("persist-2");
        two.ready();
        let pushed = vendor.next().body;
        assert_eq!((&pushed["uid"], &pushed["msg_id"]), (&json!("dave"), &json!(sent.msg_id.to_string())));
        alice.close().await;
        two.stop();
    });
    for program in [api, gateway] {
        program.stop();
    }
}

#[test]
fn who_takes_over_the_outbox_lets_the_gateways_read_anew_what_they_cache() {
    let deployment = Deployment::new();
    let mut gateway = Program::start("ringway-gateway", &deployment.gateway(1));
    let mut one = Program::start("ringway-persist", &deployment.persist("persist-1"));
    gateway.ready();
    one.ready();
    one.wait_for_log("this process relays the outbox from now on");
    let mut two = Program::start("ringway-persist", &deployment.persist("persist-2"));
    let admin = two.ready()["admin"].as_str().unwrap().to_owned();
    // Of its own, as nobody knows what a node read before its first link.
    wait_until_counted(&admin, "ringway_peer_resyncs_total", 1);
    one.stop();
    two.wait_for_log("this process relays the outbox from now on");
    wait_until_counted(&admin, "ringway_peer_resyncs_total", 2);
    two.stop();
    gateway.stop();
}
