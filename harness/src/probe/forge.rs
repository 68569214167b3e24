//! Frames as bytes, for an [`Injector`](crate::probe::inject::Injector): honest ones and forged ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{PacketBuilder, PacketBuilderStep, ip_number};

use crate::{Mac, probe::icmp};

/// The group of every IPv6 node on a link, and its Ethernet address (RFC 2464 section 7).
const ALL_NODES: (Ipv6Addr, Mac) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), Mac([0x33, 0x33, 0, 0, 0, 1]));

/// An ARP request to everyone (RFC 826).
#[must_use]
pub fn arp_request(sender_mac: Mac, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    arp(1, Mac::BROADCAST, (sender_mac, sender_ip), (Mac::default(), target_ip))
}

/// An ARP reply to one host, asked for or not.
#[must_use]
pub fn arp_reply(sender_mac: Mac, sender_ip: Ipv4Addr, target_mac: Mac, target_ip: Ipv4Addr) -> Vec<u8> {
    arp(2, target_mac, (sender_mac, sender_ip), (target_mac, target_ip))
}

/// A gratuitous ARP request: `address` is at `mac` (RFC 5227 section 3).
#[must_use]
pub fn arp_announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(1, Mac::BROADCAST, (mac, address), (Mac::default(), address))
}

fn arp(op: u16, destination: Mac, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(sender.0, destination, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(op.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(address.octets());
    }
    frame
}

/// From and to whom an IP packet goes, in Ethernet and in IP; each may be a lie.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The sender's MAC address.
    pub source_mac: Mac,
    /// The next hop's MAC address.
    pub destination_mac: Mac,
    /// The sender's address.
    pub source: IpAddr,
    /// The target's address, of the same IP version.
    pub destination: IpAddr,
}

/// An ICMP or ICMPv6 echo request of 64 bytes.
#[must_use]
pub fn echo_request(way: Way, identifier: u16, seq: u16) -> Vec<u8> {
    let v6 = way.destination.is_ipv6();
    let mut message = icmp::echo_request(v6, identifier, seq, 56);
    if !v6 {
        return ip(way, 64, ip_number::ICMP.0, &message);
    }
    seal(&mut message, way);
    ip(way, 64, ip_number::IPV6_ICMP.0, &message)
}

/// A UDP datagram.
#[must_use]
pub fn udp(way: Way, source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = builder(way, 64).udp(source_port, destination_port);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("a vector takes every byte, and the lengths fit");
    frame
}

/// The first segment of a TCP connection.
#[must_use]
pub fn tcp_syn(way: Way, source_port: u16, destination_port: u16) -> Vec<u8> {
    let builder = builder(way, 64).tcp(source_port, destination_port, 1, 64_240).syn();
    let mut frame = Vec::with_capacity(builder.size(0));
    builder.write(&mut frame, &[]).expect("a vector takes every byte, and the lengths fit");
    frame
}

/// An unasked-for neighbour advertisement to everyone: `address` is at `mac`, whatever you thought (RFC 4861 section 4.4).
#[must_use]
pub fn neighbour_advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    neighbour_advertisement_from(mac, address, address)
}

/// The same from another address than the one that is spoken of.
#[must_use]
pub fn neighbour_advertisement_from(mac: Mac, source: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let override_flag = 0x20;
    let mut message = vec![136, 0, 0, 0, override_flag, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac.0);
    to_all_nodes(mac, source, message)
}

/// A neighbour solicitation for `target` from `source`, to everyone (RFC 4861 section 4.3).
/// With `::` as the source it is duplicate address detection's.
#[must_use]
pub fn neighbour_solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !source.is_unspecified() {
        message.extend([1, 1]);
        message.extend(mac.0);
    }
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let group_mac = Mac([0x33, 0x33, 0xff, a, b, c]);
    let way = Way { source_mac: mac, destination_mac: group_mac, source: source.into(), destination: group.into() };
    seal(&mut message, way);
    ip(way, 255, ip_number::IPV6_ICMP.0, &message)
}

/// A router advertisement: I am a default router for `lifetime` seconds, and `prefix` (a /64) is on this link (RFC 4861
/// section 4.2). `source` must be link-local, else hosts ignore it.
#[must_use]
pub fn router_advertisement(mac: Mac, source: Ipv6Addr, lifetime: u16, prefix: Option<Ipv6Addr>) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    message.extend([1, 1]);
    message.extend(mac.0);
    if let Some(prefix) = prefix {
        let (on_link, autonomous) = (0x80, 0x40);
        message.extend([3, 4, 64, on_link | autonomous]);
        message.extend(3600u32.to_be_bytes());
        message.extend(3600u32.to_be_bytes());
        message.extend([0; 4]);
        message.extend(prefix.octets());
    }
    to_all_nodes(mac, source, message)
}

/// An ICMPv6 message to every node on the link, with the hop limit of 255 that neighbour discovery demands.
fn to_all_nodes(mac: Mac, source: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let (group, group_mac) = ALL_NODES;
    let way = Way { source_mac: mac, destination_mac: group_mac, source: source.into(), destination: group.into() };
    seal(&mut message, way);
    ip(way, 255, ip_number::IPV6_ICMP.0, &message)
}

/// Fills in an ICMPv6 checksum, which covers a pseudo-header (RFC 8200 section 8.1).
fn seal(message: &mut [u8], way: Way) {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (way.source, way.destination) else { return };
    let mut covered = Vec::with_capacity(40 + message.len());
    covered.extend(source.octets());
    covered.extend(destination.octets());
    covered.extend((message.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, ip_number::IPV6_ICMP.0]);
    covered.extend_from_slice(message);
    message[2..4].copy_from_slice(&icmp::checksum(&covered).to_be_bytes());
}

/// An IP packet with any payload, in an Ethernet frame.
fn ip(way: Way, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let builder = builder(way, ttl);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, protocol.into(), payload).expect("a vector takes every byte, and the lengths fit");
    frame
}

fn builder(way: Way, ttl: u8) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(way.source_mac.0, way.destination_mac.0);
    match (way.source, way.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ethernet.ipv4(source.octets(), destination.octets(), ttl),
        (source, destination) => ethernet.ipv6(mapped(source), mapped(destination), ttl),
    }
}

/// An address of the wrong IP version is mapped into IPv6: the frame is nonsense then, as asked for.
fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn ethernet(source: Mac, destination: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        Deadline,
        probe::{
            frame::{Direction, Frame},
            testing::{look, pair},
        },
    };

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    fn line(bytes: Vec<u8>) -> String {
        Frame::parse(bytes, SystemTime::UNIX_EPOCH, Direction::Out).to_string()
    }

    /// What is forged is what tcpdump would print.
    #[test]
    fn frames_print_as_tcpdump_does() {
        let [v4, other]: [Ipv4Addr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let [v6, link]: [Ipv6Addr; 2] = ["fd00::1", "fe80::1"].map(|text| text.parse().unwrap());
        let way = Way { source_mac: A, destination_mac: B, source: v4.into(), destination: other.into() };
        let head = "00:00:00.000000 Out 02:00:00:00:00:0a >";
        let cases = [
            (
                arp_request(A, v4, other),
                "ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 10.0.0.2 tell 10.0.0.1",
            ),
            (
                arp_reply(A, v4, B, other),
                "02:00:00:00:00:0b, ethertype ARP (0x0806), length 42: Reply 10.0.0.1 is-at 02:00:00:00:00:0a",
            ),
            (
                echo_request(way, 7, 1),
                "02:00:00:00:00:0b, ethertype IPv4 (0x0800), length 98: 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 1, ttl 64",
            ),
            (
                udp(way, 1234, 53, b"abc"),
                "02:00:00:00:00:0b, ethertype IPv4 (0x0800), length 45: 10.0.0.1.1234 > 10.0.0.2.53: UDP, length 3",
            ),
            (
                tcp_syn(way, 1234, 80),
                "02:00:00:00:00:0b, ethertype IPv4 (0x0800), length 54: 10.0.0.1.1234 > 10.0.0.2.80: Flags [S], length 0",
            ),
            (
                neighbour_advertisement(A, v6),
                "33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: fd00::1 > ff02::1: ICMP6, neighbor advertisement, tgt is fd00::1 at 02:00:00:00:00:0a",
            ),
            (
                neighbour_solicitation(A, Ipv6Addr::UNSPECIFIED, v6),
                "33:33:ff:00:00:01, ethertype IPv6 (0x86dd), length 78: :: > ff02::1:ff00:1: ICMP6, neighbor solicitation, who has fd00::1",
            ),
            (
                router_advertisement(A, link, 1800, Some(v6)),
                "33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 110: fe80::1 > ff02::1: ICMP6, type 134, code 0",
            ),
        ];
        for (bytes, rest) in cases {
            assert_eq!(line(bytes), format!("{head} {rest}"));
        }
    }

    /// No frame, however cut short, is too short to parse.
    #[test]
    fn cut_frames_parse() {
        let whole = router_advertisement(A, "fe80::1".parse().unwrap(), 1800, None);
        for bytes in
            [whole, neighbour_advertisement(A, "fd00::1".parse().unwrap()), arp_announcement(A, Ipv4Addr::LOCALHOST)]
        {
            for length in 0..bytes.len() {
                line(bytes[..length].to_vec());
            }
        }
    }

    /// ICMPv6 checksums are right: over message and pseudo-header the sum is zero.
    #[test]
    fn icmpv6_checksums_are_right() {
        let frame = neighbour_advertisement(A, "fd00::1".parse().unwrap());
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(etherparse::TransportSlice::Icmpv6(message)), Some(etherparse::NetSlice::Ipv6(ip))) =
            (sliced.transport, sliced.net)
        else {
            panic!("not ICMPv6")
        };
        assert!(message.is_checksum_valid(ip.header().source(), ip.header().destination()));
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// The kernel takes forged frames for real ones: an announced address moves, an advertised router is used.
    #[test]
    fn the_kernel_believes_them() {
        let (a, b) = pair();
        a.set_sysctl("net.ipv6.conf.a0.accept_ra", "1").unwrap();
        let injector = b.injector("b0").unwrap();
        let two: Ipv6Addr = "fd00::2".parse().unwrap();
        assert!(look(&a.ping(Ipv4Addr::new(10, 0, 0, 2))).answered() && look(&a.ping(two)).answered());
        injector.send(&arp_announcement(A, Ipv4Addr::new(10, 0, 0, 2))).unwrap();
        injector.send(&neighbour_advertisement(A, two)).unwrap();
        injector.send(&router_advertisement(B, "fe80::b".parse().unwrap(), 1800, None)).unwrap();
        let deadline = Deadline::after(Duration::from_secs(5));
        let is_at = |address: IpAddr| look(&a.neighbour(address).on("a0")).to_string().contains(&A.to_string());
        let routed = || look(&a.routes()).to_string().contains("default via fe80::b");
        while !(is_at(Ipv4Addr::new(10, 0, 0, 2).into()) && is_at(two.into()) && routed()) {
            let seen = [look(&a.neighbour(two).on("a0")).to_string(), look(&a.routes()).to_string()];
            assert!(!deadline.passed(), "{seen:?}");
        }
    }
}
