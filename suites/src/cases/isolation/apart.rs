//! Nodes on isolated ports, and on isolated bridges.

use netproof::{
    Lab,
    forge::Way,
    topology::{Destination, Interface, Route},
};

use super::*;

/// Where nobody serves.
const PORT: u16 = 7000;

/// Ordered pairs of nodes on one bridge, or on different ones.
fn pairs(stage: &Stage, same_bridge: bool) -> Vec<(Node, Node)> {
    let nodes = stage.nodes();
    let all = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from.clone(), to.clone())));
    all.filter(|(from, to)| from.name() != to.name() && (stage.bridge_of(from) == stage.bridge_of(to)) == same_bridge)
        .collect()
}

pub(super) fn ports_do_not_talk(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, true) {
            stage.cold()?;
            let gateway = stage.gateway(&from, version).expect("it has a gateway");
            expect!(from.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            expect!(to.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            let wire = to.tap(to.device())?;
            knock(&from.injector(from.device())?, straight(version, &from, &to), PORT)?;
            // For as long as this finds no reply, the knocks have had time to arrive.
            expect!(from.ping(version.of(&to)), NoReply | Unreachable { .. });
            let host = (&**stage.host(), stage.bridge_of(&to));
            expect!(wire.frames(knocks(PORT)).before(host), 0);
        }
    }
    // It is the isolation that keeps them apart, by the bridge or by rules: the same two talk as soon as it is taken away.
    let (host, port) = (stage.host(), stage.node("netns1").port());
    host.apply(link::set_port(port, host.index(port)?, link::PortFlag::Isolated, false))?;
    host.firewall().flush()?;
    stage.cold()?;
    let (from, to) = (stage.node("netns2"), stage.node("netns1"));
    expect!(from.ping(to), Reply { .. });
    for version in stage.versions() {
        let wire = to.tap(to.device())?;
        knock(&from.injector(from.device())?, straight(version, from, to), PORT)?;
        is_heard(&wire, PORT);
    }
    Ok(())
}

/// The way from a node to another on its bridge, whose MAC address it knows: nothing is lost for want of a neighbour.
fn straight(version: Version, from: &Node, to: &Node) -> Way {
    Way {
        source_mac: from.mac(),
        destination_mac: to.mac(),
        source: version.of(from).address,
        destination: version.of(to).address,
    }
}

pub(super) fn no_way_around(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, true) {
            let target = version.of(&to);
            let way = Route {
                to: Destination::Prefix(IpNet::from(target.address)),
                via: stage.gateway(&from, version),
                dev: None,
            };
            let back = Route {
                to: Destination::Prefix(IpNet::from(version.of(&from).address)),
                via: stage.gateway(&to, version),
                dev: None,
            };
            from.add_route(&way)?;
            to.add_route(&back)?;
            stage.cold()?;
            is_not_reached(stage, version, &from, &to)?;
            from.delete_route(&way)?;
            to.delete_route(&back)?;
        }
    }
    // Where nothing guards the gateway, it is a way around.
    unguarded("isolated-ports-v6", |lab| they_are_reached(lab, &["netns1", "netns2"]))
}

pub(super) fn bridges_do_not_talk(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, false) {
            stage.cold()?;
            expect!(from.ping(stage.external(version)), Reply { ttl: 63, .. });
            is_not_reached(stage, version, &from, &to)?;
        }
    }
    // It is the isolation that keeps them apart.
    unguarded("isolated-v6", |lab| they_are_reached(lab, &["netns1", "netns3"]))
}

/// That nothing which a node sends to another by the host arrives there: echo, TCP or UDP.
fn is_not_reached(stage: &Stage, version: Version, from: &Node, to: &Node) -> Result<()> {
    let target = version.of(to);
    let wire = to.tap(to.device())?;
    let way = by_the_host(stage, from, version.of(from).address, target.address)?;
    knock(&from.injector(from.device())?, way, PORT)?;
    // For as long as this finds no reply, the knocks have had time to arrive.
    expect!(from.ping(&target), NoReply | Unreachable { .. });
    let host = (&**stage.host(), stage.bridge_of(to));
    expect!(wire.frames(filter::echo_request_to(&target)).before(host), 0);
    expect!(wire.frames(knocks(PORT)).before(host), 0);
    Ok(())
}

/// That the same knocks arrive at each of two nodes from the other.
fn they_are_reached(lab: &Lab, [one, other]: &[&str; 2]) -> Result<()> {
    let (one, other) = (lab.node(one), lab.node(other));
    for version in [Version::V4, Version::V6] {
        for (from, to) in [(one, other), (other, one)] {
            let wire = to.tap(to.device())?;
            let way = by_the_host(lab, from, version.of(from).address, version.of(to).address)?;
            knock(&from.injector(from.device())?, way, PORT)?;
            is_heard(&wire, PORT);
        }
    }
    Ok(())
}

pub(super) fn node_is_no_router(stage: &mut Stage) -> Result<()> {
    let nodes = stage.nodes();
    let middle = nodes.iter().find(|node| node.interfaces().len() > 1).expect("a node is on two networks");
    let [one, other] = [&middle.interfaces()[0], &middle.interfaces()[1]];
    let beside = |interface: &Interface| {
        let is_there = |node: &&Node| node.interfaces().iter().any(|own| own.bridge == interface.bridge);
        nodes.iter().find(|node| node.name() != middle.name() && is_there(node)).expect("each network has another node")
    };
    let ways = [(one, other), (other, one)];
    let knock = |near: &Interface, far: &Interface| -> Result<_> {
        let (from, to) = (beside(near), beside(far));
        // The way on is known: nothing that is let through waits for a neighbour.
        expect!(middle.ping(to), Reply { .. });
        let wire = to.tap(to.device())?;
        let way = Way {
            source_mac: from.mac(),
            destination_mac: near.mac.expect("it was read back"),
            source: from.address(),
            destination: to.address(),
        };
        knock(&from.injector(from.device())?, way, PORT)?;
        Ok(wire)
    };
    for (near, far) in ways {
        let wire = knock(near, far)?;
        expect!(middle.ping(beside(far)), Reply { .. });
        expect!(wire.frames(knocks(PORT)).before((&**middle, far.name.as_str())), 0);
    }
    // Were it a router, it would be a way.
    middle.set_sysctl("net.ipv4.ip_forward", "1")?;
    for (near, far) in ways {
        is_heard(&knock(near, far)?, PORT);
    }
    Ok(())
}
