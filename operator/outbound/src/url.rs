//! The URL of a target, and the part of it that may be shown.

use std::sync::Arc;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a query: RFC 3986's unreserved characters.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// In a path, what the text says stays as it is, except for what would end the path.
const PATH: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'?')
    .add(b'#')
    .add(b'"')
    .add(b'<')
    .add(b'>');
/// Longer URLs are refused.
const MAX_LENGTH: usize = 2048;

/// An absolute URL of scheme http or https, without user and password.
///
/// Shown are scheme, host, port and path, never the query; of a secret URL neither the path.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Arc<Parts>);

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    uri: Uri,
    host: String,
    port: u16,
    is_secret: bool,
}

/// Why a text is no URL that a request can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It cannot be parsed. The text is left out, because it may be a secret.
    #[error("is not a URL; write it as https://HOST[:PORT]/PATH")]
    Syntax,
    /// Another scheme, or none.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// User or password are in it.
    #[error("must not contain a user or a password; give them in the fields for credentials")]
    UserInfo,
    /// It is too long.
    #[error("is longer than {MAX_LENGTH} characters")]
    TooLong,
}

impl Url {
    /// Parses a URL whose path may be shown.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        Self::parsed(text, false)
    }

    /// Parses a URL whose path is a secret, as those of chat services are.
    pub fn secret(text: &str) -> Result<Self, InvalidUrl> {
        Self::parsed(text, true)
    }

    fn parsed(text: &str, is_secret: bool) -> Result<Self, InvalidUrl> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Syntax)?;
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            Some(_) | None => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        // `Authority::port` leaves out what is no port.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            None | Some("" | ":") => default_port,
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| InvalidUrl::Syntax)?,
        };
        if host.is_empty() || port == 0 {
            return Err(InvalidUrl::Syntax);
        }
        let parts = Parts {
            uri,
            host,
            port,
            is_secret,
        };
        Ok(Self(Arc::new(parts)))
    }

    /// This URL with more path and a query. The query's names and values are encoded here; a query that was there before
    /// is dropped.
    #[must_use]
    pub fn join(&self, path: &str, query: &[(&str, &str)]) -> Self {
        let mut text = self.0.uri.path().trim_end_matches('/').to_owned();
        text.push('/');
        text.extend(utf8_percent_encode(path.trim_start_matches('/'), PATH));
        for (index, (name, value)) in query.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.extend(utf8_percent_encode(name, QUERY));
            text.push('=');
            text.extend(utf8_percent_encode(value, QUERY));
        }
        let mut parts = self.0.uri.clone().into_parts();
        // What is encoded can always be parsed; if it could not, the request would go to the URL itself.
        if let Ok(path_and_query) = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)) {
            parts.path_and_query = Some(path_and_query);
        }
        Self(Arc::new(Parts {
            uri: Uri::from_parts(parts).unwrap_or_else(|_| self.0.uri.clone()),
            ..Parts::clone(&self.0)
        }))
    }

    /// Name or address of the host.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port, also if the URL does not name it.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Host and port as the header `host` has them.
    pub(crate) fn authority(&self) -> &str {
        self.0.uri.authority().map_or("", http::uri::Authority::as_str)
    }

    /// What the request line names.
    pub(crate) fn path_and_query(&self) -> &str {
        self.0.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// The parts of this URL that must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let path = Some(self.0.uri.path()).filter(|path| self.0.is_secret && path.len() > 1);
        path.into_iter()
            .chain(self.0.uri.query().filter(|query| !query.is_empty()))
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_https() { "https" } else { "http" };
        let path = if self.0.is_secret { "/…" } else { self.0.uri.path() };
        write!(
            f,
            "{scheme}://{}{}",
            self.authority(),
            lockkeeper_text::bounded(path, 200)
        )
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_its_path_but_neither_its_query_nor_a_secret_path() {
        let url = Url::parse("http://prometheus:9090/api/v1/query?query=up&token=t").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            ["http://prometheus:9090/api/v1/query"; 2].join(" ")
        );
        let url = Url::secret("https://hooks.slack.com/services/T0/B0/x?y=z").unwrap();
        assert_eq!(format!("{url} {url:?}"), ["https://hooks.slack.com/…"; 2].join(" "));
    }

    #[test]
    fn a_text_that_is_no_url_is_refused_without_showing_it() {
        let refused = |text: &str| Url::secret(text).unwrap_err();
        assert_eq!(refused("hunter2 hunter2"), InvalidUrl::Syntax);
        assert_eq!(refused("/services/T0"), InvalidUrl::Scheme);
        assert_eq!(refused("ftp://host/"), InvalidUrl::Scheme);
        assert_eq!(refused("file:///etc/passwd"), InvalidUrl::Syntax);
        assert_eq!(refused("http://admin:hunter2@host/"), InvalidUrl::UserInfo);
        assert_eq!(refused("http://host:99999/"), InvalidUrl::Syntax);
        assert_eq!(refused("http://:80/"), InvalidUrl::Syntax);
        assert_eq!(
            refused(&format!("http://host/{}", "x".repeat(2048))),
            InvalidUrl::TooLong
        );
    }

    #[test]
    fn a_path_and_a_query_are_added_to_the_prefix_of_a_url() {
        let url = Url::parse("https://host/prometheus/").unwrap();
        let joined = url.join("/api/v1/query", &[("query", "up{a=\"b & c\"} > 1"), ("time", "1")]);
        assert_eq!(
            joined.path_and_query(),
            "/prometheus/api/v1/query?query=up%7Ba%3D%22b%20%26%20c%22%7D%20%3E%201&time=1"
        );
        assert_eq!((joined.host(), joined.port()), ("host", 443));
        let bare = Url::parse("http://[::1]:9090").unwrap();
        assert_eq!(bare.join("a b", &[]).path_and_query(), "/a%20b");
        assert_eq!((bare.host(), bare.port()), ("::1", 9090));
    }
}
