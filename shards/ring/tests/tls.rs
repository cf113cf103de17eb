//! TLS streams against rustls' own client, byte by byte and over a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Event, Events, accept_one, connect, listen, send, shard};
use proptest::prelude::*;
use ringway_ring::listener::Listener;
use ringway_ring::tls::{TlsConfig, TlsError, TlsStream};
use rustls::client::ClientConnection;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A certificate for `localhost` and its key, in a folder of its own that goes with it.
struct Files {
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
}

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("ringway-ring-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        Self { folder, certificate, key, roots }
    }

    fn load(&self) -> Arc<TlsConfig> {
        TlsConfig::load(&self.certificate, &self.key).unwrap()
    }

    fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&[u8]]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap()
}

/// Everything the client wants to send now.
fn from_client(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives the client bytes, and returns the plaintext in them.
fn to_client(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
        match client.reader().read_to_end(&mut plain) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    Ok(plain)
}

/// Feeds the server in pieces of these sizes, in turn.
fn to_server(server: &mut TlsStream, bytes: &[u8], sizes: &[usize]) -> Result<Vec<u8>, TlsError> {
    let mut plain = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        rest = after;
        server.feed(&mut piece.to_vec(), &mut plain)?;
    }
    Ok(plain)
}

fn shake_hands(server: &mut TlsStream, client: &mut ClientConnection, sizes: &[usize]) {
    let mut rounds = 0;
    while client.is_handshaking() || !server.is_established() {
        let bytes = from_client(client);
        assert!(to_server(server, &bytes, sizes).unwrap().is_empty());
        let mut out = Vec::new();
        server.take_output(&mut out);
        to_client(client, &out).unwrap();
        rounds += 1;
        assert!(rounds < 10, "the handshake does not end: {server:?}");
    }
}

fn pair(files: &Files, version: &'static SupportedProtocolVersion) -> (TlsStream, ClientConnection) {
    (TlsStream::new(&files.load()).unwrap(), client(&Arc::new(files.client(version, &[b"http/1.1"]))))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_both_ways_however_the_records_are_cut(
        old in any::<bool>(),
        sizes in prop::collection::vec(prop_oneof![Just(1_usize), 2_usize..40, 1_000_usize..40_000], 1..6),
        lengths in prop::collection::vec(prop_oneof![0_usize..200, Just(16_384_usize), 16_385_usize..70_000], 1..5),
    ) {
        let files = Files::new();
        let version = if old { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        let (mut server, mut client) = pair(&files, version);
        shake_hands(&mut server, &mut client, &sizes);
        prop_assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
        for (number, length) in lengths.into_iter().enumerate() {
            let message: Vec<u8> = (0..length).map(|index| (index * 31 + number) as u8).collect();
            let mut rest = &message[..];
            let mut arrived = Vec::new();
            while !rest.is_empty() {
                let taken = client.writer().write(rest).unwrap();
                rest = &rest[taken..];
                arrived.extend(to_server(&mut server, &from_client(&mut client), &sizes).unwrap());
            }
            prop_assert!(arrived == message, "{} of {length} bytes", arrived.len());
            let mut out = Vec::new();
            server.seal(&message, &mut out).unwrap();
            prop_assert!(to_client(&mut client, &out).unwrap() == message);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_and_nothing_of_its_record_is_believed(at in 5_usize..60, flip in 1_u8..=255) {
        let files = Files::new();
        let (mut server, mut client) = pair(&files, &rustls::version::TLS13);
        shake_hands(&mut server, &mut client, &[4_096]);
        client.writer().write_all(&[7; 60]).unwrap();
        let mut bytes = from_client(&mut client);
        bytes[at] ^= flip;
        let mut plain = Vec::new();
        let refused = server.feed(&mut bytes, &mut plain);
        prop_assert!(matches!(refused, Err(TlsError::Protocol(_))) && plain.is_empty());
        let mut alert = Vec::new();
        server.take_output(&mut alert);
        prop_assert!(matches!(to_client(&mut client, &alert), Err(rustls::Error::AlertReceived(_))));
        check_failed(&mut server);
    }
}

/// What a stream must do once it has refused its peer.
fn check_failed(server: &mut TlsStream) {
    assert!(server.feed(&mut [0x16, 3, 3, 0, 1, 0], &mut Vec::new()).is_err());
    assert!(server.seal(b"secret", &mut Vec::new()).is_err());
    assert!(server.close_notify(&mut Vec::new()).is_err());
}

/// Records of any kind around pieces of handshake messages, so that bytes get past the first check.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![6 => Just(0x16_u8), 1 => Just(0x14), 1 => Just(0x15), 1 => Just(0x17), 1 => any::<u8>()];
    let message = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..40),
        3 => (0_u8..40).prop_map(|length| vec![1, 0, 0, length]),
        1 => Just(vec![1, 0]),
    ];
    let record = (kind, message, any::<bool>()).prop_map(|(kind, message, whole)| {
        let mut bytes = vec![kind, 3, 3, 0, message.len() as u8 + u8::from(!whole)];
        bytes.extend(message);
        bytes
    });
    prop::collection::vec(record, 0..8).prop_map(|records| records.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_are_refused_and_the_stream_stays_refused(
        records in records(),
        tail in prop::collection::vec(any::<u8>(), 0..1_000),
        sizes in prop::collection::vec(1_usize..700, 1..4),
    ) {
        thread_local!(static CONFIG: Arc<TlsConfig> = Files::new().load());
        let mut server = TlsStream::new(&CONFIG.with(Arc::clone)).unwrap();
        match to_server(&mut server, &[records, tail].concat(), &sizes) {
            Ok(plain) => {
                prop_assert!(plain.is_empty());
                prop_assert!(server.seal(b"secret", &mut Vec::new()).is_err());
            }
            Err(_) => check_failed(&mut server),
        }
        prop_assert!(!server.is_established());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_breaks_its_handshake_anywhere_is_refused_or_waited_for(
        old in any::<bool>(),
        flight in 0_usize..2,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1_usize..400, 1..4),
    ) {
        thread_local!(static SET_UP: (Files, Arc<TlsConfig>) = {
            let files = Files::new();
            let config = files.load();
            (files, config)
        });
        let version = if old { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
        let (mut server, mut client) = SET_UP.with(|(files, config)| {
            let client = client(&Arc::new(files.client(version, &[b"http/1.1"])));
            (TlsStream::new(config).unwrap(), client)
        });
        let mut bytes = from_client(&mut client);
        if flight == 1 {
            to_server(&mut server, &bytes, &sizes).unwrap();
            let mut out = Vec::new();
            server.take_output(&mut out);
            to_client(&mut client, &out).unwrap();
            bytes = from_client(&mut client);
        }
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if to_server(&mut server, &bytes, &sizes).is_err() {
            check_failed(&mut server);
        }
    }
}

#[test]
fn a_handshake_message_cut_over_records_and_then_broken_off_is_refused() {
    let files = Files::new();
    let begun = [0x16, 3, 1, 0, 4, 1, 0, 16, 0];
    for broken in
        [&[0xff, 3, 3, 0, 1, 0][..], &[0x17, 3, 3, 0, 1, 0], &[0x16, 3, 3, 0xff, 0xff], &[0x15, 3, 3, 0, 2, 2, 40]]
    {
        for sizes in [[1], [64]] {
            let mut server = TlsStream::new(&files.load()).unwrap();
            let refused = to_server(&mut server, &[&begun, broken].concat(), &sizes);
            assert!(matches!(refused, Err(TlsError::Protocol(_))), "{refused:?}");
            check_failed(&mut server);
        }
    }
}

#[test]
fn no_more_than_one_record_is_kept_for_a_handshake_that_does_not_end() {
    let mut server = TlsStream::new(&Files::new().load()).unwrap();
    let mut bytes = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
    bytes.resize(5 + 16_384, 0);
    let refused = to_server(&mut server, &bytes.repeat(3), &[1_000]);
    assert!(matches!(refused, Err(TlsError::RecordTooLong)), "{refused:?}");
    check_failed(&mut server);
}

#[test]
fn each_side_tells_the_other_that_it_is_done() {
    let files = Files::new();
    let (mut server, mut client) = pair(&files, &rustls::version::TLS13);
    shake_hands(&mut server, &mut client, &[4_096]);
    let mut out = Vec::new();
    server.seal(b"bye", &mut out).unwrap();
    server.close_notify(&mut out).unwrap();
    client.read_tls(&mut &out[..]).unwrap();
    assert!(client.process_new_packets().unwrap().peer_has_closed());
    assert!(!server.is_peer_closed());
    client.writer().write_all(b"bye too").unwrap();
    client.send_close_notify();
    let plain = to_server(&mut server, &from_client(&mut client), &[3]).unwrap();
    assert_eq!(plain, b"bye too");
    assert!(server.is_peer_closed());
}

#[test]
fn a_client_that_speaks_no_http_1_is_told_so_by_an_alert() {
    let files = Files::new();
    let mut server = TlsStream::new(&files.load()).unwrap();
    let mut client = client(&Arc::new(files.client(&rustls::version::TLS13, &[b"h2"])));
    let refused = to_server(&mut server, &from_client(&mut client), &[4_096]);
    assert!(matches!(refused, Err(TlsError::Protocol(_))), "{refused:?}");
    let mut alert = Vec::new();
    server.take_output(&mut alert);
    let told = to_client(&mut client, &alert).unwrap_err();
    assert!(matches!(told, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)), "{told}");
}

#[test]
fn a_second_connection_resumes_with_its_ticket() {
    let files = Files::new();
    let server_config = files.load();
    let client_config = Arc::new(files.client(&rustls::version::TLS13, &[b"http/1.1"]));
    let connect = || {
        let (mut server, mut client) = (TlsStream::new(&server_config).unwrap(), client(&client_config));
        shake_hands(&mut server, &mut client, &[4_096]);
        // The ticket comes behind the handshake, in front of the first bytes.
        let mut out = Vec::new();
        server.seal(b"hello", &mut out).unwrap();
        assert_eq!(to_client(&mut client, &out).unwrap(), b"hello");
        client.handshake_kind().unwrap()
    };
    assert_eq!(connect(), rustls::HandshakeKind::Full);
    assert_eq!(connect(), rustls::HandshakeKind::Resumed);
}

#[test]
fn a_configuration_that_cannot_work_says_which_file_and_why() {
    let files = Files::new();
    let other = Files::new();
    let check = |certificate: &Path, key: &Path, told: &[&str]| {
        let error = TlsConfig::load(certificate, key).unwrap_err().to_string();
        assert!(told.iter().all(|part| error.contains(part)), "{error}");
    };
    let missing = files.folder.join("missing.pem");
    let empty = files.folder.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    check(&missing, &files.key, &["missing.pem", "No such file"]);
    check(&files.certificate, &missing, &["missing.pem", "No such file"]);
    check(&empty, &files.key, &["empty.pem", "no certificate"]);
    check(&files.key, &files.key, &["key.pem", "no certificate"]);
    check(&files.certificate, &files.certificate, &["certificate.pem", "no private key"]);
    check(&files.certificate, &other.key, &["certificate.pem", "key.pem", "cannot be used"]);
}

#[test]
fn an_echo_over_a_socket_comes_back_through_tls() {
    let files = Files::new();
    let config = files.load();
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (events, handler) = Events::new();
        let socket = accept_one(&Listener::new(listener).unwrap(), handler).await;
        let mut stream = TlsStream::new(&config).unwrap();
        let mut plain = Vec::new();
        while let Event::Received(_, mut bytes) = events.next().await {
            stream.feed(&mut bytes, &mut plain).unwrap();
            let mut out = Vec::new();
            stream.take_output(&mut out);
            if !plain.is_empty() {
                stream.seal(&std::mem::take(&mut plain), &mut out).unwrap();
            }
            if stream.is_peer_closed() {
                stream.close_notify(&mut out).unwrap();
            }
            send(&socket, out).await;
        }
    });
    let config = Arc::new(files.client(&rustls::version::TLS13, &[b"http/1.1"]));
    let mut peer = rustls::StreamOwned::new(client(&config), connect(address));
    for length in [1, 100, 20_000, 100_000] {
        let message = vec![length as u8; length];
        peer.write_all(&message).unwrap();
        let mut answer = vec![0; length];
        peer.read_exact(&mut answer).unwrap();
        assert!(answer == message);
    }
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    drop(peer);
    server.join().unwrap();
}
