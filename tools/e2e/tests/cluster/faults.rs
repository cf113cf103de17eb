//! Every part dies in turn while sends are acknowledged: nothing is lost, doubled or moved, and sends go on.
//!
//! Prints a table: how long after each fault's end the next sends were answered, and how many were during it.

use std::time::{Duration, Instant};

use ringway_e2e::load::{Load, judge};
use ringway_stack::{Extra, Stack};

use crate::deployment::Deployment;

/// What is done to the deployment, and undone.
struct Fault {
    name: &'static str,
    /// How long it lasts.
    lasts: Duration,
    /// Whether sends go on while it lasts.
    sends_go_on: bool,
    begin: fn(&mut Stack),
    end: fn(&mut Stack),
}

const fn fault(
    name: &'static str,
    lasts_s: u64,
    sends_go_on: bool,
    begin: fn(&mut Stack),
    end: fn(&mut Stack),
) -> Fault {
    Fault { name, lasts: Duration::from_secs(lasts_s), sends_go_on, begin, end }
}

const FAULTS: [Fault; 7] = [
    fault(
        "a gateway is killed",
        3,
        true,
        |stack| stack.kill("gateway-2").unwrap(),
        |stack| {
            stack.start("gateway-2").unwrap();
        },
    ),
    fault(
        "a persist daemon is killed",
        5,
        true,
        |stack| stack.kill("persist-1").unwrap(),
        |stack| {
            stack.start("persist-1").unwrap();
        },
    ),
    fault(
        "the broker is killed",
        10,
        true,
        |stack| stack.kill("broker").unwrap(),
        |stack| {
            stack.start("broker").unwrap();
        },
    ),
    fault(
        "the broker is paused",
        30,
        true,
        |stack| stack.pause("broker").unwrap(),
        |stack| {
            stack.resume("broker").unwrap();
        },
    ),
    fault(
        "Redis is killed and comes back empty",
        2,
        false,
        |stack| stack.kill("redis").unwrap(),
        |stack| {
            stack.start_empty("redis").unwrap();
        },
    ),
    fault(
        "the database is killed",
        30,
        true,
        |stack| stack.kill("mysql").unwrap(),
        |stack| {
            stack.start("mysql").unwrap();
        },
    ),
    fault(
        "the database is slow",
        6,
        true,
        |stack| stack.pause("mysql").unwrap(),
        |stack| {
            stack.resume("mysql").unwrap();
        },
    ),
];

/// Answers that show that sends go on again.
const ENOUGH: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_may_die_under_load() {
    let deployment = tokio::task::spawn_blocking(|| Deployment::start(3, 2, &[])).await.unwrap();
    let site = deployment.site().await;
    let Deployment { mut stack, .. } = deployment;
    let mut load = Load::start(site).await.unwrap();
    let mut table = Vec::new();
    for Fault { name, lasts, sends_go_on, begin, end } in FAULTS {
        load.until_acknowledged(load.acknowledged() + ENOUGH).await.unwrap();
        let before = load.acknowledged();
        stack = blocking(stack, begin).await;
        let ended = Instant::now() + lasts;
        while Instant::now() < ended {
            load.look().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let during = load.acknowledged() - before;
        stack = blocking(stack, end).await;
        let recovers = Instant::now();
        if let Err(error) = load.until_acknowledged(load.acknowledged() + ENOUGH).await {
            panic!("after {name}: {error:#}\n{}", logs(&mut stack));
        }
        table.push(format!(
            "{name:40} {:5.1} s  {during:6} answered  again after {:6.2} s",
            lasts.as_secs_f64(),
            recovers.elapsed().as_secs_f64()
        ));
        assert!(!sends_go_on || during > ENOUGH, "{name}: only {during} sends were answered");
    }
    println!("{}", table.join("\n"));
    let history = match load.finish().await {
        Ok(history) => history,
        Err(error) => panic!("{error:#}\n{}", logs(&mut stack)),
    };
    let read: usize = history.archive.values().map(Vec::len).sum();
    println!("{read} messages read back");
    if let Err(found) = judge(&history) {
        panic!("{found:#}\n{}", logs(&mut stack));
    }
}

/// Redis fails over to a replica that does not know the latest numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_replica_is_promoted_under_load() {
    let deployment = tokio::task::spawn_blocking(|| Deployment::start(2, 1, &[Extra::Sentinel])).await.unwrap();
    let site = deployment.site().await;
    let Deployment { mut stack, .. } = deployment;
    let mut load = Load::start(site).await.unwrap();
    load.until_acknowledged(500).await.unwrap();
    stack = blocking(stack, |stack| stack.hold_replica_back().unwrap()).await;
    // Numbers that the replica does not know.
    load.until_acknowledged(load.acknowledged() + 1_000).await.unwrap();
    stack = blocking(stack, |stack| {
        stack.kill("redis").unwrap();
        stack.promote_replica().unwrap();
    })
    .await;
    let recovers = Instant::now();
    if let Err(error) = load.until_acknowledged(load.acknowledged() + ENOUGH).await {
        panic!("{error:#}\n{}", logs(&mut stack));
    }
    println!("sends answered again {:.2} s after the promotion", recovers.elapsed().as_secs_f64());
    let history = load.finish().await.unwrap();
    if let Err(found) = judge(&history) {
        panic!("{found:#}\n{}", logs(&mut stack));
    }
}

async fn blocking(mut stack: Stack, change: fn(&mut Stack)) -> Stack {
    let changed = tokio::task::spawn_blocking(move || {
        change(&mut stack);
        stack
    });
    changed.await.unwrap()
}

fn logs(stack: &mut Stack) -> String {
    ["gateway-1", "gateway-2", "persist-1", "api"]
        .map(|name| format!("---- {name} ----\n{}", stack.logged(name).unwrap_or_default()))
        .join("\n")
}
