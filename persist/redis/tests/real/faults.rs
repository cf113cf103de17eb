//! Servers that die, come back empty or behind, or do not answer, while messages are numbered.

use std::time::{Duration, Instant};

use ringway_redis::{RedisConfig, Topology};
use ringway_stack::{Folder, RedisOptions, SENTINEL_SERVICE, SentinelRedis};
use ringway_store::conformance::message;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::ports::SharedState as _;

use crate::harness::{Single, Sql, until};
use crate::history::History;

/// Runs the history over one server through a fault; answers by how much the epoch rose.
async fn check(options: RedisOptions, fault: impl AsyncFnOnce(&mut Single, &History)) -> u64 {
    let mut single = Single::start_with(options).await;
    let (one, other, daemon) = (single.state().await, single.state().await, single.state().await);
    let sql = std::mem::replace(&mut single.sql, Sql::new().await);
    let before = sql.epoch().await;
    let history = History::default();
    let server = &mut single;
    history.run(&sql, [&one, &other], &daemon, async |history| fault(server, history).await).await;
    sql.epoch().await - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_and_restarted_empty_gives_no_number_twice() {
    let rose = check(RedisOptions::default(), async |single, history| {
        single.server.kill().unwrap();
        until("a failed call", async || history.failures() > 0).await;
        single.server.restart_empty().unwrap();
    })
    .await;
    assert!(rose >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_and_restarted_from_its_file_gives_no_number_twice() {
    let options = RedisOptions { appendonly: true, ..RedisOptions::default() };
    let rose = check(options, async |single, _| {
        single.server.kill().unwrap();
        single.server.restart().unwrap();
    })
    .await;
    assert!(rose >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_under_load_gives_no_number_twice() {
    let rose = check(RedisOptions::default(), async |single, _| single.tell(&["FLUSHALL"])).await;
    assert!(rose >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_fails_its_calls_in_time_and_acknowledges_nothing_twice() {
    let rose = check(RedisOptions::default(), async |single, history| {
        single.server.pause().unwrap();
        let began = Instant::now();
        until("calls of both senders and the daemon that fail", async || history.failures() >= 3).await;
        assert!(began.elapsed() < Duration::from_secs(3), "calls end in {:?}", began.elapsed());
        let before = history.acknowledged();
        until("five seconds of silence", async || began.elapsed() > Duration::from_secs(5)).await;
        assert_eq!(history.acknowledged(), before);
        single.server.resume().unwrap();
    })
    .await;
    assert_eq!(rose, 0, "it is the same server still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_stale_replica_gives_no_number_twice() {
    let folder = Folder::new().unwrap();
    let mut servers = SentinelRedis::start(folder.path()).unwrap();
    let sql = Sql::new().await;
    let service = SENTINEL_SERVICE.to_owned();
    let sentinels = servers.sentinels.iter().map(|one| ("127.0.0.1".to_owned(), one.plan().port())).collect();
    let config = RedisConfig::new(Topology::Sentinel { sentinels, service, user: None, password: None });
    let open = async || sql.open(config.clone()).await.unwrap();
    let (one, other, daemon) = (open().await, open().await, open().await);
    let before = sql.epoch().await;
    let history = History::default();
    let stale = &mut servers;
    history
        .run(&sql, [&one, &other], &daemon, async |history| {
            stale.hold_replica_back().unwrap();
            let cut = history.acknowledged();
            until("numbers that the replica does not know", async || history.acknowledged() > cut + 60).await;
            stale.primary.kill().unwrap();
            stale.wait_for_failover().unwrap();
        })
        .await;
    assert!(sql.epoch().await > before);
}

#[tokio::test]
async fn a_call_that_timed_out_and_its_repeat_share_a_number() {
    let single = Single::start().await;
    let mut config = single.config();
    config.command_timeout_ms = 200;
    let state = single.sql.open(config).await.unwrap();
    let event = [message("p2p:a:b", "a", "c-1", 1, now_ms())];
    single.server.pause().unwrap();
    state.number(&event).await.unwrap_err();
    single.server.resume().unwrap();
    let mut numbers = Vec::new();
    until("an answer", async || {
        numbers = state.number(&event).await.unwrap_or_default();
        !numbers.is_empty()
    })
    .await;
    assert_eq!((numbers[0].seq, numbers[0].msg_id), (1, 1));
    let next = state.number(&[message("p2p:a:b", "a", "c-2", 2, now_ms())]).await.unwrap();
    assert_eq!(next[0].seq, 2);
}
