//! Links: bridges and veth pairs, over `RTM_NEWLINK` and its kin.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, AsRawFd},
};

use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{
        RouteNetlinkMessage,
        link::{
            BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
            InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
        },
    },
};

use crate::{Error, Mac, Namespace, Result, netlink::Request, state::Names};

/// A bridge to be made. Equivalent to `ip link add NAME up type bridge`.
///
/// ```no_run
/// # let host = netproof::Namespace::new("host")?;
/// host.apply(netproof::link::Bridge::new("br0").request())?;
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Bridge {
    name: String,
    link: LinkMessageBuilder<LinkUnspec>,
    data: Vec<InfoBridge>,
}

impl Bridge {
    /// A bridge that is up at once, without STP.
    pub fn new(name: &str) -> Self {
        let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Bridge).name(name).up();
        Self { name: name.into(), link, data: vec![InfoBridge::StpState(BridgeStpState::Disabled)] }
    }

    /// Its interface index, chosen by the caller, so that what follows can name it without asking.
    pub fn index(mut self, index: u32) -> Self {
        self.link = self.link.index(index);
        self
    }

    /// Its MAC address. Set, it no longer follows the ports'.
    pub fn mac(mut self, mac: Mac) -> Self {
        self.link = self.link.address(mac.0.to_vec());
        self
    }

    /// Its MTU in bytes, until it gets a port: then it follows the smallest port's, unless it was [pinned](pin_mtu).
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.link = self.link.mtu(mtu);
        self
    }

    /// Its link group (`ip link set group`), by which its owner finds it again.
    pub fn group(mut self, group: u32) -> Self {
        self.link = self.link.link_group(group);
        self
    }

    /// Made, but not up.
    pub fn down(mut self) -> Self {
        self.link = self.link.down();
        self
    }

    /// VLAN filtering (802.1Q) is on. A kernel without `CONFIG_BRIDGE_VLAN_FILTERING` refuses it with `EOPNOTSUPP`.
    pub fn vlan_filtering(self) -> Self {
        self.option(InfoBridge::VlanFiltering(true))
    }

    /// Further options of the bridge: `IFLA_BR_*`.
    pub fn option(mut self, option: InfoBridge) -> Self {
        self.data.push(option);
        self
    }

    /// The request that makes it.
    pub fn request(self) -> Request {
        let message = self.link.set_info_data(InfoData::Bridge(self.data)).build();
        Request::create(format!("adding bridge {}", self.name), RouteNetlinkMessage::NewLink(message))
    }
}

/// A veth pair to be made, both ends in place at once.
///
/// Equivalent to `ip link add NAME up master BRIDGE type veth peer name PEER netns NODE`, in one message. The
/// kernel refuses a peer that is to be created up (`ENOTCONN`): it needs [`set_up`] in its own namespace.
#[derive(Debug)]
#[must_use]
pub struct Veth {
    name: String,
    link: LinkMessageBuilder<LinkUnspec>,
    peer: LinkMessageBuilder<LinkUnspec>,
    held: Option<Namespace>,
}

impl Veth {
    /// An end called `name`, up, and one called `peer`, in the same namespace unless [`Veth::peer_in`] says otherwise.
    pub fn new(name: &str, peer: &str) -> Self {
        let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth).name(name).up();
        let peer_end = LinkMessageBuilder::<LinkUnspec>::new().name(peer);
        Self { name: name.into(), link, peer: peer_end, held: None }
    }

    /// This end's interface index.
    pub fn index(mut self, index: u32) -> Self {
        self.link = self.link.index(index);
        self
    }

    /// The bridge, by index, that this end is a port of.
    pub fn master(mut self, bridge: u32) -> Self {
        self.link = self.link.controller(bridge);
        self
    }

    /// This end's MAC address.
    pub fn mac(mut self, mac: Mac) -> Self {
        self.link = self.link.address(mac.0.to_vec());
        self
    }

    /// Both ends' MTU in bytes.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.link = self.link.mtu(mtu);
        self.peer = self.peer.mtu(mtu);
        self
    }

    /// This end's link group.
    pub fn group(mut self, group: u32) -> Self {
        self.link = self.link.link_group(group);
        self
    }

    /// This end is made, but not up.
    pub fn down(mut self) -> Self {
        self.link = self.link.down();
        self
    }

    /// The namespace that the peer is made in.
    pub fn peer_in(mut self, namespace: &Namespace) -> Self {
        self.peer = self.peer.setns_by_fd(namespace.as_fd().as_raw_fd());
        self.held = Some(namespace.clone());
        self
    }

    /// The peer's interface index, in its namespace.
    pub fn peer_index(mut self, index: u32) -> Self {
        self.peer = self.peer.index(index);
        self
    }

    /// The peer's MAC address.
    pub fn peer_mac(mut self, mac: Mac) -> Self {
        self.peer = self.peer.address(mac.0.to_vec());
        self
    }

    /// The request that makes it.
    pub fn request(self) -> Request {
        let message = self.link.set_info_data(InfoData::Veth(InfoVeth::Peer(self.peer.build()))).build();
        let request = Request::create(format!("adding veth {}", self.name), RouteNetlinkMessage::NewLink(message));
        match self.held {
            Some(namespace) => request.holding(namespace),
            None => request,
        }
    }
}

/// An option of a bridge: `IFLA_BR_*`.
pub use rtnetlink::packet_route::link::InfoBridge as BridgeOption;

/// Has a link ask for neighbours, or not. Equivalent to `ip link set NAME arp on|off`.
pub fn set_arp(name: &str, on: bool) -> Request {
    let link = LinkMessageBuilder::<LinkUnspec>::new().name(name).arp(on);
    change(format!("setting arp on link {name}"), link)
}

/// A flag of a bridge port, as `bridge link set dev NAME FLAG on|off` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortFlag {
    /// Frames may leave by the port that they came in by.
    Hairpin,
    /// The bridge learns source addresses here.
    Learning,
    /// Unknown unicast frames leave here.
    Flood,
    /// Multicast frames that nobody is known to want leave here.
    McastFlood,
    /// Broadcast frames leave here.
    BcastFlood,
    /// Frames from an isolated port do not leave here.
    Isolated,
}

/// Sets a flag of the bridge port with this name and index. Equivalent to `bridge link set dev NAME FLAG on|off`.
pub fn set_port(name: &str, index: u32, flag: PortFlag, on: bool) -> Request {
    let flag = match flag {
        PortFlag::Hairpin => InfoBridgePort::HairpinMode(on),
        PortFlag::Learning => InfoBridgePort::Learning(on),
        PortFlag::Flood => InfoBridgePort::UnicastFlood(on),
        PortFlag::McastFlood => InfoBridgePort::MulticastFlood(on),
        PortFlag::BcastFlood => InfoBridgePort::BroadcastFlood(on),
        PortFlag::Isolated => InfoBridgePort::Isolated(on),
    };
    let doing = format!("setting {flag:?} on port {name}");
    let link = LinkMessageBuilder::<LinkUnspec>::new()
        .index(index)
        .set_port_kind(InfoPortKind::Bridge)
        .set_port_data(InfoPortData::BridgePort(vec![flag]));
    Request::change(doing, RouteNetlinkMessage::NewLink(link.build()))
}

/// Puts a port into a VLAN: untagged frames that come in belong to it, and its frames leave untagged.
/// Equivalent to `bridge vlan add dev NAME vid VLAN pvid untagged`.
pub fn set_port_vlan(name: &str, index: u32, vlan: u16) -> Request {
    use rtnetlink::packet_route::{
        AddressFamily,
        link::{AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags},
    };
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    let flags = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan });
    message.attributes.push(LinkAttribute::AfSpecBridge(vec![info]));
    Request::change(format!("putting port {name} into VLAN {vlan}"), RouteNetlinkMessage::SetLink(message))
}

/// Sets an option of the bridge with this name and index: `IFLA_BR_*`. Equivalent to `ip link set NAME type bridge ...`.
pub fn set_bridge(name: &str, index: u32, option: InfoBridge) -> Request {
    let doing = format!("setting {option:?} on bridge {name}");
    let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Bridge)
        .index(index)
        .set_info_data(InfoData::Bridge(vec![option]));
    Request::change(doing, RouteNetlinkMessage::NewLink(link.build()))
}

/// Brings a link up. Equivalent to `ip link set NAME up`.
pub fn set_up(name: &str) -> Request {
    change(format!("bringing up link {name}"), LinkMessageBuilder::<LinkUnspec>::new().name(name).up())
}

/// Takes a link down. Equivalent to `ip link set NAME down`.
pub fn set_down(name: &str) -> Request {
    change(format!("taking down link {name}"), LinkMessageBuilder::<LinkUnspec>::new().name(name).down())
}

/// Sets an MTU in bytes. Equivalent to `ip link set NAME mtu BYTES`.
pub fn set_mtu(name: &str, mtu: u32) -> Request {
    change(format!("setting mtu {mtu} on link {name}"), LinkMessageBuilder::<LinkUnspec>::new().name(name).mtu(mtu))
}

/// Sets a bridge's MTU in bytes for good: it no longer follows the ports'.
///
/// The kernel takes only a change for a decision (`BROPT_MTU_SET_BY_USER` is set in `br_change_mtu`, neither at creation
/// nor where the value is the same), so that the MTU is changed twice.
pub fn pin_mtu(name: &str, mtu: u32) -> [Request; 2] {
    let other = if mtu < 65_535 { mtu + 1 } else { mtu - 1 };
    [set_mtu(name, other), set_mtu(name, mtu)]
}

/// Sets a MAC address. Equivalent to `ip link set NAME address MAC`.
pub fn set_mac(name: &str, mac: Mac) -> Request {
    let link = LinkMessageBuilder::<LinkUnspec>::new().name(name).address(mac.0.to_vec());
    change(format!("setting address {mac} on link {name}"), link)
}

/// Makes a link a port of the bridge with this index; 0: of none. Equivalent to `ip link set NAME master BRIDGE`.
pub fn set_master(name: &str, bridge: u32) -> Request {
    let link = LinkMessageBuilder::<LinkUnspec>::new().name(name).controller(bridge);
    let doing = if bridge == 0 { format!("detaching link {name}") } else { format!("attaching link {name} to") };
    change(doing, link).about(bridge)
}

/// A VXLAN device, down, as a port of the bridge with this index: one link for one port, where a veth is two.
///
/// Equivalent to `ip link add NAME master BRIDGE type vxlan id ID dstport 4789`. A kernel without it answers `EOPNOTSUPP`.
pub fn vxlan_port(name: &str, id: u32, bridge: u32) -> Request {
    let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Vxlan).name(name).controller(bridge);
    let message = link.set_info_data(InfoData::Vxlan(vec![InfoVxlan::Id(id), InfoVxlan::Port(4789)])).build();
    Request::create(format!("adding vxlan {name}"), RouteNetlinkMessage::NewLink(message))
}

/// Moves a link into another namespace: it arrives down and without addresses. Equivalent to `ip link set NAME netns NS`.
pub fn set_namespace(name: &str, namespace: &Namespace) -> Request {
    let link = LinkMessageBuilder::<LinkUnspec>::new().name(name).setns_by_fd(namespace.as_fd().as_raw_fd());
    change(format!("moving link {name} into {}", namespace.name()), link).holding(namespace.clone())
}

/// Takes a link away; the other end of a veth goes with it. Equivalent to `ip link del NAME`.
pub fn delete(name: &str) -> Request {
    let message = LinkMessageBuilder::<LinkUnspec>::new().name(name).build();
    Request::change(format!("deleting link {name}"), RouteNetlinkMessage::DelLink(message))
}

fn change(doing: String, link: LinkMessageBuilder<LinkUnspec>) -> Request {
    // By name: RTM_SETLINK takes IFLA_IFNAME as the key where the index is 0.
    Request::change(doing, RouteNetlinkMessage::SetLink(link.build()))
}

impl Namespace {
    /// The index of the link of this name. Equivalent to `if_nametoindex(3)`.
    pub fn index(&self, link: &str) -> Result<u32> {
        self.link_message(link).map(|message| message.header.index)
    }

    /// One link as the kernel describes it, asked for by name. The question itself runs a pending link watch (`linkwatch_sync_dev`).
    pub(crate) fn link_message(&self, link: &str) -> Result<LinkMessage> {
        let found = self.link_if_there(link)?;
        found.ok_or_else(|| self.no_link(link))
    }

    /// Like [`Namespace::link_message`]; `None` where there is no link of this name.
    pub(crate) fn link_if_there(&self, link: &str) -> Result<Option<LinkMessage>> {
        Ok(self.look_up(&[link])?.pop().flatten())
    }

    /// Several links, each asked for by itself, in one round trip.
    pub(crate) fn link_messages_of(&self, links: &[&str]) -> Result<Vec<LinkMessage>> {
        let found = self.look_up(links)?.into_iter().zip(links);
        found.map(|(found, link)| found.ok_or_else(|| self.no_link(link))).collect()
    }

    /// The names of the links with these indexes: a few are asked for one by one, of more all are listed.
    pub(crate) fn link_names(&self, indexes: impl IntoIterator<Item = u32>) -> Result<Names> {
        const FEW: usize = 8;
        let indexes: BTreeSet<u32> = indexes.into_iter().collect();
        let links = if indexes.len() > FEW {
            self.link_messages()?
        } else {
            let question =
                |index: u32| RouteNetlinkMessage::GetLink(LinkMessageBuilder::<LinkUnspec>::new().index(index).build());
            let found = self.ask_each("looking up links", indexes.into_iter().map(question))?;
            found.into_iter().flatten().filter_map(as_link).collect()
        };
        Ok(names(&links))
    }

    /// The name of the link with this index; none where there is no such link.
    pub(crate) fn link_name(&self, index: u32) -> Result<Option<String>> {
        Ok(self.link_names([index])?.known(index).map(str::to_owned))
    }

    fn look_up(&self, links: &[&str]) -> Result<Vec<Option<LinkMessage>>> {
        let question =
            |link: &&str| RouteNetlinkMessage::GetLink(LinkMessageBuilder::<LinkUnspec>::new().name(*link).build());
        let doing = format!("looking up {}", links.join(", "));
        let found = self.ask_each(&doing, links.iter().map(question))?.into_iter().map(|found| found.and_then(as_link));
        Ok(found.collect())
    }

    fn no_link(&self, link: &str) -> Error {
        let error = std::io::Error::from_raw_os_error(libc::ENODEV);
        Error::kernel(format!("looking up link {link}"), self.name(), error)
    }
}

impl Namespace {
    /// Every link, as the kernel describes it.
    pub(crate) fn link_messages(&self) -> Result<Vec<LinkMessage>> {
        self.listed_links(LinkMessage::default())
    }

    /// The links that the question picks, with what it asks for.
    pub(crate) fn listed_links(&self, question: LinkMessage) -> Result<Vec<LinkMessage>> {
        let found = self.ask("listing links", RouteNetlinkMessage::GetLink(question), true)?;
        Ok(found.into_iter().filter_map(as_link).collect())
    }
}

fn as_link(message: RouteNetlinkMessage) -> Option<LinkMessage> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    }
}

/// The kind among a link's attributes: `bridge`, `veth`.
pub(crate) fn kind_of(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    })
}

/// The names of links, by their indexes.
pub(crate) fn names(links: &[LinkMessage]) -> Names {
    links.iter().filter_map(|link| Some((link.header.index, name_of(link)?.to_owned()))).collect()
}

/// The name among a link's attributes.
pub(crate) fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
