//! What the cases about coming and going share: whether a network works, whether all is as before, and newcomers.

use std::net::IpAddr;

use netproof::{Topology, inventory::Sign};

use super::*;

/// What no `down` may leave, and nobody else's of which it may take away.
pub(super) const EVERYTHING: &[Kind] =
    &[Kind::Link, Kind::Address, Kind::Route, Kind::Policy, Kind::Neighbour, Kind::Rule, Kind::Fdb, Kind::Qdisc];

/// Fails where something of these kinds has changed.
pub(super) fn same(changes: &[Change], kinds: &[Kind], when: &str) -> Result<()> {
    let counts = |change: &&Change| {
        kinds.contains(&change.kind) || (kinds.contains(&Kind::Rule) && change.kind == Kind::Chain && drops(change))
    };
    // A rule that is put elsewhere in its chain is there as before: no claim is about the order of networks.
    let number = |one: &Change, sign| {
        let is_it = |other: &&Change| (other.kind, other.sign, &other.text) == (one.kind, sign, &one.text);
        changes.iter().filter(is_it).count()
    };
    let moved = |change: &Change| number(change, Sign::Added) == number(change, Sign::Removed);
    let left: Vec<String> =
        changes.iter().filter(counts).filter(|change| !moved(change)).map(ToString::to_string).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(netproof::Error::ReadBack(format!("{when} the host is not as before:\n{}", left.join("\n"))))
}

/// Whether it is a chain that drops what none of its rules accepts, which is as good as a rule.
fn drops(change: &Change) -> bool {
    change.text.ends_with("policy drop;")
}

/// Peers that may talk do, who has a gateway reaches the outside, and the outside reaches what is published.
pub(super) fn works(stage: &Stage) -> Result<()> {
    let keeps_apart = |node: &Node| {
        let name = node.interfaces().first().and_then(|first| first.bridge.as_deref());
        name.and_then(|name| stage.topology().bridge(name)).is_some_and(|bridge| bridge.isolate_ports)
    };
    for pair in stage.peers().iter().filter(|pair| !keeps_apart(&pair.from)) {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { .. });
        }
    }
    for version in stage.versions() {
        for node in stage.nodes().iter().filter(|node| stage.gateway(node, version).is_some()) {
            expect!(node.ping(stage.external(version)), Reply { .. });
        }
    }
    published_answer(stage)
}

/// Every published port answers from outside.
pub(super) fn published_answer(lab: &Lab) -> Result<()> {
    lab.topology().nat.publish.iter().try_for_each(|rule| answers(lab, lab.outside(), rule))
}

/// A published port of the host's uplink answers somebody, by every version that the node has an address of.
pub(super) fn answers(lab: &Lab, from: &Node, rule: &Publish) -> Result<()> {
    let node = lab.node(&rule.node);
    let has = |version: &Version| node.prefixes().iter().any(|net| version.has(net.addr()));
    for version in [Version::V4, Version::V6].into_iter().filter(has) {
        nat::answers_by(lab, from, &uplink(lab, version), version, rule)?;
    }
    Ok(())
}

/// Published ports answer everybody: the outside, the host, each node of their bridge and so their own, with bridged
/// frames hidden from the firewall, and shown to it where the kernel can.
pub(super) fn answer_everybody(stage: &mut Stage, rules: &[Publish]) -> Result<()> {
    with_brnf(stage, |stage| {
        for rule in rules {
            let home = stage.bridge_of(stage.node(&rule.node));
            let near = stage.nodes().iter().filter(|node| stage.bridge_of(node) == home);
            for from in [stage.outside(), stage.host()].into_iter().chain(near) {
                stage.cold()?;
                answers(stage, from, rule)?;
            }
        }
        Ok(())
    })
}

/// Tries `code` with bridged frames hidden from the firewall, and shown to it where the kernel can.
pub(super) fn with_brnf(stage: &mut Stage, mut code: impl FnMut(&mut Stage) -> Result<()>) -> Result<()> {
    if stage.host().sysctl_if_there("net.bridge.bridge-nf-call-iptables")?.is_some() {
        return stage.with_each_brnf(code);
    }
    code(stage)
}

/// Whether an echo finds its way, looked at once.
pub(super) fn reaches(from: &Node, to: impl Into<Target>) -> bool {
    use netproof::{Deadline, Probe};
    let look = from.ping(to).look(Deadline::after(std::time::Duration::from_secs(1)));
    look.is_ok_and(|outcome| outcome.answered())
}

/// A namespace has no link, address or route but those that it was born with.
pub(super) fn nothing_of_network(node: &netproof::Namespace) -> Result<()> {
    let born = born_links()?;
    let of_network = |dev: &str| !born.iter().any(|own| own == dev);
    expect!(node.links(), list if !list.iter().any(|link| of_network(&link.name)));
    expect!(node.addresses(), list if !list.iter().any(|address| of_network(&address.dev)));
    expect!(node.routes(), list if !list.iter().any(|route| route.dev.as_deref().is_some_and(of_network)));
    Ok(())
}

/// A further node like the topology's last, with addresses that nobody has.
pub(super) fn newcomer(stage: &Stage, name: &str) -> topology::Node {
    numbered(stage, name, 9)
}

/// Adds such a node, with a published port where the topology has any.
pub(super) fn add_publishing(stage: &mut Stage) -> Result<()> {
    let node = newcomer(stage, "newcomer");
    let publishes = !stage.asked().nat.publish.is_empty();
    let ports = publishes.then(|| publish("newcomer", Transport::Tcp)).into_iter().collect();
    stage.add(node, ports)
}

/// A node like the topology's last, with this number in its addresses and device names.
pub(super) fn numbered(stage: &Stage, name: &str, number: u8) -> topology::Node {
    let mut node = stage.asked().nodes.last().cloned().expect("it has nodes");
    node.name = name.into();
    let interface = &mut node.interfaces[0];
    interface.name = format!("veth{number}-1");
    interface.port = Some(format!("veth{number}-0"));
    interface.mac = None;
    for address in &mut interface.addresses {
        *address = free(*address, number, stage.asked());
    }
    node
}

/// An address of the same prefix that nobody has: with this number at its end, where the prefix has room for it.
fn free(own: IpNet, number: u8, topology: &Topology) -> IpNet {
    let of_nodes = topology.nodes.iter().flat_map(|node| &node.interfaces).flat_map(|end| &end.addresses);
    let of_bridges = topology.bridges.iter().flat_map(|bridge| &bridge.addresses);
    let taken: Vec<IpAddr> = of_nodes.chain(of_bridges).map(IpNet::addr).collect();
    let of = |host: u32| match own {
        IpNet::V4(net) => IpAddr::from((u32::from(net.network()) | host & u32::from(net.hostmask())).to_be_bytes()),
        IpNet::V6(net) => {
            IpAddr::from((u128::from(net.network()) | u128::from(host) & u128::from(net.hostmask())).to_be_bytes())
        }
    };
    let first = u32::from_be_bytes([0, 0, 77, number]);
    let free = (first..first + 256).map(of).find(|address| !taken.contains(address));
    IpNet::new(free.expect("the prefix has room"), own.prefix_len()).expect("the length is the old address's")
}

/// A port of the host's, published for this node.
pub(super) fn publish(node: &str, protocol: Transport) -> Publish {
    Publish { protocol, host_address: None, port: 6000, node: node.into(), node_port: 6000 }
}
