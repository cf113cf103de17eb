//! RocketMQ's name server and broker.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use ringway_stack::{Folder, QUEUES, RocketMq, RocketMqOptions, RocketMqUser, TOPICS};

use crate::check;

#[test]
fn both_come_back_on_their_ports_and_topics_route_at_once() {
    let folder = Folder::new().unwrap();
    let mut rocketmq = RocketMq::start(folder.path()).unwrap();
    let namesrv = rocketmq.namesrv();
    let name_server = rocketmq.name_server.pid().unwrap();
    let port = rocketmq.broker_port();
    check::only_on_loopback(name_server, &[namesrv.rsplit(':').next().unwrap().parse().unwrap()]);
    check::only_on_loopback(rocketmq.broker.pid().unwrap(), &[port - 2, port]);
    rocketmq.create_topic("test_one", 3).unwrap();
    for topic in TOPICS {
        assert_eq!(rocketmq.queues(topic).unwrap(), QUEUES);
    }
    assert_eq!(rocketmq.queues("test_one").unwrap(), 3);

    rocketmq.broker.pause().unwrap();
    check::until("it is stopped", || check::state(rocketmq.broker.pid().unwrap()) == 'T');
    rocketmq.broker.resume().unwrap();
    rocketmq.create_topic("test_two", 1).unwrap();

    rocketmq.broker.kill().unwrap();
    rocketmq.broker.restart().unwrap();
    assert_eq!(rocketmq.broker_port(), port);
    assert_eq!(rocketmq.queues("test_one").unwrap(), 3);
    assert_eq!(rocketmq.name_server.pid().unwrap(), name_server);

    // It keeps nothing; the broker tells it again.
    rocketmq.name_server.restart().unwrap();
    assert_eq!(rocketmq.namesrv(), namesrv);
    assert_eq!(rocketmq.queues("test_one").unwrap(), 3);

    rocketmq.broker.restart_empty().unwrap();
    assert_eq!(rocketmq.queues("im_event").unwrap(), QUEUES);
    assert!(rocketmq.queues("test_one").is_err());

    let name_server = rocketmq.name_server.pid().unwrap();
    let broker = rocketmq.broker.pid().unwrap();
    drop(rocketmq);
    check::gone(broker, &[port - 2, port]);
    check::gone(name_server, &[]);
}

#[test]
fn a_broker_with_access_control_serves_its_users_alone_also_after_a_restart() {
    let folder = Folder::new().unwrap();
    let rules = vec![("Topic:im_event".to_owned(), "Pub,Get".to_owned())];
    let users = vec![RocketMqUser { name: "gateway".to_owned(), secret: "s3cret".to_owned(), rules }];
    let options = RocketMqOptions { users, ..RocketMqOptions::default() };
    let mut rocketmq = RocketMq::start_with(folder.path(), options).unwrap();
    rocketmq.create_topic("test_one", 3).unwrap();
    let refused = ask_without_a_signature(rocketmq.broker_port());
    assert!(refused.contains("\"code\":16,"), "{refused}");
    rocketmq.broker.kill().unwrap();
    rocketmq.broker.restart().unwrap();
    rocketmq.name_server.restart().unwrap();
    assert_eq!(rocketmq.queues("test_one").unwrap(), 3);
    rocketmq.broker.restart_empty().unwrap();
    assert_eq!(rocketmq.queues("im_event").unwrap(), QUEUES);
    let refused = ask_without_a_signature(rocketmq.broker_port());
    assert!(refused.contains("\"code\":16,"), "{refused}");
}

/// Asks a broker for its settings; the header of its answer.
fn ask_without_a_signature(port: u16) -> String {
    let header = br#"{"code":26,"flag":0,"language":"JAVA","opaque":1,"version":0,"serializeTypeCurrentRPC":"JSON"}"#;
    let length = u32::try_from(header.len()).unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[&(length + 4).to_be_bytes(), &length.to_be_bytes(), &header[..]].concat()).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
