//! The expressions of one rule.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Match, Passing};
use crate::Carries;

/// Whether all of the rule's expressions hold.
pub(super) fn matches(rule: &str, packet: &Passing) -> Match {
    // Which of its verdicts it is depends on more than is known here.
    if rule.contains(" vmap ") {
        return Match::Perhaps;
    }
    let mut words = Words::of(rule);
    let mut all = Match::Yes;
    while let Some(word) = words.next() {
        let one = match word {
            "iifname" => words.compare(|value| name_is(value, packet.iif.as_deref())),
            "oifname" => words.compare(|value| name_is(value, packet.oif.as_deref())),
            "ip" | "ip6" => words.address(packet, word == "ip6"),
            "tcp" | "udp" => words.port(packet, word),
            "icmp" | "icmpv6" => words.icmp(packet, word == "icmpv6"),
            "meta" => words.meta(packet),
            "ct" => words.connection(packet),
            // A remark: what is not known in it is told by its words.
            "#" => Match::Yes,
            "xt" => match words.next() {
                Some("DNAT") => return all,
                Some("comment") => Match::Yes,
                Some("addrtype") => words.addrtype(packet),
                _ => Match::Perhaps,
            },
            "counter" => words.counter(),
            "accept" | "drop" | "return" | "continue" => Match::Yes,
            "fib" => words.local(packet),
            "reject" | "dnat" | "snat" | "masquerade" => return all,
            "jump" | "goto" | "comment" => {
                words.next();
                Match::Yes
            }
            _ => Match::Perhaps,
        };
        let one = if packet.asks { of_question(word, one, packet) } else { one };
        match (all, one) {
            (_, Match::No) => return Match::No,
            (Match::Yes, Match::Perhaps) => all = Match::Perhaps,
            _ => {}
        }
    }
    all
}

/// A rule's words; a set in braces is one.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn of(rule: &'a str) -> Self {
        Self { rest: rule }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let end = match self.rest.chars().next()? {
            '{' => self.rest.find('}').map_or(self.rest.len(), |end| end + 1),
            '"' => self.rest[1..].find('"').map_or(self.rest.len(), |end| end + 2),
            _ => self.rest.find(char::is_whitespace).unwrap_or(self.rest.len()),
        };
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }

    /// The value that comes next, or any of its set, with `!=` before it or without.
    fn compare(&mut self, is: impl Fn(&str) -> Match) -> Match {
        let mut word = self.next().unwrap_or_default();
        let not = word == "!=";
        if not || word == "==" {
            word = self.next().unwrap_or_default();
        }
        let any = |values: &mut dyn Iterator<Item = &str>| {
            let mut found = Match::No;
            for value in values {
                match is(value.trim()) {
                    Match::Yes => return Match::Yes,
                    Match::Perhaps => found = Match::Perhaps,
                    Match::No => {}
                }
            }
            found
        };
        let found = any(&mut word.trim_matches(['{', '}']).split(','));
        match (not, found) {
            (true, Match::Yes) => Match::No,
            (true, Match::No) => Match::Yes,
            (_, found) => found,
        }
    }

    fn address(&mut self, packet: &Passing, v6: bool) -> Match {
        let field = self.next().unwrap_or_default();
        let right_version = packet.target.to.is_ipv6() == v6;
        let address = match field {
            "saddr" => packet.from,
            "daddr" => Some(packet.target.to),
            "protocol" | "nexthdr" => return self.compare(|value| protocol_is(value, packet)),
            _ => {
                self.next();
                return Match::Perhaps;
            }
        };
        let found = self.compare(|value| match (value.parse::<IpNet>(), value.parse::<IpAddr>(), address) {
            (Ok(net), _, Some(address)) => certain(net.contains(&address)),
            (_, Ok(one), Some(address)) => certain(one == address),
            _ => Match::Perhaps,
        });
        if right_version { found } else { Match::No }
    }

    fn port(&mut self, packet: &Passing, protocol: &str) -> Match {
        let field = self.next().unwrap_or_default();
        let port = match (packet.target.carries, protocol) {
            (Carries::Tcp(port), "tcp") | (Carries::Udp(port), "udp") => port,
            _ => {
                self.compare(|_| Match::No);
                return Match::No;
            }
        };
        // An answer comes from the port that was asked; the client's is any.
        let known = if packet.answer { "sport" } else { "dport" };
        let found = self.compare(|value| match value.split_once('-') {
            _ if field != known => Match::Perhaps,
            Some((low, high)) => match (low.parse::<u16>(), high.parse::<u16>()) {
                (Ok(low), Ok(high)) => certain((low..=high).contains(&port)),
                _ => Match::Perhaps,
            },
            None => value.parse().map_or(Match::Perhaps, |value: u16| certain(value == port)),
        });
        if field == known { found } else { Match::Perhaps }
    }

    fn icmp(&mut self, packet: &Passing, v6: bool) -> Match {
        let field = self.next().unwrap_or_default();
        let kind = if packet.answer { "echo-reply" } else { "echo-request" };
        let found = self.compare(|value| if field == "type" { certain(value == kind) } else { Match::Perhaps });
        if packet.target.carries == Carries::Echo && packet.target.to.is_ipv6() == v6 { found } else { Match::No }
    }

    fn meta(&mut self, packet: &Passing) -> Match {
        match self.next().unwrap_or_default() {
            "l4proto" => self.compare(|value| protocol_is(value, packet)),
            "nfproto" => self.compare(|value| certain((value == "ipv6") == packet.target.to.is_ipv6())),
            "iifname" => self.compare(|value| name_is(value, packet.iif.as_deref())),
            "oifname" => self.compare(|value| name_is(value, packet.oif.as_deref())),
            _ if self.sets() => Match::Yes,
            _ => {
                self.compare(|_| Match::Perhaps);
                Match::Perhaps
            }
        }
    }

    /// `set ct mark | 0x00001000`, which lets every packet go on.
    fn sets(&mut self) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix("set ") else { return false };
        self.rest = rest;
        if matches!(self.next(), Some("meta" | "ct")) {
            self.next();
        }
        while self.rest.trim_start().starts_with(['|', '&', '^']) {
            self.next();
            self.next();
        }
        true
    }

    fn connection(&mut self, packet: &Passing) -> Match {
        match self.next().unwrap_or_default() {
            "state" => {
                let state = if packet.answer { "established" } else { "new" };
                self.compare(|value| if packet.tracked { certain(value == state) } else { Match::Perhaps })
            }
            "status" => self.compare(|value| match value {
                "dnat" if packet.tracked => certain(packet.translated),
                _ => Match::Perhaps,
            }),
            _ if self.sets() => Match::Yes,
            _ => {
                self.compare(|_| Match::Perhaps);
                Match::Perhaps
            }
        }
    }

    /// `fib daddr type local`
    fn local(&mut self, packet: &Passing) -> Match {
        let what = self.next().unwrap_or_default();
        while !matches!(self.next(), Some("type") | None) {}
        let found = self.compare(|value| if value == "local" { certain(packet.target.local) } else { Match::Perhaps });
        if what == "daddr" { found } else { Match::Perhaps }
    }

    /// `addrtype dst-type local`, of iptables
    fn addrtype(&mut self, packet: &Passing) -> Match {
        if !self.rest.trim_start().starts_with("dst-type ") {
            return Match::Perhaps;
        }
        self.next();
        self.compare(|value| if value == "local" { certain(packet.target.local) } else { Match::Perhaps })
    }

    /// `counter packets 3 bytes 252`, or `counter` alone.
    fn counter(&mut self) -> Match {
        if self.rest.trim_start().starts_with("packets") {
            for _ in ["packets", "3", "bytes", "252"] {
                self.next();
            }
        }
        Match::Yes
    }
}

/// What an expression about the packet says of the question for its next hop, which is ARP or a neighbour solicitation: ARP
/// has none of the headers.
fn of_question(word: &str, of_packet: Match, packet: &Passing) -> Match {
    match word {
        "tcp" | "udp" | "ip" | "icmp" => Match::No,
        "ip6" | "icmpv6" if packet.target.to.is_ipv4() => Match::No,
        "ip6" | "icmpv6" | "meta" | "fib" | "ct" => Match::Perhaps,
        _ => of_packet,
    }
}

fn certain(yes: bool) -> Match {
    if yes { Match::Yes } else { Match::No }
}

fn name_is(pattern: &str, name: Option<&str>) -> Match {
    let pattern = pattern.trim_matches('"');
    let Some(name) = name else { return Match::No };
    match pattern.strip_suffix('*') {
        Some(prefix) => certain(name.starts_with(prefix)),
        None => certain(name == pattern),
    }
}

fn protocol_is(value: &str, packet: &Passing) -> Match {
    let is = match packet.target.carries {
        Carries::Tcp(_) => matches!(value, "tcp" | "6"),
        Carries::Udp(_) => matches!(value, "udp" | "17"),
        Carries::Echo if packet.target.to.is_ipv4() => matches!(value, "icmp" | "1"),
        Carries::Echo => matches!(value, "ipv6-icmp" | "icmpv6" | "58"),
    };
    certain(is)
}
