//! Names and numbers of `linux/netfilter/nf_tables.h` and its kin, in nft's words.

/// `NFT_META_*`
pub(crate) const META: &[(&str, u32)] = &[
    ("mark", 3),
    ("iifname", 6),
    ("oifname", 7),
    ("nfproto", 15),
    ("l4proto", 16),
    ("ibrname", 17),
    ("obrname", 18),
    ("pkttype", 19),
    ("protocol", 1),
];

/// `IPPROTO_*`
pub(crate) const PROTOCOLS: &[(&str, u8)] = &[("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6-icmp", 58), ("sctp", 132)];

/// `NFPROTO_*`
pub(crate) const VERSIONS: &[(&str, u8)] = &[("ipv4", 2), ("ipv6", 10)];

/// `PACKET_*`
pub(crate) const PACKET_TYPES: &[(&str, u8)] = &[("host", 0), ("broadcast", 1), ("multicast", 2), ("other", 3)];

/// `NF_CT_STATE_BIT`
pub(crate) const STATES: &[(&str, u32)] =
    &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)];

/// `IPS_*`
pub(crate) const STATUSES: &[(&str, u32)] = &[("snat", 1 << 4), ("dnat", 1 << 5)];

/// `ETH_P_*`
pub(crate) const ETHERTYPES: &[(&str, u16)] = &[("ip", 0x0800), ("arp", 0x0806), ("ip6", 0x86dd)];

/// `ICMPV6_*` and `NDISC_*`
pub(crate) const ICMPV6: &[(&str, u8)] = &[
    ("echo-request", 128),
    ("echo-reply", 129),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
];

/// `RTN_*`
pub(crate) const ADDRESS_TYPES: &[(&str, u32)] = &[("unicast", 1), ("local", 2), ("broadcast", 3), ("multicast", 5)];

/// `NF_INET_*`, in order; `netdev` and `bridge` chains use the same words for their own.
pub(crate) const HOOKS: &[&str] = &["prerouting", "input", "forward", "output", "postrouting"];

/// Priorities with names, for IP families.
pub(crate) const PRIORITIES: &[(&str, i32)] =
    &[("raw", -300), ("mangle", -150), ("dstnat", -100), ("filter", 0), ("security", 50), ("srcnat", 100)];

/// Priorities with names, for the bridge family.
pub(crate) const BRIDGE_PRIORITIES: &[(&str, i32)] =
    &[("dstnat", -300), ("filter", -200), ("out", 100), ("srcnat", 300)];

/// A word's number.
pub(crate) fn of<T: Copy>(list: &[(&str, T)], word: &str) -> Option<T> {
    list.iter().find(|(known, _)| *known == word).map(|(_, number)| *number)
}

/// A number's word.
pub(crate) fn word<'a, T: PartialEq>(list: &[(&'a str, T)], number: T) -> Option<&'a str> {
    list.iter().find(|(_, known)| *known == number).map(|(word, _)| *word)
}

/// A field of a header: how it is written, what must be so for it to be there, where it is.
pub(crate) struct Field {
    pub text: &'static str,
    pub needs: Option<Needs>,
    /// `NFT_PAYLOAD_*`: 0 link layer, 1 network, 2 transport.
    pub base: u32,
    pub offset: u32,
    pub length: u32,
}

/// What must be so for a field to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Version(u8),
    Protocol(u8),
    Ethertype(u16),
}

const fn field(text: &'static str, needs: Option<Needs>, base: u32, offset: u32, length: u32) -> Field {
    Field { text, needs, base, offset, length }
}

pub(crate) const FIELDS: &[Field] = &[
    field("ip saddr", Some(Needs::Version(2)), 1, 12, 4),
    field("ip daddr", Some(Needs::Version(2)), 1, 16, 4),
    field("ip6 saddr", Some(Needs::Version(10)), 1, 8, 16),
    field("ip6 daddr", Some(Needs::Version(10)), 1, 24, 16),
    field("tcp sport", Some(Needs::Protocol(6)), 2, 0, 2),
    field("tcp dport", Some(Needs::Protocol(6)), 2, 2, 2),
    field("udp sport", Some(Needs::Protocol(17)), 2, 0, 2),
    field("udp dport", Some(Needs::Protocol(17)), 2, 2, 2),
    field("icmpv6 type", Some(Needs::Protocol(58)), 2, 0, 1),
    field("ether daddr", None, 0, 0, 6),
    field("ether saddr", None, 0, 6, 6),
    field("ether type", None, 0, 12, 2),
    field("arp saddr ether", Some(Needs::Ethertype(0x0806)), 1, 8, 6),
    field("arp saddr ip", Some(Needs::Ethertype(0x0806)), 1, 14, 4),
    field("nd taddr", Some(Needs::Protocol(58)), 2, 8, 16),
];
