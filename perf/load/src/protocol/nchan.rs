//! nchan: a channel has a WebSocket to publish by, `/pub/NAME`, and one to receive by, `/sub/NAME`. Each publication
//! is answered with a status, which says nothing that could be checked.

use super::{Letter, OnPacket, Protocol, Route, Session, relay_cannot};
use crate::options::Scenario;
use crate::people::Person;
use crate::wire::Packet;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Nchan;

impl Protocol for Nchan {
    fn name(&self) -> &'static str {
        "nchan"
    }

    fn cannot(&self, scenario: Scenario) -> Option<&'static str> {
        relay_cannot(scenario)
    }

    fn upgrade(&self, path: &str, person: &Person) -> (String, Option<&'static str>) {
        let way = if person.sends { "pub" } else { "sub" };
        (format!("{path}{way}/{}", person.channel), None)
    }

    fn begin(&self, _session: &mut Session, _out: &mut Vec<u8>) -> bool {
        true
    }

    fn take(
        &self,
        session: &mut Session,
        payload: &[u8],
        out: &mut Vec<u8>,
        on: &mut OnPacket<'_>,
    ) -> Result<(), String> {
        let packet = if session.person.sends { Packet::Other } else { Packet::Signal { from: b"", body: payload } };
        on(&packet, out);
        Ok(())
    }

    fn route(&self, letter: &Letter<'_>) -> anyhow::Result<Route> {
        Route::bare(letter)
    }
}
