//! The names in use on a shard, each held once: a name in a command is looked up here, not copied.
//!
//! Owned by the shard, called on its thread. Invariants: what is given out is what `parse` of the same text would
//! give; no more than `NAMES_MAX` of a kind are held, beyond that a name is parsed anew each time; what nobody else
//! holds is gone with the next sweep.

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;

use crate::ids::{ConversationId, IdError, Uid};
use crate::limits::{NAMES_MAX, UID_BYTES_MAX};

/// Room for any conversation id.
const TEXT_BYTES: usize = 128;
const _: () = assert!(TEXT_BYTES >= "p2p:".len() + UID_BYTES_MAX + ":".len() + UID_BYTES_MAX);

/// The names; see the module's head.
#[derive(Debug, Default)]
pub struct Names {
    conversations: HashSet<ConversationId, RandomState>,
    users: HashSet<Uid, RandomState>,
}

impl Names {
    /// As [`ConversationId::parse`].
    ///
    /// # Errors
    /// As there.
    pub fn conversation(&mut self, text: &str) -> Result<ConversationId, IdError> {
        if let Some(known) = self.conversations.get(text) {
            return Ok(known.clone());
        }
        let conv = ConversationId::parse(text)?;
        if self.conversations.len() < NAMES_MAX {
            self.conversations.insert(conv.clone());
        }
        Ok(conv)
    }

    /// The conversation of a user with another one, whose name is not known to be one yet.
    ///
    /// # Errors
    /// The name is none.
    pub fn p2p(&mut self, one: &Uid, other: &str) -> Result<ConversationId, IdError> {
        Uid::check(other)?;
        let (low, high) = if one.as_str() <= other { (one.as_str(), other) } else { (other, one.as_str()) };
        self.joined(&["p2p:", low, ":", high])
    }

    /// As [`ConversationId::group`].
    ///
    /// # Errors
    /// As there.
    pub fn group(&mut self, id: &str) -> Result<ConversationId, IdError> {
        ConversationId::check_group(id)?;
        self.joined(&["group:", id])
    }

    /// As [`Uid::parse`].
    ///
    /// # Errors
    /// As there.
    pub fn user(&mut self, text: &str) -> Result<Uid, IdError> {
        if let Some(known) = self.users.get(text) {
            return Ok(known.clone());
        }
        let uid = Uid::parse(text)?;
        if self.users.len() < NAMES_MAX {
            self.users.insert(uid.clone());
        }
        Ok(uid)
    }

    /// Forgets the names that are held nowhere else.
    pub fn sweep(&mut self) {
        self.conversations.retain(ConversationId::is_shared);
        self.users.retain(Uid::is_shared);
    }

    fn joined(&mut self, parts: &[&str]) -> Result<ConversationId, IdError> {
        let mut text = SmallVec::<[u8; TEXT_BYTES]>::new();
        parts.iter().for_each(|part| text.extend_from_slice(part.as_bytes()));
        self.conversation(std::str::from_utf8(&text).map_err(|_| IdError::Form)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_parsing_gives_and_is_refused_as_there() {
        let mut names = Names::default();
        let bob = Uid::parse("bob").unwrap();
        for _ in 0..2 {
            assert_eq!(names.p2p(&bob, "alice"), ConversationId::parse("p2p:alice:bob"));
            assert_eq!(names.p2p(&bob, "eve"), ConversationId::parse("p2p:bob:eve"));
            assert_eq!(names.p2p(&bob, "bob"), ConversationId::parse("p2p:bob:bob"));
            assert_eq!(names.group("g"), ConversationId::group("g"));
            assert_eq!(names.conversation("sys:bob"), ConversationId::parse("sys:bob"));
            assert_eq!(names.user("bob"), Uid::parse("bob"));
            let longest = "x".repeat(UID_BYTES_MAX);
            assert_eq!(names.p2p(&bob, &longest), ConversationId::parse(&format!("p2p:bob:{longest}")));
            for bad in ["", "p2p:b:a", "p2p:a:b:c", "group:A", "x"] {
                assert_eq!(names.conversation(bad), ConversationId::parse(bad));
            }
            for bad in ["", "Bob", "a:b", "group:g", &"x".repeat(UID_BYTES_MAX + 1)] {
                assert_eq!(names.user(bad), Uid::parse(bad));
                assert_eq!(names.p2p(&bob, bad).unwrap_err(), Uid::parse(bad).unwrap_err());
                assert_eq!(names.group(bad), ConversationId::group(bad));
            }
        }
    }

    #[test]
    fn a_name_that_nobody_holds_is_forgotten() {
        let mut names = Names::default();
        let held = (names.group("g").unwrap(), names.user("a").unwrap());
        for n in 0..100 {
            names.group(&n.to_string()).unwrap();
            names.user(&n.to_string()).unwrap();
        }
        names.sweep();
        assert_eq!((names.conversations.len(), names.users.len()), (1, 1));
        assert_eq!((names.group("g").unwrap(), names.user("a").unwrap()), held);
    }

    #[test]
    fn no_more_names_are_held_than_the_bound() {
        let mut names = Names::default();
        for n in 0..NAMES_MAX + 10 {
            names.user(&n.to_string()).unwrap();
        }
        assert_eq!(names.users.len(), NAMES_MAX);
        assert_eq!(names.user("last").unwrap().as_str(), "last");
    }
}
