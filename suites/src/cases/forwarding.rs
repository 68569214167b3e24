//! Forwarding: what the host passes on between its bridges and the outside.
//!
//! ```text
//! outside --- eth0 [host: br0 10.20.0.1] --- [netns1] [netns2]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "forwarding",
    about: "The host forwards what it should, counts it, and nothing else.",
    cases: &[
        Case {
            id: "forwarding/the-outside-answers-through-one-router",
            level: Must,
            claim: "Every node's ping to the outside is answered with a TTL that is exactly one less.",
            source: "article line 114; RFC 1812 5.3.1",
            failing: "Containers have no way out, or take a way that they should not.",
            on: &[
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "publish-v6",
                "isolated",
                "isolated-v6",
                "isolated-ports",
                "mtu",
            ],
            start: Built,
            run: one_router,
        },
        Case {
            id: "forwarding/it-is-on-and-counted",
            level: Must,
            claim: "The host's forwarding is on where the topology asks for it, and its counter moves with a node's traffic.",
            source: "article line 118, left out; RFC 4293 ipForwDatagrams",
            failing: "Traffic to the outside is dropped without a word.",
            on: &["gateway", "gateway-two-subnets", "gateway-one-subnet", "gateway-v6", "isolated"],
            start: Built,
            run: on_and_counted,
        },
        Case {
            id: "forwarding/a-packet-at-the-end-of-its-life-is-told",
            level: Should,
            claim: "The gateway answers a packet whose TTL ends at it with time exceeded, from the gateway's address.",
            source: "RFC 792; RFC 1812 5.3.1",
            failing: "Traceroute out of a container shows nothing of its first hop.",
            on: &["gateway-one-subnet", "isolated"],
            start: Built,
            run: time_exceeded,
        },
        Case {
            id: "forwarding/an-internal-network-has-no-way-out",
            level: Must,
            claim: "A node of an internal network reaches its peers and its bridge, and nothing outside even by a route of its own.",
            source: "netavark test \"internal network\"; docker network create --internal",
            failing: "A container that is meant to be cut off can reach the internet.",
            on: &["internal", "internal-v6"],
            start: Built,
            run: no_way_out,
        },
    ],
};

fn one_router(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.ping(stage.external(version)), Reply { ttl: 63, .. });
        }
    }
    Ok(())
}

fn on_and_counted(stage: &mut Stage) -> Result<()> {
    let (host, netns1) = (stage.host(), stage.node("netns1"));
    for version in stage.versions() {
        let counter = if version == Version::V4 { "IpForwDatagrams" } else { "Ip6OutForwDatagrams" };
        for sysctl in forwarding_on_the_way(stage, version) {
            let value = host.sysctl(&sysctl)?;
            if value != "1" {
                return Err(netproof::Error::ReadBack(format!("{sysctl} should be 1 in host, and is {value}")));
            }
        }
        let before = host.counter(counter).read()?;
        expect!(netns1.ping(stage.external(version)), Reply { .. });
        expect!(host.counter(counter), count if count >= before + 2);
    }
    Ok(())
}

/// What has the host forward between its bridges and the uplink: IPv4 by device, IPv6 all or nothing.
fn forwarding_on_the_way(stage: &Stage, version: Version) -> Vec<String> {
    if version == Version::V6 {
        return vec![forwarding(version).to_owned()];
    }
    let bridges = stage.topology().bridges.iter().map(|bridge| bridge.name.as_str());
    bridges.chain(["eth0"]).map(|device| format!("net.ipv4.conf.{device}.forwarding")).collect()
}

fn time_exceeded(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        let gateway = stage.gateway(node, Version::V4).map(|gateway| gateway.to_string()).unwrap_or_default();
        expect!(node.ping(stage.external(Version::V4)).ttl(1), TimeExceeded { from } if from == gateway);
    }
    Ok(())
}

/// Where nobody serves.
const PORT: u16 = 7000;

fn no_way_out(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let gateway = bridge_address(stage, version);
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            // The attacker's part: a node may have the right to set routes, and a host that forwards for other networks.
            drop_defaults(node, version)?;
            node.add_route(&default_via(gateway))?;
            stage.host().set_sysctl(forwarding(version), "1")?;
            let (wire, external) = (stage.outside().tap("eth0")?, stage.external(version));
            let way = by_the_host(stage, node, version.of(node).address, external.address)?;
            knock(&node.injector(node.device())?, way, PORT)?;
            // For as long as this finds no reply, the knocks have had time to arrive.
            expect!(node.ping(external), NoReply | Unreachable { .. });
            expect!(
                wire.frames(filter::ip_from(version.of(node)).or(knocks(PORT))).before((&**stage.host(), "eth0")),
                0
            );
            drop_defaults(node, version)?;
        }
    }
    // It is a guard that keeps them in.
    unguarded("internal-v6", |lab| {
        let node = lab.node("netns1");
        for version in [Version::V4, Version::V6] {
            lab.host().set_sysctl(forwarding(version), "1")?;
            let (wire, external) = (lab.outside().tap("eth0")?, version.of(lab.outside()));
            let way = by_the_host(lab, node, version.of(node).address, external.address)?;
            knock(&node.injector(node.device())?, way, PORT)?;
            is_heard(&wire, PORT);
        }
        Ok(())
    })
}
