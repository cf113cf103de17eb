//! How often a shard asks the allocator for memory on the path of a message: counted, not timed.
//!
//! A shard's own code runs on a thread with a ring; its devices are sockets that a test reads. What the devices
//! send is handed to the shard as the ring would, and the test answers what the shard asks of the uplink. Counted are
//! the calls of this thread alone, over many messages, once what a quiet shard has not grown yet is grown.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use ringway_engine::conversation::{Formats, Number, Permission};
use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::limits::{MAILBOX_MAX, TRACE_HOPS_MAX};
use ringway_engine::packet::schema::{Command, Connect, Send, Signal, Target};
use ringway_engine::packet::{Format, encode_command};
use ringway_engine::session::Identity;
use ringway_engine::websocket::{Opcode, client_frame};
use ringway_ring::listener::Listener;
use ringway_ring::mailbox;
use ringway_ring::runtime::{ENTRIES_MIN, ShardThread};
use ringway_ring::socket::{Accepted, HandlerId};

use super::*;
use crate::config::LiveConfig;
use crate::mail::Audience;

/// Past two blocks of the smallest frames, so that blocks are written anew.
const WARM_ROUNDS: u64 = 1_200;
const ROUNDS: u64 = 64;
const EPOCH: u64 = 1;

/// A shard, the far ends of its connections, and the uplink's end of its mailbox.
struct World {
    shared: Shared,
    listener: Listener,
    handler: HandlerId,
    format: Format,
    uplink: Inbox<ToUplink>,
    /// Where another shard would take its mail.
    other: Inbox<ToShard>,
    devices: Vec<(u64, TcpStream)>,
    received: u64,
    seq: u64,
}

/// What one round makes the shard do; counted.
type Step = fn(&mut World, &mut [u8]);

impl World {
    fn new(format: Format, shards: usize) -> Self {
        let (mut to_uplink, uplink) = mailbox::inbox(1, MAILBOX_MAX);
        let (mut to_other, other) = mailbox::inbox(1, MAILBOX_MAX);
        let (_, own) = mailbox::inbox(1, 1);
        let peers = std::iter::once(None).chain((1..shards).map(|_| to_other.pop())).collect();
        let parts = ShardParts {
            index: 0,
            shards,
            id_node: 1,
            id_floor: 0,
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            echo: None,
            inbox: own,
            peers,
            uplink: to_uplink.pop().unwrap(),
            proxy_protocol: false,
            reorder_wait_ms: 0,
            hops: None,
            live: Arc::new(Live::new(LiveConfig::default(), None)),
            metrics: Arc::new(ShardMetrics::default()),
        };
        let (mut shard, doors) = Shard::new(parts);
        let hop = Hop { at_us: 1, station: Station::Pushed, msg_id: 1, conv: 1, seq: 1, who: 1, shard: 0 };
        (0..TRACE_HOPS_MAX).for_each(|_| shard.trace.note(hop));
        let shared = Rc::new(RefCell::new(shard));
        let handler = runtime::add_handler(Rc::new(intake::Intake(Rc::clone(&shared))));
        let listener = Listener::new(doors.listener).unwrap();
        Self { shared, listener, handler, format, uplink, other, devices: Vec::new(), received: 0, seq: 0 }
    }

    /// Connects a device and attaches it to groups; gives its place among the devices.
    async fn connect(&mut self, uid: &str, groups: &[&str]) -> usize {
        let client = TcpStream::connect(self.listener.local()).unwrap();
        client.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept().await.unwrap();
        let key = self.attach(accepted, uid, groups);
        self.devices.push((key, client));
        self.turn().await;
        self.devices.len() - 1
    }

    /// All that the shard and the uplink say to each other until a device is attached.
    fn attach(&self, accepted: Accepted, uid: &str, groups: &[&str]) -> u64 {
        let mut shard = self.shared.borrow_mut();
        shard.admit(accepted, self.handler);
        let key = shard.keys().into_iter().max().unwrap();
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            self.format.subprotocol()
        );
        shard.handle_received(key, &mut upgrade.into_bytes());
        let connect = Connect { token: "t".into(), device: "d".into(), ..Connect::default() };
        shard.handle_received(key, &mut frame_of(self.format, &Command::connect(1, connect)));
        let (uid, device) = (Uid::parse(uid).unwrap(), DeviceId::parse("d").unwrap());
        let groups: Vec<_> = groups.iter().map(|id| ConversationId::group(id).unwrap()).collect();
        let identity = Arc::new(Identity { uid, device });
        let opened = ToShard::Opened { connection: key, identity, groups: groups.into(), expires_ms: u64::MAX };
        shard.handle_mail(opened);
        shard.handle_mail(ToShard::Attached { connection: key, session: "s".into(), standings: Vec::new() });
        key
    }

    /// Lets the ring send, reads what the devices have got, and throws away what the uplink was asked.
    async fn turn(&mut self) {
        while self.is_sending() {
            runtime::turn().await;
        }
        let mut buffer = [0; 4_096];
        for (_, client) in &mut self.devices {
            loop {
                match client.read(&mut buffer) {
                    Ok(0) => panic!("the shard ended a connection"),
                    Ok(bytes) => self.received += bytes as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        self.uplink.drain(MAILBOX_MAX, &mut |_, _| ());
        self.other.drain(MAILBOX_MAX, &mut |_, _| ());
    }

    fn is_sending(&self) -> bool {
        let mut shard = self.shared.borrow_mut();
        self.devices.iter().any(|(key, _)| shard.connection(*key).unwrap().socket.is_sending())
    }

    /// Takes bytes of a device in, as the ring hands them over.
    fn take_in(&mut self, device: usize, bytes: &mut [u8]) {
        let key = self.devices[device].0;
        self.shared.borrow_mut().handle_received(key, bytes);
    }

    /// What the flusher does at the end of a turn.
    fn flush(&mut self) {
        assert!(self.shared.borrow_mut().end_turn(), "a mailbox is full");
    }

    /// Calls of the allocator a round, in steps that are counted, with a frame of a command made for each round.
    async fn count(&mut self, command: impl Fn(u64) -> Command, step: Step) -> u64 {
        let mut calls = 0;
        for round in 0..WARM_ROUNDS + ROUNDS {
            let mut frame = frame_of(self.format, &command(round));
            let counted = allocation_counter::measure(|| step(self, &mut frame)).count_total;
            calls += if round < WARM_ROUNDS { 0 } else { counted };
            self.turn().await;
        }
        calls.div_ceil(ROUNDS)
    }

    /// The message that a hub has handed to the uplink.
    fn asked_to_commit(&mut self) -> (ConversationId, u64) {
        let mut commit = None;
        self.uplink.drain(MAILBOX_MAX, &mut |_, asked| {
            if let ToUplink::Commit { conv, entries, .. } = asked {
                assert!(commit.is_none() && entries.len() == 1, "one message is one batch");
                commit = Some((conv, entries[0].event.msg_id));
            }
        });
        commit.unwrap()
    }

    /// Sends a message and numbers it as the uplink would: calls of the allocator until it was handed over, and from
    /// its numbers until all was sent.
    async fn count_send(&mut self, to: &Target, conv: &str) -> (u64, u64) {
        let conv = ConversationId::parse(conv).unwrap();
        let (mut before, mut after) = (0, 0);
        for round in 0..WARM_ROUNDS + ROUNDS {
            let send = Send {
                to: Some(to.clone()),
                client_msg_id: format!("m-{round}"),
                body: "b".repeat(64),
                ..Send::default()
            };
            let mut frame = frame_of(self.format, &Command::send(round + 1, send));
            let taken = allocation_counter::measure(|| {
                self.take_in(0, &mut frame);
                self.flush();
            });
            if round == 0 {
                let uid = self.shared.borrow_mut().uid_of(self.devices[0].0).unwrap();
                self.shared.borrow_mut().handle_permission(&conv, &uid, Some(Permission::Allowed));
                self.flush();
            }
            let (committed, msg_id) = self.asked_to_commit();
            assert_eq!(committed, conv);
            self.seq += 1;
            let number = Number { epoch: EPOCH, seq: self.seq, msg_id, ts_ms: 1 };
            let formats = Formats { json: self.format.is_text(), protobuf: !self.format.is_text() };
            let audience = Audience { shards: 1, formats };
            let mail = ToShard::Committed {
                conv: committed,
                result: Ok(vec![number]),
                audience,
                at: std::time::Instant::now(),
            };
            let shown = allocation_counter::measure(|| {
                self.shared.borrow_mut().handle_mail(mail);
                self.flush();
            });
            if round >= WARM_ROUNDS {
                (before, after) = (before + taken.count_total, after + shown.count_total);
            }
            let received = self.received;
            self.turn().await;
            assert!(self.received - received > 64 * (self.devices.len() as u64 - 1), "somebody was shown nothing");
        }
        (before.div_ceil(ROUNDS), after.div_ceil(ROUNDS))
    }
}

fn frame_of(format: Format, command: &Command) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_command(format, command, &mut payload);
    let opcode = if format.is_text() { Opcode::Text } else { Opcode::Binary };
    client_frame(opcode, &payload, [1, 2, 3, 4])
}

fn user(uid: &str) -> Option<Target> {
    Some(Target { user: uid.into(), ..Target::default() })
}

fn group(id: &str) -> Target {
    Target { group: id.into(), ..Target::default() }
}

/// Runs a test on the thread of a shard, once for each wire format.
fn on_shard<F: Future<Output = ()> + 'static>(test: fn(Format) -> F) {
    for format in Format::ALL {
        let thread = ShardThread { index: 0, core: None, entries: ENTRIES_MIN };
        runtime::spawn(thread, move || test(format)).unwrap().join().unwrap();
    }
}

/// Says what was counted, for whoever looks, and that it is no more than this.
fn check(what: &str, format: Format, calls: u64, at_most: u64) {
    println!("{what}, {format:?}: {calls}");
    assert!(calls <= at_most, "{what}, {format:?}: {calls} calls of the allocator instead of {at_most}");
}

fn take_in_and_flush(world: &mut World, frame: &mut [u8]) {
    world.take_in(0, frame);
    world.flush();
}

fn take_in_and_hand_on(world: &mut World, frame: &mut [u8]) {
    world.take_in(0, frame);
    world.shared.borrow_mut().flush_acks(u64::MAX);
    world.flush();
}

#[test]
fn what_an_acknowledgement_allocates() {
    on_shard(|format| async move {
        let mut world = World::new(format, 1);
        world.connect("a", &["g"]).await;
        world.connect("b", &[]).await;
        let of = |conv| move |round| Command::ack(conv, EPOCH, round + 1);
        check("ack of two", format, world.count(of("p2p:a:b"), take_in_and_flush).await, 0);
        check("ack of a room", format, world.count(of("group:g"), take_in_and_flush).await, 0);
        let later = |round| Command::ack("p2p:a:b", EPOCH, 2_000 + round);
        let before = world.received;
        check("ack, handed on at once", format, world.count(later, take_in_and_hand_on).await, 2);
        assert!(world.received > before, "the other party was not told");
    });
}

#[test]
fn what_a_signal_allocates() {
    on_shard(|format| async move {
        for (shards, at_most) in [(1, 0), (2, 1)] {
            let mut world = World::new(format, shards);
            world.connect("a", &[]).await;
            world.connect("b", &[]).await;
            let before = world.received;
            let signal = |_| {
                let signal = Signal { to: user("b"), call: "c-1".into(), body: "b".repeat(64), from: String::new() };
                Command::signal(0, signal)
            };
            check(&format!("signal, {shards} shards"), format, world.count(signal, take_in_and_flush).await, at_most);
            assert!(world.received - before > 64 * (WARM_ROUNDS + ROUNDS), "a signal was not shown");
        }
    });
}

#[test]
fn what_a_message_allocates() {
    on_shard(|format| async move {
        let mut world = World::new(format, 1);
        world.connect("a", &[]).await;
        world.connect("b", &[]).await;
        let (taken, shown) = world.count_send(&user("b").unwrap(), "p2p:a:b").await;
        check("send, until handed to the uplink", format, taken, 2);
        check("send, from its numbers on", format, shown, 1);
    });
}

#[test]
fn one_member_more_allocates_nothing() {
    on_shard(|format| async move {
        let mut room = World::new(format, 1);
        for member in ["a", "b", "c"] {
            room.connect(member, &["g"]).await;
        }
        let (_, to_three) = room.count_send(&group("g"), "group:g").await;
        room.connect("d", &["g"]).await;
        let (_, to_four) = room.count_send(&group("g"), "group:g").await;
        check("one member more", format, to_four - to_three, 0);
        for member in 0..20 {
            room.connect(&format!("m-{member}"), &["g"]).await;
        }
        let (_, to_many) = room.count_send(&group("g"), "group:g").await;
        check("21 members more", format, to_many - to_three, 0);
    });
}
