//! nats-server: its text protocol in binary WebSocket frames, whose borders mean nothing.
//!
//! Not stored: a channel is a subject. Stored: a channel is a stream of its own on files, whose one consumer pushes to
//! the receiver and is acknowledged cumulatively; a sender's message is answered once the stream has it.
//!
//! ```text
//! INFO --CONNECT, PING--> PONG --> ready
//!                           \--receiver of a stream: delete, make stream, make consumer, each answered--> ready
//! ```

use serde_json::json;

use super::{Letter, OnPacket, Protocol, Route, Session, others_cannot};
use crate::options::Scenario;
use crate::people::Person;
use crate::wire::body::MARK_BYTES;
use crate::wire::template::{FIRST_ID, Id, Template};
use crate::wire::{Message, Packet, frames};

/// Answers to what a receiver asks of JetStream.
const SETUP_SID: &[u8] = b"9";
/// Deliveries.
const DELIVERY_SID: &[u8] = b"1";
/// An acknowledgement that does not come by then is asked for by delivering again.
const ACK_WAIT_NS: u64 = 300_000_000_000;

/// Steps of a receiver of a stream, each waiting for the answer to what it names.
const DELETING: u32 = 1;
const STREAM: u32 = 2;
const CONSUMER: u32 = 3;
const READY: u32 = 4;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Nats {
    /// By JetStream.
    pub(super) stored: bool,
}

impl Protocol for Nats {
    fn name(&self) -> &'static str {
        if self.stored { "nats-jetstream" } else { "nats" }
    }

    fn cannot(&self, scenario: Scenario) -> Option<&'static str> {
        // A stream's one consumer begins anew with each connection here.
        (scenario == Scenario::OfflineDrain)
            .then_some("what its streams keep for whom is away is not fetched here")
            .or_else(|| others_cannot(scenario))
    }

    fn upgrade(&self, path: &str, _person: &Person) -> (String, Option<&'static str>) {
        (path.to_owned(), None)
    }

    fn begin(&self, _session: &mut Session, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        if session.partial.is_empty() {
            let rest = self.take_all(session, payload, out, on)?;
            session.partial.extend_from_slice(rest);
        } else {
            let mut whole = std::mem::take(&mut session.partial);
            whole.extend_from_slice(payload);
            let kept = self.take_all(session, &whole, out, on)?.len();
            whole.drain(..whole.len() - kept);
            session.partial = whole;
        }
        Ok(())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        let (channel, body) = (&letter.from.channel, letter.bodies.blank(letter.stream));
        let mark = letter.bodies.mark(letter.stream);
        let (reply, id) = if self.stored {
            (format!("{}.{FIRST_ID} ", reply_subject(letter.from)), Id::Decimal)
        } else {
            (String::new(), Id::None)
        };
        let publish = format!("PUB {channel} {reply}{}\r\n{body}\r\n", body.len());
        let template = Template::new(frames::BINARY, publish.as_bytes(), &mark, id)?;
        let conv = if self.stored { channel.clone() } else { String::new() };
        Ok(Route { template, from: String::new(), conv })
    }

    fn append_ack(&self, conv: &[u8], _epoch: u64, seq: u64, out: &mut Vec<u8>) {
        // What a delivery's reply subject would say; stream and consumer are as old as each other.
        let stream = String::from_utf8_lossy(conv);
        let publish = format!("PUB $JS.ACK.{stream}.c.1.{seq}.{seq}.1.0 4\r\n+ACK\r\n");
        frames::append(out, frames::BINARY, publish.as_bytes());
    }
}

/// Where a sender's acknowledgements come.
fn reply_subject(person: &Person) -> String {
    format!("ack.{}", person.uid)
}

impl Nats {
    /// Takes what is whole and answers the rest.
    fn take_all<'a>(
        &self,
        session: &mut Session,
        mut input: &'a [u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<&'a [u8], String> {
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = input.split_at_checked(end + 1).unwrap_or((input, b""));
            let line = line.trim_ascii_end();
            if let Some(head) = line.strip_prefix(b"MSG ") {
                let head = Head::read(head).ok_or("a message without a length")?;
                let Some((payload, rest)) = rest.split_at_checked(head.length + 2) else { return Ok(input) };
                let payload = payload.get(..head.length).unwrap_or_default();
                self.take_message(session, &head, payload, out, on)?;
                input = rest;
                continue;
            }
            if line.starts_with(b"INFO ") {
                self.connect(session, out);
            } else if line == b"PING" {
                frames::append(out, frames::BINARY, b"PONG\r\n");
            } else if line == b"PONG" {
                self.connected(session, out, on);
            } else if line.starts_with(b"-ERR") {
                return Err(String::from_utf8_lossy(line).into_owned());
            }
            input = rest;
        }
        Ok(input)
    }

    fn connect(&self, session: &mut Session, out: &mut Vec<u8>) {
        // The server may tell about itself more than once.
        if session.step > 0 || session.received > 0 {
            return;
        }
        session.received = 1;
        let mut text = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n".to_owned();
        let (person, channel) = (&session.person, &session.person.channel);
        match (self.stored, person.sends) {
            (true, true) => text += &format!("SUB {}.* 1\r\n", reply_subject(person)),
            (true, false) => text += &format!("SUB setup.{channel} 9\r\nSUB to.{channel} 1\r\n"),
            (false, true) => {}
            (false, false) => text += &format!("SUB {channel} 1\r\n"),
        }
        text += "PING\r\n";
        frames::append(out, frames::BINARY, text.as_bytes());
    }

    fn connected(&self, session: &mut Session, out: &mut Vec<u8>, on: &mut OnPacket<'_>) {
        if session.step > 0 {
            return;
        }
        if self.stored && !session.person.sends {
            session.step = DELETING;
            ask(session, &format!("STREAM.DELETE.{}", session.person.channel), "", out);
        } else {
            session.step = READY;
            on(&Packet::Connected, out);
        }
    }

    fn take_message(
        &self,
        session: &mut Session,
        head: &Head<'_>,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        if head.sid == SETUP_SID {
            return set_up(session, payload, out, on);
        }
        if head.sid != DELIVERY_SID {
            return Err("a message of no subscription".to_owned());
        }
        if !self.stored {
            on(&Packet::Signal { from: b"", body: payload }, out);
        } else if session.person.sends {
            let id = head.subject.rsplit(|byte| *byte == b'.').next().and_then(number).ok_or("a receipt of nothing")?;
            match field(payload, b"\"seq\":") {
                Some(seq) => on(&Packet::Sent { id, seq }, out),
                None => on(&Packet::Error { id, code: field(payload, b"\"code\":").unwrap_or(0) as u32 }, out),
            }
        } else {
            // $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM_SEQUENCE.CONSUMER_SEQUENCE.TIME.PENDING
            let mut tokens = head.reply.split(|byte| *byte == b'.').skip(2);
            let conv = tokens.next().unwrap_or_default();
            let seq = tokens.nth(2).and_then(number).ok_or("a delivery without a number")?;
            let client_msg_id = payload.get(..MARK_BYTES).unwrap_or(payload);
            on(&Packet::Message(Message { conv, epoch: 1, seq, from: b"", client_msg_id, body: payload }), out);
        }
        Ok(())
    }
}

fn ask(session: &Session, what: &str, body: &str, out: &mut Vec<u8>) {
    let (channel, length) = (&session.person.channel, body.len());
    let publish = format!("PUB $JS.API.{what} setup.{channel} {length}\r\n{body}\r\n");
    frames::append(out, frames::BINARY, publish.as_bytes());
}

/// The next step of making a stream and its consumer.
fn set_up(session: &mut Session, answer: &[u8], out: &mut Vec<u8>, on: &mut OnPacket<'_>) -> Result<(), String> {
    let answer = String::from_utf8_lossy(answer);
    // What is deleted first need not be there.
    if session.step != DELETING && answer.contains("\"error\"") {
        return Err(format!("JetStream refuses: {answer}"));
    }
    let channel = &session.person.channel;
    session.step += 1;
    match session.step {
        STREAM => {
            let body = json!({"name": channel, "subjects": [channel], "storage": "file", "retention": "limits",
                "discard": "old", "num_replicas": 1, "max_msgs": -1, "max_bytes": -1, "max_age": 0});
            ask(session, &format!("STREAM.CREATE.{channel}"), &body.to_string(), out);
        }
        CONSUMER => {
            let config = json!({"durable_name": "c", "deliver_subject": format!("to.{channel}"), "ack_policy": "all",
                "ack_wait": ACK_WAIT_NS, "max_ack_pending": -1, "deliver_policy": "all", "replay_policy": "instant"});
            let body = json!({"stream_name": channel, "config": config});
            ask(session, &format!("CONSUMER.DURABLE.CREATE.{channel}.c"), &body.to_string(), out);
        }
        _ => on(&Packet::Connected, out),
    }
    Ok(())
}

/// The line before a message.
struct Head<'a> {
    subject: &'a [u8],
    sid: &'a [u8],
    reply: &'a [u8],
    length: usize,
}

impl<'a> Head<'a> {
    /// `SUBJECT SID [REPLY] LENGTH`
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ');
        let (subject, sid, third) = (words.next()?, words.next()?, words.next()?);
        let (reply, length) = words.next().map_or((&b""[..], third), |last| (third, last));
        Some(Self { subject, sid, reply, length: usize::try_from(number(length)?).ok()? })
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn field(json: &[u8], name: &[u8]) -> Option<u64> {
    let at = json.windows(name.len()).position(|window| window == name)? + name.len();
    let digits = json.get(at..)?;
    number(digits.get(..digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len()))?)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{session, take};
    use super::*;

    #[test]
    fn a_receiver_signs_in_and_messages_may_be_cut_anywhere() {
        let text = b"MSG pair-0 1 5\r\nhello\r\nPING\r\nMSG pair-0 1 2\r\n\r\n\r\n";
        for cut in 0..text.len() {
            let mut session = session(false);
            let nats = Nats { stored: false };
            let (_, said) = take(&nats, &mut session, b"INFO {}\r\n");
            assert!(said.ends_with("SUB pair-0 1\r\nPING\r\n"), "{said}");
            assert_eq!(take(&nats, &mut session, b"PONG\r\n").0, ["Connected"]);
            let (mut packets, mut said) = take(&nats, &mut session, &text[..cut]);
            let (more, answer) = take(&nats, &mut session, &text[cut..]);
            packets.extend(more);
            said += &answer;
            let signal = |body: &[u8]| format!("{:?}", Packet::Signal { from: b"", body });
            assert_eq!(packets, [signal(b"hello"), signal(b"\r\n")], "cut at {cut}");
            assert_eq!(said, "PONG\r\n");
        }
    }

    #[test]
    fn a_stream_is_made_and_its_numbers_are_read() {
        let nats = Nats { stored: true };
        let mut receiver = session(false);
        take(&nats, &mut receiver, b"INFO {}\r\n");
        let mut asked = vec![take(&nats, &mut receiver, b"PONG\r\n").1];
        let answer = |text: &str| format!("MSG setup.pair-0 9 {}\r\n{text}\r\n", text.len());
        asked.push(take(&nats, &mut receiver, answer("{\"error\":{}}").as_bytes()).1);
        asked.push(take(&nats, &mut receiver, answer("{}").as_bytes()).1);
        for (asked, what) in asked.iter().zip(["STREAM.DELETE.pair-0", "STREAM.CREATE.pair-0", "CREATE.pair-0.c"]) {
            assert!(asked.contains(what), "{asked}");
        }
        assert_eq!(take(&nats, &mut receiver, answer("{}").as_bytes()).0, ["Connected"]);
        let delivery = b"MSG pair-0 1 $JS.ACK.pair-0.c.1.7.7.1790000000.0 2\r\nhi\r\n";
        assert!(take(&nats, &mut receiver, delivery).0[0].contains("seq: 7"));

        let mut sender = session(true);
        take(&nats, &mut sender, b"INFO {}\r\n");
        take(&nats, &mut sender, b"PONG\r\n");
        for (text, packet) in [
            ("{\"stream\":\"pair-0\",\"seq\":12}", Packet::Sent { id: FIRST_ID + 3, seq: 12 }),
            ("{\"error\":{\"code\":503}}", Packet::Error { id: FIRST_ID + 3, code: 503 }),
        ] {
            let receipt = format!("MSG ack.load-0.{} 1 {}\r\n{text}\r\n", FIRST_ID + 3, text.len());
            assert_eq!(take(&nats, &mut sender, receipt.as_bytes()).0, [format!("{packet:?}")]);
        }
    }
}
