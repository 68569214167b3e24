//! The host's routes lead to the bridge.
//!
//! ```text
//! outside --- eth0 192.0.2.2 [host: 10.20.30.0/24 dev br0] --- [netns1] [netns2]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "host-route",
    about: "The host reaches the nodes by routes to a bridge that has no address.",
    cases: &[
        Case {
            id: "host-route/the-host-reaches-the-nodes",
            level: Must,
            claim: "A route by the bridge makes the host's pings to the nodes work, whatever rp_filter is.",
            source: "article lines 92-104",
            failing: "The host cannot reach its containers: health checks and published ports fail.",
            on: &["host-route"],
            start: Built,
            run: host_reaches,
        },
        Case {
            id: "host-route/the-nodes-reach-the-host",
            level: Must,
            claim: "Each node reaches the host's uplink address, from a cold start.",
            source: "article line 104",
            failing: "Containers cannot reach services of their host.",
            on: &["host-route"],
            start: Built,
            run: nodes_reach,
        },
        Case {
            id: "host-route/the-source-is-another-links-address",
            level: Must,
            claim: "The bridge having no address, the kernel takes the uplink's as source.",
            source: "article lines 56-57, 94-98",
            failing: "The host speaks to its containers with an address that they cannot answer.",
            on: &["host-route"],
            start: Built,
            run: source,
        },
        Case {
            id: "host-route/without-any-address-nothing-is-answered",
            level: Must,
            claim: "On a host without any IPv4 address ARP still resolves, but no ping is answered: it has no source.",
            source: "article lines 94-98, implied; kernel net/ipv4/fib_semantics.c",
            failing: "A host's missing address would be taken for a fault of the bridge.",
            on: &["host-route"],
            start: Built,
            run: no_source,
        },
        Case {
            id: "host-route/one-missing-route-cuts-off-one-node",
            level: Must,
            claim: "With one node's route gone the host reaches the other node only, in either direction.",
            source: "article line 104: the same for netns2",
            failing: "A half-made set-up would go unnoticed.",
            on: &["host-route"],
            start: Built,
            run: half,
        },
        Case {
            id: "host-route/nothing-beyond-the-host-answers",
            level: Must,
            claim: "Without a gateway a node asks for an external address by ARP, and nobody answers.",
            source: "article line 105",
            failing: "Something answers ARP for the whole world on this bridge.",
            on: &["host-route", "port-address"],
            start: Built,
            run: nothing_beyond,
        },
        Case {
            id: "host-route/the-routes-go-with-the-bridge",
            level: May,
            claim: "Static routes by a bridge are lost when it goes down, and do not come back with it.",
            source: "article line 96; kernel net/ipv4/fib_frontend.c, fib_disable_ip",
            failing: "Routes survive a bridge that was down: better than the kernel does by itself.",
            on: &["host-route"],
            start: Built,
            run: routes_lost,
        },
    ],
};

fn host_reaches(stage: &mut Stage) -> Result<()> {
    stage.with_each_rp_filter(|stage| {
        for node in stage.nodes() {
            stage.cold()?;
            expect!(stage.host().ping(node), Reply { ttl: 64, .. });
            expect!(stage.host().neighbour(node).on(stage.bridge_of(node)).mac(), Some(mac) if mac == node.mac());
        }
        Ok(())
    })
}

fn nodes_reach(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        stage.cold()?;
        expect!(node.ping(stage.host()), Reply { ttl: 64, .. });
    }
    Ok(())
}

fn source(stage: &mut Stage) -> Result<()> {
    let uplink = stage.host().address().to_string();
    for node in stage.nodes() {
        let bridge = stage.bridge_of(node);
        expect!(stage.host().route_to(node), Route { dev, via: "", src, .. } if dev == bridge && src == uplink);
    }
    Ok(())
}

fn no_source(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let uplink = host.index("eth0")?;
    expect!(host.addresses(), list if host.prefixes().iter().all(|own| list.iter().any(|known| known.address == *own)));
    host.apply_all(host.prefixes().iter().map(|address| addr::delete(uplink, *address)))?;
    for node in stage.nodes() {
        stage.cold()?;
        expect!(host.route_to(node), Route { src: "", .. });
        expect!(host.ping(node), NoReply);
        expect!(host.neighbour(node), Reachable | Stale | Delay | Probing);
    }
    Ok(())
}

fn half(stage: &mut Stage) -> Result<()> {
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    expect!(host.route_to(netns2), Route { dev, .. } if dev == stage.bridge_of(netns2));
    host.delete_route(&on_link(&netns2.prefixes()[0].trunc().to_string(), stage.bridge_of(netns2)))?;
    stage.cold()?;
    expect!(host.ping(netns1), Reply { ttl: 64, .. });
    expect!(host.ping(netns2), NoReply | Unreachable { .. });
    stage.cold()?;
    expect!(netns2.ping(host), NoReply);
    Ok(())
}

fn nothing_beyond(stage: &mut Stage) -> Result<()> {
    let external = stage.external(Version::V4);
    for node in stage.nodes() {
        stage.cold()?;
        expect!(node.tcp_to((external.address, 9)), TimedOut | LocalError { .. } | Unreachable { .. });
        expect!(node.neighbour(&external), Incomplete | Failed | Absent);
    }
    Ok(())
}

fn routes_lost(stage: &mut Stage) -> Result<()> {
    let (host, netns1) = (stage.host(), stage.node("netns1"));
    let bridge = stage.bridge_of(netns1);
    expect!(host.route_to(netns1), Route { dev, .. } if dev == bridge);
    host.apply_all([link::set_down(bridge), link::set_up(bridge)])?;
    expect!(host.link(bridge), Some(Link { state: "UP", .. }));
    expect!(host.route_to(netns1), Route { dev: "eth0", .. });
    Ok(())
}
