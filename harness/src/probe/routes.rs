//! Routes, as `ip route` prints them.

use std::{collections::HashMap, fmt, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags, RouteScope, RouteType,
        RouteVia,
    },
};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Namespace, Result, topology::Destination, watch::Group};

impl Namespace {
    /// Looks at the routes of the main table, of both IP versions. Equivalent to `ip route; ip -6 route`.
    pub fn routes(&self) -> Routes {
        Routes { namespace: self.clone() }
    }

    /// Every route of every table, as the kernel describes it.
    pub(crate) fn route_messages(&self) -> Result<Vec<RouteMessage>> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let found = self.ask("listing routes", RouteNetlinkMessage::GetRoute(message), true)?;
            all.extend(found.into_iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            }));
        }
        Ok(all)
    }
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Where it leads.
    pub to: Destination,
    /// Whether it is an IPv6 route.
    pub v6: bool,
    /// The next hop; `None`: on-link.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: Option<String>,
    /// The source address that it prefers.
    pub src: Option<IpAddr>,
    /// Who made it: `kernel`, `boot`, `static`, `ra`.
    pub protocol: String,
    /// Its scope: `global`, `link`, `host`.
    pub scope: String,
    /// Its kind: `unicast`, `unreachable`, `blackhole`.
    pub kind: String,
    /// Its metric.
    pub metric: u32,
    /// Whether its device has no carrier.
    pub linkdown: bool,
}

/// A probe of the main table's routes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Routes {
    namespace: Namespace,
}

/// The main table's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteList(pub Vec<Route>);

impl Routes {
    /// Lists them.
    pub fn list(&self) -> Result<Vec<Route>> {
        let mut routes = self.namespace.route_messages()?;
        routes.retain(in_main_table);
        let names = self.namespace.link_names(routes.iter().filter_map(device))?;
        Ok(routes.iter().map(|route| describe(route, &names)).collect())
    }
}

impl Probe for Routes {
    type Output = RouteList;

    fn describe(&self) -> String {
        format!("{}: ip route", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<RouteList> {
        self.list().map(RouteList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Link, Group::Ipv4Route, Group::Ipv6Route])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for RouteList {
    type As<'a> = &'a [Route];

    fn seen(&self) -> &[Route] {
        &self.0
    }
}

impl fmt::Display for RouteList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &self.0)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != "unicast" {
            write!(f, "{} ", self.kind)?;
        }
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        if self.protocol != "boot" {
            write!(f, " proto {}", self.protocol)?;
        }
        if self.scope != "global" {
            write!(f, " scope {}", self.scope)?;
        }
        if let Some(src) = self.src {
            write!(f, " src {src}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.linkdown {
            write!(f, " linkdown")?;
        }
        Ok(())
    }
}

fn in_main_table(route: &RouteMessage) -> bool {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    table.unwrap_or(u32::from(route.header.table)) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !matches!(
            route.header.kind,
            RouteType::Local | RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast
        )
        && !route.header.flags.contains(RouteFlags::Cloned)
}

/// The index of a route's device.
pub(super) fn device(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// A route message in words; `names` gives links their names.
pub(super) fn describe(message: &RouteMessage, names: &HashMap<u32, String>) -> Route {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let mut route = Route {
        to: Destination::Default,
        v6,
        via: None,
        dev: None,
        src: None,
        protocol: message.header.protocol.to_string(),
        scope: scope(message.header.scope, v6),
        kind: format!("{:?}", message.header.kind).to_lowercase(),
        metric: 0,
        linkdown: message.header.flags.bits() & u32::from(RouteNextHopFlags::Linkdown.bits()) != 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                let length = message.header.destination_prefix_length;
                route.to = ip(address).and_then(|ip| IpNet::new(ip, length).ok()).map_or(route.to, Destination::Prefix);
            }
            RouteAttribute::Gateway(address) => route.via = ip(address),
            // An IPv6 next hop of an IPv4 route (RFC 5549).
            RouteAttribute::Via(RouteVia::Inet6(address)) => route.via = Some((*address).into()),
            RouteAttribute::PrefSource(address) => route.src = ip(address),
            RouteAttribute::Oif(index) => {
                route.dev = Some(names.get(index).cloned().unwrap_or_else(|| format!("if{index}")))
            }
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    // The kernel's usual metric for IPv6 says nothing.
    if v6 && matches!(route.metric, 256 | 1024) {
        route.metric = 0;
    }
    route
}

fn scope(scope: RouteScope, v6: bool) -> String {
    match scope {
        RouteScope::Universe => "global".into(),
        _ if v6 => "global".into(),
        other => other.to_string(),
    }
}

pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next hop of a route may be of the other IP version: such a route is not on-link.
    #[test]
    fn a_next_hop_of_the_other_version() {
        let hop: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(hop)));
        assert_eq!(describe(&message, &HashMap::new()).via, Some(hop.into()));
    }
}
