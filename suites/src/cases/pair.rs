//! Two nodes in two subnets on one bridge: what the article builds first.
//!
//! ```text
//! [netns1] veth1-1 10.20.30.41 --- veth1-0 [host: br0] veth2-0 --- 10.20.20.41 veth2-1 [netns2]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "pair",
    about: "Two nodes in two subnets on one bridge, with on-link default routes.",
    cases: &[
        Case {
            id: "pair/peers-reach-each-other",
            level: Must,
            claim: "Nodes on one bridge answer each other's pings, from a cold start in either direction, with a TTL of 64.",
            source: "article lines 44-47; kernel selftest bridge_vlan_unaware",
            failing: "Containers of one network cannot talk to each other.",
            on: &[
                "pair",
                "port-address",
                "host-route",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "internal-v6",
                "isolated",
                "two-networks",
                "mtu",
                "direct",
                "mesh",
                "star",
            ],
            start: Built,
            run: peers_reach_each_other,
        },
        Case {
            id: "pair/a-bridge-left-down-carries-nothing",
            level: Must,
            claim: "While the bridge is down its ports are disabled and no frame passes; once it is up, the ports forward at once.",
            source: "article line 38 as printed never brings br0 up; kernel net/bridge/br_stp_if.c",
            failing: "The bridge is not what connects the nodes, or it waits before it forwards.",
            on: &["pair", "gateway-one-subnet"],
            start: Built,
            run: a_bridge_left_down,
        },
        Case {
            id: "pair/the-other-subnet-is-on-link",
            level: Must,
            claim: "A default route by a device makes the other node's subnet on-link: ARP asks for the other node itself.",
            source: "article lines 43-44",
            failing: "Nodes in two subnets on one bridge cannot find each other.",
            on: &["pair", "port-address", "host-route"],
            start: Built,
            run: on_link_default,
        },
        Case {
            id: "pair/both-sides-need-the-route",
            level: Must,
            claim: "Where one node has no route back, the other one's request arrives, its neighbour is known, and no reply comes.",
            source: "article lines 43-44, implied",
            failing: "A route that is missing on one side only would go unnoticed.",
            on: &["pair"],
            start: Built,
            run: both_sides,
        },
        Case {
            id: "pair/the-host-forwards-nothing",
            level: Must,
            claim: "Peers on one bridge talk while the host's IP forwarding is off, and the host's IP stack forwards none of it.",
            source: "article line 46; kernel Documentation/networking/bridge.rst",
            failing: "Traffic within a network goes through the host's routing, and its firewall.",
            on: &["pair", "port-address", "host-route", "internal"],
            start: Built,
            run: forwards_nothing,
        },
        Case {
            id: "pair/peers-know-each-others-mac",
            level: Must,
            claim: "After a ping each node has the other one's own MAC address, not the bridge's.",
            source: "article lines 3-4, RFC 826",
            failing: "Something answers ARP in a node's place.",
            on: &["pair", "gateway-one-subnet", "direct"],
            start: Built,
            run: own_macs,
        },
        Case {
            id: "pair/own-address-needs-lo",
            level: Must,
            claim: "A node whose lo is down cannot reach its own address, though its peers can.",
            source: "article never brings lo up",
            failing: "A loopback that was left down would go unnoticed.",
            on: &["pair"],
            start: Built,
            run: needs_lo,
        },
        Case {
            id: "pair/an-unanswered-address-fails",
            level: Must,
            claim: "A ping to an address that nobody has ends in a failed neighbour entry, not in a reply.",
            source: "RFC 826; arp(7)",
            failing: "Something on the network answers for addresses that nobody has.",
            on: &["pair", "port-address", "host-route"],
            start: Built,
            run: unanswered,
        },
    ],
};

fn peers_reach_each_other(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
        }
    }
    Ok(())
}

fn a_bridge_left_down(stage: &mut Stage) -> Result<()> {
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    let bridge = stage.bridge_of(netns1);
    host.apply(link::set_down(bridge))?;
    expect!(host.link(netns1.port()), Some(Link { port_state: "disabled", .. }));
    stage.cold()?;
    expect!(netns1.ping(netns2), NoReply);
    host.apply(link::set_up(bridge))?;
    expect!(host.link(netns1.port()), Some(Link { port_state: "forwarding", .. }));
    expect!(netns1.ping(netns2), Reply { ttl: 64, .. });
    Ok(())
}

fn on_link_default(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    for (from, to) in [(netns1, netns2), (netns2, netns1)] {
        let source = from.address().to_string();
        expect!(from.route_to(to), Route { dev, via: "", src, .. } if dev == from.device() && src == source);
        stage.cold()?;
        let wire = from.tap(from.device())?;
        expect!(from.ping(to), Reply { .. });
        expect!(wire.frames(filter::arp_request_for(to)), 1..);
    }
    Ok(())
}

fn both_sides(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    for (one_way, other) in [(netns1, netns2), (netns2, netns1)] {
        expect!(one_way.ping(other), Reply { ttl: 64, .. });
        drop_defaults(other, Version::V4)?;
        stage.cold()?;
        let far = other.tap(other.device())?;
        expect!(one_way.ping(other), NoReply);
        expect!(one_way.neighbour(other), Reachable | Stale | Delay | Probing);
        expect!(far.frames(filter::echo_request_to(other)), 1..);
        expect!(far.frames(filter::echo_reply_from(other)).before(other), 0);
        expect!(other.ping(one_way), LocalError { name: "ENETUNREACH", .. });
        other.add_route(&on_link("default", other.device()))?;
        expect!(one_way.ping(other), Reply { ttl: 64, .. });
    }
    Ok(())
}

fn forwards_nothing(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let before = host.counter("IpForwDatagrams").read()?;
    host.set_sysctl("net.ipv4.ip_forward", "0")?;
    for pair in stage.peers() {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
        }
    }
    expect!(host.counter("IpForwDatagrams"), count if count == before);
    Ok(())
}

fn own_macs(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        stage.cold()?;
        expect!(pair.from.ping(&pair.to), Reply { .. });
        expect!(pair.from.neighbour(&pair.to).mac(), Some(mac) if mac == pair.to.mac());
    }
    Ok(())
}

fn needs_lo(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    expect!(netns1.ping(netns1), Reply { ttl: 64, .. });
    netns1.apply(link::set_down("lo"))?;
    expect!(netns1.tcp_to((netns1, 9)), TimedOut);
    expect!(netns2.ping(netns1), Reply { ttl: 64, .. });
    netns1.apply(link::set_up("lo"))?;
    expect!(netns1.tcp_to((netns1, 9)), Refused);
    Ok(())
}

fn unanswered(stage: &mut Stage) -> Result<()> {
    let netns1 = stage.node("netns1");
    let nobody: std::net::IpAddr = [10, 20, 20, 99].into();
    expect!(netns1.ping(stage.node("netns2")), Reply { .. });
    expect!(netns1.neighbour(nobody), Absent);
    expect!(netns1.tcp_to((nobody, 9)), TimedOut | LocalError { .. } | Unreachable { .. });
    // What failed may be forgotten at once.
    expect!(netns1.neighbour(nobody), Failed | Absent);
    Ok(())
}
