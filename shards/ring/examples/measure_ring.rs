//! Prints what the parts of this crate cost here: `cargo run --release -p ringway-ring --example measure_ring`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measuring tool: it may stop at any fault")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringway_ring::listener::{Listener, bind};
use ringway_ring::mailbox;
use ringway_ring::runtime::{self, ShardHandle, ShardThread, spawn, spawn_local};
use ringway_ring::socket::{Chunk, Handler, Socket, spare};
use ringway_ring::tls::TlsStream;

fn main() {
    println!("kernel and ring: {:?}", runtime::check_support().unwrap());
    println!("sizes: Socket {} B, TlsStream {} B", size_of::<Socket>(), size_of::<TlsStream>());
    mailbox_items();
    wake_latency();
    echo_cost();
}

fn shard<F, Fut, T>(main: F) -> ShardHandle<T>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    spawn(ShardThread { index: 0, core: None, entries: 4_096 }, main).unwrap()
}

fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the timespec to which the pointer leads.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}

fn mailbox_items() {
    const ITEMS: u64 = 20_000_000;
    let (mut senders, mut inbox) = mailbox::inbox::<u64>(1, 8_192);
    let receiver = shard(move || async move {
        let mut sum = 0;
        let begin = Instant::now();
        while inbox.wait().await {
            inbox.drain(1_024, &mut |_, item| sum += item);
        }
        (sum, begin.elapsed(), thread_cpu())
    });
    for item in 0..ITEMS {
        while senders[0].push(item).is_err() {
            std::thread::yield_now();
        }
        if item % 64 == 0 {
            senders[0].flush();
        }
    }
    drop(senders);
    let (sum, elapsed, cpu) = receiver.join().unwrap();
    assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
    let each = |time: Duration| time.as_nanos() as f64 / ITEMS as f64;
    println!("mailbox: {:.1} ns an item, {:.1} ns of the receiver's CPU", each(elapsed), each(cpu));
}

fn wake_latency() {
    const ROUNDS: usize = 2_000;
    let mut ends = mailbox::mesh::<Instant>(2, 64);
    let (mut to_first, mut second_inbox) = ends.pop().unwrap();
    let (mut to_second, mut first_inbox) = ends.pop().unwrap();
    let second = shard(move || async move {
        let mut delays = Vec::new();
        while second_inbox.wait().await {
            second_inbox.drain(8, &mut |_, sent| delays.push(sent.elapsed()));
            to_first[0].as_mut().unwrap().push(Instant::now()).unwrap();
            to_first[0].as_mut().unwrap().flush();
            if delays.len() == ROUNDS {
                break;
            }
        }
        delays.sort_unstable();
        (delays[ROUNDS / 2], delays[ROUNDS * 99 / 100], thread_cpu())
    });
    let first = shard(move || async move {
        for _ in 0..ROUNDS {
            runtime::sleep(1).await;
            to_second[1].as_mut().unwrap().push(Instant::now()).unwrap();
            to_second[1].as_mut().unwrap().flush();
            first_inbox.wait().await;
            first_inbox.drain(8, &mut |_, _| ());
        }
    });
    first.join().unwrap();
    let (median, high, cpu) = second.join().unwrap();
    println!("wake of a parked shard: p50 {median:?}, p99 {high:?}, {:?} CPU a round", cpu / ROUNDS as u32);
}

fn echo_cost() {
    const CONNECTIONS: usize = 100;
    const ROUNDS: usize = 1_000;
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), false, 1_024).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, mut stopped) = mailbox::inbox::<()>(1, 1);
    let server = shard(move || async move {
        spawn_local(async move {
            let listener = Listener::new(listener).unwrap();
            let echo = Rc::new(Echo::default());
            let handler = runtime::add_handler(echo.clone());
            for token in 0.. {
                let socket = listener.accept().await.unwrap().attach(handler, token).unwrap();
                echo.sockets.borrow_mut().insert(token, socket);
            }
        });
        stopped.wait().await;
        thread_cpu()
    });
    let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        peers.iter_mut().for_each(|peer| peer.write_all(&[7; 128]).unwrap());
        peers.iter_mut().for_each(|peer| peer.read_exact(&mut [0; 128]).unwrap());
    }
    let elapsed = begin.elapsed();
    drop(stop);
    let cpu = server.join().unwrap();
    let each = |time: Duration| time.as_nanos() as f64 / 1_000.0 / (CONNECTIONS * ROUNDS) as f64;
    println!(
        "echo of 128 B on {CONNECTIONS} connections: {:.2} µs of the shard's CPU, {:.2} µs",
        each(cpu),
        each(elapsed)
    );
}

/// Sends back what comes; a peer here asks once at a time.
#[derive(Default)]
struct Echo {
    sockets: RefCell<HashMap<u64, Socket>>,
}

impl Handler for Echo {
    fn handle_received(&self, token: u64, bytes: &mut [u8]) {
        let mut buffer = spare();
        buffer.extend_from_slice(bytes);
        self.sockets.borrow()[&token].send(Chunk::Owned(buffer)).unwrap();
    }

    fn handle_end(&self, token: u64) {
        self.sockets.borrow_mut().remove(&token);
    }

    fn handle_sent(&self, _token: u64) {}
}
