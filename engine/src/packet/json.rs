//! The JSON format: text, one object a line.
//!
//! ```text
//! payload = object *( LF object ) [ LF ]        lines of white space alone are passed over
//! object  = {"id":7,"send":{…}}                 an id and exactly one command
//! ```
//!
//! A good command is read once, straight into its type. Only when that fails is the line read again
//! to find its id and what is wrong with it. Nothing here recurses deeper than serde_json's own
//! limit, and what is passed over is passed over without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::errors::ErrorCode;

use super::asked::{Asked, CommandRef, Commanded};
use super::schema::ServerPacket;
use super::{Count, NO_COMMAND, NotTheProtocol, OnCommand, Refusal, SEVERAL_COMMANDS};

/// The commands this version knows, in the order of their tags.
pub(super) const COMMANDS: [&str; 10] =
    ["connect", "send", "ack", "read", "sync", "conversations", "typing", "signal", "ping", "refresh"];

/// Longest unknown name that is told back.
const NAME_SHOWN_BYTES_MAX: usize = 32;

pub(super) fn read_commands<'p>(payload: &'p [u8], on: OnCommand<'_, 'p>) -> Result<(), NotTheProtocol> {
    let mut count = Count::default();
    lines(payload, &mut |line| {
        count.one_more()?;
        on(read_command(line)?);
        Ok(())
    })
}

pub(super) fn decode_server(payload: &[u8], on: &mut dyn FnMut(ServerPacket)) -> Result<(), NotTheProtocol> {
    lines(payload, &mut |line| {
        on(read::<ServerPacket>(line).map_err(|_| NotTheProtocol("not a packet in JSON"))?);
        Ok(())
    })
}

pub(super) fn encode<T: serde::Serialize>(packet: &T, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, packet);
    debug_assert!(written.is_ok(), "strings, integers and maps with string keys always have a JSON form");
}

/// Calls `on` for each line that holds anything.
fn lines<'p>(
    payload: &'p [u8],
    on: &mut dyn FnMut(&'p [u8]) -> Result<(), NotTheProtocol>,
) -> Result<(), NotTheProtocol> {
    // One command a message is the rule, and `contains` looks for its newline a word at a time.
    if !payload.contains(&b'\n') {
        return if blank(payload) { Ok(()) } else { on(payload) };
    }
    payload.split(|byte| *byte == b'\n').filter(|line| !blank(line)).try_for_each(on)
}

fn blank(line: &[u8]) -> bool {
    line.iter().all(|byte| is_space(*byte))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Reads an object. The derived types would also take an array of their fields.
fn read<'de, T: Deserialize<'de>>(line: &'de [u8]) -> Result<T, serde_json::Error> {
    if line.iter().find(|byte| !is_space(**byte)) == Some(&b'{') {
        serde_json::from_slice(line)
    } else {
        Err(serde_json::Error::custom("not an object"))
    }
}

fn read_command(line: &[u8]) -> Result<Result<(u64, Asked<'_>), Refusal>, NotTheProtocol> {
    match read::<CommandRef<'_>>(line).map(CommandRef::single) {
        Ok((id, Commanded::One(asked))) => Ok(Ok((id, asked))),
        Ok(_) => refuse(line, None).map(Err),
        Err(error) => refuse(line, Some(&error)).map(Err),
    }
}

/// Finds out what is wrong with a line that holds no command. Of the line's own text only a short,
/// plain command name is told back.
fn refuse(line: &[u8], error: Option<&serde_json::Error>) -> Result<Refusal, NotTheProtocol> {
    let malformed = |id, detail| Refusal { id, code: ErrorCode::Malformed, detail };
    let Ok(survey) = read::<Survey>(line) else {
        // Well-formed JSON can still defeat a survey, by a number beyond any range for an id.
        return match read::<IgnoredAny>(line) {
            Ok(_) => Ok(malformed(0, Cow::Borrowed("the command cannot be read"))),
            Err(_) => Err(NotTheProtocol("not a JSON object a line")),
        };
    };
    let Survey { id, known, unknown } = survey;
    Ok(match (known, unknown, error) {
        (2.., _, _) => malformed(id, Cow::Borrowed(SEVERAL_COMMANDS)),
        (_, _, Some(error)) => {
            malformed(id, Cow::Owned(format!("a field has the wrong type or stands twice, at byte {}", error.column())))
        }
        (0, Some(name), None) => Refusal { id, code: ErrorCode::UnknownCommand, detail: unknown_command(&name) },
        (_, _, None) => malformed(id, Cow::Borrowed(NO_COMMAND)),
    })
}

fn unknown_command(name: &str) -> Cow<'static, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.len() <= NAME_SHOWN_BYTES_MAX && name.bytes().all(plain) {
        Cow::Owned(format!("unknown command {name}"))
    } else {
        Cow::Borrowed("unknown command")
    }
}

/// A second look at an object: its id, how many known commands it names, and the first other name.
struct Survey {
    id: u64,
    known: u32,
    unknown: Option<String>,
}

impl<'de> Deserialize<'de> for Survey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SurveyVisitor)
    }
}

struct SurveyVisitor;

impl<'de> Visitor<'de> for SurveyVisitor {
    type Value = Survey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Survey, A::Error> {
        let mut survey = Survey { id: 0, known: 0, unknown: None };
        while let Some(name) = map.next_key::<String>()? {
            if name == "id" {
                survey.id = map.next_value::<Id>()?.0;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if COMMANDS.contains(&name.as_str()) {
                survey.known = survey.known.saturating_add(1);
            } else if survey.unknown.is_none() {
                survey.unknown = Some(name);
            }
        }
        Ok(survey)
    }
}

/// An id if it is one, else 0.
struct Id(u64);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl<'de> Visitor<'de> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Id, E> {
        Ok(Id(id))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Id, E> {
        Ok(Id(0))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Id, E> {
        Ok(Id(0))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Id, E> {
        Ok(Id(0))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Id, E> {
        Ok(Id(0))
    }

    fn visit_unit<E: Error>(self) -> Result<Id, E> {
        Ok(Id(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Id, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Id(0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Id, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Id(0))
    }
}
