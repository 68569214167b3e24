//! Links, as `ip -brief link` and `bridge link` print them.

use std::{collections::HashMap, fmt};

use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64,
};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Mac, Namespace, Result, link, watch::Group};

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

/// A link, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind: `bridge`, `veth`; empty for `lo`.
    pub kind: String,
    /// Whether it was set up (`IFF_UP`).
    pub up: bool,
    /// Whether it has carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Its operational state (RFC 2863): `UP`, `DOWN`, `LOWERLAYERDOWN`.
    pub state: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// The bridge that it is a port of.
    pub master: Option<String>,
    /// The interface index of its other end, where it is a veth; in that end's namespace.
    pub peer: Option<u32>,
    /// Its link group.
    pub group: u32,
    /// What a bridge port is set to.
    pub port: Option<Port>,
    /// How many frames it dropped instead of sending, and on receipt (`tx_dropped`, `rx_dropped`).
    pub dropped: (u64, u64),
}

/// What a bridge port is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Its STP state: `disabled`, `listening`, `learning`, `forwarding`, `blocking`.
    pub state: String,
    /// Its flags that are on, in the words of `bridge -d link`: `hairpin`, `isolated`, `learning`,
    /// `flood`, `mcast_flood`, `bcast_flood`.
    pub flags: Vec<&'static str>,
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
    /// See [`Port::state`].
    pub port_state: &'a str,
    /// See [`Port::flags`].
    pub port_flags: &'a [&'static str],
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
        let messages = self.namespace.link_messages()?;
        let names: HashMap<u32, String> = messages
            .iter()
            .filter_map(|message| Some((message.header.index, link::name_of(message)?.to_owned())))
            .collect();
        Ok(messages.iter().map(|message| describe(message, &names)).collect())
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
        Ok(Some(describe(&message, &names)))
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
            port_state: link.port.as_ref().map(|port| port.state.as_str()).unwrap_or_default(),
            port_flags: link.port.as_ref().map(|port| port.flags.as_slice()).unwrap_or_default(),
            dropped: link.dropped,
        })
    }
}

impl fmt::Display for LinkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &self.0)
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

/// Columns of `ip -brief link`, then what `bridge link` adds.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mac = self.mac.unwrap_or_default();
        let mut flags = Vec::new();
        flags.extend(self.up.then_some("UP"));
        flags.extend(self.carrier.then_some("LOWER_UP"));
        write!(f, "{:<16} {:<14} {mac} <{}> mtu {}", self.name, self.state, flags.join(","), self.mtu)?;
        if let Some(master) = &self.master {
            write!(f, " master {master}")?;
        }
        if let Some(port) = &self.port {
            write!(f, " state {} {}", port.state, port.flags.join(" "))?;
        }
        Ok(())
    }
}

fn describe(message: &LinkMessage, names: &HashMap<u32, String>) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: link::name_of(message).unwrap_or_default().to_owned(),
        kind: link::kind_of(message).unwrap_or_default(),
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        state: String::new(),
        mtu: 0,
        mac: None,
        master: None,
        peer: None,
        group: 0,
        port: None,
        dropped: (0, 0),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::OperState(state) => link.state = state.to_string().to_uppercase(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = Mac::from_slice(bytes),
            LinkAttribute::Controller(index) => link.master = names.get(index).cloned(),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Stats64(Stats64 { tx_dropped, rx_dropped, .. }) => link.dropped = (*tx_dropped, *rx_dropped),
            LinkAttribute::LinkInfo(infos) => link.port = infos.iter().find_map(port),
            _ => {}
        }
    }
    link
}

fn port(info: &LinkInfo) -> Option<Port> {
    let LinkInfo::PortData(InfoPortData::BridgePort(options)) = info else { return None };
    let mut port = Port::default();
    for option in options {
        match option {
            InfoBridgePort::State(state) => port.state = state.to_string().to_lowercase(),
            InfoBridgePort::HairpinMode(true) => port.flags.push("hairpin"),
            InfoBridgePort::Isolated(true) => port.flags.push("isolated"),
            InfoBridgePort::Learning(true) => port.flags.push("learning"),
            InfoBridgePort::UnicastFlood(true) => port.flags.push("flood"),
            InfoBridgePort::MulticastFlood(true) => port.flags.push("mcast_flood"),
            InfoBridgePort::BroadcastFlood(true) => port.flags.push("bcast_flood"),
            _ => {}
        }
    }
    Some(port)
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
        assert_eq!(link.peer, Some(n1.index("e1").unwrap()));
        assert!(link.to_string().contains(" master br0 state forwarding learning flood"), "{link}");

        let flags = [(PortFlag::Isolated, true), (PortFlag::Hairpin, true), (PortFlag::Learning, false)];
        host.apply_all(flags.map(|(flag, on)| set_port("p1", link.index, flag, on))).unwrap();
        let seen = look(&host.link("p1"));
        let Some(LinkView { port_flags, port_state: "forwarding", .. }) = seen.seen() else { panic!("{seen}") };
        assert!(port_flags.contains(&"isolated") && port_flags.contains(&"hairpin"), "{port_flags:?}");
        assert!(!port_flags.contains(&"learning") && port_flags.contains(&"bcast_flood"), "{port_flags:?}");

        n1.apply(set_down("e1")).unwrap();
        let seen = look(&host.link("p1"));
        assert!(matches!(seen.seen(), Some(LinkView { up: true, carrier: false, .. })), "{seen}");
        assert_eq!(look(&host.link("p9")).to_string(), "there is no such link");
    }
}
