//! A place in a lab: a namespace, and what stands in it.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use ipnet::IpNet;

use crate::{Mac, Namespace, Station, Target, Topology, topology::Interface};

/// A place in a lab: `host`, a node, or `outside`. It is a [`Namespace`] that knows its own addresses.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    namespace: Namespace,
    interfaces: Vec<Interface>,
    addresses: Vec<IpNet>,
}

impl Node {
    pub(super) fn new(namespace: Namespace, interfaces: &[Interface]) -> Self {
        let addresses = interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect();
        Self { inner: Arc::new(Inner { namespace, interfaces: interfaces.to_vec(), addresses }) }
    }

    pub(super) fn bare(namespace: Namespace) -> Self {
        Self::new(namespace, &[])
    }

    pub(super) fn with_addresses(namespace: Namespace, interfaces: &[Interface], addresses: Vec<IpNet>) -> Self {
        Self { inner: Arc::new(Inner { namespace, interfaces: interfaces.to_vec(), addresses }) }
    }

    /// The same namespace as `host` of a topology: its addresses are the bridges', the ports', and the uplink's.
    pub(super) fn as_host(&self, topology: &Topology) -> Self {
        let bridges = topology.bridges.iter().flat_map(|bridge| &bridge.addresses);
        let ports = topology.nodes.iter().flat_map(|node| &node.interfaces).flat_map(|end| &end.port_addresses);
        let uplink = topology.host.uplink.iter().flat_map(|uplink| &uplink.addresses);
        let addresses = bridges.chain(ports).chain(uplink).copied().collect();
        Self::with_addresses(self.inner.namespace.clone(), &[], addresses)
    }

    /// Its interfaces, as they stand.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.inner.interfaces
    }

    /// All its addresses, with their prefix lengths.
    #[must_use]
    pub fn prefixes(&self) -> &[IpNet] {
        &self.inner.addresses
    }

    /// Its first IPv4 address, else its first IPv6 address.
    ///
    /// # Panics
    /// Where it has no address.
    #[must_use]
    #[track_caller]
    pub fn address(&self) -> IpAddr {
        self.v4().or_else(|| self.v6()).unwrap_or_else(|| panic!("{} has no address", self.name()))
    }

    /// Its first IPv4 address.
    #[must_use]
    pub fn v4(&self) -> Option<IpAddr> {
        self.prefixes().iter().map(IpNet::addr).find(IpAddr::is_ipv4)
    }

    /// Its first IPv6 address.
    #[must_use]
    pub fn v6(&self) -> Option<IpAddr> {
        self.prefixes().iter().map(IpNet::addr).find(IpAddr::is_ipv6)
    }

    /// The name of its first interface.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    #[track_caller]
    pub fn device(&self) -> &str {
        let why =
            || panic!("{0} has no interface of the topology's: say which device, as in `({0}, \"eth0\")`", self.name());
        self.interfaces().first().map_or_else(why, |first| &first.name)
    }

    /// The MAC address of its first interface, as it was read back.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    #[track_caller]
    pub fn mac(&self) -> Mac {
        let mac = self.interfaces().first().and_then(|first| first.mac);
        mac.unwrap_or_else(|| panic!("{} has no interface with a MAC address", self.name()))
    }

    /// The other end of its first interface, in `host`.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    #[track_caller]
    pub fn port(&self) -> &str {
        let port = self.interfaces().first().and_then(|first| first.port.as_deref());
        port.unwrap_or_else(|| panic!("{} has no port in the host", self.name()))
    }

    /// It as a target, at this address of its own: one that a program of yours gave it, too. Unlike a bare address it is asked
    /// whether it is there before silence counts for anything. A device that is set down loses its IPv6 addresses (unless
    /// `net.ipv6.conf.DEV.keep_addr_on_down`), and silence of its node is an error then: claim it of the bare address.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Target {
        Target { address, label: self.name().into(), namespace: Some(self.inner.namespace.clone()) }
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.inner.namespace
    }
}

impl From<&Node> for Target {
    /// Aims at the node's first address, IPv4 before IPv6.
    fn from(node: &Node) -> Self {
        node.at(node.address())
    }
}

impl From<(&Node, &str)> for Station {
    fn from((node, device): (&Node, &str)) -> Self {
        (&**node, device).into()
    }
}

impl From<&Node> for Station {
    /// The node's first interface.
    fn from(node: &Node) -> Self {
        (&**node, node.device()).into()
    }
}
