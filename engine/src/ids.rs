//! Identifiers as they appear on the wire: checked once where they enter, cheap to clone after.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::limits::{CLIENT_MSG_ID_BYTES_MAX, DEVICE_ID_BYTES_MAX, MESSAGE_TYPE_BYTES_MAX, UID_BYTES_MAX};

/// Why a string is not the identifier it claims to be. The text is fit for an error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// Empty, or longer than the identifier's bound.
    #[error("{0} is empty or too long")]
    Length(&'static str),
    /// A byte outside of the identifier's alphabet.
    #[error("{0} has a character that is not allowed")]
    Alphabet(&'static str),
    /// A conversation id whose form is none of the known ones.
    #[error("conversation id has no known form")]
    Form,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and alphabet.
            ///
            /// # Errors
            /// [`IdError::Length`] or [`IdError::Alphabet`].
            pub fn parse(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }

            /// As `parse`, for who needs to know no more.
            ///
            /// # Errors
            /// As there.
            pub fn check(text: &str) -> Result<(), IdError> {
                check(text, $what, $max, $allowed)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

impl Uid {
    /// Whether others hold the same text.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

fn check(text: &str, what: &'static str, max: usize, allowed: fn(u8) -> bool) -> Result<(), IdError> {
    if text.is_empty() || text.len() > max {
        return Err(IdError::Length(what));
    }
    if !text.bytes().all(allowed) {
        return Err(IdError::Alphabet(what));
    }
    Ok(())
}

fn lower(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-')
}

fn word(byte: u8) -> bool {
    lower(byte) || byte.is_ascii_uppercase()
}

text_id!(
    /// A user: `[a-z0-9_.-]{1,32}`, chosen at registration.
    Uid, "user id", UID_BYTES_MAX, lower
);
text_id!(
    /// One device of a user: `[A-Za-z0-9_.-]{1,64}`, chosen by the client.
    DeviceId, "device id", DEVICE_ID_BYTES_MAX, word
);
text_id!(
    /// What a message is (`text`, `image`, …): `[a-z0-9_.-]{1,32}`. `system` is the server's own.
    MessageType, "message type", MESSAGE_TYPE_BYTES_MAX, lower
);

/// A client message id: 1 to 64 bytes of UTF-8 without control characters. With conversation and
/// sender it makes a send idempotent.
///
/// # Errors
/// [`IdError::Length`] or [`IdError::Alphabet`].
pub fn check_client_msg_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > CLIENT_MSG_ID_BYTES_MAX {
        return Err(IdError::Length("client message id"));
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Alphabet("client message id"));
    }
    Ok(())
}

/// What a conversation id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationKind<'a> {
    /// `p2p:{lower uid}:{higher uid}`; both are the same for notes to oneself.
    P2p(&'a str, &'a str),
    /// `group:{id}`.
    Group(&'a str),
    /// `sys:{uid}`: notices of the server to one user.
    System(&'a str),
}

/// A conversation: `p2p:{lower uid}:{higher uid}`, `group:{id}` or `sys:{uid}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(Arc<str>);

impl ConversationId {
    /// The conversation between two users, whichever way round they are given.
    #[must_use]
    pub fn p2p(one: &Uid, other: &Uid) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self(format!("p2p:{low}:{high}").into())
    }

    /// The conversation of a group.
    ///
    /// # Errors
    /// The id is not `[a-z0-9_.-]{1,32}`.
    pub fn group(id: &str) -> Result<Self, IdError> {
        Self::check_group(id)?;
        Ok(Self(format!("group:{id}").into()))
    }

    pub(crate) fn check_group(id: &str) -> Result<(), IdError> {
        check(id, "group id", UID_BYTES_MAX, lower)
    }

    /// Checks the form, the alphabet of its parts and, for `p2p`, their order.
    ///
    /// # Errors
    /// Which part is wrong.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match split(text).ok_or(IdError::Form)? {
            ConversationKind::P2p(low, high) => {
                check(low, "user id", UID_BYTES_MAX, lower)?;
                check(high, "user id", UID_BYTES_MAX, lower)?;
                if low > high {
                    return Err(IdError::Form);
                }
            }
            ConversationKind::Group(id) => Self::check_group(id)?,
            ConversationKind::System(uid) => check(uid, "user id", UID_BYTES_MAX, lower)?,
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether others hold the same text.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What the id names.
    #[must_use]
    pub fn kind(&self) -> ConversationKind<'_> {
        // Built only from checked text, so the fallback is never taken.
        split(&self.0).unwrap_or(ConversationKind::Group(""))
    }

    /// Whether both are the same text in memory; two of one text may still be equal.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// True for a `group:` id.
    #[must_use]
    pub fn is_group(&self) -> bool {
        matches!(self.kind(), ConversationKind::Group(_))
    }

    /// Whether the name alone makes `uid` a party: one of the two of a `p2p`, the user of a `sys`.
    /// Says nothing of groups (always false).
    #[must_use]
    pub fn names(&self, uid: &str) -> bool {
        match self.kind() {
            ConversationKind::P2p(low, high) => uid == low || uid == high,
            ConversationKind::System(owner) => uid == owner,
            ConversationKind::Group(_) => false,
        }
    }

    /// A hash that never changes between versions or machines (FNV-1a, 64 bit, finished by the
    /// Murmur3 mixer so that its low bits are usable): it decides home shards and queue numbers.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.0.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ (hash >> 33)
    }

    /// The shard of this node that owns the conversation, among `shards` (at least 1).
    #[must_use]
    pub fn home_shard(&self, shards: usize) -> usize {
        (self.stable_hash() % shards.max(1) as u64) as usize
    }
}

fn split(text: &str) -> Option<ConversationKind<'_>> {
    let (prefix, rest) = text.split_once(':')?;
    match prefix {
        "p2p" => rest.split_once(':').map(|(low, high)| ConversationKind::P2p(low, high)),
        "group" => Some(ConversationKind::Group(rest)),
        "sys" => Some(ConversationKind::System(rest)),
        _ => None,
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for ConversationId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    #[test]
    fn a_pair_has_one_conversation_whoever_asks() {
        let conv = ConversationId::p2p(&uid("bob"), &uid("alice"));
        assert_eq!(conv.as_str(), "p2p:alice:bob");
        assert_eq!(conv, ConversationId::p2p(&uid("alice"), &uid("bob")));
        assert!(conv.names("bob") && !conv.names("eve"));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in ["", "p2p:a", "p2p:b:a", "p2p:a:b:c", "p2p::a", "group:", "group:A", "room:x", "sys:", "group:a\n"]
        {
            assert!(ConversationId::parse(text).is_err(), "{text:?}");
        }
        for text in ["p2p:a:a", "p2p:a:b", "group:g-1", "sys:a"] {
            assert_eq!(ConversationId::parse(text).unwrap().as_str(), text);
        }
        assert!(Uid::parse("Alice").is_err() && Uid::parse(&"a".repeat(33)).is_err());
        assert!(check_client_msg_id("a\u{7}").is_err() && check_client_msg_id("号-1").is_ok());
    }

    #[test]
    fn the_stable_hash_never_changes() {
        assert_eq!(ConversationId::parse("p2p:a:b").unwrap().stable_hash(), 0x4117_c268_2cf9_1d8b);
    }
}
