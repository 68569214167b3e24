//! What a packet has where the keys of rules look.

use std::net::IpAddr;

use super::{Device, Hook, Passing, rule::Field};
use crate::{
    Carries,
    ruleset::{
        expr::Load,
        field::{Key, Network, header, meta},
    },
};

/// `NFT_META_IIF`, `NFT_META_OIF`, `NFT_META_IIFNAME`, `NFT_META_OIFNAME`.
const IIF: u32 = 4;
const OIF: u32 = 5;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
/// `NFT_CT_STATE`, `NFT_CT_DIRECTION`, `NFT_CT_STATUS`.
const CT_STATE: u32 = 0;
const CT_DIRECTION: u32 = 1;
const CT_STATUS: u32 = 2;
/// `IPS_DST_NAT` of linux/netfilter/nf_conntrack_common.h.
const DST_NAT: u64 = 1 << 5;
/// `NFTA_FIB_F_DADDR`, `NFT_FIB_RESULT_ADDRTYPE`, `RTN_LOCAL`.
const FIB_DADDR: u32 = 2;
const FIB_TYPE: u32 = 3;
const LOCAL: u64 = 2;

impl Field {
    pub(super) fn of(key: &Key, packet: &Passing) -> Self {
        match key.load {
            Load::Meta(number) => meta_data(key, number, packet),
            Load::Ct(number, None) => connection(key, number, packet),
            // The loopback device and tunnels have no such header.
            Load::Payload { base: header::LINK, .. } if key.name == "ether type" && packet.bridged => {
                number(key, packet.ether_type())
            }
            Load::Payload { base: header::NETWORK, .. } => network(key, packet),
            Load::Payload { base: header::TRANSPORT, .. } => transport(key, packet),
            Load::Fib { flags: FIB_DADDR, result: FIB_TYPE } if !packet.asks && !packet.unsure => {
                let local = key.kind.number(LOCAL).unwrap_or_default();
                if packet.target.local { Self::Is(local) } else { Self::Not(local) }
            }
            Load::Payload { .. } | Load::Fib { .. } | Load::Ct(..) => Self::Unknown,
        }
    }
}

fn meta_data(key: &Key, what: u32, packet: &Passing) -> Field {
    match what {
        IIF => index(key, &packet.iif),
        OIF => index(key, &packet.oif),
        IIFNAME => name(key, &packet.iif),
        OIFNAME => name(key, &packet.oif),
        meta::PROTOCOL => number(key, packet.ether_type()),
        meta::NFPROTO => match packet.hook {
            _ if packet.netdev => number(key, libc::NFPROTO_NETDEV as u64),
            // Chains of the family `inet` see what a port takes in as what it is.
            Hook::Prerouting | Hook::Input | Hook::Forward | Hook::Output | Hook::Postrouting if packet.bridged => {
                number(key, libc::NFPROTO_BRIDGE as u64)
            }
            _ if packet.target.to.is_ipv4() => number(key, libc::NFPROTO_IPV4 as u64),
            _ => number(key, libc::NFPROTO_IPV6 as u64),
        },
        meta::L4PROTO if packet.is_arp() => Field::Absent,
        meta::L4PROTO => number(key, packet.protocol()),
        _ => Field::Unknown,
    }
}

fn connection(key: &Key, what: u32, packet: &Passing) -> Field {
    const INVALID: u64 = 1;
    const ESTABLISHED: u64 = 2;
    const NEW: u64 = 8;
    const UNTRACKED: u64 = 64;
    match (what, packet.tracked) {
        (_, None) => Field::Unknown,
        // Neighbour discovery is not tracked.
        (CT_STATE, Some(true)) if packet.asks => number(key, UNTRACKED),
        (_, Some(true)) if packet.asks => Field::Absent,
        (CT_STATE, Some(false)) => number(key, INVALID),
        (CT_STATE, Some(true)) => number(key, if packet.answer { ESTABLISHED } else { NEW }),
        // Without a connection there is nothing to compare.
        (_, Some(false)) => Field::Absent,
        (CT_DIRECTION, Some(true)) => number(key, packet.answer),
        (CT_STATUS, Some(true)) if packet.unsure => Field::Unknown,
        (CT_STATUS, Some(true)) => {
            Field::Bit { mask: key.kind.number(DST_NAT).unwrap_or_default(), set: packet.translated }
        }
        _ => Field::Unknown,
    }
}

fn network(key: &Key, packet: &Passing) -> Field {
    let has = if packet.is_arp() {
        Network::Arp
    } else if packet.target.to.is_ipv4() {
        Network::Ip
    } else {
        Network::Ip6
    };
    match key.needs.network {
        None => return Field::Unknown,
        Some(needed) if needed != has => return Field::Absent,
        Some(_) => {}
    }
    const REQUEST: u8 = 1;
    const REPLY: u8 = 2;
    match &*key.name {
        "arp operation" => number(key, if packet.tells { REPLY } else { REQUEST }),
        // A neighbour solicitation is for a group, and the questions' own addresses may be others than the packet's.
        _ if packet.asks => match &*key.name {
            "ip6 nexthdr" => number(key, packet.protocol()),
            _ => Field::Unknown,
        },
        "ip saddr" | "ip6 saddr" => packet.from.map_or(Field::Unknown, |from| Field::Is(octets(from))),
        "ip daddr" | "ip6 daddr" if !packet.unsure => Field::Is(octets(packet.target.to)),
        "ip protocol" | "ip6 nexthdr" => number(key, packet.protocol()),
        _ => Field::Unknown,
    }
}

fn transport(key: &Key, packet: &Passing) -> Field {
    if packet.is_arp() || key.needs.transport.is_some_and(|needed| u64::from(needed) != packet.protocol()) {
        return Field::Absent;
    }
    match packet.target.carries {
        Carries::Tcp(port) | Carries::Udp(port) if !packet.asks => {
            // An answer comes from the port that was asked; the client's is any.
            let known = if packet.answer { " sport" } else { " dport" };
            if key.name.ends_with(known) && !packet.unsure { number(key, port) } else { Field::Unknown }
        }
        _ => icmp(key, packet),
    }
}

fn icmp(key: &Key, packet: &Passing) -> Field {
    // RFC 792, RFC 4443, RFC 4861.
    let kind: u8 = match (packet.asks, packet.target.to.is_ipv4(), packet.answer) {
        (true, ..) if packet.tells => 136,
        (true, ..) => 135,
        (_, true, false) => 8,
        (_, true, true) => 0,
        (_, false, false) => 128,
        (_, false, true) => 129,
    };
    match &*key.name {
        _ if packet.unsure => Field::Unknown,
        "icmp type" | "icmpv6 type" => number(key, kind),
        "icmp code" | "icmpv6 code" => number(key, false),
        _ => Field::Unknown,
    }
}

fn number(key: &Key, number: impl Into<u64>) -> Field {
    key.kind.number(number.into()).map_or(Field::Unknown, Field::Is)
}

/// The kernel compares with an empty name where there is no device.
fn name(key: &Key, device: &Device) -> Field {
    let mut bytes = match device {
        Device::Unknown => return Field::Unknown,
        Device::None => Vec::new(),
        Device::Is(name) => name.as_bytes().to_vec(),
    };
    bytes.resize(key.kind.len, 0);
    Field::Is(bytes)
}

/// `lo` is the first of every namespace.
fn index(key: &Key, device: &Device) -> Field {
    const LO: u64 = 1;
    match device {
        Device::Unknown => Field::Unknown,
        Device::None => number(key, 0_u8),
        Device::Is(name) if name == "lo" => number(key, LO),
        Device::Is(_) => key.kind.number(LO).map_or(Field::Unknown, Field::Not),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

impl Passing {
    fn ether_type(&self) -> u16 {
        let protocol = match (self.asks, self.target.to) {
            (true, IpAddr::V4(_)) => Network::Arp,
            (false, IpAddr::V4(_)) => Network::Ip,
            (_, IpAddr::V6(_)) => Network::Ip6,
        };
        protocol.ether_type()
    }

    /// `IPPROTO_*`.
    fn protocol(&self) -> u64 {
        let protocol = match self.target.carries {
            _ if self.asks => libc::IPPROTO_ICMPV6,
            Carries::Tcp(_) => libc::IPPROTO_TCP,
            Carries::Udp(_) => libc::IPPROTO_UDP,
            Carries::Echo if self.target.to.is_ipv4() => libc::IPPROTO_ICMP,
            Carries::Echo => libc::IPPROTO_ICMPV6,
        };
        protocol as u64
    }
}
