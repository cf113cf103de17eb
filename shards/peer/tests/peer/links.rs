//! Links between a process and nodes: what is said arrives, in order, again after a break.

use std::sync::Arc;
use std::time::Duration;

use ringway_peer::{Ask, PeerError, PeerLimits, PeerLinks, Reply, TransientPush, TransientTo, Word};
use ringway_store::ports::{ServerMessage, Signal};

use crate::harness::{
    Listening, Mood, check_alive, count, deliver, key, limits, linked, node, nudge, run, sent, until,
};

const LIMIT: Duration = Duration::from_secs(10);

fn message() -> ServerMessage {
    ServerMessage { conv: "group:g".into(), client_msg_id: "c-1".into(), kind: "system".into(), body: "héllo".into() }
}

fn signals() -> Vec<Signal> {
    let (conv, uids) = ("group:g".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    vec![
        Signal::MembersAdded { conv: conv.clone(), uids: uids.clone() },
        Signal::MembersRemoved { conv, uids },
        Signal::SessionRevoked { sid: "s-1".into(), until_ms: u64::MAX },
    ]
}

#[tokio::test]
async fn every_word_arrives_as_it_was_said() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    let push = |to| Word::Transient(TransientPush { to, json: b"{}\n".to_vec(), protobuf: vec![0, 255] });
    let words = vec![
        deliver(1, 3, "héllo"),
        deliver(4, 0, ""),
        push(TransientTo::Users(vec!["a".into(), "b".into()])),
        push(TransientTo::Group("group:g".into())),
        Word::Kick { session: u64::MAX, reason: "replaced".into() },
        nudge(9),
        // A batch as large as one gets.
        deliver(4, 512, &"x".repeat(2_048)),
    ];
    for word in &words {
        assert!(links.say(&listening.run, word.clone()));
    }
    until("all words", || listening.heard.words().len() == words.len()).await;
    assert_eq!(listening.heard.words(), words);
}

#[tokio::test]
async fn every_ask_arrives_as_it_was_asked_and_is_answered() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    let mut asks = vec![
        (Ask::Resync, Reply::Done),
        (Ask::Submit(message()), Reply::Sent(sent(&message()))),
        (Ask::Trace(8), Reply::Trace(r#"[{"at_us":8,"station":"sent"}]"#.into())),
        (Ask::Online(vec!["daemon".into(), "b".into()]), Reply::Online(vec!["daemon".into()])),
    ];
    asks.extend(signals().into_iter().map(|signal| (Ask::Signal(signal), Reply::Done)));
    for (ask, reply) in &asks {
        assert_eq!(links.ask(&listening.run, ask.clone(), LIMIT).await.as_ref(), Ok(reply));
    }
    assert_eq!(listening.heard.asks(), asks.into_iter().map(|(ask, _)| ask).collect::<Vec<_>>());
    // The link answers this one itself.
    assert_eq!(links.ask(&listening.run, Ask::Ping, LIMIT).await, Ok(Reply::Done));
    assert_eq!(listening.heard.asks().len(), 7);
}

#[tokio::test]
async fn words_of_one_link_arrive_in_the_order_said_and_many_in_one_write() {
    const WORDS: u64 = 20_000;
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    for head in 0..WORDS {
        assert!(links.say(&listening.run, nudge(head)));
    }
    until("all words", || listening.heard.heads().len() as u64 == WORDS).await;
    assert!(listening.heard.heads().into_iter().eq(0..WORDS));
    let (frames, writes) = (count(&links.counters().frames_out), count(&links.counters().writes));
    assert!(frames >= WORDS && writes * 20 < frames, "{frames} frames in {writes} writes");
}

#[tokio::test]
async fn a_word_to_several_nodes_reaches_those_that_are_linked() {
    let nodes = [1, 2].map(|n| Listening::start(run(&format!("gateway-{n}"), 1), limits()));
    let links = linked(&[nodes[0].node(), nodes[1].node()], limits()).await;
    let runs = [nodes[0].run.clone(), run("gateway-3", 1), nodes[1].run.clone()];
    assert_eq!(links.say_all(&runs, &nudge(3)), 2);
    for listening in &nodes {
        until("the word", || listening.heard.heads() == [3]).await;
    }
    assert_eq!((count(&links.counters().words), count(&links.counters().words_dropped)), (2, 1));
}

#[tokio::test]
async fn each_time_a_link_begins_to_stand_it_says_that_words_were_lost() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = PeerLinks::with_amends(run("gateway-2", 1), key(), limits());
    links.set_nodes(&[listening.node()]);
    until("a link", || links.linked(&listening.run)).await;
    assert!(links.say(&listening.run, nudge(1)));
    until("both words", || listening.heard.words() == [Word::Missed, nudge(1)]).await;
    let (heard, address) = (Arc::clone(&listening.heard), listening.server.address());
    listening.server.close().await;
    let again = Listening::start_at(run("gateway-1", 1), limits(), address);
    until("the word again", || again.heard.words() == [Word::Missed]).await;
    assert_eq!(heard.words().len(), 2);
}

#[tokio::test]
async fn changes_are_applied_one_after_the_other_and_other_asks_beside_them() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    listening.heard.mood.send_replace(Mood::Hanging);
    let change = |n: u64| Ask::Signal(Signal::SessionRevoked { sid: n.to_string(), until_ms: n });
    // Three changes are asked and given up by who asked; each waits for the one before.
    for n in 0..3 {
        let answer = links.ask(&listening.run, change(n), Duration::from_millis(20)).await;
        assert_eq!(answer, Err(PeerError::TimedOut));
    }
    check_alive(&links, &listening.run).await;
    assert_eq!(listening.heard.asks(), [change(0), Ask::Trace(4)]);
    listening.heard.mood.send_replace(Mood::Willing);
    assert_eq!(links.ask(&listening.run, Ask::Resync, LIMIT).await, Ok(Reply::Done));
    assert_eq!(listening.heard.asks(), [change(0), Ask::Trace(4), change(1), change(2), Ask::Resync]);
}

#[tokio::test]
async fn a_change_that_began_on_a_broken_link_ends_before_the_next_one_begins() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    listening.heard.mood.send_replace(Mood::Hanging);
    let first = linked(&[listening.node()], limits()).await;
    let begun = first.ask(&listening.run, Ask::Resync, Duration::from_millis(20)).await;
    assert_eq!(begun, Err(PeerError::TimedOut));
    first.close().await;
    let again = linked(&[listening.node()], limits()).await;
    let next = Ask::Signal(signals().remove(0));
    assert_eq!(again.ask(&listening.run, next.clone(), Duration::from_millis(20)).await, Err(PeerError::TimedOut));
    assert_eq!(listening.heard.asks(), [Ask::Resync]);
    listening.heard.mood.send_replace(Mood::Willing);
    until("both", || listening.heard.asks() == [Ask::Resync, next.clone()]).await;
}

#[tokio::test]
async fn asks_in_flight_are_bounded() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let bounded = PeerLimits { asks_max: 3, ..limits() };
    let links = linked(&[listening.node()], bounded).await;
    listening.heard.mood.send_replace(Mood::Hanging);
    let ask = || links.ask(&listening.run, Ask::Submit(message()), LIMIT);
    let release = async {
        until("three asks", || listening.heard.asks().len() == 3).await;
        assert_eq!(ask().await, Err(PeerError::Busy));
        listening.heard.mood.send_replace(Mood::Willing);
    };
    let (one, two, three, ()) = tokio::join!(ask(), ask(), ask(), release);
    for answer in [one, two, three, ask().await] {
        assert_eq!(answer, Ok(Reply::Sent(sent(&message()))));
    }
}

#[tokio::test]
async fn what_is_too_long_for_a_frame_is_not_said_or_asked() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], PeerLimits { frame_bytes_max: 1_000, ..limits() }).await;
    assert!(!links.say(&listening.run, deliver(1, 10, &"x".repeat(100))));
    assert_eq!(count(&links.counters().words_dropped), 1);
    let long = Ask::Online(vec!["a".repeat(1_000)]);
    assert_eq!(links.ask(&listening.run, long, LIMIT).await, Err(PeerError::TooLong));
    check_alive(&links, &listening.run).await;
    assert_eq!(listening.heard.words(), []);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_in_its_place() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { frame_bytes_max: 40, ..limits() });
    let links = linked(&[listening.node()], limits()).await;
    let answer = links.ask(&listening.run, Ask::Trace(u64::MAX), LIMIT).await;
    assert_eq!(answer, Ok(Reply::Refused("the answer is too long".into())));
    let short = Ask::Online(vec!["d".into()]);
    assert_eq!(links.ask(&listening.run, short, LIMIT).await, Ok(Reply::Online(vec!["d".into()])));
}

#[tokio::test]
async fn a_link_comes_back_after_its_server_restarted_on_the_same_port() {
    let there = run("gateway-1", 1);
    let listening = Listening::start(there.clone(), limits());
    let (address, listed) = (listening.server.address(), listening.node());
    let links = linked(std::slice::from_ref(&listed), limits()).await;
    assert!(links.say(&there, nudge(1)));
    until("the first word", || listening.heard.heads() == [1]).await;
    listening.server.close().await;
    until("the break", || !links.linked(&there)).await;
    assert!(!links.say(&there, nudge(2)));
    assert_eq!(links.ask(&there, Ask::Resync, LIMIT).await, Err(PeerError::NoLink));

    let again = Listening::start_at(there.clone(), limits(), address);
    check_alive(&links, &there).await;
    assert!(links.say(&there, nudge(3)));
    until("the next word", || again.heard.heads() == [3]).await;
    assert_eq!((count(&links.counters().opened), count(&links.counters().broken)), (2, 1));
    assert_eq!(count(&links.counters().linked), 1);
    again.server.close().await;

    // Another run on the port is not the one that was meant.
    let failed = count(&links.counters().failed);
    let other = Listening::start_at(run("gateway-1", 2), limits(), address);
    until("failures", || count(&links.counters().failed) > failed + 1).await;
    assert!(!links.linked(&there));
    links.set_nodes(&[other.node()]);
    check_alive(&links, &other.run).await;
    assert_eq!(links.runs(), std::slice::from_ref(&other.run));
}

#[tokio::test]
async fn asks_under_way_fail_when_the_link_breaks() {
    let quick = PeerLimits { close_ms: 50, ..limits() };
    let listening = Listening::start(run("gateway-1", 1), quick);
    let links = linked(&[listening.node()], limits()).await;
    listening.heard.mood.send_replace(Mood::Hanging);
    let there = listening.run.clone();
    let end = async {
        until("the ask", || !listening.heard.asks().is_empty()).await;
        listening.server.close().await;
    };
    let (answer, ()) = tokio::join!(links.ask(&there, Ask::Submit(message()), LIMIT), end);
    assert_eq!(answer, Err(PeerError::Broken));
}

#[tokio::test]
async fn a_server_that_closes_answers_what_was_asked() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { close_ms: 10_000, ..limits() });
    let links = linked(&[listening.node()], limits()).await;
    let Listening { server, heard, run: there } = listening;
    heard.mood.send_replace(Mood::Hanging);
    let address = server.address();
    let ask = async {
        let answer = links.ask(&there, Ask::Submit(message()), LIMIT).await;
        assert_eq!(answer, Ok(Reply::Sent(sent(&message()))));
    };
    let close = async {
        until("the ask", || !heard.asks().is_empty()).await;
        server.close().await;
    };
    let release = async {
        until("the ask", || !heard.asks().is_empty()).await;
        // The port is given back while the answer is still owed.
        until("the end of listening", || std::net::TcpListener::bind(address).is_ok()).await;
        heard.mood.send_replace(Mood::Willing);
    };
    tokio::join!(ask, close, release);
}

#[tokio::test]
async fn what_was_said_before_links_close_goes_out() {
    const WORDS: u64 = 5_000;
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], PeerLimits { close_ms: 10_000, ..limits() }).await;
    for head in 0..WORDS {
        assert!(links.say(&listening.run, nudge(head)));
    }
    links.close().await;
    assert!(!links.say(&listening.run, nudge(0)));
    links.set_nodes(&[listening.node()]);
    assert_eq!(links.runs(), []);
    until("all words", || listening.heard.heads().len() as u64 == WORDS).await;
    assert!(listening.heard.heads().into_iter().eq(0..WORDS));
}

#[tokio::test]
async fn a_node_that_left_the_list_keeps_its_link_until_it_breaks_or_runs_anew() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let own = node(&run("daemon-1", 1), listening.server.address());
    let links = linked(&[listening.node()], limits()).await;
    links.set_nodes(std::slice::from_ref(&own));
    check_alive(&links, &listening.run).await;
    assert_eq!(links.runs(), std::slice::from_ref(&listening.run), "this process is no peer of itself");

    let next = Listening::start(run("gateway-1", 2), limits());
    links.set_nodes(&[next.node()]);
    assert_eq!(links.runs(), std::slice::from_ref(&next.run));
    check_alive(&links, &next.run).await;
    links.set_nodes(&[]);
    let gone = next.run.clone();
    next.server.close().await;
    until("the break", || links.runs().is_empty()).await;
    links.set_nodes(&[]);
    assert!(!links.linked(&gone));
    // Back in the list, though its task has ended.
    let back = Listening::start(gone.clone(), limits());
    links.set_nodes(&[back.node()]);
    check_alive(&links, &gone).await;
}
