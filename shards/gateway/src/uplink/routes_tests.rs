//! The map of a node.

use super::*;

fn entry(uid: &str, format: Format, groups: &[&str]) -> Entry {
    Entry {
        uid: Uid::parse(uid).unwrap(),
        device: DeviceId::parse("d").unwrap(),
        class: PlatformClass::Web,
        sid: format!("sid-{uid}").into(),
        format,
        number: 0,
        opened_ms: 0,
        attached: false,
        groups: groups.iter().map(|group| ConversationId::parse(group).unwrap()).collect(),
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
    routes.open(at(0, 1), entry("a", Format::Json, &["group:g"]));
    routes.open(at(3, 1), entry("b", Format::Protobuf, &["group:g"]));
    check(&routes, "p2p:a:b", 0, false, false);
    routes.attach(at(0, 1));
    routes.attach(at(3, 1));
    check(&routes, "p2p:a:b", 0b1001, true, true);
    check(&routes, "group:g", 0b1001, true, true);
    routes.close(at(3, 1));
    check(&routes, "group:g", 0b0001, true, false);
    routes.close(at(0, 1));
    check(&routes, "group:g", 0, false, false);
    assert!(routes.groups.is_empty() && routes.users.is_empty() && routes.sessions.is_empty());
}

#[test]
fn joining_and_leaving_moves_every_session_of_the_user() {
    let mut routes = Routes::default();
    for shard in [1, 2] {
        routes.open(at(shard, 9), entry("a", Format::Json, &[]));
        routes.attach(at(shard, 9));
    }
    let (uid, group) = (Uid::parse("a").unwrap(), ConversationId::parse("group:g").unwrap());
    assert!(routes.join(&uid, &group) && routes.join(&uid, &group));
    check(&routes, "group:g", 0b110, true, false);
    assert!(routes.leave(&uid, &group));
    check(&routes, "group:g", 0, false, false);
    assert!(!routes.join(&Uid::parse("nobody").unwrap(), &group));
}
