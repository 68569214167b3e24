//! Frames in another's name, and a node's own, where the bridge has a guard against spoofing.

use std::net::{IpAddr, Ipv6Addr};

use netproof::{
    Filter, Frame, Lab, Mac, Station, Tap,
    forge::{self, Way},
    probe::frame::Packet,
};

use super::*;

/// A MAC address that nobody has.
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// An attacker, and who may hear it.
struct Attack<'a> {
    attacker: &'a Node,
    peer: &'a Node,
    host: &'a Node,
    bridge: &'a str,
    /// Where frames to the peer, to the host, and to the outside arrive, with where a sentinel comes from.
    ears: [(Tap, Station); 3],
}

impl<'a> Attack<'a> {
    /// Each of two nodes against the other.
    fn each(lab: &'a Lab) -> Result<[Self; 2]> {
        let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
        Ok([Self::new(lab, netns1, netns2)?, Self::new(lab, netns2, netns1)?])
    }

    fn new(lab: &'a Lab, attacker: &'a Node, peer: &'a Node) -> Result<Self> {
        let (host, bridge) = (lab.host(), lab.topology().bridges[0].name.as_str());
        let from_bridge = || Station::from((&**host, bridge));
        let ears = [
            (peer.tap(peer.device())?, from_bridge()),
            (host.tap(bridge)?, from_bridge()),
            (lab.outside().tap("eth0")?, (&**host, "eth0").into()),
        ];
        Ok(Self { attacker, peer, host, bridge, ears })
    }

    /// The attacker's honest ways to its peer, to the host, and to the outside.
    fn ways(&self, lab: &Lab, version: Version) -> Result<[Way; 3]> {
        let source = version.of(self.attacker).address;
        let by_host = |to| by_the_host(lab, self.attacker, source, to);
        let to_gateway = by_host(bridge_address(lab, version))?;
        let to_peer =
            Way { destination_mac: self.peer.mac(), destination: version.of(self.peer).address, ..to_gateway };
        Ok([to_peer, to_gateway, by_host(version.of(lab.outside()).address)?])
    }

    /// Its link-local address.
    fn link_local(&self) -> Result<Ipv6Addr> {
        has_link_local(self.attacker, self.attacker.device());
        let own = self.attacker.addresses().list()?.into_iter().find_map(|own| match own.address {
            IpNet::V6(net) if net.addr().is_unicast_link_local() => Some(net.addr()),
            _ => None,
        });
        Ok(own.expect("it has just had one"))
    }
}

/// An echo request, a TCP segment and a datagram, which a tap knows by their number.
fn every_kind(way: Way, number: u16) -> [Vec<u8>; 3] {
    const FROM: u16 = 40_000;
    [forge::echo_request(way, number, 1), forge::tcp_syn(way, FROM, number), forge::udp(way, FROM, number, b"netproof")]
}

fn numbered(number: u16) -> Filter {
    let is = move |frame: &Frame| match frame.packet {
        Packet::Echo { reply: false, identifier, .. } => identifier == number,
        Packet::Tcp { destination_port, .. } | Packet::Udp { destination_port, .. } => destination_port == number,
        _ => false,
    };
    Filter::from(is).named(format!("echo, TCP and UDP number {number}"))
}

pub(super) fn forged_sources(stage: &mut Stage) -> Result<()> {
    forge_sources(stage, |(ear, station), forged| drop(expect!(ear.frames(forged).before(station.clone()), 0)))?;
    // Where nothing guards the ports, all of it gets through.
    unguarded("anti-spoof", |lab| forge_sources(lab, |(ear, _), forged| drop(expect!(ear.frames(forged), 3..))))
}

/// Every node sends, in every kind and to everybody, what is not its own, and after it what is. The latter arrives;
/// of the former `check` says what becomes.
fn forge_sources(lab: &Lab, check: impl Fn(&(Tap, Station), Filter)) -> Result<()> {
    let mut number = 7000;
    for attack in Attack::each(lab)? {
        let injector = attack.attacker.injector(attack.attacker.device())?;
        for version in [Version::V4, Version::V6] {
            let ways = attack.ways(lab, version)?;
            for (lie, forged) in lies(version, &attack, ways[0]) {
                let (forged_number, own_number) = (number, number + 1);
                number += 2;
                // Nothing goes beyond the link from a link-local address.
                let far = if matches!(forged.source, IpAddr::V6(v6) if v6.is_unicast_link_local()) { 2 } else { 3 };
                let forgeries =
                    ways[..far].iter().map(|way| Way { source_mac: forged.source_mac, source: forged.source, ..*way });
                let forged = forgeries.flat_map(|way| every_kind(way, forged_number));
                let own = ways.iter().flat_map(|way| every_kind(*way, own_number));
                forged.chain(own).try_for_each(|frame| injector.send(&frame))?;
                given(format!("{} sends from {lie}", attack.attacker.name()), || {
                    attack.ears.iter().for_each(|(ear, _)| drop(expect!(ear.frames(numbered(own_number)), 3..)));
                    attack.ears[..far].iter().for_each(|ear| check(ear, numbered(forged_number)));
                });
            }
        }
    }
    Ok(())
}

/// What is wrong with a source, in words, and the way with it.
fn lies(version: Version, attack: &Attack<'_>, own: Way) -> Vec<(&'static str, Way)> {
    let address = |text: &str| text.parse::<IpAddr>().expect("it is one");
    let nobody = address(if version == Version::V4 { "10.20.99.99" } else { "fd00:20::99:99" });
    let mut lies = vec![
        ("an address that nobody has", Way { source: nobody, ..own }),
        ("its peer's address", Way { source: version.of(attack.peer).address, ..own }),
        ("its own address and another MAC address", Way { source_mac: NOBODY, ..own }),
    ];
    if version == Version::V6 {
        lies.push(("another link-local address", Way { source: address("fe80::bad"), ..own }));
    }
    lies
}

pub(super) fn forged_neighbours(stage: &mut Stage) -> Result<()> {
    forge_neighbours(stage, |(ear, station), forged| drop(expect!(ear.frames(forged).before(station.clone()), 0)))?;
    unguarded("anti-spoof", |lab| forge_neighbours(lab, |(ear, _), forged| drop(expect!(ear.frames(forged), 1..))))
}

/// Every node says that others' addresses are its own, and after it that its own are. The latter arrives; of the former
/// `check` says what becomes.
fn forge_neighbours(lab: &Lab, check: impl Fn(&(Tap, Station), Filter)) -> Result<()> {
    for attack in Attack::each(lab)? {
        let (name, mac) = (attack.attacker.name(), attack.attacker.mac());
        let injector = attack.attacker.injector(attack.attacker.device())?;
        let own = |version: Version| version.of(attack.attacker).address;
        let (IpAddr::V4(own), IpAddr::V6(own_v6)) = (own(Version::V4), own(Version::V6)) else {
            unreachable!("addresses are of the versions that were asked for")
        };
        let lies = claims(lab, &attack)?;
        let truth = [forge::arp_announcement(mac, own), forge::neighbour_advertisement(mac, own_v6)];
        lies.iter().map(|(_, frame)| frame).chain(&truth).try_for_each(|frame| injector.send(frame))?;
        for (ear, _) in &attack.ears[..2] {
            truth.iter().for_each(|frame| drop(expect!(ear.frames(same(name, "own announcement", frame)), 1..)));
        }
        for (what, frame) in &lies {
            // One to the peer's MAC address is no business of the host's, and the other way round.
            let to = Mac::from_slice(&frame[..6]).unwrap_or_default();
            let ears = if to.is_multicast() {
                &attack.ears[..2]
            } else if to == attack.peer.mac() {
                &attack.ears[..1]
            } else {
                &attack.ears[1..2]
            };
            ears.iter().for_each(|ear| check(ear, same(name, what, frame)));
        }
    }
    Ok(())
}

/// What the attacker says of others' addresses, in words and as a frame.
fn claims(lab: &Lab, attack: &Attack<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let (mac, peer_mac, bridge_mac) = (attack.attacker.mac(), attack.peer.mac(), mac_of(attack.host, attack.bridge)?);
    let of = |version: Version| {
        let own = version.of(attack.attacker).address;
        (own, version.of(attack.peer).address, bridge_address(lab, version))
    };
    let (
        (IpAddr::V4(own), IpAddr::V4(peer), IpAddr::V4(gateway)),
        (IpAddr::V6(own_v6), IpAddr::V6(peer_v6), IpAddr::V6(gateway_v6)),
    ) = (of(Version::V4), of(Version::V6))
    else {
        unreachable!("addresses are of the versions that were asked for")
    };
    let other: Ipv6Addr = "fe80::bad".parse().expect("it is one");
    // The frame is from its own MAC address; what it says is another.
    let mut elsewhere = forge::arp_announcement(NOBODY, own);
    elsewhere[6..12].copy_from_slice(&mac.0);
    Ok(vec![
        ("ARP announcement of the gateway's address", forge::arp_announcement(mac, gateway)),
        ("ARP announcement of its peer's address", forge::arp_announcement(mac, peer)),
        ("ARP announcement of another MAC address", elsewhere),
        ("ARP request in the gateway's name", forge::arp_request(mac, gateway, peer)),
        ("ARP reply in the gateway's name", forge::arp_reply(mac, gateway, peer_mac, peer)),
        ("ARP reply in its peer's name", forge::arp_reply(mac, peer, bridge_mac, gateway)),
        ("neighbour advertisement of the gateway's address", forge::neighbour_advertisement(mac, gateway_v6)),
        ("neighbour advertisement of its peer's address", forge::neighbour_advertisement(mac, peer_v6)),
        (
            "neighbour advertisement of the gateway's address, from its own",
            forge::neighbour_advertisement_from(mac, own_v6, gateway_v6),
        ),
        ("neighbour advertisement of another link-local address", forge::neighbour_advertisement(mac, other)),
    ])
}

/// This very frame.
fn same(who: &str, what: &str, frame: &[u8]) -> Filter {
    let frame = frame.to_vec();
    Filter::from(move |seen: &Frame| seen.bytes == frame).named(format!("{who}'s {what}"))
}

pub(super) fn advertisements_dropped(stage: &mut Stage) -> Result<()> {
    advertise(stage, |(ear, station), forged| drop(expect!(ear.frames(forged).before(station.clone()), 0)))?;
    unguarded("anti-spoof", |lab| advertise(lab, |(ear, _), forged| drop(expect!(ear.frames(forged), 1..))))
}

/// Every node says that it is a router, from its own link-local address, and what it may say after it. The latter
/// arrives at its peer; of the former `check` says what becomes.
fn advertise(lab: &Lab, check: impl Fn(&(Tap, Station), Filter)) -> Result<()> {
    for attack in Attack::each(lab)? {
        let (name, mac, own) = (attack.attacker.name(), attack.attacker.mac(), attack.link_local()?);
        let injector = attack.attacker.injector(attack.attacker.device())?;
        let forged = forge::router_advertisement(mac, own, 1800, "2001:db8:bad::".parse().ok());
        let truth = forge::neighbour_advertisement(mac, own);
        injector.send(&forged)?;
        injector.send(&truth)?;
        let ear = &attack.ears[0];
        expect!(ear.0.frames(same(name, "own neighbour advertisement", &truth)), 1..);
        check(ear, same(name, "router advertisement", &forged));
    }
    Ok(())
}

pub(super) fn own_frames_pass(stage: &mut Stage) -> Result<()> {
    for attack in Attack::each(stage)? {
        let from = attack.attacker;
        for version in stage.versions() {
            stage.cold()?;
            let gateway = stage.host().at(bridge_address(stage, version));
            for (place, target) in [
                (attack.peer, version.of(attack.peer)),
                (stage.host(), gateway),
                (stage.outside(), stage.external(version)),
            ] {
                let (_tcp, _udp) =
                    (place.serve_http((target.clone(), 7000))?, place.serve_udp((target.clone(), 7001))?);
                expect!(from.ping(&target), Reply { .. });
                expect!(from.tcp_to((target.clone(), 7000)), Connected { .. });
                expect!(from.udp_to((target, 7001)), Answer { .. });
            }
        }
        asks_whether_taken(&attack)?;
    }
    Ok(())
}

/// Whether an address is taken is asked from no address, before one has it.
fn asks_whether_taken(attack: &Attack<'_>) -> Result<()> {
    let (name, mac) = (attack.attacker.name(), attack.attacker.mac());
    let injector = attack.attacker.injector(attack.attacker.device())?;
    for version in [Version::V4, Version::V6] {
        let (what, question) = match version.of(attack.attacker).address {
            IpAddr::V4(own) => ("ARP probe for its own address", forge::arp_request(mac, [0, 0, 0, 0].into(), own)),
            IpAddr::V6(own) => (
                "probe for duplicates of its own address",
                forge::neighbour_solicitation(mac, Ipv6Addr::UNSPECIFIED, own),
            ),
        };
        let (ear, station) = &attack.ears[0];
        injector.send(&question)?;
        expect!(ear.frames(same(name, what, &question)).before(station.clone()), 1);
    }
    Ok(())
}
