//! The words that `nft` has for numbers.

/// Words and what they stand for. Where one number has several words, the first is printed.
pub(crate) type Names = &'static [(&'static str, u64)];

pub(crate) fn number(names: Names, word: &str) -> Option<u64> {
    names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

pub(crate) fn word(names: Names, number: u64) -> Option<&'static str> {
    names.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// `NFPROTO_*`.
pub(crate) const NFPROTO: Names = &[("ipv4", 2), ("ipv6", 10)];

/// `ETH_P_*`.
pub(crate) const ETHER_TYPE: Names =
    &[("ip", 0x0800), ("arp", 0x0806), ("ip6", 0x86dd), ("8021q", 0x8100), ("8021ad", 0x88a8), ("vlan", 0x8100)];

/// `ARPHRD_*`.
pub(crate) const ARPHRD: Names = &[("ether", 1)];

/// `IPPROTO_*`, as `/etc/protocols` has them.
pub(crate) const PROTOCOL: Names = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("sctp", 132),
    ("udplite", 136),
];

/// `ARPOP_*`.
pub(crate) const ARP_OPERATION: Names = &[("request", 1), ("reply", 2)];

/// Types of ICMP.
pub(crate) const ICMP_TYPE: Names = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
];

/// Types of ICMPv6.
pub(crate) const ICMPV6_TYPE: Names = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("mld2-listener-report", 143),
];

/// `TH_*`.
pub(crate) const TCP_FLAGS: Names =
    &[("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ecn", 64), ("cwr", 128)];

/// `NF_CT_STATE_BIT` of `IP_CT_*`.
pub(crate) const CT_STATE: Names = &[("invalid", 1), ("established", 2), ("related", 4), ("new", 8), ("untracked", 64)];

/// `IPS_*`.
pub(crate) const CT_STATUS: Names =
    &[("expected", 1), ("seen-reply", 2), ("assured", 4), ("confirmed", 8), ("snat", 16), ("dnat", 32), ("dying", 512)];

/// `IP_CT_DIR_*`.
pub(crate) const CT_DIRECTION: Names = &[("original", 0), ("reply", 1)];

/// `PACKET_*`.
pub(crate) const PACKET_TYPE: Names = &[("host", 0), ("unicast", 0), ("broadcast", 1), ("multicast", 2), ("other", 3)];

/// `RTN_*`.
pub(crate) const ADDRESS_TYPE: Names = &[
    ("unspec", 0),
    ("unicast", 1),
    ("local", 2),
    ("broadcast", 3),
    ("anycast", 4),
    ("multicast", 5),
    ("blackhole", 6),
    ("unreachable", 7),
    ("prohibit", 8),
];

/// Whether something is there.
pub(crate) const PRESENCE: Names = &[("missing", 0), ("exists", 1)];

/// Codes of ICMP's destination unreachable.
pub(crate) const REJECT_ICMP: Names = &[
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
];

/// Codes of ICMPv6's destination unreachable.
pub(crate) const REJECT_ICMPV6: Names =
    &[("no-route", 0), ("admin-prohibited", 1), ("addr-unreachable", 3), ("port-unreachable", 4)];

/// `NFT_REJECT_ICMPX_*`.
pub(crate) const REJECT_ICMPX: Names =
    &[("no-route", 0), ("port-unreachable", 1), ("host-unreachable", 2), ("admin-prohibited", 3)];

/// `LOGLEVEL_*`.
pub(crate) const LOG_LEVEL: Names = &[
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
    ("audit", 8),
];

/// Seconds in a unit of a rate.
pub(crate) const RATE_UNIT: Names =
    &[("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400), ("week", 604_800)];

/// Hooks of the families `ip`, `ip6`, `inet` and `bridge`.
pub(crate) const HOOK: Names =
    &[("prerouting", 0), ("input", 1), ("forward", 2), ("output", 3), ("postrouting", 4), ("ingress", 5)];

/// `NFT_OBJECT_*`.
pub(crate) const OBJECT: Names = &[
    ("counter", 1),
    ("quota", 2),
    ("ct helper", 3),
    ("limit", 4),
    ("ct count", 5),
    ("tunnel", 6),
    ("ct timeout", 7),
    ("secmark", 8),
    ("ct expectation", 9),
    ("synproxy", 10),
];

/// Hooks of the family `arp`.
pub(crate) const HOOK_ARP: Names = &[("input", 0), ("output", 1)];

/// Hooks of the family `netdev`.
pub(crate) const HOOK_NETDEV: Names = &[("ingress", 0), ("egress", 1)];
