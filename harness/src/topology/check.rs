//! What a topology must be to stand: names, addresses, and who is attached to what.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    Bridge, Destination, Interface, Node, Route, Topology,
    fault::{Fault, Step},
};

type Checked = Result<(), Fault>;

macro_rules! path {
    ($($step:expr),*) => { vec![$(Step::from($step)),*] };
}

fn fault(path: Vec<Step>, message: impl Into<String>) -> Checked {
    Err(Fault { path, message: message.into() })
}

pub(super) fn check(topology: &Topology) -> Checked {
    let mut seen = Seen::default();
    if !is_name(&topology.name, 32) {
        return fault(path!["topology"], format!("`{}` is no name: [a-z0-9][a-z0-9.-]{{0,31}}", topology.name));
    }
    uplink(topology, &mut seen)?;
    for (index, bridge) in topology.bridges.iter().enumerate() {
        self::bridge(bridge, index, &mut seen)?;
    }
    for (index, node) in topology.nodes.iter().enumerate() {
        self::node(topology, node, index, &mut seen)?;
    }
    if topology.nodes.is_empty() {
        return fault(path!["topology"], "a topology needs at least one node");
    }
    bridge_prefixes(topology)?;
    for (index, route) in topology.host.routes.iter().enumerate() {
        host_route(topology, route, index)?;
    }
    masquerade(topology)?;
    publish(topology)
}

/// What must be there once only.
#[derive(Default)]
struct Seen {
    links: HashMap<String, String>,
    nodes: HashSet<String>,
    addresses: HashMap<IpAddr, String>,
    macs: HashMap<crate::Mac, String>,
}

fn once<K: Hash + Eq + ToString>(
    seen: &mut HashMap<K, String>,
    key: K,
    owner: &str,
    what: &str,
    path: Vec<Step>,
) -> Checked {
    let text = key.to_string();
    match seen.insert(key, owner.to_owned()) {
        Some(first) => fault(path, format!("{what} {text} of {owner} is already {first}'s")),
        None => Ok(()),
    }
}

fn uplink(topology: &Topology, seen: &mut Seen) -> Checked {
    let Some(uplink) = &topology.host.uplink else { return Ok(()) };
    link_name(&uplink.interface, path!["host", "uplink", "interface"])?;
    once(&mut seen.links, uplink.interface.clone(), "the uplink", "link", path!["host", "uplink", "interface"])?;
    mtu(uplink.mtu, &uplink.addresses, path!["host", "uplink", "mtu"])?;
    for (index, address) in uplink.addresses.iter().enumerate() {
        let path = path!["host", "uplink", "addresses", index];
        host_address(address, path.clone())?;
        once(&mut seen.addresses, address.addr(), "the uplink", "address", path)?;
    }
    for (index, gateway) in uplink.gateways.iter().enumerate() {
        let path = path!["host", "uplink", "gateways", index];
        on_link(*gateway, &uplink.addresses, "the uplink", path.clone())?;
        once(&mut seen.addresses, *gateway, "outside", "address", path)?;
    }
    Ok(())
}

fn bridge(bridge: &Bridge, index: usize, seen: &mut Seen) -> Checked {
    let at = |key| path!["bridges", index, key];
    link_name(&bridge.name, at("name"))?;
    once(&mut seen.links, bridge.name.clone(), "a bridge", "link", at("name"))?;
    mtu(bridge.mtu, &bridge.addresses, at("mtu"))?;
    for (number, address) in bridge.addresses.iter().enumerate() {
        let path = path!["bridges", index, "addresses", number];
        host_address(address, path.clone())?;
        once(&mut seen.addresses, address.addr(), &bridge.name, "address", path)?;
    }
    Ok(())
}

fn node(topology: &Topology, node: &Node, index: usize, seen: &mut Seen) -> Checked {
    let name = path!["nodes", index, "name"];
    if let Err(message) = node_name(&node.name) {
        return fault(name, message);
    }
    if !seen.nodes.insert(node.name.clone()) {
        return fault(name, format!("two nodes are called {}", node.name));
    }
    let mut links = HashMap::new();
    for (number, interface) in node.interfaces.iter().enumerate() {
        let at = |key| path!["nodes", index, "interfaces", number, key];
        link_name(&interface.name, at("name"))?;
        once(&mut links, interface.name.clone(), &node.name, "link", at("name"))?;
        self::interface(topology, node, interface, index, number, seen)?;
    }
    for (number, route) in node.routes.iter().enumerate() {
        node_route(node, route, path!["nodes", index, "routes", number])?;
    }
    Ok(())
}

fn interface(
    topology: &Topology,
    node: &Node,
    interface: &Interface,
    index: usize,
    number: usize,
    seen: &mut Seen,
) -> Checked {
    let at = |key| path!["nodes", index, "interfaces", number, key];
    let label = format!("{}'s {}", node.name, interface.name);
    other_end(topology, node, interface, &label, &at, seen)?;
    if let Some(mac) = interface.mac {
        if mac.is_multicast() {
            return fault(at("mac"), format!("{mac} is a group's MAC address"));
        }
        once(&mut seen.macs, mac, &label, "MAC", at("mac"))?;
    }
    mtu(interface.mtu, &interface.addresses, at("mtu"))?;
    if let Some(vlan) = interface.vlan {
        let filters =
            interface.bridge.as_deref().and_then(|name| topology.bridge(name)).is_some_and(|b| b.vlan_filtering);
        if !(1..=4094).contains(&vlan) {
            return fault(at("vlan"), format!("{vlan} is no VLAN: 1 to 4094"));
        }
        if !filters {
            return fault(at("vlan"), format!("{label} is in a VLAN, but its bridge has no vlan_filtering"));
        }
    }
    for (key, addresses) in [("addresses", &interface.addresses), ("port_addresses", &interface.port_addresses)] {
        for (place, address) in addresses.iter().enumerate() {
            let path = path!["nodes", index, "interfaces", number, key, place];
            host_address(address, path.clone())?;
            once(&mut seen.addresses, address.addr(), &label, "address", path)?;
        }
    }
    Ok(())
}

fn other_end(
    topology: &Topology,
    node: &Node,
    interface: &Interface,
    label: &str,
    at: &impl Fn(&'static str) -> Vec<Step>,
    seen: &mut Seen,
) -> Checked {
    match (&interface.port, &interface.peer) {
        (Some(_), Some(_)) => return fault(at("peer"), format!("{label} has both a port and a peer")),
        (None, None) => return fault(at("name"), format!("{label} has neither a port nor a peer")),
        (Some(port), None) => {
            link_name(port, at("port"))?;
            if let Some(owner) = seen.links.insert(port.clone(), label.to_owned()) {
                return fault(
                    at("port"),
                    format!("port {port} of {label} is already {owner}'s: a port is on one bridge, once"),
                );
            }
        }
        (None, Some(peer)) => {
            if interface.bridge.is_some() || !interface.port_addresses.is_empty() {
                return fault(
                    at("peer"),
                    format!("{label} has a peer, so it can have no bridge and no port addresses"),
                );
            }
            let other = topology
                .node(&peer.node)
                .map(|other| (other, other.interfaces.iter().find(|i| i.name == peer.interface)));
            let back = match other {
                None => return fault(at("peer"), format!("{label}'s peer is in `{}`, which is no node", peer.node)),
                Some((_, None)) => {
                    return fault(
                        at("peer"),
                        format!("{label}'s peer `{}` is no interface of {}", peer.interface, peer.node),
                    );
                }
                Some((_, Some(back))) => back,
            };
            if !back.peer.as_ref().is_some_and(|back| back.node == node.name && back.interface == interface.name) {
                return fault(at("peer"), format!("{label} names a peer that does not name it back"));
            }
        }
    }
    match &interface.bridge {
        Some(bridge) if topology.bridge(bridge).is_none() => {
            fault(at("bridge"), format!("{label} is attached to `{bridge}`, which is no bridge"))
        }
        _ => Ok(()),
    }
}

/// Two bridges whose prefixes overlap would make one of them unreachable.
fn bridge_prefixes(topology: &Topology) -> Checked {
    let prefixes: Vec<(usize, usize, &IpNet)> = topology
        .bridges
        .iter()
        .enumerate()
        .flat_map(|(index, bridge)| bridge.addresses.iter().enumerate().map(move |(number, net)| (index, number, net)))
        .collect();
    for (place, (index, number, net)) in prefixes.iter().enumerate() {
        for (other, _, earlier) in &prefixes[..place] {
            if overlap(net, earlier) {
                let path = path!["bridges", *index, "addresses", *number];
                return fault(
                    path,
                    format!("prefix {} overlaps {} of {}", net.trunc(), earlier.trunc(), topology.bridges[*other].name),
                );
            }
        }
        for uplink in topology.host.uplink.iter().flat_map(|uplink| &uplink.addresses) {
            if overlap(net, uplink) {
                let path = path!["bridges", *index, "addresses", *number];
                return fault(path, format!("prefix {} overlaps {} of the uplink", net.trunc(), uplink.trunc()));
            }
        }
    }
    Ok(())
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn node_route(node: &Node, route: &Route, path: Vec<Step>) -> Checked {
    if route.via.is_none() && route.dev.is_none() {
        return fault(path, format!("route {} of {} has neither via nor dev", route.to, node.name));
    }
    let dev = route.dev.as_deref();
    if let Some(dev) = dev
        && !node.interfaces.iter().any(|interface| interface.name == dev)
    {
        return fault(path, format!("route {route} of {}: `{dev}` is no interface of it", node.name));
    }
    let Some(via) = route.via else { return prefix(route, path) };
    let reachable: Vec<IpNet> = node
        .interfaces
        .iter()
        .filter(|interface| dev.is_none_or(|dev| interface.name == dev))
        .flat_map(|interface| interface.addresses.iter().copied())
        .collect();
    on_link(via, &reachable, &node.name, path.clone())?;
    prefix(route, path)
}

fn host_route(topology: &Topology, route: &Route, index: usize) -> Checked {
    let path = path!["host", "routes", index];
    if route.via.is_none() && route.dev.is_none() {
        return fault(path, format!("route {} of the host has neither via nor dev", route.to));
    }
    if let Some(dev) = &route.dev
        && !is_host_link(topology, dev)
    {
        return fault(path, format!("route {route} of the host: `{dev}` is no bridge, port or uplink"));
    }
    if let Some(via) = route.via {
        let bridges = topology.bridges.iter().flat_map(|bridge| bridge.addresses.iter().copied());
        let uplink = topology.host.uplink.iter().flat_map(|uplink| uplink.addresses.iter().copied());
        on_link(via, &bridges.chain(uplink).collect::<Vec<_>>(), "the host", path.clone())?;
    }
    prefix(route, path)
}

fn is_host_link(topology: &Topology, name: &str) -> bool {
    topology.bridge(name).is_some()
        || topology.host.uplink.as_ref().is_some_and(|uplink| uplink.interface == name)
        || topology
            .nodes
            .iter()
            .flat_map(|node| &node.interfaces)
            .any(|interface| interface.port.as_deref() == Some(name))
}

fn prefix(route: &Route, path: Vec<Step>) -> Checked {
    match route.to {
        Destination::Prefix(net) if net.trunc() != net => {
            fault(path, format!("route to {net}: not a prefix; {} is", net.trunc()))
        }
        Destination::Prefix(net) if route.via.is_some_and(|via| via.is_ipv4() != net.addr().is_ipv4()) => {
            fault(path, format!("route {route}: prefix and next hop are of different IP versions"))
        }
        _ => Ok(()),
    }
}

fn masquerade(topology: &Topology) -> Checked {
    for (index, rule) in topology.nat.masquerade.iter().enumerate() {
        if rule.source.trunc() != rule.source {
            let message = format!("masquerade source {}: not a prefix; {} is", rule.source, rule.source.trunc());
            return fault(path!["nat", "masquerade", index, "source"], message);
        }
        if !is_host_link(topology, &rule.out) {
            let message = format!("masquerade out of `{}`, which is no bridge, port or uplink", rule.out);
            return fault(path!["nat", "masquerade", index, "out"], message);
        }
    }
    Ok(())
}

fn publish(topology: &Topology) -> Checked {
    let mut seen = HashMap::new();
    for (index, rule) in topology.nat.publish.iter().enumerate() {
        let at = |key| path!["nat", "publish", index, key];
        if topology.node(&rule.node).is_none() {
            return fault(at("node"), format!("port {} is published to `{}`, which is no node", rule.port, rule.node));
        }
        if rule.port == 0 || rule.node_port == 0 {
            return fault(at(if rule.port == 0 { "port" } else { "node_port" }), "0 is no port that can be published");
        }
        if let Some(first) = seen.insert((rule.protocol, rule.host_address, rule.port), &rule.node) {
            return fault(
                at("port"),
                format!("port {} is published twice: to {first} and to {}", rule.port, rule.node),
            );
        }
    }
    Ok(())
}

fn host_address(address: &IpNet, path: Vec<Step>) -> Checked {
    let reserved = match address {
        IpNet::V4(net) => net.prefix_len() < 31 && (net.addr() == net.network() || net.addr() == net.broadcast()),
        IpNet::V6(_) => false,
    };
    if reserved {
        return fault(path, format!("{address} is the prefix's own or its broadcast address, not a host's"));
    }
    if address.prefix_len() == 0 || address.addr().is_multicast() || address.addr().is_unspecified() {
        return fault(path, format!("{address} cannot be an interface's address"));
    }
    Ok(())
}

fn on_link(gateway: IpAddr, addresses: &[IpNet], owner: &str, path: Vec<Step>) -> Checked {
    if addresses.iter().any(|net| net.contains(&gateway) && net.addr() != gateway) {
        return Ok(());
    }
    fault(path, format!("gateway {gateway} is off-link: no address of {owner} has it in its prefix"))
}

fn mtu(mtu: Option<u32>, addresses: &[IpNet], path: Vec<Step>) -> Checked {
    let least = if addresses.iter().any(|net| net.addr().is_ipv6()) { 1280 } else { 68 };
    match mtu {
        Some(mtu) if !(least..=65535).contains(&mtu) => {
            fault(path, format!("{mtu} is no MTU here: {least} to 65535 bytes"))
        }
        _ => Ok(()),
    }
}

/// What the kernel takes as a link's name (`dev_valid_name`).
fn link_name(name: &str, path: Vec<Step>) -> Checked {
    if name.len() > 15 {
        return fault(path, format!("link name `{name}` has {} bytes, and the kernel takes 15", name.len()));
    }
    if name.is_empty()
        || name == "."
        || name == ".."
        || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
    {
        return fault(path, format!("`{name}` is no name for a link"));
    }
    if name == "lo" || name == "all" || name == "default" {
        return fault(path, format!("`{name}` is taken: no link can have this name"));
    }
    Ok(())
}

/// Whether a node may have this name, or why not.
pub(super) fn node_name(name: &str) -> Result<(), String> {
    if is_name(name, 32) && !["host", "outside"].contains(&name) {
        return Ok(());
    }
    Err(format!("`{name}` is no name for a node: [a-z0-9][a-z0-9.-]{{0,31}}, not `host` or `outside`"))
}

fn is_name(name: &str, longest: usize) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= longest && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests;
