//! The packets of protocol v1: one set of types for both wire formats.
//!
//! Each type derives its JSON form (serde) and its protobuf form (prost). `proto/ringway/v1.proto`
//! says the same for other languages; a test compares the two, so they cannot drift. A field that is
//! absent reads as its default (0, "", false, empty). JSON leaves defaults out too, except where a
//! reader expects the field always (`seq`, `head`, `more`, …).
//! Unknown fields beside or inside a known command are ignored, so that clients may be newer than
//! servers and servers newer than clients.
//!
//! `Debug` shows the length of tokens and bodies, never the text: packets end up in logs.

mod command;
mod server;

use std::fmt;
use std::marker::PhantomData;

use prost::Message as Prost;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

pub use command::{
    Command, Connect, ListConversations, Point, Read, Refresh, ResumePoint, Send, Signal, Sync, Target, Typing,
};
pub use server::{
    Changed, Connected, Conversation, Conversations, ErrorReply, Kicked, Message, Messages, Receipt, Reconnect, Resync,
    Sent, ServerPacket,
};

/// Nothing.
#[derive(Clone, Copy, PartialEq, Eq, Prost, Serialize, Deserialize)]
pub struct Empty {}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_zero32(value: &u32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// Reads an optional message from a JSON object or `null`. serde's derived structs would also take an
/// array of their fields in order, which would be a second, undocumented wire format.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// Stands for a token or body in `Debug`.
struct Hidden<'a>(&'a str);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// A `u64` as a decimal string, because JavaScript's numbers end at 2^53.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom("expected a decimal string"))
    }
}
