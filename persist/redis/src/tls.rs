//! TLS towards the servers, over the one provider of the project.

use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use ringway_store::ports::StoreError;
use rustls::crypto::{CryptoProvider, ring};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::connection::failed;

fn refused(error: impl std::fmt::Display) -> StoreError {
    StoreError::new("redis", format!("TLS: {error}"))
}

/// Reads the files.
pub(crate) fn config(files: &TlsFiles) -> Result<TlsConfig, StoreError> {
    let Some(authorities) = &files.authorities else {
        if files.client.is_none() {
            if CryptoProvider::get_default().is_none() {
                // The client library takes the provider of the process. Lost to somebody who was quicker: theirs is
                // as good.
                drop(ring::default_provider().install_default());
            }
            return TlsConnector::default_rustls().map(TlsConfig::from).map_err(failed);
        }
        return Err(refused("a client certificate needs a file of authorities too"));
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).map_err(refused)? {
        roots.add(certificate.map_err(refused)?).map_err(refused)?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let config = match &files.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_file_iter(chain)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(refused)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(refused)?;
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    Ok(TlsConfig::from(TlsConnector::from(config)))
}
