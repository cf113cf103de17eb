//! The greeting over a socket: hellos, then proofs. See `hello` for the drawing. The caller bounds the time; a
//! dropped greeting leaves nothing behind.

use ringway_store::ports::NodeRun;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::error::ConnectionError;
use crate::frame::kind;
use crate::hello::{Hello, NONCE_BYTES, OURS};
use crate::key::{PeerKey, Side, Transcript};
use crate::seal::Seal;
use crate::stream::{FrameReader, write_greeting};

/// A connection on which both sides have proved themselves.
pub(crate) struct Greeted {
    pub(crate) reader: FrameReader<OwnedReadHalf>,
    pub(crate) writer: OwnedWriteHalf,
    /// Who is at the other end.
    pub(crate) peer: NodeRun,
    /// The version agreed on.
    pub(crate) version: u8,
    /// Of the frames sent from here.
    pub(crate) outgoing: Seal,
    /// Of the frames that come.
    pub(crate) incoming: Seal,
}

/// Greets as the side that has opened the connection. `expected` is the run that is meant to listen there.
///
/// # Errors
/// See [`ConnectionError`].
pub(crate) async fn open(
    socket: TcpStream,
    identity: &NodeRun,
    expected: &NodeRun,
    key: &PeerKey,
) -> Result<Greeted, ConnectionError> {
    let (mut reader, mut writer) = halves(socket)?;
    let mine = hello(identity)?;
    write_greeting(&mut writer, kind::HELLO, &mine).await?;
    let theirs = reader.greeting(kind::HELLO).await?;
    let (peer, version) = judge(&theirs)?;
    if peer != *expected {
        return Err(ConnectionError::OtherRun(peer));
    }
    let said = Transcript::new(version, &mine, &theirs);
    write_greeting(&mut writer, kind::PROOF, &key.proof(Side::Opener, &said)).await?;
    let proof = reader.greeting(kind::PROOF).await?;
    if !key.is_proof(Side::Acceptor, &said, &proof) {
        return Err(ConnectionError::Proof);
    }
    Ok(greeted(reader, writer, peer, version, key, Side::Opener, &said))
}

/// Greets as the side that has accepted the connection.
///
/// # Errors
/// See [`ConnectionError`].
pub(crate) async fn accept(socket: TcpStream, identity: &NodeRun, key: &PeerKey) -> Result<Greeted, ConnectionError> {
    let (mut reader, mut writer) = halves(socket)?;
    let theirs = reader.greeting(kind::HELLO).await?;
    let mine = hello(identity)?;
    // Ours is said even when no version is common, so that the log of the other side can name it.
    write_greeting(&mut writer, kind::HELLO, &mine).await?;
    let (peer, version) = judge(&theirs)?;
    let said = Transcript::new(version, &theirs, &mine);
    let proof = reader.greeting(kind::PROOF).await?;
    if !key.is_proof(Side::Opener, &said, &proof) {
        return Err(ConnectionError::Proof);
    }
    write_greeting(&mut writer, kind::PROOF, &key.proof(Side::Acceptor, &said)).await?;
    Ok(greeted(reader, writer, peer, version, key, Side::Acceptor, &said))
}

fn halves(socket: TcpStream) -> Result<(FrameReader<OwnedReadHalf>, OwnedWriteHalf), ConnectionError> {
    // Frames are gathered before they are written; waiting for more would only delay them.
    socket.set_nodelay(true)?;
    let (reader, writer) = socket.into_split();
    Ok((FrameReader::new(reader), writer))
}

fn hello(identity: &NodeRun) -> Result<Vec<u8>, ConnectionError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(Hello { versions: OURS, node: identity.node.clone(), boot: identity.boot, nonce }.encode())
}

fn judge(hello: &[u8]) -> Result<(NodeRun, u8), ConnectionError> {
    let theirs = Hello::decode(hello).ok_or(ConnectionError::Hello)?;
    let refused = ConnectionError::Versions { ours: OURS, theirs: theirs.versions };
    let version = OURS.common(theirs.versions).ok_or(refused)?;
    Ok((NodeRun { node: theirs.node, boot: theirs.boot }, version))
}

fn greeted(
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    peer: NodeRun,
    version: u8,
    key: &PeerKey,
    side: Side,
    said: &Transcript,
) -> Greeted {
    let outgoing = Seal::new(key.frames(side, said));
    let incoming = Seal::new(key.frames(side.other(), said));
    Greeted { reader, writer, peer, version, outgoing, incoming }
}
