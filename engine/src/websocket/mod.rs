//! RFC 6455 for the side that serves: the upgrade request, frames in, frames out.
//!
//! Owns the first bytes a stranger sends. Pure: a connection hands in what its socket read and gets
//! whole messages, or the one error that closes it. Each connection owns one [`Decoder`] on its
//! shard; nothing here is shared, blocks or waits.
//!
//! | File | Holds |
//! |---|---|
//! | `handshake` | the HTTP request that asks for the upgrade, the 101 and every refusal |
//! | `header` | one frame header and everything that can be wrong with it |
//! | `decoder` | messages out of chopped bytes: fragments, UTF-8, ping rate |
//! | `mask` | the XOR of RFC 6455 §5.3 by words |
//! | `frame` | frames that the server (and, for tests, a client) writes |
//! | `protocol_error` | why a connection is closed, and with which code |
//!
//! Invariants:
//! - The same bytes give the same messages and the same error however they were chopped.
//! - Nothing is allocated for a length that a peer only announces: memory follows bytes received,
//!   and those are bounded by [`Limits`]. A decoder between messages holds no heap memory.
//! - A text message is refused at the first byte that no UTF-8 text can have there, not at its end.
//! - After a close frame, an error or a callback's `Break` the decoder takes nothing more.
//!
//! Header bytes are read and written by tungstenite; it checks none of the rules of RFC 6455 §5.2
//! and §5.5 except the opcode, so `header` does. Compression is never agreed (memory, bombs).

mod decoder;
mod frame;
pub mod handshake;
mod header;
mod mask;
mod protocol_error;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Incoming, Limits};
pub use frame::{Opcode, client_frame, close_frame, frame, write_frame_header};
pub use protocol_error::ProtocolError;
