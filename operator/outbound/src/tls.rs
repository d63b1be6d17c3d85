//! TLS as the client of the API server uses it: rustls with ring.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, WantsVersions};

/// Why a bundle of certificate authorities cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCaBundle {
    /// It is no PEM.
    #[error("is not PEM: {0}; give the certificates of the authorities as -----BEGIN CERTIFICATE----- blocks")]
    Syntax(String),
    /// No certificate is in it.
    #[error("contains no certificate; give at least one -----BEGIN CERTIFICATE----- block")]
    Empty,
    /// A certificate in it cannot be used.
    #[error("contains a certificate that cannot be used: {0}")]
    Certificate(String),
}

/// The settings with the public authorities, which are compiled in: the operator's image has no files.
pub(crate) fn public_authorities() -> Arc<ClientConfig> {
    static SETTINGS: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let settings = SETTINGS.get_or_init(|| {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Arc::new(with_roots(roots))
    });
    settings.clone()
}

/// The settings with the authorities in this PEM text, and no others.
pub(crate) fn authorities(pem: &str) -> Result<Arc<ClientConfig>, InvalidCaBundle> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| InvalidCaBundle::Syntax(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| InvalidCaBundle::Certificate(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(InvalidCaBundle::Empty);
    }
    Ok(Arc::new(with_roots(roots)))
}

fn with_roots(roots: RootCertStore) -> ClientConfig {
    let mut settings = builder().with_root_certificates(roots).with_no_client_auth();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    settings
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder: ConfigBuilder<ClientConfig, WantsVersions> =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    builder
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| ClientConfig::builder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        assert_eq!(authorities("").unwrap_err(), InvalidCaBundle::Empty);
        assert_eq!(authorities("no certificate").unwrap_err(), InvalidCaBundle::Empty);
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
        assert!(matches!(authorities(cut).unwrap_err(), InvalidCaBundle::Syntax(_)));
        let other = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            authorities(other).unwrap_err(),
            InvalidCaBundle::Certificate(_)
        ));
    }

    #[test]
    fn the_public_authorities_are_compiled_in() {
        assert!(webpki_roots::TLS_SERVER_ROOTS.len() > 50);
        assert_eq!(public_authorities().alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
