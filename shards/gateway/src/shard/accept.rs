//! Connections coming in: admission by count, then a place in the table.

use std::net::{IpAddr, TcpListener};
use std::sync::atomic::Ordering;

use ringway_engine::limits::HANDSHAKE_TIMEOUT_MS;
use ringway_engine::session::Session;
use ringway_engine::websocket::handshake;
use ringway_ring::listener::Listener;
use ringway_ring::runtime;
use ringway_ring::socket::{Accepted, HandlerId};
use ringway_ring::tls::TlsStream;

use super::connection::{self, Connection, Phase};
use super::{Shard, Shared};
use crate::clock;

/// Connections taken in one turn; those behind them wait in the backlog while messages go on.
const TURN_MAX: usize = 16;

/// Accepts until the drain begins or the listening socket fails.
pub(super) async fn run(shared: Shared, listener: TcpListener, handler: HandlerId) {
    let listener = match Listener::new(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "listening socket cannot be used"),
    };
    for taken in 1_usize.. {
        if taken.is_multiple_of(TURN_MAX) {
            runtime::turn().await;
        }
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
            Some(Ok(accepted)) => shared.borrow_mut().admit(accepted, handler),
            Some(Err(error)) => return tracing::error!(%error, "listening socket failed"),
        }
    }
}

impl Shard {
    pub(super) fn admit(&mut self, accepted: Accepted, handler: HandlerId) {
        let peer = accepted.peer().ip();
        let now_ms = clock::steady_ms();
        let live = self.live.config();
        let shards = self.shards.max(1);
        self.metrics.counters.accepted.add(1);
        // A trusted peer is a balancer: its own address carries everybody.
        let trusted = live.trusted_peers.contains(peer);
        let of_address = self.addresses.get(&peer).copied().unwrap_or(0) as usize;
        let refusal = if self.connections.len() >= live.connections_max.div_ceil(shards) {
            Some(handshake::refusal(503, Some(5), "too many connections"))
        } else if !trusted && of_address >= live.connections_per_address_max {
            Some(handshake::refusal(429, Some(30), "too many connections from this address"))
        } else {
            None
        };
        if let Some(answer) = refusal {
            self.metrics.counters.refused.add(1);
            return accepted.refuse(&answer);
        }
        let phase = if self.proxy_protocol && trusted { Phase::Proxy(None) } else { Phase::Upgrade(None) };
        let tls = match self.live.tls().map(|config| TlsStream::new(&config)) {
            None => None,
            Some(Ok(stream)) => Some(Box::new(stream)),
            Some(Err(error)) => return tracing::error!(%error, "TLS session cannot begin"),
        };
        self.generation = self.generation.wrapping_add(1);
        let (index, generation) = (self.index, self.generation);
        let key = connection::key(generation, self.connections.next_slot());
        let socket = match accepted.attach(handler, key) {
            Ok(socket) => socket,
            Err(error) => {
                self.metrics.counters.refused.add(1);
                return tracing::error!(%error, "a connection finds no place in the ring's table");
            }
        };
        let mut connection = Connection::new(generation, socket, Session::new(index, key, now_ms), peer, phase);
        connection.tls = tls;
        connection.behind_balancer = trusted;
        self.connections.insert(connection);
        self.count_address(peer);
        self.metrics.counters.connections.add(1);
        self.live.connections.fetch_add(1, Ordering::Relaxed);
        self.schedule_at(key, now_ms + HANDSHAKE_TIMEOUT_MS);
    }

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
