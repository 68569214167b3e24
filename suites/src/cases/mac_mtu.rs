//! MAC addresses and MTUs.
//!
//! ```text
//! outside --- eth0 mtu 1400 [host: br0 mtu 1400] --- mtu 1400 [netns1]
//! ```

use netproof::Error;

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "mac-mtu",
    about: "Packets as large as the MTU pass, larger ones are told, and a bridge keeps what it has.",
    cases: &[
        Case {
            id: "mac-mtu/the-asked-mtu-is-everywhere",
            level: Must,
            claim: "Where the topology asks for an MTU, bridge, ports and nodes have it.",
            source: "moby#22297; netavark test 640",
            failing: "Packets are too large for the way out, and vanish.",
            on: &["mtu"],
            start: Built,
            run: asked_mtu,
        },
        Case {
            id: "mac-mtu/a-packet-of-the-whole-mtu-passes",
            level: Must,
            claim: "A packet as large as the MTU, not to be fragmented, passes between peers, to the host and to the outside.",
            source: "RFC 1191; moby#22297",
            failing: "Large transfers hang while small requests work.",
            on: &["gateway-one-subnet", "gateway-v6", "mtu", "publish"],
            start: Built,
            run: whole_mtu,
        },
        Case {
            id: "mac-mtu/an-oversize-packet-is-told",
            level: Should,
            claim: "A packet that must not be fragmented and is larger than the MTU is refused with an error, not lost.",
            source: "RFC 1191; moby#49398",
            failing: "Path MTU discovery does not work: connections hang.",
            on: &["gateway-one-subnet", "gateway-v6", "mtu", "isolated"],
            start: Built,
            run: oversize_told,
        },
        Case {
            id: "mac-mtu/a-smaller-mtu-on-the-way-is-told",
            level: Should,
            claim: "A node hears of a smaller MTU on its way: of the uplink's from its gateway, and of one beyond from the router there.",
            source: "RFC 1191; RFC 8201; RFC 5508 REQ-4",
            failing: "Behind a VPN or a tunnel small requests work, and large transfers hang.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: smaller_told,
        },
        Case {
            id: "mac-mtu/the-last-port-leaves-the-address-behind",
            level: Should,
            claim: "A bridge that loses its last port keeps its address.",
            source: "systemd test_bridge_ignore_carrier_loss",
            failing: "When the last container stops, the gateway of the next one is gone.",
            on: &["gateway-one-subnet", "gateway-v6", "internal"],
            start: Built,
            run: keeps_address,
        },
    ],
};

/// The MTU of a node's first interface.
fn mtu_of(node: &Node) -> Result<usize> {
    let links = node.links().list()?;
    Ok(links.iter().find(|link| link.name == node.device()).map_or(1500, |link| link.mtu as usize))
}

/// The length of the ICMP header and the IP header.
fn headers(version: Version) -> usize {
    if version == Version::V4 { 28 } else { 48 }
}

fn asked_mtu(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        let asked = stage.asked().nodes[0].interfaces[0].mtu.expect("the topology asks for one");
        expect!(stage.host().link(stage.bridge_of(node)), Some(Link { mtu, .. }) if mtu == asked);
        expect!(stage.host().link(node.port()), Some(Link { mtu, .. }) if mtu == asked);
        expect!(node.link(node.device()), Some(Link { mtu, .. }) if mtu == asked);
    }
    Ok(())
}

fn whole_mtu(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        for version in stage.versions() {
            let size = mtu_of(&pair.from)? - headers(version);
            stage.cold()?;
            expect!(pair.from.ping(version.of(&pair.to)).size(size).dont_fragment(), Reply { .. });
            expect!(pair.from.ping(stage.external(version)).size(size).dont_fragment(), Reply { .. });
            expect!(stage.host().ping(version.of(&pair.from)).size(size).dont_fragment(), Reply { .. });
        }
    }
    Ok(())
}

fn oversize_told(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        for version in stage.versions() {
            let size = mtu_of(node)? - headers(version) + 1;
            let external = stage.external(version);
            expect!(
                node.ping(&external).size(size).dont_fragment(),
                LocalError { name: "EMSGSIZE", .. } | Unreachable { code: "frag-needed" | "packet-too-big", .. }
            );
            expect!(node.ping(&external).size(size).may_fragment(), Reply { .. });
        }
    }
    Ok(())
}

fn smaller_told(stage: &mut Stage) -> Result<()> {
    let beyond = beyond_the_outside(stage)?;
    let is_told = |stage: &Stage, smaller: u32, to: &dyn Fn(Version) -> Target| {
        for version in stage.versions() {
            for node in stage.nodes() {
                expect!(node.ping(to(version)), Reply { .. });
                let large = node.ping(to(version)).size(1500 - headers(version)).dont_fragment();
                expect!(large, Unreachable { code: "frag-needed" | "packet-too-big", mtu, .. } if mtu == smaller);
            }
        }
    };
    is_told(stage, 1400, &|version| beyond.at(net(BEYOND[usize::from(version == Version::V6)].1).addr()));
    stage.host().apply(link::set_mtu("eth0", 1300))?;
    stage.outside().apply(link::set_mtu("eth0", 1300))?;
    // Another address than before: the nodes remember what they have heard.
    is_told(stage, 1300, &|version| stage.external(version));
    Ok(())
}

/// What is beyond the outside: the router's address there, and whom it leads to.
const BEYOND: [(&str, &str); 2] = [("203.0.113.1/24", "203.0.113.2/24"), ("2001:db8:0:3::1/64", "2001:db8:0:3::2/64")];

/// A host behind the outside, which leads there as a router, by a link with an MTU of 1400.
fn beyond_the_outside(stage: &mut Stage) -> Result<Node> {
    let beyond = stage.add_namespace("beyond")?;
    let outside = stage.outside();
    outside.set_sysctl("net.ipv4.ip_forward", "1")?;
    outside.set_sysctl("net.ipv6.conf.all.forwarding", "1")?;
    outside.apply(link::Veth::new("np-beyond", "eth0").mtu(1400).peer_in(&beyond).request())?;
    beyond.apply_all([link::set_up("lo"), link::set_up("eth0")])?;
    for (router, host) in BEYOND {
        outside.apply(addr::add(outside.index("np-beyond")?, net(router)))?;
        beyond.apply(addr::add(beyond.index("eth0")?, net(host)))?;
        beyond.add_route(&default_via(net(router).addr()))?;
    }
    outside.settle(&["np-beyond"])?;
    beyond.settle(&["eth0"])?;
    Ok(beyond)
}

fn keeps_address(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let bridge = stage.topology().bridges[0].name.clone();
    let addresses = stage.topology().bridges[0].addresses.clone();
    if addresses.is_empty() {
        return Err(Error::Unsupported(format!("{bridge} has no address: the gateway's is elsewhere")));
    }
    host.apply_all(stage.nodes().iter().map(|node| link::delete(node.port())))?;
    expect!(host.link(&bridge), Some(Link { carrier: false, .. }));
    for address in addresses {
        expect!(host.addresses(), list if list.iter().any(|own| own.dev == bridge && own.address == address));
        expect!(host.ping(address.addr()), Reply { .. });
    }
    Ok(())
}
