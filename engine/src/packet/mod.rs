//! Packets of the client protocol.

pub mod schema;

/// How packets are written on a connection, agreed by the WebSocket subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `ringway.v1.json`: text frames, one or more objects split by newline.
    Json,
    /// `ringway.v1.protobuf`: binary frames, varint-delimited messages.
    Protobuf,
}
