//! The kernel's answer for one destination.

use std::{fmt, net::IpAddr};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Error, Namespace, Result, Target, state::Question, watch::Group};

impl Namespace {
    /// Asks the kernel how it would reach `target`. Equivalent to `ip route get TARGET`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway")?;
    /// let (host, netns1) = (lab.host(), lab.node("netns1"));
    /// expect!(host.route_to(netns1), Route { dev: "br0", via: "", .. });
    /// // What came in by a device, and what has a mark, is looked up by other policy rules, maybe.
    /// expect!(host.route_to(lab.outside()).from(netns1.address()).iif("br0"), Route { dev: "eth0", .. });
    /// expect!(host.route_to(lab.outside()).mark(0x1), Route { table: 254, .. });
    /// expect!(host.route_to(netns1).oif("eth0"), Route { dev: "eth0", .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn route_to(&self, target: impl Into<Target>) -> RouteTo {
        RouteTo { namespace: self.clone(), target: target.into(), from: None, iif: None, oif: None, mark: None }
    }
}

/// A probe of one route look-up.
#[derive(Clone, Debug)]
#[must_use]
pub struct RouteTo {
    namespace: Namespace,
    target: Target,
    from: Option<IpAddr>,
    iif: Option<String>,
    oif: Option<String>,
    mark: Option<u32>,
}

/// What the kernel answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookUp {
    target: IpAddr,
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Route { dev: String, via: String, src: String, table: u32, kind: String },
    NoRoute { error: &'static str },
}

/// What patterns see of a route look-up. Absent parts are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected<'a> {
    /// A route was selected.
    Route {
        /// The device.
        dev: &'a str,
        /// The next hop; empty: on-link.
        via: &'a str,
        /// The source address that the kernel would use; empty: it has none.
        src: &'a str,
        /// The routing table, 254 for `main`. The kernel keeps `local` (255) in one with `main` until there are rules, and
        /// may say 254 for it.
        table: u32,
        /// Its kind: `unicast`, `local`, `broadcast`.
        kind: &'a str,
    },
    /// There is none.
    NoRoute {
        /// The error's name: `ENETUNREACH`, `EHOSTUNREACH`, `EINVAL`, or, of a packet to be forwarded, `EXDEV`.
        error: &'a str,
    },
}

impl RouteTo {
    /// As if the packet had this source address. Equivalent to `ip route get TARGET from ADDRESS`.
    pub fn from(mut self, address: impl Into<IpAddr>) -> Self {
        self.from = Some(address.into());
        self
    }

    /// As if the packet had come in by this device, and were to be forwarded; it has a source address then
    /// ([`RouteTo::from`]). Equivalent to `ip route get TARGET from ADDRESS iif DEVICE`.
    pub fn iif(mut self, dev: impl Into<String>) -> Self {
        self.iif = Some(dev.into());
        self
    }

    /// As if the packet had this firewall mark, which policy rules look at. Equivalent to `ip route get TARGET mark MARK`.
    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// As if the packet were bound to this device. Equivalent to `ip route get TARGET oif DEVICE`.
    pub fn oif(mut self, dev: impl Into<String>) -> Self {
        self.oif = Some(dev.into());
        self
    }

    fn question(&self) -> Result<Question> {
        let index = |dev: &Option<String>| dev.as_deref().map(|dev| self.namespace.index(dev)).transpose();
        let (iif, oif) = (index(&self.iif)?, index(&self.oif)?);
        Ok(Question { from: self.from, iif, oif, mark: self.mark, ..Question::to(self.target.address) })
    }
}

impl Probe for RouteTo {
    type Output = LookUp;

    fn describe(&self) -> String {
        let from = self.from.map(|from| format!(" from {from}")).unwrap_or_default();
        let iif = self.iif.iter().map(|dev| format!(" iif {dev}")).collect::<String>();
        let oif = self.oif.iter().map(|dev| format!(" oif {dev}")).collect::<String>();
        let mark = self.mark.map(|mark| format!(" mark {mark:#x}")).unwrap_or_default();
        format!("{}: ip route get {}{from}{iif}{oif}{mark}", self.namespace.name(), self.target)
    }

    fn look(&self, _deadline: Deadline) -> Result<LookUp> {
        let target = self.target.address;
        let answer = match self.question()?.ask(&self.namespace)? {
            Ok(route) => Answer::Route {
                dev: route.dev.unwrap_or_default(),
                via: route.via.map(|via| via.to_string()).unwrap_or_default(),
                src: route.src.map(|src| src.to_string()).unwrap_or_default(),
                table: route.table,
                kind: route.kind,
            },
            Err(error) => match no_route(&error) {
                Some(error) => Answer::NoRoute { error },
                None => return Err(Error::kernel(self.describe(), self.namespace.name(), error)),
            },
        };
        Ok(LookUp { target, answer })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[
            Group::Link,
            Group::Ipv4Route,
            Group::Ipv6Route,
            Group::Ipv4Address,
            Group::Ipv6Address,
            Group::Ipv4Rule,
            Group::Ipv6Rule,
        ])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        [&self.namespace].into_iter().chain(&self.target.namespace).cloned().collect()
    }
}

impl Seen for LookUp {
    type As<'a> = Selected<'a>;

    fn seen(&self) -> Selected<'_> {
        match &self.answer {
            Answer::Route { dev, via, src, table, kind } => Selected::Route { dev, via, src, table: *table, kind },
            Answer::NoRoute { error } => Selected::NoRoute { error },
        }
    }
}

impl LookUp {
    /// The device, where a route was selected.
    #[must_use]
    pub fn dev(&self) -> Option<&str> {
        match &self.answer {
            Answer::Route { dev, .. } => Some(dev),
            Answer::NoRoute { .. } => None,
        }
    }

    /// The next hop, where there is one: the target itself where it is on-link.
    #[must_use]
    pub fn next_hop(&self) -> Option<IpAddr> {
        match &self.answer {
            Answer::Route { via, .. } => Some(via.parse().unwrap_or(self.target)),
            Answer::NoRoute { .. } => None,
        }
    }

    /// The source address, where the kernel has one.
    #[must_use]
    pub fn src(&self) -> Option<IpAddr> {
        match &self.answer {
            Answer::Route { src, .. } => src.parse().ok(),
            Answer::NoRoute { .. } => None,
        }
    }
}

/// As `ip route get` prints it.
impl fmt::Display for LookUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Answer::NoRoute { error } => write!(f, "no route: {error}"),
            Answer::Route { dev, via, src, table, kind } => {
                if kind != "unicast" {
                    write!(f, "{kind} ")?;
                }
                write!(f, "{}", self.target)?;
                if !via.is_empty() {
                    write!(f, " via {via}")?;
                }
                write!(f, " dev {dev}")?;
                if !matches!(table, 254 | 255) {
                    write!(f, " table {table}")?;
                }
                if src.is_empty() { write!(f, " (no source address)") } else { write!(f, " src {src}") }
            }
        }
    }
}

fn no_route(error: &std::io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::ENETUNREACH => Some("ENETUNREACH"),
        libc::EHOSTUNREACH => Some("EHOSTUNREACH"),
        libc::EACCES => Some("EACCES"),
        libc::EXDEV => Some("EXDEV"),
        libc::EINVAL => Some("EINVAL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        link,
        probe::testing::{look, routed},
        topology::{Destination, Route},
    };

    /// On-link, by a next hop, one's own, none, forbidden: each is an answer, printed as `ip route get` would.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn each_kind_of_answer() {
        let (a, b) = routed();
        let asked = |namespace: &Namespace, text: &str| look(&namespace.route_to(text.parse::<IpAddr>().unwrap()));
        for (namespace, target, printed) in [
            (&a, "10.0.0.2", "10.0.0.2 dev a0 src 10.0.0.1"),
            (&a, "10.8.1.1", "10.8.1.1 via 10.0.0.2 dev a0 src 10.0.0.1"),
            (&a, "10.0.0.1", "local 10.0.0.1 dev lo src 10.0.0.1"),
            (&a, "fd00::2", "fd00::2 dev a0 src fd00::1"),
            (&a, "203.0.113.1", "no route: ENETUNREACH"),
            (&b, "10.9.0.1", "no route: EHOSTUNREACH"),
        ] {
            assert_eq!(asked(namespace, target).to_string(), printed);
        }
        let answer = asked(&a, "10.8.1.1");
        assert_eq!(answer.next_hop(), Some(Ipv4Addr::new(10, 0, 0, 2).into()));
        let Selected::Route { dev: "a0", via: "10.0.0.2", src: "10.0.0.1", table: 254, kind: "unicast" } =
            answer.seen()
        else {
            panic!("{answer}")
        };
    }

    /// Which table a route is of is told: a rule leads to another than the main one.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_rule_leads_to_its_table() {
        let (a, _b) = routed();
        let ip = |line: &str| {
            let done = a.run(|| std::process::Command::new("ip").args(line.split(' ')).status().unwrap());
            assert!(done.unwrap().success(), "ip {line}");
        };
        let far = IpAddr::from(Ipv4Addr::new(198, 51, 100, 1));
        ip("route add default via 10.0.0.2");
        crate::expect!(a.route_to(far), Route { table: 254, .. });
        ip("route add default via 10.0.0.9 table 100");
        ip("rule add to 198.51.100.0/24 lookup 100");
        crate::expect!(a.route_to(far), Route { table: 100, via: "10.0.0.9", .. });
        crate::expect!(a.routes().table(100).to("default"), [_]);
    }

    /// A route is added and deleted; one whose next hop is not on-link is refused in the kernel's words; and all of a
    /// link's routes go with it when it goes down.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn routes_come_and_go() {
        let (a, _b) = routed();
        let far = IpAddr::from(Ipv4Addr::new(198, 51, 100, 1));
        let by =
            |via: &str| Route { to: Destination::Default, via: Some(via.parse().unwrap()), dev: Some("a0".into()) };
        let error = a.add_route(&by("192.0.2.1")).unwrap_err().to_string();
        assert!(error.contains("Nexthop has invalid gateway") && error.contains("Network is unreachable"), "{error}");
        a.add_route(&by("10.0.0.2")).unwrap();
        assert_eq!(look(&a.route_to(far)).next_hop(), Some(Ipv4Addr::new(10, 0, 0, 2).into()));
        crate::expect!(a.route_to(Ipv4Addr::new(10, 0, 0, 1)), Route { dev: "lo", kind: "local", .. });
        // A host that does not forward has no way for what comes in.
        let forwarded = a.route_to(far).from(Ipv4Addr::new(10, 0, 0, 2)).iif("a0");
        crate::expect!(forwarded, NoRoute { error: "EHOSTUNREACH" | "EINVAL" });
        a.set_sysctls(&[("net.ipv4.ip_forward".to_owned(), "1")]).unwrap();
        crate::expect!(forwarded, Route { dev: "a0", via: "10.0.0.2", .. });
        a.delete_route(&by("10.0.0.2")).unwrap();
        assert_eq!(look(&a.route_to(far)).next_hop(), None);
        assert!(a.delete_route(&by("10.0.0.2")).is_err());

        let on_link =
            Route { to: Destination::Prefix("198.51.100.0/24".parse().unwrap()), via: None, dev: Some("a0".into()) };
        a.add_route(&on_link).unwrap();
        assert_eq!(look(&a.route_to(far)).next_hop(), Some(far));
        a.apply(link::set_down("a0")).unwrap();
        assert_eq!(look(&a.route_to(far)).dev(), None);
        assert!(a.routes().list().unwrap().is_empty());
    }
}
