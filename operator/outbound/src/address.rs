//! Addresses to which no request is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why no request is sent to an address. These are addresses of the machine that sends, never of another server: clouds
/// give the credentials of a machine to whatever asks at one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A link-local address, such as 169.254.169.254.
    LinkLocal,
    /// An address of a metadata service outside the link-local ranges.
    Metadata,
    /// No address of one server: unspecified, multicast or broadcast.
    NoServer,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LinkLocal => "a link-local address, where clouds give out the credentials of machines",
            Self::Metadata => "an address where a cloud gives out the credentials of machines",
            Self::NoServer => "not the address of a server",
        })
    }
}

/// Metadata services outside the link-local ranges: of Alibaba Cloud, of Oracle Cloud and of AWS over IPv6.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether and why no request is sent there.
pub(crate) fn refusal(address: IpAddr) -> Option<Refused> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<Refused> {
    if address.is_link_local() {
        Some(Refused::LinkLocal)
    } else if METADATA_V4.contains(&address) {
        Some(Refused::Metadata)
    } else {
        // 0.0.0.0/8 is "this network": Linux connects to the machine itself.
        let no_server = address.octets()[0] == 0 || address.is_multicast() || address.is_broadcast();
        no_server.then_some(Refused::NoServer)
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<Refused> {
    if address.is_unicast_link_local() {
        Some(Refused::LinkLocal)
    } else if address == METADATA_V6 {
        Some(Refused::Metadata)
    } else if address.is_unspecified() || address.is_multicast() {
        Some(Refused::NoServer)
    } else {
        embedded(address).and_then(refusal_v4)
    }
}

/// The IPv4 address to which a packet for this IPv6 address is translated: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        // ::1 is IPv6's own loopback.
        [0, 0, 0, 0, 0, 0, 0, _] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_metadata_services_are_refused_in_every_notation() {
        let refusal = |text: &str| refusal(text.parse().unwrap());
        for link_local in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
        ] {
            assert_eq!(refusal(link_local), Some(Refused::LinkLocal), "{link_local}");
        }
        for metadata in ["100.100.100.200", "192.0.0.192", "fd00:ec2::254"] {
            assert_eq!(refusal(metadata), Some(Refused::Metadata), "{metadata}");
        }
        for no_server in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:0.0.0.0",
        ] {
            assert_eq!(refusal(no_server), Some(Refused::NoServer), "{no_server}");
        }
    }

    #[test]
    fn addresses_of_servers_are_not_refused() {
        for server in [
            "10.96.0.10",
            "127.0.0.1",
            "::1",
            "fd00::10",
            "2001:db8::1",
            "192.168.1.1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(refusal(server.parse().unwrap()), None, "{server}");
        }
    }
}
