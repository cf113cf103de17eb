//! Conformance of [`Leases`].

use std::time::{Duration, Instant};

use crate::ports::Leases;

/// Longer than a suite takes.
const LONG_MS: u64 = 600_000;
/// Short enough to be waited for.
const SHORT_MS: u64 = 200;
/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(20);

async fn names(leases: &dyn Leases, prefix: &str) -> Vec<String> {
    leases.held(prefix).await.unwrap().into_iter().map(|(name, _)| name).collect()
}

/// A lease has one holder, who may renew it, and nobody else may let it go.
pub async fn one_holder(leases: &dyn Leases) {
    assert!(leases.held("").await.unwrap().is_empty());
    for _ in 0..2 {
        assert!(leases.hold("queue/0", "one", LONG_MS).await.unwrap());
    }
    assert!(!leases.hold("queue/0", "two", LONG_MS).await.unwrap());
    leases.let_go("queue/0", "two").await.unwrap();
    assert!(!leases.hold("queue/0", "two", LONG_MS).await.unwrap());
    assert!(!leases.hold("queue/0", "ONE", LONG_MS).await.unwrap(), "owners are compared by bytes");
    leases.let_go("queue/0", "one").await.unwrap();
    leases.let_go("queue/0", "one").await.unwrap();
    assert!(leases.hold("queue/0", "two", LONG_MS).await.unwrap());
    assert_eq!(leases.held("queue/0").await.unwrap(), [("queue/0".to_owned(), "two".to_owned())]);
}

/// What has run out is anyone's, and not listed; a renewal counts from its own moment.
pub async fn run_out(leases: &dyn Leases) {
    assert!(leases.hold("relay", "one", LONG_MS).await.unwrap());
    assert!(leases.hold("relay", "one", SHORT_MS).await.unwrap(), "a holder may shorten its time");
    let deadline = Instant::now() + WAIT;
    while !leases.hold("relay", "two", LONG_MS).await.unwrap() {
        assert!(Instant::now() < deadline, "a lease of {SHORT_MS} ms does not run out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!leases.hold("relay", "one", LONG_MS).await.unwrap(), "the one that was late holds nothing");
    assert!(leases.hold("member/a", "one", 0).await.unwrap());
    assert_eq!(names(leases, "").await, ["relay"]);
    assert!(leases.hold("member/a", "two", LONG_MS).await.unwrap());
    // No time is too long to be counted.
    assert!(leases.hold("member/a", "two", u64::MAX).await.unwrap());
    assert!(!leases.hold("member/a", "one", LONG_MS).await.unwrap());
}

/// Leases are listed by the beginning of their names, whatever is in it.
pub async fn listed_by_prefix(leases: &dyn Leases) {
    for name in ["queue/10", "queue/2", "Queue/1", "member/%", "member/x", "queue", "member/ü"] {
        assert!(leases.hold(name, "one", LONG_MS).await.unwrap());
    }
    for (prefix, expected) in [
        ("queue/", &["queue/10", "queue/2"][..]),
        ("queue", &["queue", "queue/10", "queue/2"]),
        ("member/%", &["member/%"]),
        ("member/_", &[]),
        ("member/", &["member/%", "member/x", "member/ü"]),
        ("queue/10/", &[]),
    ] {
        assert_eq!(names(leases, prefix).await, expected, "{prefix:?}");
    }
    assert_eq!(names(leases, "").await.len(), 7);
    assert!(leases.hold(&"n".repeat(1_000), "one", LONG_MS).await.is_err(), "a name that does not fit is no other's");
    assert!(leases.hold("n", &"o".repeat(1_000), LONG_MS).await.is_err());
}

/// Of many that ask at once, through any of these, one gets the lease.
pub async fn one_winner(all: &[&dyn Leases]) {
    for round in 0..8 {
        let name = format!("round/{round}");
        let ask = |at: usize| {
            let (leases, name) = (all[at % all.len()], &name);
            async move { leases.hold(name, &format!("owner-{at}"), LONG_MS).await.unwrap() }
        };
        let won = futures_util::future::join_all((0..16).map(ask)).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{name}");
        let holder = format!("owner-{}", won.iter().position(|won| *won).unwrap());
        assert_eq!(all[0].held(&name).await.unwrap(), [(name.clone(), holder)]);
    }
}
