//! The hosts that the plugin connects to without the proxy of the environment, in the format of kubectl's `NO_PROXY`.

use std::net::IpAddr;

use http::Uri;

/// The exceptions of `NO_PROXY`.
#[derive(Debug, Default)]
pub(super) struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    All,
    Network {
        address: IpAddr,
        prefix: u32,
        port: Option<u16>,
    },
    /// A name and all names below it, or only those below it.
    Domain {
        name: String,
        only_below: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Parses a list with commas; like kubectl it skips what it does not understand.
    pub(super) fn parse(list: &str) -> Self {
        Self {
            entries: list.split(',').filter_map(|entry| Entry::parse(entry.trim())).collect(),
        }
    }

    /// Whether the plugin connects to this server directly; always for the local host.
    pub(super) fn contains(&self, server: &Uri) -> bool {
        let Some(host) = server.host() else {
            return false;
        };
        let host = unbracketed(host).trim_end_matches('.').to_ascii_lowercase();
        let default_port = if server.scheme_str() == Some("http") { 80 } else { 443 };
        let port = server.port_u16().unwrap_or(default_port);
        let address: Option<IpAddr> = host.parse().ok();
        let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        is_local || self.entries.iter().any(|entry| entry.matches(&host, address, port))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let prefix: u32 = prefix.parse().ok()?;
            return (prefix <= bits(address)).then_some(Self::Network {
                address,
                prefix,
                port: None,
            });
        }
        let (host, port) = split_port(text);
        if let Ok(address) = unbracketed(host).parse() {
            return Some(Self::Network {
                address,
                prefix: bits(address),
                port,
            });
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let name = host.trim_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then(|| Self::Domain {
            name,
            only_below: host.starts_with('.'),
            port,
        })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, server_port: u16) -> bool {
        let on_port = |port: &Option<u16>| port.is_none_or(|port| port == server_port);
        match self {
            Self::All => true,
            Self::Network {
                address: network,
                prefix,
                port,
            } => on_port(port) && address.is_some_and(|address| in_network(address, *network, *prefix)),
            Self::Domain { name, only_below, port } => {
                let is_below = || {
                    let rest = host.strip_suffix(name.as_str());
                    rest.is_some_and(|rest| rest.ends_with('.'))
                };
                on_port(port) && ((!only_below && host == name) || is_below())
            }
        }
    }
}

/// Splits `host:port`; an IPv6 address without brackets has no port.
fn split_port(text: &str) -> (&str, Option<u16>) {
    let split = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match split.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let difference = address.to_bits() ^ network.to_bits();
            difference.checked_shr(32 - prefix).unwrap_or_default() == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let difference = address.to_bits() ^ network.to_bits();
            difference.checked_shr(128 - prefix).unwrap_or_default() == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, server: &str) -> bool {
        NoProxy::parse(list).contains(&server.parse().unwrap())
    }

    #[test]
    fn a_server_is_excepted_by_address_network_domain_or_port() {
        for (list, server) in [
            ("*", "https://10.0.0.1:6443"),
            ("10.0.0.1", "https://10.0.0.1:6443"),
            ("10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("192.168.0.0/16, 10.0.0.0/8", "https://10.9.8.7:6443"),
            ("0.0.0.0/0", "https://10.9.8.7"),
            ("fd00::/8", "https://[fd12::1]:6443"),
            ("[fd12::1]:6443", "https://[fd12::1]:6443"),
            ("fd12::1", "https://[fd12::1]:6443"),
            ("example.com", "https://example.com"),
            ("example.com", "https://api.Example.com:6443"),
            (".example.com", "https://api.example.com:6443"),
            ("*.example.com", "https://api.example.com:6443"),
            ("EXAMPLE.com:443", "https://api.example.com"),
            (",, a/b, api.example.com,", "https://api.example.com:6443"),
            ("", "https://localhost:6443"),
            ("", "https://127.0.0.2:6443"),
            ("", "https://[::1]:6443"),
        ] {
            assert!(contains(list, server), "{list}: {server}");
        }
    }

    #[test]
    fn a_server_that_only_looks_similar_is_not_excepted() {
        for (list, server) in [
            ("", "https://10.0.0.1:6443"),
            ("10.0.0.0/16", "https://10.1.0.1"),
            ("10.0.0.0/33", "https://10.0.0.1"),
            ("10.0.0.1:443", "https://10.0.0.1:6443"),
            ("::/0", "https://10.0.0.1"),
            (".example.com", "https://example.com"),
            ("example.com", "https://badexample.com"),
            ("example.com:443", "https://api.example.com:6443"),
            ("ample.com", "https://example.com"),
        ] {
            assert!(!contains(list, server), "{list}: {server}");
        }
    }
}
