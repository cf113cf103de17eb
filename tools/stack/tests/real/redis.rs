//! One Redis server.

use ringway_stack::{Folder, RedisOptions, RedisServer, Reply};

use crate::check;

#[test]
fn redis_serves_and_ends_with_its_handle() {
    let folder = Folder::new().unwrap();
    let redis = RedisServer::start(folder.path()).unwrap();
    let (pid, port) = (redis.pid().unwrap(), redis.port());
    check::only_on_loopback(pid, &[port]);
    let mut connection = redis.connect().unwrap();
    assert_eq!(connection.text(&["SET", "a", "1"]).unwrap(), "OK");
    assert_eq!(connection.command(&["INCR", "a"]).unwrap(), Reply::Number(2));
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}"));
    drop(redis);
    check::gone(pid, &[port]);
}

#[test]
fn a_killed_redis_comes_back_on_its_port_as_another_run_with_what_it_kept() {
    let folder = Folder::new().unwrap();
    let options = RedisOptions { appendonly: true, password: Some("secret".to_owned()), ..RedisOptions::default() };
    let mut redis = RedisServer::start_with(folder.path(), options).unwrap();
    let (port, run) = (redis.port(), redis.run_id().unwrap());
    redis.connect().unwrap().command(&["SET", "a", "1"]).unwrap();
    redis.kill().unwrap();
    assert!(redis.connect().is_err());
    assert!(redis.kill().is_err());
    redis.restart().unwrap();
    assert_eq!(redis.port(), port);
    assert_ne!(redis.run_id().unwrap(), run);
    assert_eq!(redis.connect().unwrap().text(&["GET", "a"]).unwrap(), "1");
    redis.restart_empty().unwrap();
    assert_eq!(redis.connect().unwrap().command(&["GET", "a"]).unwrap(), Reply::Nil);
}

#[test]
fn a_paused_redis_goes_on_where_it_was() {
    let folder = Folder::new().unwrap();
    let redis = RedisServer::start(folder.path()).unwrap();
    let run = redis.run_id().unwrap();
    redis.pause().unwrap();
    check::until("it is stopped", || check::state(redis.pid().unwrap()) == 'T');
    assert!(redis.is_running());
    redis.resume().unwrap();
    assert_eq!(redis.run_id().unwrap(), run);
}

#[test]
fn accounts_are_given_by_arguments() {
    let folder = Folder::new().unwrap();
    let words = ["--user", "someone", "on", ">secret", "~im:*", "+@all"];
    let options = RedisOptions { arguments: words.map(str::to_owned).to_vec(), ..RedisOptions::default() };
    let redis = RedisServer::start_with(folder.path(), options).unwrap();
    let mut connection = redis.connect().unwrap();
    assert!(connection.command(&["AUTH", "someone", "wrong"]).is_err());
    connection.command(&["AUTH", "someone", "secret"]).unwrap();
    connection.command(&["SET", "im:a", "1"]).unwrap();
    assert!(connection.command(&["SET", "a", "1"]).is_err());
}

#[test]
fn a_server_that_cannot_start_says_what_it_logged() {
    let folder = Folder::new().unwrap();
    let options =
        RedisOptions { arguments: vec!["--no-such-setting".to_owned(), "1".to_owned()], ..RedisOptions::default() };
    let error = RedisServer::start_with(folder.path(), options).unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}
