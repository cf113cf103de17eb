//! What processes say of their readiness while parts die and come back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::load::Load;

/// A dead part is named within 10 s; a loaded machine gets as much again.
const RED: Duration = Duration::from_secs(20);
/// A part that is back is found within seconds; what it has to make up first comes on top.
const GREEN: Duration = Duration::from_secs(60);
/// What a gateway says through which nothing gets.
pub(crate) const CANARY: &str = "messages are not getting through";

/// Why a process is not ready; empty when it is.
async fn reasons(admin: SocketAddr) -> Vec<String> {
    let answer = http::call(admin, "", "GET", "/readyz", None).await.unwrap();
    let reasons: Vec<String> = serde_json::from_value(answer.json()["reasons"].clone()).unwrap();
    assert_eq!(answer.status, if reasons.is_empty() { 200 } else { 503 }, "{}", answer.text);
    reasons
}

/// Waits until all of these processes say so; a walker that gives up ends the test. Answers when they did.
async fn until(
    load: &mut Load,
    admins: &[SocketAddr],
    (what, limit): (&str, Duration),
    holds: impl Fn(&[String]) -> bool,
) -> Instant {
    let began = Instant::now();
    for admin in admins {
        loop {
            let reasons = reasons(*admin).await;
            if holds(&reasons) {
                break;
            }
            assert!(began.elapsed() < limit, "{admin} is not {what} after {limit:?}: {reasons:?}");
            load.look().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Instant::now()
}

/// Waits until all of these processes have a reason that begins so.
pub(crate) async fn until_named(load: &mut Load, admins: &[SocketAddr], named: &str) -> Instant {
    let is_named = |reasons: &[String]| reasons.iter().any(|why| why.starts_with(named));
    until(load, admins, (&format!("red by {named:?}"), RED), is_named).await
}

/// Waits until messages get through these gateways, whatever is away from them.
pub(crate) async fn until_through(load: &mut Load, admins: &[SocketAddr]) {
    let is_through = |reasons: &[String]| !reasons.iter().any(|why| why.starts_with(CANARY));
    until(load, admins, ("through", RED), is_through).await;
}

/// Waits until all of these are ready.
pub(crate) async fn until_ready(load: &mut Load, admins: &[SocketAddr]) -> Instant {
    until(load, admins, ("ready", GREEN), <[String]>::is_empty).await
}
