//! A process that runs out of descriptors. Alone in its file: the limit holds for the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{connect, listen, serve_echo, shard, wait_until};
use ringway_ring::mailbox;
use ringway_ring::runtime::spawn_local;
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn connections_beyond_the_descriptor_limit_wait_and_are_served_when_others_go() {
    let (listener, address) = listen();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    let (stop, mut stopped) = mailbox::inbox::<()>(1, 1);
    let server = shard(0, move || async move {
        spawn_local(serve_echo(listener, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        stopped.wait().await;
    });
    let mut first: Vec<TcpStream> = (0..4).map(|_| connect(address)).collect();
    wait_until("the first are accepted", || accepted.load(Ordering::Relaxed) == 4);
    let mut waiting: Vec<TcpStream> = Vec::new();
    // The peers' own descriptors are made before the limit falls to what is in use.
    let spare: Vec<_> =
        (0..4).map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()).collect();
    // The lowest free descriptor: with it as the limit there is none to be had.
    let lowest_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(lowest_free), ..limit }).unwrap();
    for socket in spare {
        socket.connect(&address.into()).unwrap();
        waiting.push(socket.into());
    }
    // The shard goes on serving those it has.
    for peer in &mut first {
        peer.write_all(b"still here").unwrap();
        peer.read_exact(&mut [0; 10]).unwrap();
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 4);
    first.clear();
    for peer in &mut waiting {
        peer.set_read_timeout(Some(common::PATIENCE)).unwrap();
        peer.write_all(b"at last").unwrap();
        peer.read_exact(&mut [0; 7]).unwrap();
    }
    setrlimit(Resource::Nofile, limit).unwrap();
    drop(stop);
    server.join().unwrap();
}
