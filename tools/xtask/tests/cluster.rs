//! `cargo xtask cluster`, as a script uses it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod place;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ringway_stack::{Folder, Stack};
use serde_json::Value;

use self::place::{Place, is_gone, only_line, processes_of, xtask};

/// How long a killed process's port may stay open.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// How long processes may take to find a server again.
const HEALED_WITHIN: Duration = Duration::from_secs(60);

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(words: &[&str], folder: &Path) {
    let output = xtask(words, folder);
    assert!(output.status.success() && output.stdout.is_empty(), "{words:?}: {}", complaint(&output));
}

/// Host and port of a URL.
fn address(url: &Value) -> SocketAddr {
    let authority = url.as_str().unwrap().split("://").nth(1).unwrap();
    authority.split('/').next().unwrap().parse().unwrap()
}

fn pid(node: &Value) -> u32 {
    node["pid"].as_u64().unwrap().try_into().unwrap()
}

/// The status of one plain request; `None` when nobody answers.
fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

fn wait_until_ready(admin: SocketAddr) {
    let deadline = Instant::now() + HEALED_WITHIN;
    while get(admin, "/readyz") != Some(200) {
        assert!(Instant::now() < deadline, "{admin} is not ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The kernel takes a killed process's rings apart a moment after its end, and closes their sockets then.
fn wait_until_closed(port: SocketAddr) {
    let deadline = Instant::now() + CLOSED_WITHIN;
    while TcpStream::connect(port).is_ok() {
        assert!(Instant::now() < deadline, "{port} is still open");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server or process as `stack status` tells it.
fn told(folder: &Path, name: &str) -> Value {
    let status = xtask(&["stack", "status"], folder);
    only_line(&status)["status"][name].clone()
}

#[test]
fn a_cluster_brings_its_stack_loses_parts_gets_them_back_and_leaves_nothing_after_down() {
    let place = Place::new();
    let folder = place.folder();

    let up = xtask(&["cluster", "up", "--gateways", "2", "--persists", "1"], &folder);
    assert!(up.status.success(), "{}", complaint(&up));
    let ready = only_line(&up)["ready"].clone();
    let list = |name: &str| ready[name].as_array().unwrap().clone();
    let (gateways, persists) = (list("gateways"), list("persists"));
    assert_eq!((gateways.len(), persists.len()), (2, 1), "{ready}");
    for node in gateways.iter().chain(&persists) {
        assert_eq!(get(address(&node["admin"]), "/readyz"), Some(200), "{node}");
        assert!(!is_gone(pid(node)), "{node}");
    }
    assert_eq!(get(address(&ready["api"]["url"]), "/v1/locate"), Some(200), "{ready}");
    for gateway in &gateways {
        let ws = gateway["ws"].as_str().unwrap();
        assert!(ws.starts_with("ws://127.0.0.1:") && ws.ends_with("/v1/ws"), "{ws}");
        assert_eq!(get(address(&gateway["ws"]), "/v1/ws"), Some(426), "a plain request is told to upgrade");
    }
    assert!(ready["stack"]["rocketmq"]["namesrv"].as_str().unwrap().starts_with("127.0.0.1:"), "{ready}");
    assert!(ready["stack"]["mysql"]["url"].as_str().unwrap().starts_with("mysql://"), "{ready}");

    let again = xtask(&["cluster", "up"], &folder);
    assert!(!again.status.success() && again.stdout.is_empty(), "there is a cluster");
    assert!(complaint(&again).contains("has Ringway's processes already"), "{}", complaint(&again));

    for verb in ["kill", "start"] {
        let unknown = xtask(&["cluster", verb, "gateway-3"], &folder);
        assert!(!unknown.status.success());
        let complaint = complaint(&unknown);
        for name in ["gateway-3", "gateway-1", "gateway-2", "persist-1", "api", "namesrv", "broker", "redis", "mysql"] {
            assert!(complaint.contains(name), "{complaint}");
        }
    }

    let first = &gateways[0];
    done(&["cluster", "kill", "gateway-1"], &folder);
    assert!(is_gone(pid(first)));
    wait_until_closed(address(&first["ws"]));
    assert_eq!(told(&folder, "gateway-1")["condition"], "away");
    assert!(!xtask(&["cluster", "kill", "gateway-1"], &folder).status.success(), "it is killed already");
    done(&["cluster", "start", "gateway-1"], &folder);
    assert!(!xtask(&["cluster", "start", "gateway-1"], &folder).status.success(), "it runs already");
    assert_eq!(get(address(&first["admin"]), "/readyz"), Some(200), "on its old ports");
    assert_eq!(get(address(&first["ws"]), "/v1/ws"), Some(426), "on its old ports");
    let new = pid(&told(&folder, "gateway-1"));
    assert_ne!(new, pid(first));

    done(&["cluster", "kill", "redis"], &folder);
    done(&["cluster", "start", "redis"], &folder);
    for node in gateways.iter().chain(&persists) {
        wait_until_ready(address(&node["admin"]));
    }
    let status = xtask(&["stack", "status"], &folder);
    assert!(status.status.success(), "{}", complaint(&status));
    let servers = only_line(&status)["status"].as_object().unwrap().clone();
    assert_eq!(servers.len(), 4 + 2 + 1 + 1, "{servers:?}");

    done(&["cluster", "down"], &folder);
    assert!(processes_of(&folder).is_empty() && !folder.exists());
    for server in servers.values() {
        assert!(is_gone(pid(server)), "{server} is still there");
    }
    for url in [&first["ws"], &first["admin"], &persists[0]["admin"], &ready["api"]["url"]] {
        wait_until_closed(address(url));
        TcpListener::bind(address(url)).expect("the port is free again");
    }
}

#[test]
fn an_up_that_fails_leaves_what_it_found() {
    let place = Place::new();
    let folder = place.folder();
    // Programs that end at once, in the place of the real ones.
    let programs = Folder::new().unwrap();
    for name in ["ringway-gateway", "ringway-persist", "ringway-api"] {
        let file = programs.path().join(name);
        fs::write(&file, "#!/bin/sh\necho broken on purpose\nexit 1\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let up = |programs: &Path| {
        let mut up = Command::new(env!("CARGO_BIN_EXE_xtask"));
        up.args(["cluster", "up", "--dir"]).arg(&folder).env("RINGWAY_PRODUCTION_BINS", programs);
        up.stdin(Stdio::null()).output().unwrap()
    };

    let nothing = Folder::new().unwrap();
    let missing = up(nothing.path());
    assert!(!missing.status.success() && !folder.exists());
    assert!(complaint(&missing).contains("has no ringway-gateway"), "{}", complaint(&missing));

    let alone = up(programs.path());
    assert!(!alone.status.success() && alone.stdout.is_empty());
    assert!(complaint(&alone).contains("broken on purpose"), "{}", complaint(&alone));
    assert!(processes_of(&folder).is_empty() && !folder.exists(), "it brought the stack, so it took it along");

    assert!(xtask(&["stack", "up"], &folder).status.success());
    let over = up(programs.path());
    assert!(complaint(&over).contains("broken on purpose"), "{}", complaint(&over));
    let names: Vec<String> = Stack::find(&folder).unwrap().status().into_iter().map(|server| server.name).collect();
    assert_eq!(names, ["namesrv", "broker", "redis", "mysql"], "a next `up` can be tried");
    assert!(xtask(&["stack", "status"], &folder).status.success());
    done(&["cluster", "down"], &folder);
    assert!(processes_of(&folder).is_empty() && !folder.exists());
}

#[test]
fn a_cluster_of_none_is_refused_before_anything_starts() {
    let folder = Folder::new().unwrap();
    for words in [["--gateways", "0"], ["--gateways", "64"], ["--persists", "0"]] {
        let up = xtask(&["cluster", "up", words[0], words[1]], folder.path());
        assert!(!up.status.success() && complaint(&up).contains("there can be 1 to 63"), "{}", complaint(&up));
    }
    for words in [vec!["kill", "redis"], vec!["start", "redis"], vec!["down"]] {
        let output = xtask(&[vec!["cluster"], words].concat(), folder.path());
        assert!(!output.status.success() && complaint(&output).contains("has no stack"), "{}", complaint(&output));
    }
}
