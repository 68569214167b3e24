//! Which cases a user means.

use std::collections::BTreeSet;

use netproof::topology::{self, Topology};
use netproof_suites::{
    case::Level,
    run::{Item, all_items},
    suite::{SUITES, all_cases},
};

use super::Wrong;

/// The items that the names mean: a suite, a case, or the first words of one, each with `@TOPOLOGY` for only that, and
/// `@TOPOLOGY` alone for all that is tried on it. All, for none.
pub(crate) fn items(names: &[String]) -> Result<Vec<Item>, Wrong> {
    let all = all_items();
    for name in names {
        if all.iter().any(|item| is_meant(name, item)) {
            continue;
        }
        let (id, topology) = parts(name);
        return Err(Wrong::new(match topology {
            Some(topology) if id.is_empty() => {
                let near = netproof::topology::nearest(topology, all.iter().map(|item| item.topology.name.as_str()));
                let hint = near.map(|near| format!("did you mean `@{near}`? ")).unwrap_or_default();
                format!("no topology is called `{topology}`; {hint}`netproof list` shows all")
            }
            None if all.iter().any(|item| item.topology.name == id) => {
                format!("`{id}` is a topology, and no suite: `@{id}` means all that is tried on it")
            }
            Some(topology) if all_cases().any(|case| case.is_meant(id)) => {
                let known: BTreeSet<&str> =
                    all_cases().filter(|case| case.is_meant(id)).flat_map(|case| case.on).copied().collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                format!("`{id}` is not tried on `{topology}`, but on {known}")
            }
            _ => not_there(id),
        }));
    }
    let wanted = |item: &Item| names.is_empty() || names.iter().any(|name| is_meant(name, item));
    Ok(all.into_iter().filter(wanted).collect())
}

fn is_meant(name: &str, item: &Item) -> bool {
    let (id, topology) = parts(name);
    (item.case.is_meant(id) || id.is_empty() && topology.is_some())
        && topology.is_none_or(|topology| topology == item.topology.name)
}

/// `pair/peers@star` is `pair/peers` on `star`.
fn parts(name: &str) -> (&str, Option<&str>) {
    name.split_once('@').map_or((name, None), |(id, topology)| (id, Some(topology)))
}

/// Whether the item is of the profile `core`: what every container network should do, engines' included.
pub(crate) fn is_core(item: &Item) -> bool {
    const TOPOLOGIES: [&str; 3] = ["gateway-one-subnet", "publish", "internal"];
    item.case.level == Level::Must && TOPOLOGIES.contains(&item.topology.name.as_str())
}

/// The items on a user's own topology: those of the cases that apply to a shipped topology of its shape.
pub(crate) fn on_topology(items: Vec<Item>, topology: &Topology) -> Result<Vec<Item>, Wrong> {
    let is_named = |(place, node): (usize, &topology::Node)| node.name == format!("netns{}", place + 1);
    if topology.nodes.len() < 2 || !topology.nodes.iter().enumerate().all(is_named) {
        return Err(Wrong::new(format!(
            "the nodes of topology `{}` are to be called netns1, netns2 and so on, two at least: the cases speak of them so, \
             whatever an implementation calls them",
            topology.name
        )));
    }
    let (mut found, wanted): (Vec<Item>, _) = (Vec::new(), shape(topology));
    for item in items {
        if shape(&item.topology) == wanted && found.iter().all(|known| known.case.id != item.case.id) {
            found.push(Item { case: item.case, topology: topology.clone() });
        }
    }
    Ok(found)
}

/// What decides which cases apply: not names, addresses or numbers, but what there is.
fn shape(topology: &Topology) -> Vec<usize> {
    let v6 = |nets: &[netproof::IpNet]| nets.iter().any(|net| net.addr().is_ipv6());
    let interfaces = || topology.nodes.iter().flat_map(|node| &node.interfaces);
    let of_bridges = |flag: fn(&netproof::topology::Bridge) -> bool| usize::from(topology.bridges.iter().any(flag));
    vec![
        topology.bridges.len().min(2),
        topology
            .bridges
            .iter()
            .map(|bridge| bridge.addresses.iter().filter(|net| net.addr().is_ipv4()).count())
            .max()
            .unwrap_or(0),
        usize::from(topology.bridges.iter().any(|bridge| v6(&bridge.addresses))),
        usize::from(interfaces().any(|interface| !interface.port_addresses.is_empty())),
        usize::from(interfaces().any(|interface| interface.peer.is_some())),
        usize::from(topology.host.uplink.is_some()),
        usize::from(!topology.host.routes.is_empty()),
        usize::from(topology.host.forwarding),
        usize::from(!topology.nat.masquerade.is_empty()),
        usize::from(topology.nat.publish.iter().any(|publish| publish.host_address.is_none())),
        usize::from(topology.nat.publish.iter().any(|publish| publish.host_address.is_some())),
        usize::from(!topology.dns.upstream.is_empty()),
        of_bridges(|bridge| bridge.isolate_ports),
        of_bridges(|bridge| bridge.isolated),
        of_bridges(|bridge| bridge.internal),
        of_bridges(|bridge| bridge.hairpin),
        of_bridges(|bridge| bridge.vlan_filtering),
        of_bridges(|bridge| bridge.anti_spoof),
        usize::from(topology.bridges.iter().any(|bridge| bridge.mtu.is_some())),
    ]
}

/// What is said of a name that is no suite's and no case's.
fn not_there(id: &str) -> String {
    let names = SUITES.iter().map(|suite| suite.name).chain(all_cases().map(|case| case.id));
    let near = netproof::topology::nearest(id, names);
    let hint = match (near, id.split_once('/')) {
        (Some(near), _) => format!("did you mean `{near}`? "),
        (None, Some((suite, _))) if SUITES.iter().any(|known| known.name == suite) => {
            return format!("no case is called `{id}`; `netproof list {suite}` shows those of the suite");
        }
        (None, _) => String::new(),
    };
    format!("no suite or case is called `{id}`; {hint}`netproof list` shows all")
}
