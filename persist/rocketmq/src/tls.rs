//! TLS towards name servers and brokers, over the one provider of the project.
//!
//! The client library reads the files at each connect, and tells nobody which one was wrong; so they are read here
//! once before. Neither does it tell why a server took a connection and closed it again, so that is found out here by
//! another handshake.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rocketmq_transport::api::{TlsClientConfig, TlsConfig};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::TlsFiles;
use crate::error::RocketError;
use crate::limits::DIAGNOSIS_MS;

/// What connections are made with.
pub(crate) struct Tls {
    /// What the client library is told; without files, plain TCP.
    pub(crate) transport: TlsConfig,
    /// The same for our own handshakes. None where the system's authorities are trusted, which only the library reads.
    own: Option<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(files: Option<&TlsFiles>) -> Result<Self, RocketError> {
        let own = match files {
            None => Some(client(&TlsFiles::default())?),
            Some(files) => Some(client(files)?).filter(|_| files.authorities.is_some()),
        };
        Ok(Self { transport: config(files)?, own: own.map(Arc::new) })
    }

    /// Why a server that takes connections does not answer the first request on one; none: TLS is not the reason, or
    /// that is not found out in time.
    pub(crate) async fn diagnose(&self, address: &str) -> Option<String> {
        let limit = Duration::from_millis(DIAGNOSIS_MS);
        tokio::time::timeout(limit, self.shake_hands(address)).await.ok().flatten()
    }

    async fn shake_hands(&self, address: &str) -> Option<String> {
        let own = Arc::clone(self.own.as_ref()?);
        let (host, _) = address.rsplit_once(':')?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
        let stream = TcpStream::connect(address).await.ok()?;
        let shaken = TlsConnector::from(own).connect(name, stream).await;
        let error = match (self.transport.enable, shaken) {
            // A server that refuses our certificate says so only now.
            (true, Ok(mut stream)) => stream.read_u8().await.err()?,
            (_, Err(error)) => error,
            (false, Ok(_)) => return Some(PLAIN.to_owned()),
        };
        let why = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        match why {
            // What is no TLS at all.
            rustls::Error::InvalidMessage(_) => None,
            why if self.transport.enable => Some(format!("TLS: {why}")),
            _ => Some(PLAIN.to_owned()),
        }
    }
}

/// What is said where a server's certificate was seen, trusted or not, and TLS is not configured. By default a server
/// speaks both.
const PLAIN: &str = "it speaks TLS, which is not configured here: if it takes nothing else, that is why";

fn config(files: Option<&TlsFiles>) -> Result<TlsConfig, RocketError> {
    // By default it would also heed a file of the machine, which may switch verification off.
    let plain = TlsConfig { config_file: String::new(), ..TlsConfig::default() };
    let Some(files) = files else { return Ok(plain) };
    if CryptoProvider::get_default().is_none() {
        // The client library takes the provider of the process. Lost to somebody who was quicker: theirs is as good.
        drop(ring::default_provider().install_default());
    }
    let client = TlsClientConfig {
        trust_cert_path: files.authorities.as_deref().map(text).transpose()?,
        cert_path: files.client.as_ref().map(|(certificate, _)| text(certificate)).transpose()?,
        key_path: files.client.as_ref().map(|(_, key)| text(key)).transpose()?,
        auth_server: true,
        key_password: None,
    };
    Ok(TlsConfig { enable: true, client, ..plain })
}

fn text(path: &Path) -> Result<String, RocketError> {
    path.to_str().map(str::to_owned).ok_or_else(|| refused(path, "its path is no text"))
}

fn refused(path: &Path, why: impl Display) -> RocketError {
    RocketError::Config(format!("TLS: {}: {why}", path.display()))
}

fn client(files: &TlsFiles) -> Result<ClientConfig, RocketError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| refused(path, error))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| RocketError::Config(format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let Some((path, key)) = &files.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(path)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| refused(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RocketError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = read.map_err(|error| refused(path, error))?;
    if list.is_empty() { Err(refused(path, "it holds no certificate")) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_no_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let certificate = file("certificate.pem", &pem);
        let other = file("other.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
        let authorities = |path: &Path| TlsFiles { authorities: Some(path.to_owned()), client: None };
        let client = |key: &Path| TlsFiles { authorities: None, client: Some((certificate.clone(), key.to_owned())) };
        for (files, named) in [
            (authorities(&folder.path().join("gone.pem")), "gone.pem: "),
            (authorities(&file("empty.pem", "")), "empty.pem: it holds no certificate"),
            (client(&folder.path().join("gone.key")), "gone.key: "),
            (client(&other), "certificate.pem: "),
        ] {
            let error = Tls::new(Some(&files)).err().unwrap().to_string();
            assert!(error.contains("rocketmq: TLS: ") && error.contains(named), "{error}");
        }
        let good =
            TlsFiles { authorities: Some(certificate.clone()), ..client(&file("own.key", &key.serialize_pem())) };
        let config = Tls::new(Some(&good)).unwrap().transport;
        assert!(config.enable && config.client.auth_server && config.config_file.is_empty());
    }

    #[test]
    fn nothing_of_the_machine_is_heeded_without_files_either() {
        let config = Tls::new(None).unwrap().transport;
        assert!(!config.enable && config.config_file.is_empty());
    }
}
