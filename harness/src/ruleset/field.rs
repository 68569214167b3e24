//! What a rule can look at.

use std::borrow::Cow;

use super::{
    expr::Load,
    kind::{
        ARP_OP, ARPHRD, BOOLEAN, BYTE, CT_DIR, CT_STATE, CT_STATUS, ETHER_ADDR, ETHER_TYPE, FIB_ADDR, Form, GID,
        ICMP_TYPE, ICMPV6_TYPE, IFINDEX, IFNAME, INET_PROTO, INET_SERVICE, IPV4_ADDR, IPV6_ADDR, Kind, MARK, NFPROTO,
        Order, PKT_TYPE, SHORT, TCP_FLAGS, TYPES, UID, kind,
    },
    names::{self, Names},
};

/// What a match is about: `ip saddr`, `ct state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: Cow<'static, str>,
    pub(crate) load: Load,
    pub(crate) kind: Kind,
    pub(crate) needs: Needs,
}

/// The protocols that have to be known before a load makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    pub(crate) ether: bool,
    pub(crate) network: Option<Network>,
    pub(crate) transport: Option<u8>,
}

/// A network protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Ip,
    Ip6,
    Arp,
}

impl Network {
    /// `NFPROTO_*`.
    pub(crate) fn nfproto(self) -> Option<u8> {
        match self {
            Self::Ip => Some(libc::NFPROTO_IPV4 as u8),
            Self::Ip6 => Some(libc::NFPROTO_IPV6 as u8),
            Self::Arp => None,
        }
    }

    /// `ETH_P_*`.
    pub(crate) fn ether_type(self) -> u16 {
        match self {
            Self::Ip => libc::ETH_P_IP as u16,
            Self::Ip6 => libc::ETH_P_IPV6 as u16,
            Self::Arp => libc::ETH_P_ARP as u16,
        }
    }
}

/// `NFT_META_*`.
pub(crate) mod meta {
    pub(crate) const PROTOCOL: u32 = 1;
    pub(crate) const MARK: u32 = 3;
    pub(crate) const IIFTYPE: u32 = 8;
    pub(crate) const NFTRACE: u32 = 12;
    pub(crate) const NFPROTO: u32 = 15;
    pub(crate) const L4PROTO: u32 = 16;
}

/// `NFT_CT_MARK`.
pub(crate) const CT_MARK: u32 = 3;

/// `NFT_PAYLOAD_*_HEADER`.
pub(crate) mod header {
    pub(crate) const LINK: u32 = 0;
    pub(crate) const NETWORK: u32 = 1;
    pub(crate) const TRANSPORT: u32 = 2;
}

const NOTHING: Needs = Needs { ether: false, network: None, transport: None };
const ETHER: Needs = Needs { ether: true, ..NOTHING };
const IP: Needs = Needs { network: Some(Network::Ip), ..NOTHING };
const IP6: Needs = Needs { network: Some(Network::Ip6), ..NOTHING };
const ARP: Needs = Needs { network: Some(Network::Arp), ..NOTHING };
const TCP: Needs = Needs { transport: Some(6), ..NOTHING };
const UDP: Needs = Needs { transport: Some(17), ..NOTHING };
const ICMP: Needs = Needs { network: Some(Network::Ip), transport: Some(1), ..NOTHING };
const ICMPV6: Needs = Needs { network: Some(Network::Ip6), transport: Some(58), ..NOTHING };

const fn key(name: &'static str, load: Load, kind: Kind, needs: Needs) -> Key {
    Key { name: Cow::Borrowed(name), load, kind, needs }
}
const fn on_meta(name: &'static str, number: u32, kind: Kind) -> Key {
    key(name, Load::Meta(number), kind, NOTHING)
}
const fn on_ct(name: &'static str, number: u32, direction: Option<u8>, kind: Kind) -> Key {
    key(name, Load::Ct(number, direction), kind, NOTHING)
}
const fn on_packet(name: &'static str, base: u32, offset: u32, kind: Kind, needs: Needs) -> Key {
    key(name, Load::Payload { base, offset, len: kind.len as u32 }, kind, needs)
}

/// All keys that have a name. Where one load has several names, that whose needs are met is printed, the first of them.
static KEYS: &[Key] = &[
    on_meta("meta protocol", meta::PROTOCOL, ETHER_TYPE),
    on_meta("meta mark", meta::MARK, MARK),
    on_meta("iif", 4, IFINDEX),
    on_meta("oif", 5, IFINDEX),
    on_meta("iifname", 6, IFNAME),
    on_meta("oifname", 7, IFNAME),
    on_meta("meta iiftype", meta::IIFTYPE, ARPHRD),
    on_meta("meta skuid", 10, UID),
    on_meta("meta skgid", 11, GID),
    on_meta("meta nftrace", meta::NFTRACE, kind(4, 1, Order::Host, Form::Number)),
    on_meta("meta nfproto", meta::NFPROTO, NFPROTO),
    on_meta("meta l4proto", meta::L4PROTO, INET_PROTO),
    on_meta("meta ibrname", 17, IFNAME),
    on_meta("meta obrname", 18, IFNAME),
    on_meta("meta pkttype", 19, PKT_TYPE),
    on_ct("ct state", 0, None, CT_STATE),
    on_ct("ct direction", 1, None, CT_DIR),
    on_ct("ct status", 2, None, CT_STATUS),
    on_ct("ct mark", CT_MARK, None, MARK),
    on_ct("ct original ip saddr", 19, Some(0), IPV4_ADDR),
    on_ct("ct original ip daddr", 20, Some(0), IPV4_ADDR),
    on_ct("ct original ip6 saddr", 21, Some(0), IPV6_ADDR),
    on_ct("ct original ip6 daddr", 22, Some(0), IPV6_ADDR),
    on_ct("ct original protocol", 10, Some(0), INET_PROTO),
    on_ct("ct original proto-src", 11, Some(0), INET_SERVICE),
    on_ct("ct original proto-dst", 12, Some(0), INET_SERVICE),
    on_ct("ct reply ip saddr", 19, Some(1), IPV4_ADDR),
    on_ct("ct reply ip daddr", 20, Some(1), IPV4_ADDR),
    on_ct("ct reply ip6 saddr", 21, Some(1), IPV6_ADDR),
    on_ct("ct reply ip6 daddr", 22, Some(1), IPV6_ADDR),
    on_ct("ct reply proto-src", 11, Some(1), INET_SERVICE),
    on_ct("ct reply proto-dst", 12, Some(1), INET_SERVICE),
    on_packet("ether daddr", header::LINK, 0, ETHER_ADDR, ETHER),
    on_packet("ether saddr", header::LINK, 6, ETHER_ADDR, ETHER),
    on_packet("ether type", header::LINK, 12, ETHER_TYPE, ETHER),
    on_packet("arp operation", header::NETWORK, 6, ARP_OP, ARP),
    on_packet("arp saddr ether", header::NETWORK, 8, ETHER_ADDR, ARP),
    on_packet("arp saddr ip", header::NETWORK, 14, IPV4_ADDR, ARP),
    on_packet("arp daddr ether", header::NETWORK, 18, ETHER_ADDR, ARP),
    on_packet("arp daddr ip", header::NETWORK, 24, IPV4_ADDR, ARP),
    on_packet("ip length", header::NETWORK, 2, SHORT, IP),
    on_packet("ip ttl", header::NETWORK, 8, BYTE, IP),
    on_packet("ip protocol", header::NETWORK, 9, INET_PROTO, IP),
    on_packet("ip saddr", header::NETWORK, 12, IPV4_ADDR, IP),
    on_packet("ip daddr", header::NETWORK, 16, IPV4_ADDR, IP),
    on_packet("ip6 length", header::NETWORK, 4, SHORT, IP6),
    on_packet("ip6 nexthdr", header::NETWORK, 6, INET_PROTO, IP6),
    on_packet("ip6 hoplimit", header::NETWORK, 7, BYTE, IP6),
    on_packet("ip6 saddr", header::NETWORK, 8, IPV6_ADDR, IP6),
    on_packet("ip6 daddr", header::NETWORK, 24, IPV6_ADDR, IP6),
    on_packet("tcp sport", header::TRANSPORT, 0, INET_SERVICE, TCP),
    on_packet("tcp dport", header::TRANSPORT, 2, INET_SERVICE, TCP),
    on_packet("tcp flags", header::TRANSPORT, 13, TCP_FLAGS, TCP),
    on_packet("udp sport", header::TRANSPORT, 0, INET_SERVICE, UDP),
    on_packet("udp dport", header::TRANSPORT, 2, INET_SERVICE, UDP),
    on_packet("icmp type", header::TRANSPORT, 0, ICMP_TYPE, ICMP),
    on_packet("icmp code", header::TRANSPORT, 1, BYTE, ICMP),
    on_packet("icmpv6 type", header::TRANSPORT, 0, ICMPV6_TYPE, ICMPV6),
    on_packet("icmpv6 code", header::TRANSPORT, 1, BYTE, ICMPV6),
    on_packet("icmpv6 taddr", header::TRANSPORT, 8, IPV6_ADDR, ICMPV6),
    // What others call it; never printed, for the one above is found first.
    on_packet("nd taddr", header::TRANSPORT, 8, IPV6_ADDR, ICMPV6),
    on_packet("th sport", header::TRANSPORT, 0, INET_SERVICE, NOTHING),
    on_packet("th dport", header::TRANSPORT, 2, INET_SERVICE, NOTHING),
];

/// `NFTA_FIB_F_*`, in the order that `nft` prints them in.
const FIB_FLAGS: Names = &[("saddr", 1), ("daddr", 2), ("mark", 4), ("iif", 8), ("oif", 16)];
/// `NFTA_FIB_F_PRESENT`.
const FIB_PRESENT: u32 = 32;
/// `NFT_FIB_RESULT_*`. (The enumeration of netlink-bindings 0.3.5 is off by one here.)
const FIB_RESULT: Names = &[("oif", 1), ("oifname", 2), ("type", 3)];

impl Key {
    /// The key whose name `words` begin with, and how many words that takes.
    pub(crate) fn parse(words: &[&str]) -> Option<(Self, usize)> {
        if words.first() == Some(&"fib") {
            return Self::parse_fib(words);
        }
        (1..=4.min(words.len())).rev().find_map(|count| {
            let name = words[..count].join(" ");
            let bare = name.strip_prefix("meta ").unwrap_or(&name);
            let known =
                |key: &&Self| key.name == name || key.name == bare || key.name.strip_prefix("meta ") == Some(bare);
            KEYS.iter().find(known).map(|key| (key.clone(), count))
        })
    }

    fn parse_fib(words: &[&str]) -> Option<(Self, usize)> {
        let mut flags = names::number(FIB_FLAGS, words.get(1)?)? as u32;
        let mut at = 2;
        while words.get(at) == Some(&".") {
            flags |= names::number(FIB_FLAGS, words.get(at + 1)?)? as u32;
            at += 2;
        }
        let result = names::number(FIB_RESULT, words.get(at)?)? as u32;
        // `fib saddr . iif oif missing` asks whether there is a route, not which.
        if result == 1 && words.get(at + 1).is_some_and(|word| names::number(names::PRESENCE, word).is_some()) {
            flags |= FIB_PRESENT;
        }
        Some((Self::fib(flags, result)?, at + 1))
    }

    fn fib(flags: u32, result: u32) -> Option<Self> {
        let inputs = FIB_FLAGS.iter().filter(|(_, flag)| u64::from(flags) & flag != 0).map(|(name, _)| *name);
        let name =
            format!("fib {} {}", inputs.collect::<Vec<_>>().join(" . "), names::word(FIB_RESULT, result.into())?);
        let kind = match result {
            _ if flags & FIB_PRESENT != 0 => BOOLEAN,
            1 => IFINDEX,
            2 => IFNAME,
            _ => FIB_ADDR,
        };
        Some(Self { name: name.into(), load: Load::Fib { flags, result }, kind, needs: NOTHING })
    }

    /// The key for a load, given the protocols `known`; a load of part of an address is one of the address.
    pub(crate) fn for_load(load: Load, known: Needs) -> Option<Self> {
        if let Load::Fib { flags, result } = load {
            return Self::fib(flags, result);
        }
        let met = |needs: Needs| {
            needs.network.is_none_or(|network| known.network == Some(network))
                && needs.transport.is_none_or(|protocol| known.transport == Some(protocol))
        };
        let fits = |key: &&Self| met(key.needs) && (key.load == load || key.is_part(load));
        // Of those that fit, the one that needs most says most: `tcp dport` before `th dport`.
        KEYS.iter().find(|key| fits(key) && key.load == load).or_else(|| KEYS.iter().find(fits)).cloned()
    }

    fn is_part(&self, load: Load) -> bool {
        let address = matches!(self.kind.form, Form::Ipv4 | Form::Ipv6 | Form::Mac);
        match (self.load, load) {
            (Load::Payload { base, offset, len }, Load::Payload { base: b, offset: o, len: part }) => {
                address && (base, offset) == (b, o) && part < len
            }
            _ => false,
        }
    }

    /// The key named `name`.
    pub(crate) fn named(name: &str) -> Self {
        KEYS.iter().find(|key| key.name == name).expect("only names of the table are asked for").clone()
    }

    /// A key for a packet's bytes that have no name: `@th,64,32`.
    pub(crate) fn raw(base: u32, offset: u32, len: u32) -> Self {
        let header = ["ll", "nh", "th", "ih"].get(base as usize).unwrap_or(&"?");
        let name = format!("@{header},{},{}", offset * 8, len * 8);
        let kind = Kind { id: 4, len: len as usize, order: Order::Big, form: Form::Hex };
        Self { name: name.into(), load: Load::Payload { base, offset, len }, kind, needs: NOTHING }
    }
}

impl Key {
    /// Keys for a set's type, which has six bits for each; named as `nft` names the type.
    pub(crate) fn of_type(number: u32) -> Option<Vec<Self>> {
        let ids = (0..5).rev().map(|place| number >> (6 * place) & 0x3f).skip_while(|id| *id == 0);
        let key = |id| {
            let (name, kind) = TYPES.iter().find(|(_, kind)| kind.id == id)?;
            Some(Self { name: Cow::Borrowed(name), load: Load::Meta(0), kind: *kind, needs: NOTHING })
        };
        ids.map(key).collect()
    }
}
