//! What goes wrong, towards the caller and on a connection.

use std::path::PathBuf;

use ringway_store::ports::NodeRun;
use thiserror::Error;

use crate::frame::FrameError;
use crate::hello::Versions;

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the peer key {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too short to be safe, or too long to be a key.
    #[error("a peer key has 32 to 4096 bytes, not {0}")]
    Length(usize),
}

/// Why an ask has no answer. What was asked may have been done all the same, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PeerError {
    /// There is no link to this run: nothing was asked.
    #[error("no link to the node")]
    NoLink,
    /// Too many asks or bytes wait on the link: nothing was asked.
    #[error("the link to the node is too busy")]
    Busy,
    /// Longer than a frame may be: nothing was asked.
    #[error("too long for a frame")]
    TooLong,
    /// No answer in time.
    #[error("the node did not answer in time")]
    TimedOut,
    /// The link broke before the answer came.
    #[error("the link to the node broke")]
    Broken,
    /// The answer is none that this version knows.
    #[error("the node's answer is not understood")]
    NotUnderstood,
}

/// Why a connection ends.
#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    /// The socket's.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
    /// The other end has closed it.
    #[error("closed by the other end")]
    Closed,
    /// The other end has closed it instead of proving itself.
    #[error("closed by the other end during the greeting (is the key the same, and are there too many connections?)")]
    ClosedEarly,
    /// No connection, or no proof, in time.
    #[error("no {0} in time")]
    Late(&'static str),
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Silent,
    /// The other end does not read.
    #[error("a write made no progress for too long")]
    Stuck,
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame with a wrong tag: not said by the peer, or not here and now.
    #[error("a frame is forged or out of its place")]
    Forged,
    /// A frame that has no place where it came.
    #[error("a frame of version {version} and kind {kind} has no place here")]
    Misplaced {
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
    /// A hello that is none.
    #[error("its hello is malformed")]
    Hello,
    /// No version in common.
    #[error("no protocol version in common: here {ours}, there {theirs}")]
    Versions {
        /// What this end speaks.
        ours: Versions,
        /// What the other speaks.
        theirs: Versions,
    },
    /// The other end does not hold the key.
    #[error("its key is another one")]
    Proof,
    /// Another node, or another run, listens there.
    #[error("node {} run {} listens there", .0.node, .0.boot)]
    OtherRun(NodeRun),
    /// More connections than the server's bound.
    #[error("too many connections")]
    TooMany,
    /// This end closes it.
    #[error("closed here")]
    Stopped,
}
