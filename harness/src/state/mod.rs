//! The state of a namespace, read from the kernel: links, addresses, routes, neighbours, FDB.
//!
//! Each value prints one line, in the words of the tool that one would ask: `ip`, `bridge`.

use std::{collections::HashMap, fmt, net::IpAddr};

use crate::{Namespace, Result, firewall::Ruleset};

mod address;
pub(crate) mod link;
mod neighbour;
mod nsid;
pub(crate) mod qdisc;
mod route;
mod table;

pub(crate) use self::nsid::Numbers;
pub use self::{
    address::Address,
    link::{BridgeOptions, Link, Peer, Port, PortState, Vlan},
    neighbour::{FdbEntry, Neighbour, Nud},
    route::{Hop, Question, Route},
    table::Table,
};

/// What a namespace holds, at one moment or nearly so: each kind is a dump of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct State {
    /// The namespace.
    pub namespace: Namespace,
    /// Its links, by index.
    pub links: Vec<Link>,
    /// The addresses on them.
    pub addresses: Vec<Address>,
    /// The routes of every table, the kernel's own for local and broadcast addresses included.
    pub routes: Vec<Route>,
    /// Its neighbours.
    pub neighbours: Vec<Neighbour>,
    /// The FDB entries of its bridges.
    pub fdb: Vec<FdbEntry>,
    /// Its nf_tables rules.
    pub rules: Ruleset,
}

impl State {
    /// Reads it.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let links = link::read(namespace)?;
        let names = Names::of_links(&links);
        Ok(Self {
            namespace: namespace.clone(),
            addresses: address::read(namespace, &names)?,
            routes: route::read(namespace, &names)?,
            neighbours: neighbour::read(namespace, &names)?,
            fdb: neighbour::read_fdb(namespace, &names)?,
            rules: namespace.firewall().ruleset()?,
            links,
        })
    }

    /// The link of this name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link with this index.
    #[must_use]
    pub fn link_at(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The bridge that the link is a port of.
    #[must_use]
    pub fn master_of(&self, link: &Link) -> Option<&Link> {
        link.master.as_deref().and_then(|name| self.link(name))
    }

    /// The ports of the bridge.
    pub fn ports_of<'a>(&'a self, bridge: &'a Link) -> impl Iterator<Item = &'a Link> {
        self.links.iter().filter(move |link| link.master.as_deref() == Some(&bridge.name))
    }

    /// The address, where the namespace has it.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|own| own.address.addr() == address)
    }

    /// What the namespace knows of the neighbour with this address, on this device.
    #[must_use]
    pub fn neighbour(&self, address: IpAddr, dev: &str) -> Option<&Neighbour> {
        self.neighbours.iter().find(|own| own.address == address && own.dev == dev && !own.proxy)
    }

    /// The devices that are set down, but for `lo` and for those that modules make in every namespace, which nobody sets
    /// up (`net.core.fb_tunnels_only_for_init_net`).
    pub(crate) fn down(&self) -> Vec<&str> {
        const BORN: [&str; 10] =
            ["lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"];
        let down = self.links.iter().filter(|link| !link.up).map(|link| link.name.as_str());
        down.filter(|name| !BORN.contains(name)).collect()
    }

    /// The links in the columns of `ip -brief link`, and what makes a port a port.
    #[must_use]
    pub fn links_table(&self) -> Table {
        Link::table(&self.links)
    }

    /// The addresses in the columns of `ip -brief address`.
    #[must_use]
    pub fn addresses_table(&self) -> Table {
        Address::table(&self.addresses)
    }
}

/// Every kind under the command that would show it; empty ones and the kernel's local routes are left out.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |lines: Vec<String>| lines.into_iter().map(|line| vec![line]).collect::<Table>();
        let shown = self.routes.iter().filter(|route| !route.is_own());
        let neighbours = self.neighbours.iter().filter(|neighbour| neighbour.state != Nud::Noarp);
        let fdb = self.fdb.iter().filter(|entry| entry.is_unicast());
        for (command, table) in [
            ("ip -br link", self.links_table()),
            ("ip -br address", self.addresses_table()),
            ("ip route", lines(shown.map(ToString::to_string).collect())),
            ("ip neigh", lines(neighbours.map(ToString::to_string).collect())),
            ("bridge fdb", lines(fdb.map(ToString::to_string).collect())),
            ("nft list ruleset", lines(self.rules.to_string().lines().map(|line| line.replace('\t', "  ")).collect())),
        ] {
            if !table.is_empty() {
                writeln!(f, "{command}")?;
                write!(f, "{}", table.indented(2))?;
            }
        }
        Ok(())
    }
}

/// The names of links by their index.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<u32, String>);

impl Names {
    pub(crate) fn of_links(links: &[Link]) -> Self {
        links.iter().map(|link| (link.index, link.name.clone())).collect()
    }

    /// `if7` for one that has come since, or is gone.
    fn of(&self, index: u32) -> String {
        self.known(index).map_or_else(|| format!("if{index}"), str::to_owned)
    }

    /// None for one that has come since, or is gone.
    pub(crate) fn known(&self, index: u32) -> Option<&str> {
        self.0.get(&index).map(String::as_str)
    }
}

impl FromIterator<(u32, String)> for Names {
    fn from_iter<I: IntoIterator<Item = (u32, String)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
