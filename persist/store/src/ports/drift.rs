//! Drift: where a shared state that outlives its processes has come apart from SQL, found and repaired.
//!
//! Only a state that is kept elsewhere can drift. One that lives and dies with its process is built anew from SQL and
//! the log at every start, so it has nothing to compare and does not implement this port.
//!
//! ```text
//!   round ──next──► a page looked at ──next──► … ──next──► the last suspects looked at again ──next──► None
//! ```

use async_trait::async_trait;

use super::StoreError;

/// In what state and SQL differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    /// A message that the archive has is held as unarchived: whoever archived it died before it could tell.
    Copy,
    /// The head of a conversation is below the archive's: numbers that are taken would be given out.
    Head,
    /// A number that the archive has is held as a hole: it would be given out again.
    Hole,
    /// What was dense when the epoch began is said to be more than what is dense now.
    Dense,
    /// A number that was given out is neither in the archive, nor held, nor a hole: readers would wait for it for ever.
    Missing,
    /// A number is held by one message in the archive, and by another in the state.
    Taken,
    /// A cursor that nobody carries to SQL: one that SQL does not have, or one below SQL's.
    Cursor,
}

impl DriftKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Copy, Self::Head, Self::Hole, Self::Dense, Self::Missing, Self::Taken, Self::Cursor];

    /// As logs, metrics and reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copies",
            Self::Head => "heads",
            Self::Hole => "holes",
            Self::Dense => "dense",
            Self::Missing => "missing",
            Self::Taken => "taken",
            Self::Cursor => "cursors",
        }
    }
}

/// What was looked at, and repaired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drifted {
    /// Conversations looked at. One that moved between servers may count twice.
    pub conversations: u64,
    /// Users with cursors looked at.
    pub users: u64,
    repaired: [u64; DriftKind::ALL.len()],
}

impl Drifted {
    /// So many were looked at, and nothing was repaired.
    #[must_use]
    pub fn looked_at(conversations: u64, users: u64) -> Self {
        Self { conversations, users, ..Self::default() }
    }

    /// Counts repairs.
    pub fn repair(&mut self, kind: DriftKind, count: u64) {
        if let Some(repaired) = self.repaired.get_mut(kind as usize) {
            *repaired += count;
        }
    }

    /// Repairs of a kind.
    #[must_use]
    pub fn repaired(&self, kind: DriftKind) -> u64 {
        self.repaired.get(kind as usize).copied().unwrap_or_default()
    }

    /// Repairs of all kinds.
    #[must_use]
    pub fn repairs(&self) -> u64 {
        self.repaired.iter().sum()
    }

    /// Adds what another page found.
    pub fn add(&mut self, other: &Self) {
        self.conversations += other.conversations;
        self.users += other.users;
        for kind in DriftKind::ALL {
            self.repair(kind, other.repaired(kind));
        }
    }
}

/// A state that can be compared with SQL.
pub trait Drift: Send + Sync {
    /// Begins a round through all that the state holds. Two rounds at once do no harm.
    fn round(&self) -> Box<dyn DriftRound>;
}

/// A round under way. Dropping it leaves what is not repaired yet to the next one.
#[async_trait]
pub trait DriftRound: Send {
    /// Looks at one page more, or again at what was suspect a while ago, and repairs what has not healed by itself;
    /// `None` when the round is over. What is said of a page is said once: a suspect counts where it is repaired.
    ///
    /// A call may wait some seconds for suspects to come of age. One that is dropped may have repaired something; the
    /// next goes on where it began.
    ///
    /// # Errors
    /// State or SQL could not answer; the same call may be repeated.
    async fn next(&mut self) -> Result<Option<Drifted>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_by_itself() {
        let mut all = Drifted::default();
        for (count, kind) in (1..).zip(DriftKind::ALL) {
            let mut one = Drifted::looked_at(1, 0);
            one.repair(kind, count);
            all.add(&one);
        }
        let counts: Vec<u64> = DriftKind::ALL.into_iter().map(|kind| all.repaired(kind)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((all.conversations, all.repairs()), (7, 28));
    }
}
