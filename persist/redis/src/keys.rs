//! Names of keys. What one script touches shares a hash tag, so that it lies in one slot of a cluster.
//!
//! ```text
//! im:epoch                        marker: which epoch this server serves (single, sentinel)
//! im:epoch:{n}                    the same for one slot of a cluster; n is a number that hashes to it
//! im:seq:{conv}                   hash: epoch, head, dense, from, fresh
//! im:holes:{conv}                 list of "first-last", rising: numbers below the head that nobody has
//! im:recent:{conv}                zset seq → sender, newline, encoded event: the unarchived messages
//! im:idem:{conv}:from:client_id   the messages that hold a client message id
//! im:fresh:{uid}                  set: the user's conversations that SQL does not know yet
//! im:cursor:{uid}                 hash "conv device" → "epoch seq": cursors that SQL does not have yet
//! im:read:{uid}                   hash conv → seq: read marks that SQL does not have yet
//! im:dirty                        set: users with such cursors
//! im:route:uid:{uid}              hash device → "expiry node boot session opened class"
//! im:conv:nodes:{conv}            hash "node boot" → "expiry node boot": runs that hold members of a group
//! im:node:{node}                  hash: what a node says of itself
//! im:nodes                        zset node → expiry, to find them by
//! ```

use std::sync::Arc;

use fred::util::redis_keyslot;

/// Slots of a Redis cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// Whose a name is that a walk through all of them has met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Walked<'a> {
    /// The sequence of a conversation.
    Conversation(&'a str),
    /// The cursors of a user.
    User(&'a str),
}

/// Makes the names.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: Arc<str>,
    /// The shortest number that hashes to each slot; empty outside a cluster.
    tags: Arc<[u32]>,
}

impl Keys {
    pub(crate) fn new(prefix: &str, clustered: bool) -> Self {
        let tags = if clustered { slot_tags() } else { Vec::new() };
        Self { prefix: prefix.into(), tags: tags.into() }
    }

    /// The marker that belongs to a conversation's keys.
    pub(crate) fn marker(&self, conv: &str) -> String {
        if self.tags.is_empty() {
            return format!("{}epoch", self.prefix);
        }
        self.slot_marker(redis_keyslot(conv.as_bytes()))
    }

    /// The marker of a slot of a cluster.
    pub(crate) fn slot_marker(&self, slot: u16) -> String {
        let tag = self.tags.get(usize::from(slot)).copied().unwrap_or_default();
        format!("{}epoch:{{{tag}}}", self.prefix)
    }

    /// The one marker of a server outside a cluster.
    pub(crate) fn server_marker(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    pub(crate) fn seq(&self, conv: &str) -> String {
        format!("{}seq:{{{conv}}}", self.prefix)
    }

    pub(crate) fn holes(&self, conv: &str) -> String {
        format!("{}holes:{{{conv}}}", self.prefix)
    }

    pub(crate) fn recent(&self, conv: &str) -> String {
        format!("{}recent:{{{conv}}}", self.prefix)
    }

    pub(crate) fn send(&self, conv: &str, from: &str, client_msg_id: &str) -> String {
        format!("{}idem:{{{conv}}}:{from}:{client_msg_id}", self.prefix)
    }

    pub(crate) fn fresh(&self, uid: &str) -> String {
        format!("{}fresh:{{{uid}}}", self.prefix)
    }

    pub(crate) fn cursors(&self, uid: &str) -> String {
        format!("{}cursor:{{{uid}}}", self.prefix)
    }

    pub(crate) fn reads(&self, uid: &str) -> String {
        format!("{}read:{{{uid}}}", self.prefix)
    }

    pub(crate) fn routes(&self, uid: &str) -> String {
        format!("{}route:uid:{{{uid}}}", self.prefix)
    }

    pub(crate) fn seats(&self, conv: &str) -> String {
        format!("{}conv:nodes:{{{conv}}}", self.prefix)
    }

    pub(crate) fn node(&self, node: &str) -> String {
        format!("{}node:{{{node}}}", self.prefix)
    }

    pub(crate) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// Matches the names of sequences and cursors, and hardly any other.
    pub(crate) fn walked_pattern(&self) -> String {
        let mut pattern = String::new();
        for letter in self.prefix.chars() {
            if "*?[]\\".contains(letter) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "[sc][eu][qr]*"
    }

    /// Whose sequence or cursors have this name.
    pub(crate) fn walked<'a>(&self, name: &'a str) -> Option<Walked<'a>> {
        let name = name.strip_prefix(&*self.prefix)?.strip_suffix('}')?;
        let conversation = name.strip_prefix("seq:{").map(Walked::Conversation);
        conversation.or_else(|| name.strip_prefix("cursor:{").map(Walked::User))
    }

    pub(crate) fn dirty(&self) -> String {
        format!("{}dirty", self.prefix)
    }
}

fn slot_tags() -> Vec<u32> {
    let mut tags: Vec<Option<u32>> = vec![None; usize::from(SLOTS)];
    let mut missing = tags.len();
    let mut number = 0_u32;
    while missing > 0 {
        let slot = usize::from(redis_keyslot(number.to_string().as_bytes()));
        if let Some(tag @ None) = tags.get_mut(slot) {
            *tag = Some(number);
            missing -= 1;
        }
        number += 1;
    }
    tags.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_conversation_share_its_slot() {
        let keys = Keys::new("im:", true);
        for conv in ["p2p:a:b", "group:0123456789", "sys:some.body-1"] {
            let names = [
                keys.marker(conv),
                keys.seq(conv),
                keys.holes(conv),
                keys.recent(conv),
                keys.send(conv, "a", "c-1"),
                keys.send(conv, "", "}{ x"),
            ];
            for name in &names {
                assert_eq!(redis_keyslot(name.as_bytes()), redis_keyslot(conv.as_bytes()), "{name}");
            }
        }
        for slot in 0..SLOTS {
            assert_eq!(redis_keyslot(keys.slot_marker(slot).as_bytes()), slot);
        }
    }

    #[test]
    fn a_walk_knows_whose_a_name_is() {
        let keys = Keys::new("i*[m]:", false);
        assert_eq!(keys.walked_pattern(), "i\\*\\[m\\]:[sc][eu][qr]*");
        assert_eq!(keys.walked(&keys.seq("p2p:a:b")), Some(Walked::Conversation("p2p:a:b")));
        assert_eq!(keys.walked(&keys.cursors("a")), Some(Walked::User("a")));
        for other in [keys.recent("p2p:a:b"), keys.dirty(), keys.reads("a"), "im:seq:{p2p:a:b}".to_owned()] {
            assert_eq!(keys.walked(&other), None, "{other}");
        }
    }

    #[test]
    fn one_server_has_one_marker() {
        let keys = Keys::new("im:", false);
        assert_eq!(keys.marker("p2p:a:b"), "im:epoch");
        assert_eq!(keys.send("p2p:a:b", "a", "c-1"), "im:idem:{p2p:a:b}:a:c-1");
    }
}
