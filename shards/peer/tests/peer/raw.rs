//! A peer made by hand from the README's tables, with nothing of the crate in it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ring::hmac;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub(crate) const HELLO: u8 = 1;
pub(crate) const PROOF: u8 = 2;
pub(crate) const NUDGE: u8 = 19;
pub(crate) const PING: u8 = 64;
pub(crate) const SIGNAL: u8 = 65;
pub(crate) const DONE: u8 = 128;
pub(crate) const REFUSED: u8 = 131;
pub(crate) const HEADER: usize = 36;

/// What another release has as its own copy of a nudge.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Nudge {
    uid: String,
    conv: String,
    epoch: u64,
    head: u64,
}

/// The body of a nudge as another release writes it.
pub(crate) fn nudge(head: u64) -> Vec<u8> {
    let nudge = Nudge { uid: "a".into(), conv: "p2p:a:b".into(), epoch: 1, head };
    rkyv::to_bytes::<rkyv::rancor::Error>(&nudge).unwrap().to_vec()
}

/// The version range and the name in a hello.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) lowest: u8,
    pub(crate) highest: u8,
    pub(crate) node: String,
    pub(crate) boot: u64,
}

impl Who {
    pub(crate) fn new(node: &str, boot: u64, lowest: u8, highest: u8) -> Self {
        Self { lowest, highest, node: node.into(), boot }
    }

    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).unwrap();
        let mut body = vec![self.lowest, self.highest];
        body.extend_from_slice(&self.boot.to_le_bytes());
        body.extend_from_slice(&nonce);
        body.push(self.node.len() as u8);
        body.extend_from_slice(self.node.as_bytes());
        body
    }
}

/// A frame with its checksum and this tag.
pub(crate) fn frame(version: u8, kind: u8, request: u64, body: &[u8], tag: [u8; 16]) -> Vec<u8> {
    let mut out = front(version, kind, request, body);
    out.extend_from_slice(&tag);
    out.extend_from_slice(body);
    out
}

fn front(version: u8, kind: u8, request: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![b'R', b'P', version, kind];
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&request.to_le_bytes());
    let summed = [&out[..], body].concat();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &summed) as u32;
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn greeting(kind: u8, body: &[u8]) -> Vec<u8> {
    frame(0, kind, 0, body, [0; 16])
}

/// HMAC-SHA-256 under the shared key of: label, zero, version, and both hellos behind their lengths.
pub(crate) fn derived(key: &[u8], label: &str, version: u8, opener: &[u8], acceptor: &[u8]) -> Vec<u8> {
    let mut bytes = label.as_bytes().to_vec();
    bytes.extend_from_slice(&[0, version]);
    for hello in [opener, acceptor] {
        bytes.extend_from_slice(&(hello.len() as u32).to_le_bytes());
        bytes.extend_from_slice(hello);
    }
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &bytes).as_ref().to_vec()
}

pub(crate) const OPENER_PROOF: &str = "ringway peer proof of the opener";
pub(crate) const ACCEPTOR_PROOF: &str = "ringway peer proof of the acceptor";
const OPENER_FRAMES: &str = "ringway peer frames of the opener";
const ACCEPTOR_FRAMES: &str = "ringway peer frames of the acceptor";

/// A socket before anything is proved.
pub(crate) struct Bare(pub(crate) TcpStream);

impl Bare {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The other end may have closed already; what it does is judged by reading.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next frame: version, kind, request, body.
    pub(crate) async fn read(&mut self) -> io::Result<(u8, u8, u64, Vec<u8>)> {
        let mut header = [0; HEADER];
        self.0.read_exact(&mut header).await?;
        let length = u32::from_le_bytes(header[4..8].try_into().unwrap());
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).await?;
        Ok((header[2], header[3], u64::from_le_bytes(header[8..16].try_into().unwrap()), body))
    }

    pub(crate) async fn read_greeting(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        let (version, found, _, body) = self.read().await?;
        assert_eq!((version, found), (0, kind));
        Ok(body)
    }

    /// Whatever still comes, the other end closes.
    pub(crate) async fn expect_close(mut self, what: &str) {
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(10), self.0.read_to_end(&mut rest)).await;
        // A reset is as good as an end.
        assert!(read.is_ok(), "{what}: the connection is still open");
    }
}

/// A peer that has proved itself.
pub(crate) struct Raw {
    pub(crate) bare: Bare,
    pub(crate) version: u8,
    pub(crate) theirs: Vec<u8>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    sent: u64,
    received: u64,
}

impl Raw {
    /// Opens a connection and greets.
    pub(crate) async fn open(address: SocketAddr, key: &[u8], who: &Who) -> io::Result<Self> {
        let mut bare = Bare::connect(address).await;
        let mine = who.hello();
        bare.write(&greeting(HELLO, &mine)).await;
        let theirs = bare.read_greeting(HELLO).await?;
        let version = who.highest.min(theirs[1]);
        bare.write(&greeting(PROOF, &derived(key, OPENER_PROOF, version, &mine, &theirs))).await;
        let proof = bare.read_greeting(PROOF).await?;
        assert_eq!(proof, derived(key, ACCEPTOR_PROOF, version, &mine, &theirs));
        let outgoing = derived(key, OPENER_FRAMES, version, &mine, &theirs);
        let incoming = derived(key, ACCEPTOR_FRAMES, version, &mine, &theirs);
        Ok(Self { bare, version, theirs, outgoing, incoming, sent: 0, received: 0 })
    }

    /// Accepts a connection and greets.
    pub(crate) async fn accept(listener: &TcpListener, key: &[u8], who: &Who) -> io::Result<Self> {
        let mut bare = Bare(listener.accept().await?.0);
        let theirs = bare.read_greeting(HELLO).await?;
        let mine = who.hello();
        bare.write(&greeting(HELLO, &mine)).await;
        let version = who.highest.min(theirs[1]);
        let proof = bare.read_greeting(PROOF).await?;
        assert_eq!(proof, derived(key, OPENER_PROOF, version, &theirs, &mine));
        bare.write(&greeting(PROOF, &derived(key, ACCEPTOR_PROOF, version, &theirs, &mine))).await;
        let outgoing = derived(key, ACCEPTOR_FRAMES, version, &theirs, &mine);
        let incoming = derived(key, OPENER_FRAMES, version, &theirs, &mine);
        Ok(Self { bare, version, theirs, outgoing, incoming, sent: 0, received: 0 })
    }

    /// The bytes of the next frame, as they would be sent.
    pub(crate) fn sealed(&mut self, version: u8, kind: u8, request: u64, body: &[u8]) -> Vec<u8> {
        let tag = tag(&self.outgoing, self.sent, &front(version, kind, request, body), body);
        self.sent += 1;
        frame(version, kind, request, body, tag)
    }

    /// The same, sealed as the other end seals.
    pub(crate) fn reflected(&self, kind: u8, body: &[u8]) -> Vec<u8> {
        let tag = tag(&self.incoming, self.received, &front(self.version, kind, 0, body), body);
        frame(self.version, kind, 0, body, tag)
    }

    pub(crate) async fn send(&mut self, kind: u8, request: u64, body: &[u8]) {
        let bytes = self.sealed(self.version, kind, request, body);
        self.bare.write(&bytes).await;
    }

    /// The next frame, whose tag must be right: kind, request, body.
    pub(crate) async fn receive(&mut self) -> io::Result<(u8, u64, Vec<u8>)> {
        let mut header = [0; HEADER];
        self.bare.0.read_exact(&mut header).await?;
        let mut body = vec![0; u32::from_le_bytes(header[4..8].try_into().unwrap()) as usize];
        self.bare.0.read_exact(&mut body).await?;
        let (kind, request) = (header[3], u64::from_le_bytes(header[8..16].try_into().unwrap()));
        let wanted = tag(&self.incoming, self.received, &front(self.version, kind, request, &body), &body);
        assert_eq!(header[20..], wanted, "the tag of a frame of kind {kind}");
        self.received += 1;
        Ok((kind, request, body))
    }
}

fn tag(key: &[u8], number: u64, front: &[u8], body: &[u8]) -> [u8; 16] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let whole = hmac::sign(&key, &[&number.to_le_bytes(), front, body].concat());
    whole.as_ref()[..16].try_into().unwrap()
}
