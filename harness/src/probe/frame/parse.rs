//! What a frame's bytes say.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    IpNumber, Ipv6ExtensionSlice, LaxIpv4Slice, LaxIpv6Slice, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice,
    TransportSlice, UdpSlice,
};

use super::{Ip, Packet, SENTINEL_ETHERTYPE};
use crate::{Mac, probe::icmp};

/// A frame's header, and what it carries.
pub(super) struct Parsed {
    pub source: Mac,
    pub destination: Mac,
    pub ethertype: u16,
    pub packet: Packet,
}

const SENTINEL_MAGIC: [u8; 8] = *b"netproof";
/// The protocol number of sentinels where there is no Ethernet (RFC 3692: experiments).
const SENTINEL_PROTOCOL: u8 = 253;

pub(super) fn ethernet(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::nothing();
    if let Ok(sliced) = LaxSlicedPacket::from_ethernet(bytes)
        && let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link
    {
        (parsed.destination, parsed.source) = (Mac(ethernet.destination()), Mac(ethernet.source()));
        parsed.ethertype = ethernet.ether_type().0;
        parsed.packet = sentinel(parsed.ethertype, ethernet.payload_slice()).unwrap_or_else(|| packet(&sliced));
    }
    parsed
}

/// Of a device without Ethernet: an IP packet by itself.
pub(super) fn ip(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::nothing();
    if let Ok(sliced) = LaxSlicedPacket::from_ip(bytes) {
        parsed.ethertype = if bytes[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        parsed.packet = bare_sentinel(bytes).unwrap_or_else(|| packet(&sliced));
    }
    parsed
}

impl Parsed {
    fn nothing() -> Self {
        Self { source: Mac::default(), destination: Mac::default(), ethertype: 0, packet: Packet::Unknown }
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

/// A sentinel for a device without Ethernet: an IPv4 packet to everyone on it, which nobody forwards.
pub(crate) fn sentinel_packet(token: u64) -> Vec<u8> {
    let (from, to) = ([0; 4], Ipv4Addr::BROADCAST.octets());
    let payload: Vec<u8> = SENTINEL_MAGIC.into_iter().chain(token.to_be_bytes()).collect();
    let header = etherparse::Ipv4Header::new(payload.len() as u16, 1, IpNumber(SENTINEL_PROTOCOL), from, to);
    // Sixteen bytes are not too many.
    header.map(|header| header.to_bytes().into_iter().chain(payload).collect()).unwrap_or_default()
}

fn bare_sentinel(bytes: &[u8]) -> Option<Packet> {
    (bytes.get(9) == Some(&SENTINEL_PROTOCOL)).then(|| token(bytes.get(20..)?)).flatten()
}

fn token(payload: &[u8]) -> Option<Packet> {
    let (magic, rest) = payload.split_first_chunk::<8>()?;
    let token = u64::from_be_bytes(*rest.first_chunk()?);
    (*magic == SENTINEL_MAGIC).then_some(Packet::Sentinel { token })
}

/// IEEE 802.1Q, and 802.1ad.
pub(super) fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

fn sentinel(ethertype: u16, payload: &[u8]) -> Option<Packet> {
    if let ([_, _, high, low, rest @ ..], true) = (payload, is_tag(ethertype)) {
        return sentinel(u16::from_be_bytes([*high, *low]), rest);
    }
    (ethertype == SENTINEL_ETHERTYPE).then(|| token(payload)).flatten()
}

fn packet(sliced: &LaxSlicedPacket<'_>) -> Packet {
    let (ip, protocol, first) = match &sliced.net {
        Some(LaxNetSlice::Arp(arp)) => return parse_arp(arp.slice()),
        Some(LaxNetSlice::Ipv4(v4)) => (ip_of_v4(v4), v4.payload_ip_number().0, first_of_v4(v4)),
        Some(LaxNetSlice::Ipv6(v6)) => (ip_of_v6(v6), v6.payload().ip_number.0, first_of_v6(v6)),
        None => return Packet::Unknown,
    };
    match (&sliced.transport, first) {
        (Some(TransportSlice::Icmpv4(message)), _) => parse_icmp(ip, message.slice()),
        (Some(TransportSlice::Icmpv6(message)), _) => parse_icmpv6(ip, message.slice()),
        (Some(TransportSlice::Udp(udp)), _) => parse_udp(ip, udp),
        (Some(TransportSlice::Tcp(tcp)), _) => parse_tcp(ip, tcp),
        (None, Some(first)) => parse_first(ip, protocol, first),
        _ => Packet::Ip { ip, protocol },
    }
}

fn ip_of_v4(packet: &LaxIpv4Slice<'_>) -> Ip {
    let header = packet.header();
    Ip { source: header.source_addr().into(), destination: header.destination_addr().into(), ttl: header.ttl() }
}

fn ip_of_v6(packet: &LaxIpv6Slice<'_>) -> Ip {
    let header = packet.header();
    Ip { source: header.source_addr().into(), destination: header.destination_addr().into(), ttl: header.hop_limit() }
}

/// What the first fragment of an IPv4 packet carries, if it is one.
fn first_of_v4<'a>(packet: &LaxIpv4Slice<'a>) -> Option<&'a [u8]> {
    let is_first = packet.is_payload_fragmented() && packet.header().fragments_offset().value() == 0;
    is_first.then_some(packet.payload().payload)
}

/// What the first fragment of an IPv6 packet carries, if it is one.
fn first_of_v6<'a>(packet: &LaxIpv6Slice<'a>) -> Option<&'a [u8]> {
    let is_later =
        |extension| matches!(extension, Ipv6ExtensionSlice::Fragment(part) if part.fragment_offset().value() != 0);
    let is_first = packet.is_payload_fragmented() && !packet.extensions().clone().into_iter().any(is_later);
    is_first.then_some(packet.payload().payload)
}

/// A first fragment has the header of what is fragmented.
fn parse_first(ip: Ip, protocol: u8, bytes: &[u8]) -> Packet {
    let parsed = match IpNumber(protocol) {
        IpNumber::ICMP => Some(parse_icmp(ip, bytes)),
        IpNumber::IPV6_ICMP => Some(parse_icmpv6(ip, bytes)),
        IpNumber::UDP => UdpSlice::from_slice_lax(bytes).ok().map(|udp| parse_udp(ip, &udp)),
        IpNumber::TCP => TcpSlice::from_slice(bytes).ok().map(|tcp| parse_tcp(ip, &tcp)),
        _ => None,
    };
    parsed.unwrap_or(Packet::Ip { ip, protocol })
}

fn parse_udp(ip: Ip, udp: &UdpSlice<'_>) -> Packet {
    let (source_port, destination_port) = (udp.source_port(), udp.destination_port());
    Packet::Udp { ip, source_port, destination_port, size: udp.payload().len() }
}

fn parse_tcp(ip: Ip, tcp: &TcpSlice<'_>) -> Packet {
    let (source_port, destination_port) = (tcp.source_port(), tcp.destination_port());
    Packet::Tcp { ip, source_port, destination_port, flags: flags(tcp), size: tcp.payload().len() }
}

fn parse_arp(bytes: &[u8]) -> Packet {
    // Ethernet (1), IPv4 (0x0800), lengths 6 and 4; anything else is not ours to read.
    let (Some(body), [0, 1, 8, 0, 6, 4, ..]) = (bytes.get(6..28), bytes) else { return Packet::Unknown };
    let ip = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
    let mac = |at: usize| Mac::from_slice(&body[at..at + 6]).unwrap_or_default();
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
            return options.get(2..8).and_then(Mac::from_slice);
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
