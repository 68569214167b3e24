//! Expressions to nft text. What is not known is shown as a remark, never left out.

use std::net::{IpAddr, SocketAddr};

use super::{
    attribute::Attributes,
    numbers::{self, FIELDS, Needs},
};
use crate::Mac;

/// A rule's text, without its comment.
pub(crate) fn rule(expressions: &Attributes) -> String {
    let mut decoder = Decoder::default();
    for expression in expressions.all(1) {
        let expression = Attributes::of(expression);
        decoder.expression(&expression.string(1).unwrap_or_default(), &expression.nested(2));
    }
    decoder.words.join(" ")
}

#[derive(Default)]
struct Decoder {
    words: Vec<String>,
    /// What a register was loaded with.
    registers: Vec<(u32, Loaded)>,
}

#[derive(Clone)]
enum Loaded {
    /// A named thing, and a mask over it.
    Key(String, Option<Vec<u8>>),
    /// A constant.
    Value(Vec<u8>),
}

impl Decoder {
    fn expression(&mut self, name: &str, data: &Attributes) {
        match name {
            "meta" if data.number(3).is_some() => self.set_mark(data),
            "meta" => {
                let key = data.number(2).and_then(|key| numbers::word(numbers::META, key)).unwrap_or("?");
                let bare = matches!(key, "iifname" | "oifname" | "ibrname" | "obrname");
                self.load(data.number(1), if bare { key.into() } else { format!("meta {key}") });
            }
            "payload" => self.load(data.number(1), self.payload(data)),
            "ct" => {
                let key = match data.number(2) {
                    Some(0) => "ct state",
                    Some(2) => "ct status",
                    _ => "ct ?",
                };
                self.load(data.number(1), key.into());
            }
            "fib" => {
                let of = if data.number(3) == Some(1) { "saddr" } else { "daddr" };
                self.load(data.number(1), format!("fib {of} type"));
            }
            "bitwise" => self.mask(data),
            "cmp" => self.compare(data),
            "immediate" => self.immediate(data),
            "counter" => {
                let (bytes, packets) = (data.long(1).unwrap_or(0), data.long(2).unwrap_or(0));
                self.words.push(format!("counter packets {packets} bytes {bytes}"));
            }
            "masq" => self.words.push("masquerade".into()),
            "nat" => self.nat(data),
            "reject" => self.words.push("reject".into()),
            "lookup" => self.lookup(data),
            "match" | "target" => self.words.push(format!("# xt {}", data.string(1).unwrap_or_default())),
            other => self.words.push(format!("# expr {other}")),
        }
    }

    /// The field that is loaded; ports are those of the protocol that was made sure of before.
    fn payload(&self, data: &Attributes) -> String {
        let text = payload(data);
        let is_udp = self.words.iter().any(|word| word == "meta l4proto udp" || word.starts_with("udp "));
        match text.strip_prefix("tcp ") {
            Some(field) if is_udp => format!("udp {field}"),
            _ => text,
        }
    }

    fn load(&mut self, register: Option<u32>, key: String) {
        self.registers.push((register.unwrap_or(0), Loaded::Key(key, None)));
    }

    fn loaded(&self, register: Option<u32>) -> Option<Loaded> {
        let found = self.registers.iter().rev().find(|(known, _)| Some(*known) == register);
        found.map(|(_, loaded)| loaded.clone())
    }

    fn mask(&mut self, data: &Attributes) {
        let mask = data.nested(4).bytes(1).map(ToOwned::to_owned);
        if let Some(Loaded::Key(key, _)) = self.loaded(data.number(1)) {
            self.registers.push((data.number(2).unwrap_or(0), Loaded::Key(key, mask)));
        }
    }

    fn compare(&mut self, data: &Attributes) {
        let Some(Loaded::Key(key, mask)) = self.loaded(data.number(1)) else {
            self.words.push("# expr cmp".into());
            return;
        };
        let nested = data.nested(3);
        let value = nested.bytes(1).unwrap_or_default();
        let mut differs = data.number(2) == Some(1);
        let shown = match &mask {
            Some(mask) if key.starts_with("ct ") => {
                // Any of the bits: what is left is compared with zero.
                differs = !differs;
                bits(&key, mask)
            }
            Some(mask) => format!("{}/{}", show(&key, value), mask.iter().map(|byte| byte.count_ones()).sum::<u32>()),
            None => show(&key, value),
        };
        let sign = if differs { "!= " } else { "" };
        self.drop_implied(&key);
        self.words.push(format!("{key} {sign}{shown}"));
    }

    /// Leaves out, as `nft` does, what the field itself implies.
    fn drop_implied(&mut self, key: &str) {
        let Some(needs) = FIELDS.iter().find(|field| field.text == key).and_then(|field| field.needs) else { return };
        let implied = match needs {
            Needs::Version(version) => vec![
                format!("meta nfproto {}", numbers::word(numbers::VERSIONS, version).unwrap_or("?")),
                format!("meta protocol {}", if version == 2 { "ip" } else { "ip6" }),
            ],
            Needs::Protocol(protocol) => {
                vec![format!("meta l4proto {}", numbers::word(numbers::PROTOCOLS, protocol).unwrap_or("?"))]
            }
            Needs::Ethertype(_) => vec!["meta protocol arp".into()],
        };
        if self.words.last().is_some_and(|last| implied.contains(last)) {
            self.words.pop();
        }
    }

    fn immediate(&mut self, data: &Attributes) {
        let content = data.nested(2);
        if let Some(value) = content.bytes(1) {
            self.registers.push((data.number(1).unwrap_or(0), Loaded::Value(value.to_owned())));
            return;
        }
        let verdict = content.nested(2);
        let chain = verdict.string(2).unwrap_or_default();
        self.words.push(match verdict.number(1).map(|code| code as i32) {
            Some(0) => "drop".into(),
            Some(1) => "accept".into(),
            Some(-1) => "continue".into(),
            Some(-3) => format!("jump {chain}"),
            Some(-4) => format!("goto {chain}"),
            Some(-5) => "return".into(),
            other => format!("# verdict {other:?}"),
        });
    }

    fn set_mark(&mut self, data: &Attributes) {
        let value = match self.loaded(data.number(3)) {
            Some(Loaded::Value(value)) => show("meta mark", &value),
            _ => "?".into(),
        };
        self.words.push(format!("meta mark set {value}"));
    }

    fn nat(&mut self, data: &Attributes) {
        let value = |register| match self.loaded(data.number(register)) {
            Some(Loaded::Value(value)) => Some(value),
            _ => None,
        };
        let address = value(3).and_then(|bytes| ip(&bytes));
        let port = value(5).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
        let what = if data.number(1) == Some(1) { "dnat" } else { "snat" };
        let family = if data.number(2) == Some(10) { "ip6" } else { "ip" };
        let to = match (address, port) {
            (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
            (Some(address), None) => address.to_string(),
            _ => "?".into(),
        };
        let implied = format!("meta nfproto {}", if family == "ip" { "ipv4" } else { "ipv6" });
        if self.words.last() == Some(&implied) {
            self.words.pop();
        }
        self.words.push(format!("{what} {family} to {to}"));
    }

    fn lookup(&mut self, data: &Attributes) {
        let key = match self.loaded(data.number(2)) {
            Some(Loaded::Key(key, _)) => key,
            _ => "?".into(),
        };
        let sign = if data.number(5) == Some(1) { "!= " } else { "" };
        self.drop_implied(&key);
        self.words.push(format!("{key} {sign}@{}", data.string(1).unwrap_or_default()));
    }
}

fn payload(data: &Attributes) -> String {
    let (base, offset, length) = (data.number(2), data.number(3), data.number(4));
    let at = |field: &&numbers::Field| {
        Some(field.base) == base && Some(field.offset) == offset && Some(field.length) == length
    };
    match FIELDS.iter().find(at) {
        Some(field) => field.text.into(),
        // `nft` loads no more of an address than the prefix has.
        None => match (base, offset, length) {
            (Some(1), Some(12), Some(1..4)) => "ip saddr".into(),
            (Some(1), Some(16), Some(1..4)) => "ip daddr".into(),
            (Some(1), Some(8), Some(1..16)) => "ip6 saddr".into(),
            (Some(1), Some(24), Some(1..16)) => "ip6 daddr".into(),
            _ => format!("@{}", [base, offset, length].map(|part| part.unwrap_or(0).to_string()).join(",")),
        },
    }
}

/// A value in the words that go with its key.
fn show(key: &str, value: &[u8]) -> String {
    let byte = value.first().copied().unwrap_or(0);
    let word = match key {
        "meta l4proto" => numbers::word(numbers::PROTOCOLS, byte).map(ToOwned::to_owned),
        "meta nfproto" => numbers::word(numbers::VERSIONS, byte).map(ToOwned::to_owned),
        "meta pkttype" => numbers::word(numbers::PACKET_TYPES, byte).map(ToOwned::to_owned),
        "icmpv6 type" => numbers::word(numbers::ICMPV6, byte).map(ToOwned::to_owned),
        "ether type" | "meta protocol" => {
            short(value).and_then(|number| numbers::word(numbers::ETHERTYPES, number)).map(ToOwned::to_owned)
        }
        "iifname" | "oifname" | "ibrname" | "obrname" => {
            let end = value.iter().position(|byte| *byte == 0);
            let star = if end.is_none() && value.len() < 16 { "*" } else { "" };
            Some(format!("\"{}{star}\"", String::from_utf8_lossy(&value[..end.unwrap_or(value.len())])))
        }
        "meta mark" => value.try_into().ok().map(|bytes| format!("{:#010x}", u32::from_ne_bytes(bytes))),
        "fib saddr type" | "fib daddr type" => {
            let number = value.try_into().ok().map(u32::from_ne_bytes);
            number.and_then(|number| numbers::word(numbers::ADDRESS_TYPES, number)).map(ToOwned::to_owned)
        }
        _ if key.ends_with("port") => short(value).map(|port| port.to_string()),
        "ether saddr" | "ether daddr" | "arp saddr ether" => Mac::from_slice(value).map(|mac| mac.to_string()),
        "ip saddr" | "ip daddr" | "arp saddr ip" if value.len() < 4 => short_prefix(value, 4),
        "ip6 saddr" | "ip6 daddr" if value.len() < 16 => short_prefix(value, 16),
        _ => ip(value).map(|address| address.to_string()),
    };
    word.unwrap_or_else(|| value.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

fn short_prefix(value: &[u8], length: usize) -> Option<String> {
    let mut whole = value.to_vec();
    whole.resize(length, 0);
    ip(&whole).map(|address| format!("{address}/{}", value.len() * 8))
}

fn short(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn bits(key: &str, mask: &[u8]) -> String {
    let mask = mask.try_into().map(u32::from_ne_bytes).unwrap_or(0);
    let names = if key == "ct state" { numbers::STATES } else { numbers::STATUSES };
    let set: Vec<&str> = names.iter().filter(|(_, bit)| mask & bit != 0).map(|(word, _)| *word).collect();
    set.join(",")
}
