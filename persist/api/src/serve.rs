//! Runs a router on a listener with the bounds of a public port.
//!
//! One task a connection, HTTP/1.1 only. Bytes that are no HTTP get hyper's bare 400 (431 for a head
//! that is too large) and the connection is closed; a head that comes too slowly closes it without a word.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::address::{Peer, trusted};
use crate::config::ServeLimits;
use crate::limits::{CONNECTION_BUFFER_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use crate::write_timeout::WriteTimeout;

/// What a connection past the bound is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Pause after a failed accept: the usual cause (no descriptors left) lasts until a connection ends.
const ACCEPT_PAUSE_MS: u64 = 50;

/// Serves until `stop` completes, then takes no more connections, finishes the requests in flight
/// within `limits.drain_ms` and returns. Dropped, it cuts every connection off.
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, stop: impl Future<Output = ()>) {
    let limits = Arc::new(limits);
    let places = Arc::new(Places::default());
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => log_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.take(peer.ip(), &limits) {
                    Some(place) => {
                        let (router, limits, stopped) = (router.clone(), Arc::clone(&limits), stopped.clone());
                        connections.spawn(async move {
                            connection(stream, peer, router, &limits, stopped).await;
                            drop(place);
                        });
                    }
                    // Best effort: whatever fits the socket's empty buffer.
                    None => drop(stream.try_write(FULL)),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(Duration::from_millis(limits.drain_ms), drained).await.is_err() {
        tracing::warn!("requests were cut off at the end of the drain");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: &ServeLimits,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let stream = WriteTimeout::new(stream, Duration::from_millis(limits.write_timeout_ms));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.head_timeout_ms))
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(CONNECTION_BUFFER_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = told(&mut stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended early");
    }
}

/// Completes once the server stops.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server itself is gone, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Counts open connections, in all and by address.
#[derive(Debug, Default)]
struct Places(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; dropped with it.
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, address: IpAddr, limits: &ServeLimits) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        let crowded = here >= limits.connections_per_address_max && !trusted(&limits.trusted_peers, address);
        if open.all >= limits.connections_max || crowded {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, here + 1);
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}
