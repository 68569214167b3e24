//! Forwarding databases, as `bridge fdb` prints them.

use std::fmt;

use rtnetlink::packet_route::neighbour::NeighbourAttribute;

use super::{Probe, Seen, Watch};
use crate::{Deadline, Mac, Namespace, Result, state::FdbEntry, watch::Group};

impl Namespace {
    /// Looks at a bridge's forwarding database. Equivalent to `bridge fdb show br BRIDGE`.
    pub fn fdb(&self, bridge: &str) -> Fdb {
        Fdb { namespace: self.clone(), bridge: bridge.into() }
    }
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
pub struct FdbList(pub Vec<FdbEntry>);

/// The port that a MAC address was learned on, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Learned {
    /// The MAC address.
    pub mac: Mac,
    /// The port; `None`: it is not known.
    pub port: Option<String>,
}

impl Fdb {
    /// Lists its entries, without those of multicast groups. A bridge that is not there is an error.
    pub fn list(&self) -> Result<Vec<FdbEntry>> {
        let bridge = self.namespace.index(&self.bridge)?;
        let mut entries = self.namespace.fdb_messages()?;
        entries.retain(|message| message.attributes.contains(&NeighbourAttribute::Controller(bridge)));
        let names = self.namespace.link_names(entries.iter().map(|message| message.header.ifindex).chain([bridge]))?;
        let entries = entries.iter().filter_map(|message| FdbEntry::of(message, &names));
        Ok(entries.filter(FdbEntry::is_unicast).collect())
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
        self.list().map(FdbList)
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
        let entry = self.fdb.list()?.into_iter().find(|entry| entry.mac == self.mac && entry.is_learned());
        Ok(Learned { mac: self.mac, port: entry.map(|entry| entry.dev) })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        self.fdb.watch()
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.fdb.concerned()
    }

    fn depends_on_ports(&self) -> bool {
        true
    }
}

impl Seen for FdbList {
    type As<'a> = &'a [FdbEntry];

    fn seen(&self) -> &[FdbEntry] {
        &self.0
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
        super::lines(f, &self.0)
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        fdb, link,
        probe::testing::{bridged, look},
    };

    /// What was learned is told apart from what was set, and only what was learned is forgotten.
    ///
    ///     n1 --- p1[br0]p2 --- n2
    #[test]
    fn learned_and_set_entries() {
        let (host, [n1, n2, _n3]) = bridged();
        let mac_of = |node: &Namespace, dev: &str| node.link(dev).read().unwrap().unwrap().mac.unwrap();
        let (one, two, set) = (mac_of(&n1, "e1"), mac_of(&n2, "e2"), Mac([2, 0, 0, 0, 0, 9]));
        host.flush_fdb("br0").unwrap();
        assert!(look(&n1.ping(IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)))).answered());
        assert_eq!(look(&host.fdb("br0").port_of(one)).seen(), Some("p1"));
        assert_eq!(look(&host.fdb("br0").port_of(two)).seen(), Some("p2"));

        // What nodes send unasked is not learned again.
        for port in ["p1", "p2", "p3"] {
            let quiet = link::set_port(port, host.index(port).unwrap(), link::PortFlag::Learning, false);
            host.apply(quiet).unwrap();
        }
        let p3 = host.index("p3").unwrap();
        host.apply(fdb::set_static(p3, set)).unwrap();
        let entry = host.fdb("br0").list().unwrap().into_iter().find(|entry| entry.mac == set).unwrap();
        assert!(entry.fixed && entry.dev == "p3", "{entry}");
        host.flush_fdb("br0").unwrap();
        let left = host.fdb("br0").list().unwrap();
        assert!(left.iter().all(|entry| !entry.is_learned()) && left.contains(&entry), "{left:?}");
        assert_eq!(look(&host.fdb("br0").port_of(one)).to_string(), format!("{one} was not learned"));

        host.apply(fdb::delete(p3, set)).unwrap();
        assert!(!host.fdb("br0").list().unwrap().contains(&entry));
        assert!(host.fdb("br1").list().is_err());
        host.apply(link::delete("br0")).unwrap();
        assert!(host.fdb("br0").list().is_err());
    }
}
