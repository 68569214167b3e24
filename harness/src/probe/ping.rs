//! ICMP echo.

use std::{
    fmt::Write,
    io,
    net::{IpAddr, SocketAddr},
};

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::packet_route::link::LinkFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Deadline, Error, Namespace, Result, Target,
    probe::{
        Carries, Journey, Probe, Watch,
        echo::Exchange,
        endpoint::{Origin, Tool, from_where, scoped},
        icmp,
        outcome::{Heard, Outcome},
        sys,
        traffic::{self, Again, Fragments},
    },
};

impl Namespace {
    /// An ICMP echo request to `target`, IPv4 or IPv6. Equivalent to `ping -c 1`, but with no program.
    ///
    /// A node as the target is asked whether it answers itself before silence counts for anything; a bare address is nobody's,
    /// and its silence holds though it was mistyped. Of an address that your program gives to a node, say `node.at(address)`.
    ///
    /// ```no_run
    /// # use netproof::{Deadline, Namespace, Probe};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// # let host = Namespace::new("host")?;
    /// let outcome = host.ping(Ipv4Addr::LOCALHOST).ttl(1).look(Deadline::after(Duration::from_secs(1)))?;
    /// println!("{outcome}"); // 64 bytes from 127.0.0.1: icmp_seq=1 ttl=1 time=0.045 ms
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn ping(&self, target: impl Into<Target>) -> Ping {
        Ping {
            namespace: self.clone(),
            target: target.into(),
            origin: Origin::default(),
            ttl: None,
            size: 56,
            fragments: Fragments::Default,
        }
    }
}

/// One ICMP echo exchange; made by [`Namespace::ping`].
///
/// A look sends a request with an identifier of its own, so that no late answer to another look is taken for its
/// own, and listens for 250 ms (times the time scale, at most 2.5 s). Where this host finds no neighbour meanwhile,
/// it sends another: [`Heard::NoReply`] always means that whole time, and a note tells of the neighbour.
#[derive(Clone, Debug)]
#[must_use = "a ping is sent by `look` or `expect!`"]
pub struct Ping {
    namespace: Namespace,
    target: Target,
    origin: Origin,
    ttl: Option<u8>,
    size: usize,
    fragments: Fragments,
}

from_where!(Ping);

impl Ping {
    /// The request's TTL, IPv6: hop limit. `ping -t`.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The payload's length in bytes, 56 by default: 28 (IPv6: 48) more make the IP packet. `ping -s`.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// Sets DF, and heeds no path MTU that is remembered from before. `ping -M probe`.
    pub fn dont_fragment(mut self) -> Self {
        self.fragments = Fragments::Never;
        self
    }

    /// Leaves DF clear: everyone on the way may fragment. `ping -M dont`.
    pub fn may_fragment(mut self) -> Self {
        self.fragments = Fragments::Allowed;
        self
    }
}

impl Probe for Ping {
    type Output = Outcome;

    fn describe(&self) -> String {
        let (options, _) = self.origin.typed(Tool::Ping, self.v6());
        let mut line = format!("{}: ping{options}", self.namespace.name());
        if let Some(ttl) = self.ttl {
            let _ = write!(line, " -t {ttl}");
        }
        if self.size != 56 {
            let _ = write!(line, " -s {}", self.size);
        }
        line.push_str(match self.fragments {
            Fragments::Default => "",
            Fragments::Never => " -M probe",
            Fragments::Allowed => " -M dont",
        });
        format!("{line} {}", self.target)
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        self.once(Deadline::exactly(traffic::silence()))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        std::iter::once(&self.namespace).chain(&self.target.namespace).cloned().collect()
    }

    fn last_word(&self, seen: &Outcome) -> bool {
        matches!(seen.heard, Heard::Reply { .. })
    }

    fn came_back(&self, seen: &Outcome) -> Option<bool> {
        seen.came_back()
    }

    /// That nothing came from a target that would answer nobody says nothing of the way to it.
    fn control<M>(&self, seen: &Outcome, _matches: &M) -> Result<Option<String>> {
        match (&seen.heard, &self.target.namespace) {
            (Heard::NoReply, Some(home)) => why_mute(home, self.target.address),
            _ => Ok(None),
        }
    }

    fn journey(&self) -> Option<Journey> {
        let whole = (self.fragments == Fragments::Never).then_some(self.size + headers(self.v6()));
        Some(Journey { whole, ..self.origin.journey(&self.namespace, &self.target, Carries::Echo) })
    }
}

/// Why nobody could get an echo reply from `address` in the namespace that it is said to be in; none: it answers itself.
fn why_mute(home: &Namespace, address: IpAddr) -> Result<Option<String>> {
    let name = home.name();
    if home.ping(address).once(Deadline::exactly(traffic::silence()))?.answered() {
        return Ok(None);
    }
    if let Some(lacking) = traffic::lacks(home, address)? {
        return Ok(Some(lacking));
    }
    let muted = if address.is_ipv6() { "net.ipv6.icmp.echo_ignore_all" } else { "net.ipv4.icmp_echo_ignore_all" };
    if home.sysctl_if_there(muted)?.is_some_and(|value| value != "0") {
        return Ok(Some(format!("{name} answers no echo at all: {muted} is on")));
    }
    // Without its loopback a host does not reach its own addresses, but others may.
    let lo = home.link_message("lo")?;
    let reason = || format!("{name} does not answer itself either, at its own {address}");
    Ok(lo.header.flags.contains(LinkFlags::Up).then(reason))
}

impl Ping {
    /// A request that goes the journey's way.
    pub(crate) fn along(journey: &Journey) -> Self {
        let ping = Self { origin: Origin::of(journey), ..journey.from.ping(&journey.to) };
        match journey.whole {
            Some(whole) => ping.size(whole.saturating_sub(headers(journey.to.address.is_ipv6()))).dont_fragment(),
            None => ping,
        }
    }

    /// One exchange, which is over by the deadline.
    pub(crate) fn once(&self, deadline: Deadline) -> Result<Outcome> {
        let opened = match self.namespace.run(|| self.open())? {
            Ok(opened) => opened,
            Err(error) => return traffic::not_opened(error).map_err(|error| self.error(error)),
        };
        let (socket, scope) = opened;
        Exchange::new(self, &socket, address(self.target.address, scope)).run(deadline)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The payload's length in bytes.
    pub(crate) fn payload(&self) -> usize {
        self.size
    }

    pub(crate) fn error(&self, error: io::Error) -> Error {
        Error::kernel(format!("sending an echo to {}", self.target), self.namespace.name(), error)
    }

    fn v6(&self) -> bool {
        self.target.address.is_ipv6()
    }

    /// A raw socket as asked for, and the index of the device, to be called inside the namespace.
    fn open(&self) -> io::Result<(Socket, u32)> {
        let v6 = self.v6();
        let (domain, protocol) = if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        if v6 {
            sys::only_icmpv6_types(&socket, &[icmp::V6_ECHO_REPLY])?;
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        } else {
            sys::only_icmp_types(&socket, &[icmp::ECHO_REPLY])?;
            socket.set_broadcast(true)?;
        }
        traffic::queue_errors(&socket, v6)?;
        traffic::set_fragments(&socket, v6, self.fragments)?;
        if let Some(ttl) = self.ttl {
            traffic::set_ttl(&socket, v6, ttl)?;
        }
        let scope = self.origin.bind(&socket, v6)?;
        Ok((socket, scope))
    }
}

/// The bytes before the payload, of IP and of ICMP.
fn headers(v6: bool) -> usize {
    if v6 { 48 } else { 28 }
}

/// With port 0, and a scope where IPv6 needs one.
fn address(address: IpAddr, scope: u32) -> SocketAddr {
    scoped(SocketAddr::new(address, 0), scope)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        time::Instant,
    };

    use super::*;
    use crate::{
        Seen, link,
        probe::testing::{look, narrow, pair, routed},
    };

    /// A namespace answers itself, at its own address, when its loopback is up; before that it does not even send.
    #[test]
    fn loopback_answers_once_it_is_up() {
        let namespace = Namespace::new("alone").unwrap();
        assert!(matches!(
            look(&namespace.ping(Ipv4Addr::LOCALHOST)).seen(),
            Heard::LocalError { errno: libc::ENETUNREACH, name: "ENETUNREACH" }
        ));
        namespace.apply(link::set_up("lo")).unwrap();
        let outcome = look(&namespace.ping(Ipv4Addr::LOCALHOST));
        assert!(
            matches!(outcome.seen(), Heard::Reply { from: "127.0.0.1", ttl: 64, seq: 1, size: 56, .. }),
            "{outcome}"
        );
        let outcome = look(&namespace.ping(Ipv6Addr::LOCALHOST).ttl(3).size(9));
        assert!(matches!(outcome.seen(), Heard::Reply { from: "::1", ttl: 64, size: 9, .. }), "{outcome}");
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_neighbour_that_is_not_there_is_no_reply() {
        let (a, b) = pair();
        let outcome = look(&a.ping(Ipv4Addr::new(10, 0, 0, 2)).from_device("a0"));
        assert!(matches!(outcome.seen(), Heard::Reply { from: "10.0.0.2", ttl: 64, .. }), "{outcome}");
        let outcome = look(&b.ping("fd00::1".parse::<IpAddr>().unwrap()));
        assert!(matches!(outcome.seen(), Heard::Reply { from: "fd00::1", ttl: 64, .. }), "{outcome}");

        let started = Instant::now();
        let outcome = look(&a.ping(Ipv4Addr::new(10, 0, 0, 3)));
        assert!(matches!(outcome.seen(), Heard::NoReply), "{outcome}");
        assert!(outcome.to_string().contains("no neighbour"), "{outcome}");
        assert!(started.elapsed() >= traffic::silence(), "silence was cut short");
        let outcome = look(&a.ping("fd00::3".parse::<IpAddr>().unwrap()));
        assert!(matches!(outcome.seen(), Heard::NoReply), "{outcome}");
    }

    /// A packet longer than the device's MTU is not sent when it must not be fragmented; else it goes in pieces.
    #[test]
    fn too_long_is_a_local_error() {
        let (a, _b) = pair();
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let outcome = look(&a.ping(to).size(1472).dont_fragment());
        assert!(matches!(outcome.seen(), Heard::Reply { size: 1472, .. }), "{outcome}");
        let outcome = look(&a.ping(to).size(1473).dont_fragment());
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "EMSGSIZE", .. }), "{outcome}");
        assert!(outcome.to_string().contains("mtu = 1500"), "{outcome}");
        let outcome = look(&a.ping(to).size(1473).may_fragment());
        assert!(matches!(outcome.seen(), Heard::Reply { size: 1473, .. }), "{outcome}");
        let outcome = look(&a.ping("fd00::2".parse::<IpAddr>().unwrap()).size(1453).dont_fragment());
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "EMSGSIZE", .. }), "{outcome}");
    }

    /// A packet that the device drops, for want of a carrier, is lost like any other: no reply, and a note.
    #[test]
    fn what_the_device_drops_is_no_reply() {
        let (a, b) = pair();
        let to = Ipv4Addr::new(10, 0, 0, 2);
        assert!(look(&a.ping(to)).answered());
        b.apply(link::set_down("b0")).unwrap();
        let outcome = look(&a.ping(to));
        assert!(matches!(outcome.seen(), Heard::NoReply), "{outcome}");
        assert!(outcome.note.as_ref().is_some_and(|note| note.contains("dropped")), "{outcome}");
    }

    /// A device that is not there, and an address that is not ours, are this host's errors.
    #[test]
    fn what_is_not_there_is_a_local_error() {
        let (a, _b) = pair();
        let to = Ipv4Addr::new(10, 0, 0, 2);
        let outcome = look(&a.ping(to).from_device("nosuch0"));
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "ENODEV", .. }), "{outcome}");
        let outcome = look(&a.ping(to).source(Ipv4Addr::new(10, 9, 9, 9)));
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "EADDRNOTAVAIL", .. }), "{outcome}");
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2], a router with an unreachable route to 10.9.0.0/16
    #[test]
    fn a_router_that_refuses_is_named() {
        let (a, _b) = routed();
        let outcome = look(&a.ping(Ipv4Addr::new(10, 9, 0, 1)));
        assert!(
            matches!(outcome.seen(), Heard::Unreachable { from: "10.0.0.2", code: "host-unreachable", mtu: 0 }),
            "{outcome}"
        );
        let outcome = look(&a.ping(Ipv4Addr::new(10, 8, 0, 1)).ttl(1));
        assert!(matches!(outcome.seen(), Heard::TimeExceeded { from: "10.0.0.2" }), "{outcome}");
    }

    ///     a[a0 10.0.0.1] --- b --- c[c0 10.1.0.3], the last link with an MTU of 1300
    ///
    /// A packet that must not be fragmented and is too long for a link on the way comes to an error with that MTU, look
    /// after look: what the kernel remembers of the path is not heeded.
    #[test]
    fn too_long_for_the_way_is_told_with_the_mtu() {
        let (a, _b, _c) = narrow();
        let to = Ipv4Addr::new(10, 1, 0, 3);
        let outcome = look(&a.ping(to).size(1272).dont_fragment());
        assert!(matches!(outcome.seen(), Heard::Reply { ttl: 63, size: 1272, .. }), "{outcome}");
        for _ in 0..2 {
            let outcome = look(&a.ping(to).size(1273).dont_fragment());
            assert!(
                matches!(outcome.seen(), Heard::Unreachable { from: "10.0.0.2", code: "frag-needed", mtu: 1300 }),
                "{outcome}"
            );
        }
        let outcome = look(&a.ping(to).size(1273).may_fragment());
        assert!(matches!(outcome.seen(), Heard::Reply { size: 1273, .. }), "{outcome}");
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// That nothing came proves nothing where the target answers nobody, and says which of the reasons it is.
    #[test]
    fn no_reply_from_the_mute_proves_nothing() {
        let (a, b) = pair();
        let to = |address: [u8; 4]| Target { namespace: Some(b.clone()), ..Ipv4Addr::from(address).into() };
        let why = |target: Target| a.ping(target).control(&Heard::NoReply.into(), &|_: Heard<&str>| true).unwrap();
        assert_eq!(why(to([10, 0, 0, 2])), None);
        assert_eq!(why(to([10, 0, 0, 7])).unwrap(), "b does not have 10.0.0.7");
        b.set_sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
        assert_eq!(why(to([10, 0, 0, 2])).unwrap(), "b answers no echo at all: net.ipv4.icmp_echo_ignore_all is on");
        b.set_sysctl("net.ipv4.icmp_echo_ignore_all", "0").unwrap();
        b.apply(link::set_down("lo")).unwrap();
        assert_eq!(why(to([10, 0, 0, 2])), None, "others can reach it");
        assert!(a.ping(to([10, 0, 0, 2])).last_word(&look(&a.ping(to([10, 0, 0, 2])))));
        let v6 = || Target { namespace: Some(b.clone()), ..Ipv6Addr::from_bits(0xfd00 << 112 | 2).into() };
        assert_eq!(why(v6()), None);
        b.apply(link::set_down("b0")).unwrap();
        let lost =
            "b does not have fd00::2; set down there: b0, and a device that is set down loses its IPv6 addresses";
        assert_eq!(why(v6()).unwrap(), lost);
    }

    #[test]
    fn describe_is_what_one_would_type() {
        let namespace = Namespace::new("host").unwrap();
        let ping = namespace.ping(Ipv4Addr::new(10, 0, 0, 2)).from_device("br0").ttl(1).size(8).dont_fragment();
        assert_eq!(ping.describe(), "host: ping -I br0 -t 1 -s 8 -M probe 10.0.0.2");
    }
}
