//! Why a connection is closed for what its peer sent, and with which close code.

use thiserror::Error;

/// A breach of RFC 6455 or of a bound. Every one of them closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A reserved bit is set although no extension was agreed.
    #[error("reserved bit set")]
    ReservedBits,
    /// An opcode that the RFC does not define.
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A client's frame without a mask.
    #[error("frame is not masked")]
    Unmasked,
    /// A length in more bytes than it needs, or with its top bit set.
    #[error("malformed frame length")]
    Length,
    /// A control frame without FIN.
    #[error("fragmented control frame")]
    ControlFragmented,
    /// A control frame above 125 bytes.
    #[error("control frame too long")]
    ControlTooLong,
    /// A continuation without a message to continue.
    #[error("continuation of nothing")]
    ContinuationOfNothing,
    /// A new message inside a fragmented one.
    #[error("message inside a message")]
    MessageInMessage,
    /// A close frame with one byte of payload.
    #[error("close frame cut short")]
    CloseCutShort,
    /// A close code that must not be sent.
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// Text or a close reason that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// Too many fragments in one message.
    #[error("too many fragments")]
    TooManyFragments,
    /// More pings than the rate allows.
    #[error("too many pings")]
    TooManyPings,
    /// A message, fragments added up, above the bound.
    #[error("message too big")]
    MessageTooBig,
}

impl ProtocolError {
    /// The code of the close frame that answers it (RFC 6455 §7.4.1): 1002 for a breach of the
    /// protocol, 1007 for bad text, 1008 for a flood, 1009 for size.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::TooManyFragments | Self::TooManyPings => 1008,
            Self::MessageTooBig => 1009,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Length
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::ContinuationOfNothing
            | Self::MessageInMessage
            | Self::CloseCutShort
            | Self::CloseCode(_) => 1002,
        }
    }
}
