//! ejabberd: XMPP over WebSocket, RFC 7395, a stanza a frame; SASL PLAIN; stream management (XEP-0198) of both ends
//! for stored messages.
//!
//! A sender asks `<r/>` after each message; the server answers `<a h=…/>` once it has handled it, archive included.
//! Receivers answer the server's own `<r/>` with what they have received.
//!
//! ```text
//! open --features--> auth --success--> open --features--> bind --result--> [enable --enabled-->] presence --> ready
//! ```

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Letter, OnPacket, Protocol, Route, Session, between, others_cannot};
use crate::http::Http;
use crate::options::Scenario;
use crate::people::Person;
use crate::wire::template::{FIRST_ID, Id, Template};
use crate::wire::{Packet, frames};

/// The server's one domain.
const DOMAIN: &str = "localhost";
const PASSWORD: &str = "ringway-load-password";
const RESOURCE: &str = "load";
/// Stanzas that a sender's stream has counted before its first message: its presence.
const COUNTED_BEFORE: u64 = 1;

/// Steps of signing in, each waiting for what it names.
const FIRST_FEATURES: u32 = 0;
const SUCCESS: u32 = 1;
const FEATURES: u32 = 2;
const BOUND: u32 = 3;
const ENABLED: u32 = 4;
const PRESENT: u32 = 5;
const READY: u32 = 6;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Ejabberd {
    /// In the archive, before it is acknowledged.
    pub(super) stored: bool,
}

impl Protocol for Ejabberd {
    fn name(&self) -> &'static str {
        if self.stored { "ejabberd-archive" } else { "ejabberd" }
    }

    fn cannot(&self, scenario: Scenario) -> Option<&'static str> {
        scenario
            .is_room()
            .then_some("measured as an IM server for messages between two")
            .or_else(|| others_cannot(scenario))
    }

    fn upgrade(&self, path: &str, _person: &Person) -> (String, Option<&'static str>) {
        (if path.is_empty() { "ws".to_owned() } else { path.to_owned() }, Some("xmpp"))
    }

    fn enlist(&self, people: &[Person], api: &str) -> anyhow::Result<()> {
        let api = Http::new(api)?;
        for person in people {
            let account = json!({"user": person.uid, "host": DOMAIN, "password": PASSWORD});
            let (status, answer) = api.post("/api/register", None, &account)?;
            // 409: of an earlier run.
            if !matches!(status, 200 | 409) {
                bail!("{} cannot be registered: HTTP {status}: {answer}", person.uid);
            }
        }
        Ok(())
    }

    fn begin(&self, _session: &mut Session, out: &mut Vec<u8>) -> bool {
        open(out);
        false
    }

    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        let text = std::str::from_utf8(payload).map_err(|_| "a stanza that is no text".to_owned())?;
        if text.starts_with("<close") || text.contains("<stream:error") || text.starts_with("<failure") {
            return Err(format!("closed by the server: {text}"));
        }
        if session.step < READY {
            return self.sign_in(session, text, out, on);
        }
        if text.starts_with("<message") {
            session.received += 1;
            return message(text, out, on);
        }
        if text.starts_with("<a ") {
            let (counted, _) = attribute(text, "h").ok_or("a count without a number")?;
            let counted: u64 = counted.parse().map_err(|_| "a count without a number".to_owned())?;
            let messages = counted.checked_sub(COUNTED_BEFORE).filter(|messages| *messages > 0);
            if let Some(messages) = messages {
                on(&Packet::Sent { id: FIRST_ID + messages - 1, seq: messages }, out);
            }
        } else if text.starts_with("<r ") {
            let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", session.received);
            frames::append(out, frames::TEXT, answer.as_bytes());
        } else {
            // Presence and queries count as stanzas too.
            session.received += u64::from(text.starts_with("<presence") || text.starts_with("<iq"));
            on(&Packet::Other, out);
        }
        Ok(())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        let (to, body) = (&letter.to.uid, letter.bodies.blank(letter.stream));
        let hint = if self.stored { "" } else { "<no-store xmlns='urn:xmpp:hints'/>" };
        let stanza = format!(
            "<message xmlns='jabber:client' type='chat' to='{to}@{DOMAIN}' id='{FIRST_ID}'>{hint}<body>{body}</body>\
             </message>"
        );
        let mark = letter.bodies.mark(letter.stream);
        let template = Template::new(frames::TEXT, stanza.as_bytes(), &mark, Id::Decimal)?;
        let from = letter.from.uid.clone();
        if !self.stored {
            return Ok(Route { template, from, conv: String::new() });
        }
        let template = template.followed_by(frames::TEXT, b"<r xmlns='urn:xmpp:sm:3'/>");
        Ok(Route { template, from, conv: letter.from.channel.clone() })
    }
}

impl Ejabberd {
    fn sign_in(
        &self,
        session: &mut Session,
        text: &str,
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        match session.step {
            FIRST_FEATURES if text.contains("features") => {
                let plain = STANDARD.encode(format!("\0{}\0{PASSWORD}", session.person.uid));
                let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
                frames::append(out, frames::TEXT, auth.as_bytes());
                session.step = SUCCESS;
            }
            SUCCESS if text.starts_with("<success") => {
                open(out);
                session.step = FEATURES;
            }
            FEATURES if text.contains("features") => {
                let bind = format!(
                    "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                     <resource>{RESOURCE}</resource></bind></iq>"
                );
                frames::append(out, frames::TEXT, bind.as_bytes());
                session.step = BOUND;
            }
            BOUND if text.starts_with("<iq") => {
                if !text.contains("result") {
                    return Err(format!("no resource: {text}"));
                }
                if self.stored {
                    frames::append(out, frames::TEXT, b"<enable xmlns='urn:xmpp:sm:3'/>");
                    session.step = ENABLED;
                } else {
                    present(session, out);
                }
            }
            ENABLED if text.starts_with("<enabled") => present(session, out),
            // What was kept while the person was away may come first.
            PRESENT if text.starts_with("<message") => {
                session.received += 1;
                return message(text, out, on);
            }
            PRESENT if text.starts_with("<presence") => {
                session.received += 1;
                session.step = READY;
                on(&Packet::Connected, out);
            }
            PRESENT if text.starts_with("<r ") => {
                let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", session.received);
                frames::append(out, frames::TEXT, answer.as_bytes());
            }
            _ => session.received += u64::from(session.step == PRESENT && !text.starts_with("<a ")),
        }
        Ok(())
    }
}

fn open(out: &mut Vec<u8>) {
    let open = format!("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{DOMAIN}' version='1.0'/>");
    frames::append(out, frames::TEXT, open.as_bytes());
}

fn present(session: &mut Session, out: &mut Vec<u8>) {
    frames::append(out, frames::TEXT, b"<presence xmlns='jabber:client'/>");
    session.step = PRESENT;
}

fn message(text: &str, out: &mut Vec<u8>, on: &mut OnPacket<'_>) -> Result<(), String> {
    let Some((body, _)) = between(text, "<body>", "</body>") else {
        on(&Packet::Other, out);
        return Ok(());
    };
    let (from, _) = attribute(text, "from").ok_or("a message from nobody")?;
    let from = from.split('@').next().unwrap_or_default();
    on(&Packet::Signal { from: from.as_bytes(), body: body.as_bytes() }, out);
    Ok(())
}

/// An attribute's value, whichever quotes stand around it, and what follows.
fn attribute<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    between(text, &format!(" {name}='"), "'").or_else(|| between(text, &format!(" {name}=\""), "\""))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{session, take};
    use super::*;

    #[test]
    fn signing_in_answers_step_by_step() {
        let mut session = session(true);
        let ejabberd = Ejabberd { stored: true };
        for (stanza, answer) in [
            ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", ""),
            ("<stream:features><mechanisms/></stream:features>", "<auth "),
            ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "<open "),
            ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", ""),
            ("<stream:features><bind/></stream:features>", "<iq "),
            ("<iq xmlns='jabber:client' id='bind' type='result'/>", "<enable "),
            ("<enabled xmlns='urn:xmpp:sm:3'/>", "<presence "),
        ] {
            let (packets, said) = take(&ejabberd, &mut session, stanza.as_bytes());
            assert!(packets.is_empty() && said.starts_with(answer), "{stanza}: {said}");
        }
        assert_eq!(take(&ejabberd, &mut session, b"<presence from='load-0@localhost/load'/>").0, ["Connected"]);
    }

    #[test]
    fn messages_and_counts_are_read_in_either_quotes() {
        let mut session = session(true);
        session.step = READY;
        let ejabberd = Ejabberd { stored: true };
        for quote in ["'", "\""] {
            let message = "<message from='a@localhost/load' to='b@localhost'><body>hi</body></message>";
            let (packets, _) = take(&ejabberd, &mut session, message.replace('\'', quote).as_bytes());
            assert_eq!(packets, [format!("{:?}", Packet::Signal { from: b"a", body: b"hi" })]);
            let count = "<a xmlns='urn:xmpp:sm:3' h='4'/>".replace('\'', quote);
            let (packets, _) = take(&ejabberd, &mut session, count.as_bytes());
            assert_eq!(packets, [format!("{:?}", Packet::Sent { id: FIRST_ID + 2, seq: 3 })]);
        }
        let (_, said) = take(&ejabberd, &mut session, b"<r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(said, "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    }
}
