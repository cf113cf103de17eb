//! TLS of the name server and the broker, with others and with each other.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// Files for servers that speak nothing but TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RocketMqTls {
    /// PEM file of the authority that the certificate is from.
    pub authority: PathBuf,
    /// PEM file of the certificate of both servers, for 127.0.0.1. They are each other's clients with it, too.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// Whether clients have to show a certificate of the same authority.
    pub asks_clients: bool,
}

impl RocketMqTls {
    /// What Java is told. Later words win over earlier ones.
    pub(super) fn arguments(&self) -> Vec<String> {
        let (authority, certificate, key) = (self.authority.display(), self.certificate.display(), self.key.display());
        let asked = if self.asks_clients { "require" } else { "none" };
        vec![
            "-Dtls.server.mode=enforcing".to_owned(),
            "-Dtls.test.mode.enable=false".to_owned(),
            format!("-Dtls.server.certPath={certificate}"),
            format!("-Dtls.server.keyPath={key}"),
            format!("-Dtls.server.need.client.auth={asked}"),
            format!("-Dtls.server.authClient={}", self.asks_clients),
            format!("-Dtls.server.trustCertPath={authority}"),
            "-Dtls.enable=true".to_owned(),
            "-Dtls.client.authServer=true".to_owned(),
            format!("-Dtls.client.trustCertPath={authority}"),
            format!("-Dtls.client.certPath={certificate}"),
            format!("-Dtls.client.keyPath={key}"),
        ]
    }

    /// Speaks TLS on a connection to 127.0.0.1.
    pub(super) fn over(&self, stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.authority)? {
            roots.add(certificate?)?;
        }
        let chain = CertificateDer::pem_file_iter(&self.certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&self.key)?)?;
        let connection = ClientConnection::new(Arc::new(config), "127.0.0.1".try_into()?)?;
        Ok(StreamOwned::new(connection, stream))
    }
}
