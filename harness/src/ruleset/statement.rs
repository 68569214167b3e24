//! What one reads in a rule, printed as `nft list ruleset` does.

use std::{fmt, net::IpAddr};

use super::{
    expr::{NatKind, Op, Verdict, nat_flags},
    field::Key,
    kind::{Form, print_flags},
    names::{self, Names},
};

/// One part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// The rule goes on only if the key (or several, side by side) compares so.
    Match {
        keys: Vec<Key>,
        op: Op,
        right: Right,
    },
    /// The key says, by a map, what becomes of the packet.
    VerdictMap {
        keys: Vec<Key>,
        map: Set,
    },
    Verdict(Verdict),
    /// Marks the packet, or the connection.
    Set {
        key: Key,
        value: Value,
    },
    Counter {
        packets: u64,
        bytes: u64,
    },
    Nat {
        kind: NatKind,
        family: Option<&'static str>,
        address: Option<Bounds<IpAddr>>,
        port: Option<Bounds<u16>>,
        flags: u32,
    },
    Masquerade {
        port: Option<Bounds<u16>>,
        flags: u32,
    },
    Redirect {
        port: Option<Bounds<u16>>,
        flags: u32,
    },
    Reject(Reject),
    Log {
        prefix: Option<String>,
        group: Option<u16>,
        level: Option<u32>,
    },
    Limit {
        rate: u64,
        unit: u64,
        burst: u32,
        bytes: bool,
        over: bool,
    },
    /// An extension of the old iptables, in the words of `ruleset::xt`. Printed as a remark.
    Extension {
        words: String,
        /// It does something, where others compare.
        target: bool,
    },
    /// An instruction that has no words here, by its name. Printed as a remark.
    Unknown(String),
}

/// What is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Item(Item),
    /// Any of these bits; with [`Op::Eq`] none of them (`ct status ! dnat`).
    AnyOf(Vec<u8>),
    /// `& mask == value`.
    Masked {
        mask: Vec<u8>,
        value: Vec<u8>,
    },
    Set(Set),
}

/// One value, or several in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Value(Vec<u8>),
    Prefix(Vec<u8>, u8),
    Range(Vec<u8>, Vec<u8>),
}

/// A set of values, or a map from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// One with a name, and its elements, where those are as the rules are: not as packets or time have them.
    Named(String, Option<Vec<Element>>),
    Elements(Vec<Element>),
}

/// An element of a set: one item for each key; none: what no other element is (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) items: Vec<Item>,
    pub(crate) verdict: Option<Verdict>,
}

/// What a mark is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Constant(Vec<u8>),
    Of(Key),
    /// The key's value `& mask ^ xor`.
    Changed {
        of: Key,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
}

/// One value, or the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds<T> {
    pub(crate) first: T,
    pub(crate) last: Option<T>,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    Icmp(u8),
    Icmpv6(u8),
    Icmpx(u8),
    TcpReset,
}

/// The whole rule, comment aside.
pub(crate) fn print(statements: &[Statement]) -> String {
    statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match { keys, op, right } => print_match(f, keys, *op, right),
            Self::VerdictMap { keys, map } => write!(f, "{} vmap {}", name_of(keys), print_set(keys, map)),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Set { key, value: Value::Constant(bytes) } => write!(f, "{} set {}", key.name, key.kind.print(bytes)),
            Self::Set { key, value: Value::Of(other) } => write!(f, "{} set {}", key.name, other.name),
            Self::Set { key, value: Value::Changed { of, mask, xor } } => {
                write!(f, "{} set {}{}", key.name, of.name, print_change(of, mask, xor))
            }
            Self::Counter { packets, bytes } => write!(f, "counter packets {packets} bytes {bytes}"),
            Self::Nat { kind, family, address, port, flags } => {
                f.write_str(if *kind == NatKind::Source { "snat" } else { "dnat" })?;
                print_nat(f, *family, *address, *port, *flags)
            }
            Self::Masquerade { port, flags } => {
                f.write_str("masquerade")?;
                print_nat(f, None, None, *port, *flags)
            }
            Self::Redirect { port, flags } => {
                f.write_str("redirect")?;
                print_nat(f, None, None, *port, *flags)
            }
            Self::Reject(reject) => reject.fmt(f),
            Self::Log { prefix, group, level } => print_log(f, prefix.as_deref(), *group, *level),
            Self::Limit { rate, unit, burst, bytes, over } => {
                let (over, bytes) = (if *over { "over " } else { "" }, if *bytes { " bytes" } else { "" });
                let unit = names::word(names::RATE_UNIT, *unit).unwrap_or("?");
                write!(f, "limit rate {over}{rate}{bytes}/{unit}")?;
                // nft does not say what is the default.
                if bytes.is_empty() && *burst != 5 || !bytes.is_empty() && *burst != 0 {
                    write!(f, " burst {burst}{}", if bytes.is_empty() { " packets" } else { bytes })?;
                }
                Ok(())
            }
            Self::Extension { words, .. } => write!(f, "# xt {words}"),
            Self::Unknown(name) => write!(f, "# expr {name}"),
        }
    }
}

/// What is done to bits: some set, all but some cleared, some turned over.
fn print_change(of: &Key, mask: &[u8], xor: &[u8]) -> String {
    let (mask_text, xor_text) = (of.kind.print(mask), of.kind.print(xor));
    if xor.iter().all(|byte| *byte == 0) {
        format!(" & {mask_text}")
    } else if mask.iter().zip(xor).all(|(kept, set)| *kept == !set) {
        format!(" | {xor_text}")
    } else if mask.iter().all(|byte| *byte == 0xff) {
        format!(" ^ {xor_text}")
    } else {
        format!(" & {mask_text} ^ {xor_text}")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Queue => f.write_str("queue"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with =
            |f: &mut fmt::Formatter<'_>, name: &str, names: Names, code: u8| match names::word(names, code.into()) {
                // What nft does by default, it does not say.
                Some("port-unreachable") => f.write_str("reject"),
                Some(word) => write!(f, "reject with {name} {word}"),
                None => write!(f, "reject with {name} {code}"),
            };
        match *self {
            Self::Icmp(code) => with(f, "icmp", names::REJECT_ICMP, code),
            Self::Icmpv6(code) => with(f, "icmpv6", names::REJECT_ICMPV6, code),
            Self::Icmpx(code) => with(f, "icmpx", names::REJECT_ICMPX, code),
            Self::TcpReset => f.write_str("reject with tcp reset"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Bounds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) => write!(f, "{}-{last}", self.first),
            None => self.first.fmt(f),
        }
    }
}

fn name_of(keys: &[Key]) -> String {
    keys.iter().map(|key| key.name.as_ref()).collect::<Vec<_>>().join(" . ")
}

fn print_match(f: &mut fmt::Formatter<'_>, keys: &[Key], op: Op, right: &Right) -> fmt::Result {
    f.write_str(&name_of(keys))?;
    let kind = &keys[0].kind;
    let flags = matches!(kind.form, Form::Flags(_));
    match right {
        Right::AnyOf(bits) if op == Op::Eq => write!(f, " ! {}", kind.print(bits)),
        Right::AnyOf(bits) => write!(f, " {}", kind.print(bits)),
        Right::Masked { mask, value } => {
            write!(f, " & {} {} {}", print_bits(&keys[0], mask), op.symbol(), print_bits(&keys[0], value))
        }
        Right::Item(item) if op == Op::Eq && !flags => write!(f, " {}", print_item(&keys[0], item)),
        // Exactly these bits: `ct state != established | related`.
        Right::Item(item) if flags => write!(f, " {} {}", op.symbol(), print_item(&keys[0], item).replace(',', " | ")),
        Right::Item(item) => write!(f, " {} {}", op.symbol(), print_item(&keys[0], item)),
        Right::Set(set) if op == Op::Eq => write!(f, " {}", print_set(keys, set)),
        Right::Set(set) => write!(f, " {} {}", op.symbol(), print_set(keys, set)),
    }
}

fn print_bits(key: &Key, bytes: &[u8]) -> String {
    let Form::Flags(names) = key.kind.form else {
        return key.kind.print(bytes);
    };
    let words = print_flags(names, key.kind.value(bytes));
    if words.len() == 1 { words[0].clone() } else { format!("({})", words.join(" | ")) }
}

fn print_item(key: &Key, item: &Item) -> String {
    match item {
        Item::Value(value) => key.kind.print(value),
        Item::Prefix(value, length) => format!("{}/{length}", key.kind.print(value)),
        Item::Range(first, last) => format!("{}-{}", key.kind.print(first), key.kind.print(last)),
    }
}

pub(crate) fn print_set(keys: &[Key], set: &Set) -> String {
    let elements = match set {
        Set::Named(name, _) => return format!("@{name}"),
        Set::Elements(elements) => elements,
    };
    let print = |element: &Element| {
        let items = keys.iter().zip(&element.items).map(|(key, item)| print_item(key, item));
        let items = items.collect::<Vec<_>>().join(" . ");
        let items = if element.items.is_empty() { "*".into() } else { items };
        element.verdict.as_ref().map_or_else(|| items.clone(), |verdict| format!("{items} : {verdict}"))
    };
    format!("{{ {} }}", elements.iter().map(print).collect::<Vec<_>>().join(", "))
}

fn print_nat(
    f: &mut fmt::Formatter<'_>,
    family: Option<&str>,
    address: Option<Bounds<IpAddr>>,
    port: Option<Bounds<u16>>,
    flags: u32,
) -> fmt::Result {
    if let Some(family) = family {
        write!(f, " {family}")?;
    }
    match (address, port) {
        (None, None) => {}
        (None, Some(port)) => write!(f, " to :{port}")?,
        (Some(address), None) => write!(f, " to {address}")?,
        (Some(address), Some(port)) if address.first.is_ipv6() => {
            let last = address.last.map_or_else(String::new, |last| format!("-[{last}]"));
            write!(f, " to [{}]{last}:{port}", address.first)?;
        }
        (Some(address), Some(port)) => write!(f, " to {address}:{port}")?,
    }
    let words = NAT_FLAGS.iter().filter(|(_, flag)| u64::from(flags) & flag != 0).map(|(word, _)| *word);
    let words = words.collect::<Vec<_>>().join(",");
    if words.is_empty() { Ok(()) } else { write!(f, " {words}") }
}

/// What can stand behind a translation.
pub(crate) const NAT_FLAGS: Names = &[
    ("random", nat_flags::RANDOM as u64),
    ("fully-random", nat_flags::FULLY_RANDOM as u64),
    ("persistent", nat_flags::PERSISTENT as u64),
];

fn print_log(f: &mut fmt::Formatter<'_>, prefix: Option<&str>, group: Option<u16>, level: Option<u32>) -> fmt::Result {
    f.write_str("log")?;
    if let Some(prefix) = prefix {
        write!(f, " prefix \"{prefix}\"")?;
    }
    if let Some(group) = group {
        write!(f, " group {group}")?;
    }
    // Level 4, warn, is the default.
    match level.filter(|level| *level != 4).and_then(|level| names::word(names::LOG_LEVEL, level.into())) {
        Some(level) => write!(f, " level {level}"),
        None => Ok(()),
    }
}
