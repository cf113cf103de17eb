//! Ringway's own protocol, in either format; the first command is `connect`.

use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::Format;
use ringway_engine::packet::encode_command;
use ringway_engine::packet::schema::{Command, Connect, Empty, Read, ResumePoint, Send, Signal, Sync, Target, Typing};

use super::{Letter, OnPacket, Protocol, Route, Session};
use crate::options::Scenario;
use crate::people::{DEVICE, Person};
use crate::wire::body::Bodies;
use crate::wire::frames::data_opcode;
use crate::wire::template::{FIRST_ID, Id, Template};
use crate::wire::{self, Unreadable};

/// Ids of commands that are no sends, whose ids come later.
const CONNECT_ID: u64 = 1;
const PING_ID: u64 = 2;
const SYNC_ID: u64 = 3;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Ringway(pub(super) Format);

impl Protocol for Ringway {
    fn name(&self) -> &'static str {
        self.0.subprotocol()
    }

    fn cannot(&self, _scenario: Scenario) -> Option<&'static str> {
        None
    }

    fn upgrade(&self, path: &str, _person: &Person) -> (String, Option<&'static str>) {
        let path = if path.is_empty() { "v1/ws" } else { path };
        (path.to_owned(), Some(self.0.subprotocol()))
    }

    fn begin(&self, session: &mut Session, out: &mut Vec<u8>) -> bool {
        let resume = std::mem::take(&mut session.person.resume).into_iter();
        let connect = Connect {
            token: std::mem::take(&mut session.person.token),
            device: DEVICE.into(),
            platform: "load".into(),
            resume: resume.map(|(conv, epoch, seq)| (conv, ResumePoint { epoch, seq })).collect(),
        };
        wire::append_command(self.0, &Command { id: CONNECT_ID, connect: Some(connect), ..Command::default() }, out);
        false
    }

    fn take(
        &self,
        _session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        let read = wire::read(self.0, payload, &mut |packet| on(packet, out));
        read.map_err(|Unreadable| "a packet that cannot be read".to_owned())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        let Letter { bodies, stream, from, to, .. } = *letter;
        let user = || Target { user: to.uid.clone(), ..Target::default() };
        let (template, conv) = match letter.group {
            Some(group) => {
                let to = Target { group: group.id.clone(), ..Target::default() };
                (message(self.0, bodies, stream, to)?, group.conv.clone())
            }
            None if letter.durable => {
                let conv = ConversationId::p2p(&Uid::parse(&from.uid)?, &Uid::parse(&to.uid)?);
                (message(self.0, bodies, stream, user())?, conv.as_str().to_owned())
            }
            None => (signal(self.0, bodies, stream, user())?, String::new()),
        };
        Ok(Route { template, from: from.uid.clone(), conv })
    }

    fn append_ack(&self, conv: &[u8], epoch: u64, seq: u64, out: &mut Vec<u8>) {
        wire::append_ack(self.0, conv, epoch, seq, out);
    }

    fn append_sync(&self, conv: &[u8], after_seq: u64, out: &mut Vec<u8>) {
        let sync = Sync { conv: String::from_utf8_lossy(conv).into_owned(), after_seq, ..Sync::default() };
        wire::append_command(self.0, &Command { id: SYNC_ID, sync: Some(sync), ..Command::default() }, out);
    }

    fn append_read(&self, id: u64, conv: &str, seq: u64, out: &mut Vec<u8>) {
        let read = Read { conv: conv.to_owned(), seq };
        wire::append_command(self.0, &Command { id, read: Some(read), ..Command::default() }, out);
    }

    fn append_typing(&self, conv: &str, out: &mut Vec<u8>) {
        let typing = Typing { conv: conv.to_owned(), ..Typing::default() };
        wire::append_command(self.0, &Command { typing: Some(typing), ..Command::default() }, out);
    }

    fn append_ping(&self, out: &mut Vec<u8>) {
        wire::append_command(self.0, &Command { id: PING_ID, ping: Some(Empty {}), ..Command::default() }, out);
    }
}

/// A durable message.
fn message(format: Format, bodies: &Bodies, stream: usize, to: Target) -> anyhow::Result<Template> {
    let send = Send {
        to: Some(to),
        client_msg_id: bodies.mark(stream),
        kind: "text".into(),
        body: bodies.blank(stream),
        ..Send::default()
    };
    template(format, bodies, stream, &Command { id: FIRST_ID, send: Some(send), ..Command::default() })
}

/// A call signal.
fn signal(format: Format, bodies: &Bodies, stream: usize, to: Target) -> anyhow::Result<Template> {
    let (call, body) = (bodies.mark(stream), bodies.blank(stream));
    let signal = Signal { to: Some(to), call, body, ..Signal::default() };
    template(format, bodies, stream, &Command { id: FIRST_ID, signal: Some(signal), ..Command::default() })
}

fn template(format: Format, bodies: &Bodies, stream: usize, command: &Command) -> anyhow::Result<Template> {
    let mut payload = Vec::new();
    encode_command(format, command, &mut payload);
    let id = match format {
        Format::Json => Id::Decimal,
        Format::Protobuf => Id::Varint,
    };
    Template::new(data_opcode(format), &payload, &bodies.mark(stream), id)
}

#[cfg(test)]
mod tests {
    use ringway_engine::packet::{Request, decode_commands};
    use ringway_engine::websocket::{Decoder, Incoming};

    use super::*;
    use crate::wire::body::{Reading, Stamp};

    fn check(format: Format, template: &mut Template, serial: u64, intended_ns: u64, bodies: &Bodies) {
        let mut frame = Vec::new();
        template.append(FIRST_ID + serial, serial, intended_ns, &mut frame);
        let mut seen = 0;
        let on = &mut |incoming: Incoming<'_>| {
            let payload = match incoming {
                Incoming::Text(text) => text.as_bytes(),
                Incoming::Binary(bytes) => bytes,
                other => panic!("{other:?}"),
            };
            decode_commands(format, payload, &mut |command| {
                let (id, request) = command.unwrap();
                assert_eq!(id, FIRST_ID + serial);
                let (mark, body) = match request {
                    Request::Send(send) => (send.client_msg_id, send.body),
                    Request::Signal(signal) => (signal.call, signal.body),
                    other => panic!("{other:?}"),
                };
                assert_eq!(body.len(), 128);
                let stamp = Stamp { stream: 7, serial, intended_ns };
                assert_eq!(bodies.read(body.as_bytes(), Some(mark.as_bytes())), Reading::Ours(stamp));
                seen += 1;
            })
            .unwrap();
            std::ops::ControlFlow::Continue(())
        };
        Decoder::new().feed(&mut frame, 0, on).unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_patched_frame_is_the_command_that_was_meant() {
        let bodies = Bodies::new(0xfeed_beef, 128);
        for format in Format::ALL {
            let to = || Target { user: "b".into(), ..Target::default() };
            for mut template in [message(format, &bodies, 7, to()).unwrap(), signal(format, &bodies, 7, to()).unwrap()]
            {
                for (serial, time) in [(0, 0), (1, 0xdead_beef_0123), (9_999_999_999, u64::MAX), (42, 7)] {
                    check(format, &mut template, serial, time, &bodies);
                }
            }
        }
    }
}
