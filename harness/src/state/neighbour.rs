//! Neighbours, and the FDB entries of bridges.

use std::{fmt, net::IpAddr};

use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteType,
};

use super::Names;
use crate::{Mac, Namespace, Result, neigh::address_of};

/// What a namespace knows of a neighbour: an ARP or ND entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// The neighbour's address.
    pub address: IpAddr,
    /// The device that it is on.
    pub dev: String,
    /// Its MAC address, where it is known.
    pub mac: Option<Mac>,
    /// Its state.
    pub state: Nud,
    /// Whether it is answered for (`ip neigh add proxy`): it has no state then.
    pub proxy: bool,
}

/// The state of a neighbour entry, in the kernel's names (`NUD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Nud {
    /// Asked for; no answer yet.
    Incomplete,
    /// Confirmed a short while ago.
    Reachable,
    /// Known, not confirmed for a while.
    Stale,
    /// Used while stale; a confirmation by a higher layer is waited for.
    Delay,
    /// Used while stale; being asked again.
    Probing,
    /// Asked for in vain. The kernel forgets such an entry when it likes, at once where the table is crowded, which all
    /// namespaces of the machine share (`gc_thresh1` in Documentation/networking/ip-sysctl.rst): a claim that has to
    /// hold beside others takes [`Nud::Absent`] for it, too.
    Failed,
    /// Set for good.
    Permanent,
    /// Needs no asking: set so, or on a device without ARP. As with `ip neigh`, not among all [`neighbours`](Namespace::neighbours).
    Noarp,
    /// There is no entry.
    Absent,
}

/// Where a bridge sends frames for a MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FdbEntry {
    /// The MAC address.
    pub mac: Mac,
    /// The port.
    pub dev: String,
    /// The bridge; none for an entry of the device itself.
    pub master: Option<String>,
    /// The VLAN, where it is of one.
    pub vlan: Option<u16>,
    /// It is the port's own address, or was set by hand: it does not age.
    pub permanent: bool,
    /// It was set by hand, and does not age, but may move to another port.
    pub fixed: bool,
    /// It belongs to the device's own filter (`self`), not to a bridge.
    pub own: bool,
}

pub(super) fn read(namespace: &Namespace, names: &Names) -> Result<Vec<Neighbour>> {
    let all = [namespace.dump_neighbours(AddressFamily::Unspec)?, namespace.dump_proxies()?];
    Ok(all.iter().flatten().filter_map(|message| Neighbour::of(message, names)).collect())
}

pub(super) fn read_fdb(namespace: &Namespace, names: &Names) -> Result<Vec<FdbEntry>> {
    Ok(namespace
        .dump_neighbours(AddressFamily::Bridge)?
        .iter()
        .filter_map(|message| FdbEntry::of(message, names))
        .collect())
}

impl Neighbour {
    /// None of a group's or an own address, of which nobody is asked, and of one that is not in use.
    pub(crate) fn of(message: &NeighbourMessage, names: &Names) -> Option<Self> {
        let proxy = message.header.flags.contains(NeighbourFlags::Proxy);
        let state = match message.header.state {
            _ if proxy => Nud::Absent,
            NeighbourState::Incomplete => Nud::Incomplete,
            NeighbourState::Reachable => Nud::Reachable,
            NeighbourState::Stale => Nud::Stale,
            NeighbourState::Delay => Nud::Delay,
            NeighbourState::Probe => Nud::Probing,
            NeighbourState::Failed => Nud::Failed,
            NeighbourState::Permanent => Nud::Permanent,
            NeighbourState::Noarp if message.header.kind == RouteType::Unicast => Nud::Noarp,
            _ => return None,
        };
        let (address, dev) = (address_of(message)?, names.of(message.header.ifindex));
        Some(Self { address, dev, mac: mac(message), state, proxy })
    }

    /// Whether frames are sent to its MAC address.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.state, Nud::Reachable | Nud::Stale | Nud::Delay | Nud::Probing | Nud::Permanent)
    }
}

impl FdbEntry {
    pub(crate) fn of(message: &NeighbourMessage, names: &Names) -> Option<Self> {
        let find = |wanted: fn(&NeighbourAttribute) -> Option<u32>| message.attributes.iter().find_map(wanted);
        let master = find(|attribute| match attribute {
            NeighbourAttribute::Controller(index) => Some(*index),
            _ => None,
        });
        let vlan = find(|attribute| match attribute {
            NeighbourAttribute::Vlan(vlan) => Some((*vlan).into()),
            _ => None,
        });
        Some(Self {
            mac: mac(message)?,
            dev: names.of(message.header.ifindex),
            master: master.map(|index| names.of(index)),
            vlan: vlan.map(|vlan| vlan as u16),
            permanent: message.header.state == NeighbourState::Permanent,
            fixed: message.header.state == NeighbourState::Noarp,
            own: message.header.flags.contains(NeighbourFlags::Own),
        })
    }

    /// Whether it is of one station, not of a group.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.mac.0[0] & 1 == 0
    }

    /// Whether the bridge learned it from a frame, and will forget it.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        !self.permanent && !self.fixed && !self.own
    }
}

fn mac(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => Mac::from_slice(mac),
        _ => None,
    })
}

/// As `ip neigh` prints it: `10.20.30.41 dev br0 lladdr 02:00:00:00:00:01 REACHABLE`.
impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.address, self.dev)?;
        if let Some(mac) = self.mac {
            write!(f, " lladdr {mac}")?;
        }
        if self.proxy { f.write_str(" proxy") } else { write!(f, " {}", self.state) }
    }
}

/// As `ip neigh` prints it: `REACHABLE`, `INCOMPLETE`, `PROBE`.
impl fmt::Display for Nud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probing => f.pad("PROBE"),
            other => f.pad(&format!("{other:?}").to_uppercase()),
        }
    }
}

/// As `bridge fdb` prints it: `02:00:00:00:00:01 dev veth1-0 master br0`.
impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.mac, self.dev)?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(master) = &self.master {
            write!(f, " master {master}")?;
        }
        for (set, word) in [(self.own, "self"), (self.permanent, "permanent"), (self.fixed, "static")] {
            if set {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}
