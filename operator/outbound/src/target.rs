//! A server that an administrator names, with what a request to it needs.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio_rustls::rustls::ClientConfig;

use crate::secret::{REDACTED, Secret};
use crate::tls::{self, InvalidCaBundle};
use crate::url::Url;

/// How a request proves who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token.
    Bearer(Secret),
    /// User and password (HTTP basic authentication).
    Basic {
        /// The user, which must not contain a colon.
        user: String,
        /// The password.
        password: Secret,
    },
}

impl Credential {
    /// The value of the header `authorization`; none if it has characters that no header may have.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Bearer(token) => format!("Bearer {}", token.expose()),
            Self::Basic { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))
            }
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// A server that an administrator names.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    credential: Option<Credential>,
    tls: Arc<ClientConfig>,
}

impl Target {
    /// A server whose certificate a public authority signed, if its URL is https.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            credential: None,
            tls: tls::public_authorities(),
        }
    }

    /// The same server, with the authorities in this PEM text instead of the public ones.
    pub fn with_ca_bundle(mut self, pem: &str) -> Result<Self, InvalidCaBundle> {
        self.tls = tls::authorities(pem)?;
        Ok(self)
    }

    /// The same server, with a credential that is sent with each request.
    #[must_use]
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// The same server and credential at more path: see [`Url::join`].
    #[must_use]
    pub fn join(&self, path: &str, query: &[(&str, &str)]) -> Self {
        Self {
            url: self.url.join(path, query),
            ..self.clone()
        }
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// A text of the server without the secrets that the request sent to it, printable and of at most `limit` characters.
    pub(crate) fn cleaned(&self, text: &str, limit: usize) -> String {
        let mut text = text.to_owned();
        let header = self.credential.as_ref().and_then(Credential::header);
        let encoded = header.as_ref().and_then(|value| value.to_str().ok()?.split(' ').nth(1));
        let plain = self.credential.as_ref().map(|credential| match credential {
            Credential::Bearer(secret) | Credential::Basic { password: secret, .. } => secret.expose(),
        });
        for secret in self
            .url
            .secrets()
            .chain(encoded)
            .chain(plain)
            .filter(|secret| !secret.is_empty())
        {
            text = text.replace(secret, REDACTED);
        }
        lockkeeper_text::bounded(&text, limit)
    }
}
