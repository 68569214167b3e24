//! What keeps nodes apart and others out, and what lets nodes through: once rules were put back, and for added nodes.

use netproof::{
    Error,
    forge::{self, Way},
};

use super::{rules::flush, *};
use crate::cases::{filter::foreign_chains, isolation, nat::exposure};

/// Who is kept from whom, the routes set by which they would reach each other.
fn apart(stage: &Stage) -> Result<Vec<(Node, Target)>> {
    let home = stage.bridge_of(stage.node("netns1"));
    if is_internal(stage, home) {
        return into_and_out_of(stage, stage.node("netns1"));
    }
    let others = stage.nodes().iter().filter(|other| other.name() != "netns1");
    let far = others.clone().find(|other| stage.bridge_of(other) != home).or_else(|| others.clone().next());
    let (near, far) = (stage.node("netns1").clone(), far.expect("it has two nodes").clone());
    for version in stage.versions() {
        for (from, to) in [(&near, &far), (&far, &near)] {
            let to = topology::Destination::Prefix(IpNet::from(version.of(to).address));
            from.add_route(&topology::Route { to, via: stage.gateway(from, version), dev: None })?;
        }
    }
    Ok(stage.versions().into_iter().map(|version| (near.clone(), version.of(&far))).collect())
}

fn is_internal(stage: &Stage, bridge: &str) -> bool {
    stage.topology().bridge(bridge).is_some_and(|bridge| bridge.internal)
}

/// An internal network's node and the outside, and the ways from each to the other: the host forwards, and both have a
/// route by it.
fn into_and_out_of(stage: &Stage, node: &Node) -> Result<Vec<(Node, Target)>> {
    let mut ways = Vec::new();
    let addresses = stage.topology().bridge(stage.bridge_of(node)).map(|bridge| bridge.addresses.clone());
    for gateway in addresses.unwrap_or_default().iter().map(IpNet::addr) {
        let version = Version::from(gateway);
        stage.host().set_sysctl(forwarding(version), "1")?;
        drop_defaults(node, version)?;
        node.add_route(&default_via(gateway))?;
        stage.outside().add_route(&way_in(stage, node, version))?;
        ways.push((node.clone(), stage.external(version)));
        ways.push((stage.outside().clone(), version.of(node)));
    }
    Ok(ways)
}

pub(super) fn isolation_reloaded(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    let ways = apart(stage)?;
    stage.cold()?;
    if ways.iter().any(|(from, to)| reaches(from, to)) {
        let text = format!("{} does not keep these apart to begin with", stage.description().name);
        return Err(Error::Unsupported(text));
    }
    // Without its rules they reach each other: it is the rules that keep them apart.
    flush(stage, |_| !ways.iter().all(|(from, to)| reaches(from, to)))?;
    stage.reload()?;
    stage.cold()?;
    stage.host().delete_flows(|_| true)?;
    for (from, to) in &ways {
        expect!(from.ping(to), NoReply | Unreachable { .. });
    }
    works(stage)
}

pub(super) fn added_isolated(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let node = stage.node("newcomer").clone();
    let home = stage.bridge_of(&node);
    if is_internal(stage, home) {
        expect!(node.ping(stage.node("netns1")), Reply { ttl: 64, .. });
        for (from, to) in into_and_out_of(stage, &node)? {
            expect!(stage.host().ping(&to), Reply { .. });
            expect!(from.ping(&to), NoReply | Unreachable { .. });
        }
        return Ok(());
    }
    let ports = stage.topology().bridge(home).is_some_and(|bridge| bridge.isolate_ports);
    for version in stage.versions() {
        expect!(node.ping(stage.external(version)), Reply { .. });
        for other in stage.nodes().iter().filter(|other| other.name() != node.name()) {
            stage.cold()?;
            if ports || stage.bridge_of(other) != home {
                expect!(node.ping(version.of(other)), NoReply | Unreachable { .. });
                expect!(other.ping(version.of(&node)), NoReply | Unreachable { .. });
            } else {
                expect!(node.ping(version.of(other)), Reply { ttl: 64, .. });
            }
        }
    }
    Ok(())
}

pub(super) fn added_guarded(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    guarded(stage, "newcomer")
}

pub(super) fn guards_reloaded(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    flush(stage, |stage| reaches(stage.node("netns1"), stage.external(Version::V4)))?;
    stage.reload()?;
    guarded(stage, "netns2")
}

/// What is true of a network when it comes up: see the cases of the same names in `nat` and `isolation`.
fn guarded(stage: &mut Stage, name: &str) -> Result<()> {
    let node = stage.node(name).clone();
    let bridge = stage.topology().bridge(stage.bridge_of(&node));
    if bridge.is_some_and(|bridge| bridge.anti_spoof) {
        return speaks_as_itself(stage, &node);
    }
    exposure::no_direct_way_to(stage, &node)?;
    exposure::loopback_closed(stage)?;
    isolation::advertisements_ignored(stage)
}

/// A node's own frames reach a peer, and those that it sends in another's name do not.
fn speaks_as_itself(stage: &Stage, node: &Node) -> Result<()> {
    let peer = stage.node("netns1");
    let (injector, wire) = (node.injector(node.device())?, peer.tap(peer.device())?);
    for (version, stranger) in [(Version::V4, "10.20.99.99"), (Version::V6, "fd00:20::99:99")] {
        let own = Way {
            source_mac: node.mac(),
            destination_mac: peer.mac(),
            source: version.of(node).address,
            destination: version.of(peer).address,
        };
        let forged = Way { source: stranger.parse().expect("it is an address"), ..own };
        injector.send(&forge::udp(own, 7001, 7001, b"own"))?;
        expect!(wire.frames(filter::udp_to_port(7001).and(filter::ip_from(own.source))), 1..);
        injector.send(&forge::udp(forged, 7002, 7002, b"forged"))?;
        let arrived = filter::udp_to_port(7002).and(filter::ip_from(forged.source));
        expect!(wire.frames(arrived).before((&**stage.host(), stage.bridge_of(peer))), 0);
    }
    Ok(())
}

/// Brings the network up beside another's FORWARD chains that drop; a case about one that does not pass them is
/// `unsupported`.
fn up_under_drop(stage: &mut Stage) -> Result<()> {
    foreign_chains(stage, "drop", None)?;
    stage.up()?;
    // On a busy machine one echo can be late, and a case that is left out for it would be noticed by nobody.
    if (0..8).any(|_| reaches(stage.node("netns1"), stage.external(Version::V4))) {
        return Ok(());
    }
    let text = format!("{} does not pass another's FORWARD chain to begin with", stage.description().name);
    Err(Error::Unsupported(text))
}

pub(super) fn added_under_drop(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    up_under_drop(stage)?;
    add_publishing(stage)?;
    with_brnf(stage, |stage| works(stage))
}

pub(super) fn reloaded_under_drop(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    up_under_drop(stage)?;
    flush(stage, |stage| reaches(stage.node("netns1"), stage.external(Version::V4)))?;
    foreign_chains(stage, "drop", None)?;
    stage.reload()?;
    with_brnf(stage, |stage| works(stage))?;
    let before = Inventory::of(stage.host())?;
    stage.reload()?;
    same(&before.changes(&Inventory::of(stage.host())?), &[Kind::Rule], "after a further `reload`")
}
