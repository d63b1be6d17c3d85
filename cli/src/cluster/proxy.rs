//! The proxy between the plugin and the API server, chosen as kubectl chooses it.
//!
//! kube's own choice differs from kubectl's: it compares `NO_PROXY` with the proxy instead of the API server, applies it
//! to the kubeconfig's `proxy-url` too, and refuses to run for a comma at its end.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::no_proxy::NoProxy;

/// A proxy, and the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) protocol: Protocol,
    /// Without user and password.
    pub(super) address: Uri,
    credentials: Option<(String, String)>,
    setting: Setting,
}

/// How the plugin asks the proxy for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP CONNECT, over TLS if the address begins with `https`.
    Connect,
    Socks5,
}

/// Where the proxy is set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Setting {
    Kubeconfig,
    Variable(&'static str),
}

impl Proxy {
    /// The proxy for this API server; `None` if the plugin connects to it directly.
    ///
    /// The kubeconfig's `proxy-url` comes before the environment, and only the environment has exceptions.
    pub(super) fn choose(
        proxy_url: Option<&str>,
        server: &Uri,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        if let Some(url) = proxy_url.filter(|url| !url.is_empty()) {
            return Self::parse(url, Setting::Kubeconfig).map(Some);
        }
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = variable(name)?.trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            })
        };
        let names = if server.scheme_str() == Some("http") {
            ["HTTP_PROXY", "http_proxy"]
        } else {
            ["HTTPS_PROXY", "https_proxy"]
        };
        let Some((name, url)) = first(names) else {
            return Ok(None);
        };
        let exceptions =
            first(["NO_PROXY", "no_proxy"]).map_or_else(NoProxy::default, |(_, list)| NoProxy::parse(&list));
        if exceptions.contains(server) {
            return Ok(None);
        }
        Self::parse(&url, Setting::Variable(name)).map(Some)
    }

    fn parse(text: &str, setting: Setting) -> Result<Self, String> {
        let text = text.trim();
        let invalid = |why: &str| format!("{setting}: the proxy's URL {why}, such as http://proxy.example.com:3128");
        // As curl and Go do, so that proxy.example.com:3128 is enough in a variable.
        let url = if text.contains("://") || setting == Setting::Kubeconfig {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url: Uri = url
            .parse()
            .map_err(|_| invalid("is not valid; write SCHEME://HOST:PORT"))?;
        let (scheme, protocol, default_port) = match url.scheme_str() {
            Some("http") => ("http", Protocol::Connect, 80),
            Some("https") => ("https", Protocol::Connect, 443),
            Some("socks5" | "socks5h") => ("socks5", Protocol::Socks5, 1080),
            _ => return Err(invalid("has no supported scheme; write http, https or socks5")),
        };
        let host = url.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid("has no host; write SCHEME://HOST:PORT"))?;
        let port = url.port_u16().unwrap_or(default_port);
        let address = Uri::builder()
            .scheme(scheme)
            .authority(format!("{host}:{port}"))
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
            .map_err(|_| invalid("is not valid; write SCHEME://HOST:PORT"))?;
        let credentials = url.authority().and_then(credentials);
        Ok(Self {
            protocol,
            address,
            credentials,
            setting,
        })
    }

    /// User and password, decoded.
    pub(super) fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }

    /// The header with which the plugin logs in to an HTTP proxy.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.credentials()?;
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        HeaderValue::from_str(&format!("Basic {encoded}")).ok()
    }
}

/// Every error about a proxy, for the reference of messages.
pub(crate) fn error_samples() -> Vec<String> {
    let server = Uri::from_static("https://10.0.0.1:6443");
    let of = |name: &'static str, url: &'static str| {
        let variable = move |asked: &str| (asked == name).then(|| url.to_owned());
        Proxy::choose(None, &server, variable).err()
    };
    let kubeconfig = Proxy::choose(Some("proxy.example.com:3128"), &server, |_| None).err();
    let variables = [
        of("HTTPS_PROXY", "http://a proxy:3128"),
        of("https_proxy", "http://:3128"),
    ];
    kubeconfig.into_iter().chain(variables.into_iter().flatten()).collect()
}

/// User and password of a URL, decoded; neither appears in a message.
fn credentials(authority: &Authority) -> Option<(String, String)> {
    let (user_info, _) = authority.as_str().rsplit_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(user), decoded(password)))
}

/// The address and the setting, for messages.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.to_string();
        write!(f, "proxy {} of {}", address.trim_end_matches('/'), self.setting)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kubeconfig => "proxy-url in the kubeconfig",
            Self::Variable(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(proxy_url: Option<&str>, server: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = Proxy::choose(proxy_url, &server.parse().unwrap(), variable)?;
        Ok(proxy.map(|proxy| proxy.to_string()))
    }

    const SERVER: &str = "https://api.example.com:6443";

    #[test]
    fn the_proxy_of_the_environment_is_used_with_or_without_a_scheme() {
        for (value, address) in [
            ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
            ("proxy.example.com:3128", "http://proxy.example.com:3128"),
            ("proxy.example.com", "http://proxy.example.com:80"),
            ("https://proxy.example.com", "https://proxy.example.com:443"),
            ("socks5h://proxy.example.com", "socks5://proxy.example.com:1080"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ] {
            assert_eq!(
                choose(None, SERVER, &[("HTTPS_PROXY", value)]),
                Ok(Some(format!("proxy {address} of HTTPS_PROXY"))),
                "{value}"
            );
        }
        assert_eq!(
            choose(None, SERVER, &[("HTTPS_PROXY", ""), ("https_proxy", "p:1")]),
            Ok(Some("proxy http://p:1 of https_proxy".to_owned()))
        );
        assert_eq!(choose(None, SERVER, &[("HTTP_PROXY", "p:1")]), Ok(None));
        assert_eq!(choose(None, "http://api:8080", &[("HTTPS_PROXY", "p:1")]), Ok(None));
    }

    #[test]
    fn no_proxy_is_compared_with_the_api_server() {
        let variables = |list| [("HTTPS_PROXY", "http://proxy.example.com:3128"), ("NO_PROXY", list)];
        assert_eq!(choose(None, SERVER, &variables(".example.com,")), Ok(None));
        assert_eq!(choose(None, SERVER, &variables("api.example.com")), Ok(None));
        let proxy = Ok(Some("proxy http://proxy.example.com:3128 of HTTPS_PROXY".to_owned()));
        assert_eq!(choose(None, SERVER, &variables("proxy.example.com")), proxy);
    }

    #[test]
    fn the_kubeconfigs_proxy_comes_first_and_has_no_exceptions() {
        let variables = [("HTTPS_PROXY", "http://other:3128"), ("NO_PROXY", "*")];
        assert_eq!(
            choose(Some("socks5://127.0.0.1:1080"), SERVER, &variables),
            Ok(Some(
                "proxy socks5://127.0.0.1:1080 of proxy-url in the kubeconfig".to_owned()
            ))
        );
    }

    #[test]
    fn user_and_password_are_decoded_and_not_shown() {
        let url = "http://ada:p%40ss@proxy.example.com:3128";
        let proxy = Proxy::choose(Some(url), &SERVER.parse().unwrap(), |_| None)
            .unwrap()
            .unwrap();
        assert_eq!(proxy.credentials(), Some(&("ada".to_owned(), "p@ss".to_owned())));
        assert_eq!(proxy.authorization().unwrap(), "Basic YWRhOnBAc3M=");
        assert!(!proxy.to_string().contains("p%40ss"));
    }

    #[test]
    fn an_invalid_proxy_names_its_setting_and_what_to_write() {
        assert_eq!(
            choose(Some("proxy.example.com:3128"), SERVER, &[]),
            Err(
                "proxy-url in the kubeconfig: the proxy's URL has no supported scheme; write http, https or socks5, \
                 such as http://proxy.example.com:3128"
                    .to_owned()
            )
        );
        assert!(choose(None, SERVER, &[("HTTPS_PROXY", "ftp://p:1")]).is_err());
        assert!(choose(None, SERVER, &[("HTTPS_PROXY", "http://a b")]).is_err());
    }
}
