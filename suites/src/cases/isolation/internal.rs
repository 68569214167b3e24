//! Internal networks, tried from outside and from another's bridge.

use netproof::Lab;

use super::*;

/// Where nobody serves.
const PORT: u16 = 7000;

pub(super) fn not_reached(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        stage.host().set_sysctl(forwarding(version), "1")?;
        for node in stage.nodes() {
            let target = version.of(node);
            expect!(stage.host().ping(&target), Reply { .. });
            let way_in = way_in(stage, node, version);
            stage.outside().add_route(&way_in)?;
            let wire = node.tap(node.device())?;
            knock_from_outside(stage, version, &target)?;
            expect!(stage.outside().ping(&target), NoReply | Unreachable { .. });
            let host = (&**stage.host(), stage.bridge_of(node));
            expect!(wire.frames(filter::ip_from(stage.external(version))).before(host), 0);
            expect!(wire.frames(knocks(PORT)).before(host), 0);
            stage.outside().delete_route(&way_in)?;
        }
    }
    // It is a guard that keeps them out.
    unguarded("internal-v6", |lab| {
        for version in [Version::V4, Version::V6] {
            lab.host().set_sysctl(forwarding(version), "1")?;
            let node = lab.node("netns1");
            let wire = node.tap(node.device())?;
            knock_from_outside(lab, version, &version.of(node))?;
            is_heard(&wire, PORT);
        }
        Ok(())
    })
}

fn knock_from_outside(lab: &Lab, version: Version, target: &Target) -> Result<()> {
    let outside = lab.outside();
    let injector = outside.injector("eth0")?;
    let way = to_the_host(lab.host(), "eth0", injector.mac(), version.of(outside).address, target.address)?;
    knock(&injector, way, PORT)
}

/// Somebody on another bridge of the host.
struct Neighbour {
    node: Node,
    bridge: &'static str,
}

impl Neighbour {
    const PREFIXES: [(Version, &str, &str); 2] =
        [(Version::V4, "198.51.100.1/24", "198.51.100.2/24"), (Version::V6, "2001:db8:99::1/64", "2001:db8:99::2/64")];

    /// Wires it: a bridge in the host, and one node on it, with a default route.
    fn of(lab: &Lab, node: Node) -> Result<Self> {
        let (host, bridge) = (lab.host(), "np-other");
        host.apply(link::Bridge::new(bridge).request())?;
        let index = host.index(bridge)?;
        host.apply(link::Veth::new("np-o1", "eth0").master(index).peer_in(&node).request())?;
        host.apply(link::set_up(bridge))?;
        node.apply_all([link::set_up("lo"), link::set_up("eth0")])?;
        host.settle(&["np-o1"])?;
        for (_, gateway, own) in Self::PREFIXES {
            host.apply(addr::add(index, net(gateway)))?;
            node.apply(addr::add(node.index("eth0")?, net(own)))?;
            node.add_route(&default_via(net(gateway).addr()))?;
        }
        Ok(Self { node, bridge })
    }

    fn target(&self, version: Version) -> Target {
        let own = Self::PREFIXES.iter().find(|(of, _, _)| *of == version).expect("it has one of each");
        self.node.at(net(own.2).addr())
    }

    /// Knocks at a node's door, and the node at this one's.
    fn knock_both_ways(&self, lab: &Lab, version: Version, node: &Node) -> Result<()> {
        let (own, target) = (self.target(version), version.of(node));
        let out = by_the_host(lab, node, target.address, own.address)?;
        knock(&node.injector(node.device())?, out, PORT)?;
        let injector = self.node.injector("eth0")?;
        let way = to_the_host(lab.host(), self.bridge, injector.mac(), own.address, target.address)?;
        knock(&injector, way, PORT)
    }
}

pub(super) fn no_way_to_other_bridges(stage: &mut Stage) -> Result<()> {
    let neighbour = stage.add_namespace("neighbour")?;
    let neighbour = Neighbour::of(stage, neighbour)?;
    stage.up()?;
    for version in stage.versions() {
        stage.host().set_sysctl(forwarding(version), "1")?;
        let there = neighbour.target(version);
        expect!(stage.host().ping(&there), Reply { .. });
        for node in stage.nodes() {
            expect!(stage.host().ping(version.of(node)), Reply { .. });
            drop_defaults(node, version)?;
            node.add_route(&default_via(bridge_address(stage, version)))?;
            let (wire, others) = (node.tap(node.device())?, neighbour.node.tap("eth0")?);
            neighbour.knock_both_ways(stage, version, node)?;
            expect!(node.ping(&there), NoReply | Unreachable { .. });
            let host = &**stage.host();
            expect!(
                others.frames(filter::ip_from(version.of(node)).or(knocks(PORT))).before((host, neighbour.bridge)),
                0
            );
            expect!(wire.frames(filter::ip_from(&there).or(knocks(PORT))).before((host, stage.bridge_of(node))), 0);
            drop_defaults(node, version)?;
        }
    }
    // It is a guard that keeps them apart.
    unguarded("internal-v6", |lab| {
        let neighbour = lab.add_namespace("neighbour")?;
        let neighbour = Neighbour::of(lab, neighbour)?;
        for version in [Version::V4, Version::V6] {
            lab.host().set_sysctl(forwarding(version), "1")?;
            let node = lab.node("netns1");
            let (wire, others) = (node.tap(node.device())?, neighbour.node.tap("eth0")?);
            neighbour.knock_both_ways(lab, version, node)?;
            is_heard(&wire, PORT);
            is_heard(&others, PORT);
        }
        Ok(())
    })
}
