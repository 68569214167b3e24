//! Forwarding databases, as `bridge fdb` prints them.

use std::{collections::HashMap, fmt};

use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Mac, Namespace, Result, link::name_of, watch::Group};

impl Namespace {
    /// Looks at a bridge's forwarding database. Equivalent to `bridge fdb show br BRIDGE`.
    pub fn fdb(&self, bridge: &str) -> Fdb {
        Fdb { namespace: self.clone(), bridge: bridge.into() }
    }
}

/// An entry of a forwarding database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FdbEntry {
    /// The MAC address.
    pub mac: Mac,
    /// The port that frames to it leave by.
    pub dev: String,
    /// The VLAN, where the bridge filters them.
    pub vlan: Option<u16>,
    /// Whether it is a device's own address, or was set by hand: not learned.
    pub permanent: bool,
}

/// A probe of a bridge's forwarding database.
#[derive(Clone, Debug)]
#[must_use]
pub struct Fdb {
    namespace: Namespace,
    bridge: String,
}

/// A probe of the port that a MAC address was learned on.
#[derive(Clone, Debug)]
#[must_use]
pub struct PortOf {
    fdb: Fdb,
    mac: Mac,
}

/// A bridge's forwarding database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbList {
    bridge: String,
    /// The entries.
    pub entries: Vec<FdbEntry>,
}

/// The port that a MAC address was learned on, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    mac: Mac,
    port: Option<String>,
}

impl Fdb {
    /// Lists its entries.
    pub fn list(&self) -> Result<Vec<FdbEntry>> {
        let links = self.namespace.link_messages()?;
        let names: HashMap<u32, &str> =
            links.iter().filter_map(|link| Some((link.header.index, name_of(link)?))).collect();
        let entries = self.namespace.fdb_messages()?;
        Ok(entries.iter().filter_map(|message| describe(message, &self.bridge, &names)).collect())
    }

    /// The port that this MAC address was learned on. Patterns see `Some("veth1-0")` or `None`.
    pub fn port_of(self, mac: Mac) -> PortOf {
        PortOf { fdb: self, mac }
    }
}

impl Probe for Fdb {
    type Output = FdbList;

    fn describe(&self) -> String {
        format!("{}: bridge fdb show br {}", self.namespace.name(), self.bridge)
    }

    fn look(&self, _deadline: Deadline) -> Result<FdbList> {
        Ok(FdbList { bridge: self.bridge.clone(), entries: self.list()? })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Neighbour, Group::Link])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Probe for PortOf {
    type Output = Learned;

    fn describe(&self) -> String {
        format!("{}: bridge fdb get {} br {}", self.fdb.namespace.name(), self.mac, self.fdb.bridge)
    }

    fn look(&self, _deadline: Deadline) -> Result<Learned> {
        let entry = self.fdb.list()?.into_iter().find(|entry| entry.mac == self.mac && !entry.permanent);
        Ok(Learned { mac: self.mac, port: entry.map(|entry| entry.dev) })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        self.fdb.watch()
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.fdb.concerned()
    }
}

impl Seen for FdbList {
    type As<'a> = &'a [FdbEntry];

    fn seen(&self) -> &[FdbEntry] {
        &self.entries
    }
}

impl Seen for Learned {
    type As<'a> = Option<&'a str>;

    fn seen(&self) -> Option<&str> {
        self.port.as_deref()
    }
}

impl fmt::Display for FdbList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.entries.iter().map(|entry| format!("{entry} master {}", self.bridge)).collect();
        super::lines(f, &lines)
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            Some(port) => write!(f, "{} dev {port}", self.mac),
            None => write!(f, "{} was not learned", self.mac),
        }
    }
}

impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.mac, self.dev)?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if self.permanent {
            write!(f, " permanent")?;
        }
        Ok(())
    }
}

fn describe(message: &NeighbourMessage, bridge: &str, names: &HashMap<u32, &str>) -> Option<FdbEntry> {
    let mut mac = None;
    let mut vlan = None;
    let mut master = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::from_slice(bytes),
            NeighbourAttribute::Vlan(id) => vlan = Some(*id),
            NeighbourAttribute::Controller(index) => master = names.get(index).copied(),
            _ => {}
        }
    }
    let dev = *names.get(&message.header.ifindex)?;
    if master != Some(bridge) || mac?.is_multicast() {
        return None;
    }
    let permanent = message.header.state == NeighbourState::Permanent;
    Some(FdbEntry { mac: mac?, dev: dev.to_owned(), vlan, permanent })
}
