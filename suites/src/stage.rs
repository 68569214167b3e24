//! What a case acts on: a lab, and the verbs of the implementation that builds in it.

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use netproof::{
    Error, Lab, Node, Result, Target, expect::given, implement::Shared, protocol::Description, state::Link,
    topology::Interface,
};

/// What a case acts on: a lab, and what its implementation says that it can do.
pub struct Stage {
    lab: Lab,
    description: Description,
    implementation: Shared,
}

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Stage {
    /// A lab, its implementation, and what that says of itself.
    #[must_use]
    pub fn new(lab: Lab, description: Description, implementation: Shared) -> Self {
        Self { lab, description, implementation }
    }

    /// What the implementation says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The implementation, for calls that the lab has no verb for.
    #[must_use]
    pub fn implementation(&self) -> &Shared {
        &self.implementation
    }

    /// Whether the implementation has this verb.
    #[must_use]
    pub fn knows(&self, verb: &str) -> bool {
        self.description.knows(verb)
    }

    /// Whether the implementation has this verb; a case about one that it has not is `unsupported`.
    pub fn needs(&self, verb: &str) -> Result<()> {
        if self.knows(verb) {
            return Ok(());
        }
        Err(Error::Unsupported(format!("{} has no verb `{verb}`", self.description.name)))
    }

    /// What an implementation did wrong at one of its verbs, with what shows it: the case fails.
    #[must_use]
    pub fn blame(&self, verb: &str, message: &str, evidence: impl Into<String>) -> Error {
        Error::Implementation {
            implementation: self.description.name.clone(),
            verb: verb.into(),
            message: message.into(),
            evidence: evidence.into(),
        }
    }

    /// Has the topology built, and gives the kernel the time to see the carriers of what is up.
    ///
    /// It looks once a second at most (`net/core/link_watch.c`), an implementation may return before, and a frame that a
    /// case sends once would be lost. `links/all-are-up-when-up-returns` is about those that do not wait; for the others
    /// a link that stays without is what they will find.
    pub fn up(&mut self) -> Result<()> {
        self.lab.up()?;
        match self.settle() {
            Err(Error::Timeout { .. }) => Ok(()),
            other => other,
        }
    }

    fn settle(&self) -> Result<()> {
        let is_up = |links: &[Link], name: &str| links.iter().any(|link| link.name == name && link.up);
        let host = self.host().links().list()?;
        let mut ports = Vec::new();
        for node in self.nodes() {
            let links = node.links().list()?;
            for end in node.interfaces().iter().filter(|end| is_up(&links, &end.name)) {
                let Some(port) = &end.port else { continue };
                let bridge = end.bridge.iter().map(String::as_str);
                if bridge.chain([port.as_str()]).all(|link| is_up(&host, link)) {
                    node.settle(&[&end.name])?;
                    ports.push(port.as_str());
                }
            }
        }
        self.host().settle(&ports)
    }

    /// Forgets what earlier traffic left: neighbours everywhere, and what the bridges have learned.
    ///
    /// Without it a cached neighbour entry would hide the very faults that the cases look for.
    pub fn cold(&self) -> Result<()> {
        for node in self.lab.all() {
            node.flush_neighbours()?;
        }
        for bridge in &self.topology().bridges {
            self.host().flush_fdb(&bridge.name)?;
        }
        Ok(())
    }

    /// The IP versions that the nodes have addresses of.
    #[must_use]
    pub fn versions(&self) -> Vec<Version> {
        let v6 = self.nodes().iter().any(|node| node.v6().is_some());
        let v4 = self.nodes().iter().any(|node| node.v4().is_some());
        [(v4, Version::V4), (v6, Version::V6)].into_iter().filter_map(|(has, version)| has.then_some(version)).collect()
    }

    /// Every ordered pair of nodes that share a bridge, or a veth: the neighbours in a ring where there are many.
    #[must_use]
    pub fn peers(&self) -> Vec<Pair> {
        let nodes = self.nodes();
        let mut pairs = Vec::new();
        for (place, from) in nodes.iter().enumerate() {
            for (other_place, to) in nodes.iter().enumerate() {
                let near = nodes.len() <= 4 || (place + 1) % nodes.len() == other_place;
                if place == other_place || !near {
                    continue;
                }
                if let Some(addresses) = shared(from, to) {
                    pairs.push(Pair { from: from.clone(), to: to.clone(), addresses });
                }
            }
        }
        pairs
    }

    /// The bridge that the node's first interface is attached to.
    ///
    /// # Panics
    /// Where it is attached to none.
    #[must_use]
    #[track_caller]
    pub fn bridge_of(&self, node: &Node) -> &str {
        let bridge = node.interfaces().first().and_then(|first| first.bridge.as_deref());
        let name = bridge.unwrap_or_else(|| panic!("{} is on no bridge", node.name()));
        self.topology().bridge(name).map_or_else(|| panic!("{name} is no bridge"), |bridge| bridge.name.as_str())
    }

    /// An address of `outside` that is not on the uplink's own prefix: what a node reaches by its gateway only.
    pub fn external(&self, version: Version) -> Target {
        let outside = self.outside();
        let address = match version {
            Version::V4 => outside.v4(),
            Version::V6 => outside.v6(),
        };
        outside.at(address.unwrap_or_else(|| panic!("outside has no {version:?} address")))
    }

    /// The gateway of a node: the next hop of its default route of this version.
    #[must_use]
    pub fn gateway(&self, node: &Node, version: Version) -> Option<IpAddr> {
        let node = self.topology().node(node.name())?;
        node.routes.iter().find_map(|route| {
            let default = matches!(route.to, netproof::topology::Destination::Default);
            route.via.filter(|via| default && version.has(*via))
        })
    }

    /// Tries `code` with `rp_filter` (RFC 3704) off, strict and loose on every device of the host.
    pub fn with_each_rp_filter(&mut self, mut code: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for value in ["0", "1", "2"] {
            self.set_rp_filter(value)?;
            given(format!("rp_filter={value}"), || code(self))?;
        }
        self.set_rp_filter("0")
    }

    /// Sets `rp_filter` on every device of the host, and on those to come.
    pub fn set_rp_filter(&self, value: &str) -> Result<()> {
        let links = self.host().links().list()?;
        let devices = ["all", "default"].into_iter().chain(links.iter().map(|link| link.name.as_str()));
        let settings: Vec<(String, &str)> =
            devices.map(|device| (format!("net.ipv4.conf.{}.rp_filter", device.replace('.', "/")), value)).collect();
        self.host().set_sysctls(&settings)
    }

    /// Tries `code` with bridged frames hidden from the firewall, and shown to it.
    pub fn with_each_brnf(&mut self, mut code: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        for value in ["0", "1"] {
            self.set_brnf(value)?;
            given(format!("bridge-nf-call-iptables={value}"), || code(self))?;
        }
        self.set_brnf("0")
    }

    /// Sets `bridge-nf-call-iptables` and `-ip6tables`. A kernel without br_netfilter shows the firewall no bridged frame.
    pub fn set_brnf(&self, value: &str) -> Result<()> {
        for name in ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"] {
            if self.host().sysctl_if_there(name)?.is_some() {
                self.host().set_sysctl(name, value)?;
            } else if value == "1" {
                return Err(Error::Unsupported("br_netfilter is not loaded: modprobe br_netfilter".into()));
            }
        }
        Ok(())
    }
}

/// Two nodes that should reach each other without a router.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Who speaks first.
    pub from: Node,
    /// Who is spoken to.
    pub to: Node,
    /// The addresses of the interface of `to` that faces `from`.
    addresses: Vec<IpAddr>,
}

impl Pair {
    /// The far node as a target at each of its addresses that face the near one: one for each IP version.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.addresses.iter().map(|address| self.to.at(*address)).collect()
    }
}

/// The far node's addresses on the first interface that it shares a bridge, or a veth, with the near node.
fn shared(from: &Node, to: &Node) -> Option<Vec<IpAddr>> {
    let joined = |near: &Interface, far: &Interface| {
        let same_bridge = near.bridge.is_some() && near.bridge == far.bridge && near.vlan == far.vlan;
        same_bridge || near.peer.as_ref().is_some_and(|peer| peer.node == to.name() && peer.interface == far.name)
    };
    let facing = to.interfaces().iter().find(|far| from.interfaces().iter().any(|near| joined(near, far)))?;
    Some(facing.addresses.iter().map(netproof::IpNet::addr).collect())
}

impl Version {
    /// Whether the address is of this version.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    /// The node as a target at its first address of this version.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    #[track_caller]
    pub fn of(self, node: &Node) -> Target {
        let address = match self {
            Self::V4 => node.v4(),
            Self::V6 => node.v6(),
        };
        node.at(address.unwrap_or_else(|| panic!("{} has no {self:?} address", node.name())))
    }
}

impl From<IpAddr> for Version {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl Deref for Stage {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }
}
