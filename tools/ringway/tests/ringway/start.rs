//! How a node starts, and how it says that it does not.

use std::net::TcpListener;
use std::path::Path;

use ringway_client::http::Api;
use ringway_store::sqlite::FORMAT_VERSION;
use tempfile::tempdir;

use crate::program::{Node, block_on, check_fails, ringway, token};

/// `up` on a data folder and free ports, to be refused.
fn up(data: &Path) -> std::process::Command {
    let mut command = ringway(&["up", "--data", data.to_str().unwrap()]);
    command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command
}

#[test]
fn the_ready_line_names_every_address_and_they_answer() {
    let folder = tempdir().unwrap();
    let node = Node::start(folder.path(), &["--conformance-echo", "127.0.0.1:0"]);
    let names: Vec<&String> = node.ready.as_object().unwrap().keys().collect();
    for name in ["ws", "api", "admin", "page", "conformance_echo"] {
        assert!(names.iter().any(|found| *found == name), "{name}: {}", node.ready_line);
    }
    assert!(node.url("ws").starts_with("ws://127.0.0.1:") && node.url("ws").ends_with("/v1/ws"));
    assert_eq!(node.url("page"), format!("{}/", node.url("api")));
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    block_on(async {
        let ready = reqwest::get(format!("{}/readyz", node.url("admin"))).await.unwrap();
        assert_eq!(ready.status(), 200);
        let metrics = reqwest::get(format!("{}/metrics", node.url("admin"))).await.unwrap().text().await.unwrap();
        for metric in ["ringway_connections{", "ringway_journal_records_total ", "ringway_api_requests_total{"] {
            assert!(metrics.contains(metric), "{metric}");
        }
        let page = reqwest::get(node.url("page")).await.unwrap().text().await.unwrap();
        assert!(page.to_ascii_lowercase().contains("<!doctype html>"));
        let gateways = Api::new(&node.url("api")).unwrap().locate().await.unwrap().items;
        assert_eq!(gateways[0].ws, node.url("ws"));
    });
}

#[test]
fn a_second_node_on_the_same_folder_is_refused_by_name_of_the_first() {
    let folder = tempdir().unwrap();
    let node = Node::start(folder.path(), &[]);
    check_fails(&mut up(folder.path()), 1, &format!("is in use by process {}", node.pid()));
}

#[test]
fn a_taken_port_is_named_with_its_key() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, key) in [("--listen", "gateway.listen"), ("--api", "api.listen"), ("--admin", "api.admin_listen")] {
        let mut command = ringway(&["up", "--data", folder.path().to_str().unwrap()]);
        for each in ["--listen", "--api", "--admin"] {
            command.args([each, if each == flag { &address } else { "127.0.0.1:0" }]);
        }
        check_fails(&mut command, 1, &format!("cannot listen on {address} ({key})"));
    }
}

#[test]
fn two_nodes_of_one_user_do_not_share_a_port_unseen() {
    let (one, other) = (tempdir().unwrap(), tempdir().unwrap());
    let node = Node::start(one.path(), &[]);
    let url = node.url("ws");
    let address = url.trim_start_matches("ws://").trim_end_matches("/v1/ws");
    let mut command = ringway(&["up", "--data", other.path().to_str().unwrap(), "--listen", address]);
    command.args(["--api", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    check_fails(&mut command, 1, &format!("cannot listen on {address} (gateway.listen)"));
}

#[test]
fn a_data_folder_of_a_newer_format_is_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    token(folder.path(), "alice");
    let database = folder.path().join("ringway.db");
    block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query("UPDATE state SET value = value + 1 WHERE name = 'format_version'").execute(&pool).await.unwrap();
        pool.close().await;
    });
    let before = std::fs::read(&database).unwrap();
    let told = format!("has format {}, this version reads up to {FORMAT_VERSION}", FORMAT_VERSION + 1);
    check_fails(&mut up(folder.path()), 1, &told);
    assert!(before == std::fs::read(&database).unwrap(), "the database was touched");
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let folder = tempdir().unwrap();
    let mut command = up(folder.path());
    command.env("RINGWAY_TLS_CERT", "no-such.pem").env("RINGWAY_TLS_KEY", "no-such.key");
    check_fails(&mut command, 1, "no-such.pem");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    check_fails(&mut up(&file), 1, "file");
}
