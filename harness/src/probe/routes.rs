//! Routes, as `ip route` prints them.

use std::{fmt, net::IpAddr};

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType},
};

use super::{Probe, Seen, Watch};
use crate::{
    Deadline, Error, Namespace, Result,
    route::{device, next_hops},
    state::Route,
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
        let routes = routes.iter().map(|route| Route::of(route, &names));
        Ok(routes.filter(|route| to.is_none_or(|to| is_to(route, to))).collect())
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

fn is_to(route: &Route, to: Destination) -> bool {
    match to {
        Destination::Prefix(net) if net.prefix_len() == 0 => {
            route.to == Destination::Default && route.v6 == net.addr().is_ipv6()
        }
        other => route.to == other,
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

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::{RouteAddress, RouteNextHop, RouteProtocol, RouteScope, RouteVia};

    use super::*;
    use crate::{
        expect,
        probe::testing::{look, pair},
        state::Names,
    };

    /// The next hop of a route may be of the other IP version: such a route is not on-link.
    #[test]
    fn a_next_hop_of_the_other_version() {
        let hop: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.attributes.push(RouteAttribute::Via(RouteVia::Inet6(hop)));
        assert_eq!(Route::of(&message, &Names::default()).via, Some(hop.into()));
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
        expect!(a.routes().table(100), [route] if route.to_string() == "local default dev lo table 100 scope host");
        expect!(a.routes().table(255).to(std::net::Ipv4Addr::new(10, 0, 0, 1)), [route] if route.kind == "local");
        let error = a.routes().on("a7").list().unwrap_err().to_string();
        assert!(error.contains("No such device"), "{error}");
        expect!(a.routes().to("fd00::/64").on("a0"), [route] if route.v6);
        expect!(a.routes().on("lo"), []);
        let seen = look(&a.routes().to("198.51.100.0/24").on("a0")).to_string();
        let hops =
            "198.51.100.0/24 proto static nexthop via 10.0.0.2 dev a0 weight 3 nexthop via 10.0.0.3 dev a0 weight 4";
        assert_eq!(seen, hops);
        let error = a.routes().to("10.0.0.300/24").list().unwrap_err().to_string();
        assert!(error.contains("neither a prefix nor"), "{error}");
    }
}
