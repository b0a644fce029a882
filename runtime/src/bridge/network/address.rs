//! Which internet addresses are public.
//!
//! Source: the IANA [IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry) and
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry) special-purpose address registries. Of IPv6
//! only what is allocated as global unicast (2000::/3) counts as public at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Unspecified,
    Loopback,
    Private,
    Shared,
    LinkLocal,
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    Benchmark,
    Reserved,
    /// Holds an IPv4 address, which some network on the way unpacks: a detour around every rule above.
    Embedding,
}

impl Special {
    /// The reason as apps see it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified_address",
            Self::Loopback => "loopback_address",
            Self::Private => "private_address",
            Self::Shared => "shared_address",
            Self::LinkLocal => "link_local_address",
            Self::Metadata => "metadata_address",
            Self::Multicast => "multicast_address",
            Self::Broadcast => "broadcast_address",
            Self::Documentation => "documentation_address",
            Self::Benchmark => "benchmark_address",
            Self::Reserved => "reserved_address",
            Self::Embedding => "embedding_address",
        }
    }
}

/// The first row that fits counts: single addresses stand before the networks they are in.
const V4: &[([u8; 4], u32, Special)] = &[
    ([169, 254, 169, 254], 32, Special::Metadata), // most clouds
    ([169, 254, 170, 2], 32, Special::Metadata),   // AWS containers
    ([100, 100, 100, 200], 32, Special::Metadata), // Alibaba
    ([192, 0, 0, 192], 32, Special::Metadata),     // Oracle
    ([168, 63, 129, 16], 32, Special::Metadata),   // Azure, in the midst of public addresses
    ([255, 255, 255, 255], 32, Special::Broadcast),
    ([0, 0, 0, 0], 8, Special::Unspecified),
    ([10, 0, 0, 0], 8, Special::Private),
    ([100, 64, 0, 0], 10, Special::Shared),
    ([127, 0, 0, 0], 8, Special::Loopback),
    ([169, 254, 0, 0], 16, Special::LinkLocal),
    ([172, 16, 0, 0], 12, Special::Private),
    ([192, 0, 0, 0], 24, Special::Reserved),
    ([192, 0, 2, 0], 24, Special::Documentation),
    ([192, 88, 99, 0], 24, Special::Embedding), // relays for 6to4
    ([192, 168, 0, 0], 16, Special::Private),
    ([198, 18, 0, 0], 15, Special::Benchmark),
    ([198, 51, 100, 0], 24, Special::Documentation),
    ([203, 0, 113, 0], 24, Special::Documentation),
    ([224, 0, 0, 0], 4, Special::Multicast),
    ([240, 0, 0, 0], 4, Special::Reserved),
];

const V6: &[([u16; 8], u32, Special)] = &[
    ([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128, Special::Metadata), // AWS
    ([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128, Special::Metadata), // Google
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Special::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Special::Loopback),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, Special::Embedding), // IPv4-compatible
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, Special::Embedding), // IPv4-mapped
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Special::Embedding), // IPv4-translated
    ([0x0064, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Special::Embedding), // a network's own NAT64
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Special::Embedding), // Teredo
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Special::Embedding), // 6to4
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Special::Benchmark),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32, Special::Documentation),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Special::Reserved),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Special::Documentation),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Special::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Special::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Special::Private),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Special::Multicast),
];

/// Why this address is not public; `None` if it is.
pub(crate) fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    let bits = u32::from(address);
    V4.iter().find(|(base, length, _)| (bits ^ u32::from_be_bytes(*base)) >> (32 - length) == 0).map(row)
}

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    let bits = u128::from(address);
    // Phones in networks without IPv4 reach all of it through this prefix (RFC 6052), so what is inside counts.
    if let [0x0064, 0xff9b, 0, 0, 0, 0, _, _] = address.segments() {
        let inner = u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default();
        return special_v4(inner.into());
    }
    let base = |segments: [u16; 8]| u128::from(Ipv6Addr::from(segments));
    let listed = V6.iter().find(|(net, length, _)| (bits ^ base(*net)) >> (128 - length) == 0).map(row);
    listed.or((bits >> 125 != 1).then_some(Special::Reserved))
}

fn row<B>((_, _, special): &(B, u32, Special)) -> Special {
    *special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Special> {
        special(text.parse().unwrap())
    }

    /// The table of cases shows each network refused; these are its neighbours on either side, which are public.
    #[test]
    fn each_network_ends_where_it_ends() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "168.63.129.17",
            "2000::",
            "2001:200::",
            "2001:db7::",
            "2001:db9::",
            "2003::",
            "3ffe:ffff::",
            "3fff:1000::",
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(of(public), None, "{public}");
        }
        for reserved in
            ["1fff:ffff::", "4000::", "64:ff9a::", "64:ff9b:0:1::", "100::1", "5f00::1", "fe00::1"]
        {
            assert_eq!(of(reserved), Some(Special::Reserved), "{reserved}");
        }
    }

    #[test]
    fn what_is_inside_a_nat64_address_counts() {
        assert_eq!(of("64:ff9b::127.0.0.1"), Some(Special::Loopback));
        assert_eq!(of("64:ff9b::169.254.169.254"), Some(Special::Metadata));
        assert_eq!(of("64:ff9b::10.1.2.3"), Some(Special::Private));
    }

    /// The standard library's own idea of a few of these, as a second opinion.
    #[test]
    fn agrees_with_the_standard_library() {
        proptest::proptest!(|(bits: u32)| {
            let v4 = Ipv4Addr::from(bits);
            let known = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            proptest::prop_assert!(!known || special_v4(v4).is_some());
            proptest::prop_assert!(special_v6(v4.to_ipv6_mapped()).is_some());
            proptest::prop_assert!(special_v6(v4.to_ipv6_compatible()).is_some());
        });
    }
}
