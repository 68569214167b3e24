//! Links, addresses and routes.

use std::collections::HashMap;

use rtnetlink::packet_route::link::{InfoBridge, LinkAttribute, LinkMessage};

use crate::{
    Error, Mac, Namespace, Request, Result, Topology, addr,
    implement::Site,
    link::{self, Bridge, PortFlag, Veth, name_of},
    route,
    topology::{self, Interface, Node},
};

/// The link group of everything that this implementation makes, by which `down` knows it: "np".
const GROUP: u32 = 0x6e70;

/// What has a name that is taken, by us or by somebody else, is not touched.
pub(super) fn refuse_what_stands(
    site: &Site,
    verb: &str,
    bridges: &[topology::Bridge],
    nodes: &[topology::Node],
) -> Result<()> {
    let links = site.host.link_messages()?;
    let ports = nodes.iter().flat_map(|node| &node.interfaces).filter_map(|end| end.port.as_ref());
    for name in bridges.iter().map(|bridge| &bridge.name).chain(ports) {
        if let Some(link) = links.iter().find(|link| name_of(link) == Some(name)) {
            let whose =
                if is_ours(link) { "the topology stands already" } else { "somebody else's link has this name" };
            return Err(Error::Implementation {
                implementation: "native".into(),
                verb: verb.into(),
                message: format!("link {name} in namespace host is there: {whose}"),
                evidence: String::new(),
            });
        }
    }
    Ok(())
}

/// Builds everything, and returns when it carries traffic.
pub(super) fn up(site: &Site, topology: &Topology) -> Result<()> {
    let mut host = Indexes::of(&site.host)?;
    let mut requests: Vec<Request> = Vec::new();
    for bridge in &topology.bridges {
        requests.extend(add_bridge(bridge, host.take(&bridge.name)));
    }
    let nodes = attach(site, topology, &mut host, requests)?;
    for bridge in &topology.bridges {
        let index = host.index(&bridge.name)?;
        site.host.apply_all(bridge.addresses.iter().map(|address| addr::add(index, *address)))?;
    }
    ready(site, topology, &nodes)
}

/// Attaches nodes to bridges that stand.
pub(super) fn add(site: &Site, part: &Topology, whole: &Topology) -> Result<()> {
    let mut host = Indexes::of(&site.host)?;
    let part = &Topology { nat: whole.nat.clone(), ..part.clone() };
    let nodes = attach(site, part, &mut host, Vec::new())?;
    ready(site, part, &nodes)
}

/// Takes nodes out: the veths go, and with them the nodes' ends.
pub(super) fn remove(site: &Site, part: &Topology) -> Result<()> {
    let ports = part.nodes.iter().flat_map(|node| &node.interfaces).filter_map(|end| end.port.as_deref());
    let links = site.host.link_messages()?;
    let there = |port: &&str| links.iter().any(|link| name_of(link) == Some(*port) && is_ours(link));
    // A namespace that is going takes its end away, and with it the port.
    site.host.apply_all(ports.filter(there).map(|port| link::delete(port).may_be_gone()))
}

/// Removes every link of ours, in the host and in the nodes.
pub(super) fn down(site: &Site) -> Result<()> {
    for namespace in [&site.host].into_iter().chain(&site.nodes) {
        for link in namespace.link_messages()?.iter().filter(|link| is_ours(link)) {
            // A veth between two nodes is ours at both ends, and goes with the first.
            let name = name_of(link).unwrap_or_default();
            namespace.apply(link::delete(name).may_be_gone())?;
        }
    }
    Ok(())
}

fn add_bridge(bridge: &topology::Bridge, index: u32) -> Vec<Request> {
    // A MAC address of its own: an automatic one follows the lowest port's, and who has it cached is cut off.
    let mut link = Bridge::new(&bridge.name).index(index).group(GROUP).mac(own_mac(&bridge.name));
    if bridge.vlan_filtering {
        link = link.option(InfoBridge::VlanFiltering(true)).option(InfoBridge::VlanDefaultPvid(0));
    }
    let mtu = bridge.mtu.iter().flat_map(|mtu| link::pin_mtu(&bridge.name, *mtu));
    [link.request()].into_iter().chain(mtu).collect()
}

/// Makes the veths of the topology's nodes, and sets up the nodes. Returns the nodes' interface names.
fn attach<'a>(
    site: &Site,
    topology: &'a Topology,
    host: &mut Indexes,
    mut in_host: Vec<Request>,
) -> Result<Vec<(&'a Node, Namespace)>> {
    let mut nodes = Vec::new();
    let mut indexes: HashMap<&str, Indexes> = HashMap::new();
    for node in &topology.nodes {
        indexes.insert(&node.name, Indexes::of(site.node(&node.name)?)?);
    }
    let mut ports = Vec::new();
    for node in &topology.nodes {
        for interface in &node.interfaces {
            let own = indexes.get_mut(node.name.as_str()).map_or(0, |of| of.take(&interface.name));
            if let Some(port) = &interface.port {
                let index = host.take(port);
                in_host.extend(add_veth(site, topology, node, interface, (port, index), own, host)?);
                ports.push((interface, port.clone(), index));
            }
        }
    }
    site.host.apply_all(in_host)?;
    join(site, topology, &indexes)?;
    for (interface, port, index) in &ports {
        site.host.apply_all(interface.port_addresses.iter().map(|address| addr::add(*index, *address)))?;
        set_port(site, topology, interface, port, *index)?;
    }
    for node in &topology.nodes {
        let namespace = site.node(&node.name)?;
        let Some(indexes) = indexes.get(node.name.as_str()) else { continue };
        namespace.apply_all(set_up_node(node, indexes)?)?;
        nodes.push((node, namespace.clone()));
    }
    Ok(nodes)
}

fn add_veth(
    site: &Site,
    topology: &Topology,
    node: &Node,
    interface: &Interface,
    (port, index): (&str, u32),
    own: u32,
    host: &Indexes,
) -> Result<Option<Request>> {
    let mut veth =
        Veth::new(port, &interface.name).index(index).group(GROUP).peer_in(site.node(&node.name)?).peer_index(own);
    if let Some(bridge) = &interface.bridge {
        veth = veth.master(host.index(bridge)?);
    }
    let bridge_mtu = interface.bridge.as_deref().and_then(|name| topology.bridge(name)).and_then(|bridge| bridge.mtu);
    if let Some(mtu) = interface.mtu.or(bridge_mtu) {
        veth = veth.mtu(mtu);
    }
    if let Some(mac) = interface.mac {
        veth = veth.peer_mac(mac);
    }
    Ok(Some(veth.request()))
}

/// Makes the veths between nodes, each by the node that is named first.
fn join(site: &Site, topology: &Topology, indexes: &HashMap<&str, Indexes>) -> Result<()> {
    for (place, node) in topology.nodes.iter().enumerate() {
        let mut requests = Vec::new();
        for interface in &node.interfaces {
            let Some(peer) = &interface.peer else { continue };
            let Some(other) = topology.nodes.iter().position(|other| other.name == peer.node) else { continue };
            if other < place {
                continue;
            }
            let far = indexes.get(peer.node.as_str()).map(|of| of.index(&peer.interface)).transpose()?.unwrap_or(0);
            let near = indexes.get(node.name.as_str()).map(|of| of.index(&interface.name)).transpose()?.unwrap_or(0);
            let veth = Veth::new(&interface.name, &peer.interface).index(near).group(GROUP).down();
            let far_end = topology.nodes[other].interfaces.iter().find(|end| end.name == peer.interface);
            let mut veth = veth.peer_in(site.node(&peer.node)?).peer_index(far);
            veth = interface.mac.into_iter().fold(veth, |veth, mac| veth.mac(mac));
            veth = far_end.and_then(|end| end.mac).into_iter().fold(veth, |veth, mac| veth.peer_mac(mac));
            veth = interface.mtu.into_iter().fold(veth, |veth, mtu| veth.mtu(mtu));
            requests.push(veth.request());
        }
        site.node(&node.name)?.apply_all(requests)?;
    }
    Ok(())
}

fn set_port(site: &Site, topology: &Topology, interface: &Interface, port: &str, index: u32) -> Result<()> {
    let Some(bridge) = interface.bridge.as_deref().and_then(|name| topology.bridge(name)) else { return Ok(()) };
    let mut requests = Vec::new();
    // A node that asks for its own published port has to get its frame back, where bridged frames are translated.
    if bridge.hairpin || !topology.nat.publish.is_empty() {
        requests.push(link::set_port(port, index, PortFlag::Hairpin, true));
    }
    if bridge.isolate_ports {
        requests.push(link::set_port(port, index, PortFlag::Isolated, true));
    }
    if let Some(vlan) = interface.vlan {
        requests.push(link::set_port_vlan(port, index, vlan));
    }
    site.host.apply_all(requests)
}

fn set_up_node(node: &Node, indexes: &Indexes) -> Result<Vec<Request>> {
    let mut requests = vec![link::set_up("lo")];
    for interface in &node.interfaces {
        requests.push(link::set_up(&interface.name));
        let index = indexes.index(&interface.name)?;
        requests.extend(interface.addresses.iter().map(|address| addr::add(index, *address)));
    }
    for wanted in &node.routes {
        let dev = wanted.dev.as_deref().map(|dev| indexes.index(dev)).transpose()?;
        requests.push(route::add(wanted, dev));
    }
    Ok(requests)
}

/// Waits until every link of the nodes carries traffic, and every address is usable.
fn ready(site: &Site, topology: &Topology, nodes: &[(&Node, Namespace)]) -> Result<()> {
    let bridges = topology.bridges.iter().map(|bridge| bridge.name.as_str());
    let ports = topology.nodes.iter().flat_map(|node| &node.interfaces).filter_map(|end| end.port.as_deref());
    let ports: Vec<&str> = ports.collect();
    // A bridge is up once one of its ports is.
    site.host.settle(&ports)?;
    site.host.settle(&bridges.collect::<Vec<_>>())?;
    for (node, namespace) in nodes {
        let links: Vec<&str> = node.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        namespace.settle(&links)?;
    }
    let mut all = topology.bridges.iter().flat_map(|bridge| &bridge.addresses);
    if all.any(|net| net.addr().is_ipv6()) {
        site.host.settle_addresses()?;
    }
    for (node, namespace) in nodes {
        if node.interfaces.iter().flat_map(|end| &end.addresses).any(|net| net.addr().is_ipv6()) {
            namespace.settle_addresses()?;
        }
    }
    Ok(())
}

/// The topology with the MAC address that each node's interface has, where it is there.
pub(super) fn with_macs(site: &Site, topology: &Topology) -> Result<Topology> {
    let mut topology = topology.clone();
    if !topology.bridges.iter().any(|bridge| bridge.anti_spoof) {
        return Ok(topology);
    }
    for node in &mut topology.nodes {
        let links = site.node(&node.name)?.links().list()?;
        for interface in &mut node.interfaces {
            let link = links.iter().find(|link| link.name == interface.name);
            interface.mac = link.and_then(|link| link.mac).or(interface.mac);
        }
    }
    Ok(topology)
}

fn is_ours(link: &LinkMessage) -> bool {
    link.attributes.contains(&LinkAttribute::Group(GROUP))
}

/// A locally administered MAC address made from a name, so that it is the same each time.
fn own_mac(name: &str) -> Mac {
    // FNV-1a, 64 bits.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

/// The interface indexes of one namespace, and the next that is free: chosen here, so that nothing needs asking for.
struct Indexes {
    known: HashMap<String, u32>,
    next: u32,
}

impl Indexes {
    fn of(namespace: &Namespace) -> Result<Self> {
        let links = namespace.link_messages()?;
        let known = links.iter().filter_map(|link| Some((name_of(link)?.to_owned(), link.header.index)));
        let next = links.iter().map(|link| link.header.index).max().unwrap_or(0) + 1;
        Ok(Self { known: known.collect(), next })
    }

    fn take(&mut self, name: &str) -> u32 {
        let index = self.next;
        self.next += 1;
        self.known.insert(name.to_owned(), index);
        index
    }

    fn index(&self, name: &str) -> Result<u32> {
        self.known.get(name).copied().ok_or_else(|| Error::Usage(format!("there is no link `{name}` to attach to")))
    }
}
