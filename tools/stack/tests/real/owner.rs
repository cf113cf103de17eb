//! Who owns a server and a folder takes them along, however it ends.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use ringway_stack::{Folder, MariaDb, RedisServer, RocketMq};

use crate::check;

/// Set for the process that is to be killed: this test program, in which the next function does not return.
const ROLE: &str = "RINGWAY_STACK_TEST_OWNER";

/// One of each sort.
struct Servers {
    redis: RedisServer,
    mariadb: MariaDb,
    rocketmq: RocketMq,
    folder: Folder,
}

impl Servers {
    fn start() -> Self {
        let folder = Folder::new().unwrap();
        Self {
            redis: RedisServer::start(folder.path()).unwrap(),
            mariadb: MariaDb::start(folder.path()).unwrap(),
            rocketmq: RocketMq::start(folder.path()).unwrap(),
            folder,
        }
    }

    fn pids(&self) -> [u32; 4] {
        let (broker, name_server) = (self.rocketmq.broker.pid(), self.rocketmq.name_server.pid());
        [self.redis.pid(), self.mariadb.pid(), broker, name_server].map(Result::unwrap)
    }
}

#[test]
fn owner_that_is_to_be_killed() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    // As tests share servers: in a static, which is never dropped, started by a thread that ends.
    static SHARED: OnceLock<Servers> = OnceLock::new();
    thread::spawn(|| SHARED.get_or_init(Servers::start).pids()).join().unwrap();
    let servers = SHARED.get().unwrap();
    servers.redis.connect().expect("it serves though the thread that started it has ended");
    let pids = servers.pids().map(|pid| pid.to_string()).join(",");
    println!("\nowner {pids} {} {}", servers.redis.port(), servers.folder.path().display());
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_owner_leaves_no_process_and_no_file() {
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", "owner::owner_that_is_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.into_iter().find(|line| line.starts_with("owner ")).expect("it has started its servers");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    for pid in fields[1].split(',') {
        check::until("the server is gone", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    check::until("the folder is gone", || !Path::new(fields[3]).exists());
    TcpListener::bind((Ipv4Addr::LOCALHOST, fields[2].parse().unwrap())).expect("the port is free again");
}

#[test]
fn a_panicking_owner_leaves_no_process_and_no_file() {
    let (sender, started) = std::sync::mpsc::channel();
    let ended = thread::spawn(move || {
        let folder = Folder::new().unwrap();
        let redis = RedisServer::start(folder.path()).unwrap();
        sender.send((redis.pid().unwrap(), redis.port(), folder.path().to_owned())).unwrap();
        panic!("as a failing test does");
    });
    assert!(ended.join().is_err());
    let (pid, port, path) = started.recv().unwrap();
    check::gone(pid, &[port]);
    assert!(!path.exists());
}
