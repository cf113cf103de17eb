//! How each server is spoken to: one adapter a file, so that the same schedule, checks and figures measure all.
//!
//! | File | Speaks to | By |
//! |---|---|---|
//! | `ringway` | Ringway | its own protocol, JSON or protobuf |
//! | `floor` | our minimal relays, bun, tokio-tungstenite, fastwebsockets | the first frame names pair or room |
//! | `nats` | nats-server | its text protocol in WebSocket frames; JetStream for what is stored |
//! | `nchan` | nginx with nchan | a WebSocket for each channel and direction |
//! | `centrifuge` | a server on the Centrifuge library | its JSON protocol |
//! | `ejabberd` | ejabberd | XMPP, RFC 7395 |
//!
//! An adapter holds no state: what a connection has to remember is in its [`Session`]. Bodies are the same
//! everywhere, and so is what is checked; a peer that gives no sender, number or receipt has none checked.

mod centrifuge;
mod ejabberd;
mod floor;
mod nats;
mod nchan;
mod ringway;

use clap::ValueEnum;
use ringway_engine::packet::Format;

use crate::options::Scenario;
use crate::people::{Group, Person};
use crate::wire::Packet;
use crate::wire::body::Bodies;
use crate::wire::frames;
use crate::wire::template::{Id, Template};

/// What a server speaks; a peer may be called by its own name too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Speech {
    /// Ringway's own protocol
    Ringway,
    /// The first frame names pair or room, all others are relayed
    #[value(aliases = ["floor_uring", "floor_epoll", "bun", "tungstenite", "fastwebsockets"])]
    #[value(aliases = ["control_none", "control_slow", "control_drop", "control_stall"])]
    Floor,
    /// nats-server over WebSocket; JetStream for relay_durable
    Nats,
    /// nginx with nchan
    Nchan,
    /// A server on the Centrifuge library, JSON
    Centrifuge,
    /// XMPP over WebSocket
    Ejabberd,
}

/// What a connection has to remember.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) person: Person,
    /// How far signing in has come; each adapter counts its own steps.
    pub(crate) step: u32,
    /// Deliveries that the server wants to hear about in numbers.
    pub(crate) received: u64,
    /// The start of something that goes on in the next frame.
    pub(crate) partial: Vec<u8>,
}

impl Session {
    /// At the beginning.
    pub(crate) fn new(person: Person) -> Self {
        Self { person, step: 0, received: 0, partial: Vec::new() }
    }
}

/// What a stream is to send.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    /// Makes its bodies.
    pub(crate) bodies: &'a Bodies,
    /// Number of the stream.
    pub(crate) stream: usize,
    /// Who sends.
    pub(crate) from: &'a Person,
    /// Who receives, or the first of those.
    pub(crate) to: &'a Person,
    /// The group that receives, where a server knows groups.
    pub(crate) group: Option<&'a Group>,
    /// Whether it is to be stored.
    pub(crate) durable: bool,
}

/// How a stream sends, and how its receivers see it.
#[derive(Debug)]
pub(crate) struct Route {
    /// The prepared send.
    pub(crate) template: Template,
    /// The sender as receivers see it; empty: they do not.
    pub(crate) from: String,
    /// The conversation; empty: sends are not answered.
    pub(crate) conv: String,
}

impl Route {
    /// The body as it is, in a frame of its own, that nobody answers.
    ///
    /// # Errors
    /// As [`Template::new`].
    fn bare(letter: &Letter<'_>) -> anyhow::Result<Self> {
        let mark = letter.bodies.mark(letter.stream);
        let body = letter.bodies.blank(letter.stream).into_bytes();
        let template = Template::new(frames::BINARY, &body, &mark, Id::None)?;
        Ok(Self { template, from: String::new(), conv: String::new() })
    }
}

/// Called with every packet and the connection's output, to which frames may be appended.
pub(crate) type OnPacket<'a> = dyn FnMut(&Packet<'_>, &mut Vec<u8>) + 'a;

/// How one server is spoken to.
pub(crate) trait Protocol: std::fmt::Debug + Sync {
    /// As reports name it.
    fn name(&self) -> &'static str;

    /// Why it cannot do a scenario, as a table may show it.
    fn cannot(&self, scenario: Scenario) -> Option<&'static str>;

    /// Path of the upgrade, without its first slash, and the subprotocol to ask for; `path` is that of the URL.
    fn upgrade(&self, path: &str, person: &Person) -> (String, Option<&'static str>);

    /// Makes the people known to the server by its HTTP API, where it has to know them.
    ///
    /// # Errors
    /// The server refuses.
    fn enlist(&self, _people: &[Person], _api: &str) -> anyhow::Result<()> {
        Ok(())
    }

    /// The upgrade was granted; appends what comes first, and answers whether nothing more is needed.
    fn begin(&self, session: &mut Session, out: &mut Vec<u8>) -> bool;

    /// Takes the payload of one frame. [`Packet::Connected`] says that signing in is done.
    ///
    /// # Errors
    /// Why the connection has to end.
    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String>;

    /// Prepares a stream.
    ///
    /// # Errors
    /// A send cannot be prepared.
    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route>;

    /// Appends the acknowledgement of everything up to a message; nothing, where receivers have none to give.
    fn append_ack(&self, _conv: &[u8], _epoch: u64, _seq: u64, _out: &mut Vec<u8>) {}

    /// Asks for a page of a conversation, of what comes after a number; it is answered by messages and a
    /// [`Packet::Page`]. Nothing, where there are no pages.
    fn append_sync(&self, _conv: &[u8], _after_seq: u64, _out: &mut Vec<u8>) {}

    /// Appends a read mark, answered by [`Packet::Done`]; nothing, where there are none.
    fn append_read(&self, _id: u64, _conv: &str, _seq: u64, _out: &mut Vec<u8>) {}

    /// Appends that somebody is typing, which nobody answers; nothing, where that is not told.
    fn append_typing(&self, _conv: &str, _out: &mut Vec<u8>) {}

    /// Appends something that is answered by [`Packet::Pong`].
    fn append_ping(&self, out: &mut Vec<u8>) {
        frames::append(out, frames::PING, b"");
    }
}

/// The adapter for a speech; some speak of stored messages in another way.
pub(crate) fn of(speech: Speech, format: Format, scenario: Scenario) -> &'static dyn Protocol {
    let stored = matches!(scenario, Scenario::RelayDurable | Scenario::OfflineDrain);
    match (speech, format) {
        (Speech::Ringway, Format::Json) => &ringway::Ringway(Format::Json),
        (Speech::Ringway, Format::Protobuf) => &ringway::Ringway(Format::Protobuf),
        (Speech::Floor, _) => &floor::Floor,
        (Speech::Nats, _) if stored => &nats::Nats { stored: true },
        (Speech::Nats, _) => &nats::Nats { stored: false },
        (Speech::Nchan, _) => &nchan::Nchan,
        (Speech::Centrifuge, _) => &centrifuge::Centrifuge,
        (Speech::Ejabberd, _) if stored => &ejabberd::Ejabberd { stored: true },
        (Speech::Ejabberd, _) => &ejabberd::Ejabberd { stored: false },
    }
}

/// What every relay without a store has nothing for.
fn relay_cannot(scenario: Scenario) -> Option<&'static str> {
    match scenario {
        Scenario::RelayDurable | Scenario::OfflineDrain | Scenario::ResumeStorm => Some("it stores nothing"),
        other => others_cannot(other),
    }
}

/// What nobody but Ringway has anything for.
fn others_cannot(scenario: Scenario) -> Option<&'static str> {
    match scenario {
        Scenario::ResumeStorm => Some("resuming with a gap is not spoken with it here"),
        Scenario::Mixed => Some("groups, read marks and typing are not spoken with it here"),
        Scenario::Scale => Some("on which of its threads a connection is, it does not tell"),
        _ => None,
    }
}

/// The text between two others, and what follows.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(start)?.1.split_once(end)
}

/// What the adapters' tests share.
#[cfg(test)]
mod sample {
    use super::{Protocol, Session};
    use crate::people::Person;

    /// Sends or receives in `pair-0`.
    pub(super) fn session(sends: bool) -> Session {
        let (uid, channel) = ("load-0".to_owned(), "pair-0".to_owned());
        Session::new(Person { uid, channel, sends, ..Person::default() })
    }

    /// Takes one frame in; answers the packets, and what was appended, unmasked.
    pub(super) fn take(protocol: &dyn Protocol, session: &mut Session, payload: &[u8]) -> (Vec<String>, String) {
        let (mut packets, mut out) = (Vec::new(), Vec::new());
        let on = &mut |packet: &crate::wire::Packet<'_>, _: &mut Vec<u8>| packets.push(format!("{packet:?}"));
        protocol.take(session, payload, &mut out, on).unwrap();
        (packets, text_of(&out))
    }

    /// The payloads of client frames, one after another.
    fn text_of(mut frames: &[u8]) -> String {
        let mut text = String::new();
        while let [_, length, rest @ ..] = frames {
            let (head, length) = match length & 0x7f {
                126 => (2, usize::from(rest[0]) << 8 | usize::from(rest[1])),
                short => (0, usize::from(short)),
            };
            let (key, payload) = (&rest[head..head + 4], &rest[head + 4..head + 4 + length]);
            text.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| char::from(byte ^ key)));
            frames = &rest[head + 4 + length..];
        }
        text
    }
}
