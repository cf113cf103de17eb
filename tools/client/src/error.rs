//! Why something asked of the client did not succeed.

use ringway_engine::packet::schema::ErrorReply;
use thiserror::Error;

/// Why a send or a call did not succeed. Temporary refusals of sends never show here: the client
/// repeats them.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RequestError {
    /// The server refused; see the table of codes in the protocol's document.
    #[error("refused: {} ({})", .0.message, .0.code)]
    Refused(ErrorReply),
    /// The command does not fit the server's bound; bytes as it would be sent.
    #[error("the message is too large: {0} bytes as sent")]
    TooLarge(usize),
    /// No send without a random id, and the system gave no randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// The answer was not one to this question.
    #[error("the server's answer does not fit the question")]
    Unexpected,
    /// The client has ended. A send may have been stored or not.
    #[error("the client is closed")]
    Closed,
}

/// Why a client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// No URL, or one that is no `ws://` or `wss://` URL.
    #[error("not a WebSocket URL: {0:?}")]
    Url(String),
    /// The device id is not `[A-Za-z0-9_.-]{1,64}`.
    #[error("device: {0}")]
    Device(ringway_engine::ids::IdError),
    /// The system gave no randomness, which jitter and message ids need.
    #[error("the system gives no randomness")]
    Randomness,
}
