//! Who hears whom: pairs and rooms by name.
//!
//! Pure; `M` is what a relay calls a member by.

use std::collections::HashMap;
use std::rc::Rc;

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a pair, by its number.
    Pair(usize),
    /// In a room, by its number.
    Room(usize),
}

/// All pairs and rooms; they are never removed.
#[derive(Debug, Default)]
pub struct Rooms<M> {
    names: HashMap<Vec<u8>, Place>,
    members: Vec<Rc<Vec<M>>>,
}

impl<M: Clone + PartialEq> Rooms<M> {
    /// None yet.
    pub fn new() -> Self {
        Self { names: HashMap::new(), members: Vec::new() }
    }

    /// Takes a member in where its first frame says: `pair:NAME` or `room:NAME`. `None`: it says something else.
    pub fn join(&mut self, says: &[u8], member: M) -> Option<Place> {
        let kind = if says.starts_with(b"pair:") {
            Place::Pair
        } else if says.starts_with(b"room:") {
            Place::Room
        } else {
            return None;
        };
        let place = *self.names.entry(says.to_vec()).or_insert_with(|| {
            self.members.push(Rc::default());
            kind(self.members.len() - 1)
        });
        let (Place::Pair(number) | Place::Room(number)) = place;
        Rc::make_mut(self.members.get_mut(number)?).push(member);
        Some(place)
    }

    /// Everybody there, the one who asks too.
    pub fn members(&self, place: Place) -> &[M] {
        let (Place::Pair(number) | Place::Room(number)) = place;
        self.members.get(number).map_or(&[], |members| members.as_slice())
    }

    /// The same, to be kept while others come and go.
    pub fn snapshot(&self, place: Place) -> Rc<Vec<M>> {
        let (Place::Pair(number) | Place::Room(number)) = place;
        self.members.get(number).cloned().unwrap_or_default()
    }

    /// A member goes.
    pub fn leave(&mut self, place: Place, member: &M) {
        let (Place::Pair(number) | Place::Room(number)) = place;
        if let Some(members) = self.members.get_mut(number) {
            Rc::make_mut(members).retain(|other| other != member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_meet_by_kind_and_name_and_may_leave() {
        let mut rooms = Rooms::new();
        let pair = rooms.join(b"pair:1", 7).unwrap();
        assert_eq!(rooms.join(b"pair:1", 8), Some(pair));
        let room = rooms.join(b"room:1", 9).unwrap();
        assert_eq!((rooms.members(pair), rooms.members(room)), (&[7, 8][..], &[9][..]));
        rooms.leave(pair, &7);
        assert_eq!(rooms.members(pair), [8]);
        assert_eq!(rooms.join(b"hello", 1), None);
    }
}
