//! Sockets and listeners over loopback, with peers of the standard library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{PATIENCE, connect, echo, listen, loopback, read_to_end, serve_echo, shard, shared, wait_until};
use ringway_ring::listener::{Listener, bind_all};
use ringway_ring::mailbox;
use ringway_ring::runtime::{self, spawn_local, timeout};

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
    let (listener, address) = listen();
    let data: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|i| (i / 7) as u8).collect();
    let expected = data.clone();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        let (result, back) = socket.send_vec(data).await;
        result.unwrap();
        socket.send(Bytes::from_static(b"end")).await.unwrap();
        back.len()
    });
    let mut received = Vec::new();
    connect(address).read_to_end(&mut received).unwrap();
    assert_eq!(server.join().unwrap(), expected.len());
    assert!(received[..expected.len()] == expected[..]);
    assert_eq!(&received[expected.len()..], b"end");
}

#[test]
fn shutdown_ends_a_send_to_a_peer_that_never_reads() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        let socket = shared(socket);
        let sender = socket.clone();
        let (mut done, mut waiting) = mailbox::inbox(1, 4);
        spawn_local(async move {
            let result = sender.send(Bytes::from(vec![7; 64 * 1024 * 1024])).await;
            done[0].push(result.map_err(|error| error.kind())).unwrap();
            done[0].flush();
        });
        // The send is stuck, and it stays the only one.
        assert!(timeout(200, waiting.wait()).await.is_none());
        assert!(socket.unsent_bytes() > 0);
        assert_eq!(socket.send(Bytes::from_static(b"x")).await.unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
        socket.shutdown();
        assert!(timeout(5_000, waiting.wait()).await.is_some(), "shutdown did not end the send");
        let mut result = None;
        waiting.drain(1, &mut |_, item| result = Some(item));
        result.unwrap()
    });
    let peer = connect(address);
    assert_eq!(server.join().unwrap(), Err(std::io::ErrorKind::BrokenPipe));
    drop(peer);
}

#[test]
fn shutdown_ends_a_wait_for_bytes_that_never_come() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        let socket = shared(socket);
        let other = socket.clone();
        spawn_local(async move {
            runtime::sleep(20).await;
            other.shutdown();
        });
        timeout(5_000, socket.readable()).await.expect("still waiting").unwrap();
        socket.try_read(&mut [0; 8]).unwrap()
    });
    let peer = connect(address);
    assert_eq!(server.join().unwrap(), Some(0));
    drop(peer);
}

#[test]
fn a_wait_that_is_given_up_again_and_again_loses_no_bytes() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 64];
        let mut given_up = 0;
        loop {
            match timeout(1, socket.readable()).await {
                None => given_up += 1,
                Some(ready) => {
                    ready.unwrap();
                    match socket.try_read(&mut buffer).unwrap() {
                        Some(0) => return (received, given_up),
                        Some(read) => received.extend_from_slice(&buffer[..read]),
                        None => {}
                    }
                }
            }
        }
    });
    let mut peer = connect(address);
    let sent: Vec<u8> = (0..100_u8).collect();
    for byte in &sent {
        peer.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(byte % 5) * 700));
    }
    drop(peer);
    let (received, given_up) = server.join().unwrap();
    assert_eq!(received, sent);
    assert!(given_up > 0);
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        let mut buffer = [0; 64];
        let mut total = 0;
        loop {
            socket.readable().await.unwrap();
            match socket.try_read(&mut buffer).unwrap() {
                Some(0) => break,
                Some(read) => total += read,
                None => {}
            }
        }
        socket.send(Bytes::from(total.to_string())).await.unwrap();
        socket.shutdown_write();
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
fn a_reset_by_the_peer_is_an_error_not_bytes() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, _) = Listener::new(listener).unwrap().accept().await.unwrap();
        timeout(5_000, socket.readable()).await.expect("no readiness").unwrap();
        socket.try_read(&mut [0; 8]).unwrap_err().kind()
    });
    let peer = socket2::Socket::from(connect(address));
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert_eq!(server.join().unwrap(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn accepted_sockets_have_nagles_delay_off_and_know_their_peer() {
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (socket, peer) = Listener::new(listener).unwrap().accept().await.unwrap();
        assert_eq!(socket.peer().unwrap(), peer);
        // SAFETY: the descriptor stays open for the borrow, which ends with this statement.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.fd()) };
        (socket2::SockRef::from(&fd).tcp_nodelay().unwrap(), peer)
    });
    let peer = connect(address);
    assert_eq!(server.join().unwrap(), (true, peer.local_addr().unwrap()));
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
        let (socket, _) = timeout(5_000, listener.accept()).await.expect("no connection").unwrap();
        echo(socket).await;
    });
    start.recv_timeout(PATIENCE).unwrap();
    let mut peer = connect(address);
    peer.write_all(b"hello").unwrap();
    peer.read_exact(&mut [0; 5]).unwrap();
    drop(peer);
    server.join().unwrap();
}

#[test]
fn a_shard_ends_cleanly_with_reads_sends_and_an_accept_pending() {
    let (listener, address) = listen();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let (stop, mut stopped) = mailbox::inbox::<()>(1, 1);
    let server = shard(0, move || async move {
        spawn_local(async move {
            let listener = Listener::new(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let socket = shared(socket);
                let sender = socket.clone();
                spawn_local(async move { drop(sender.send(Bytes::from(vec![1; 16 * 1024 * 1024])).await) });
                spawn_local(async move { drop(timeout(3_600_000, socket.readable()).await) });
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
