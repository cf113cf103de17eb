//! Where clients are sent: by `/v1/locate`, and by gateways that drain.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::load::Load;

/// That a node is healthy holds for 10 s; the API reads it once a second. A loaded machine gets as much again.
const LIMIT: Duration = Duration::from_secs(24);

/// Where a client of the gateway at this address connects.
pub(crate) fn url(gateway: SocketAddr) -> String {
    format!("ws://{gateway}/v1/ws")
}

/// Where the API sends clients.
pub(crate) async fn told(api: SocketAddr) -> BTreeSet<String> {
    let answer = http::call(api, "", "GET", "/v1/locate", None).await.unwrap().expect(200).unwrap().json();
    let items = answer["items"].as_array().unwrap();
    items.iter().map(|item| item["ws"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the API sends clients to these gateways and to no other; a walker that gives up ends the test. Answers how
/// long that took.
pub(crate) async fn until_told(load: &mut Load, api: SocketAddr, gateways: &[SocketAddr]) -> Duration {
    let (began, expected) = (Instant::now(), gateways.iter().copied().map(url).collect());
    loop {
        let told = told(api).await;
        if told == expected {
            return began.elapsed();
        }
        assert!(began.elapsed() < LIMIT, "clients are sent to {told:?} and not to {expected:?}");
        load.look().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
