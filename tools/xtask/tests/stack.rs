//! `cargo xtask stack`, as a script uses it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod place;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ringway_stack::{Condition, Folder, Stack};

use self::place::{Place, is_gone, only_line, processes_of};

fn xtask(verb: &str, folder: &Path) -> Output {
    place::xtask(&["stack", verb], folder)
}

#[test]
fn a_stack_outlives_up_loses_a_server_gets_it_back_and_leaves_nothing_after_down() {
    let place = Place::new();
    let folder = place.folder();

    let up = xtask("up", &folder);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let line = only_line(&up);
    let pids: Vec<u64> = ["rocketmq", "redis", "mysql"]
        .iter()
        .flat_map(|group| line["stack"][group]["pids"].as_array().unwrap())
        .map(|pid| pid.as_u64().unwrap())
        .collect();
    assert_eq!(pids.len(), 4);
    let redis = line["stack"]["redis"]["url"].as_str().unwrap().to_owned();
    assert!(redis.starts_with("redis://127.0.0.1:"), "{redis}");
    assert!(line["stack"]["mysql"]["url"].as_str().unwrap().starts_with("mysql://"), "{line}");
    assert!(line["stack"]["rocketmq"]["namesrv"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");

    let again = xtask("up", &folder);
    assert!(!again.status.success() && again.stdout.is_empty());
    assert!(String::from_utf8_lossy(&again.stderr).contains("has a stack already"));

    let status = xtask("status", &folder);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    for name in ["namesrv", "broker", "redis", "mysql"] {
        assert_eq!(only_line(&status)["status"][name]["condition"], "serves", "{name}");
    }

    for name in ["redis", "broker"] {
        let mut stack = Stack::find(&folder).unwrap();
        stack.kill(name).unwrap();
        assert!(stack.kill(name).is_err());
        let status = xtask("status", &folder);
        assert!(!status.status.success());
        assert_eq!(only_line(&status)["status"][name]["condition"], "away");
        let mut stack = Stack::find(&folder).unwrap();
        stack.start(name).unwrap();
        assert!(stack.start(name).is_err());
    }
    let mut stack = Stack::find(&folder).unwrap();
    stack.kill("mysql").unwrap();
    stack.start_empty("mysql").unwrap();
    let stack = Stack::find(&folder).unwrap();
    assert!(stack.status().iter().all(|server| server.condition == Condition::Serves));
    assert_eq!(stack.addresses()["redis"]["url"], redis.as_str());
    let pids: Vec<u32> = stack.status().iter().filter_map(|server| server.pid).collect();

    let down = xtask("down", &folder);
    assert!(down.status.success() && down.stdout.is_empty(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(processes_of(&folder).is_empty());
    for pid in pids {
        assert!(is_gone(pid), "process {pid} is still there");
    }
    let port: u16 = redis.rsplit(':').next().unwrap().parse().unwrap();
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free again");
    assert!(!folder.exists());
    assert!(!xtask("status", &folder).status.success());
}

#[test]
fn all_there_is_can_be_asked_for_and_a_stale_replica_promoted() {
    let place = Place::new();
    let folder = place.folder();
    let up = place::xtask(&["stack", "up", "--with", "sentinel,cluster,replica"], &folder);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let groups = &only_line(&up)["stack"];
    let counts = [("redis_sentinel", 4), ("redis_cluster", 3), ("mysql", 1), ("mysql_replica", 1)];
    for (group, count) in counts {
        assert_eq!(groups[group]["pids"].as_array().unwrap().len(), count, "{group}: {groups}");
    }
    for (group, scheme) in [("redis_sentinel", "redis-sentinel://"), ("redis_cluster", "redis-cluster://")] {
        assert!(groups[group]["url"].as_str().unwrap().starts_with(scheme), "{groups}");
    }

    let mut stack = Stack::find(&folder).unwrap();
    assert!(stack.status().iter().all(|server| server.condition == Condition::Serves));
    stack.hold_replica_back().unwrap();
    stack.kill("redis").unwrap();
    stack.promote_replica().unwrap();
    stack.pause("mysql").unwrap();
    let condition = |stack: &Stack, name: &str| {
        stack.status().into_iter().find(|server| server.name == name).map(|server| server.condition)
    };
    assert_eq!(condition(&stack, "redis"), Some(Condition::Away));
    assert_eq!(condition(&stack, "mysql"), Some(Condition::Silent));

    // One that is paused and one that is away: both are gone afterwards.
    let down = xtask("down", &folder);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(processes_of(&folder).is_empty() && !folder.exists());
}

/// Starts a stack and returns as soon as one of its servers runs.
fn begun(folder: &Path) -> Child {
    let mut up = Command::new(env!("CARGO_BIN_EXE_xtask"));
    up.args(["stack", "up", "--dir"]).arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let up = up.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while processes_of(folder).is_empty() {
        assert!(Instant::now() < deadline, "no server is started");
        thread::sleep(Duration::from_millis(1));
    }
    up
}

#[test]
fn a_killed_up_leaves_what_down_ends() {
    let place = Place::new();
    let folder = place.folder();
    let mut up = begun(&folder);
    up.kill().unwrap();
    up.wait().unwrap();
    let down = xtask("down", &folder);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(processes_of(&folder).is_empty() && !folder.exists());
}

#[test]
fn a_down_that_comes_during_up_waits_for_it() {
    let place = Place::new();
    let folder = place.folder();
    let mut up = begun(&folder);
    let down = xtask("down", &folder);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(up.wait().unwrap().success());
    assert!(processes_of(&folder).is_empty() && !folder.exists());
}

#[test]
fn a_folder_without_a_stack_says_so_in_one_line() {
    let folder = Folder::new().unwrap();
    for verb in ["status", "down"] {
        let output = xtask(verb, folder.path());
        assert!(!output.status.success());
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains("has no stack") && complaint.lines().count() == 1, "{complaint}");
    }
}
