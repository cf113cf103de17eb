//! Sockets and listeners over loopback, with peers of the standard library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{
    Event, Events, PATIENCE, connect, listen, loopback, read_to_end, serve_echo, serve_one, shard, wait_until,
};
use ringway_ring::listener::{Listener, bind_all};
use ringway_ring::mailbox;
use ringway_ring::runtime::{self, spawn_local, timeout};
use ringway_ring::socket::Chunk;

#[test]
fn every_byte_comes_back_on_many_connections_of_one_shard() {
    const CONNECTIONS: usize = 200;
    const ROUNDS: usize = 20;
    let (listener, address) = listen();
    let (mut stop, mut stopped) = mailbox::inbox::<()>(1, 1);
    let server = shard(0, move || async move {
        spawn_local(serve_echo(listener, || ()));
        stopped.wait().await;
    });
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
    for round in 0..ROUNDS {
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.write_all(format!("{number:08}-{round:07}").as_bytes()).unwrap();
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            let mut answer = [0; 16];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer, format!("{number:08}-{round:07}").as_bytes());
        }
    }
    stop[0].push(()).unwrap();
    stop[0].flush();
    server.join().unwrap();
    // The shard's end closed its connections.
    assert!(peers.into_iter().all(|peer| read_to_end(peer) == 0));
}

#[test]
fn a_large_send_to_a_slow_reader_arrives_whole() {
    let data: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|i| (i / 7) as u8).collect();
    let expected = data.clone();
    let (server, address) = serve_one(|events, socket| async move {
        socket.send(Chunk::Owned(data)).unwrap();
        assert_eq!(events.next().await, Event::Sent(0));
        assert!(!socket.is_sending());
        socket.send(Chunk::Shared(Bytes::from_static(b"end"))).unwrap();
        runtime::turn().await;
        assert!(!socket.is_sending() && events.is_empty(), "three bytes had to wait");
    });
    let mut received = Vec::new();
    connect(address).read_to_end(&mut received).unwrap();
    server.join().unwrap();
    assert!(received[..expected.len()] == expected[..]);
    assert_eq!(&received[expected.len()..], b"end");
}

#[test]
fn shutdown_ends_a_send_to_a_peer_that_never_reads() {
    let (server, address) = serve_one(|events, socket| async move {
        socket.send(Chunk::Owned(vec![7; 64 * 1024 * 1024])).unwrap();
        // The send is stuck, and it stays the only one.
        assert!(socket.is_sending());
        runtime::turn().await;
        assert!(socket.is_blocked());
        assert!(socket.send(Chunk::Shared(Bytes::from_static(b"x"))).is_err());
        socket.shutdown();
        assert_eq!(events.next().await, Event::End(0));
    });
    let peer = connect(address);
    server.join().unwrap();
    drop(peer);
}

#[test]
fn shutdown_ends_a_wait_for_bytes_that_never_come() {
    let (server, address) = serve_one(|events, socket| async move {
        runtime::sleep(20).await;
        assert!(events.is_empty());
        socket.shutdown();
        assert_eq!(events.next().await, Event::End(0));
    });
    let peer = connect(address);
    server.join().unwrap();
    drop(peer);
}

#[test]
fn a_socket_that_is_paused_again_and_again_loses_no_bytes() {
    let (server, address) = serve_one(|events, socket| async move {
        spawn_local(async move {
            loop {
                socket.pause();
                runtime::sleep(1).await;
                socket.resume();
                // At once, in the same turn, and a turn later.
                socket.pause();
                socket.resume();
                runtime::turn().await;
            }
        });
        events.bytes().await
    });
    let mut peer = connect(address);
    let sent: Vec<u8> = (0..100_u8).collect();
    for byte in &sent {
        peer.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(byte % 5) * 700));
    }
    drop(peer);
    assert_eq!(server.join().unwrap(), sent);
}

#[test]
fn the_peer_of_a_paused_socket_must_wait() {
    const MORE_THAN_BUFFERS_HOLD: usize = 64 * 1024 * 1024;
    let (server, address) = serve_one(|events, socket| async move {
        assert_eq!(events.next().await, Event::Received(0, b"go".to_vec()));
        socket.pause();
        runtime::sleep(100).await;
        let mut early = 0;
        while !events.is_empty() {
            let Event::Received(_, bytes) = events.next().await else { panic!("no bytes") };
            early += bytes.len();
        }
        socket.resume();
        (early, early + events.bytes().await.len())
    });
    let mut peer = connect(address);
    peer.write_all(b"go").unwrap();
    peer.write_all(&vec![1; MORE_THAN_BUFFERS_HOLD]).unwrap();
    drop(peer);
    let (early, all) = server.join().unwrap();
    assert!(early < 1024 * 1024, "{early} bytes were told to a socket that is paused");
    assert_eq!(all, MORE_THAN_BUFFERS_HOLD);
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let (server, address) = serve_one(|events, socket| async move {
        let total = events.bytes().await.len();
        socket.send(Chunk::Shared(Bytes::from(total.to_string()))).unwrap();
        socket.shutdown_write();
        runtime::turn().await;
    });
    let mut peer = connect(address);
    peer.write_all(b"question").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "8");
    server.join().unwrap();
}

#[test]
fn a_reset_by_the_peer_is_told_once_as_the_end() {
    let (server, address) = serve_one(|events, socket| async move {
        assert_eq!(events.next().await, Event::End(0));
        // What is sent now goes nowhere, and does no harm.
        socket.send(Chunk::Shared(Bytes::from_static(b"x"))).unwrap();
        runtime::sleep(20).await;
        assert!(events.is_empty());
    });
    let peer = socket2::Socket::from(connect(address));
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    server.join().unwrap();
}

#[test]
fn accepted_sockets_have_nagles_delay_off_and_know_their_peer() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let accepted = Listener::new(listener).unwrap().accept().await.unwrap();
        (socket2::SockRef::from(&accepted).tcp_nodelay().unwrap(), accepted.peer())
    });
    let peer = connect(address);
    assert_eq!(server.join().unwrap(), (true, peer.local_addr().unwrap()));
}

#[test]
fn a_refused_connection_hears_why() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        Listener::new(listener).unwrap().accept().await.unwrap().refuse(b"no room");
    });
    let mut heard = String::new();
    connect(address).read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "no room");
    server.join().unwrap();
}

#[test]
fn a_slot_that_is_used_again_hears_nothing_of_its_last_connection() {
    const CONNECTIONS: u64 = 300;
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (events, handler) = Events::new();
        let listener = Listener::new(listener).unwrap();
        for token in 0..CONNECTIONS {
            let socket = listener.accept().await.unwrap().attach(handler, token).unwrap();
            // Bytes, or their end, are under way while it is dropped: these are not for the next.
            if token % 3 == 0 {
                continue;
            }
            let Event::Received(of, bytes) = events.next().await else { panic!("{token} heard of an end") };
            assert_eq!((of, bytes.as_slice()), (token, &token.to_be_bytes()[..]));
            socket.send(Chunk::Owned(bytes)).unwrap();
            assert_eq!(events.next().await, Event::End(token));
        }
    });
    for token in 0..CONNECTIONS {
        let mut peer = connect(address);
        // It may have been closed already.
        let _ = peer.write_all(&token.to_be_bytes());
        let mut answer = [0; 8];
        if token % 3 != 0 {
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(u64::from_be_bytes(answer), token);
        }
    }
    server.join().unwrap();
}

#[test]
fn what_the_loop_does_is_counted() {
    let (server, address) = serve_one(|events, socket| async move {
        let before = runtime::loop_counts().unwrap();
        events.next().await;
        socket.send(Chunk::Shared(Bytes::from_static(b"x"))).unwrap();
        events.next().await;
        let after = runtime::loop_counts().unwrap();
        // A receive and the end are completions; the send, which went out at once, is none.
        assert_eq!(after.completions - before.completions, 2);
        assert!(after.turns - before.turns >= 2);
    });
    let mut peer = connect(address);
    peer.write_all(b"x").unwrap();
    peer.read_exact(&mut [0; 1]).unwrap();
    drop(peer);
    server.join().unwrap();
}

#[test]
fn two_shards_accept_on_one_port() {
    let listeners = bind_all(loopback(), 2, 256).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let accepted: Arc<[AtomicUsize; 2]> = Arc::default();
    let (mut stop, ends): (Vec<_>, Vec<_>) = (0..2).map(|_| mailbox::inbox::<()>(1, 1)).unzip();
    let servers: Vec<_> = listeners
        .into_iter()
        .zip(ends)
        .enumerate()
        .map(|(index, (listener, mut end))| {
            let accepted = accepted.clone();
            shard(index, move || async move {
                spawn_local(serve_echo(listener, move || {
                    accepted[index].fetch_add(1, Ordering::Relaxed);
                }));
                end.wait().await;
            })
        })
        .collect();
    let mut peers: Vec<_> = (0..100).map(|_| connect(address)).collect();
    for peer in &mut peers {
        peer.write_all(b"hi").unwrap();
        peer.read_exact(&mut [0; 2]).unwrap();
    }
    let counts = [0, 1].map(|shard: usize| accepted[shard].load(Ordering::Relaxed));
    assert_eq!(counts[0] + counts[1], 100);
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    stop.iter_mut().flatten().for_each(|stop| stop.push(()).unwrap());
    drop(stop);
    servers.into_iter().for_each(|server| server.join().unwrap());
    assert!(std::net::TcpStream::connect(address).is_err(), "the port is still open");
}

#[test]
fn an_accept_that_is_given_up_loses_no_connection() {
    let (listener, address) = listen();
    let (started, start) = std::sync::mpsc::channel();
    let server = shard(0, move || async move {
        let listener = Listener::new(listener).unwrap();
        for _ in 0..20 {
            assert!(timeout(1, listener.accept()).await.is_none());
        }
        started.send(()).unwrap();
        let (events, handler) = Events::new();
        let accepted = timeout(5_000, listener.accept()).await.expect("no connection").unwrap();
        let _socket = accepted.attach(handler, 0).unwrap();
        events.bytes().await
    });
    start.recv_timeout(PATIENCE).unwrap();
    let mut peer = connect(address);
    peer.write_all(b"hello").unwrap();
    drop(peer);
    assert_eq!(server.join().unwrap(), b"hello");
}

#[test]
fn a_shard_ends_cleanly_with_reads_sends_and_an_accept_pending() {
    let (listener, address) = listen();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let (stop, mut stopped) = mailbox::inbox::<()>(1, 1);
    let server = shard(0, move || async move {
        spawn_local(async move {
            let (_events, handler) = Events::new();
            let listener = Listener::new(listener).unwrap();
            let mut sockets = Vec::new();
            loop {
                let socket = listener.accept().await.unwrap().attach(handler, 0).unwrap();
                socket.send(Chunk::Owned(vec![1; 16 * 1024 * 1024])).unwrap();
                sockets.push(socket);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        stopped.wait().await
    });
    let peers: Vec<_> = (0..50).map(|_| connect(address)).collect();
    wait_until("all accepted", || accepted.load(Ordering::Relaxed) == 50);
    drop(stop);
    let begin = Instant::now();
    assert!(!server.join().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(5));
    for peer in peers {
        assert!(read_to_end(peer) < 16 * 1024 * 1024);
    }
    assert!(std::net::TcpStream::connect(address).is_err(), "the port is still open");
}
