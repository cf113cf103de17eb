//! The relays' own protocol: the first frame says `pair:NAME` or `room:NAME` and is answered by `ok`; every later
//! frame goes to the partner, or to all others of the room.

use super::{Letter, OnPacket, Protocol, Route, Session, relay_cannot};
use crate::options::Scenario;
use crate::people::Person;
use crate::wire::{Packet, frames};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Floor;

impl Protocol for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn cannot(&self, scenario: Scenario) -> Option<&'static str> {
        relay_cannot(scenario)
    }

    fn upgrade(&self, path: &str, _person: &Person) -> (String, Option<&'static str>) {
        (path.to_owned(), None)
    }

    fn begin(&self, session: &mut Session, out: &mut Vec<u8>) -> bool {
        let says = session.person.channel.replacen('-', ":", 1);
        frames::append(out, frames::TEXT, says.as_bytes());
        false
    }

    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        if session.step > 0 {
            on(&Packet::Signal { from: b"", body: payload }, out);
        } else if payload == b"ok" {
            session.step = 1;
            on(&Packet::Connected, out);
        } else {
            return Err("a relay that does not say ok".to_owned());
        }
        Ok(())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        Route::bare(letter)
    }
}
