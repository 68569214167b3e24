//! One rule against one packet: whether its matches hold, and what it does.

use std::net::IpAddr;

use super::{Passing, destination};
use crate::{
    firewall::Rule,
    ruleset::{
        expr::{NatKind, Op, Verdict},
        field::Key,
        kind::{Form, Order},
        statement::{Element, Item, Right, Set, Statement},
    },
};

/// What a rule does with packets for which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Verdict(Verdict),
    /// Gives it another destination.
    Translate {
        to: IpAddr,
        port: Option<u16>,
    },
}

/// Whether a rule's matches hold for the packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    Perhaps,
}

impl Match {
    pub(super) fn certain(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

/// Whether the rule holds for the packet, and what it does then: one thing, or one of several where that is not known.
pub(super) fn apply(rule: &Rule, packet: &Passing) -> (Match, Vec<Does>) {
    let mut all = Match::Yes;
    for statement in &rule.statements {
        let (one, does) = match statement {
            Statement::Match { keys, op, right } => (compare(keys, *op, right, packet), None),
            Statement::VerdictMap { keys, map } => {
                let (one, verdicts) = mapped(keys, map, packet);
                (one, Some(verdicts))
            }
            Statement::Verdict(Verdict::Continue) | Statement::Set { .. } | Statement::Counter { .. } => continue,
            Statement::Verdict(verdict) => (Match::Yes, Some(vec![Does::Verdict(verdict.clone())])),
            Statement::Reject(_) => (Match::Yes, Some(vec![Does::Verdict(Verdict::Drop)])),
            Statement::Nat { kind: NatKind::Destination, address: Some(address), port, .. }
                if address.last.is_none() && port.is_none_or(|port| port.last.is_none()) =>
            {
                let port = port.map(|port| port.first);
                (Match::Yes, Some(vec![Does::Translate { to: address.first, port }]))
            }
            Statement::Nat { .. } | Statement::Masquerade { .. } | Statement::Redirect { .. } => {
                (Match::Yes, Some(Vec::new()))
            }
            Statement::Log { .. } => continue,
            Statement::Limit { .. } => (Match::Perhaps, None),
            Statement::Unknown(what) => extension(what, packet),
        };
        all = all.and(one);
        match does {
            _ if all == Match::No => return (Match::No, Vec::new()),
            Some(does) => return (all, does),
            None => {}
        }
    }
    (all, Vec::new())
}

/// The targets of the old iptables that change addresses.
const NAT: [&str; 5] = ["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"];

/// Whether it changes addresses.
pub(super) fn translates(statement: &Statement) -> bool {
    match statement {
        Statement::Nat { .. } | Statement::Masquerade { .. } | Statement::Redirect { .. } => true,
        Statement::Unknown(what) => {
            what.strip_prefix("xt ").and_then(|what| what.split(' ').next()).is_some_and(|name| NAT.contains(&name))
        }
        _ => false,
    }
}

/// Whether it keeps packets from connection tracking.
pub(super) fn untracks(statement: &Statement) -> bool {
    matches!(statement, Statement::Unknown(what) if ["expr notrack", "xt CT", "xt NOTRACK"].contains(&what.as_str()))
}

/// An extension of the old iptables, in the words of `ruleset::xt`.
fn extension(what: &str, packet: &Passing) -> (Match, Option<Vec<Does>>) {
    let words: Vec<&str> = what.split_whitespace().collect();
    let is_local = if packet.unsure { Match::Perhaps } else { Match::certain(packet.target.local) };
    match words.as_slice() {
        ["xt", "DNAT", "to", to] => {
            let translated = destination(to).map(|(to, port)| Does::Translate { to, port });
            (Match::Yes, Some(translated.into_iter().collect()))
        }
        ["xt", name, ..] if NAT.contains(name) => (Match::Yes, Some(Vec::new())),
        ["xt", "REJECT"] => (Match::Yes, Some(vec![Does::Verdict(Verdict::Drop)])),
        ["xt", "comment" | "LOG" | "NFLOG" | "MARK" | "CONNMARK"] => (Match::Yes, None),
        ["xt", "addrtype", "dst-type", "local"] => (is_local, None),
        ["xt", "addrtype", "dst-type", "!=", "local"] => (is_local.not(), None),
        _ => (Match::Perhaps, None),
    }
}

/// The verdicts of the map's element that holds, or of those that may.
fn mapped(keys: &[Key], map: &Set, packet: &Passing) -> (Match, Vec<Does>) {
    let Set::Elements(elements) = map else {
        // It may say anything.
        let any = [Verdict::Accept, Verdict::Drop, Verdict::Return];
        return (Match::Perhaps, any.map(Does::Verdict).into());
    };
    let fields: Vec<Field> = keys.iter().map(|key| Field::of(key, packet)).collect();
    let mut perhaps = Vec::new();
    for element in elements {
        let does = element.verdict.clone().map(Does::Verdict);
        match holds(keys, &fields, element) {
            Match::Yes => return (Match::Yes, does.into_iter().collect()),
            Match::Perhaps => perhaps.extend(does),
            Match::No => {}
        }
    }
    (if perhaps.is_empty() { Match::No } else { Match::Perhaps }, perhaps)
}

fn compare(keys: &[Key], op: Op, right: &Right, packet: &Passing) -> Match {
    let fields: Vec<Field> = keys.iter().map(|key| Field::of(key, packet)).collect();
    if fields.contains(&Field::Absent) {
        return Match::No;
    }
    let (Some(key), Some(field)) = (keys.first(), fields.first()) else { return Match::Perhaps };
    let equal = match right {
        Right::Set(Set::Named(_)) => return Match::Perhaps,
        Right::Set(Set::Elements(elements)) => {
            elements.iter().fold(Match::No, |any, element| any.or(holds(keys, &fields, element)))
        }
        // Any of the bits is `!=` none of them.
        Right::AnyOf(bits) => {
            field.bits(bits).map_or(Match::Perhaps, |set| Match::certain(set.iter().all(|byte| *byte == 0)))
        }
        Right::Masked { mask, value } => field.bits(mask).map_or(Match::Perhaps, |set| Match::certain(set == *value)),
        Right::Item(item) if matches!(op, Op::Eq | Op::Ne) => is(key, field, item),
        Right::Item(Item::Value(value)) => {
            return field.value().map_or(Match::Perhaps, |own| ordered(key, own, op, value));
        }
        Right::Item(_) => return Match::Perhaps,
    };
    if op == Op::Ne { equal.not() } else { equal }
}

fn ordered(key: &Key, own: &[u8], op: Op, value: &[u8]) -> Match {
    // An IPv6 address is more than a number.
    let order = match key.kind.order {
        Order::Big => own.cmp(value),
        Order::Host => key.kind.value(own).cmp(&key.kind.value(value)),
    };
    Match::certain(match op {
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
    })
}

fn holds(keys: &[Key], fields: &[Field], element: &Element) -> Match {
    let items = keys.iter().zip(fields).zip(&element.items);
    items.fold(Match::Yes, |all, ((key, field), item)| all.and(is(key, field, item)))
}

/// Whether the field is this value, or one of these.
fn is(key: &Key, field: &Field, item: &Item) -> Match {
    match (field, item) {
        (Field::Absent, _) => Match::No,
        (Field::Not(other), Item::Value(value)) if other == value => Match::No,
        (Field::Not(_) | Field::Unknown | Field::Bit { .. }, _) => Match::Perhaps,
        // The beginning of a name is shorter.
        (Field::Is(own), Item::Value(value)) if key.kind.form == Form::Name => Match::certain(own.starts_with(value)),
        (Field::Is(own), Item::Value(value)) => Match::certain(own == value),
        (Field::Is(own), Item::Prefix(value, length)) => Match::certain(begins(own, value, *length)),
        (Field::Is(own), Item::Range(first, last)) => {
            ordered(key, own, Op::Ge, first).and(ordered(key, own, Op::Le, last))
        }
    }
}

/// Whether so many bits are the same.
fn begins(own: &[u8], value: &[u8], length: u8) -> bool {
    let bit = |bytes: &[u8], at: u8| bytes.get(usize::from(at / 8)).map(|byte| byte >> (7 - at % 8) & 1);
    (0..length).all(|at| bit(own, at) == bit(value, at))
}

/// What a packet has where a key looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// There is no such header: no comparison holds.
    Absent,
    Is(Vec<u8>),
    /// Anything but this.
    Not(Vec<u8>),
    /// These bits are known: whether they are set.
    Bit {
        mask: Vec<u8>,
        set: bool,
    },
    Unknown,
}

impl Field {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Is(value) => Some(value),
            _ => None,
        }
    }

    /// It `& mask`, where that is known.
    fn bits(&self, mask: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Is(own) => Some(own.iter().zip(mask).map(|(own, mask)| own & mask).collect()),
            Self::Bit { mask: known, set } if known == mask => {
                Some(mask.iter().map(|byte| if *set { *byte } else { 0 }).collect())
            }
            _ => None,
        }
    }
}
