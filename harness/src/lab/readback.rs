//! Nothing that an implementation says is believed: it is read back from the kernel.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

use crate::{
    Error, Mac, Namespace, Result, Topology,
    implement::Site,
    link::name_of,
    protocol::{BridgeReply, InterfaceReply, NodeReply, Reply},
    topology::{Bridge, Interface, Node},
};

/// What stands: the part of the topology that was asked for, as the kernel has it.
pub(super) struct Read {
    pub topology: Topology,
    /// The namespaces of the nodes that are elsewhere than asked.
    pub namespaces: Vec<Namespace>,
}

pub(super) fn read(site: &Site, asked: &Topology, reply: &Reply) -> Result<Read> {
    known_names(asked, reply)?;
    let mut topology = asked.clone();
    let host = Links::of(&site.host)?;
    for bridge in &mut topology.bridges {
        let said = reply.bridges.iter().find(|said| said.name == bridge.name);
        read_bridge(&host, bridge, said)?;
    }
    let bridges: Vec<(&Bridge, &Bridge)> = asked.bridges.iter().zip(&topology.bridges).collect();
    let mut namespaces = Vec::new();
    let mut taken: Vec<Namespace> = Vec::new();
    for node in &mut topology.nodes {
        let said = reply.nodes.iter().find(|said| said.name == node.name);
        let namespace = match said.and_then(|said| said.netns.as_deref()) {
            Some(path) => {
                let namespace = elsewhere(site, &node.name, path)?;
                namespaces.push(namespace.clone());
                namespace
            }
            None => site.node(&node.name)?.clone(),
        };
        if let Some(other) = taken.iter().find(|other| namespace.is_same(other).unwrap_or(true)) {
            return Err(wrong(format!("the reply puts {} and {} into one namespace", other.name(), node.name)));
        }
        read_node(&host, &bridges, &namespace, node, said)?;
        taken.push(namespace);
    }
    Ok(Read { topology, namespaces })
}

/// A reply can only be about what was asked for.
fn known_names(asked: &Topology, reply: &Reply) -> Result<()> {
    for said in &reply.bridges {
        if asked.bridge(&said.name).is_none() {
            return Err(wrong(format!("the reply names bridge `{}`, which was not asked for", said.name)));
        }
    }
    for said in &reply.nodes {
        let Some(node) = asked.node(&said.name) else {
            return Err(wrong(format!("the reply names node `{}`, which was not asked for", said.name)));
        };
        if let Some(odd) =
            said.interfaces.iter().find(|said| node.interfaces.iter().all(|asked| asked.name != said.name))
        {
            return Err(wrong(format!(
                "the reply names interface `{}` of {}, which was not asked for",
                odd.name, said.name
            )));
        }
    }
    Ok(())
}

/// The namespace that a node is in by its own choice: the lab's, but neither `host` nor `outside`, nor the machine's.
fn elsewhere(site: &Site, node: &str, path: &str) -> Result<Namespace> {
    let nowhere = |error| wrong(format!("the reply puts {node} into {path}, which is no network namespace: {error}"));
    let namespace = site.open(node, path).map_err(nowhere)?;
    let forbidden = |what: &str| wrong(format!("the reply puts {node} into {path}, which is {what}"));
    let is = |other: &Namespace| namespace.is_same(other).unwrap_or(true);
    if is(&site.host) {
        return Err(forbidden("the namespace `host`"));
    }
    if site.outside.as_ref().is_some_and(is) {
        return Err(forbidden("the namespace `outside`"));
    }
    let machine = crate::namespace::current().map(|fd| Namespace::from_fd("the machine", fd));
    if machine.is_ok_and(|machine| is(&machine)) {
        return Err(forbidden("the machine's own network namespace"));
    }
    Ok(namespace)
}

fn read_bridge(host: &Links, bridge: &mut Bridge, said: Option<&BridgeReply>) -> Result<()> {
    let asked = bridge.name.clone();
    if let Some(is) = said.and_then(|said| said.is.clone()) {
        bridge.name = is;
    }
    if let Some(addresses) = said.and_then(|said| said.addresses.clone()) {
        bridge.addresses = addresses;
    }
    let link = host.named(&bridge.name, &format!("bridge {asked}"))?;
    if link.kind().as_deref() != Some("bridge") {
        return Err(wrong(format!("{} in host is no bridge, but a {}", bridge.name, link.kind().unwrap_or_default())));
    }
    has_addresses(&bridge.name, "host", &bridge.addresses, &host.addresses(link.index()))
}

fn read_node(
    host: &Links,
    bridges: &[(&Bridge, &Bridge)],
    namespace: &Namespace,
    node: &mut Node,
    said: Option<&NodeReply>,
) -> Result<()> {
    let links = Links::of(namespace)?;
    for interface in &mut node.interfaces {
        let said = said.and_then(|said| said.interfaces.iter().find(|said| said.name == interface.name));
        let asked = interface.name.clone();
        let link = read_interface(&links, &node.name, interface, said)?;
        for dev in node.routes.iter_mut().filter_map(|route| route.dev.as_mut()).filter(|dev| **dev == asked) {
            dev.clone_from(&interface.name);
        }
        if interface.port.is_some() {
            let port = host.peer_of(&link, &node.name, interface)?;
            attached(host, bridges, &port, &node.name, interface)?;
            interface.port = port.name().map(ToOwned::to_owned);
            has_addresses(
                port.name().unwrap_or_default(),
                "host",
                &interface.port_addresses,
                &host.addresses(port.index()),
            )?;
        }
        interface.bridge = interface.bridge.as_ref().map(|asked| is_called(bridges, asked));
    }
    Ok(())
}

/// Holds an interface to what is declared of it, and to what was asked where nothing is; keeps its MAC and MTU.
fn read_interface(links: &Links, node: &str, interface: &mut Interface, said: Option<&InterfaceReply>) -> Result<Link> {
    let said = said.cloned().unwrap_or_default();
    let asked = interface.name.clone();
    interface.name = said.is.unwrap_or(asked.clone());
    interface.addresses = said.addresses.unwrap_or_else(|| interface.addresses.clone());
    interface.mac = said.mac.or(interface.mac);
    interface.mtu = said.mtu.or(interface.mtu);
    let link = links.named(&interface.name, &format!("interface {asked} of {node}"))?;
    has_addresses(&interface.name, node, &interface.addresses, &links.addresses(link.index()))?;
    let differs = |what: &str, expected: String, is: String| {
        Err(wrong(format!("{} in {node} should have {what} {expected}, and has {is}", interface.name)))
    };
    if let (Some(expected), Some(is)) = (interface.mac, link.mac())
        && expected != is
    {
        return differs("MAC address", expected.to_string(), is.to_string());
    }
    if let (Some(expected), Some(is)) = (interface.mtu, link.mtu())
        && expected != is
    {
        return differs("MTU", expected.to_string(), is.to_string());
    }
    interface.mac = link.mac();
    Ok(link.clone())
}

/// The port is attached to the bridge that it should be, or to none.
fn attached(
    host: &Links,
    bridges: &[(&Bridge, &Bridge)],
    port: &Link,
    node: &str,
    interface: &Interface,
) -> Result<()> {
    let master = port.master().and_then(|index| host.by_index(index)).and_then(Link::name);
    let expected = interface.bridge.as_ref().map(|asked| is_called(bridges, asked));
    if master == expected.as_deref() {
        return Ok(());
    }
    let show = |name: Option<&str>| name.map_or("no bridge".to_owned(), |name| format!("bridge {name}"));
    Err(wrong(format!(
        "{}, the port of {node}'s {}, should be on {}, and is on {}",
        port.name().unwrap_or("?"),
        interface.name,
        show(expected.as_deref()),
        show(master)
    )))
}

fn is_called(bridges: &[(&Bridge, &Bridge)], asked: &str) -> String {
    let found = bridges.iter().find(|(bridge, _)| bridge.name == asked);
    found.map_or_else(|| asked.to_owned(), |(_, is)| is.name.clone())
}

/// What should be there is, prefix length included. Link-local addresses come by themselves.
fn has_addresses(link: &str, namespace: &str, expected: &[IpNet], found: &BTreeSet<IpNet>) -> Result<()> {
    let of_itself = |net: &&IpNet| matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local());
    let found: BTreeSet<IpNet> = found.iter().filter(|net| !of_itself(net)).copied().collect();
    let expected: BTreeSet<IpNet> = expected.iter().copied().collect();
    if let Some(missing) = expected.difference(&found).next() {
        let message = format!("{link} in {namespace} should have {missing}, and has {}", list(&found));
        return Err(wrong(message));
    }
    Ok(())
}

fn list(addresses: &BTreeSet<IpNet>) -> String {
    if addresses.is_empty() {
        return "no address".into();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The links and addresses of one namespace.
struct Links {
    namespace: Namespace,
    links: Vec<Link>,
    addresses: Vec<(u32, IpNet)>,
}

#[derive(Clone)]
struct Link(LinkMessage);

impl Links {
    fn of(namespace: &Namespace) -> Result<Self> {
        let links = namespace.link_messages()?.into_iter().map(Link).collect();
        Ok(Self { namespace: namespace.clone(), links, addresses: namespace.address_list()? })
    }

    fn named(&self, name: &str, what: &str) -> Result<&Link> {
        self.links.iter().find(|link| link.name() == Some(name)).ok_or_else(|| {
            let names: Vec<&str> = self.links.iter().filter_map(Link::name).collect();
            let namespace = self.namespace.name();
            wrong(format!("{what} should be there as `{name}`, but {namespace} has only {}", names.join(", ")))
        })
    }

    fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index() == index)
    }

    fn addresses(&self, index: u32) -> BTreeSet<IpNet> {
        self.addresses.iter().filter(|(link, _)| *link == index).map(|(_, net)| *net).collect()
    }

    /// The host's end of a node's veth: the veth tells its peer's index, and the peer tells it back.
    fn peer_of(&self, end: &Link, node: &str, interface: &Interface) -> Result<Link> {
        let peer = end.peer_index().and_then(|index| self.by_index(index));
        let back = peer.filter(|peer| peer.peer_index() == Some(end.index()));
        back.cloned().ok_or_else(|| wrong(format!("{}'s {} has no other end in host", node, interface.name)))
    }
}

impl Link {
    fn index(&self) -> u32 {
        self.0.header.index
    }

    fn name(&self) -> Option<&str> {
        name_of(&self.0)
    }

    fn find<T>(&self, pick: impl Fn(&LinkAttribute) -> Option<T>) -> Option<T> {
        self.0.attributes.iter().find_map(pick)
    }

    fn master(&self) -> Option<u32> {
        self.find(|attribute| if let LinkAttribute::Controller(index) = attribute { Some(*index) } else { None })
    }

    fn peer_index(&self) -> Option<u32> {
        self.find(|attribute| if let LinkAttribute::Link(index) = attribute { Some(*index) } else { None })
    }

    fn mtu(&self) -> Option<u32> {
        self.find(|attribute| if let LinkAttribute::Mtu(mtu) = attribute { Some(*mtu) } else { None })
    }

    fn mac(&self) -> Option<Mac> {
        self.find(|attribute| if let LinkAttribute::Address(bytes) = attribute { Mac::from_slice(bytes) } else { None })
    }

    fn kind(&self) -> Option<String> {
        crate::link::kind_of(&self.0)
    }
}

/// The implementation said, or built, something else than it should have.
fn wrong(message: String) -> Error {
    Error::ReadBack(message)
}
