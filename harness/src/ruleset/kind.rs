//! How the values of a rule are stored and written.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::names::{self, Names};
use crate::Mac;

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

pub(super) const fn kind(id: u32, len: usize, order: Order, form: Form) -> Kind {
    Kind { id, len, order, form }
}
// The ids are those of nft's `enum datatypes`.
pub(super) const IPV4_ADDR: Kind = kind(7, 4, Order::Big, Form::Ipv4);
pub(super) const IPV6_ADDR: Kind = kind(8, 16, Order::Big, Form::Ipv6);
pub(super) const ETHER_ADDR: Kind = kind(9, 6, Order::Big, Form::Mac);
pub(super) const ETHER_TYPE: Kind = kind(10, 2, Order::Big, Form::Symbol(names::ETHER_TYPE));
pub(super) const ARP_OP: Kind = kind(11, 2, Order::Big, Form::Symbol(names::ARP_OPERATION));
pub(super) const INET_PROTO: Kind = kind(12, 1, Order::Big, Form::Symbol(names::PROTOCOL));
pub(super) const INET_SERVICE: Kind = kind(13, 2, Order::Big, Form::Number);
pub(super) const ICMP_TYPE: Kind = kind(14, 1, Order::Big, Form::Symbol(names::ICMP_TYPE));
pub(super) const ICMPV6_TYPE: Kind = kind(29, 1, Order::Big, Form::Symbol(names::ICMPV6_TYPE));
pub(super) const TCP_FLAGS: Kind = kind(15, 1, Order::Big, Form::Flags(names::TCP_FLAGS));
pub(super) const MARK: Kind = kind(19, 4, Order::Host, Form::Hex);
pub(super) const IFINDEX: Kind = kind(20, 4, Order::Host, Form::Index);
pub(super) const ARPHRD: Kind = kind(21, 2, Order::Host, Form::Symbol(names::ARPHRD));
pub(super) const UID: Kind = kind(23, 4, Order::Host, Form::Number);
pub(super) const GID: Kind = kind(24, 4, Order::Host, Form::Number);
pub(super) const CT_STATE: Kind = kind(26, 4, Order::Host, Form::Flags(names::CT_STATE));
pub(super) const CT_DIR: Kind = kind(27, 1, Order::Host, Form::Symbol(names::CT_DIRECTION));
pub(super) const CT_STATUS: Kind = kind(28, 4, Order::Host, Form::Flags(names::CT_STATUS));
pub(super) const NFPROTO: Kind = kind(2, 1, Order::Host, Form::Symbol(names::NFPROTO));
pub(super) const PKT_TYPE: Kind = kind(31, 1, Order::Host, Form::Symbol(names::PACKET_TYPE));
pub(super) const FIB_ADDR: Kind = kind(38, 4, Order::Host, Form::Symbol(names::ADDRESS_TYPE));
/// A whole register, for that is what `fib` fills.
pub(super) const BOOLEAN: Kind = kind(39, 4, Order::Host, Form::Symbol(names::PRESENCE));
pub(super) const IFNAME: Kind = kind(41, 16, Order::Host, Form::Name);
pub(super) const BYTE: Kind = kind(4, 1, Order::Big, Form::Number);
pub(super) const SHORT: Kind = kind(4, 2, Order::Big, Form::Number);

/// What `nft` calls the types of named sets.
pub(super) const TYPES: &[(&str, Kind)] = &[
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
