//! SIGHUP: what may change does, what may not is named, and a bad file changes nothing.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::tempdir;

use crate::program::Node;

#[test]
fn a_reload_applies_what_may_change_and_names_the_rest() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    let node = Node::start(&folder.path().join("data"), &["--config", file.to_str().unwrap()]);

    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[gateway]\nnode = 5\n").unwrap();
    node.signal(Signal::HUP);
    assert!(node.wait_for_log("need a restart").contains("gateway.node"));
    assert!(node.wait_for_log("configuration reloaded").contains("log.level"));

    std::fs::write(&file, "[log]\nlevl = \"debug\"\n").unwrap();
    node.signal(Signal::HUP);
    assert!(node.wait_for_log("nothing has changed").contains("unknown key log.levl"));
}

#[test]
fn a_renewed_certificate_is_served_after_a_reload() {
    let folder = tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let file = folder.path().join("ringway.toml");
    let text = format!("[tls]\ncert = {:?}\nkey = {:?}\n", certificate.display(), key.display());
    std::fs::write(&file, text.replace("\"\"", "\"")).unwrap();
    let first = make_certificate(&certificate, &key);
    let node = Node::start(&folder.path().join("data"), &["--config", file.to_str().unwrap()]);
    let url = node.url("ws");
    let address = url.strip_prefix("wss://").unwrap().trim_end_matches("/v1/ws");
    assert_eq!(served(address, &first), first);

    let second = make_certificate(&certificate, &key);
    node.signal(Signal::HUP);
    node.wait_for_log("configuration reloaded");
    assert_eq!(served(address, &second), second);

    std::fs::write(&certificate, "no certificate").unwrap();
    node.signal(Signal::HUP);
    assert!(node.wait_for_log("nothing has changed").contains("cert.pem"));
    assert_eq!(served(address, &second), second);
}

fn make_certificate(certificate: &Path, key: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// The certificate that a client which trusts only `trusted` is shown.
fn served(address: &str, trusted: &CertificateDer<'static>) -> CertificateDer<'static> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    connection.peer_certificates().unwrap()[0].clone()
}
