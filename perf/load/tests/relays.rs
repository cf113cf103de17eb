//! Every scenario against the floors, the relays on libraries and the peers that are installed: what is counted and
//! checked, never how fast it went.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Exit codes that find nothing wrong: the figures count, or the generator lagged, which a busy machine excuses.
const FINE: [i32; 2] = [0, 3];
/// The server has nothing for the scenario.
const CANNOT: i32 = 5;

/// Runs a scenario shortly and gives its exit code and figures.
fn load(scenario: &str, protocol: &str, url: &str, pid: u32, arguments: &[&str]) -> (i32, Value) {
    let (api, pid) = (url.replacen("ws", "http", 1), pid.to_string());
    let common = [scenario, "--protocol", protocol, "--url", url, "--api", &api, "--server-pid", &pid];
    let times = ["--warmup", "0.1", "--seconds", "0.7", "--payload", "100"];
    let (code, figures) = run(&[&common, times.as_slice()].concat(), arguments);
    assert!(FINE.contains(&code) || code == CANNOT, "{protocol} {scenario} {arguments:?}: {code}\n{figures}");
    (code, figures)
}

/// Runs the generator and gives its exit code and figures.
fn run(arguments: &[&str], more: &[&str]) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let mut load = Command::new(env!("CARGO_BIN_EXE_ringway-load"));
    let output = load.args(arguments).args(more).arg("--json").arg(&json).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let figures = std::fs::read(json).unwrap_or_else(|error| panic!("{arguments:?} {more:?}: {error}\n{told}"));
    (output.status.code().unwrap(), serde_json::from_slice(&figures).unwrap())
}

/// Messages go between two and to all of a room, each once, whole and in order; what cannot be done is told.
fn check(protocol: &str, url: &str, pid: u32, scenarios: &[&str]) {
    let check = |scenario: &str, arguments: &[&str], delivered: u64| {
        let (code, figures) = load(scenario, protocol, url, pid, arguments);
        if !scenarios.contains(&scenario) {
            assert_eq!(code, CANNOT, "{protocol} {scenario}: {figures}");
            assert!(figures["cannot"].is_string(), "{figures}");
            return;
        }
        assert!(FINE.contains(&code), "{protocol} {scenario}: {figures}");
        assert_eq!(figures["findings"]["lost"], 0, "{figures}");
        assert!(figures["delivered"].as_u64().unwrap() >= delivered, "{protocol} {scenario}: {figures}");
    };
    check("relay_transient", &["--pairs", "4", "--rate", "200"], 100);
    check("room_fan", &["--connections", "31", "--rate", "30"], 30 * 10);
    check("room_burst", &["--connections", "31", "--inflight", "4"], 30 * 4);
    check("relay_durable", &["--pairs", "2", "--inflight", "1"], 2);
    // Nobody is there to receive while it is measured.
    check("offline_drain", &["--connections", "3", "--inflight", "2"], 0);
    for ours in ["resume_storm", "mixed", "scale"] {
        check(ours, &[], 0);
    }
    let (_, figures) = load("idle_memory", protocol, url, pid, &["--connections", "20"]);
    assert_eq!(figures["memory"]["answered"], 20, "{protocol}: {figures}");
}

/// What serves messages that are not stored.
const RELAYS: &[&str] = &["relay_transient", "room_fan", "room_burst"];

/// A relay of `perf/peers/floors` on a free port; killed when dropped.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of the relays' programs: named by the environment, or built when they are not there or not up to date.
fn relays() -> PathBuf {
    if let Some(named) = std::env::var_os("RINGWAY_PRODUCTION_BINS") {
        return named.into();
    }
    let folder = Path::new(env!("CARGO_BIN_EXE_ringway-load")).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "ringway-floors", "--bins", "--target-dir"]);
    build.arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    folder.to_owned()
}

impl Relay {
    /// Starts it on a free port; answers where it is too.
    fn start(program: &Path, faults: &[&str]) -> (Self, String) {
        let mut relay = Self(Command::new(program).arg("0").args(faults).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(relay.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        (relay, ready["ready"]["ws"].as_str().unwrap().to_owned())
    }
}

#[test]
fn floors_and_relays_carry_everything_once_and_in_order() {
    let folder = relays();
    std::thread::scope(|scope| {
        for program in ["floor_uring", "floor_epoll", "relay_tungstenite", "relay_fastwebsockets"] {
            let program = folder.join(program);
            scope.spawn(move || {
                let (relay, url) = Relay::start(&program, &[]);
                check("floor", &url, relay.0.id(), RELAYS);
            });
        }
    });
}

/// Figures of a room on a floor that is spoilt.
fn spoilt(fault: &str) -> (i32, Value) {
    let (relay, url) = Relay::start(&relays().join("floor_epoll"), &[fault]);
    let arguments = ["room_fan", "--protocol", "floor", "--url", &url, "--server-pid", &relay.0.id().to_string()];
    run(&arguments, &["--connections", "31", "--rate", "100", "--warmup", "0.1", "--seconds", "0.7"])
}

#[test]
fn a_server_that_drops_some_is_told_how_many() {
    let (code, figures) = spoilt("drop=100");
    assert_eq!((code, &figures["verdict"]), (4, &Value::from("wrong")), "{figures}");
    let due = figures["due"].as_u64().unwrap();
    assert!(due >= 30 * 70, "{figures}");
    assert_eq!(figures["findings"]["lost"], due / 100, "{figures}");
}

#[test]
fn a_server_that_stalls_is_told_where() {
    let (code, figures) = spoilt("stall=200@1200");
    assert!(FINE.contains(&code), "{figures}");
    assert!(figures["deliver_us"]["max"].as_f64().unwrap() >= 200_000.0, "{figures}");
    // The 40th message, 0.3 s into the window, waited longest.
    let max_us: Vec<u64> = serde_json::from_value(figures["intervals"]["max_us"].clone()).unwrap();
    assert!(max_us[2] >= 200_000 && max_us.len() == 7, "{figures}");
}

#[test]
fn a_server_that_is_slow_loses_nothing() {
    let (code, figures) = spoilt("slower=10");
    assert!(FINE.contains(&code), "{figures}");
    assert_eq!(figures["findings"]["lost"], 0, "{figures}");
}

/// A peer in a folder of its own; stopped when dropped.
struct Peer {
    name: &'static str,
    folder: tempfile::TempDir,
}

impl Peer {
    fn script(name: &str) -> Command {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/peer"));
        script.arg(name);
        script
    }

    /// Starts it at a port; `None`: it is not installed.
    fn start(name: &'static str, port: u16) -> Option<Self> {
        let peer = Self { name, folder: tempfile::tempdir().unwrap() };
        let mut start = Self::script(name);
        let output = start.arg("start").arg(peer.folder.path()).arg(port.to_string()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || told.contains("is not installed"), "{name}: {told}");
        output.status.success().then_some(peer)
    }

    fn pid(&self) -> u32 {
        std::fs::read_to_string(self.folder.path().join("pid")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = Self::script(self.name).arg("stop").arg(self.folder.path()).status();
    }
}

#[test]
fn the_peers_that_are_installed_carry_everything_once_and_in_order() {
    let all: &[&str] = &["relay_transient", "room_fan", "room_burst", "relay_durable"];
    let servers: &[&str] = &["relay_transient", "relay_durable", "offline_drain"];
    let peers: [(&str, &[&str]); 5] =
        [("bun", RELAYS), ("nats", all), ("nchan", RELAYS), ("centrifuge", RELAYS), ("ejabberd", servers)];
    std::thread::scope(|scope| {
        for (name, scenarios) in peers {
            scope.spawn(move || {
                let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                match Peer::start(name, port) {
                    Some(peer) => check(name, &format!("ws://127.0.0.1:{port}"), peer.pid(), scenarios),
                    None => println!("{name} is not installed: passed over"),
                }
            });
        }
    });
}
