//! Routes, and the kernel's answer for one packet.

use std::{fmt, io, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::{
    packet_core::Nla,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        route::{
            RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
            RouteProtocol, RouteScope,
        },
    },
};

use super::Names;
use crate::{
    Error, Namespace, Result,
    addr::family,
    route::{address, device, ip, next_hops, via},
    topology::Destination,
};

/// A route, or the kernel's answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Where it leads.
    pub to: Destination,
    /// Whether it is of IPv6.
    pub v6: bool,
    /// The next hop; none: on-link, or there are several.
    pub via: Option<IpAddr>,
    /// The device; none where there are several next hops.
    pub dev: Option<String>,
    /// The next hops of a multipath route; none of any other.
    pub hops: Vec<Hop>,
    /// The source address that packets get which have none yet.
    pub src: Option<IpAddr>,
    /// Its table: 254 is `main`, 255 `local`.
    pub table: u32,
    /// Its type in the words of `ip route`: `unicast`, `local`, `broadcast`, `unreachable`, `blackhole`.
    pub kind: String,
    /// Who made it in the words of `ip route`: `kernel`, `static`, `boot`, `ra`.
    pub protocol: String,
    /// Its scope in the words of `ip route`: `global`, `link`, `host`.
    pub scope: String,
    /// Its metric; the lowest of several wins.
    pub metric: u32,
    /// What sets it apart besides, in the words of `ip route`: `mtu 1300 advmss 1260`, `tos 0x10`; none, mostly.
    pub options: String,
    /// It does not work now: its device is down, or has no carrier.
    pub linkdown: bool,
    /// Its next hop was learned by an ICMP redirect.
    pub redirected: bool,
}

/// One of the next hops of a multipath route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The next hop; none: on-link.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: String,
    /// Its share of the flows, from 1.
    pub weight: u16,
    /// It does not work now: its device is down, or has no carrier.
    pub linkdown: bool,
}

/// Which way a packet goes: `ip route get TO from FROM iif IIF oif OIF mark MARK`.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where it is to go.
    pub to: IpAddr,
    /// Its source address.
    pub from: Option<IpAddr>,
    /// The device that it came in by; none: it is the namespace's own.
    pub iif: Option<u32>,
    /// The device that it must leave by.
    pub oif: Option<u32>,
    /// Its firewall mark.
    pub mark: Option<u32>,
}

pub(super) fn read(namespace: &Namespace, names: &Names) -> Result<Vec<Route>> {
    Ok(namespace.route_messages()?.iter().map(|message| Route::of(message, names)).collect())
}

impl Question {
    /// Where a packet of the namespace's own for this address goes.
    #[must_use]
    pub fn to(to: IpAddr) -> Self {
        Self { to, from: None, iif: None, oif: None, mark: None }
    }

    /// The kernel's answer; its refusal is an answer too. For a packet of its own that is `ENETUNREACH`: no route; for one
    /// that came in, `EHOSTUNREACH`, `EXDEV` or `EINVAL`, by the kernel's age: it does not forward, or the source fails the
    /// reverse path filter.
    pub fn ask(&self, namespace: &Namespace) -> Result<io::Result<Route>> {
        let question = RouteNetlinkMessage::GetRoute(self.message());
        match namespace.ask(&format!("looking up the route to {}", self.to), question, false) {
            Ok(found) => {
                let route = found.iter().find_map(|message| match message {
                    RouteNetlinkMessage::NewRoute(route) => Some(route),
                    _ => None,
                });
                let Some(route) = route else { return Ok(Err(io::ErrorKind::UnexpectedEof.into())) };
                let names = namespace.link_names(device(&route.attributes))?;
                Ok(Ok(Route::of(route, &names)))
            }
            Err(Error::Kernel { source, .. }) if source.raw_os_error().is_some() => Ok(Err(source)),
            Err(error) => Err(error),
        }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let bits = if self.to.is_ipv4() { 32 } else { 128 };
        message.header.address_family = family(self.to);
        message.header.destination_prefix_length = bits;
        // Without this the answer for IPv4 is of table 254, whatever it is.
        message.header.flags = RouteFlags::LookupTable;
        message.attributes.push(RouteAttribute::Destination(address(self.to)));
        if let Some(from) = self.from {
            message.header.source_prefix_length = bits;
            message.attributes.push(RouteAttribute::Source(address(from)));
        }
        message.attributes.extend(self.iif.map(RouteAttribute::Iif));
        message.attributes.extend(self.oif.map(RouteAttribute::Oif));
        message.attributes.extend(self.mark.map(RouteAttribute::Mark));
        message
    }
}

impl Route {
    pub(crate) fn of(message: &RouteMessage, names: &Names) -> Self {
        let header = &message.header;
        let mut route = Self {
            to: Destination::Default,
            v6: header.address_family == AddressFamily::Inet6,
            via: via(&message.attributes),
            dev: device(&message.attributes).map(|index| names.of(index)),
            hops: next_hops(&message.attributes).iter().map(|hop| Hop::of(hop, names)).collect(),
            src: None,
            table: header.table.into(),
            kind: format!("{:?}", header.kind).to_lowercase(),
            protocol: protocol(header.protocol),
            scope: scope(header.scope),
            metric: 0,
            options: options(message),
            linkdown: header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown),
            redirected: header.protocol == RouteProtocol::IcmpRedirect,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => {
                    let net = ip(to).and_then(|ip| IpNet::new(ip, header.destination_prefix_length).ok());
                    route.to = net.filter(|net| net.prefix_len() > 0).map_or(route.to, Destination::Prefix);
                }
                RouteAttribute::PrefSource(src) => route.src = ip(src),
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Priority(metric) => route.metric = *metric,
                _ => {}
            }
        }
        route
    }

    /// Whether the kernel keeps it for an address of its own (table `local`, multicast, link-local addresses).
    #[must_use]
    pub fn is_own(&self) -> bool {
        const LOCAL: u32 = 255;
        let link_local = match self.to {
            Destination::Prefix(IpNet::V6(net)) => net.addr().is_unicast_link_local(),
            _ => false,
        };
        self.table == LOCAL || self.kind == "multicast" || link_local
    }

    /// Whether it is the namespace's own address that it leads to.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.kind.as_str(), "local" | "anycast")
    }

    /// Whether it is for packets to this address.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        match self.to {
            Destination::Prefix(net) => net.contains(&address),
            Destination::Default => self.v6 == address.is_ipv6(),
        }
    }

    /// The length of its prefix in bits: 0 for `default`.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        match self.to {
            Destination::Prefix(net) => net.prefix_len(),
            Destination::Default => 0,
        }
    }
}

impl Hop {
    fn of(hop: &RouteNextHop, names: &Names) -> Self {
        Self {
            via: via(&hop.attributes),
            dev: names.of(hop.interface_index),
            // The kernel counts from 0.
            weight: u16::from(hop.hops) + 1,
            linkdown: hop.flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown),
        }
    }
}

fn protocol(protocol: RouteProtocol) -> String {
    match protocol {
        RouteProtocol::IcmpRedirect => "redirect".into(),
        RouteProtocol::Other(number) => number.to_string(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn scope(scope: RouteScope) -> String {
    match scope {
        RouteScope::Universe => "global".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn options(message: &RouteMessage) -> String {
    let tos = message.header.tos;
    let mut words = if tos == 0 { Vec::new() } else { vec![format!("tos {tos:#x}")] };
    let metrics = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.as_slice(),
        _ => &[],
    });
    let metrics: Vec<_> = metrics.collect();
    let locks = metrics.iter().find_map(|metric| match metric {
        RouteMetric::Lock(mask) => Some(*mask),
        _ => None,
    });
    let is_locked = |metric: &RouteMetric| locks.is_some_and(|mask| mask & 1 << metric.kind() != 0);
    words.extend(metrics.into_iter().filter_map(|metric| {
        let (name, value) = option(metric)?;
        Some(format!("{name} {}{value}", if is_locked(metric) { "lock " } else { "" }))
    }));
    words.join(" ")
}

/// A metric's name and value, as `ip route` prints them.
fn option(metric: &RouteMetric) -> Option<(&'static str, String)> {
    use RouteMetric::{
        Advmss, CcAlgo, Cwnd, FastopenNoCookie, Features, Hoplimit, InitCwnd, InitRwnd, Mtu, QuickAck, Reordering,
        RtoMin, Rtt, RttVar, SsThresh, Window,
    };
    let time = |ms: u32| if ms >= 1000 { format!("{}s", f64::from(ms) / 1e3) } else { format!("{ms}ms") };
    let number = |name, value: &u32| Some((name, value.to_string()));
    match metric {
        Mtu(value) => number("mtu", value),
        Window(value) => number("window", value),
        // In eighths and quarters of a ms.
        Rtt(value) => Some(("rtt", time(value / 8))),
        RttVar(value) => Some(("rttvar", time(value / 4))),
        SsThresh(value) => number("ssthresh", value),
        Cwnd(value) => number("cwnd", value),
        Advmss(value) => number("advmss", value),
        Reordering(value) => number("reordering", value),
        Hoplimit(value) => number("hoplimit", value),
        InitCwnd(value) => number("initcwnd", value),
        // RTAX_FEATURE_ECN of rtnetlink(7).
        Features(1) => Some(("features", "ecn".into())),
        Features(value) => Some(("features", format!("{value:#x}"))),
        RtoMin(value) => Some(("rto_min", time(*value))),
        InitRwnd(value) => number("initrwnd", value),
        QuickAck(value) => number("quickack", value),
        CcAlgo(name) => Some(("congctl", name.clone())),
        FastopenNoCookie(value) => number("fastopen_no_cookie", value),
        _ => None,
    }
}

/// As `ip route` prints it: `10.20.0.0/16 dev br0 proto kernel scope link src 10.20.0.1`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != "unicast" {
            write!(f, "{} ", self.kind)?;
        }
        match self.to {
            Destination::Prefix(to) if to.prefix_len() == to.max_prefix_len() => write!(f, "{}", to.addr())?,
            to => write!(f, "{to}")?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        if self.table != u32::from(RouteHeader::RT_TABLE_MAIN) && !self.is_own() {
            write!(f, " table {}", self.table)?;
        }
        if !matches!(self.protocol.as_str(), "boot" | "unspec") {
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
        if !self.options.is_empty() {
            write!(f, " {}", self.options)?;
        }
        self.hops.iter().try_for_each(|hop| write!(f, " {hop}"))?;
        if self.linkdown {
            f.write_str(" linkdown")?;
        }
        Ok(())
    }
}

/// As `ip route` prints it: `nexthop via 10.0.0.2 dev br0 weight 1`.
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nexthop")?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {} weight {}", self.dev, self.weight)?;
        if self.linkdown {
            f.write_str(" linkdown")?;
        }
        Ok(())
    }
}
