//! `top` beside a node: how it finds one, and what it says when there is none.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use tempfile::tempdir;

use crate::program::{Node, check_fails, ringway, run};

#[test]
fn one_table_is_printed_of_the_node_that_serves_the_folder_or_that_is_named() {
    let folder = tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let (path, admin) = (folder.path().to_str().unwrap(), node.url("admin"));
    for arguments in [["--data", path], ["--admin", &format!("{admin}/")]] {
        let output = run(&[&["top", "--once"], arguments.as_slice()].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with(&format!("{admin}: 1 shard, 0 connections, over ")), "{text}");
        let names = ["turns/s", "compl/turn", "frames/write", "wakes/s", "messages/batch", "sent p50/p99 ms"];
        for name in names.into_iter().chain(["\nuplink ", "\njournal "]) {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("    0  ")).count(), 3, "a row in each table: {text}");
        assert!(!text.contains("  all"), "there is only one: {text}");
    }
}

#[test]
fn without_a_terminal_it_goes_on_until_its_reader_has_seen_enough() {
    let folder = tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    let mut top = ringway(&["top", "--json", "--admin", &node.url("admin")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(top.stdout.take().unwrap()).lines();
    let mut at_ms = || {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["shards"].as_array().unwrap().len(), 1);
        line["at_ms"].as_u64().unwrap()
    };
    assert!(at_ms() < at_ms());
    drop(lines);
    assert!(top.wait().unwrap().success());
}

#[test]
fn who_is_no_node_is_told_in_one_line() {
    let folder = tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    check_fails(&mut ringway(&["top", "--once", "--data", path]), 1, "no ringway serves");
    // Taken, and never listened on: nobody else gets it while the test runs.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = format!("http://{}", taken.local_addr().unwrap());
    check_fails(&mut ringway(&["top", "--admin", &away]), 1, &format!("no answer from {away}"));
    let node = Node::start(folder.path(), &[]);
    let api = node.url("api");
    check_fails(&mut ringway(&["top", "--once", "--admin", &api]), 1, &format!("{api} answers"));
}
