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
