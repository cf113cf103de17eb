//! Every scenario against a real `ringway up`: what is counted and checked, never how fast it went.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Exit code of a run whose generator lagged: on a busy machine no reason to fail.
const VOID: i32 = 3;

/// A server on free ports and a folder of its own; killed when dropped.
struct Server {
    process: Child,
    folder: tempfile::TempDir,
    ready: Value,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(ringway())
            .args(["up", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--shards", "2"])
            .arg("--data")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str::<Value>(&line).unwrap()["ready"].take();
        Self { process, folder, ready }
    }

    /// Runs the generator and gives its figures, once they say that nothing was wrong.
    fn check(&self, scenario: &str, arguments: &[&str]) -> Value {
        let address = |name: &str| self.ready[name].as_str().unwrap().to_owned();
        let json = self.folder.path().join("figures.json");
        let output = Command::new(env!("CARGO_BIN_EXE_ringway-load"))
            .args([scenario, "--url", &address("ws"), "--api", &address("api"), "--admin", &address("admin")])
            .args(["--server-pid", &self.process.id().to_string()])
            .args(["--warmup", "0.2", "--seconds", "1"])
            .args(arguments)
            .args(["--json".as_ref(), json.as_os_str()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | VOID)),
            "{scenario} {arguments:?}: {:?}\n{told}",
            output.status
        );
        let figures: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_ne!(figures["verdict"], "wrong", "{told}");
        figures
    }

    fn data(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's program, built when it is not there or not up to date.
fn ringway() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_ringway-load")).with_file_name("ringway");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "ringway", "--bin", "ringway"]);
    build.arg("--target-dir").arg(beside.parent().and_then(Path::parent).unwrap());
    if beside.parent().unwrap().ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    beside
}

#[test]
fn every_scenario_runs_against_a_real_server_and_finds_nothing_wrong() {
    let server = Server::start();
    let data = server.data();
    for format in ["json", "protobuf"] {
        let open = ["--data", data, "--rate", "400", "--pairs", "4", "--format", format];
        let figures = server.check("relay_durable", &open);
        assert!(figures["acknowledged"].as_u64().unwrap() > 100, "{figures}");
        assert!(figures["server"]["records_per_commit"].as_f64().unwrap() >= 1.0, "{figures}");
        let figures = server.check("relay_transient", &open);
        assert_eq!(figures["server"]["records_per_commit"], Value::Null, "a signal was journalled: {figures}");
        let room = ["--data", data, "--rate", "50", "--connections", "41", "--format", format];
        let figures = server.check("room_fan", &room);
        assert!(figures["delivered"].as_u64().unwrap() > 40 * 10, "{figures}");
        let burst = ["--data", data, "--connections", "41", "--format", format];
        let figures = server.check("room_burst", &burst);
        assert_eq!(figures["inflight"], 8, "{figures}");
        assert!(figures["delivered"].as_u64().unwrap() > 40 * 8, "{figures}");
    }
    let figures = server.check("relay_durable", &["--data", data, "--inflight", "4", "--pairs", "4"]);
    assert!(figures["delivered"].as_u64().unwrap() > 100, "{figures}");
    let figures = server.check("idle_memory", &["--data", data, "--connections", "50"]);
    assert_eq!(figures["memory"]["answered"], 50);
    // Without the data folder the users register by HTTP.
    server.check("relay_durable", &["--rate", "100", "--pairs", "1", "--prefix", "registered"]);
    server.check("room_fan", &["--connections", "5", "--prefix", "registered"]);
}

#[test]
fn a_server_that_is_not_there_and_wrong_arguments_are_told() {
    let check = |arguments: &[&str], code: i32, words: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringway-load")).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (api, url) = (format!("http://{closed}"), format!("ws://{closed}/v1/ws"));
    check(&["relay_durable", "--api", &api, "--url", &url], 1, &closed.to_string());
    check(&["relay_durable", "--payload", "3"], 2, "--payload");
    check(&["room_fan", "--inflight", "4"], 2, "--inflight");
    check(&["relay_durable", "--connections", "3"], 2, "--connections");
    check(&["nothing"], 2, "idle_memory");
    check(&["room_burst", "--rate", "4"], 2, "--rate");
    check(&["room_fan", "--variant", "none"], 2, "10000");
    check(&["relay_durable", "--protocol", "bun"], 5, "cannot: ");
}
