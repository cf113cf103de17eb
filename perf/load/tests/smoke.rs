//! Every scenario against a real `ringway up`: what is counted and checked, never how fast it went.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

/// Exit code of a run whose generator lagged: on a busy machine no reason to fail.
const VOID: i32 = 3;

const LOAD: &str = env!("CARGO_BIN_EXE_ringway-load");

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

    /// Runs the generator for a moment and gives its figures, once they say that nothing was wrong. Runs beside each
    /// other have users of their own.
    fn check(&self, scenario: &str, prefix: &str, arguments: &[&str]) -> Value {
        self.check_by(&mut Command::new(LOAD), scenario, prefix, arguments)
    }

    /// The same by a command that becomes the generator.
    fn check_by(&self, command: &mut Command, scenario: &str, prefix: &str, arguments: &[&str]) -> Value {
        let address = |name: &str| self.ready[name].as_str().unwrap().to_owned();
        let json = self.folder.path().join(format!("{scenario}-{prefix}.json"));
        let output = command
            .args([scenario, "--url", &address("ws"), "--api", &address("api"), "--admin", &address("admin")])
            .args(["--server-pid", &self.process.id().to_string(), "--prefix", prefix])
            .args(["--warmup", "0.1"])
            .args(if arguments.contains(&"--seconds") { &[][..] } else { &["--seconds", "0.6"] })
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

/// The server's program: named by the environment, or built when it is not there or not up to date.
fn ringway() -> PathBuf {
    if let Some(named) = std::env::var_os("RINGWAY_BIN") {
        return named.into();
    }
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

/// At least so much.
fn least(figures: &Value, pointer: &str, least: u64) {
    let seen = figures.pointer(pointer).and_then(Value::as_f64).unwrap_or(-1.0);
    assert!(seen >= least as f64, "{pointer}: {seen} and not {least}\n{figures}");
}

/// Relays and rooms, in one wire format.
fn check_messages(server: &Server, format: &str) {
    let prefix = format!("sent-{format}");
    let data = server.data();
    let open = ["--data", data, "--rate", "400", "--pairs", "4", "--format", format];
    let figures = server.check("relay_durable", &prefix, &open);
    least(&figures, "/acknowledged", 60);
    least(&figures, "/server/records_per_commit", 1);
    let room = ["--data", data, "--rate", "50", "--connections", "41", "--format", format];
    least(&server.check("room_fan", &prefix, &room), "/delivered", 40 * 5);
    let figures = server.check("room_burst", &prefix, &["--data", data, "--connections", "41", "--format", format]);
    assert_eq!(figures["inflight"], 8, "{figures}");
    least(&figures, "/delivered", 40 * 8);
    let figures = server.check("relay_durable", &prefix, &["--data", data, "--inflight", "4", "--pairs", "4"]);
    least(&figures, "/delivered", 100);
}

/// Devices that are away, slow, or come and go, in one wire format.
fn check_late(server: &Server, format: &str) {
    let prefix = format!("late-{format}");
    let base = ["--data", server.data(), "--format", format];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    // The end comes when all are back, long before the seconds are over.
    let figures = server.check("resume_storm", &prefix, &with(&["--connections", "30", "--seconds", "30"]));
    assert_eq!(figures["storm"]["resumed"], 30, "{figures}");
    least(&figures, "/storm/resume_us/count", 30);
    let large = ["--connections", "12", "--payload", "30000", "--rate", "100", "--seconds", "2"];
    let log = server.folder.path().join(format!("{prefix}.hlog"));
    let figures =
        server.check("slow_reader", &prefix, &[&with(&large), &["--intervals", log.to_str().unwrap()][..]].concat());
    // What was seen while everybody read is not among it.
    check_log(&log, &figures, 1);
    assert_eq!(figures["slow"]["caught_up"], 1, "{figures}");
    // Some 200 messages of 30 kB are more than what the server queues for a device and the kernel for any socket.
    assert_eq!(figures["slow"]["shed"]["resyncs"], 1, "{figures}");
    let figures = server.check("offline_drain", &prefix, &with(&["--connections", "4", "--seconds", "0.3"]));
    least(&figures, "/offline/messages", 16);
    least(&figures, "/offline/sign_in_messages_per_s", 1);
    assert!(figures["offline"]["drain"].is_object(), "{figures}");
    let figures = server.check("mixed", &prefix, &with(&["--connections", "30", "--seconds", "3"]));
    for (pointer, count) in [("/day/reads", 10), ("/day/receipts_seen", 10), ("/day/typing_seen", 10)] {
        least(&figures, pointer, count);
    }
    least(&figures, "/day/reconnects", 1);
    least(&figures, "/delivered", 500);
}

#[test]
fn every_scenario_runs_against_a_real_server_and_finds_nothing_wrong() {
    let server = Server::start();
    let data = server.data();
    // First those that have the server to themselves.
    for format in ["json", "protobuf"] {
        let calls = ["--data", data, "--rate", "400", "--pairs", "4", "--format", format];
        let figures = server.check("relay_transient", "calls", &calls);
        least(&figures, "/delivered", 60);
        assert_eq!(figures["server"]["records_per_commit"], Value::Null, "a signal was journalled: {figures}");
    }
    let figures = server.check("scale", "scale", &["--data", data, "--connections", "40"]);
    assert_eq!(figures["scale"]["shards"], 2, "{figures}");
    assert_eq!((&figures["scale"]["pairs"], &figures["scale"]["crossing"]), (&20.into(), &10.into()), "{figures}");
    least(&figures, "/delivered", 60);
    std::thread::scope(|scope| {
        for format in ["json", "protobuf"] {
            scope.spawn(|| check_messages(&server, format));
            scope.spawn(|| check_late(&server, format));
        }
        let figures = server.check("idle_memory", "idle", &["--data", data, "--connections", "50"]);
        assert_eq!(figures["memory"]["answered"], 50);
        // Without the data folder the users register by HTTP.
        server.check("relay_durable", "registered", &["--rate", "100", "--pairs", "1"]);
        server.check("room_fan", "registered", &["--connections", "5"]);
    });
}

#[test]
fn devices_that_a_process_has_no_descriptors_for_are_those_of_further_processes() {
    let server = Server::start();
    let mut limited = Command::new("sh");
    // 120 less those that are no connections: 88 a process.
    limited.args(["-c", "ulimit -n 120 && exec \"$0\" \"$@\"", LOAD]);
    let idle = ["--data", server.data(), "--connections", "300"];
    let figures = server.check_by(&mut limited, "idle_memory", "many", &idle);
    assert_eq!((figures["memory"]["answered"].as_u64(), figures["memory"]["processes"].as_u64()), (Some(300), Some(4)));
    assert_eq!(figures["findings"]["disconnected"], 0);
    // The others are not shared, and say so.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 120 && exec \"$0\" \"$@\"", LOAD]);
    let url = server.ready["ws"].as_str().unwrap();
    let output =
        limited.args(["relay_durable", "--pairs", "45", "--url", url, "--data", server.data()]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("ulimit -Hn"), "{told}");
}

#[test]
fn who_looks_on_sees_a_line_and_every_second_is_logged() {
    let server = Server::start();
    let log = server.folder.path().join("seconds.hlog");
    let url = server.ready["ws"].as_str().unwrap();
    let output = Command::new(LOAD)
        .args(["relay_durable", "--pairs", "2", "--rate", "100", "--warmup", "0.3", "--seconds", "2.5", "--live"])
        .args(["--url", url, "--data", server.data(), "--intervals", log.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | VOID)), "{told}");
    for words in ["warm-up, ", "measuring ", "want 100/s", "p99 ", "under way", "clean"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    check_log(&log, &figures, 2);
}

/// Histograms of seconds hold all that the figures hold, each in so many intervals at least.
fn check_log(log: &Path, figures: &Value, least: u64) {
    let text = std::fs::read(log).unwrap();
    for (tag, name) in [("deliver", "deliver_us"), ("sent", "sent_us"), ("lag", "lag_us")] {
        let mut intervals = 0;
        let mut count = 0;
        for entry in IntervalLogIterator::new(&text).map(Result::unwrap) {
            let LogEntry::Interval(interval) = entry else { continue };
            if interval.tag().unwrap().as_str() == tag {
                let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                (intervals, count) = (intervals + 1, count + histogram.len());
            }
        }
        assert!(intervals >= least, "{tag}: {intervals} intervals");
        assert_eq!(count, figures[name]["count"].as_u64().unwrap(), "{tag}");
    }
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
    check(&["mixed", "--resume-rate", "4"], 2, "--resume-rate");
    check(&["room_fan", "--variant", "none"], 2, "10000");
    check(&["relay_durable", "--protocol", "bun"], 5, "cannot: ");
}
