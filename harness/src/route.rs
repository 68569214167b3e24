//! Routes, over `RTM_NEWROUTE` and `RTM_DELROUTE`.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType,
        RouteVia,
    },
};

use crate::{
    Namespace, Result,
    netlink::Request,
    topology::{Destination, Route},
};

/// Adds a route; `link` is the index of its device, where it names one. Equivalent to `ip route add`.
pub fn add(route: &Route, link: Option<u32>) -> Request {
    Request::create(format!("adding route {route}"), RouteNetlinkMessage::NewRoute(message(route, link)))
}

/// Takes a route away. Equivalent to `ip route del`.
pub fn delete(route: &Route, link: Option<u32>) -> Request {
    let mut message = message(route, link);
    message.header.scope = RouteScope::NoWhere;
    message.header.protocol = RouteProtocol::Unspec;
    Request::change(format!("deleting route {route}"), RouteNetlinkMessage::DelRoute(message))
}

impl Namespace {
    /// Adds a route, looking up its device by name. Equivalent to `ip route add`.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        self.apply(add(route, self.device_of(route)?))
    }

    /// Takes a route away. Equivalent to `ip route del`.
    pub fn delete_route(&self, route: &Route) -> Result<()> {
        self.apply(delete(route, self.device_of(route)?))
    }

    /// Takes a route away where it is still there.
    pub(crate) fn delete_route_if_there(&self, route: &Route) -> Result<()> {
        let Some(dev) = route.dev.as_deref() else { return self.apply(delete(route, None).may_be_gone()) };
        match self.link_if_there(dev)? {
            Some(link) => self.apply(delete(route, Some(link.header.index)).may_be_gone()),
            // Its routes went with it.
            None => Ok(()),
        }
    }

    fn device_of(&self, route: &Route) -> Result<Option<u32>> {
        route.dev.as_deref().map(|dev| self.index(dev)).transpose()
    }
}

fn message(route: &Route, link: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let family = match (route.to, route.via) {
        (Destination::Prefix(IpNet::V6(_)), _) | (Destination::Default, Some(IpAddr::V6(_))) => AddressFamily::Inet6,
        _ => AddressFamily::Inet,
    };
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope =
        if route.via.is_some() || family == AddressFamily::Inet6 { RouteScope::Universe } else { RouteScope::Link };
    if let Destination::Prefix(prefix) = route.to {
        message.header.destination_prefix_length = prefix.prefix_len();
        message.attributes.push(RouteAttribute::Destination(address(prefix.network())));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(address(via)));
    }
    if let Some(link) = link {
        message.attributes.push(RouteAttribute::Oif(link));
    }
    message
}

/// The next hop that attributes of a route, or of one of its hops, name.
pub(crate) fn via(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        // An IPv6 next hop of an IPv4 route (RFC 5549).
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

/// The index of the device that attributes of a route name.
pub(crate) fn device(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// The next hops of a multipath route.
pub(crate) fn next_hops(attributes: &[RouteAttribute]) -> &[RouteNextHop] {
    let hops = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops.as_slice()),
        _ => None,
    });
    hops.unwrap_or_default()
}

pub(crate) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

pub(crate) fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}
