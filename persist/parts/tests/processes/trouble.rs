//! Parts that are away, at the start and later, and what can never heal.

use std::net::TcpListener;

use ringway_stack::{Folder, RedisServer};

use crate::deployment::{Deployment, ask, get, keys, wait_until_ready_is};
use crate::program::{Program, check_fails};

#[test]
fn a_part_that_is_away_turns_readiness_red_and_is_waited_for() {
    let mut deployment = Deployment::new();
    let folder = Folder::new().unwrap();
    let mut redis = RedisServer::start(folder.path()).unwrap();
    deployment.redis = redis.url();
    redis.kill().unwrap();
    let mut api = Program::start("ringway-api", &deployment.api());
    let admin = api.wait_for_log("starting")["admin"].as_str().unwrap().to_owned();
    assert_eq!(api.wait_for_log("is not there yet")["part"], "redis");
    wait_until_ready_is(&admin, 503, "redis: ");
    redis.restart().unwrap();
    assert_eq!(api.ready()["admin"], admin);
    wait_until_ready_is(&admin, 200, "true");

    redis.pause().unwrap();
    wait_until_ready_is(&admin, 503, "redis: ");
    redis.resume().unwrap();
    wait_until_ready_is(&admin, 200, "true");
    redis.kill().unwrap();
    wait_until_ready_is(&admin, 503, "redis: ");
    redis.restart_empty().unwrap();
    wait_until_ready_is(&admin, 200, "true");
    api.stop();
}

#[test]
fn a_process_that_waits_ends_when_it_is_told_to() {
    let mut deployment = Deployment::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    deployment.mysql = format!("mysql://root@{nobody}/ringway");
    for (name, arguments) in [
        ("ringway-gateway", deployment.gateway(1)),
        ("ringway-persist", deployment.persist("persist-1")),
        ("ringway-api", deployment.api()),
    ] {
        let program = Program::start(name, &arguments);
        assert_eq!(program.wait_for_log("is not there yet")["part"], "mysql");
        program.stop();
    }
}

#[test]
fn what_can_never_heal_ends_the_process_with_one_line() {
    let deployment = Deployment::new();
    let queues = keys(&[("rocketmq.queues", "5")]);
    for (name, arguments) in
        [("ringway-gateway", deployment.gateway(1)), ("ringway-persist", deployment.persist("persist-1"))]
    {
        let arguments: Vec<String> = without(arguments, "--rocketmq.queues");
        check_fails(name, &[arguments, queues.clone()].concat(), 1, "has 4 queues and 5 are configured");
    }
    deployment.sql("UPDATE state SET value = value + 1 WHERE name = 'format_version'");
    check_fails("ringway-api", &deployment.api(), 1, "the database has format");
    std::fs::write(deployment.folder().join("token.key"), "short").unwrap();
    check_fails("ringway-api", &deployment.api(), 1, "tokens.key_file: ");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, arguments, key) in [
        ("ringway-gateway", deployment.gateway(1), "gateway.listen"),
        ("ringway-gateway", deployment.gateway(1), "peers.listen"),
        ("ringway-persist", deployment.persist("persist-1"), "admin.listen"),
        ("ringway-api", deployment.api(), "api.listen"),
    ] {
        std::fs::write(deployment.folder().join("token.key"), [7; 32]).unwrap();
        let arguments = [without(arguments, &format!("--{key}")), keys(&[(key, &address)])].concat();
        check_fails(name, &arguments, 1, &format!("cannot listen on {address} ({key})"));
    }
}

/// The arguments without one of them and its value.
fn without(arguments: Vec<String>, name: &str) -> Vec<String> {
    arguments.chunks(2).filter(|pair| pair[0] != name).flatten().cloned().collect()
}

#[test]
fn whoever_asks_for_a_trace_needs_the_secret_where_there_is_one() {
    let deployment = Deployment::new();
    let file = deployment.folder().join("admin.secret");
    let with_secret =
        || [deployment.persist("persist-1"), keys(&[("admin.secret_file", file.to_str().unwrap())])].concat();
    check_fails("ringway-persist", &with_secret(), 1, "admin.secret_file: cannot read");
    std::fs::write(&file, "\n").unwrap();
    check_fails("ringway-persist", &with_secret(), 1, "admin.secret_file: there is nothing in it");
    std::fs::write(&file, "s3cret\n").unwrap();
    let mut persist = Program::start("ringway-persist", &with_secret());
    let admin = persist.ready()["admin"].as_str().unwrap().to_owned();
    let asked = |headers: &str| ask(&admin, "/admin/trace/1", headers).0;
    assert_eq!((asked(""), asked("authorization: Bearer wrong\r\n")), (401, 401));
    assert_eq!(asked("authorization: Bearer s3cret\r\n"), 200);
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&admin, open).0, 200, "{open}");
    }
    persist.stop();
}
