//! RocketMQ's name server and broker.

use ringway_stack::{Folder, QUEUES, RocketMq, TOPICS};

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
