//! The JSON protocol of the Centrifuge library: commands and replies, an object a line.
//!
//! ```text
//! connect --reply--> receivers subscribe --reply--> ready
//! ```

use std::borrow::Cow;

use serde::Deserialize;

use super::{Letter, OnPacket, Protocol, Route, Session, relay_cannot};
use crate::options::Scenario;
use crate::people::Person;
use crate::wire::template::{Id, Template};
use crate::wire::{Packet, frames};

const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
/// All publications: ids have 32 bits there, and what the reply says could not be checked anyway.
const PUBLISH: u64 = 3;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Centrifuge;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    push: Option<Push<'a>>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    r#pub: Option<Publication<'a>>,
}

#[derive(Deserialize)]
struct Publication<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Refused {
    code: u32,
}

impl Protocol for Centrifuge {
    fn name(&self) -> &'static str {
        "centrifuge"
    }

    fn cannot(&self, scenario: Scenario) -> Option<&'static str> {
        relay_cannot(scenario)
            .map(|why| if scenario.is_stored() { "the library keeps its history in memory" } else { why })
    }

    fn upgrade(&self, path: &str, _person: &Person) -> (String, Option<&'static str>) {
        (format!("{path}connection/websocket"), None)
    }

    fn begin(&self, _session: &mut Session, out: &mut Vec<u8>) -> bool {
        frames::append(out, frames::TEXT, format!("{{\"id\":{CONNECT},\"connect\":{{}}}}").as_bytes());
        false
    }

    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        for line in payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if line == b"{}" {
                frames::append(out, frames::TEXT, b"{}");
                continue;
            }
            let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("no reply: {error}"))?;
            if let Some(publication) = line.push.and_then(|push| push.r#pub) {
                on(&Packet::Signal { from: b"", body: publication.data.as_bytes() }, out);
            } else if let Some(error) = line.error {
                if line.id != PUBLISH {
                    return Err(format!("refused with code {}", error.code));
                }
                on(&Packet::Error { id: line.id, code: error.code }, out);
            } else if line.id == CONNECT && !session.person.sends {
                let channel = &session.person.channel;
                let command = format!("{{\"id\":{SUBSCRIBE},\"subscribe\":{{\"channel\":\"{channel}\"}}}}");
                frames::append(out, frames::TEXT, command.as_bytes());
            } else if matches!(line.id, CONNECT | SUBSCRIBE) {
                on(&Packet::Connected, out);
            } else {
                on(&Packet::Other, out);
            }
        }
        Ok(())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        let (channel, body) = (&letter.from.channel, letter.bodies.blank(letter.stream));
        let command = format!("{{\"id\":{PUBLISH},\"publish\":{{\"channel\":\"{channel}\",\"data\":\"{body}\"}}}}");
        let mark = letter.bodies.mark(letter.stream);
        let template = Template::new(frames::TEXT, command.as_bytes(), &mark, Id::None)?;
        Ok(Route { template, from: String::new(), conv: String::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{session, take};
    use super::*;

    #[test]
    fn a_receiver_subscribes_and_several_lines_may_be_in_a_frame() {
        let mut receiver = session(false);
        let (packets, said) = take(&Centrifuge, &mut receiver, b"{\"id\":1,\"connect\":{\"client\":\"x\"}}");
        assert_eq!((packets, said.as_str()), (vec![], "{\"id\":2,\"subscribe\":{\"channel\":\"pair-0\"}}"));
        let lines = b"{\"id\":2,\"subscribe\":{}}\n{}\n{\"push\":{\"channel\":\"pair-0\",\"pub\":{\"data\":\"hi\"}}}";
        let (packets, said) = take(&Centrifuge, &mut receiver, lines);
        assert_eq!(packets, ["Connected".to_owned(), format!("{:?}", Packet::Signal { from: b"", body: b"hi" })]);
        assert_eq!(said, "{}");
    }

    #[test]
    fn a_sender_needs_no_subscription_and_hears_of_refusals() {
        let mut sender = session(true);
        assert_eq!(take(&Centrifuge, &mut sender, b"{\"id\":1,\"connect\":{}}").0, ["Connected"]);
        let lines = b"{\"id\":3,\"publish\":{}}\n{\"id\":3,\"error\":{\"code\":103,\"message\":\"no\"}}";
        let (packets, _) = take(&Centrifuge, &mut sender, lines);
        assert_eq!(packets, ["Other".to_owned(), format!("{:?}", Packet::Error { id: 3, code: 103 })]);
    }
}
