//! Connections coming in: admission by count, then a reader task for each.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use ringway_engine::limits::HANDSHAKE_TIMEOUT_MS;
use ringway_engine::session::Session;
use ringway_engine::websocket::handshake;
use ringway_ring::listener::Listener;
use ringway_ring::runtime;
use ringway_ring::socket::Socket;
use ringway_ring::tls::TlsStream;

use super::connection::{Connection, Phase};
use super::{Shard, Shared, intake};
use crate::clock;

/// Accepts until the drain begins or the listening socket fails.
pub(super) async fn run(shared: Shared, listener: TcpListener) {
    let listener = match Listener::new(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "listening socket cannot be used"),
    };
    loop {
        let accepted = {
            let next = listener.accept();
            let mut next = std::pin::pin!(next);
            std::future::poll_fn(|context| {
                let mut shard = shared.borrow_mut();
                if shard.draining_ms.is_some() {
                    return std::task::Poll::Ready(None);
                }
                shard.accept_waker = Some(context.waker().clone());
                drop(shard);
                next.as_mut().poll(context).map(Some)
            })
            .await
        };
        match accepted {
            None => return,
            Some(Ok((socket, peer))) => admit(&shared, socket, peer),
            Some(Err(error)) => return tracing::error!(%error, "listening socket failed"),
        }
    }
}

fn admit(shared: &Shared, socket: Socket, peer: SocketAddr) {
    let mut shard = shared.borrow_mut();
    let now_ms = clock::steady_ms();
    let live = shard.live.config();
    let shards = shard.shards.max(1);
    shard.metrics.counters.accepted.add(1);
    // A trusted peer is a balancer: its own address carries everybody.
    let trusted = live.trusted_peers.contains(peer.ip());
    let of_address = shard.addresses.get(&peer.ip()).copied().unwrap_or(0) as usize;
    let refusal = if shard.connections.len() >= live.connections_max.div_ceil(shards) {
        Some(handshake::refusal(503, Some(5), "too many connections"))
    } else if !trusted && of_address >= live.connections_per_address_max {
        Some(handshake::refusal(429, Some(30), "too many connections from this address"))
    } else {
        None
    };
    if let Some(answer) = refusal {
        shard.metrics.counters.refused.add(1);
        drop(shard);
        runtime::spawn_local(async move {
            // The peer may not read; whatever the kernel takes at once is enough.
            let _ = runtime::timeout(1_000, socket.send_vec(answer)).await;
            socket.shutdown();
        });
        return;
    }
    let phase = if shard.proxy_protocol && trusted { Phase::Proxy(Vec::new()) } else { Phase::Upgrade(Vec::new()) };
    shard.generation = shard.generation.wrapping_add(1);
    let generation = shard.generation;
    let index = shard.index;
    let tls = match shard.live.tls().map(|config| TlsStream::new(&config)) {
        None => None,
        Some(Ok(stream)) => Some(Box::new(stream)),
        Some(Err(error)) => return tracing::error!(%error, "TLS session cannot begin"),
    };
    let socket = Rc::new(socket);
    let entry = shard.connections.vacant_entry();
    let key = (u64::from(generation) << 32) | entry.key() as u64;
    let session = Session::new(index, key, now_ms);
    let mut connection = Connection::new(generation, Rc::clone(&socket), session, peer.ip(), phase);
    connection.tls = tls;
    entry.insert(connection);
    shard.count_address(peer.ip());
    shard.metrics.counters.connections.add(1);
    shard.live.connections.fetch_add(1, Ordering::Relaxed);
    shard.schedule_at(key, now_ms + HANDSHAKE_TIMEOUT_MS);
    drop(shard);
    runtime::spawn_local(intake::run(Rc::clone(shared), socket, key));
}

impl Shard {
    fn count_address(&mut self, address: IpAddr) {
        *self.addresses.entry(address).or_default() += 1;
    }

    /// The client behind a trusted peer is known now: it counts under its own address.
    pub(super) fn readdress(&mut self, key: u64, address: IpAddr) {
        let Some(connection) = self.connection(key) else { return };
        let before = std::mem::replace(&mut connection.address, address);
        if let Some(count) = self.addresses.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&before);
            }
        }
        self.count_address(address);
    }

    /// Whether an address that only the request told has too many connections.
    pub(super) fn address_is_full(&self, address: IpAddr) -> bool {
        self.addresses.get(&address).copied().unwrap_or(0) as usize > self.live.config().connections_per_address_max
    }
}
