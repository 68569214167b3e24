//! UDP, asked and answered.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Socket, Type};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Carries, Journey, Probe, Watch,
        endpoint::{Endpoint, Origin, Tool, from_where},
        outcome::{Heard, Outcome},
        traffic::{self, Again, Lost},
    },
    state::Question,
};

impl Namespace {
    /// A datagram to a port, and the answer to it: from a [test server](Namespace::serve_udp), or any other.
    ///
    /// ```no_run
    /// # let lab = netproof::Lab::of("gateway")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// netproof::expect!(netns1.udp_to((netns2, 7)).payload("ping"), Answer { payload: "pong", .. });
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn udp_to(&self, to: impl Into<Endpoint>) -> Udp {
        Udp { namespace: self.clone(), to: to.into(), origin: Origin::default(), size: 0, payload: None }
    }
}

/// One UDP exchange; made by [`Namespace::udp_to`]. Yields [`Heard::Answer`], [`Heard::Stray`], [`Heard::Silence`],
/// [`Heard::Refused`], [`Heard::Unreachable`] or [`Heard::LocalError`].
///
/// Its socket is not connected, so that an answer from another address or port than was asked is seen: [`Heard::Stray`]. What
/// is put to a broadcast or multicast address anybody answers.
#[derive(Clone, Debug)]
#[must_use = "a datagram is sent by `look` or `expect!`"]
pub struct Udp {
    namespace: Namespace,
    to: Endpoint,
    origin: Origin,
    size: usize,
    payload: Option<Vec<u8>>,
}

from_where!(Udp, port);

impl Udp {
    /// The payload's length in bytes, at most 4,000; some 40 without it. An answer is a little longer.
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = bytes.min(4_000);
        self
    }

    /// The payload, where it is to say something to a server of another's. Answers are then told apart from those to an
    /// earlier look by the port alone, which is another for each, unless one is fixed.
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payload = Some(bytes.into());
        self
    }
}

impl Probe for Udp {
    type Output = Outcome;

    fn describe(&self) -> String {
        let size = if self.size > 0 { format!(" ({} bytes)", self.size) } else { String::new() };
        let (options, said) = self.origin.typed(Tool::Nc, self.to.address().is_ipv6());
        format!("{}: nc -u{options} {}{said}{size}", self.namespace.name(), self.to.spaced())
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        let exchange = Exchange { namespace: &self.namespace, origin: &self.origin, to: &self.to };
        let ours = || format!("{:.<size$}", format!("{OURS}{:x} ", traffic::fresh_token()), size = self.size);
        let request = self.payload.clone().unwrap_or_else(|| ours().into_bytes());
        exchange.run(&request, Heard::Silence, |from, answer| {
            // The echo of what an earlier look sent is late, and no answer to this one.
            let is_late =
                self.payload.is_none() && answer.starts_with(OURS.as_bytes()) && !answer.starts_with(&request);
            if is_late {
                return Ok(None);
            }
            Ok(Some(match exchange.is_asked(from)? {
                true => read_answer(from.ip(), answer, &request),
                false => Heard::Stray { from: from.to_string(), payload: String::from_utf8_lossy(answer).into_owned() },
            }))
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
        Some(self.origin.journey(&self.namespace, &self.to.target, Carries::Udp(self.to.port)))
    }
}

/// How a datagram begins that says nothing.
const OURS: &str = "netproof ";

/// What a test server adds to what it echoes: ` CLIENT PORT SERVER`.
pub(crate) fn answer_to(request: &[u8], client: SocketAddr, server: &str) -> Vec<u8> {
    let mut answer = request.to_vec();
    answer.extend(format!(" {} {} {server}", client.ip().to_canonical(), client.port()).into_bytes());
    answer
}

fn read_answer(from: IpAddr, answer: &[u8], request: &[u8]) -> Heard<String> {
    // What is no echo of a request is no test server's.
    let added = answer.strip_prefix(request).filter(|_| !request.is_empty()).unwrap_or_default();
    let added = String::from_utf8_lossy(added);
    let payload = String::from_utf8_lossy(answer).into_owned();
    let mut words = added.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (client_seen, port, server) = (word(), word(), word());
    let port_seen = port.parse().unwrap_or(0);
    Heard::Answer { from: from.to_string(), client_seen, port_seen, server, payload }
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
        accept: impl Fn(SocketAddr, &[u8]) -> Result<Option<Heard<String>>>,
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
                if let Some(heard) = accept(from, &answer)? {
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

    /// Whether an answer from here is one to the question; to one that was put to many, anybody's is.
    pub fn is_asked(&self, from: SocketAddr) -> Result<bool> {
        let asked = self.to.address();
        let is_it = from == asked || asked.ip().is_unspecified() && from.port() == asked.port();
        if is_it || asked.ip().is_multicast() || asked.ip() == Ipv4Addr::BROADCAST {
            return Ok(true);
        }
        let route = Question::to(asked.ip()).ask(self.namespace)?;
        Ok(route.is_ok_and(|route| route.kind == "broadcast"))
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
fn receive(socket: &Socket) -> Option<(SocketAddr, Vec<u8>)> {
    let mut buffer = vec![0; 4096];
    let (length, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer).ok()?;
    buffer.truncate(length);
    let from = from?;
    let v4 = from.as_sockaddr_in().map(|from| (IpAddr::from(from.ip()), from.port()));
    let (ip, port) = v4.or_else(|| from.as_sockaddr_in6().map(|from| (from.ip().into(), from.port())))?;
    Some((SocketAddr::new(ip.to_canonical(), port), buffer))
}

#[cfg(test)]
mod tests {
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
                Heard::Answer { from: "10.0.0.2", client_seen: "10.0.0.1", port_seen: 5353, server: "b", .. }
            ),
            "{outcome}"
        );
        assert_eq!(server.clients(), ["10.0.0.1:5353".parse().unwrap()]);
        let outcome = look(&a.udp_to((TWO, 7001)));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
        let outcome = look(&a.udp_to((Ipv4Addr::new(10, 0, 0, 3), 7000)));
        assert!(matches!(outcome.seen(), Heard::Silence), "{outcome}");
    }

    /// A server that does not echo answers all the same, whatever it was sent; the late echo of another look does not.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[rstest::rstest]
    #[case::its_own_words(None, "pong", true)]
    #[case::to_a_request(Some("ping"), "pong", true)]
    #[case::no_text(None, "\u{0}\u{1}", true)]
    #[case::late(None, "netproof 0 10.0.0.1 5353 b", false)]
    fn any_answer_is_one(#[case] asked: Option<&'static str>, #[case] says: &'static str, #[case] is_answer: bool) {
        let (a, b) = pair();
        let socket = b.run(|| std::net::UdpSocket::bind((TWO, 7000)).unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(says.as_bytes(), client).unwrap();
            buffer[..length].to_vec()
        });
        let probe = asked.iter().fold(a.udp_to((TWO, 7000)), |probe, asked| probe.payload(*asked));
        let outcome = look(&probe);
        match outcome.seen() {
            Heard::Answer { from: "10.0.0.2", client_seen: "", server: "", payload, .. } => {
                assert!(is_answer && payload == says, "{outcome}");
            }
            heard => assert!(!is_answer && heard == Heard::Silence, "{outcome}"),
        }
        assert!(asked.is_none_or(|asked| server.join().unwrap() == asked.as_bytes()));
    }

    /// An answer from another address, or another port, is a stray one; what was put to many anybody answers.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn an_answer_from_elsewhere_is_stray() {
        let (a, b) = pair();
        let [asked, other] =
            [7000, 7001].map(|port| b.run(|| std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap()).unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (_, client) = asked.recv_from(&mut [0; 100]).unwrap();
                other.send_to(b"hello", client).unwrap();
            }
        });
        let outcome = look(&a.udp_to((TWO, 7000)));
        assert_eq!(outcome.seen(), Heard::Stray { from: "10.0.0.2:7001", payload: "hello" });
        let outcome = look(&a.lookup("x.test").server(TWO).port(7000));
        assert_eq!(outcome.seen(), Heard::NoAnswer);
        server.join().unwrap();
        let exchange = |to: [u8; 4]| {
            let (origin, to) = (Origin::default(), Endpoint::from((Ipv4Addr::from(to), 7000)));
            Exchange { namespace: &a, origin: &origin, to: &to }.is_asked("10.0.0.2:7001".parse().unwrap()).unwrap()
        };
        assert!([[10, 0, 0, 255], [255; 4], [224, 0, 0, 1]].into_iter().all(exchange));
        // The second would be a broadcast where prefixes are of 24 bits.
        assert!(![[10, 0, 0, 2], [10, 1, 0, 255], [203, 0, 113, 1]].into_iter().any(exchange));
    }

    /// What is put to all of a subnet, anybody there answers.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_broadcast_is_answered() {
        let (a, b) = pair();
        let _server = b.serve_udp((Ipv4Addr::UNSPECIFIED, 7000)).unwrap();
        let outcome = look(&a.udp_to((Ipv4Addr::new(10, 0, 0, 255), 7000)));
        assert!(matches!(outcome.seen(), Heard::Answer { from: "10.0.0.2", client_seen: "10.0.0.1", .. }), "{outcome}");
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
