//! Parsed frames.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use crate::Mac;

mod parse;

use self::parse::{Parsed, is_tag};
pub(crate) use self::parse::{sentinel_frame, sentinel_packet};

/// The ethertype of sentinels (IEEE 802: local experiments).
pub(crate) const SENTINEL_ETHERTYPE: u16 = 0x88b5;

/// A frame that was seen on a device. Prints as a line of `tcpdump -e -n`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// When the kernel saw it.
    pub at: SystemTime,
    /// The interface index of the device that it was seen on; 0, where it was seen on none.
    pub index: u32,
    /// Which way it went, and for whom the kernel took it.
    pub direction: Direction,
    /// Whether its device has Ethernet; a TUN device, WireGuard or an IP tunnel has none.
    pub is_ethernet: bool,
    /// Who sent it; zeroes where there is no Ethernet.
    pub source: Mac,
    /// Whom it was sent to; zeroes where there is no Ethernet.
    pub destination: Mac,
    /// The type of what it carries: 0x0806 for ARP, 0x8100 for a VLAN tag (IEEE 802.1Q) and what comes behind it.
    pub ethertype: u16,
    /// What it carries.
    pub packet: Packet,
    /// The whole frame, Ethernet header included; where there is none, the IP packet.
    pub bytes: Vec<u8>,
}

/// Which way a frame went, and for whom the kernel took it: `sll_pkttype`, packet(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In, to this device's own MAC address.
    In,
    /// In, to everyone.
    Broadcast,
    /// In, to a group.
    Multicast,
    /// In, to another's MAC address: the stack drops it, a bridge may pass it on.
    Other,
    /// Out.
    Out,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// ARP (RFC 826).
    Arp {
        /// 1: request, 2: reply.
        op: u16,
        /// Who asks or answers.
        sender_ip: Ipv4Addr,
        /// The MAC address that it says it has.
        sender_mac: Mac,
        /// Whom is asked for, or answered.
        target_ip: Ipv4Addr,
        /// Its MAC address; zeroes in a request.
        target_mac: Mac,
    },
    /// ICMP or ICMPv6 echo.
    Echo {
        /// Whether it is a reply.
        reply: bool,
        /// From and to whom.
        ip: Ip,
        /// Which exchange it belongs to.
        identifier: u16,
        /// Which of the exchange's.
        seq: u16,
    },
    /// Neighbour solicitation: IPv6's ARP request (RFC 4861).
    NeighbourSolicitation {
        /// From and to whom; from `::` in duplicate address detection.
        ip: Ip,
        /// Whom is asked for.
        target: Ipv6Addr,
    },
    /// Neighbour advertisement: IPv6's ARP reply (RFC 4861).
    NeighbourAdvertisement {
        /// From and to whom.
        ip: Ip,
        /// Who is spoken of.
        target: Ipv6Addr,
        /// Its MAC address, where the option is there.
        mac: Option<Mac>,
    },
    /// Another ICMP or ICMPv6 message.
    Icmp {
        /// From and to whom.
        ip: Ip,
        /// Its type: 3 destination unreachable, 5 redirect; of ICMPv6 134 router advertisement, 137 redirect.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// UDP.
    Udp {
        /// From and to whom.
        ip: Ip,
        /// From this port,
        source_port: u16,
        /// to this one.
        destination_port: u16,
        /// The payload's length in bytes; of a first fragment what it carries of that.
        size: usize,
    },
    /// TCP.
    Tcp {
        /// From and to whom.
        ip: Ip,
        /// From this port,
        source_port: u16,
        /// to this one.
        destination_port: u16,
        /// As tcpdump writes them: `S`, `S.`, `R`, `P.`, `.`
        flags: String,
        /// The payload's length in bytes.
        size: usize,
    },
    /// Another IP packet, or a fragment but the first, which is read as what it begins.
    Ip {
        /// From and to whom.
        ip: Ip,
        /// The protocol number.
        protocol: u8,
    },
    /// A frame that the harness sent to mark a moment.
    Sentinel {
        /// Which one.
        token: u64,
    },
    /// Anything else.
    Unknown,
}

/// An IP header's part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// TTL, or hop limit.
    pub ttl: u8,
}

impl Frame {
    /// Parses a frame. Nothing is too short or too wrong: what cannot be read is [`Packet::Unknown`].
    #[must_use]
    pub fn parse(bytes: Vec<u8>, at: SystemTime, direction: Direction) -> Self {
        Self::of(parse::ethernet(&bytes), true, bytes, at, direction)
    }

    /// Parses what passed a device without Ethernet: an IP packet.
    #[must_use]
    pub fn parse_ip(bytes: Vec<u8>, at: SystemTime, direction: Direction) -> Self {
        Self::of(parse::ip(&bytes), false, bytes, at, direction)
    }

    fn of(parsed: Parsed, is_ethernet: bool, bytes: Vec<u8>, at: SystemTime, direction: Direction) -> Self {
        let Parsed { source, destination, ethertype, packet } = parsed;
        Self { at, index: 0, direction, is_ethernet, source, destination, ethertype, packet, bytes }
    }

    /// The IP header's part, where it carries IP.
    #[must_use]
    pub fn ip(&self) -> Option<Ip> {
        use Packet::*;
        match &self.packet {
            Echo { ip, .. }
            | NeighbourSolicitation { ip, .. }
            | NeighbourAdvertisement { ip, .. }
            | Icmp { ip, .. }
            | Udp { ip, .. }
            | Tcp { ip, .. }
            | Ip { ip, .. } => Some(*ip),
            Arp { .. } | Sentinel { .. } | Unknown => None,
        }
    }

    /// The VLAN of its (outer) tag, where it has one: 0 in a tag that has only a priority.
    #[must_use]
    pub fn vlan(&self) -> Option<u16> {
        let tag = self.bytes.get(14..16).filter(|_| is_tag(self.ethertype))?;
        Some(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff)
    }

    /// Whether it left by the device, rather than came in.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.direction == Direction::Out
    }

    /// Whether the device handed it to the stack: neither on its way out, nor for another's MAC address.
    pub(crate) fn is_taken(&self) -> bool {
        !matches!(self.direction, Direction::Out | Direction::Other)
    }
}

/// `12:00:00.123456 Out 02:… > ff:…, ethertype ARP (0x0806), length 42: Request who-has 10.0.0.2 tell 10.0.0.1`
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.ethertype {
            0x0800 => "IPv4",
            0x0806 => "ARP",
            0x86dd => "IPv6",
            0x8100 => "802.1Q",
            SENTINEL_ETHERTYPE => "sentinel",
            _ => "unknown",
        };
        let way = match self.is_ethernet {
            true => format!("{} > {}, ", self.source, self.destination),
            false => String::new(),
        };
        write!(
            f,
            "{} {:<3} {way}ethertype {name} ({:#06x}), length {}: {}{}",
            time_of_day(self.at),
            self.direction,
            self.ethertype,
            self.bytes.len(),
            self.vlan().map(|vlan| format!("vlan {vlan}, ")).unwrap_or_default(),
            self.packet
        )
    }
}

/// UTC, to the microsecond.
fn time_of_day(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, since.subsec_micros())
}

/// In the letters of `tcpdump -i any`.
impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::In => "In",
            Self::Broadcast => "B",
            Self::Multicast => "M",
            Self::Other => "P",
            Self::Out => "Out",
        })
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp { op: 1, sender_ip, target_ip, .. } => write!(f, "Request who-has {target_ip} tell {sender_ip}"),
            Self::Arp { op: 2, sender_ip, sender_mac, .. } => write!(f, "Reply {sender_ip} is-at {sender_mac}"),
            Self::Arp { op, .. } => write!(f, "ARP operation {op}"),
            Self::Echo { reply, ip, identifier, seq } => {
                let what = if *reply { "reply" } else { "request" };
                write!(f, "{ip} {} echo {what}, id {identifier}, seq {seq}, ttl {}", icmp_name(ip), ip.ttl)
            }
            Self::NeighbourSolicitation { ip, target } => {
                write!(f, "{ip} ICMP6, neighbor solicitation, who has {target}")
            }
            Self::NeighbourAdvertisement { ip, target, mac } => {
                write!(f, "{ip} ICMP6, neighbor advertisement, tgt is {target}")?;
                mac.map_or(Ok(()), |mac| write!(f, " at {mac}"))
            }
            Self::Icmp { ip, kind, code } => write!(f, "{ip} {}, type {kind}, code {code}", icmp_name(ip)),
            Self::Udp { ip, source_port, destination_port, size } => {
                write!(f, "{}.{source_port} > {}.{destination_port}: UDP, length {size}", ip.source, ip.destination)
            }
            Self::Tcp { ip, source_port, destination_port, flags, size } => {
                write!(f, "{}.{source_port} > {}.{destination_port}: ", ip.source, ip.destination)?;
                write!(f, "Flags [{flags}], length {size}")
            }
            Self::Ip { ip, protocol } => write!(f, "{ip} ip-proto-{protocol}"),
            Self::Sentinel { token } => write!(f, "sentinel {token:x}"),
            Self::Unknown => write!(f, "(not parsed)"),
        }
    }
}

/// `10.0.0.1 > 10.0.0.2:`
impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}:", self.source, self.destination)
    }
}

fn icmp_name(ip: &Ip) -> &'static str {
    if ip.source.is_ipv4() { "ICMP" } else { "ICMP6" }
}
