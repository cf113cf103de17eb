//! Epochs: SQL is the authority on which generation of the sequencer is the current one.
//!
//! ```text
//!                  advance(E, servers), by one winner
//!   epoch E ──────────────────────────────────────────► epoch E + 1
//!     │ numbers are given out by the servers recorded       │ a conversation starts at its archived
//!     │ for E, and archived while E is current              │ head, its holes first: `starts`
//!     ▼                                                     ▼
//!   `Archive::commit` of a number of E: written           refused as `CommitError::Stale`,
//!                                                         numbered again under E + 1
//! ```
//!
//! A sequencer whose memory may have been lost or set back (restarted empty, flushed, failed over to a
//! stale replica) gives some numbers a second time. So it serves one epoch only: whoever finds a server
//! that is not the one recorded takes the next epoch, once, by compare-and-set.
//!
//! **Why a number is archived once.** `advance` and the commits of the archive are serialized by the row
//! that holds the current epoch: a commit reads it locked and holds it to its end, `advance` writes it.
//! So what `starts` and `floors` answer after an `advance` has all that will ever be archived under the
//! epochs before it.
//!
//! **Several servers.** In a cluster each conversation is numbered by the master of its slot. There is one
//! epoch for all of them, and what is recorded is the sorted list of the identities of all masters that
//! own slots, each as its adapter writes it. It stays current while every master that serves is in the
//! list (slots that move between them carry their counters along); a master that is not ends it for all
//! conversations, which costs each one look-up at its next message.
//!
//! **Which epoch an archived message is of.** An epoch that begins with holes gives out their numbers first, among
//! numbers that stay from the epoch before. So that places (epoch, number) rise all the same, a message is told to be
//! of the latest epoch that has begun below it, by whoever reads it.
//!
//! Answers are read from the primary: a replica of the database may not know the epoch yet.

use async_trait::async_trait;

use super::StoreError;

/// A generation of the sequencer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// From 1, rising. A fresh store is in epoch 1 with no server: only a sequencer that lives and dies with
    /// this store may number under it.
    pub number: u64,
    /// Which servers give out its numbers, in the words of the adapter that took the epoch.
    pub server: String,
    /// When it was taken, Unix milliseconds. 0 for the first epoch of a fresh store.
    pub started_ms: u64,
}

/// The answer to [`Epochs::advance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advanced {
    /// The caller's epoch: it alone may tell the server so.
    Won(Epoch),
    /// Somebody was faster: theirs is current.
    Lost(Epoch),
}

/// Where the numbers of a conversation go on in an epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Everything up to here is archived: what a reader may see.
    pub dense: u64,
    /// The highest archived number.
    pub head: u64,
    /// Numbers below `head` that no archived message holds, rising. Writers of one conversation archive in an
    /// order of their own, so an epoch may end with some of its higher numbers archived and lower ones not.
    /// They are given out first, so that the archive is dense in the end.
    pub holes: Vec<u64>,
}

/// The authority on epochs, in the same store as the archive.
#[async_trait]
pub trait Epochs: Send + Sync {
    /// The current epoch.
    ///
    /// # Errors
    /// The store could not answer; nothing may be numbered on a server that was not compared.
    async fn current(&self) -> Result<Epoch, StoreError>;

    /// Takes the epoch after `from` for `server`, if `from` is still current. Durable before it returns, and
    /// after every commit of the archive that was under way.
    ///
    /// # Errors
    /// The store could not answer; whether the epoch was taken is not known, and `current` tells.
    async fn advance(&self, from: u64, server: &str) -> Result<Advanced, StoreError>;

    /// Where conversations start in the current epoch, in the order asked; all zero for one without an archived message.
    ///
    /// # Errors
    /// The store could not answer.
    async fn starts(&self, convs: &[&str]) -> Result<Vec<Start>, StoreError>;

    /// For each (conversation, earlier epoch), in the order asked: up to which number a client that has seen
    /// numbers of that epoch, or earlier ones, knows what the archive holds. Numbers above it that it got in that epoch may have
    /// become other messages: it is sent everything above, and drops what it has by message id. For the
    /// current epoch and later ones: `u64::MAX`.
    ///
    /// # Errors
    /// The store could not answer.
    async fn floors(&self, of: &[(&str, u64)]) -> Result<Vec<u64>, StoreError>;
}
