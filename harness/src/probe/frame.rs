//! Parsed frames.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};

use etherparse::{LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice};

use crate::{Mac, probe::icmp};

/// The ethertype of sentinels (IEEE 802: local experiments).
pub(crate) const SENTINEL_ETHERTYPE: u16 = 0x88b5;
const SENTINEL_MAGIC: [u8; 8] = *b"netproof";

/// A frame that was seen on a device. Prints as a line of `tcpdump -e -n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it.
    pub at: SystemTime,
    /// The interface index of the device that it was seen on; 0, where it was seen on none.
    pub index: u32,
    /// Which way it went, and for whom the kernel took it.
    pub direction: Direction,
    /// Who sent it.
    pub source: Mac,
    /// Whom it was sent to.
    pub destination: Mac,
    /// The type of what it carries: 0x0806 for ARP, 0x8100 for a VLAN tag (IEEE 802.1Q) and what comes behind it.
    pub ethertype: u16,
    /// What it carries.
    pub packet: Packet,
    /// The whole frame, Ethernet header included.
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
        /// The payload's length in bytes.
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
    /// Another IP packet, or a fragment but the first.
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
        let (mut destination, mut source, mut ethertype, mut packet) =
            (Mac::default(), Mac::default(), 0, Packet::Unknown);
        if let Ok(sliced) = LaxSlicedPacket::from_ethernet(&bytes)
            && let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link
        {
            (destination, source) = (Mac(ethernet.destination()), Mac(ethernet.source()));
            ethertype = ethernet.ether_type().0;
            packet = sentinel(ethertype, ethernet.payload_slice()).unwrap_or_else(|| parse(&sliced));
        }
        Self { at, index: 0, direction, source, destination, ethertype, packet, bytes }
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
}

/// A sentinel frame from `source`, to everyone.
pub(crate) fn sentinel_frame(source: Mac, token: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(60);
    bytes.extend(Mac::BROADCAST.0);
    bytes.extend(source.0);
    bytes.extend(SENTINEL_ETHERTYPE.to_be_bytes());
    bytes.extend(SENTINEL_MAGIC);
    bytes.extend(token.to_be_bytes());
    bytes.resize(60, 0);
    bytes
}

/// IEEE 802.1Q, and 802.1ad.
fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

fn sentinel(ethertype: u16, payload: &[u8]) -> Option<Packet> {
    if let ([_, _, high, low, rest @ ..], true) = (payload, is_tag(ethertype)) {
        return sentinel(u16::from_be_bytes([*high, *low]), rest);
    }
    let (magic, rest) = payload.split_first_chunk::<8>()?;
    let token = u64::from_be_bytes(*rest.first_chunk()?);
    (ethertype == SENTINEL_ETHERTYPE && *magic == SENTINEL_MAGIC).then_some(Packet::Sentinel { token })
}

fn parse(sliced: &LaxSlicedPacket<'_>) -> Packet {
    let (ip, protocol) = match &sliced.net {
        Some(LaxNetSlice::Arp(arp)) => return parse_arp(arp.slice()),
        Some(LaxNetSlice::Ipv4(v4)) => {
            let header = v4.header();
            let ip = Ip {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                ttl: header.ttl(),
            };
            (ip, v4.payload_ip_number().0)
        }
        Some(LaxNetSlice::Ipv6(v6)) => {
            let header = v6.header();
            let ip = Ip {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                ttl: header.hop_limit(),
            };
            (ip, v6.payload().ip_number.0)
        }
        None => return Packet::Unknown,
    };
    match &sliced.transport {
        Some(TransportSlice::Icmpv4(message)) => parse_icmp(ip, message.slice()),
        Some(TransportSlice::Icmpv6(message)) => parse_icmpv6(ip, message.slice()),
        Some(TransportSlice::Udp(udp)) => Packet::Udp {
            ip,
            source_port: udp.source_port(),
            destination_port: udp.destination_port(),
            size: udp.payload().len(),
        },
        Some(TransportSlice::Tcp(tcp)) => Packet::Tcp {
            ip,
            source_port: tcp.source_port(),
            destination_port: tcp.destination_port(),
            flags: flags(tcp),
            size: tcp.payload().len(),
        },
        _ => Packet::Ip { ip, protocol },
    }
}

fn parse_arp(bytes: &[u8]) -> Packet {
    // Ethernet (1), IPv4 (0x0800), lengths 6 and 4; anything else is not ours to read.
    let (Some(body), [0, 1, 8, 0, 6, 4, ..]) = (bytes.get(6..28), bytes) else { return Packet::Unknown };
    let ip = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
    let mac = |at: usize| Mac::from_slice(&body[at..]).unwrap_or_default();
    Packet::Arp {
        op: u16::from_be_bytes([body[0], body[1]]),
        sender_mac: mac(2),
        sender_ip: ip(8),
        target_mac: mac(12),
        target_ip: ip(18),
    }
}

fn parse_icmp(ip: Ip, message: &[u8]) -> Packet {
    match icmp::echo(message) {
        Some((kind @ (icmp::ECHO_REQUEST | icmp::ECHO_REPLY), identifier, seq)) => {
            Packet::Echo { reply: kind == icmp::ECHO_REPLY, ip, identifier, seq }
        }
        Some((kind, ..)) => Packet::Icmp { ip, kind, code: message[1] },
        None => Packet::Ip { ip, protocol: libc::IPPROTO_ICMP as u8 },
    }
}

fn parse_icmpv6(ip: Ip, message: &[u8]) -> Packet {
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    let target = message.get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(Ipv6Addr::from);
    match (icmp::echo(message), target) {
        (Some((kind @ (icmp::V6_ECHO_REQUEST | icmp::V6_ECHO_REPLY), identifier, seq)), _) => {
            Packet::Echo { reply: kind == icmp::V6_ECHO_REPLY, ip, identifier, seq }
        }
        (Some((SOLICITATION, ..)), Some(target)) => Packet::NeighbourSolicitation { ip, target },
        (Some((ADVERTISEMENT, ..)), Some(target)) => {
            Packet::NeighbourAdvertisement { ip, target, mac: link_layer_option(&message[24..]) }
        }
        (Some((kind, ..)), _) => Packet::Icmp { ip, kind, code: message[1] },
        (None, _) => Packet::Ip { ip, protocol: libc::IPPROTO_ICMPV6 as u8 },
    }
}

/// The target link-layer address option (RFC 4861 section 4.6.1: type 2, length in units of 8 bytes).
fn link_layer_option(mut options: &[u8]) -> Option<Mac> {
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        if kind == 2 && units >= 1 {
            return Mac::from_slice(&options[2..]);
        }
        options = options.get(length.max(8)..)?;
    }
    None
}

/// In tcpdump's letters, in its order.
fn flags(tcp: &TcpSlice<'_>) -> String {
    let all =
        [(tcp.fin(), 'F'), (tcp.syn(), 'S'), (tcp.rst(), 'R'), (tcp.psh(), 'P'), (tcp.urg(), 'U'), (tcp.ack(), '.')];
    all.into_iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect()
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
        write!(
            f,
            "{} {:<3} {} > {}, ethertype {name} ({:#06x}), length {}: {}{}",
            time_of_day(self.at),
            self.direction,
            self.source,
            self.destination,
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
