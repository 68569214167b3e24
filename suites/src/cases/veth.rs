//! A veth to each node, and no bridge: the article's starting point.
//!
//! ```text
//! [host] veth1-0 10.20.30.40 --- veth1-1 10.20.30.41 [netns1]
//! [host] veth2-0 10.20.20.40 --- veth2-1 10.20.20.41 [netns2]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "veth",
    about: "A veth from the host to each node, addressed at both ends, without a bridge.",
    cases: &[
        Case {
            id: "veth/both-ends-reach-each-other",
            level: Must,
            claim: "The two ends of a veth answer each other's pings, from a cold start in either direction.",
            source: "article lines 35-36",
            failing: "The host and a container cannot talk over the link that joins them.",
            on: &["veth"],
            start: Built,
            run: both_ends,
        },
        Case {
            id: "veth/the-connected-route-leads-to-the-end-in-the-host",
            level: Must,
            claim: "The host reaches each node on-link by its own end of the node's veth, with that end's address as source.",
            source: "article lines 83-90",
            failing: "Traffic to a container leaves by a wrong device.",
            on: &["veth"],
            start: Built,
            run: connected_route,
        },
        Case {
            id: "veth/the-neighbour-is-known-on-the-end-in-the-host",
            level: Must,
            claim: "Where no bridge is in between, ARP for a node resolves on the very veth that asks.",
            source: "article lines 48-75, the opposite",
            failing: "ARP does not resolve on a plain veth: the container is unreachable.",
            on: &["veth"],
            start: Built,
            run: neighbour_on_the_end,
        },
        Case {
            id: "veth/nodes-have-no-way-to-each-other",
            level: Must,
            claim: "Without a bridge or a route, one node has no route to another one's subnet.",
            source: "article line 2: every two namespaces need a veth of their own",
            failing: "Nodes are joined by something that the topology does not have.",
            on: &["veth"],
            start: Built,
            run: no_way,
        },
        Case {
            id: "veth/a-moved-end-loses-its-state",
            level: Must,
            claim: "A veth end that is moved into another namespace arrives down and without addresses, and must be set up again.",
            source: "article lines 23-31; kernel net/core/dev.c, __dev_change_net_namespace",
            failing: "What the article's order of steps rests on is not so on this kernel.",
            on: &["veth"],
            start: Prepared,
            run: a_moved_end,
        },
        Case {
            id: "veth/no-carrier-while-the-other-end-is-down",
            level: Must,
            claim: "A veth end has carrier only while its other end is up.",
            source: "article lines 19-31; kernel drivers/net/veth.c",
            failing: "A link that cannot carry traffic looks as if it could.",
            on: &["veth"],
            start: Built,
            run: no_carrier,
        },
    ],
};

fn both_ends(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        let end = node.interfaces()[0].port_addresses[0].addr();
        stage.cold()?;
        expect!(stage.host().ping(node), Reply { ttl: 64, .. });
        stage.cold()?;
        expect!(node.ping(stage.host().at(end)), Reply { ttl: 64, .. });
    }
    Ok(())
}

fn connected_route(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        let (port, source) = (node.port(), node.interfaces()[0].port_addresses[0].addr().to_string());
        expect!(stage.host().route_to(node), Route { dev, via: "", src, .. } if dev == port && src == source);
    }
    Ok(())
}

fn neighbour_on_the_end(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        stage.cold()?;
        expect!(stage.host().ping(node).from_device(node.port()), Reply { .. });
        expect!(stage.host().neighbour(node).on(node.port()).mac(), Some(mac) if mac == node.mac());
    }
    Ok(())
}

fn no_way(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    for (from, to) in [(netns1, netns2), (netns2, netns1)] {
        expect!(from.route_to(to), NoRoute { error: "ENETUNREACH" });
        expect!(from.ping(to), LocalError { name: "ENETUNREACH", .. });
    }
    Ok(())
}

fn a_moved_end(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let node = stage.site().node("netns1")?;
    host.apply(link::Veth::new("end-a", "end-b").request())?;
    host.apply_all([link::set_up("end-b"), addr::add(host.index("end-b")?, net("10.20.30.41/24"))])?;
    expect!(host.link("end-b"), Some(Link { up: true, carrier: true, .. }));
    host.apply(link::set_namespace("end-b", node))?;
    expect!(node.link("end-b"), Some(Link { up: false, .. }));
    expect!(node.addresses(), list if list.iter().all(|address| address.dev != "end-b"));
    host.apply(link::delete("end-a"))
}

fn no_carrier(stage: &mut Stage) -> Result<()> {
    let (host, node) = (stage.host(), stage.node("netns1"));
    node.apply(link::set_down(node.device()))?;
    expect!(host.link(node.port()), Some(Link { up: true, carrier: false, .. }));
    node.apply(link::set_up(node.device()))?;
    expect!(host.link(node.port()), Some(Link { up: true, carrier: true, .. }));
    Ok(())
}
