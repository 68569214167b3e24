//! Neighbours (ARP and ND entries), over `RTM_NEWNEIGH` and `RTM_DELNEIGH`.

use std::net::IpAddr;

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    neighbour_table::{NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter},
    route::RouteType,
};

use crate::{Mac, Namespace, Result, addr::family, netlink::Request};

/// Sets a neighbour for good. Equivalent to `ip neigh replace ADDRESS lladdr MAC dev LINK nud permanent`.
pub fn set_permanent(link: u32, address: IpAddr, mac: Mac) -> Request {
    set(link, address, mac, NeighbourState::Permanent)
}

/// Sets a neighbour that is never asked for. Equivalent to `ip neigh replace ADDRESS lladdr MAC dev LINK nud noarp`.
pub fn set_noarp(link: u32, address: IpAddr, mac: Mac) -> Request {
    set(link, address, mac, NeighbourState::Noarp)
}

fn set(link: u32, address: IpAddr, mac: Mac, state: NeighbourState) -> Request {
    let mut message = message(link, address);
    message.header.state = state;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let doing = format!("setting neighbour {address} lladdr {mac} dev");
    Request::replace(doing, RouteNetlinkMessage::NewNeighbour(message)).about(link)
}

/// Takes a neighbour away. Equivalent to `ip neigh del ADDRESS dev LINK`.
pub fn delete(link: u32, address: IpAddr) -> Request {
    let message = message(link, address);
    Request::change(format!("deleting neighbour {address} dev"), RouteNetlinkMessage::DelNeighbour(message)).about(link)
}

/// Sets how long the kernel waits before it asks again who has an address, on the link with this index, of one IP version.
/// Equivalent to `sysctl -w net.ipv4.neigh.LINK.retrans_time_ms=MS` (1,000 by default), without a thread inside.
#[cfg(test)]
pub(crate) fn set_retransmission(link: u32, version: AddressFamily, milliseconds: u64) -> Request {
    set_parameters(link, version, vec![NeighbourTableParameter::RetransTime(milliseconds)])
}

fn set_parameters(link: u32, version: AddressFamily, mut parameters: Vec<NeighbourTableParameter>) -> Request {
    let doing = format!("setting {parameters:?} on");
    let mut message = NeighbourTableMessage::default();
    message.header.family = version;
    let table = if version == AddressFamily::Inet6 { "ndisc_cache" } else { "arp_cache" };
    parameters.push(NeighbourTableParameter::Ifindex(link));
    message.attributes = vec![NeighbourTableAttribute::Name(table.into()), NeighbourTableAttribute::Parms(parameters)];
    Request::change(doing, RouteNetlinkMessage::SetNeighbourTable(message)).about(link)
}

impl Namespace {
    /// Shortens the wait between two requests for the same neighbour to 50 ms, on every link that there is: one that
    /// does not answer is `Failed` after 150 ms instead of 3 s. Who answers for others (`proxy_arp`) does so at once
    /// instead of within 800 ms, so that nobody is given up before.
    pub fn quicken(&self) -> Result<()> {
        let links = self.link_messages()?;
        let both = |link: u32| {
            let quick = [NeighbourTableParameter::RetransTime(50), NeighbourTableParameter::ProxyDelay(0)];
            [AddressFamily::Inet, AddressFamily::Inet6].map(|version| set_parameters(link, version, quick.to_vec()))
        };
        // A link may be going; one whose IPv6 is disabled has no such setting.
        self.apply_all(links.iter().flat_map(|link| both(link.header.index)).map(Request::may_be_gone))
    }

    /// Forgets every neighbour but the permanent ones. Equivalent to `ip neigh flush all`.
    pub fn flush_neighbours(&self) -> Result<()> {
        let removals: Vec<Request> = self
            .neighbour_messages()?
            .into_iter()
            .filter(|message| !matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp))
            .map(|message| Request::change("flushing neighbours".into(), RouteNetlinkMessage::DelNeighbour(message)))
            .map(Request::may_be_gone)
            .collect();
        self.apply_all(removals)
    }

    /// How often the kernel had no room for a neighbour since the machine started: all namespaces share one table for each
    /// IP version, of `gc_thresh3` entries. Equivalent to summing up `table_fulls` of `ip -s ntable show`.
    pub(crate) fn neighbour_table_fulls(&self) -> Result<u64> {
        let question = RouteNetlinkMessage::GetNeighbourTable(NeighbourTableMessage::default());
        let stats = |message| match message {
            RouteNetlinkMessage::NewNeighbourTable(table) => table.attributes,
            _ => Vec::new(),
        };
        let found = self.ask("reading neighbour tables", question, true)?;
        let fulls = found.into_iter().flat_map(stats).map(|attribute| match attribute {
            NeighbourTableAttribute::Stats(stats) => stats.table_fulls,
            _ => 0,
        });
        Ok(fulls.sum())
    }

    /// Every neighbour, as the kernel describes it.
    pub(crate) fn neighbour_messages(&self) -> Result<Vec<NeighbourMessage>> {
        self.dump_neighbours(AddressFamily::Unspec)
    }

    pub(crate) fn dump_neighbours(&self, family: AddressFamily) -> Result<Vec<NeighbourMessage>> {
        let doing = if family == AddressFamily::Bridge { "listing the FDB" } else { "listing neighbours" };
        self.entries(doing, family, NeighbourFlags::empty())
    }

    /// The addresses that are answered for (`ip neigh show proxy`).
    pub(crate) fn dump_proxies(&self) -> Result<Vec<NeighbourMessage>> {
        self.entries("listing proxied neighbours", AddressFamily::Unspec, NeighbourFlags::Proxy)
    }

    fn entries(&self, doing: &str, family: AddressFamily, flags: NeighbourFlags) -> Result<Vec<NeighbourMessage>> {
        let mut message = NeighbourMessage::default();
        (message.header.family, message.header.flags) = (family, flags);
        let found = self.ask(doing, RouteNetlinkMessage::GetNeighbour(message), true)?;
        let neighbours = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => Some(neighbour),
            _ => None,
        });
        Ok(neighbours.collect())
    }
}

fn message(link: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// The address whose neighbour entry it is.
pub(crate) fn address_of(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some((*address).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}
