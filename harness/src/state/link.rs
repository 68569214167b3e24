//! Links.

use std::fmt;

use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        AfSpecBridge, BridgePortState, BridgeStpState, BridgeVlanInfoFlags, InfoBridge, InfoBridgePort, InfoData,
        InfoPortData, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, Stats64,
    },
};

use super::{Names, Table};
use crate::{Mac, Namespace, Result, link};

/// A link: a veth end, a bridge, the loopback device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// Its interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind: `veth`, `bridge`; empty for the loopback device.
    pub kind: String,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it was brought up (`IFF_UP`).
    pub up: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`): of a veth, whether its peer is up too.
    pub carrier: bool,
    /// Its operational state (RFC 2863) in the words of `ip -br link`: `UP`, `DOWN`, `LOWERLAYERDOWN`, `UNKNOWN`.
    pub state: String,
    /// `ip -br link`'s flags.
    pub flags: Vec<String>,
    /// The bridge that it is a port of.
    pub master: Option<String>,
    /// Its link group.
    pub group: u32,
    /// The other end of a veth.
    pub peer: Option<Peer>,
    /// What it is as a port.
    pub port: Option<Port>,
    /// What it is as a bridge.
    pub bridge: Option<BridgeOptions>,
    /// The VLANs that it belongs to as a port; none where the kernel has no VLAN filtering, and of a link that was asked
    /// for alone.
    pub vlans: Vec<Vlan>,
    /// How many frames it dropped instead of sending, and on receipt (`tx_dropped`, `rx_dropped`).
    pub dropped: (u64, u64),
}

/// The other end of a veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Its interface index, in its namespace.
    pub index: u32,
    /// The number by which this link's namespace knows the peer's; none: it is the same.
    pub nsid: Option<i32>,
}

/// A bridge port: `bridge -d link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Whether it forwards.
    pub state: PortState,
    /// Frames may leave by the port that they came in by.
    pub hairpin: bool,
    /// The bridge learns source addresses here.
    pub learning: bool,
    /// Unknown unicast frames leave here.
    pub flood: bool,
    /// Multicast frames that nobody asked for leave here.
    pub mcast_flood: bool,
    /// Broadcast frames leave here.
    pub bcast_flood: bool,
    /// Frames from an isolated port do not leave here.
    pub isolated: bool,
    /// Only frames from known addresses come in.
    pub locked: bool,
    /// ARP and ND for known neighbours is answered, not flooded.
    pub neigh_suppress: bool,
}

/// The state of a bridge port (802.1D).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Nothing passes: the bridge or the port is down, or the port has no carrier.
    Disabled,
    /// STP listens.
    Listening,
    /// STP learns.
    Learning,
    /// Frames pass.
    Forwarding,
    /// STP blocks it.
    Blocking,
}

/// A bridge's options: `ip -d link show type bridge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeOptions {
    /// STP is on.
    pub stp: bool,
    /// After how many hundredths of a second a learned address is forgotten.
    pub ageing_time: u32,
    /// How many hundredths of a second STP listens, and then learns.
    pub forward_delay: u32,
    /// VLAN filtering is on.
    pub vlan_filtering: bool,
    /// Multicast snooping is on.
    pub mcast_snooping: bool,
    /// Bridged frames pass iptables, whatever the sysctl says.
    pub nf_call_iptables: bool,
    /// The same of IPv6.
    pub nf_call_ip6tables: bool,
}

/// A VLAN of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vlan {
    /// Its number.
    pub vid: u16,
    /// Untagged frames that come in belong to it.
    pub pvid: bool,
    /// Its frames leave untagged.
    pub untagged: bool,
}

pub(crate) fn read(namespace: &Namespace) -> Result<Vec<Link>> {
    let messages = namespace.link_messages()?;
    let names = link::names(&messages);
    let mut links: Vec<Link> = messages.iter().map(|message| Link::of(message, &names)).collect();
    if links.iter().any(|link| link.bridge.is_some_and(|bridge| bridge.vlan_filtering)) {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
        for found in namespace.listed_links(message)? {
            if let Some(link) = links.iter_mut().find(|link| link.index == found.header.index) {
                link.vlans = vlans(&found);
            }
        }
    }
    Ok(links)
}

fn vlans(message: &LinkMessage) -> Vec<Vlan> {
    let specs = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::AfSpecBridge(specs) => Some(specs),
        _ => None,
    });
    let infos = specs.flatten().filter_map(|spec| match spec {
        AfSpecBridge::VlanInfo(info) => Some(info),
        _ => None,
    });
    let vlan = |info: &rtnetlink::packet_route::link::BridgeVlanInfo| Vlan {
        vid: info.vid,
        pvid: info.flags.contains(BridgeVlanInfoFlags::Pvid),
        untagged: info.flags.contains(BridgeVlanInfoFlags::Untagged),
    };
    infos.map(vlan).collect()
}

impl Link {
    pub(crate) fn of(message: &LinkMessage, names: &Names) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: String::new(),
            mac: None,
            mtu: 0,
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            state: "UNKNOWN".into(),
            flags: flag_names(flags),
            master: None,
            group: 0,
            peer: None,
            port: None,
            bridge: None,
            vlans: Vec::new(),
            dropped: (0, 0),
        };
        let (mut peer, mut nsid) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac = Mac::from_slice(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::OperState(state) => link.state = format!("{state:?}").to_uppercase(),
                LinkAttribute::Controller(master) => link.master = Some(names.of(*master)),
                LinkAttribute::Group(group) => link.group = *group,
                LinkAttribute::Link(index) => peer = Some(*index),
                LinkAttribute::LinkNetNsId(id) => nsid = Some(*id),
                LinkAttribute::Stats64(Stats64 { tx_dropped, rx_dropped, .. }) => {
                    link.dropped = (*tx_dropped, *rx_dropped);
                }
                LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| link.learn(info)),
                _ => {}
            }
        }
        link.peer = peer.filter(|_| link.kind == "veth").map(|index| Peer { index, nsid });
        link
    }

    fn learn(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Bridge(options)) => self.bridge = Some(BridgeOptions::of(options)),
            LinkInfo::PortData(InfoPortData::BridgePort(options)) => self.port = Some(Port::of(options)),
            _ => {}
        }
    }

    /// Whether neighbours are looked for on it, by ARP or neighbour discovery.
    pub(crate) fn does_arp(&self) -> bool {
        !self.flags.iter().any(|flag| flag == "NOARP")
    }

    /// Whether it is a bridge.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.bridge.is_some()
    }

    /// The index of its peer, where that is in the same namespace.
    #[must_use]
    pub fn peer_here(&self) -> Option<u32> {
        self.peer.filter(|peer| peer.nsid.is_none()).map(|peer| peer.index)
    }

    /// Links in the columns of `ip -brief link`, and what makes a port a port.
    pub(crate) fn table(links: &[Self]) -> Table {
        let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.as_str());
        links.iter().map(|link| link.columns(link.peer_here().and_then(name))).collect()
    }

    /// Name, state, MAC address, flags, and the rest in words; its peer by its name, where that is known.
    fn columns(&self, peer: Option<&str>) -> Vec<String> {
        let name = match (self.peer, peer) {
            (_, Some(peer)) => format!("{}@{peer}", self.name),
            (Some(peer), None) => format!("{}@if{}", self.name, peer.index),
            (None, None) => self.name.clone(),
        };
        let mac = self.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let mut rest = format!("mtu {}", self.mtu);
        if let Some(master) = &self.master {
            rest += &format!(" master {master}");
        }
        for words in [self.port.map(|port| port.to_string()), self.bridge.map(|bridge| bridge.to_string())] {
            rest += &words.map(|words| format!(" {words}")).unwrap_or_default();
        }
        for vlan in &self.vlans {
            rest += &format!(" {vlan}");
        }
        vec![name, self.state.clone(), mac, format!("<{}>", self.flags.join(",")), rest]
    }
}

/// In the order of `ip`, which says NO-CARRIER for what is up and lacks it.
fn flag_names(flags: LinkFlags) -> Vec<String> {
    let no_carrier = flags.contains(LinkFlags::Up) && !flags.contains(LinkFlags::Running);
    let named = [
        (LinkFlags::Loopback, "LOOPBACK"),
        (LinkFlags::Broadcast, "BROADCAST"),
        (LinkFlags::Pointopoint, "POINTOPOINT"),
        (LinkFlags::Multicast, "MULTICAST"),
        (LinkFlags::Noarp, "NOARP"),
        (LinkFlags::Allmulti, "ALLMULTI"),
        (LinkFlags::Promisc, "PROMISC"),
        (LinkFlags::Up, "UP"),
        (LinkFlags::LowerUp, "LOWER_UP"),
    ];
    let set = named.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name);
    no_carrier.then_some("NO-CARRIER").into_iter().chain(set).map(str::to_owned).collect()
}

impl Port {
    fn of(options: &[InfoBridgePort]) -> Self {
        // What an older kernel does not tell of, it does not do.
        let mut port = Self {
            state: PortState::Disabled,
            hairpin: false,
            learning: true,
            flood: true,
            mcast_flood: true,
            bcast_flood: true,
            isolated: false,
            locked: false,
            neigh_suppress: false,
        };
        for option in options {
            match option {
                InfoBridgePort::State(state) => port.state = PortState::of(*state),
                InfoBridgePort::HairpinMode(on) => port.hairpin = *on,
                InfoBridgePort::Learning(on) => port.learning = *on,
                InfoBridgePort::UnicastFlood(on) => port.flood = *on,
                InfoBridgePort::MulticastFlood(on) => port.mcast_flood = *on,
                InfoBridgePort::BroadcastFlood(on) => port.bcast_flood = *on,
                InfoBridgePort::Isolated(on) => port.isolated = *on,
                InfoBridgePort::Locked(on) => port.locked = *on,
                InfoBridgePort::NeighSupress(on) => port.neigh_suppress = *on,
                _ => {}
            }
        }
        port
    }
}

impl PortState {
    fn of(state: BridgePortState) -> Self {
        match state {
            BridgePortState::Listening => Self::Listening,
            BridgePortState::Learning => Self::Learning,
            BridgePortState::Forwarding => Self::Forwarding,
            BridgePortState::Blocking => Self::Blocking,
            _ => Self::Disabled,
        }
    }

    /// In the words of `bridge link`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        }
    }
}

/// In the words of `bridge link`.
impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// In the words of `bridge link`: `state forwarding`, and the options that are not as a new port has them.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state {}{}", self.state, self.options())
    }
}

/// As `ip -brief link` prints it, and what makes a port a port.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.columns(None).join(" "))
    }
}

impl Port {
    /// The options that are not as a new port has them, in the words of `bridge link`, each after a space.
    pub(crate) fn options(&self) -> String {
        let options = [
            ("hairpin", self.hairpin, false),
            ("learning", self.learning, true),
            ("flood", self.flood, true),
            ("mcast_flood", self.mcast_flood, true),
            ("bcast_flood", self.bcast_flood, true),
            ("isolated", self.isolated, false),
            ("locked", self.locked, false),
            ("neigh_suppress", self.neigh_suppress, false),
        ];
        let unusual = options.iter().filter(|(_, on, usual)| on != usual);
        unusual.map(|(name, on, _)| format!(" {name} {}", if *on { "on" } else { "off" })).collect()
    }
}

impl BridgeOptions {
    fn of(options: &[InfoBridge]) -> Self {
        let mut bridge = Self { mcast_snooping: true, ..Self::default() };
        for option in options {
            match option {
                InfoBridge::StpState(state) => bridge.stp = *state != BridgeStpState::Disabled,
                InfoBridge::AgeingTime(time) => bridge.ageing_time = *time,
                InfoBridge::ForwardDelay(delay) => bridge.forward_delay = *delay,
                InfoBridge::VlanFiltering(on) => bridge.vlan_filtering = *on,
                InfoBridge::MulticastSnooping(on) => bridge.mcast_snooping = *on,
                InfoBridge::NfCallIpTables(on) => bridge.nf_call_iptables = *on,
                InfoBridge::NfCallIp6Tables(on) => bridge.nf_call_ip6tables = *on,
                _ => {}
            }
        }
        bridge
    }
}

/// In the words of `ip -d link`: what is not as a new bridge has it.
impl fmt::Display for BridgeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bridge stp_state {}", u8::from(self.stp))?;
        if self.ageing_time != 30_000 {
            write!(f, " ageing_time {}", self.ageing_time)?;
        }
        if self.stp {
            write!(f, " forward_delay {}", self.forward_delay)?;
        }
        if self.vlan_filtering {
            f.write_str(" vlan_filtering 1")?;
        }
        if !self.mcast_snooping {
            f.write_str(" mcast_snooping 0")?;
        }
        if self.nf_call_iptables {
            f.write_str(" nf_call_iptables 1")?;
        }
        if self.nf_call_ip6tables {
            f.write_str(" nf_call_ip6tables 1")?;
        }
        Ok(())
    }
}

/// In the words of `bridge vlan`: `vlan 10 pvid untagged`.
impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlan {}", self.vid)?;
        if self.pvid {
            f.write_str(" pvid")?;
        }
        if self.untagged {
            f.write_str(" untagged")?;
        }
        Ok(())
    }
}
