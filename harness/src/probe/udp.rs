//! UDP, asked and answered.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Socket, Type};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Carries, Journey, Probe, Watch,
        endpoint::{Endpoint, Origin},
        outcome::{Heard, Outcome},
        tcp::from_where,
        traffic::{self, Again, Lost},
    },
};

impl Namespace {
    /// A datagram to a port, and the answer to it: from a [test server](Namespace::serve_udp), or any that echoes.
    pub fn udp_to(&self, to: impl Into<Endpoint>) -> Udp {
        Udp { namespace: self.clone(), to: to.into(), origin: Origin::default(), size: 0 }
    }
}

/// One UDP exchange; made by [`Namespace::udp_to`]. Yields [`Heard::Answer`], [`Heard::Silence`], [`Heard::Refused`],
/// [`Heard::Unreachable`] or [`Heard::LocalError`].
///
/// Its socket is not connected, so that an answer from another address than was asked is seen, with its `from`.
#[derive(Clone, Debug)]
#[must_use = "a datagram is sent by `look` or `expect!`"]
pub struct Udp {
    namespace: Namespace,
    to: Endpoint,
    origin: Origin,
    size: usize,
}

from_where!(Udp);

impl Udp {
    /// The payload's length in bytes, at most 4,000; some 40 without it. An answer is a little longer.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.min(4_000);
        self
    }
}

impl Probe for Udp {
    type Output = Outcome;

    fn describe(&self) -> String {
        let size = if self.size > 0 { format!(" ({} bytes)", self.size) } else { String::new() };
        format!("{}: nc -u{}{}{size}", self.namespace.name(), self.origin, self.to)
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        let request = format!("{:.<size$}", format!("netproof {:x} ", traffic::fresh_token()), size = self.size);
        let exchange = Exchange { namespace: &self.namespace, origin: &self.origin, to: &self.to };
        exchange.run(request.as_bytes(), Heard::Silence, |from, answer| {
            let answer = std::str::from_utf8(answer).ok()?;
            Some(read_answer(from, answer.strip_prefix(&request)?))
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

    fn journey(&self) -> Option<Journey> {
        Some(self.origin.journey(&self.namespace, &self.to.target, Carries::Udp(self.to.port)))
    }
}

/// What a test server adds to what it echoes: ` CLIENT PORT SERVER`.
pub(crate) fn answer_to(request: &[u8], client: SocketAddr, server: &str) -> Vec<u8> {
    let mut answer = request.to_vec();
    answer.extend(format!(" {} {} {server}", client.ip().to_canonical(), client.port()).into_bytes());
    answer
}

fn read_answer(from: IpAddr, rest: &str) -> Heard<String> {
    let mut words = rest.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (client_seen, port, server) = (word(), word(), word());
    Heard::Answer { from: from.to_string(), client_seen, port_seen: port.parse().unwrap_or(0), server }
}

/// A datagram out, and an answer back.
pub(crate) struct Exchange<'a> {
    pub namespace: &'a Namespace,
    pub origin: &'a Origin,
    pub to: &'a Endpoint,
}

impl Exchange<'_> {
    /// Sends, and listens for as long as silence lasts. Where this host finds no neighbour meanwhile, it sends again.
    pub fn run(
        &self,
        request: &[u8],
        silence: Heard<String>,
        accept: impl Fn(IpAddr, &[u8]) -> Option<Heard<String>>,
    ) -> Result<Outcome> {
        let window = Deadline::exactly(traffic::silence());
        let opened = self.namespace.run(|| self.origin.open(Type::DGRAM, self.to.address()))?;
        let (socket, address) = match opened {
            Ok(opened) => opened,
            Err(error) => return traffic::not_opened(error).map_err(|error| self.error(error)),
        };
        let mut lost = Lost::default();
        if let Err(error) = lost.sent(send(&socket, request, address)) {
            return traffic::local_error(error).map_err(|error| self.error(error));
        }
        loop {
            let ready = traffic::wait_readable(&socket, window).map_err(|error| self.error(error))?;
            while let Some((from, answer)) = receive(&socket) {
                if let Some(heard) = accept(from, &answer) {
                    return Ok(heard.into());
                }
            }
            if ready.failed {
                match self.errors(&socket).map_err(|error| self.error(error))? {
                    After::Ends(outcome) => return Ok(outcome),
                    After::Nothing => {}
                    After::Neighbour => {
                        lost.without_neighbour += 1;
                        if let Err(error) = lost.sent(send(&socket, request, address)) {
                            return traffic::local_error(error).map_err(|error| self.error(error));
                        }
                    }
                }
            }
            if window.passed() {
                return Ok(Outcome { heard: silence, note: lost.note() });
            }
        }
    }

    fn errors(&self, socket: &Socket) -> io::Result<After> {
        let mut after = After::Nothing;
        while let Some(late) = traffic::next_error(socket)? {
            match traffic::from_afar(self.namespace, &late)? {
                traffic::Afar::Local => {}
                traffic::Afar::Neighbour => after = After::Neighbour,
                traffic::Afar::Error(heard) => return Ok(After::Ends(self.refused(heard).into())),
            }
        }
        socket.take_error()?;
        Ok(after)
    }

    /// That the target itself has nobody at the port is a refusal; the same word from anyone else is not.
    fn refused(&self, heard: Heard<String>) -> Heard<String> {
        let target = self.to.target.address.to_string();
        match &heard {
            Heard::Unreachable { from, code, .. } if *from == target && code == "port-unreachable" => Heard::Refused,
            _ => heard,
        }
    }

    fn error(&self, error: io::Error) -> Error {
        Error::kernel(format!("sending a datagram to {}", self.to), self.namespace.name(), error)
    }
}

/// What the error queue means for an exchange.
enum After {
    Nothing,
    Neighbour,
    Ends(Outcome),
}

fn send(socket: &Socket, request: &[u8], to: SocketAddr) -> io::Result<usize> {
    socket.take_error()?;
    socket.send_to(request, &to.into())
}

/// The next datagram. Errors are on the error queue too, and are read there.
fn receive(socket: &Socket) -> Option<(IpAddr, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    let (length, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer).ok()?;
    buffer.truncate(length);
    let from = from?;
    let v4 = from.as_sockaddr_in().map(|from| IpAddr::from(from.ip()));
    let from = v4.or_else(|| from.as_sockaddr_in6().map(|from| from.ip().into()))?;
    Some((from.to_canonical(), buffer))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        Seen,
        probe::testing::{look, pair, routed},
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// A server tells whom it saw; a port without one refuses; an address without a host is silent.
    #[test]
    fn the_server_tells_whom_it_saw() {
        let (a, b) = pair();
        let server = b.serve_udp((TWO, 7000)).unwrap();
        let outcome = look(&a.udp_to((TWO, 7000)).from_port(5353));
        assert!(
            matches!(
                outcome.seen(),
                Heard::Answer { from: "10.0.0.2", client_seen: "10.0.0.1", port_seen: 5353, server: "b" }
            ),
            "{outcome}"
        );
        assert_eq!(server.clients(), ["10.0.0.1:5353".parse().unwrap()]);
        let outcome = look(&a.udp_to((TWO, 7001)));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
        let outcome = look(&a.udp_to((Ipv4Addr::new(10, 0, 0, 3), 7000)));
        assert!(matches!(outcome.seen(), Heard::Silence), "{outcome}");
    }

    /// The same over IPv6.
    #[test]
    fn the_server_tells_whom_it_saw_v6() {
        let (a, b) = pair();
        let two: IpAddr = "fd00::2".parse().unwrap();
        let _server = b.serve_udp((two, 7000)).unwrap();
        let outcome = look(&a.udp_to((two, 7000)));
        assert!(matches!(outcome.seen(), Heard::Answer { client_seen: "fd00::1", server: "b", .. }), "{outcome}");
        let outcome = look(&a.udp_to((two, 7001)));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2], which has an unreachable route to 10.9.0.0/16
    #[test]
    fn a_router_that_refuses_is_named() {
        let (a, _b) = routed();
        let outcome = look(&a.udp_to((Ipv4Addr::new(10, 9, 0, 1), 7000)));
        assert!(
            matches!(outcome.seen(), Heard::Unreachable { from: "10.0.0.2", code: "host-unreachable", .. }),
            "{outcome}"
        );
    }
}
