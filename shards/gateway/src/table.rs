//! A table of things that come and go, under numbers that are used again.
//!
//! It grows by a chunk at a time: nothing in it ever moves, no table of half the size is left behind in the heap, and
//! at most one chunk is empty beyond what was ever in use. Belongs to one thread.
//!
//! ```text
//!  chunks: [0 … 127] [128 … 255] [256 …        free: 130 ─► 7 ─► none
//! ```

/// Places of a chunk: some tens of kilobytes of what is kept here.
const CHUNK: usize = 128;

/// One place.
#[derive(Debug)]
enum Place<T> {
    Taken(T),
    /// The one that was freed before it.
    Free(Option<u32>),
}

/// The table; see the module's head.
#[derive(Debug)]
pub(crate) struct Table<T> {
    chunks: Vec<Vec<Place<T>>>,
    /// The place that was freed last.
    free: Option<u32>,
    /// Places that were ever in use.
    used: u32,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: None, used: 0, len: 0 }
    }
}

impl<T> Table<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number that the next `insert` gives.
    pub(crate) fn next_slot(&self) -> u32 {
        self.free.unwrap_or(self.used)
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let slot = self.next_slot();
        self.len += 1;
        if let Some(place) = self.place_mut(slot) {
            if let Place::Free(next) = std::mem::replace(place, Place::Taken(value)) {
                self.free = next;
            }
            return slot;
        }
        self.used += 1;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(Place::Taken(value)),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Place::Taken(value));
                self.chunks.push(chunk);
            }
        }
        slot
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        match self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)? {
            Place::Taken(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        match self.place_mut(slot)? {
            Place::Taken(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(slot).filter(|place| matches!(place, Place::Taken(_)))?;
        let Place::Taken(value) = std::mem::replace(place, Place::Free(free)) else { return None };
        self.free = Some(slot);
        self.len -= 1;
        Some(value)
    }

    /// Everything in it, by its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.chunks.iter().flatten()).filter_map(|(slot, place)| match place {
            Place::Taken(value) => Some((slot, value)),
            Place::Free(_) => None,
        })
    }

    fn place_mut(&mut self, slot: u32) -> Option<&mut Place<T>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_before_a_new_one_is_begun() {
        let mut table = Table::default();
        let slots: Vec<u32> = (0..300).map(|value| table.insert(value)).collect();
        assert_eq!(slots, (0..300).collect::<Vec<u32>>());
        assert_eq!((table.remove(7), table.remove(130), table.remove(130)), (Some(7), Some(130), None));
        assert_eq!((table.len(), table.get(7), table.get(8)), (298, None, Some(&8)));
        assert_eq!((table.next_slot(), table.insert(1_000), table.insert(1_001)), (130, 130, 7));
        assert_eq!((table.next_slot(), table.insert(1_002)), (300, 300));
        *table.get_mut(7).unwrap() += 1;
        assert_eq!(
            table.iter().filter(|(_, value)| **value >= 1_000).collect::<Vec<_>>(),
            [(7, &1_002), (130, &1_000), (300, &1_002)]
        );
    }
}
