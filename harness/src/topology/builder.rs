//! A topology written in Rust.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Bridge, Destination, Interface, Masquerade, Node, Peer, Publish, Route, Topology, Transport, Uplink};
use crate::Result;

/// Builds a topology step by step; [`Builder::build`] checks the whole.
///
/// ```
/// use netproof::Topology;
/// let topology = Topology::builder("mine")
///     .bridge("br0", &["10.20.0.1/16"])
///     .node("netns1", "br0", &["10.20.30.41/16"])
///     .node("netns2", "br0", &["10.20.20.41/16"])
///     .gateway("netns1", "10.20.0.1")
///     .uplink()
///     .masquerade("10.20.0.0/16")
///     .build()?;
/// assert_eq!(topology.nodes[0].interfaces[0].port.as_deref(), Some("veth1-0"));
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    topology: Topology,
    /// Something that could not be read, reported by [`Builder::build`].
    wrong: Option<String>,
}

impl Topology {
    /// A topology built step by step.
    pub fn builder(name: &str) -> Builder {
        let summary = format!("`{name}`, built in Rust.");
        Builder { topology: Self { name: name.into(), summary, ..Self::default() }, wrong: None }
    }
}

impl Builder {
    /// A bridge with these addresses.
    pub fn bridge(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = self.prefixes(addresses);
        self.topology.bridges.push(Bridge { name: name.into(), addresses, ..Bridge::default() });
        self
    }

    /// A node with one interface on a bridge: the n-th node's veth is `vethN-1`, its port `vethN-0`.
    pub fn node(mut self, name: &str, bridge: &str, addresses: &[&str]) -> Self {
        let number = self.topology.nodes.len() + 1;
        let interface = Interface {
            name: format!("veth{number}-1"),
            port: Some(format!("veth{number}-0")),
            bridge: Some(bridge.into()),
            addresses: self.prefixes(addresses),
            ..Interface::default()
        };
        self.topology.nodes.push(Node { name: name.into(), interfaces: vec![interface], routes: Vec::new() });
        self
    }

    /// Two nodes joined by one veth pair, each end with its addresses; nodes that are not there yet are added. The n-th end of
    /// a node, from 0, is called `NODE-N`.
    ///
    /// ```no_run
    /// use netproof::{Lab, Topology, expect};
    /// // left --- router --- right
    /// let topology = Topology::builder("routed")
    ///     .joined(("left", &["192.0.2.2/24"]), ("router", &["192.0.2.1/24"]))
    ///     .joined(("router", &["198.51.100.1/24"]), ("right", &["198.51.100.2/24"]))
    ///     .gateway("left", "192.0.2.1")
    ///     .gateway("right", "198.51.100.1")
    ///     .build()?;
    /// let lab = Lab::builder(topology).up()?;
    /// lab.node("router").set_sysctl("net.ipv4.ip_forward", "1")?;
    /// expect!(lab.node("left").ping(lab.node("right")), Reply { ttl: 63, .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn joined(mut self, one: (&str, &[&str]), other: (&str, &[&str])) -> Self {
        let count = |builder: &Self, name: &str| builder.topology.node(name).map_or(0, |node| node.interfaces.len());
        let name = |node: &str, count: usize| format!("{node}-{count}");
        let (first, second) = (name(one.0, count(&self, one.0)), name(other.0, count(&self, other.0)));
        for ((node, addresses), own, peer) in [(one, &first, (other.0, &second)), (other, &second, (one.0, &first))] {
            let interface = Interface {
                name: own.clone(),
                peer: Some(Peer { node: peer.0.into(), interface: peer.1.clone() }),
                addresses: self.prefixes(addresses),
                ..Interface::default()
            };
            match self.topology.nodes.iter_mut().find(|known| known.name == node) {
                Some(known) => known.interfaces.push(interface),
                None => self.topology.nodes.push(Node {
                    name: node.into(),
                    interfaces: vec![interface],
                    routes: Vec::new(),
                }),
            }
        }
        self
    }

    /// A node's default route via `gateway`.
    pub fn gateway(mut self, node: &str, gateway: &str) -> Self {
        let via = match gateway.parse() {
            Ok(via) => via,
            Err(_) => return self.wrong(format!("`{gateway}` is no address")),
        };
        match self.topology.nodes.iter_mut().find(|known| known.name == node) {
            Some(known) => known.routes.push(Route { to: Destination::Default, via: Some(via), dev: None }),
            None => return self.wrong(format!("`{node}` is no node")),
        }
        self
    }

    /// The usual uplink: `eth0`, 192.0.2.2/24, with `outside` at 192.0.2.1. The host forwards.
    pub fn uplink(self) -> Self {
        self.uplink_with("192.0.2.2/24", [192, 0, 2, 1].into())
    }

    /// The usual uplink has IPv6, or IPv6 too: 2001:db8:0:2::2/64, with `outside` at 2001:db8:0:2::1. The host forwards.
    pub fn uplink_v6(self) -> Self {
        self.uplink_with("2001:db8:0:2::2/64", [0x2001, 0xdb8, 0, 2, 0, 0, 0, 1].into())
    }

    fn uplink_with(mut self, address: &str, gateway: IpAddr) -> Self {
        let addresses = self.prefixes(&[address]);
        let host = &mut self.topology.host;
        let uplink = host.uplink.get_or_insert_with(|| Uplink { interface: "eth0".into(), ..Uplink::default() });
        uplink.addresses.extend(addresses);
        uplink.gateways.push(gateway);
        host.forwarding = true;
        self
    }

    /// Packets from `source` take the uplink's address.
    pub fn masquerade(mut self, source: &str) -> Self {
        for source in self.prefixes(&[source]) {
            self.topology.nat.masquerade.push(Masquerade { source, out: "eth0".into() });
        }
        self
    }

    /// A port of the host's, on all its addresses, passed on to a node.
    pub fn publish(mut self, protocol: Transport, port: u16, node: &str, node_port: u16) -> Self {
        self.topology.nat.publish.push(Publish { protocol, host_address: None, port, node: node.into(), node_port });
        self
    }

    /// Whatever has no method of its own: every field of [`Topology`] is public.
    ///
    /// ```no_run
    /// use netproof::Topology;
    /// let topology = Topology::builder("jumbo")
    ///     .bridge("br0", &["10.1.0.1/24"])
    ///     .node("one", "br0", &["10.1.0.2/24"])
    ///     .with(|topology| topology.bridges[0].mtu = Some(9000))
    ///     .build()?;
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn with(mut self, change: impl FnOnce(&mut Topology)) -> Self {
        change(&mut self.topology);
        self
    }

    /// The topology, checked.
    pub fn build(self) -> Result<Topology> {
        if let Some(wrong) = self.wrong {
            return Err(super::Invalid::at(&self.topology.name, None, &wrong).into());
        }
        self.topology.check()?;
        Ok(self.topology)
    }

    fn prefixes(&mut self, texts: &[&str]) -> Vec<IpNet> {
        let parsed: Result<Vec<IpNet>, _> = texts.iter().map(|text| text.parse().map_err(|_| *text)).collect();
        parsed.unwrap_or_else(|text| {
            self.wrong.get_or_insert(format!("`{text}` is no address with a prefix length"));
            Vec::new()
        })
    }

    fn wrong(mut self, message: String) -> Self {
        self.wrong.get_or_insert(message);
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::Topology;

    /// What cannot be read is reported by `build`.
    #[test]
    fn a_wrong_step_is_reported() {
        let built = Topology::builder("mine").bridge("br0", &["10.20.0.1"]).node("netns1", "br0", &[]).build();
        assert_eq!(built.unwrap_err().to_string(), "mine: `10.20.0.1` is no address with a prefix length");
    }

    /// The usual uplink is that of the topologies that come with netproof, in one IP version or both.
    #[test]
    fn an_uplink_has_either_ip_version() {
        let uplink = |topology: &Topology| topology.host.uplink.clone();
        let node = Topology::builder("mine").bridge("br0", &[]).node("netns1", "br0", &[]);
        let (one, both) = (node.clone().uplink().build().unwrap(), node.uplink().uplink_v6().build().unwrap());
        assert_eq!(uplink(&one), uplink(&Topology::shipped("gateway").unwrap()));
        assert_eq!(uplink(&both), uplink(&Topology::shipped("gateway-v6").unwrap()));
    }

    /// Two nodes without a bridge.
    #[test]
    fn joined_nodes_name_each_other() {
        let built = Topology::builder("mine")
            .joined(("a", &["10.0.0.1/24", "fd00::1/64"]), ("b", &["10.0.0.2/24"]))
            .build()
            .unwrap();
        assert_eq!(built.nodes[1].interfaces[0].peer.as_ref().unwrap().interface, "a-0");
        assert_eq!(built.nodes[0].interfaces[0].addresses.len(), 2);
    }
}
