//! The whole suite over real servers, a second each: what comes out is whole and true, never how fast it was.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SUITE: &str = env!("CARGO_BIN_EXE_ringway-perf");

/// Where the programs are, those that are measured and that measure among them: named by the environment, or built.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("RINGWAY_PRODUCTION_BINS") {
        return named.into();
    }
    let folder = Path::new(SUITE).parent().unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "ringway", "-p", "ringway-load", "--bins", "--target-dir"]);
    build.arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success());
    folder.to_owned()
}

fn suite(arguments: &[&str], json: &Path) -> Output {
    let short = ["--rounds", "1", "--seconds", "1"];
    let mut suite = Command::new(SUITE);
    suite.args(arguments).args(short).arg("--programs").arg(programs()).arg("--json").arg(json).output().unwrap()
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// What the page carries inside is what the file says.
fn check_page(file: &Path, title: &str) {
    let page = std::fs::read_to_string(file.with_extension("html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains(&format!("<h1>{title}</h1>")), "{title}");
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page needs something else");
    let inside = page.split_once("id=\"figures\">").unwrap().1.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<Value>(inside).unwrap(), json(file), "{title}");
}

#[test]
fn a_scenario_is_measured_on_ringway_and_the_floors_and_told_in_json_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fan.json");
    let output = suite(&["room_fan", "--variant", "plain"], &file);
    // On a machine that is busy with other tests no round may count, which is told and no fault.
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || told.contains("no round counts"), "{told}");
    let figures = json(&file);
    assert_eq!((&figures["scenario"], &figures["variant"]), (&"room_fan".into(), &Value::Null));
    let rounds = figures["rounds"].as_array().unwrap();
    let subjects: Vec<&str> = rounds.iter().map(|round| round["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["ringway", "floor_uring", "floor_epoll"]);
    for round in rounds {
        assert_ne!(round["verdict"], "wrong", "{told}");
        assert_eq!(round["lost"], 0, "{told}");
        // 99 members, 50 messages a second.
        assert!(round["deliveries"].as_u64().unwrap() > 99 * 10, "{round}");
        assert!(round["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{round}");
        assert!(round["due"].as_u64() >= round["deliveries"].as_u64(), "{round}");
    }
    check_page(&file, "room_fan");
}

#[test]
fn all_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.json");
    let only = ["all", "--only", "room_burst"];
    let output = suite(&only, &file);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let figures = json(&file);
    let variants: Vec<&str> =
        figures["runs"].as_array().unwrap().iter().map(|run| run["variant"].as_str().unwrap()).collect();
    assert_eq!(variants, ["8", "64"]);
    check_page(&file, "every scenario");
    let table = std::fs::read_to_string(file.with_extension("md")).unwrap();
    assert!(table.contains("\n| room_burst 8 | CPU µs/delivery | "), "{table}");
    let output = suite(&[&only[..], &["--resume"]].concat(), &file);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("room_burst 64: measured already"), "{told}");
    assert_eq!(json(&file), figures, "what was measured is kept");
}
