//! nft text to expressions.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    attribute::{attribute, nest, number, string},
    numbers::{self, FIELDS, Field, Needs},
};
use crate::{Mac, firewall::Family};

/// A rule's expressions, each a netlink attribute, and its comment.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub expressions: Vec<Vec<u8>>,
    pub comment: Option<String>,
}

/// Encodes a rule. An error says which word it stumbles over.
pub(crate) fn rule(family: Family, text: &str) -> Result<Encoded, String> {
    let words = words(text)?;
    let mut encoder = Encoder { family, words: &words, place: 0, out: Encoded::default(), known: Vec::new() };
    while encoder.place < words.len() {
        encoder.statement()?;
    }
    Ok(encoder.out)
}

/// Words, with quoted ones whole.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| format!("a quote in `{text}` has no end"))?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

struct Encoder<'a> {
    family: Family,
    words: &'a [String],
    place: usize,
    out: Encoded,
    /// What has been made sure of already.
    known: Vec<Needs>,
}

type Encoding = Result<(), String>;

impl Encoder<'_> {
    fn next(&mut self) -> Result<String, String> {
        let word = self.words.get(self.place).cloned();
        self.place += 1;
        word.ok_or_else(|| format!("`{}` ends too early", self.words.join(" ")))
    }

    /// Takes `!=`, where it is next.
    fn negated(&mut self) -> bool {
        let negated = self.words.get(self.place).is_some_and(|word| word == "!=");
        self.place += usize::from(negated || self.words.get(self.place).is_some_and(|word| word == "=="));
        negated
    }

    fn unknown(&self, word: &str) -> String {
        format!("`{word}` in `{}` is not understood", self.words.join(" "))
    }

    fn statement(&mut self) -> Encoding {
        if let Some(field) = self.field() {
            return self.payload(field);
        }
        let word = self.next()?;
        match word.as_str() {
            "iifname" | "oifname" | "ibrname" | "obrname" => self.device(&word),
            "meta" => self.meta(),
            "ct" => self.conntrack(),
            "fib" => self.fib(),
            "counter" => self.push("counter", vec![attribute(1, &[0; 8]), attribute(2, &[0; 8])]),
            "masquerade" => self.push("masq", vec![]),
            "accept" => self.verdict(1, None),
            "drop" => self.verdict(0, None),
            "return" => self.verdict(-5, None),
            "jump" | "goto" => {
                let chain = self.next()?;
                self.verdict(if word == "jump" { -3 } else { -4 }, Some(&chain))
            }
            "reject" => {
                self.push("reject", vec![number(1, if self.family == Family::Ip { 0 } else { 2 }), attribute(2, &[1])])
            }
            "dnat" | "snat" => self.translate(word == "dnat"),
            "comment" => {
                self.out.comment = Some(self.next()?);
                Ok(())
            }
            _ => Err(self.unknown(&word)),
        }
    }

    /// The header field that the next words name, if they do.
    fn field(&mut self) -> Option<&'static Field> {
        let rest = &self.words[self.place..];
        let named = |field: &&Field| {
            let words: Vec<&str> = field.text.split(' ').collect();
            rest.len() > words.len() && words.iter().zip(rest).all(|(word, found)| word == found)
        };
        let field = FIELDS.iter().filter(named).max_by_key(|field| field.text.len())?;
        self.place += field.text.split(' ').count();
        Some(field)
    }

    fn payload(&mut self, field: &'static Field) -> Encoding {
        if let Some(needs) = field.needs {
            self.make_sure(needs)?;
        }
        let negated = self.negated();
        let word = self.next()?;
        self.push(
            "payload",
            vec![number(1, 1), number(2, field.base), number(3, field.offset), number(4, field.length)],
        )?;
        let value = match field.text {
            "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr" | "arp saddr ip" | "nd taddr" => {
                return self.address(&word, negated);
            }
            "ether type" => numbers::of(numbers::ETHERTYPES, &word).map(|number| number.to_be_bytes().to_vec()),
            "icmpv6 type" => numbers::of(numbers::ICMPV6, &word).map(|number| vec![number]),
            text if text.starts_with("ether") || text == "arp saddr ether" => {
                word.parse().ok().map(|mac: Mac| mac.0.to_vec())
            }
            _ => word.parse().ok().map(|port: u16| port.to_be_bytes().to_vec()),
        };
        let value = value.ok_or_else(|| self.unknown(&word))?;
        self.compare(negated, &value)
    }

    /// What `nft` adds by itself: a field is only there in packets of its protocol.
    fn make_sure(&mut self, needs: Needs) -> Encoding {
        let implied = match needs {
            Needs::Version(2) => self.family == Family::Ip,
            Needs::Version(_) => self.family == Family::Ip6,
            _ => false,
        };
        if implied || self.known.contains(&needs) {
            return Ok(());
        }
        self.known.push(needs);
        let (key, value) = match needs {
            Needs::Version(version) if self.family == Family::Bridge => {
                ("protocol", if version == 2 { 0x0800_u16 } else { 0x86dd }.to_be_bytes().to_vec())
            }
            Needs::Version(version) => ("nfproto", vec![version]),
            Needs::Protocol(protocol) => ("l4proto", vec![protocol]),
            Needs::Ethertype(ethertype) => ("protocol", ethertype.to_be_bytes().to_vec()),
        };
        self.load_meta(key)?;
        self.compare(false, &value)
    }

    fn address(&mut self, word: &str, negated: bool) -> Encoding {
        let parsed = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
        let net = parsed.map_err(|_| self.unknown(word))?;
        let bytes = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        if net.prefix_len() < net.max_prefix_len() {
            self.mask(&bytes(net.netmask()))?;
        }
        self.compare(negated, &bytes(net.network()))
    }

    fn device(&mut self, key: &str) -> Encoding {
        let negated = self.negated();
        let name = self.next()?;
        self.load_meta(key)?;
        match name.strip_suffix('*') {
            Some(start) => self.compare(negated, start.as_bytes()),
            None => {
                let mut padded = name.into_bytes();
                padded.resize(16, 0);
                self.compare(negated, &padded)
            }
        }
    }

    fn meta(&mut self) -> Encoding {
        let key = self.next()?;
        if key == "mark" && self.words.get(self.place).is_some_and(|word| word == "set") {
            self.place += 1;
            let mark = self.whole()?;
            self.push("immediate", vec![number(1, 1), data(2, &mark.to_ne_bytes())])?;
            return self.push("meta", vec![number(2, 3), number(3, 1)]);
        }
        let negated = self.negated();
        let word = self.next()?;
        let value = match key.as_str() {
            "l4proto" => numbers::of(numbers::PROTOCOLS, &word).map(|number| vec![number]),
            "nfproto" => numbers::of(numbers::VERSIONS, &word).map(|number| vec![number]),
            "pkttype" => numbers::of(numbers::PACKET_TYPES, &word).map(|number| vec![number]),
            "protocol" => numbers::of(numbers::ETHERTYPES, &word).map(|number| number.to_be_bytes().to_vec()),
            "mark" => parse_whole(&word).map(|mark| mark.to_ne_bytes().to_vec()),
            _ => None,
        };
        let value = value.ok_or_else(|| self.unknown(&word))?;
        self.load_meta(&key)?;
        self.compare(negated, &value)?;
        match (key.as_str(), negated, value.as_slice()) {
            ("l4proto", false, [protocol]) => self.known.push(Needs::Protocol(*protocol)),
            ("nfproto", false, [version]) => self.known.push(Needs::Version(*version)),
            _ => {}
        }
        Ok(())
    }

    fn conntrack(&mut self) -> Encoding {
        let key = self.next()?;
        let negated = self.negated();
        let listed = self.next()?;
        let (code, names) = match key.as_str() {
            "state" => (0, numbers::STATES),
            "status" => (2, numbers::STATUSES),
            _ => return Err(self.unknown(&key)),
        };
        let mut bits = 0;
        for word in listed.split(',') {
            bits |= numbers::of(names, word).ok_or_else(|| self.unknown(word))?;
        }
        self.push("ct", vec![number(2, code), number(1, 1)])?;
        self.mask(&bits.to_ne_bytes())?;
        // Any of the bits: what is left is not zero.
        self.compare(!negated, &[0; 4])
    }

    fn fib(&mut self) -> Encoding {
        let flags = match self.next()?.as_str() {
            "saddr" => 1,
            "daddr" => 2,
            other => return Err(self.unknown(other)),
        };
        let kind = self.next()?;
        if kind != "type" {
            return Err(self.unknown(&kind));
        }
        let negated = self.negated();
        let word = self.next()?;
        let value = numbers::of(numbers::ADDRESS_TYPES, &word).ok_or_else(|| self.unknown(&word))?;
        self.push("fib", vec![number(1, 1), number(2, 3), number(3, flags)])?;
        self.compare(negated, &value.to_ne_bytes())
    }

    /// `dnat to 10.20.30.41:80`, `dnat ip6 to [fd00::1]:80`
    fn translate(&mut self, destination: bool) -> Encoding {
        let mut word = self.next()?;
        if word == "ip" || word == "ip6" {
            word = self.next()?;
        }
        if word != "to" {
            return Err(self.unknown(&word));
        }
        let target = self.next()?;
        let socket = target.parse::<std::net::SocketAddr>().map(|socket| (socket.ip(), Some(socket.port())));
        let (address, port) =
            socket.or_else(|_| target.parse().map(|ip| (ip, None))).map_err(|_| self.unknown(&target))?;
        let (family, bytes) = match address {
            IpAddr::V4(address) => (2, address.octets().to_vec()),
            IpAddr::V6(address) => (10, address.octets().to_vec()),
        };
        self.make_sure(Needs::Version(family))?;
        self.push("immediate", vec![number(1, 1), data(2, &bytes)])?;
        let mut parts = vec![number(1, u32::from(destination)), number(2, family.into()), number(3, 1)];
        if let Some(port) = port {
            self.push("immediate", vec![number(1, 2), data(2, &port.to_be_bytes())])?;
            parts.push(number(5, 2));
        }
        self.push("nat", parts)
    }

    fn load_meta(&mut self, key: &str) -> Encoding {
        let code = numbers::of(numbers::META, key).ok_or_else(|| self.unknown(key))?;
        self.push("meta", vec![number(2, code), number(1, 1)])
    }

    fn mask(&mut self, mask: &[u8]) -> Encoding {
        let length = mask.len() as u32;
        self.push(
            "bitwise",
            vec![number(1, 1), number(2, 1), number(3, length), data(4, mask), data(5, &vec![0; mask.len()])],
        )
    }

    fn compare(&mut self, negated: bool, value: &[u8]) -> Encoding {
        self.push("cmp", vec![number(1, 1), number(2, negated.into()), data(3, value)])
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) -> Encoding {
        let code = number(1, code as u32);
        let parts = [code].into_iter().chain(chain.map(|chain| string(2, chain)));
        let verdict = nest(2, [nest(2, parts)]);
        self.push("immediate", vec![number(1, 0), verdict])
    }

    fn whole(&mut self) -> Result<u32, String> {
        let word = self.next()?;
        parse_whole(&word).ok_or_else(|| self.unknown(&word))
    }

    fn push(&mut self, name: &str, attributes: Vec<Vec<u8>>) -> Encoding {
        // NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }
        self.out.expressions.push(nest(1, [string(1, name), nest(2, attributes)]));
        Ok(())
    }
}

/// A value, as `NFTA_DATA_VALUE` within an attribute.
fn data(kind: u16, value: &[u8]) -> Vec<u8> {
    nest(kind, [attribute(1, value)])
}

fn parse_whole(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}
