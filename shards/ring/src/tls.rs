//! TLS for the server's side of a connection, without I/O of its own: bytes in, bytes out.
//!
//! A [`TlsConfig`] is loaded off the shards (it reads files) and shared by all of them; to reload, load
//! again and swap the `Arc`: live streams keep the one they began with. A [`TlsStream`] belongs to one
//! connection on one shard. It holds no buffers while nothing is half-way: records are read out of the
//! shard's own read buffer, and only the beginning of a record that has not come whole is kept.
//!
//! ```text
//!            feed                                   take_output
//!  socket ────────▶ ┌───────────┐ ──────────────────────────────▶ socket   (handshake, alerts)
//!                   │ TlsStream │
//!  reader ◀──────── └───────────┘ ◀──────── seal, close_notify ─── writer ──▶ socket
//!            plain
//! ```
//!
//! Invariant: bytes leave in the order in which they were made. After each `feed` send what
//! `take_output` gives, before anything sealed later; `seal` and `close_notify` put it in front by
//! themselves.
//!
//! TLS 1.3, and 1.2 for old clients; ALPN `http/1.1`; no early data (it can be replayed); one ticket for
//! a quick reconnect, sealed by a key of this process, so that no session is kept in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Longest record there is (RFC 8446 §5.2, RFC 5246 §6.2.3): header, plaintext and the most that
/// encryption may add. A peer with more than this half-way is refused.
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2_048;
/// Plaintext of one record.
const FRAGMENT_BYTES_MAX: usize = 16 * 1024;
/// More than any cipher suite adds to a record, header included.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// Why TLS cannot be set up, or why a connection has to be closed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What reading it gave.
        source: io::Error,
    },
    /// A file does not hold what it should, as PEM.
    #[error("{path} holds no {wanted} in PEM form: {reason}", path = .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key cannot be used together.
    #[error("the certificate {certificate} and the key {key} cannot be used: {source}",
        certificate = .certificate.display(), key = .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The peer broke the protocol, or the stream is used before or after its time. Send what
    /// [`TlsStream::take_output`] gives (an alert, if one is due), then close.
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
    /// The peer sent the beginning of a record longer than any record may be.
    #[error("TLS: a record is longer than {RECORD_BYTES_MAX} bytes")]
    RecordTooLong,
}

/// The server's certificate, key and protocol settings.
#[derive(Debug)]
pub struct TlsConfig {
    server: Arc<ServerConfig>,
}

impl TlsConfig {
    /// Reads a certificate chain (server's first) and its private key, both PEM. It blocks: not for a
    /// shard's thread.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong with it, or says that the two do not belong together.
    pub fn load(certificate_path: &Path, key_path: &Path) -> Result<Arc<Self>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&read(certificate_path)?)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|error| pem_error(certificate_path, "certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
            .map_err(|error| pem_error(key_path, "private key", &error))?;
        let server = Self::build(chain, key).map_err(|source| TlsError::Pair {
            certificate: certificate_path.to_owned(),
            key: key_path.to_owned(),
            source,
        })?;
        Ok(Arc::new(Self { server: Arc::new(server) }))
    }

    fn build(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.max_early_data_size = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = ring::Ticketer::new()?;
        server.send_tls13_tickets = 1;
        Ok(server)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

fn pem_error(path: &Path, wanted: &'static str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "there is none".to_owned(),
        // The library's texts may quote the file, which may be a key.
        _ => "it is damaged".to_owned(),
    };
    TlsError::Pem { path: path.to_owned(), wanted, reason }
}

/// The server's end of one TLS connection.
pub struct TlsStream {
    connection: UnbufferedServerConnection,
    /// The beginning of a record; empty, and without memory, most of the time.
    partial: Vec<u8>,
    /// Handshake messages and alerts that are to be sent.
    output: Vec<u8>,
    established: bool,
    peer_closed: bool,
    /// Set by the first error. The connection's idea of where it is in its input does not survive one
    /// (rustls would index past the buffer), so nothing may be given to it any more.
    failed: bool,
}

impl TlsStream {
    /// A stream that waits for the client's first message.
    ///
    /// # Errors
    ///
    /// Only if the configuration contradicts itself, which [`TlsConfig::load`] rules out.
    pub fn new(config: &TlsConfig) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&config.server))?;
        Ok(Self {
            connection,
            partial: Vec::new(),
            output: Vec::new(),
            established: false,
            peer_closed: false,
            failed: false,
        })
    }

    /// Takes bytes from the socket, and appends to `plain` what they carry. `ciphertext` is used as
    /// working space: its content is lost. At most as many bytes are appended as came in.
    ///
    /// Afterwards look at [`TlsStream::take_output`] and [`TlsStream::is_peer_closed`].
    ///
    /// # Errors
    ///
    /// [`TlsError::Protocol`] or [`TlsError::RecordTooLong`]: the connection must be closed.
    pub fn feed(&mut self, ciphertext: &mut [u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        self.check_alive()?;
        let fed = if self.partial.is_empty() {
            self.process(ciphertext, plain).and_then(|used| self.keep(ciphertext.get(used..).unwrap_or_default()))
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(ciphertext);
            self.process(&mut joined, plain).and_then(|used| self.keep(joined.get(used..).unwrap_or_default()))
        };
        self.failed = fed.is_err();
        fed
    }

    /// Appends to `out` what must be sent for the protocol's own sake: handshake messages, alerts.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        if !self.output.is_empty() {
            out.append(&mut self.output);
            self.output = Vec::new();
        }
    }

    /// Whether [`TlsStream::take_output`] would give something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Encrypts `plain` and appends the records to `out`, behind any output that waits.
    ///
    /// # Errors
    ///
    /// When the handshake is not done, or the stream is at its end.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let records = plain.len() / FRAGMENT_BYTES_MAX + 1;
        let room = plain.len() + records * RECORD_OVERHEAD_BYTES;
        self.write(room, out, |traffic, space| traffic.encrypt(plain, space))
    }

    /// Appends to `out` the notice that we send nothing more; then close our side of the socket.
    ///
    /// # Errors
    ///
    /// When the handshake is not done: close the socket without it.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.write(RECORD_OVERHEAD_BYTES, out, |traffic, space| traffic.queue_close_notify(space))
    }

    /// Whether the handshake is done, so that `seal` works.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the peer said that it sends nothing more.
    #[must_use]
    pub fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Works through `incoming` and says how many of its bytes are done with.
    fn process(&mut self, incoming: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, TlsError> {
        let mut used = 0;
        loop {
            let rest = incoming.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let mut idle = false;
            let handled = match state {
                Err(error) => Err(error),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        None => break Ok(()),
                        Some(Err(error)) => break Err(error),
                        Some(Ok(record)) => {
                            discard += record.discard;
                            plain.extend_from_slice(record.payload);
                        }
                    }
                },
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, &mut self.output),
                Ok(ConnectionState::TransmitTlsData(transmitted)) => {
                    // It is in `output`, which leaves before anything that is sealed later.
                    transmitted.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.established = true;
                    idle = true;
                    Ok(())
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    idle = true;
                    Ok(())
                }
                Ok(_) => Err(rustls::Error::General("early data, which was not offered".to_owned())),
            };
            used += discard;
            if let Err(error) = handled {
                self.collect_alert();
                return Err(error.into());
            }
            if idle {
                return Ok(used);
            }
        }
    }

    /// After a failure: takes what was still to be sent, the alert that tells the peer about it last.
    ///
    /// The connection must not look at its input again (it would find the fault a second time, which
    /// rustls takes for a fault of ours), and while it has something to send it does not.
    fn collect_alert(&mut self) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(message)) = self.connection.process_tls_records(&mut []).state else {
                return;
            };
            if encode(message, &mut self.output).is_err() {
                // Without the alert the peer just sees the end.
                return;
            }
        }
    }

    fn check_alive(&self) -> Result<(), TlsError> {
        if self.failed {
            return Err(rustls::Error::General("the stream has failed before".to_owned()).into());
        }
        Ok(())
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        if rest.len() > RECORD_BYTES_MAX {
            return Err(TlsError::RecordTooLong);
        }
        // After the peer's end nothing counts any more.
        self.partial = if self.peer_closed { Vec::new() } else { rest.to_vec() };
        Ok(())
    }

    fn write(
        &mut self,
        room: usize,
        out: &mut Vec<u8>,
        mut into: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        self.check_alive()?;
        self.take_output(out);
        loop {
            // The partial record goes along, because the connection counts from its first byte.
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.partial);
            let step = match state {
                Err(error) => Err(error),
                Ok(ConnectionState::EncodeTlsData(message)) => encode(message, out).map(|()| false),
                Ok(ConnectionState::TransmitTlsData(transmitted)) => {
                    transmitted.done();
                    Ok(false)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    Ok(false)
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => append(traffic, room, out, &mut into).map(|()| true),
                Ok(_) => return Err(rustls::Error::HandshakeNotComplete.into()),
            };
            self.partial.drain(..discard.min(self.partial.len()));
            match step {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error.into());
                }
            }
        }
    }
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsStream")
            .field("established", &self.established)
            .field("peer_closed", &self.peer_closed)
            .field("partial_bytes", &self.partial.len())
            .finish_non_exhaustive()
    }
}

type Traffic<'stream> = rustls::unbuffered::WriteTraffic<'stream, rustls::server::ServerConnectionData>;

/// Lets `into` write up to `room` bytes (or what it says it needs) behind `out`.
fn append(
    mut traffic: Traffic<'_>,
    room: usize,
    out: &mut Vec<u8>,
    into: &mut impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), rustls::Error> {
    let begin = out.len();
    out.resize(begin + room, 0);
    let mut written = into(&mut traffic, out.get_mut(begin..).unwrap_or_default());
    if let Err(EncryptError::InsufficientSize(size)) = &written {
        out.resize(begin + size.required_size, 0);
        written = into(&mut traffic, out.get_mut(begin..).unwrap_or_default());
    }
    out.truncate(begin + written.as_ref().map_or(0, |count| *count));
    written.map(|_| ()).map_err(|_| rustls::Error::EncryptError)
}

fn encode(
    mut message: EncodeTlsData<'_, rustls::server::ServerConnectionData>,
    out: &mut Vec<u8>,
) -> Result<(), rustls::Error> {
    let begin = out.len();
    let mut room = RECORD_BYTES_MAX;
    loop {
        out.resize(begin + room, 0);
        let encoded = message.encode(out.get_mut(begin..).unwrap_or_default());
        out.truncate(begin + encoded.as_ref().map_or(0, |count| *count));
        match encoded {
            Ok(_) => return Ok(()),
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
            Err(_) => return Err(rustls::Error::EncryptError),
        }
    }
}
