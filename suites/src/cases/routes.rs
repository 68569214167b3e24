//! Routes: which one the kernel selects, and that there is no other.
//!
//! ```text
//! outside --- eth0 [host: br0 10.20.0.1] --- [netns1] [netns2]
//! ```

use std::net::IpAddr;

use netproof::topology::Destination;

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "routes",
    about: "One route to each subnet, with a source that the nodes can answer, and one default for each node.",
    cases: &[
        Case {
            id: "routes/the-host-reaches-every-node-by-its-bridge",
            level: Must,
            claim: "For every node's address the host selects the node's bridge, on-link.",
            source: "article lines 85-98",
            failing: "The host's traffic to a container leaves by a wrong device.",
            on: &[
                "host-route",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "internal-v6",
                "isolated",
                "mtu",
                "star",
            ],
            start: Built,
            run: by_its_bridge,
        },
        Case {
            id: "routes/the-source-is-in-the-nodes-subnet",
            level: Must,
            claim: "Where the host has an address in a node's subnet, that is the source that it speaks to the node with.",
            source: "article lines 94-98 and 109",
            failing: "Containers see their host under an address of another network.",
            on: &[
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "internal-v6",
                "isolated",
                "mtu",
                "star",
            ],
            start: Built,
            run: source_in_subnet,
        },
        Case {
            id: "routes/one-route-to-each-subnet",
            level: Must,
            claim: "The host has exactly one route to each subnet of its bridges.",
            source: "article lines 96 and 109: a leftover static route stays in front",
            failing: "A leftover route decides the source address, or the device, instead of the one that was meant.",
            on: &[
                "host-route",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "isolated",
            ],
            start: Built,
            run: one_route,
        },
        Case {
            id: "routes/the-host-has-a-source-for-every-node",
            level: Must,
            claim: "For every node's address the kernel has a source address to speak with.",
            source: "article lines 94-98",
            failing: "The host's packets carry 0.0.0.0, and nobody can answer them.",
            on: &[
                "host-route",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "isolated",
                "star",
            ],
            start: Built,
            run: has_a_source,
        },
        Case {
            id: "routes/one-default-and-its-gateway-answers",
            level: Must,
            claim: "Each node has exactly one default route for each IP version, on-link to a gateway that answers.",
            source: "article lines 112-113",
            failing: "A container has no way out, or two, of which one does not work.",
            on: &[
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "isolated",
                "two-networks",
                "publish-v6",
                "isolated-v6",
                "hairpin-v6",
                "mtu",
            ],
            start: Built,
            run: one_default,
        },
        Case {
            id: "routes/no-default-out-of-an-internal-network",
            level: Must,
            claim: "A node of an internal network has no default route.",
            source: "netavark test \"internal network\"",
            failing: "A container that is meant to have no way out has one.",
            on: &["internal", "internal-v6"],
            start: Built,
            run: no_default,
        },
        Case {
            id: "routes/the-bridges-subnet-overlaps-nothing",
            level: Should,
            claim: "No other route of the host's lies within a bridge's subnet.",
            source: "moby#46615",
            failing: "Some containers' addresses are routed elsewhere.",
            on: &["gateway-one-subnet", "gateway-v6", "isolated", "internal"],
            start: Built,
            run: no_overlap,
        },
        Case {
            id: "routes/connected-routes-survive-a-bridge-that-was-down",
            level: Should,
            claim: "When the bridge was down and is up again, the host reaches its nodes as before.",
            source: "article line 96; kernel net/ipv4/fib_frontend.c",
            failing: "A bridge that flaps once cuts off its containers for good.",
            on: &["gateway-one-subnet", "isolated", "internal"],
            start: Built,
            run: survives,
        },
        Case {
            id: "routes/reverse-path-filtering-does-not-matter",
            level: Should,
            claim: "Peers, host and outside reach each other with rp_filter 0, 1 and 2.",
            source: "netavark#962; RFC 3704",
            failing: "The network works on one distribution and not on another.",
            on: &["gateway-one-subnet", "gateway-two-subnets", "isolated", "publish"],
            start: Built,
            run: any_rp_filter,
        },
        Case {
            id: "routes/which-network-has-the-default-is-not-chance",
            level: Must,
            claim: "A node on two networks has one default route, by the network that was asked for, every time.",
            source: "moby TestGatewaySelection; netavark#1146",
            failing: "A container's way out changes from start to start.",
            on: &["two-networks"],
            start: Built,
            run: not_chance,
        },
    ],
};

/// Every address of every node, with the bridge that it is behind.
fn behind_bridges(stage: &Stage) -> Vec<(Target, IpNet, String)> {
    let mut all = Vec::new();
    for node in stage.nodes() {
        for interface in node.interfaces() {
            let Some(bridge) = &interface.bridge else { continue };
            all.extend(interface.addresses.iter().map(|net| (node.at(net.addr()), *net, bridge.clone())));
        }
    }
    all
}

fn by_its_bridge(stage: &mut Stage) -> Result<()> {
    for (target, _, bridge) in behind_bridges(stage) {
        expect!(stage.host().route_to(&target), Route { dev, via: "", kind: "unicast", .. } if dev == bridge);
    }
    Ok(())
}

fn source_in_subnet(stage: &mut Stage) -> Result<()> {
    for (target, net, bridge) in behind_bridges(stage) {
        let of_bridge = stage.topology().bridge(&bridge).map(|bridge| bridge.addresses.clone()).unwrap_or_default();
        let Some(own) = of_bridge.iter().find(|own| own.contains(&net.addr())) else { continue };
        let own = own.addr().to_string();
        expect!(stage.host().route_to(&target), Route { src, .. } if src == own);
    }
    Ok(())
}

fn one_route(stage: &mut Stage) -> Result<()> {
    for (_, net, _) in behind_bridges(stage) {
        let to_subnet = |route: &&netproof::state::Route| route.to == Destination::Prefix(net.trunc());
        expect!(stage.host().routes(), list if list.iter().filter(to_subnet).count() == 1);
    }
    Ok(())
}

fn has_a_source(stage: &mut Stage) -> Result<()> {
    for (target, _, _) in behind_bridges(stage) {
        expect!(stage.host().route_to(&target), Route { src, .. } if !src.is_empty());
    }
    Ok(())
}

fn one_default(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in stage.nodes() {
            let Some(gateway) = stage.gateway(node, version) else { continue };
            let is_default = |route: &&netproof::state::Route| {
                route.to == Destination::Default && route.v6 == (version == Version::V6)
            };
            expect!(node.routes(), list if list.iter().filter(is_default).count() == 1);
            stage.cold()?;
            expect!(node.route_to(gateway), Route { via: "", .. });
            expect!(node.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            let via = gateway.to_string();
            expect!(node.route_to(stage.external(version)), Route { via: hop, .. } if hop == via);
        }
    }
    Ok(())
}

fn no_default(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        expect!(node.routes(), list if list.iter().all(|route| route.to != Destination::Default));
        for version in stage.versions() {
            expect!(node.route_to(stage.external(version)), NoRoute { .. });
        }
    }
    Ok(())
}

fn no_overlap(stage: &mut Stage) -> Result<()> {
    let subnets: Vec<IpNet> =
        stage.topology().bridges.iter().flat_map(|bridge| &bridge.addresses).map(IpNet::trunc).collect();
    let lies_within = |route: &netproof::state::Route| match route.to {
        Destination::Prefix(net) => subnets.iter().any(|subnet| subnet.contains(&net.network()) && *subnet != net),
        Destination::Default => false,
    };
    expect!(stage.host().routes(), list if !list.iter().any(lies_within));
    Ok(())
}

fn survives(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for bridge in stage.topology().bridges.iter().map(|bridge| bridge.name.as_str()) {
        host.apply_all([link::set_down(bridge), link::set_up(bridge)])?;
        expect!(host.link(bridge), Some(Link { state: "UP", .. }));
    }
    stage.cold()?;
    for node in stage.nodes() {
        expect!(host.route_to(node), Route { dev, .. } if dev == stage.bridge_of(node));
        expect!(host.ping(node), Reply { ttl: 64, .. });
    }
    Ok(())
}

fn any_rp_filter(stage: &mut Stage) -> Result<()> {
    stage.with_each_rp_filter(|stage| {
        for node in stage.nodes() {
            stage.cold()?;
            expect!(stage.host().ping(node), Reply { ttl: 64, .. });
            expect!(node.ping(stage.external(Version::V4)), Reply { ttl: 63, .. });
        }
        for pair in stage.peers() {
            stage.cold()?;
            expect!(pair.from.ping(&pair.to), Reply { .. });
        }
        Ok(())
    })
}

fn not_chance(stage: &mut Stage) -> Result<()> {
    let asked: Vec<IpAddr> = stage.nodes().iter().filter_map(|node| stage.gateway(node, Version::V4)).collect();
    for _ in 0..5 {
        for (place, gateway) in asked.iter().enumerate() {
            let node = &stage.nodes()[place];
            let via = gateway.to_string();
            expect!(node.route_to(stage.external(Version::V4)), Route { via: hop, .. } if hop == via);
        }
        stage.down()?;
        stage.up()?;
    }
    Ok(())
}
