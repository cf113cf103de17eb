//! An answered request, on its way to the exporter.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_api::{Answered, RequestWatcher};
use ringway_hops::{Lane, Sampler};

/// One request as its span tells it: neither its address nor anything of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Unix time in microseconds.
    pub(super) ended_us: u64,
    pub(super) took: Duration,
    pub(super) method: &'static str,
    /// A pattern of the route table; none when it fits none.
    pub(super) route: Option<String>,
    pub(super) status: u16,
}

/// Hands over one request in so many. It never waits.
pub(super) fn watcher(sampler: Sampler, lane: Lane<Request>) -> RequestWatcher {
    let number = AtomicU64::new(0);
    Box::new(move |answered: &Answered<'_>| {
        // As good as drawn: the sampler looks at a hash.
        if !sampler.takes(number.fetch_add(1, Relaxed) + 1) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        lane.offer(Request {
            ended_us: now.as_micros() as u64,
            took: answered.took,
            method: answered.method,
            route: answered.route.map(str::to_owned),
            status: answered.status,
        });
    })
}
