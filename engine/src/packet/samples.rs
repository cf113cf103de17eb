//! One of every packet with every field set to something that is not its default. The literals are
//! whole on purpose: a new field does not compile until it is given here, and so is tested.

use std::collections::BTreeMap;

use super::schema::{
    Changed, Command, Connect, Connected, Conversation, Conversations, ErrorReply, Kicked, ListConversations, Message,
    Messages, Receipt, ResumePoint, Send, Sent, ServerPacket, Signal, Sync, Target, Typing,
};

pub(super) fn message() -> Message {
    Message {
        conv: "p2p:a:b".into(),
        msg_id: 7_300_000_000_000_000_001,
        epoch: 1,
        seq: 42,
        from: "a".into(),
        client_msg_id: "c-1".into(),
        kind: "text".into(),
        body: "hi \"é\"\n号".into(),
        enc: "deflate".into(),
        ts: 1_790_000_000_123,
    }
}

pub(super) fn connect() -> Connect {
    Connect {
        token: "header.claims.signature".into(),
        device: "phone-1".into(),
        platform: "ios".into(),
        resume: BTreeMap::from([
            ("group:g".into(), ResumePoint { epoch: 2, seq: 9 }),
            ("p2p:a:b".into(), ResumePoint { epoch: 1, seq: 41 }),
        ]),
    }
}

pub(super) fn send() -> Send {
    Send {
        to: Some(Target { user: "b".into(), group: "g".into() }),
        client_msg_id: "c-1".into(),
        kind: "text".into(),
        body: "hi".into(),
        enc: "deflate".into(),
        retry: true,
    }
}

pub(super) fn signal() -> Signal {
    Signal {
        to: Some(Target { user: "b".into(), group: "g".into() }),
        call: "call-1".into(),
        body: "offer".into(),
        from: "a".into(),
    }
}

pub(super) fn commands() -> Vec<Command> {
    let mut read = Command::read(4, "p2p:a:b", 42);
    read.id = u64::MAX;
    let mut ack = Command::ack("p2p:a:b", 1, 42);
    ack.id = 3;
    let typing = Typing { conv: "p2p:a:b".into(), uid: "a".into() };
    vec![
        Command::connect(1, connect()),
        Command::send(2, send()),
        ack,
        read,
        Command::sync(5, Sync { conv: "p2p:a:b".into(), after_seq: 30, limit: 100, before_seq: 90 }),
        Command::conversations(6, ListConversations { after: "group:g".into(), limit: 50 }),
        Command { id: 7, typing: Some(typing), ..Command::default() },
        Command::signal(8, signal()),
        Command::ping(9),
        Command::refresh(10, "header.claims.signature"),
    ]
}

pub(super) fn server_packets() -> Vec<ServerPacket> {
    let error =
        ErrorReply { code: 4291, message: "the conversation is busy".into(), temporary: true, retry_after_ms: 500 };
    let mut packets = vec![
        ServerPacket::connected(1, connected()),
        ServerPacket::sent(2, sent()),
        ServerPacket::message(message()),
        ServerPacket::messages(
            4,
            Messages { conv: "p2p:a:b".into(), items: vec![message(), message()], head: 42, more: true },
        ),
        ServerPacket::conversations(5, Conversations { items: vec![conversation()], more: true }),
        ServerPacket::receipt(Receipt { conv: "p2p:a:b".into(), kind: "read".into(), uid: "b".into(), seq: 42 }),
        ServerPacket::typing("p2p:a:b", "a"),
        ServerPacket::signal(signal()),
        ServerPacket::pong(9),
        ServerPacket::reply_ok(10),
        ServerPacket { id: 11, error: Some(error), ..ServerPacket::default() },
        ServerPacket::reconnect(1_800, vec!["ws://127.0.0.1:7400/v1/ws".into()]),
    ];
    packets.push(ServerPacket { kicked: Some(Kicked { reason: "same_device".into() }), ..ServerPacket::default() });
    packets.push(ServerPacket::resync("p2p:a:b"));
    let changed = Changed { conv: "group:g".into(), kind: "joined".into() };
    packets.push(ServerPacket { changed: Some(changed), ..ServerPacket::default() });
    packets
}

fn connected() -> Connected {
    Connected {
        session: "s-1".into(),
        uid: "a".into(),
        heartbeat_s: 30,
        server_time_ms: 1_790_000_000_000,
        recovered: BTreeMap::from([("p2p:a:b".into(), true)]),
        expires_in_s: 3_600,
    }
}

fn sent() -> Sent {
    Sent { conv: "p2p:a:b".into(), msg_id: 7_300_000_000_000_000_001, epoch: 1, seq: 42, ts: 1_790_000_000_123 }
}

fn conversation() -> Conversation {
    Conversation {
        conv: "p2p:a:b".into(),
        head: 42,
        read: 40,
        unread: 2,
        last: Some(message()),
        pinned: true,
        muted: true,
        cleared_up_to: 3,
        name: "Bob".into(),
        epoch: 1,
    }
}
