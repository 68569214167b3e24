//! TCP connections.

use std::{io, net::SocketAddr, time::Duration};

use nix::poll::PollFlags;
use socket2::{Socket, Type};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Carries, Journey, Probe, Watch,
        endpoint::{Endpoint, Origin, Tool, from_where},
        outcome::{Heard, Outcome},
        traffic::{self, Again, Lost},
    },
};

impl Namespace {
    /// A TCP connection to a port, reset as soon as it is made, so that none is left waiting. Otherwise as `nc -z`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("pair")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// expect!(netns1.tcp_to((netns2, 80)), Refused);
    /// let server = netns2.serve_http((netns2, 80))?;
    /// expect!(netns1.tcp_to((netns2, 80)), Connected { .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn tcp_to(&self, to: impl Into<Endpoint>) -> Tcp {
        Tcp { namespace: self.clone(), to: to.into(), origin: Origin::default() }
    }
}

/// One TCP connection; made by [`Namespace::tcp_to`]. Yields [`Heard::Connected`], [`Heard::Refused`],
/// [`Heard::TimedOut`], [`Heard::Unreachable`] or [`Heard::LocalError`].
#[derive(Clone, Debug)]
#[must_use = "a connection is made by `look` or `expect!`"]
pub struct Tcp {
    namespace: Namespace,
    to: Endpoint,
    origin: Origin,
}

from_where!(Tcp, port);

impl Probe for Tcp {
    type Output = Outcome;

    fn describe(&self) -> String {
        let (options, said) = self.origin.typed(Tool::Nc, self.to.address().is_ipv6());
        format!("{}: nc -z{options} {}{said}", self.namespace.name(), self.to.spaced())
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        Ok(match connect(&self.namespace, &self.origin, &self.to)? {
            Connection::Made(socket) => {
                let local = socket.local_addr().ok().and_then(|address| address.as_socket());
                Heard::Connected { local: local.map_or_else(String::new, |address| address.ip().to_string()) }.into()
            }
            Connection::Not(outcome) => outcome,
        })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        std::iter::once(&self.namespace).chain(&self.to.target.namespace).cloned().collect()
    }

    fn last_word(&self, seen: &Outcome) -> bool {
        seen.answered()
    }

    fn came_back(&self, seen: &Outcome) -> Option<bool> {
        seen.came_back()
    }

    fn control<M>(&self, seen: &Outcome, _matches: &M) -> Result<Option<String>> {
        traffic::why_absent(&self.to.target, seen)
    }

    fn journey(&self) -> Option<Journey> {
        Some(self.origin.journey(&self.namespace, &self.to.target, Carries::Tcp(self.to.port)))
    }
}

/// A connection, or what came instead.
pub(crate) enum Connection {
    Made(Socket),
    Not(Outcome),
}

/// Connects, for as long as silence lasts. Where this host finds no neighbour meanwhile, it tries again.
pub(crate) fn connect(namespace: &Namespace, origin: &Origin, to: &Endpoint) -> Result<Connection> {
    let window = Deadline::exactly(traffic::silence());
    let failed = |error| Error::kernel(format!("connecting to {to}"), namespace.name(), error);
    let mut lost = Lost::default();
    loop {
        let opened = namespace.run(|| origin.open(Type::STREAM, to.address()))?;
        let (socket, address) = match opened {
            Ok(opened) => opened,
            Err(error) => return traffic::not_opened(error).map(Connection::Not).map_err(failed),
        };
        // A reset instead of a farewell: no TIME_WAIT, so that the same source port can be used again.
        socket.set_linger(Some(Duration::ZERO)).map_err(failed)?;
        match attempt(&socket, address, window) {
            // Asked from the port that it asks for, a socket connects to itself.
            Ok(true) if socket.local_addr().and_then(|own| Ok(own == socket.peer_addr()?)).unwrap_or(false) => {
                return Ok(Connection::Not(Heard::Refused.into()));
            }
            Ok(true) => return Ok(Connection::Made(socket)),
            Ok(false) => {
                return Ok(Connection::Not(Outcome { heard: Heard::TimedOut, note: lost.note() }));
            }
            Err(error) => match why(namespace, &socket, error).map_err(failed)? {
                Some(outcome) => return Ok(Connection::Not(outcome)),
                None => lost.without_neighbour += 1,
            },
        }
    }
}

/// Connects once; false: nothing was heard by the deadline.
fn attempt(socket: &Socket, to: SocketAddr, window: Deadline) -> io::Result<bool> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        done => return done.map(|()| true),
    }
    let ready = traffic::wait(socket, PollFlags::POLLOUT, window)?;
    match socket.take_error()? {
        Some(error) => Err(error),
        // An ICMP error that came while `connect` still held the socket is on the queue only.
        None if ready.failed => Err(io::Error::from_raw_os_error(libc::EHOSTUNREACH)),
        None => Ok(ready.readable_or_writable),
    }
}

/// What a failed attempt means; none: this host found no neighbour.
fn why(namespace: &Namespace, socket: &Socket, error: io::Error) -> io::Result<Option<Outcome>> {
    while let Some(late) = traffic::next_error(socket)? {
        match traffic::from_afar(namespace, &late)? {
            traffic::Afar::Neighbour => return Ok(None),
            traffic::Afar::Error(heard) => return Ok(Some(heard.into())),
            traffic::Afar::Local => {}
        }
    }
    Ok(Some(match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => Heard::Refused.into(),
        Some(libc::ECONNRESET) => Heard::Reset.into(),
        Some(libc::ETIMEDOUT) => Heard::TimedOut.into(),
        _ => return traffic::local_error(error).map(Some),
    }))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        Seen, Target,
        probe::testing::{look, pair, routed},
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// A port is open, closed, or nobody's; the same source port can be used again at once.
    #[test]
    fn open_closed_and_nobodys() {
        let (a, b) = pair();
        let _server = b.serve_http((TWO, 80)).unwrap();
        for _ in 0..3 {
            let outcome = look(&a.tcp_to((TWO, 80)).from_port(4000));
            assert!(matches!(outcome.seen(), Heard::Connected { local: "10.0.0.1" }), "{outcome}");
        }
        let outcome = look(&a.tcp_to((TWO, 81)));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
        let outcome = look(&a.tcp_to((Ipv4Addr::new(10, 0, 0, 3), 80)));
        assert!(matches!(outcome.seen(), Heard::TimedOut), "{outcome}");
        assert!(outcome.to_string().contains("no neighbour"), "{outcome}");
        let outcome = look(&a.tcp_to((Ipv4Addr::new(192, 0, 2, 1), 80)));
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "ENETUNREACH", .. }), "{outcome}");
    }

    /// A socket that asks for the port that it asks from would connect to itself: nobody listens there.
    #[test]
    fn nobody_is_connected_to_oneself() {
        let (a, _b) = pair();
        let outcome = look(&a.tcp_to((Ipv4Addr::new(10, 0, 0, 1), 5000)).from_port(5000));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
    }

    /// That a target is silent which does not have its address proves nothing.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2], said to be 10.0.0.3
    #[test]
    fn silence_of_who_is_not_there_proves_nothing() {
        let (a, b) = pair();
        a.set_sysctl("net.ipv4.ip_nonlocal_bind", "1").unwrap();
        b.set_sysctl("net.ipv4.ip_nonlocal_bind", "1").unwrap();
        let there = |host| Target {
            address: Ipv4Addr::new(10, 0, 0, host).into(),
            label: "b".into(),
            namespace: Some(b.clone()),
        };
        let is_unproven = |probe: &dyn Fn() -> Result<Option<String>>| {
            probe().unwrap().is_some_and(|why| why == "b does not have 10.0.0.3")
        };
        let (tcp, udp) = (a.tcp_to((there(3), 80)), a.udp_to((there(3), 80)));
        let (http, dns) = (a.http((there(3), 80)), a.lookup("x.test").server(there(3)));
        assert!(is_unproven(&|| tcp.control(&look(&tcp), &|_| true)));
        assert!(is_unproven(&|| udp.control(&look(&udp), &|_| true)));
        assert!(is_unproven(&|| http.control(&look(&http), &|_| true)));
        assert!(is_unproven(&|| dns.control(&look(&dns), &|_| true)));
        let refused = a.tcp_to((there(2), 80));
        assert_eq!(refused.control(&look(&refused), &|_| true).unwrap(), None);
        crate::probe::testing::drop_all(&b);
        assert!(matches!(look(&refused).seen(), Heard::TimedOut));
        assert_eq!(refused.control(&look(&refused), &|_| true).unwrap(), None);
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2], which has an unreachable route to 10.9.0.0/16
    #[test]
    fn a_router_that_refuses_is_named() {
        let (a, _b) = routed();
        let outcome = look(&a.tcp_to((Ipv4Addr::new(10, 9, 0, 1), 80)));
        assert!(
            matches!(outcome.seen(), Heard::Unreachable { from: "10.0.0.2", code: "host-unreachable", .. }),
            "{outcome}"
        );
    }
}
