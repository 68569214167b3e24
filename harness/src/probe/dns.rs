//! Name resolution.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};

use crate::{
    Deadline, Error, Namespace, Result, Target,
    probe::{
        Carries, Journey, Probe, Watch,
        endpoint::{Endpoint, Origin, Tool, from_where},
        outcome::{Heard, Outcome},
        traffic::{self, Again},
        udp::Exchange,
    },
};

impl Namespace {
    /// A question for a name's address, put to a server: `node.lookup("example.test").server(ip)`. Equivalent to `dig`.
    pub fn lookup(&self, name: impl Into<String>) -> Unasked {
        Unasked { namespace: self.clone(), name: name.into() }
    }
}

/// A question that lacks its server; made by [`Namespace::lookup`].
#[derive(Clone, Debug)]
#[must_use = "say which server to ask with `server`"]
pub struct Unasked {
    namespace: Namespace,
    name: String,
}

impl Unasked {
    /// The server to ask, at port 53.
    pub fn server(self, server: impl Into<Target>) -> Lookup {
        let Self { namespace, name } = self;
        Lookup { namespace, name, server: (server, 53).into(), kind: TYPE::A, origin: Origin::default() }
    }
}

/// One DNS question; made by [`Namespace::lookup`]. Yields [`Heard::Address`], [`Heard::NoSuchName`], [`Heard::Rcode`],
/// [`Heard::Malformed`], [`Heard::NoAnswer`], [`Heard::Refused`] (no server there), [`Heard::Unreachable`] or [`Heard::LocalError`].
#[derive(Clone, Debug)]
#[must_use = "a question is asked by `look` or `expect!`"]
pub struct Lookup {
    namespace: Namespace,
    name: String,
    server: Endpoint,
    kind: TYPE,
    origin: Origin,
}

from_where!(Lookup, port);

impl Lookup {
    /// Asks at another port than 53.
    pub fn port(mut self, port: u16) -> Self {
        self.server.port = port;
        self
    }

    /// Asks for an IPv6 address (AAAA) instead of an IPv4 one (A).
    pub fn v6(mut self) -> Self {
        self.kind = TYPE::AAAA;
        self
    }
}

impl Probe for Lookup {
    type Output = Outcome;

    fn describe(&self) -> String {
        let (name, kind) = (&self.name, if self.kind == TYPE::A { "A" } else { "AAAA" });
        let port = if self.server.port == 53 { String::new() } else { format!(" -p {}", self.server.port) };
        let server = self.server.target.address;
        let (options, said) = self.origin.typed(Tool::Dig, server.is_ipv6());
        format!("{}: dig{options}{port} @{server} {name} {kind}{said}", self.namespace.name())
    }

    fn look(&self, _: Deadline) -> Result<Outcome> {
        let id = traffic::fresh_token() as u16;
        let wrong = |error| Error::Usage(format!("`{}` is no name to look up: {error}", self.name));
        let question = self.question(id).map_err(wrong)?;
        let exchange = Exchange { namespace: &self.namespace, origin: &self.origin, to: &self.server };
        // As a resolver does, which does not hear what comes from elsewhere.
        exchange.run(&question, Heard::NoAnswer, |from, answer| {
            Ok(if exchange.is_asked(from)? { read_answer(id, self.kind, answer) } else { None })
        })
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Again::from(&self.namespace))
    }

    fn concerned(&self) -> Vec<Namespace> {
        std::iter::once(&self.namespace).chain(&self.server.target.namespace).cloned().collect()
    }

    fn last_word(&self, seen: &Outcome) -> bool {
        seen.answered()
    }

    fn came_back(&self, seen: &Outcome) -> Option<bool> {
        seen.came_back()
    }

    fn control<M>(&self, seen: &Outcome, _matches: &M) -> Result<Option<String>> {
        traffic::why_absent(&self.server.target, seen)
    }

    fn journey(&self) -> Option<Journey> {
        Some(self.origin.journey(&self.namespace, &self.server.target, Carries::Udp(self.server.port)))
    }
}

impl Lookup {
    fn question(&self, id: u16) -> simple_dns::Result<Vec<u8>> {
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(&self.name)?;
        packet.questions.push(Question::new(name, QTYPE::TYPE(self.kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec()
    }
}

fn read_answer(id: u16, kind: TYPE, bytes: &[u8]) -> Option<Heard<String>> {
    // What nobody can read is an answer all the same.
    let Ok(packet) = Packet::parse(bytes) else { return Some(Heard::Malformed) };
    // Late, and to an earlier question.
    if packet.id() != id {
        return None;
    }
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Some(Heard::Malformed);
    }
    let address = packet.answers.iter().find_map(|record| match &record.rdata {
        RData::A(a) if kind == TYPE::A => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) if kind == TYPE::AAAA => Some(IpAddr::from(Ipv6Addr::from(aaaa.address))),
        _ => None,
    });
    Some(match (packet.rcode(), address) {
        (RCODE::NoError, Some(address)) => Heard::Address(address.to_string()),
        (RCODE::NoError | RCODE::NameError, _) => Heard::NoSuchName,
        (RCODE::ServerFailure, _) => Heard::Rcode("SERVFAIL".into()),
        (RCODE::Refused, _) => Heard::Rcode("REFUSED".into()),
        (other, _) => Heard::Rcode(format!("{other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteType;

    use super::*;
    use crate::{
        Seen,
        probe::testing::{look, no_way, pair},
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// A server knows its names, in any case, by the asked-for IP version, and no others.
    #[test]
    fn a_name_has_its_address_and_others_have_none() {
        let (a, b) = pair();
        let names: [(&str, IpAddr); 2] =
            [("example.test", Ipv4Addr::new(192, 0, 2, 7).into()), ("example.test", "2001:db8::7".parse().unwrap())];
        let server = b.serve_dns((TWO, 53), names).unwrap();
        let outcome = look(&a.lookup("Example.test").server(TWO));
        assert!(matches!(outcome.seen(), Heard::Address("192.0.2.7")), "{outcome}");
        let outcome = look(&a.lookup("example.test").server(TWO).v6());
        assert!(matches!(outcome.seen(), Heard::Address("2001:db8::7")), "{outcome}");
        let outcome = look(&a.lookup("other.test").server(TWO));
        assert!(matches!(outcome.seen(), Heard::NoSuchName), "{outcome}");
        assert_eq!(server.requests(), 3);
        let outcome = look(&a.lookup("example.test").server(TWO).port(54));
        assert!(matches!(outcome.seen(), Heard::Refused), "{outcome}");
        let outcome = look(&a.lookup("example.test").server(Ipv4Addr::new(10, 0, 0, 3)));
        assert!(matches!(outcome.seen(), Heard::NoAnswer), "{outcome}");
    }

    /// What a server says that nobody can read is no silence.
    #[test]
    fn nonsense_is_an_answer() {
        let (a, b) = pair();
        let socket = b.run(|| std::net::UdpSocket::bind((TWO, 53)).unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let (_, client) = socket.recv_from(&mut [0; 512]).unwrap();
            socket.send_to(b"nonsense", client).unwrap();
        });
        let outcome = look(&a.lookup("example.test").server(TWO));
        assert!(matches!(outcome.seen(), Heard::Malformed), "{outcome}");
        server.join().unwrap();
    }

    /// A server that is there and mute does not answer.
    #[test]
    fn a_mute_server_is_no_answer() {
        let (a, b) = pair();
        let _mute = b.run(|| std::net::UdpSocket::bind((TWO, 53)).unwrap()).unwrap();
        let outcome = look(&a.lookup("example.test").server(TWO));
        assert!(matches!(outcome.seen(), Heard::NoAnswer), "{outcome}");
        no_way(&a, Ipv4Addr::new(192, 0, 0, 0), RouteType::BlackHole);
        let outcome = look(&a.lookup("example.test").server(Ipv4Addr::new(192, 0, 2, 1)));
        assert!(matches!(outcome.seen(), Heard::LocalError { name: "EINVAL", .. }), "{outcome}");
    }
}
