//! The map of a node.

use super::*;
use ringway_engine::ids::DeviceId;

fn entry(to: ConnectionRef, uid: &str, format: Format, groups: &[&str]) -> Entry {
    let groups: Vec<_> = groups.iter().map(|group| ConversationId::parse(group).unwrap()).collect();
    Entry {
        to,
        owner: Arc::new(Identity { uid: Uid::parse(uid).unwrap(), device: DeviceId::parse("d").unwrap() }),
        class: PlatformClass::Web,
        sid: format!("sid-{uid}").into(),
        format,
        number: 0,
        opened_ms: 0,
        attached: false,
        groups: groups.into(),
    }
}

fn at(shard: u16, connection: u64) -> ConnectionRef {
    ConnectionRef { shard, connection }
}

#[track_caller]
fn check(routes: &Routes, conv: &str, shards: u64, json: bool, protobuf: bool) {
    let expected = Audience { shards, formats: Formats { json, protobuf } };
    assert_eq!(routes.audience(&ConversationId::parse(conv).unwrap()), expected, "{conv}");
}

#[test]
fn an_audience_is_the_shards_and_formats_of_those_attached() {
    let mut routes = Routes::default();
    routes.open(entry(at(0, 1), "a", Format::Json, &["group:g"]));
    routes.open(entry(at(3, 1), "b", Format::Protobuf, &["group:g"]));
    check(&routes, "p2p:a:b", 0, false, false);
    routes.attach(at(0, 1));
    routes.attach(at(3, 1));
    check(&routes, "p2p:a:b", 0b1001, true, true);
    check(&routes, "group:g", 0b1001, true, true);
    routes.close(at(3, 1));
    check(&routes, "group:g", 0b0001, true, false);
    routes.close(at(0, 1));
    check(&routes, "group:g", 0, false, false);
    assert!(routes.groups.is_empty() && routes.users.is_empty() && routes.connections.is_empty());
    assert_eq!((routes.sessions.len(), routes.users_online()), (0, 0));
}

#[test]
fn joining_and_leaving_moves_every_session_of_the_user() {
    let mut routes = Routes::default();
    for shard in [1, 2] {
        routes.open(entry(at(shard, 9), "a", Format::Json, &[]));
        routes.attach(at(shard, 9));
    }
    let (uid, group) = (Uid::parse("a").unwrap(), ConversationId::parse("group:g").unwrap());
    assert!(routes.join(&uid, &group) && routes.join(&uid, &group));
    check(&routes, "group:g", 0b110, true, false);
    assert!(routes.leave(&uid, &group));
    check(&routes, "group:g", 0, false, false);
    assert!(!routes.join(&Uid::parse("nobody").unwrap(), &group));
}
