//! Routes, as `ip route` prints them.

use std::{collections::HashMap, fmt, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteScope, RouteType,
    },
};

use super::{Probe, Seen, Watch};
use crate::{
    Deadline, Error, Namespace, Result,
    route::{device, ip, next_hops, via},
    topology::Destination,
    watch::Group,
};

impl Namespace {
    /// Looks at the routes of the main table, or of [another](Routes::table), of both IP versions. Equivalent to `ip route; ip -6 route`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway")?;
    /// expect!(lab.host().routes().to("10.20.30.0/24"), [route] if route.dev.as_deref() == Some("br0"));
    /// expect!(lab.host().routes().on("br0").to("198.51.100.0/24"), []);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn routes(&self) -> Routes {
        Routes { namespace: self.clone(), to: None, dev: None, table: MAIN }
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

const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Where it leads.
    pub to: Destination,
    /// Whether it is an IPv6 route.
    pub v6: bool,
    /// The next hop; `None`: on-link, or there are several.
    pub via: Option<IpAddr>,
    /// The device; `None` where there are several next hops.
    pub dev: Option<String>,
    /// The next hops of a multipath route; none for any other.
    pub hops: Vec<Hop>,
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

/// One of the next hops of a multipath route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The next hop; `None`: on-link.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: String,
    /// Its share of the flows, from 1.
    pub weight: u16,
    /// Whether its device has no carrier.
    pub linkdown: bool,
}

/// A probe of a table's routes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Routes {
    namespace: Namespace,
    to: Option<String>,
    dev: Option<String>,
    table: u32,
}

/// A table's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteList(pub Vec<Route>);

impl Routes {
    /// Only those for exactly this prefix, or `default` of either IP version; an address is a prefix of its whole length.
    /// Equivalent to `ip route show to exact`.
    pub fn to(mut self, prefix: impl ToString) -> Self {
        self.to = Some(prefix.to_string());
        self
    }

    /// Only those by this device, which must be there.
    pub fn on(mut self, dev: impl Into<String>) -> Self {
        self.dev = Some(dev.into());
        self
    }

    /// Those of this table, instead of the main one, which is 254. Equivalent to `ip route show table`.
    pub fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// Lists them.
    pub fn list(&self) -> Result<Vec<Route>> {
        let to = self.to.as_deref().map(exact).transpose().map_err(Error::Usage)?;
        // A name that no device has is an error, and not a list of none.
        let dev = self.dev.as_deref().map(|dev| self.namespace.index(dev)).transpose()?;
        let mut routes = self.namespace.route_messages()?;
        routes.retain(|route| is_in_table(route, self.table) && dev.is_none_or(|dev| devices(route).contains(&dev)));
        let names = self.namespace.link_names(routes.iter().flat_map(devices))?;
        let mut routes: Vec<Route> = routes.iter().map(|route| describe(route, &names)).collect();
        routes.retain(|route| to.is_none_or(|to| route.is_to(to)));
        Ok(routes)
    }
}

impl Probe for Routes {
    type Output = RouteList;

    fn describe(&self) -> String {
        let to = self.to.iter().map(|to| format!(" to exact {to}"));
        let dev = self.dev.iter().map(|dev| format!(" dev {dev}"));
        let table = (self.table != MAIN).then(|| format!(" table {}", self.table));
        let picked = to.chain(dev).chain(table).collect::<String>();
        let show = if picked.is_empty() { "" } else { " show" };
        format!("{}: ip route{show}{picked}", self.namespace.name())
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
        for hop in &self.hops {
            write!(f, "\n        nexthop")?;
            if let Some(via) = hop.via {
                write!(f, " via {via}")?;
            }
            write!(f, " dev {} weight {}", hop.dev, hop.weight)?;
            if hop.linkdown {
                write!(f, " linkdown")?;
            }
        }
        Ok(())
    }
}

impl Route {
    fn is_to(&self, to: Destination) -> bool {
        match to {
            Destination::Prefix(net) if net.prefix_len() == 0 => {
                self.to == Destination::Default && self.v6 == net.addr().is_ipv6()
            }
            other => self.to == other,
        }
    }
}

fn exact(text: &str) -> Result<Destination, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Destination::Prefix(address.into()));
    }
    Ok(match text.parse()? {
        Destination::Prefix(net) => Destination::Prefix(net.trunc()),
        Destination::Default => Destination::Default,
    })
}

fn is_in_table(route: &RouteMessage, wanted: u32) -> bool {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    // What the kernel keeps for its own addresses, it has in the main table too, of IPv6.
    let is_own = wanted == MAIN
        && matches!(
            route.header.kind,
            RouteType::Local | RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast
        );
    table.unwrap_or(u32::from(route.header.table)) == wanted
        && !is_own
        && !route.header.flags.contains(RouteFlags::Cloned)
}

/// The indices of all of a route's devices.
fn devices(message: &RouteMessage) -> Vec<u32> {
    device(&message.attributes)
        .into_iter()
        .chain(next_hops(&message.attributes).iter().map(|hop| hop.interface_index))
        .collect()
}

/// A route message in words; `names` gives links their names.
fn describe(message: &RouteMessage, names: &HashMap<u32, String>) -> Route {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let name = |index: &u32| names.get(index).cloned().unwrap_or_else(|| format!("if{index}"));
    let mut route = Route {
        to: Destination::Default,
        v6,
        via: via(&message.attributes),
        dev: device(&message.attributes).as_ref().map(name),
        hops: next_hops(&message.attributes).iter().map(|hop| Hop::of(hop, name(&hop.interface_index))).collect(),
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
            RouteAttribute::PrefSource(address) => route.src = ip(address),
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

impl Hop {
    fn of(hop: &RouteNextHop, dev: String) -> Self {
        Self {
            via: via(&hop.attributes),
            dev,
            // The kernel counts from 0.
            weight: u16::from(hop.hops) + 1,
            linkdown: hop.flags.contains(RouteNextHopFlags::Linkdown),
        }
    }
}

fn scope(scope: RouteScope, v6: bool) -> String {
    match scope {
        RouteScope::Universe => "global".into(),
        _ if v6 => "global".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::{RouteAddress, RouteProtocol, RouteVia};

    use super::*;
    use crate::{
        expect,
        probe::testing::{look, pair},
    };

    /// The next hop of a route may be of the other IP version: such a route is not on-link.
    #[test]
    fn a_next_hop_of_the_other_version() {
        let hop: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(hop)));
        assert_eq!(describe(&message, &HashMap::new()).via, Some(hop.into()));
    }

    /// Routes are picked by prefix and device, and one of several next hops has them all.
    ///
    ///     a[a0 10.0.0.1/24 fd00::1/64] --- b
    #[test]
    fn routes_are_picked() {
        let (a, _b) = pair();
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.kind = RouteType::Unicast;
        message.header.destination_prefix_length = 24;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet([198, 51, 100, 0].into())));
        let hop = |last: u8| {
            let mut hop = RouteNextHop::default();
            (hop.interface_index, hop.hops) = (a.index("a0").unwrap(), last);
            hop.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, last].into())));
            hop
        };
        message.attributes.push(RouteAttribute::MultiPath(vec![hop(2), hop(3)]));
        a.apply(crate::Request::create("adding a route".into(), RouteNetlinkMessage::NewRoute(message))).unwrap();

        expect!(a.routes().to("10.0.0.0/24"), [route] if route.dev.as_deref() == Some("a0") && route.hops.is_empty());
        expect!(a.routes().to("10.0.0.7/24"), [_]);
        expect!(a.routes().to("10.0.0.0/16"), []);
        expect!(a.routes().to("10.0.0.1"), []);
        let by = Some([10, 0, 0, 2].into());
        a.add_route(&crate::topology::Route { to: Destination::Default, via: by, dev: None }).unwrap();
        for (to, count) in [("default", 1), ("0.0.0.0/0", 1), ("::/0", 0)] {
            expect!(a.routes().to(to), list if list.len() == count);
        }
        let local = |table: u8| {
            let mut message = RouteMessage::default();
            message.header.address_family = AddressFamily::Inet;
            (message.header.table, message.header.kind) = (table, RouteType::Local);
            message.header.scope = RouteScope::Host;
            message.attributes.push(RouteAttribute::Oif(a.index("lo").unwrap()));
            crate::Request::create("adding a route".into(), RouteNetlinkMessage::NewRoute(message))
        };
        expect!(a.routes().table(100), []);
        a.apply(local(100)).unwrap();
        expect!(a.routes().table(100), [route] if route.to_string() == "local default dev lo proto unspec scope host");
        expect!(a.routes().table(255).to(std::net::Ipv4Addr::new(10, 0, 0, 1)), [route] if route.kind == "local");
        let error = a.routes().on("a7").list().unwrap_err().to_string();
        assert!(error.contains("No such device"), "{error}");
        expect!(a.routes().to("fd00::/64").on("a0"), [route] if route.v6);
        expect!(a.routes().on("lo"), []);
        let seen = look(&a.routes().to("198.51.100.0/24").on("a0")).to_string();
        let hops = "198.51.100.0/24 proto static\n        nexthop via 10.0.0.2 dev a0 weight 3\n        nexthop via 10.0.0.3 dev a0 weight 4";
        assert_eq!(seen, hops);
        let error = a.routes().to("10.0.0.300/24").list().unwrap_err().to_string();
        assert!(error.contains("neither a prefix nor"), "{error}");
    }
}
