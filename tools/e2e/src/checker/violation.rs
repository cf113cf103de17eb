//! What can be wrong with a history.

use std::fmt;

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Acknowledged and not in the read-back, or in the read-back and never shown to a member's device.
    Lost,
    /// Twice in the read-back, or shown twice on one connection.
    Doubled,
    /// Below one that was shown before, or two numbers exchanged.
    Swapped,
    /// Nobody sent it, or not so.
    Invented,
    /// Shown to somebody who is no member.
    Leaked,
    /// The read-back has a number without a message.
    Hole,
    /// One send has two numbers.
    Renumbered,
    /// Sends of one connection are not in the order in which they went out.
    SenderOrder,
    /// A connection was shown a later one in its place.
    Skipped,
}

/// One breach, with what is needed to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub kind: Kind,
    /// Where.
    pub conv: String,
    /// What, for people.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(kind: Kind, conv: &str, detail: impl fmt::Display) -> Self {
        Self { kind, conv: conv.to_owned(), detail: detail.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}: {}", self.kind, self.conv, self.detail)
    }
}
