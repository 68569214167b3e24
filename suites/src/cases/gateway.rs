//! An address on the bridge is the nodes' gateway.
//!
//! ```text
//! outside 192.0.2.1 --- eth0 192.0.2.2 [host: br0 10.20.30.1] --- [netns1] [netns2]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "gateway",
    about: "An address on the bridge is the gateway, and the host forwards with NAT.",
    cases: &[
        Case {
            id: "gateway/a-node-reaches-the-outside",
            level: Must,
            claim: "A node with the bridge's address as gateway reaches the outside, through exactly one router.",
            source: "article lines 112-117",
            failing: "Containers have no way to the internet.",
            on: &[
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "isolated",
                "isolated-ports",
                "mtu",
                "two-networks",
            ],
            start: Built,
            run: reaches_outside,
        },
        Case {
            id: "gateway/without-forwarding-nothing-leaves",
            level: Must,
            claim: "With the host's forwarding off the gateway still answers, and nothing comes back from the outside.",
            source: "article lines 112-117 leave it out; IpInAddrErrors",
            failing: "Traffic leaves by something else than the host's routing.",
            on: &["gateway", "gateway-one-subnet"],
            start: Built,
            run: without_forwarding,
        },
        Case {
            id: "gateway/the-outside-sees-the-uplinks-address",
            level: Must,
            claim: "The outside sees the uplink's address as source, never the node's.",
            source: "article line 118, left out; RFC 3022",
            failing: "Replies from the outside have nowhere to go, and private addresses leak.",
            on: &["gateway", "gateway-two-subnets", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: masqueraded,
        },
        Case {
            id: "gateway/the-node-without-a-gateway-stays-inside",
            level: Must,
            claim: "The node that still has an on-link default route reaches its peer and the host, not the outside.",
            source: "article line 118",
            failing: "The topology is not what it says.",
            on: &["gateway"],
            start: Built,
            run: stays_inside,
        },
        Case {
            id: "gateway/the-host-speaks-with-the-gateways-address",
            level: Must,
            claim: "To the gateway's own subnet the host speaks with the gateway's address.",
            source: "article line 109",
            failing: "The host speaks to its containers with an address of a wrong subnet.",
            on: &["gateway", "gateway-two-subnets", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: gateways_address,
        },
        Case {
            id: "gateway/two-subnets-are-routed-by-the-host",
            level: Must,
            claim: "Two subnets with a gateway each reach each other through the host, and only while it forwards.",
            source: "article lines 118-124",
            failing: "The price of two gateways on one bridge is another one than thought.",
            on: &["gateway-two-subnets"],
            start: Built,
            run: two_subnets,
        },
        Case {
            id: "gateway/two-subnets-cause-redirects",
            level: May,
            claim: "The host tells a node of the other subnet that its peer is on the same link (ICMP redirect).",
            source: "article lines 118-124; RFC 1812 5.2.7.2",
            failing: "The host keeps routing what could go direct, without telling: its send_redirects is off.",
            on: &["gateway-two-subnets"],
            start: Built,
            run: redirects,
        },
        Case {
            id: "gateway/one-subnet-needs-no-router",
            level: Must,
            claim: "With one subnet and one gateway, peers talk directly, without redirects, with forwarding off.",
            source: "article line 125",
            failing: "Traffic between containers takes a detour through the host.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "mtu"],
            start: Built,
            run: no_router,
        },
    ],
};

/// The nodes that have a gateway of this IP version.
fn with_gateway(stage: &Stage, version: Version) -> Vec<&Node> {
    stage.nodes().iter().filter(|node| stage.gateway(node, version).is_some()).collect()
}

fn reaches_outside(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in with_gateway(stage, version) {
            stage.cold()?;
            expect!(node.ping(stage.external(version)), Reply { ttl: 63, .. });
        }
    }
    Ok(())
}

fn without_forwarding(stage: &mut Stage) -> Result<()> {
    let (host, netns1) = (stage.host(), stage.node("netns1"));
    let gateway = stage.gateway(netns1, Version::V4).expect("netns1 has a gateway");
    // Only a change reaches the devices, which may have been turned on by themselves.
    host.set_sysctl("net.ipv4.ip_forward", "1")?;
    host.set_sysctl("net.ipv4.ip_forward", "0")?;
    stage.cold()?;
    let before = host.counter("IpInAddrErrors").read()?;
    expect!(netns1.ping(host.at(gateway)), Reply { ttl: 64, .. });
    expect!(netns1.ping(stage.external(Version::V4)), NoReply);
    expect!(host.counter("IpInAddrErrors"), count if count > before);
    host.set_sysctl("net.ipv4.ip_forward", "1")?;
    expect!(netns1.ping(stage.external(Version::V4)), Reply { ttl: 63, .. });
    Ok(())
}

fn masqueraded(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let uplink = stage.topology().host.uplink.as_ref().expect("the topology has an uplink");
        let uplink = uplink.addresses.iter().map(IpNet::addr).find(|address| version.has(*address));
        let uplink = Target::from(uplink.expect("the uplink has an address of the nodes' version"));
        for node in with_gateway(stage, version) {
            stage.cold()?;
            let wire = stage.outside().tap("eth0")?;
            expect!(node.ping(stage.external(version)), Reply { .. });
            expect!(wire.frames(filter::icmp_echo_from(&uplink)), 1..);
            expect!(wire.frames(filter::ip_from(version.of(node))).before((&**stage.host(), "eth0")), 0);
        }
    }
    Ok(())
}

fn stays_inside(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    stage.cold()?;
    expect!(stage.host().ping(netns2), Reply { ttl: 64, .. });
    expect!(netns2.ping(netns1), Reply { .. });
    expect!(netns2.ping(stage.external(Version::V4)), NoReply);
    Ok(())
}

fn gateways_address(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in with_gateway(stage, version) {
            let gateway = stage.gateway(node, version).map(|gateway| gateway.to_string()).unwrap_or_default();
            let target = version.of(node);
            let bridge = stage.bridge_of(node);
            expect!(stage.host().route_to(&target), Route { dev, via: "", src, .. } if dev == bridge && src == gateway);
        }
    }
    Ok(())
}

fn two_subnets(stage: &mut Stage) -> Result<()> {
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    for (from, to) in [(netns1, netns2), (netns2, netns1)] {
        host.set_sysctl("net.ipv4.ip_forward", "1")?;
        stage.cold()?;
        expect!(from.ping(to), Reply { .. });
        host.set_sysctl("net.ipv4.ip_forward", "0")?;
        from.set_sysctl(&format!("net.ipv4.conf.{}.accept_redirects", from.device()), "0")?;
        to.set_sysctl(&format!("net.ipv4.conf.{}.accept_redirects", to.device()), "0")?;
        from.set_sysctl("net.ipv4.route.flush", "1")?;
        to.set_sysctl("net.ipv4.route.flush", "1")?;
        expect!(from.ping(to), NoReply);
    }
    Ok(())
}

fn redirects(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    // The lab lets every ICMP error through at once, which keeps the kernel from sending redirects: back to its default.
    stage.host().set_sysctl("net.ipv4.icmp_ratemask", "6168")?;
    stage.cold()?;
    expect!(netns1.ping(netns2), Reply { .. });
    expect!(netns2.ping(netns1), Reply { .. });
    // Whoever answers is told: who asks first may have been held up by the ARP of its first packet.
    expect!(netns2.counter("IcmpInRedirects"), 1..);
    Ok(())
}

fn no_router(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    host.set_sysctl("net.ipv4.ip_forward", "0")?;
    host.set_sysctl("net.ipv6.conf.all.forwarding", "0")?;
    for pair in stage.peers() {
        for target in pair.targets() {
            stage.cold()?;
            let wire = pair.from.tap(pair.from.device())?;
            expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
            expect!(wire.frames(filter::redirect()).before(&pair.to), 0);
        }
    }
    Ok(())
}
