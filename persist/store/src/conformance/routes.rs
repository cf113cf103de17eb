//! Conformance of [`Routes`].

use std::slice::from_ref;
use std::time::{Duration, Instant};

use ringway_engine::ids::ConversationId;

use super::{conv, device, uid};
use crate::ports::{Node, NodeRun, Route, Routes};

/// Longer than a suite takes.
const LONG_MS: u64 = 600_000;
/// Short enough to be waited for.
const SHORT_MS: u64 = 150;
/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(20);

/// A run of a node.
#[must_use]
pub fn run(node: &str, boot: u64) -> NodeRun {
    NodeRun { node: node.to_owned(), boot }
}

/// A route to a user's device.
#[must_use]
pub fn route(user: &str, on: &str, run: &NodeRun, session: u64) -> Route {
    let class = "mobile".to_owned();
    Route {
        uid: uid(user),
        device: device(on),
        run: run.clone(),
        session,
        class,
        opened_ms: 1_700_000_000_000 + session,
    }
}

/// A node that serves.
#[must_use]
pub fn node(run: &NodeRun, sessions: u64) -> Node {
    Node {
        run: run.clone(),
        peer: format!("{}.example:7000", run.node),
        ws: format!("wss://{}.example/v1/ws", run.node),
        version: "0.1.0".to_owned(),
        sessions,
        open: true,
        healthy: true,
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn holders(routes: &dyn Routes, of: &str) -> Vec<NodeRun> {
    routes.holders(&[&conv(of)]).await.unwrap().remove(0)
}

fn sorted(mut routes: Vec<Route>) -> Vec<Route> {
    routes.sort_by(|one, other| (&one.device, one.session).cmp(&(&other.device, other.session)));
    routes
}

/// A user has one route a device; whoever enters is told of the others and of the one that it replaces.
pub async fn entries(routes: &dyn Routes) {
    let (one, two) = (run("one", u64::MAX), run("two", 2));
    let (phone, pad) = (route("a", "phone", &one, 1), route("a", "pad", &two, 1));
    assert_eq!(routes.enter(&phone, LONG_MS).await.unwrap(), []);
    assert_eq!(routes.enter(&pad, LONG_MS).await.unwrap(), from_ref(&phone));
    assert_eq!(routes.enter(&phone, LONG_MS).await.unwrap(), from_ref(&pad), "the same session replaces nobody");
    let moved = route("a", "phone", &two, 2);
    assert_eq!(sorted(routes.enter(&moved, LONG_MS).await.unwrap()), [pad.clone(), phone.clone()]);
    let again = route("a", "phone", &two, 3);
    assert_eq!(sorted(routes.enter(&again, LONG_MS).await.unwrap()), [pad.clone(), moved]);
    assert_eq!(routes.enter(&route("b", "phone", &one, 9), LONG_MS).await.unwrap(), [], "another user's");
    // A class is a text like any other.
    let odd = Route { class: String::new(), ..route("a", "web", &one, 4) };
    assert_eq!(sorted(routes.enter(&odd, LONG_MS).await.unwrap()), [pad.clone(), again.clone()]);
    let odd_again = Route { class: "a b  c".to_owned(), session: 5, ..odd.clone() };
    assert_eq!(sorted(routes.enter(&odd_again, LONG_MS).await.unwrap()), [pad, again, odd]);
}

/// Only its own session renews an entry or removes it.
pub async fn fences(routes: &dyn Routes) {
    let (early, late) = (run("one", 1), run("one", 2));
    let (old, new) = (route("a", "phone", &early, 7), route("a", "phone", &late, 7));
    routes.enter(&old, LONG_MS).await.unwrap();
    assert_eq!(routes.enter(&new, LONG_MS).await.unwrap(), from_ref(&old));
    // A node that comes back from a pause, and what is left of its own earlier session.
    let other_session = Route { session: 8, ..new.clone() };
    let other_node = Route { run: run("two", 2), ..new.clone() };
    for fenced in [&old, &other_session, &other_node] {
        routes.leave(from_ref(fenced)).await.unwrap();
        routes.renew(from_ref(fenced), LONG_MS).await.unwrap();
        assert_eq!(holders(routes, "sys:a").await, from_ref(&late), "{fenced:?}");
    }
    routes.leave(&[old, new.clone()]).await.unwrap();
    assert_eq!(holders(routes, "sys:a").await, []);
    routes.leave(from_ref(&new)).await.unwrap();
    assert_eq!(routes.enter(&new, LONG_MS).await.unwrap(), []);
}

/// What is not renewed runs out, each entry by its own time; what is renewed stays.
pub async fn run_out(routes: &dyn Routes) {
    let one = run("one", 1);
    let (short, long) = (route("a", "phone", &one, 1), route("a", "pad", &run("two", 1), 1));
    routes.enter(&short, SHORT_MS).await.unwrap();
    routes.enter(&long, LONG_MS).await.unwrap();
    routes.enter(&route("b", "phone", &one, 2), SHORT_MS).await.unwrap();
    routes.seat(&one, &[conv("group:g"), conv("group:h")], SHORT_MS).await.unwrap();
    routes.seat(&run("two", 1), &[conv("group:g")], LONG_MS).await.unwrap();
    routes.renew_node(&node(&one, 1), SHORT_MS, LONG_MS).await.unwrap();
    routes.renew_node(&node(&run("two", 1), 2), LONG_MS, LONG_MS).await.unwrap();
    let left = |holders: &[NodeRun]| holders == [run("two", 1)];
    until("the end of a route", async || left(&holders(routes, "sys:a").await)).await;
    until("the end of the only route", async || holders(routes, "sys:b").await.is_empty()).await;
    until("the end of a seat", async || left(&holders(routes, "group:g").await)).await;
    until("the end of the only seat", async || holders(routes, "group:h").await.is_empty()).await;
    until("the end of a node", async || {
        routes.nodes().await.unwrap().iter().map(|node| node.run.node.as_str()).eq(["two"])
    })
    .await;
    let other = route("a", "web", &one, 3);
    assert_eq!(routes.enter(&other, LONG_MS).await.unwrap(), from_ref(&long), "what has run out is nobody's");
    // A renewal counts from its own moment, and may be the shorter one.
    routes.renew(&[long], SHORT_MS).await.unwrap();
    until("the end of a renewed route", async || holders(routes, "sys:a").await == [one.clone()]).await;
    // What has run out may be taken, by a renewal too.
    routes.renew(&[short], LONG_MS).await.unwrap();
    assert_eq!(holders(routes, "sys:a").await, [one]);
    // No time is too long to be counted.
    routes.renew(&[other], u64::MAX).await.unwrap();
    routes.seat(&run("two", 1), &[conv("group:g")], u64::MAX).await.unwrap();
    routes.renew_node(&node(&run("two", 1), 2), u64::MAX, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap().len(), 1);
}

/// An emptied store is whole again after one renewal. `empty` empties it.
pub async fn put_back(routes: &dyn Routes, empty: impl FnOnce()) {
    let (one, two) = (run("one", 1), run("two", 2));
    let mine: Vec<Route> = (0..300)
        .map(|n| route(&format!("user-{}", n / 2), if n % 2 == 0 { "phone" } else { "pad" }, &one, n))
        .collect();
    let groups: Vec<ConversationId> = (0..300).map(|n| conv(&format!("group:{n}"))).collect();
    let renew = async || {
        routes.renew(&mine, LONG_MS).await.unwrap();
        routes.seat(&one, &groups, LONG_MS).await.unwrap();
        routes.renew_node(&node(&one, 300), LONG_MS, LONG_MS).await.unwrap();
    };
    renew().await;
    let convs: Vec<ConversationId> = (0..150).map(|n| conv(&format!("sys:user-{n}"))).chain(groups.clone()).collect();
    let convs: Vec<&ConversationId> = convs.iter().collect();
    let everywhere = vec![vec![one.clone()]; convs.len()];
    assert_eq!(routes.holders(&convs).await.unwrap(), everywhere);
    empty();
    assert!(routes.holders(&convs).await.unwrap().iter().all(Vec::is_empty));
    assert_eq!(routes.nodes().await.unwrap(), []);
    // A device that went elsewhere meanwhile is left there.
    let moved = route("user-0", "phone", &two, 1);
    routes.enter(&moved, LONG_MS).await.unwrap();
    renew().await;
    let again = routes.holders(&convs).await.unwrap();
    assert_eq!(again[0], [one.clone(), two], "the pad here, the phone there");
    assert_eq!(again[1..], everywhere[1..]);
    assert_eq!(routes.nodes().await.unwrap(), [node(&one, 300)]);
    assert_eq!(sorted(routes.enter(&moved, LONG_MS).await.unwrap()), [mine[1].clone()]);
    routes.leave(&mine).await.unwrap();
    assert!(routes.holders(&convs[1..150]).await.unwrap().iter().all(Vec::is_empty));
}

/// A conversation is held by the nodes of those whom it names, or by those with members of its group.
pub async fn conversations(routes: &dyn Routes) {
    let (one, two, three) = (run("one", 1), run("two", 2), run("three", 3));
    assert_eq!(routes.holders(&[]).await.unwrap(), Vec::<Vec<NodeRun>>::new());
    for entered in [
        route("a", "phone", &one, 1),
        route("a", "pad", &one, 2),
        route("a", "web", &three, 3),
        route("b", "phone", &two, 4),
    ] {
        routes.enter(&entered, LONG_MS).await.unwrap();
    }
    routes.seat(&two, &[conv("group:g")], LONG_MS).await.unwrap();
    for _ in 0..2 {
        routes.seat(&one, &[conv("group:g"), conv("group:h")], LONG_MS).await.unwrap();
    }
    let asked = ["p2p:a:b", "group:g", "p2p:b:c", "sys:a", "group:h", "p2p:c:d", "group:none", "p2p:a:b", "p2p:a:a"];
    let convs: Vec<ConversationId> = asked.iter().map(|text| conv(text)).collect();
    let convs: Vec<&ConversationId> = convs.iter().collect();
    let a_and_b = vec![one.clone(), three.clone(), two.clone()];
    let expected = [
        a_and_b.clone(),
        vec![one.clone(), two.clone()],
        vec![two.clone()],
        vec![one.clone(), three.clone()],
        vec![one.clone()],
        vec![],
        vec![],
        a_and_b,
        vec![one.clone(), three],
    ];
    assert_eq!(routes.holders(&convs).await.unwrap(), expected);
    routes.unseat(&run("one", 9), &[conv("group:g")]).await.unwrap();
    assert_eq!(holders(routes, "group:g").await, [one.clone(), two.clone()], "another run's seat");
    routes.unseat(&one, &[conv("group:g"), conv("group:none")]).await.unwrap();
    assert_eq!(holders(routes, "group:g").await, [two]);
    assert_eq!(holders(routes, "group:h").await, [one]);
}

/// Nodes are listed by name with what they said last; a later run takes the place of an earlier one for good.
pub async fn nodes(routes: &dyn Routes) {
    assert_eq!(routes.nodes().await.unwrap(), []);
    let (one, two) = (run("one", 1), run("gateway-2", u64::MAX));
    routes.renew_node(&node(&one, 5), LONG_MS, LONG_MS).await.unwrap();
    routes.renew_node(&node(&two, 6), LONG_MS, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [node(&two, 6), node(&one, 5)]);
    let drained = Node { open: false, sessions: 0, version: "0.2.0 beta".to_owned(), ..node(&two, 6) };
    routes.renew_node(&drained, LONG_MS, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [drained.clone(), node(&one, 5)]);
    let later = run("one", 2);
    routes.renew_node(&node(&later, 1), LONG_MS, LONG_MS).await.unwrap();
    // The earlier run wakes up.
    routes.renew_node(&node(&one, 5), LONG_MS, LONG_MS).await.unwrap();
    routes.leave_node(&one).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [drained.clone(), node(&later, 1)]);
    routes.leave_node(&later).await.unwrap();
    routes.leave_node(&run("none", 1)).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [drained]);
    routes.renew_node(&node(&run("one", 3), 7), LONG_MS, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap().len(), 2);
    let nameless = Node { run: run("no name", 1), ..node(&two, 1) };
    assert!(routes.renew_node(&nameless, LONG_MS, LONG_MS).await.is_err());
}

/// A node is healthy for as long as it has said; what a run has said is not another's.
pub async fn health(routes: &dyn Routes) {
    let (one, two) = (run("one", 1), run("two", 1));
    let ill = |run: &NodeRun, sessions| Node { healthy: false, ..node(run, sessions) };
    routes.renew_node(&node(&one, 5), LONG_MS, SHORT_MS).await.unwrap();
    routes.renew_node(&node(&two, 6), LONG_MS, u64::MAX).await.unwrap();
    let lapsed = [ill(&one, 5), node(&two, 6)];
    until("the end of a node's health", async || routes.nodes().await.unwrap() == lapsed).await;
    // Said again, it holds again; said to be over, it is over at once.
    routes.renew_node(&node(&one, 5), LONG_MS, LONG_MS).await.unwrap();
    routes.renew_node(&ill(&two, 6), LONG_MS, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [node(&one, 5), ill(&two, 6)]);
    routes.renew_node(&node(&run("two", 2), 7), LONG_MS, LONG_MS).await.unwrap();
    assert_eq!(routes.nodes().await.unwrap(), [node(&one, 5), node(&run("two", 2), 7)]);
}
