//! Certificates of one cluster, made at its start, and the kubeconfig files that use them.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::json;

/// The certificate authority of one cluster.
#[derive(Debug)]
pub struct Pki {
    ca: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// How a kubeconfig proves who asks.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    Certificate(&'a Identity),
    /// A file that holds a bearer token and is read again when it changes.
    TokenFile(&'a Path),
}

impl Pki {
    pub fn new() -> Result<Self> {
        let mut params = params("lockkeeper-e2e-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("make the authority's key")?;
        let ca = params
            .self_signed(&key)
            .context("sign the authority's certificate")?
            .pem();
        Ok(Self {
            ca,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A client: its user name and one group, such as `system:node:NAME` and `system:nodes`.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = params(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A server under all of `names`, which are DNS names or IP addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Result<Identity> {
        let mut params = params(name, None);
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let with_names = CertificateParams::new(names).with_context(|| format!("names of {name}'s certificate"))?;
        params.subject_alt_names = with_names.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// The kubeconfig text for a client of the API server at `url`.
    pub fn kubeconfig(&self, url: &str, credential: Credential<'_>) -> Result<String> {
        let base64 = |text: &str| ByteString(text.as_bytes().to_vec());
        let user = match credential {
            Credential::Certificate(identity) => json!({
                "client-certificate-data": base64(&identity.certificate),
                "client-key-data": base64(&identity.key),
            }),
            Credential::TokenFile(path) => json!({ "tokenFile": path }),
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "lockkeeper-e2e",
                "cluster": { "server": url, "certificate-authority-data": base64(&self.ca) },
            }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "lockkeeper-e2e", "context": { "cluster": "lockkeeper-e2e", "user": "user" } }],
            "current-context": "lockkeeper-e2e",
        });
        serde_yaml_ng::to_string(&config).context("write the kubeconfig as YAML")
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into `dir`.
    pub fn write(&self, dir: &Path, name: &str) -> Result<()> {
        write_private(&dir.join(format!("{name}.crt")), &self.certificate)?;
        write_private(&dir.join(format!("{name}.key")), &self.key)
    }
}

/// The pair of keys that signs and checks service account tokens, both PEM: private, public.
pub fn token_keys() -> Result<(String, String)> {
    let key = KeyPair::generate().context("make the key of service account tokens")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

fn params(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // The cluster lives for minutes; wide limits forgive a guest whose clock is off.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}
