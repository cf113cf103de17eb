//! The bodies of frames: rkyv archives, one type a kind. Pure: knows nothing but their shapes.
//!
//! A type here never changes; a new shape is a new type with a kind of its own, said only to peers of a version that
//! knows it. A message travels as the event that the log keeps, in its own encoding (`ringway_engine::event`).

use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::frame::kind;

/// Why a body is none. The frame around it was whole, so the connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// A kind of a later version.
    #[error("kind {0} is not known here")]
    Unknown(u8),
    /// Not what the kind says.
    #[error("a body of kind {0} is malformed")]
    Malformed(u8),
}

/// Kind 16.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct DeliverV1 {
    pub(crate) conv: String,
    pub(crate) epoch: u64,
    pub(crate) items: Vec<DeliverItemV1>,
}

/// One item of kind 16.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct DeliverItemV1 {
    pub(crate) seq: u64,
    /// `ringway_engine::event`.
    pub(crate) event: Vec<u8>,
}

/// Kind 17.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct TransientV1 {
    pub(crate) to: TransientToV1,
    pub(crate) json: Vec<u8>,
    pub(crate) protobuf: Vec<u8>,
}

/// In kind 17.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) enum TransientToV1 {
    Users(Vec<String>),
    Group(String),
}

/// Kind 18.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct KickV1 {
    pub(crate) session: u64,
    pub(crate) reason: String,
}

/// Kind 19.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct NudgeV1 {
    pub(crate) uid: String,
    pub(crate) conv: String,
    pub(crate) epoch: u64,
    pub(crate) head: u64,
}

/// Kind 65.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) enum SignalV1 {
    MembersAdded { conv: String, uids: Vec<String> },
    MembersRemoved { conv: String, uids: Vec<String> },
    SessionRevoked { sid: String, until_ms: u64 },
}

/// Kind 67.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct SubmitV1 {
    pub(crate) conv: String,
    pub(crate) client_msg_id: String,
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// Kind 129.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct SentV1 {
    pub(crate) conv: String,
    pub(crate) msg_id: u64,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) ts: u64,
}

macro_rules! bodies {
    ($($variant:ident($shape:ty) = $kind:ident;)*; $($empty:ident = $empty_kind:ident;)*) => {
        /// A body by its kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Body { $($variant($shape),)* $($empty,)* }

        impl Body {
            /// Its kind.
            pub(crate) fn kind(&self) -> u8 {
                match self { $(Self::$variant(_) => kind::$kind,)* $(Self::$empty => kind::$empty_kind,)* }
            }

            /// Its bytes.
            pub(crate) fn encode(&self) -> AlignedVec {
                match self {
                    $(Self::$variant(shape) => rkyv::to_bytes::<rancor::Error>(shape),)*
                    $(Self::$empty => Ok(AlignedVec::new()),)*
                }
                // Writing strings and integers into memory has no way to fail.
                .unwrap_or_else(|_| AlignedVec::new())
            }

            /// The body of a kind; `bytes` are aligned as an archive wants it.
            ///
            /// # Errors
            /// See [`BodyError`].
            pub(crate) fn decode(kind: u8, bytes: &AlignedVec) -> Result<Self, BodyError> {
                match kind {
                    $(kind::$kind => rkyv::from_bytes::<$shape, rancor::Error>(bytes).map(Self::$variant),)*
                    $(kind::$empty_kind if bytes.is_empty() => return Ok(Self::$empty),)*
                    $(kind::$empty_kind => return Err(BodyError::Malformed(kind)),)*
                    _ => return Err(BodyError::Unknown(kind)),
                }
                .map_err(|_| BodyError::Malformed(kind))
            }
        }
    };
}

bodies! {
    Deliver(DeliverV1) = DELIVER;
    Transient(TransientV1) = TRANSIENT;
    Kick(KickV1) = KICK;
    Nudge(NudgeV1) = NUDGE;
    Signal(SignalV1) = SIGNAL;
    Submit(SubmitV1) = SUBMIT;
    Trace(u64) = TRACE;
    Online(Vec<String>) = ONLINE;
    Sent(SentV1) = SENT;
    Temporary(String) = TEMPORARY;
    Refused(String) = REFUSED;
    Traced(String) = TRACED;
    AreOnline(Vec<String>) = ARE_ONLINE;
    ;
    Missed = MISSED;
    Ping = PING;
    Resync = RESYNC;
    Done = DONE;
}

/// Bytes as an archive wants them, in a buffer that is used again.
pub(crate) fn align<'a>(scratch: &'a mut AlignedVec, bytes: &[u8]) -> &'a AlignedVec {
    scratch.clear();
    scratch.extend_from_slice(bytes);
    scratch
}
