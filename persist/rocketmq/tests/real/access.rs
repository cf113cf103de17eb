//! Signing in and rights.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ringway_rocketmq::{Credentials, RocketConfig, RocketError, RocketLog, RocketQueues};
use ringway_stack::{Folder, RocketMq, RocketMqOptions, RocketMqUser};
use ringway_store::ports::{AppendError, EventLog as _, LogOffset};

use crate::harness::{open, queue_of, record};

/// What a gateway's key needs, and nothing else: the lines of the README.
const GATEWAY: [(&str, &str); 1] = [("Topic:im_event", "Pub,Get")];
/// What a consumer's key needs, and nothing else.
const CONSUMER: [(&str, &str); 2] = [("Topic:im_event", "Sub,Get"), ("Group:im_persist", "Sub")];
/// Every secret here begins so.
const SECRET: &str = "s3cret-of-";
/// A refusal is an answer: nothing is waited for.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A broker with access control that all tests here share. It ends with the process.
fn servers() -> &'static RocketMq {
    static SHARED: OnceLock<(RocketMq, Folder)> = OnceLock::new();
    let (servers, _) = SHARED.get_or_init(|| {
        let user = |name: &str, rules: &[(&str, &str)]| RocketMqUser {
            name: name.to_owned(),
            secret: format!("{SECRET}{name}"),
            rules: rules.iter().map(|(resource, actions)| ((*resource).to_owned(), (*actions).to_owned())).collect(),
        };
        let users = vec![
            user("gateway", &GATEWAY),
            user("consumer", &CONSUMER),
            user("looker", &[("Topic:im_event", "Get")]),
            user("nobody", &[]),
        ];
        let folder = Folder::new().unwrap();
        let options = RocketMqOptions { users, ..RocketMqOptions::default() };
        (RocketMq::start_with(folder.path(), options).unwrap(), folder)
    });
    servers
}

/// As this user, with its own secret.
fn of(name: &str) -> RocketConfig {
    with(name, &format!("{SECRET}{name}"))
}

fn with(name: &str, secret: &str) -> RocketConfig {
    let credentials = Credentials { access_key: name.to_owned(), secret_key: secret.to_owned() };
    RocketConfig { credentials: Some(credentials), ..RocketConfig::new(vec![servers().namesrv()]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_with_the_rights_of_the_readme_suffice() {
    let log = RocketLog::open(of("gateway")).await.unwrap();
    let queues = RocketQueues::open(of("consumer")).await.unwrap();
    log.append((0..64).map(|number| record(number, &format!("record {number}"))).collect()).await.unwrap();
    let queue = queue_of(&queues, 5);
    queue.wait_for(LogOffset(7)).await.unwrap();
    let records = queue.read(LogOffset(0), 100, 100_000).await.unwrap();
    let texts: Vec<&[u8]> = records.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!((texts.len(), texts[0], texts[7]), (8, &b"record 5"[..], &b"record 61"[..]));
    queue.release(LogOffset(8));
    queues.close().await;
    let queues = RocketQueues::open(of("consumer")).await.unwrap();
    assert_eq!(queues.committed().await.unwrap()[5], Some(LogOffset(8)), "what was consumed is told");
    assert!(log.is_available());
    log.close().await;
    queues.close().await;
}

#[test]
fn the_readme_names_the_rights() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for (resource, actions) in GATEWAY.into_iter().chain(CONSUMER) {
        let line = format!("-r {resource} -a {actions} -d Allow");
        assert!(readme.contains(&line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_admitted_is_told_why_at_once_and_sees_no_secret() {
    let namesrv = servers().namesrv();
    let unsigned = RocketConfig::new(vec![namesrv]);
    for (config, whom, why) in [
        (with("gateway", "s3cret-of-another"), "access key \"gateway\"", "check signature failed"),
        (with("stranger", "s3cret-of-nobody"), "access key \"stranger\"", "User:stranger is not found"),
        (unsigned, "requests without a signature", "username cannot be null"),
        (of("nobody"), "access key \"nobody\"", "no matched policies"),
    ] {
        let began = Instant::now();
        let errors = [
            RocketLog::open(config.clone()).await.err().unwrap(),
            RocketQueues::open(config.clone()).await.err().unwrap(),
        ];
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        for error in errors {
            let text = format!("{error} {error:?} {config:?}");
            assert!(matches!(error, RocketError::Refused { .. }), "{text}");
            let shown = error.to_string();
            assert!(shown.contains("broker-a refuses") && shown.contains(whom) && shown.contains(why), "{shown}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_look_may_neither_append_nor_read() {
    let log = RocketLog::open(of("looker")).await.unwrap();
    let began = Instant::now();
    let AppendError::Unavailable(why) = log.append(vec![record(1, "x")]).await.unwrap_err() else { panic!("refused") };
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert!(why.contains("broker-a refuses requests signed by access key \"looker\""), "{why}");
    assert!(why.contains("im_event") && !why.contains("s3cret"), "{why}");
    assert!(log.is_available(), "the broker is there");
    assert_eq!(log.counts().batches, 0);
    log.close().await;
    let refused = RocketQueues::open(of("looker")).await.err().unwrap();
    assert!(matches!(refused, RocketError::Refused { .. }), "{refused}");
    // A consumer's key is no gateway's, and the other way round.
    let log = RocketLog::open(of("consumer")).await.unwrap();
    log.append(vec![record(1, "x")]).await.unwrap_err();
    log.close().await;
    assert!(matches!(RocketQueues::open(of("gateway")).await.err(), Some(RocketError::Refused { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_be_given_where_none_is_asked_for() {
    let namesrv = crate::harness::Stack::shared().topic("signed_anyway").name_servers;
    let config = RocketConfig { name_servers: namesrv, topic: "signed_anyway".to_owned(), ..of("gateway") };
    let (log, queues) = open(&config).await;
    log.append(vec![record(1, "x")]).await.unwrap();
    log.close().await;
    queues.close().await;
}
