//! Links, as `ip -brief link` and `bridge link` print them.

use std::fmt;

use rtnetlink::packet_route::link::LinkAttribute;

use super::{Probe, Seen, Watch};
use crate::{
    Deadline, Mac, Namespace, Result,
    state::{self, Link, Port},
    watch::Group,
};

impl Namespace {
    /// Looks at every link. Equivalent to `ip link`.
    pub fn links(&self) -> Links {
        Links { namespace: self.clone() }
    }

    /// Looks at one link. Equivalent to `ip link show NAME`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("pair")?;
    /// expect!(lab.host().link("br0"), Some(Link { kind: "bridge", mtu: 1500, .. }));
    /// expect!(lab.host().link("br1"), None);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn link(&self, name: &str) -> OneLink {
        OneLink { namespace: self.clone(), name: name.into() }
    }
}

/// What patterns see of a link. Absent parts are empty.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkView<'a> {
    /// See [`Link::kind`].
    pub kind: &'a str,
    /// See [`Link::up`].
    pub up: bool,
    /// See [`Link::carrier`].
    pub carrier: bool,
    /// See [`Link::state`].
    pub state: &'a str,
    /// See [`Link::mtu`].
    pub mtu: u32,
    /// See [`Link::mac`].
    pub mac: Option<Mac>,
    /// See [`Link::master`].
    pub master: &'a str,
    /// Its STP state as a bridge port: `disabled`, `listening`, `learning`, `forwarding`, `blocking`.
    pub port_state: &'a str,
    /// See [`Link::port`].
    pub port: Option<Port>,
    /// See [`Link::dropped`].
    pub dropped: (u64, u64),
}

/// A probe of every link.
#[derive(Clone, Debug)]
#[must_use]
pub struct Links {
    namespace: Namespace,
}

/// A probe of one link.
#[derive(Clone, Debug)]
#[must_use]
pub struct OneLink {
    namespace: Namespace,
    name: String,
}

/// Every link of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkList(pub Vec<Link>);

/// One link, or its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaybeLink(pub Option<Link>);

impl Links {
    /// Lists them.
    pub fn list(&self) -> Result<Vec<Link>> {
        state::link::read(&self.namespace)
    }
}

impl OneLink {
    /// The link, or `None` where there is none of this name.
    pub fn read(&self) -> Result<Option<Link>> {
        let Some(message) = self.namespace.link_if_there(&self.name)? else { return Ok(None) };
        let master = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Controller(index) => Some(*index),
            _ => None,
        });
        let names = self.namespace.link_names(master)?;
        Ok(Some(Link::of(&message, &names)))
    }
}

impl Probe for Links {
    type Output = LinkList;

    fn describe(&self) -> String {
        format!("{}: ip link", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<LinkList> {
        self.list().map(LinkList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Link])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Probe for OneLink {
    type Output = MaybeLink;

    fn describe(&self) -> String {
        format!("{}: ip link show {}", self.namespace.name(), self.name)
    }

    fn look(&self, _deadline: Deadline) -> Result<MaybeLink> {
        self.read().map(MaybeLink)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Link])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for LinkList {
    type As<'a> = &'a [Link];

    fn seen(&self) -> &[Link] {
        &self.0
    }
}

impl Seen for MaybeLink {
    type As<'a> = Option<LinkView<'a>>;

    fn seen(&self) -> Option<LinkView<'_>> {
        self.0.as_ref().map(|link| LinkView {
            kind: &link.kind,
            up: link.up,
            carrier: link.carrier,
            state: &link.state,
            mtu: link.mtu,
            mac: link.mac,
            master: link.master.as_deref().unwrap_or_default(),
            port_state: link.port.map(|port| port.state.name()).unwrap_or_default(),
            port: link.port,
            dropped: link.dropped,
        })
    }
}

impl fmt::Display for LinkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &Link::table(&self.0).lines())
    }
}

impl fmt::Display for MaybeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(link) => link.fmt(f),
            None => f.write_str("there is no such link"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        link::{PortFlag, set_down, set_port},
        probe::testing::{bridged, look},
    };

    /// One link by its name is the same as that one of all; its port's flags follow what is set.
    ///
    ///     n1 --- p1[br0]
    #[test]
    fn one_link_is_one_of_all() {
        let (host, [n1, ..]) = bridged();
        let link = host.link("p1").read().unwrap().unwrap();
        assert!(host.links().list().unwrap().contains(&link));
        assert_eq!((link.kind.as_str(), link.master.as_deref(), link.state.as_str()), ("veth", Some("br0"), "UP"));
        assert_eq!(link.peer.unwrap().index, n1.index("e1").unwrap());
        assert!(link.to_string().ends_with(" master br0 state forwarding"), "{link}");

        let flags = [(PortFlag::Isolated, true), (PortFlag::Hairpin, true), (PortFlag::Learning, false)];
        host.apply_all(flags.map(|(flag, on)| set_port("p1", link.index, flag, on))).unwrap();
        let seen = look(&host.link("p1"));
        let Some(LinkView { port: Some(port), port_state: "forwarding", .. }) = seen.seen() else { panic!("{seen}") };
        assert!(port.isolated && port.hairpin && !port.learning && port.bcast_flood, "{port}");

        n1.apply(set_down("e1")).unwrap();
        let seen = look(&host.link("p1"));
        assert!(matches!(seen.seen(), Some(LinkView { up: true, carrier: false, .. })), "{seen}");
        assert_eq!(look(&host.link("p9")).to_string(), "there is no such link");
    }
}
