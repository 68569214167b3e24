//! What a rule can look at, and how its values are written.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{
    expr::Load,
    names::{self, Names},
};
use crate::Mac;

/// What a match is about: `ip saddr`, `ct state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: Cow<'static, str>,
    pub(crate) load: Load,
    pub(crate) kind: Kind,
    pub(crate) needs: Needs,
}

/// How values of a key are stored and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The number that `nft` has for the type, kept by the kernel with a set.
    pub(crate) id: u32,
    /// In bytes.
    pub(crate) len: usize,
    pub(crate) order: Order,
    pub(crate) form: Form,
}

/// The byte order of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the wire has it.
    Big,
    /// As this machine has it.
    Host,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Ipv4,
    Ipv6,
    Mac,
    /// A device's name; with `*` at its end, the beginning of one.
    Name,
    /// A device's index.
    Index,
    Number,
    /// `0x0000002a`.
    Hex,
    Symbol(Names),
    /// Several at once: `established,related`.
    Flags(Names),
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

const fn kind(id: u32, len: usize, order: Order, form: Form) -> Kind {
    Kind { id, len, order, form }
}
// The ids are those of nft's `enum datatypes`.
const IPV4_ADDR: Kind = kind(7, 4, Order::Big, Form::Ipv4);
const IPV6_ADDR: Kind = kind(8, 16, Order::Big, Form::Ipv6);
const ETHER_ADDR: Kind = kind(9, 6, Order::Big, Form::Mac);
const ETHER_TYPE: Kind = kind(10, 2, Order::Big, Form::Symbol(names::ETHER_TYPE));
const ARP_OP: Kind = kind(11, 2, Order::Big, Form::Symbol(names::ARP_OPERATION));
const INET_PROTO: Kind = kind(12, 1, Order::Big, Form::Symbol(names::PROTOCOL));
const INET_SERVICE: Kind = kind(13, 2, Order::Big, Form::Number);
const ICMP_TYPE: Kind = kind(14, 1, Order::Big, Form::Symbol(names::ICMP_TYPE));
const ICMPV6_TYPE: Kind = kind(29, 1, Order::Big, Form::Symbol(names::ICMPV6_TYPE));
const TCP_FLAGS: Kind = kind(15, 1, Order::Big, Form::Flags(names::TCP_FLAGS));
const MARK: Kind = kind(19, 4, Order::Host, Form::Hex);
const IFINDEX: Kind = kind(20, 4, Order::Host, Form::Index);
const ARPHRD: Kind = kind(21, 2, Order::Host, Form::Symbol(names::ARPHRD));
const UID: Kind = kind(23, 4, Order::Host, Form::Number);
const GID: Kind = kind(24, 4, Order::Host, Form::Number);
const CT_STATE: Kind = kind(26, 4, Order::Host, Form::Flags(names::CT_STATE));
const CT_DIR: Kind = kind(27, 1, Order::Host, Form::Symbol(names::CT_DIRECTION));
const CT_STATUS: Kind = kind(28, 4, Order::Host, Form::Flags(names::CT_STATUS));
const NFPROTO: Kind = kind(2, 1, Order::Host, Form::Symbol(names::NFPROTO));
const PKT_TYPE: Kind = kind(31, 1, Order::Host, Form::Symbol(names::PACKET_TYPE));
const FIB_ADDR: Kind = kind(38, 4, Order::Host, Form::Symbol(names::ADDRESS_TYPE));
/// A whole register, for that is what `fib` fills.
const BOOLEAN: Kind = kind(39, 4, Order::Host, Form::Symbol(names::PRESENCE));
const IFNAME: Kind = kind(41, 16, Order::Host, Form::Name);
const BYTE: Kind = kind(4, 1, Order::Big, Form::Number);
const SHORT: Kind = kind(4, 2, Order::Big, Form::Number);

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

/// What `nft` calls the types of named sets.
const TYPES: &[(&str, Kind)] = &[
    ("ipv4_addr", IPV4_ADDR),
    ("ipv6_addr", IPV6_ADDR),
    ("ether_addr", ETHER_ADDR),
    ("ether_type", ETHER_TYPE),
    ("inet_proto", INET_PROTO),
    ("inet_service", INET_SERVICE),
    ("icmp_type", ICMP_TYPE),
    ("icmpv6_type", ICMPV6_TYPE),
    ("mark", MARK),
    ("iface_index", IFINDEX),
    ("ct_state", CT_STATE),
    ("ct_status", CT_STATUS),
    ("pkt_type", PKT_TYPE),
    ("ifname", IFNAME),
];

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

impl Kind {
    /// A value as the kernel stores it.
    pub(crate) fn encode(&self, word: &str) -> Option<Vec<u8>> {
        match self.form {
            Form::Ipv4 => Some(word.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
            Form::Ipv6 => Some(word.parse::<Ipv6Addr>().ok()?.octets().to_vec()),
            Form::Mac => Some(word.parse::<Mac>().ok()?.0.to_vec()),
            Form::Name => device_name(word),
            Form::Index if word == "lo" => self.number(1),
            Form::Index | Form::Number | Form::Hex => self.number(parse_number(word)?),
            Form::Symbol(names) | Form::Flags(names) => {
                self.number(names::number(names, word).or_else(|| parse_number(word))?)
            }
        }
    }

    /// A number, stored as this kind is; `None` where it is too large.
    pub(crate) fn number(&self, number: u64) -> Option<Vec<u8>> {
        let spare = 8 - self.len.min(8);
        if spare > 0 && number >> (8 * self.len) != 0 {
            return None;
        }
        let mut bytes = number.to_be_bytes()[spare..].to_vec();
        if self.order == Order::Host && cfg!(target_endian = "little") {
            bytes.reverse();
        }
        Some(bytes)
    }

    /// The number that is stored.
    pub(crate) fn value(&self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.order {
            Order::Host if cfg!(target_endian = "little") => bytes.iter().rev().fold(0, fold),
            _ => bytes.iter().fold(0, fold),
        }
    }

    /// A stored value, as `nft` prints it.
    pub(crate) fn print(&self, bytes: &[u8]) -> String {
        match self.form {
            Form::Ipv4 => {
                <[u8; 4]>::try_from(bytes).map_or_else(|_| hex(bytes), |octets| Ipv4Addr::from(octets).to_string())
            }
            Form::Ipv6 => {
                <[u8; 16]>::try_from(bytes).map_or_else(|_| hex(bytes), |octets| Ipv6Addr::from(octets).to_string())
            }
            Form::Mac => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
            Form::Name => {
                let end = bytes.iter().position(|byte| *byte == 0);
                let name = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
                if end.is_some() || bytes.len() == self.len { format!("\"{name}\"") } else { format!("\"{name}*\"") }
            }
            Form::Index if self.value(bytes) == 1 => "\"lo\"".into(),
            Form::Index | Form::Number => self.value(bytes).to_string(),
            Form::Hex => hex(&self.value(bytes).to_be_bytes()[8 - bytes.len().min(8)..]),
            Form::Symbol(names) => {
                let number = self.value(bytes);
                names::word(names, number).map_or_else(|| number.to_string(), str::to_owned)
            }
            Form::Flags(names) => print_flags(names, self.value(bytes)).join(","),
        }
    }
}

/// The words for the bits of a number; a bit without a word is printed as a number.
pub(crate) fn print_flags(names: Names, number: u64) -> Vec<String> {
    let bits = (0..64).map(|bit| 1 << bit).filter(|bit| number & bit != 0);
    let words = bits.map(|bit| names::word(names, bit).map_or_else(|| format!("0x{bit:x}"), str::to_owned));
    let words: Vec<_> = words.collect();
    if words.is_empty() { vec!["0".into()] } else { words }
}

fn device_name(word: &str) -> Option<Vec<u8>> {
    let mut bytes = word.as_bytes().to_vec();
    if bytes.last() == Some(&b'*') {
        bytes.pop();
        return (bytes.len() < 16).then_some(bytes);
    }
    // The longest name has 15 bytes and a NUL.
    (bytes.len() < 16).then(|| {
        bytes.resize(16, 0);
        bytes
    })
}

pub(crate) fn parse_number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".into(), |text, byte| format!("{text}{byte:02x}"))
}
