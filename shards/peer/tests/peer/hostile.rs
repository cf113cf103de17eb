//! Bytes that no peer would send, against a server on a real socket. Every case must end in a closed connection with
//! nothing heard, and the server must serve as before.

use std::net::SocketAddr;

use ringway_peer::PeerLimits;

use crate::harness::{KEY, Listening, check_alive, count, limits, linked, node, run, until};
use crate::raw::{
    ACCEPTOR_PROOF, Bare, HEADER, HELLO, NUDGE, OPENER_PROOF, PING, PROOF, Raw, SIGNAL, Who, derived, frame, greeting,
    nudge,
};

/// Which counter a case adds to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counted {
    BadFrame,
    WrongKey,
    NoVersion,
    Refused,
}

fn counted(listening: &Listening, what: Counted) -> u64 {
    let counters = listening.server.counters();
    count(match what {
        Counted::BadFrame => &counters.bad_frames,
        Counted::WrongKey => &counters.wrong_key,
        Counted::NoVersion => &counters.no_version,
        Counted::Refused => &counters.refused,
    })
}

fn who() -> Who {
    Who::new("gateway-9", 1, 1, 1)
}

/// A header that promises so many bytes.
fn promising(version: u8, kind: u8, bytes: u32) -> Vec<u8> {
    let mut header = frame(version, kind, 0, &[], [0; 16]);
    header[4..8].copy_from_slice(&bytes.to_le_bytes());
    header
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

/// Bytes of a stranger who does not get past the hello.
fn strangers() -> Vec<(&'static str, Vec<u8>, Counted)> {
    let hello = who().hello();
    let named = |node: &str| greeting(HELLO, &Who::new(node, 1, 1, 1).hello());
    vec![
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Counted::BadFrame),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Counted::BadFrame),
        ("zeros", vec![0; 4_096], Counted::BadFrame),
        ("a hello past the bound", promising(0, HELLO, 513), Counted::BadFrame),
        ("a hello of 4 GiB", promising(0, HELLO, u32::MAX), Counted::BadFrame),
        ("a damaged hello", flipped(greeting(HELLO, &hello), HEADER + 3), Counted::BadFrame),
        ("a damaged header", flipped(greeting(HELLO, &hello), 9), Counted::BadFrame),
        ("an empty hello", greeting(HELLO, &[]), Counted::BadFrame),
        ("a hello cut in its nonce", greeting(HELLO, &hello[..20]), Counted::BadFrame),
        ("a hello cut in its name", greeting(HELLO, &hello[..hello.len() - 1]), Counted::BadFrame),
        ("a hello without a name", named(""), Counted::BadFrame),
        ("a hello with a forbidden name", named("a\nb"), Counted::BadFrame),
        ("a hello with a long name", named(&"a".repeat(33)), Counted::BadFrame),
        ("a proof first", greeting(PROOF, &[0; 32]), Counted::BadFrame),
        ("a word first", frame(1, NUDGE, 0, &nudge(1), [0; 16]), Counted::BadFrame),
        ("an ask first", frame(1, PING, 1, &[], [0; 16]), Counted::BadFrame),
        ("a hello of a session's version", frame(1, HELLO, 0, &hello, [0; 16]), Counted::BadFrame),
        ("two hellos", [greeting(HELLO, &hello), greeting(HELLO, &hello)].concat(), Counted::BadFrame),
        ("later versions only", greeting(HELLO, &Who::new("gateway-9", 1, 2, 9).hello()), Counted::NoVersion),
    ]
}

#[tokio::test]
async fn a_stranger_who_is_no_peer_is_closed_and_harms_nobody() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    for (what, bytes, counter) in strangers() {
        let before = counted(&listening, counter);
        let mut bare = Bare::connect(listening.server.address()).await;
        bare.write(&bytes).await;
        bare.expect_close(what).await;
        until(what, || counted(&listening, counter) == before + 1).await;
        check_alive(&links, &listening.run).await;
    }
    assert_eq!(listening.heard.words(), []);
    assert_eq!(count(&links.counters().broken), 0);
}

/// Says the hello, then what `prove` makes of both hellos.
async fn greet_with(address: SocketAddr, prove: impl FnOnce(&[u8], &[u8]) -> Vec<u8>) -> Bare {
    let mut bare = Bare::connect(address).await;
    let mine = who().hello();
    bare.write(&greeting(HELLO, &mine)).await;
    let theirs = bare.read_greeting(HELLO).await.unwrap();
    let proof = prove(&mine, &theirs);
    bare.write(&greeting(PROOF, &proof)).await;
    bare
}

type Prove = Box<dyn FnOnce(&[u8], &[u8]) -> Vec<u8>>;

#[tokio::test]
async fn who_does_not_hold_the_key_is_closed_and_counted() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    let cases: Vec<(&str, Prove)> = vec![
        ("another key", Box::new(|mine, theirs| derived(&[8; 32], OPENER_PROOF, 1, mine, theirs))),
        ("the other side's proof", Box::new(|mine, theirs| derived(&KEY, ACCEPTOR_PROOF, 1, mine, theirs))),
        ("hellos in the other order", Box::new(|mine, theirs| derived(&KEY, OPENER_PROOF, 1, theirs, mine))),
        ("another version", Box::new(|mine, theirs| derived(&KEY, OPENER_PROOF, 2, mine, theirs))),
        (
            "a range that was changed on the way",
            Box::new(|mine, theirs| {
                let mut said = mine.to_vec();
                said[1] = 9;
                derived(&KEY, OPENER_PROOF, 1, &said, theirs)
            }),
        ),
        ("half a proof", Box::new(|mine, theirs| derived(&KEY, OPENER_PROOF, 1, mine, theirs)[..16].to_vec())),
        ("a proof and more", Box::new(|mine, theirs| [derived(&KEY, OPENER_PROOF, 1, mine, theirs), vec![0]].concat())),
        ("an empty proof", Box::new(|_, _| Vec::new())),
        ("zeros", Box::new(|_, _| vec![0; 32])),
    ];
    for (what, prove) in cases {
        let before = counted(&listening, Counted::WrongKey);
        greet_with(listening.server.address(), prove).await.expect_close(what).await;
        until(what, || counted(&listening, Counted::WrongKey) == before + 1).await;
        check_alive(&links, &listening.run).await;
    }
}

#[tokio::test]
async fn a_recorded_greeting_does_not_serve_again() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let mine = who().hello();
    let mut bare = Bare::connect(listening.server.address()).await;
    bare.write(&greeting(HELLO, &mine)).await;
    let theirs = bare.read_greeting(HELLO).await.unwrap();
    let proof = greeting(PROOF, &derived(&KEY, OPENER_PROOF, 1, &mine, &theirs));
    bare.write(&proof).await;
    bare.read_greeting(PROOF).await.unwrap();

    let mut again = Bare::connect(listening.server.address()).await;
    again.write(&[greeting(HELLO, &mine), proof].concat()).await;
    again.expect_close("the same greeting").await;
    until("a wrong key", || counted(&listening, Counted::WrongKey) == 1).await;
}

type Tamper = fn(&mut Raw) -> Vec<u8>;

/// What somebody on the path could make of a proved connection.
const TAMPERED: &[(&str, Tamper)] = &[
    ("garbage", |_| b"garbage instead of a frame, longer than a header is".to_vec()),
    ("no tag", |_| frame(1, NUDGE, 0, &nudge(1), [0; 16])),
    ("a damaged body", |raw| flipped(raw.sealed(1, NUDGE, 0, &nudge(1)), HEADER + 4)),
    ("a damaged tag", |raw| flipped(raw.sealed(1, NUDGE, 0, &nudge(1)), HEADER - 1)),
    ("another kind", |raw| {
        let tag = raw.sealed(1, NUDGE, 0, &nudge(1))[20..HEADER].try_into().unwrap();
        frame(1, NUDGE - 1, 0, &nudge(1), tag)
    }),
    ("another body", |raw| {
        let tag = raw.sealed(1, NUDGE, 0, &nudge(1))[20..HEADER].try_into().unwrap();
        frame(1, NUDGE, 0, &nudge(2), tag)
    }),
    ("another request", |raw| {
        let tag = raw.sealed(1, PING, 1, &[])[20..HEADER].try_into().unwrap();
        frame(1, PING, 2, &[], tag)
    }),
    ("a frame left out", |raw| {
        raw.sealed(1, NUDGE, 0, &nudge(1));
        raw.sealed(1, NUDGE, 0, &nudge(2))
    }),
    ("the same frame twice", |raw| raw.sealed(1, PING, 1, &[]).repeat(2)),
    ("two frames in the other order", |raw| {
        let first = raw.sealed(1, NUDGE, 0, &nudge(1));
        [raw.sealed(1, NUDGE, 0, &nudge(2)), first].concat()
    }),
    ("the other side's seal", |raw| raw.reflected(NUDGE, &nudge(1))),
    ("a frame past the bound", |_| promising(1, NUDGE, 4 * 1024 * 1024 + 1)),
    ("a frame of 4 GiB", |_| promising(1, NUDGE, u32::MAX)),
    ("a frame of another version", |raw| raw.sealed(2, NUDGE, 0, &nudge(1))),
    ("another hello", |raw| raw.sealed(1, HELLO, 0, &who().hello())),
    ("an answer to nothing", |raw| raw.sealed(1, 128, 1, &[])),
    ("a reserved kind", |raw| raw.sealed(1, 200, 1, &[])),
];

#[tokio::test]
async fn a_tampered_frame_closes_its_connection_and_no_other() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = linked(&[listening.node()], limits()).await;
    for (what, tamper) in TAMPERED {
        let before = counted(&listening, Counted::BadFrame);
        let mut raw = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
        let bytes = tamper(&mut raw);
        raw.bare.write(&bytes).await;
        raw.bare.expect_close(what).await;
        until(what, || counted(&listening, Counted::BadFrame) == before + 1).await;
        check_alive(&links, &listening.run).await;
    }
    assert_eq!(listening.heard.words(), []);
    until("no other connection", || count(&listening.server.counters().connections) == 1).await;
}

#[tokio::test]
async fn a_frame_that_is_cut_by_the_end_of_its_connection_is_not_heard() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    for cut in [1, HEADER - 1, HEADER, HEADER + 5] {
        let mut raw = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
        let bytes = raw.sealed(1, NUDGE, 0, &nudge(1));
        raw.bare.write(&bytes[..cut]).await;
    }
    until("their ends", || count(&listening.server.counters().connections) == 0).await;
    assert_eq!((listening.heard.words(), counted(&listening, Counted::BadFrame)), (vec![], 0));
}

#[tokio::test]
async fn a_malformed_body_is_skipped_or_refused_and_the_connection_lives() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let mut raw = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
    let mut cut = nudge(1);
    cut.truncate(cut.len() - 1);
    for body in [&[][..], &[0x80; 64], &[0; 3], &cut] {
        raw.send(NUDGE, 0, body).await;
        raw.send(SIGNAL, 9, body).await;
        let (kind, request, _) = raw.receive().await.unwrap();
        assert_eq!((kind, request), (crate::raw::REFUSED, 9));
    }
    // A batch whose messages are not messages.
    raw.send(16, 0, &nudge(1)).await;
    raw.send(NUDGE, 0, &nudge(5)).await;
    until("the sound one", || listening.heard.heads() == [5]).await;
    assert_eq!(listening.heard.words().len(), 1);
    assert_eq!(count(&listening.server.counters().malformed), 9);
}

#[tokio::test]
async fn a_silent_stranger_is_closed_in_time() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { greeting_ms: 100, ..limits() });
    for first in [Vec::new(), b"RP".to_vec(), greeting(HELLO, &who().hello())] {
        let before = counted(&listening, Counted::Refused);
        let mut bare = Bare::connect(listening.server.address()).await;
        bare.write(&first).await;
        bare.expect_close("silence").await;
        until("a refusal", || counted(&listening, Counted::Refused) == before + 1).await;
    }
}

#[tokio::test]
async fn silent_strangers_do_not_keep_peers_out() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { greetings_max: 8, ..limits() });
    let mut strangers = Vec::new();
    for _ in 0..50 {
        strangers.push(Bare::connect(listening.server.address()).await);
    }
    let links = linked(&[listening.node()], limits()).await;
    check_alive(&links, &listening.run).await;
    until("the oldest closed", || counted(&listening, Counted::Refused) >= 42).await;
}

#[tokio::test]
async fn connections_past_the_bound_are_closed() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { connections_max: 2, ..limits() });
    let first = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
    let links = linked(&[listening.node()], limits()).await;
    let third = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
    third.bare.expect_close("one too many").await;
    check_alive(&links, &listening.run).await;
    drop(first);
    until("a place", || count(&listening.server.counters().connections) == 1).await;
    let mut third = Raw::open(listening.server.address(), &KEY, &who()).await.unwrap();
    third.send(NUDGE, 0, &nudge(1)).await;
    until("its word", || listening.heard.heads() == [1]).await;
}

#[tokio::test]
async fn a_link_refuses_a_server_that_does_not_hold_the_key() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = run("gateway-1", 1);
    let links = ringway_peer::PeerLinks::new(run("daemon-1", 1), crate::harness::key(), limits());
    links.set_nodes(&[node(&there, listener.local_addr().unwrap())]);
    let me = Who::new(&there.node, there.boot, 1, 1);
    for label in [OPENER_PROOF, ACCEPTOR_PROOF] {
        let before = count(&links.counters().failed);
        let mut bare = Bare(listener.accept().await.unwrap().0);
        let theirs = bare.read_greeting(HELLO).await.unwrap();
        let mine = me.hello();
        bare.write(&greeting(HELLO, &mine)).await;
        bare.read_greeting(PROOF).await.unwrap();
        // The right key under the wrong label, then the wrong key.
        let key = if label == OPENER_PROOF { KEY } else { [8; 32] };
        bare.write(&greeting(PROOF, &derived(&key, label, 1, &theirs, &mine))).await;
        bare.expect_close("a server without the key").await;
        until("a failure", || count(&links.counters().failed) > before).await;
        assert!(!links.linked(&there));
    }
}
