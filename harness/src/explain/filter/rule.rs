//! One rule against one packet: whether its matches hold, and what it does.

use std::net::{IpAddr, SocketAddr};

use super::Passing;
use crate::{
    Carries,
    firewall::Rule,
    ruleset::{
        expr::{NatKind, Op, Verdict},
        field::Key,
        kind::Form,
        statement::{Bounds, Element, Item, Reject, Right, Set, Statement},
    },
};

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// This, for certain.
    Does(Does),
    /// One of these, or nothing.
    May(Vec<Does>),
}

/// One thing that rules do with packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Verdict(Verdict),
    /// Changes addresses: its destination to this, and its port; none: to what is not known.
    Translate(Option<(IpAddr, Option<u16>)>),
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

/// What one of its statements does.
enum Step {
    /// Lets the rule go on where it holds.
    Match(Match),
    /// Decides by one of these where it holds; [`Verdict::Continue`] lets the rule go on.
    Decide(Match, Vec<Does>),
}

const GO_ON: Step = Step::Match(Match::Yes);

/// What the rule does with the packet.
pub(super) fn apply(rule: &Rule, packet: &Passing) -> Effect {
    let (mut may, mut all) = (Vec::new(), Match::Yes);
    for statement in &rule.statements {
        match step(statement, packet) {
            Step::Match(one) => all = all.and(one),
            Step::Decide(one, mut does) => {
                all = all.and(one);
                let decisions = does.len();
                does.retain(|does| *does != Does::Verdict(Verdict::Continue));
                let goes_on = does.len() < decisions;
                match (all, does.as_slice()) {
                    (Match::No, _) => {}
                    (Match::Yes, [one]) if !goes_on => return Effect::Does(one.clone()),
                    (_, []) => {}
                    _ => {
                        all = Match::Perhaps;
                        may.append(&mut does);
                    }
                }
                if !goes_on {
                    break;
                }
            }
        }
        if all == Match::No {
            break;
        }
    }
    Effect::May(may)
}

fn step(statement: &Statement, packet: &Passing) -> Step {
    let verdict = |one: Match, verdict: Verdict| Step::Decide(one, vec![Does::Verdict(verdict)]);
    match statement {
        Statement::Match { keys, op, right } => Step::Match(compare(keys, *op, right, packet)),
        Statement::VerdictMap { keys, map } => mapped(keys, map, packet),
        Statement::Verdict(said) => verdict(Match::Yes, said.clone()),
        Statement::Reject(reject) => verdict(is_for(*reject, packet), Verdict::Drop),
        // In tables for both versions of IP, it leaves the other's packets alone.
        Statement::Nat { family: Some(family), .. } if (*family == "ip") != packet.target.to.is_ipv4() => GO_ON,
        Statement::Nat { kind: NatKind::Destination, address, port, .. } => {
            Step::Decide(Match::Yes, vec![Does::Translate(destination(address.as_ref(), port.as_ref(), packet))])
        }
        Statement::Nat { .. } | Statement::Masquerade { .. } | Statement::Redirect { .. } => {
            Step::Decide(Match::Yes, vec![Does::Translate(None)])
        }
        Statement::Set { .. } | Statement::Counter { .. } | Statement::Log { .. } => GO_ON,
        Statement::Limit { .. } => Step::Match(Match::Perhaps),
        Statement::Extension { words, target } => extension(words, *target, packet),
        Statement::Unknown(name) => instruction(name),
    }
}

/// Whether the packet is of the protocol that is refused so, which the statement asks for by itself.
fn is_for(reject: Reject, packet: &Passing) -> Match {
    let is_ip = |version4: bool| !packet.is_arp() && packet.target.to.is_ipv4() == version4;
    Match::certain(match reject {
        Reject::Icmpx(_) => true,
        Reject::Icmp(_) => is_ip(true),
        Reject::Icmpv6(_) => is_ip(false),
        Reject::TcpReset => !packet.asks && matches!(packet.target.carries, Carries::Tcp(_)),
    })
}

/// Whom the packet is for after this; none: that depends.
fn destination(
    address: Option<&Bounds<IpAddr>>,
    port: Option<&Bounds<u16>>,
    packet: &Passing,
) -> Option<(IpAddr, Option<u16>)> {
    if address.is_some_and(|address| address.last.is_some()) || port.is_some_and(|port| port.last.is_some()) {
        return None;
    }
    let to = address.map_or(packet.target.to, |address| address.first);
    Some((to, port.map(|port| port.first)))
}

/// The targets of the old iptables that change addresses.
const NAT: [&str; 5] = ["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"];
/// And those which let the packet go on.
const HARMLESS: &str = "AUDIT CHECKSUM CLASSIFY CONNMARK CONNSECMARK CT DSCP ECN HL HMARK IDLETIMER LED LOG MARK NFLOG \
                        NOTRACK RATEEST SECMARK SET TCPMSS TCPOPTSTRIP TEE TOS TRACE TTL";

/// Whether it changes addresses.
pub(super) fn translates(statement: &Statement) -> bool {
    match statement {
        Statement::Nat { .. } | Statement::Masquerade { .. } | Statement::Redirect { .. } => true,
        Statement::Extension { words, target: true } => words.split(' ').next().is_some_and(|name| NAT.contains(&name)),
        Statement::Unknown(name) => ["nat", "masq", "redir"].contains(&name.as_str()),
        _ => false,
    }
}

/// Whether the rule may keep the packet from connection tracking.
pub(super) fn may_untrack(rule: &Rule, packet: &Passing) -> bool {
    let Some(at) = rule.statements.iter().position(untracks) else { return false };
    let before = rule.statements[..at].iter();
    !before.map(|statement| step(statement, packet)).any(|step| matches!(step, Step::Match(Match::No)))
}

/// Whether it keeps packets from connection tracking.
pub(super) fn untracks(statement: &Statement) -> bool {
    match statement {
        Statement::Extension { words, target: true } => words == "CT notrack" || words == "NOTRACK",
        Statement::Unknown(name) => name == "notrack",
        _ => false,
    }
}

/// Whether it writes to packets, nobody knows what.
pub(super) fn writes(statement: &Statement) -> bool {
    matches!(statement, Statement::Unknown(name) if name == "payload")
}

/// An extension of the old iptables.
fn extension(words: &str, target: bool, packet: &Passing) -> Step {
    let words: Vec<&str> = words.split(' ').collect();
    let decides = |does| Step::Decide(Match::Yes, vec![does]);
    match (target, words.as_slice()) {
        (true, ["DNAT", "to", to]) => decides(Does::Translate(endpoint(to))),
        (true, [name, ..]) if NAT.contains(name) => decides(Does::Translate(None)),
        (true, ["REJECT"]) => decides(Does::Verdict(Verdict::Drop)),
        (true, ["NFQUEUE" | "QUEUE"]) => decides(Does::Verdict(Verdict::Queue)),
        (true, [name, ..]) if HARMLESS.split(' ').any(|harmless| harmless == *name) => GO_ON,
        (true, _) => anything(),
        (false, ["comment"]) => GO_ON,
        (false, [name, what, "!=", value]) => Step::Match(compared(name, what, value, packet).not()),
        (false, [name, what, value]) => Step::Match(compared(name, what, value, packet)),
        (false, _) => Step::Match(Match::Perhaps),
    }
}

/// What an extension compares.
fn compared(name: &str, what: &str, value: &str, packet: &Passing) -> Match {
    match (name, what) {
        ("addrtype", "dst-type") if value == "local" && !packet.unsure && !packet.asks => {
            Match::certain(packet.target.local)
        }
        ("conntrack", "ctstate") => {
            let key = Key::named("ct state");
            let bits = value.split(',').filter_map(|state| key.kind.encode(state)).map(|bits| key.kind.value(&bits));
            let any = Right::AnyOf(key.kind.number(bits.fold(0, |all, bit| all | bit)).unwrap_or_default());
            compare(&[key], Op::Ne, &any, packet)
        }
        ("multiport", "dports") => match packet.target.carries {
            Carries::Tcp(port) | Carries::Udp(port) if !packet.unsure && !packet.asks && !packet.answer => {
                Match::certain(value.split(',').any(|one| one.parse() == Ok(port)))
            }
            _ => Match::Perhaps,
        },
        _ => Match::Perhaps,
    }
}

/// An instruction, by its name.
fn instruction(name: &str) -> Step {
    let decides = |does| Step::Decide(Match::Yes, vec![does]);
    match name {
        "nat" | "masq" | "redir" => decides(Does::Translate(None)),
        "reject" => decides(Does::Verdict(Verdict::Drop)),
        "queue" => decides(Does::Verdict(Verdict::Queue)),
        "notrack" | "dup" | "last" | "meta set" | "ct set" | "payload" => GO_ON,
        "objref counter" | "objref ct helper" | "objref ct timeout" | "objref ct expectation" | "objref secmark" => {
            GO_ON
        }
        "fwd" | "immediate" | "objref" | "objref synproxy" | "synproxy" | "target" | "tproxy" | "vmap" => anything(),
        _ => Step::Match(Match::Perhaps),
    }
}

/// It may decide on its own, or not.
fn anything() -> Step {
    Step::Decide(Match::Perhaps, any_decision().into())
}

fn any_decision() -> [Does; 5] {
    let verdict = Does::Verdict;
    let (accept, drop) = (verdict(Verdict::Accept), verdict(Verdict::Drop));
    [accept, drop, verdict(Verdict::Return), verdict(Verdict::Continue), Does::Translate(None)]
}

/// `10.20.30.41:80`, `[fd00:20::41]:80`, or the address alone.
pub(super) fn endpoint(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip(), Some(both.port())));
    }
    Some((text.trim_matches(['[', ']']).parse().ok()?, None))
}

/// The verdicts of the map's element that holds, or of those that may.
fn mapped(keys: &[Key], map: &Set, packet: &Passing) -> Step {
    let (Set::Elements(elements) | Set::Named(_, Some(elements))) = map else { return anything() };
    let fields: Vec<Field> = keys.iter().map(|key| Field::of(key, packet)).collect();
    if fields.contains(&Field::Absent) {
        return Step::Match(Match::No);
    }
    let mut all = Vec::new();
    for element in elements {
        let one = holds(keys, &fields, element);
        // No other can hold then, but where this stands for what none does.
        if one == Match::Yes && !element.items.is_empty() {
            all.clear();
        }
        match &element.verdict {
            _ if one == Match::No => {}
            Some(verdict) => all.push(Does::Verdict(verdict.clone())),
            None => all.extend(any_decision()),
        }
        if one == Match::Yes {
            all.dedup();
            return Step::Decide(Match::Yes, all);
        }
    }
    all.dedup();
    Step::Decide(if all.is_empty() { Match::No } else { Match::Perhaps }, all)
}

fn compare(keys: &[Key], op: Op, right: &Right, packet: &Passing) -> Match {
    let fields: Vec<Field> = keys.iter().map(|key| Field::of(key, packet)).collect();
    if fields.contains(&Field::Absent) {
        return Match::No;
    }
    let (Some(key), Some(field)) = (keys.first(), fields.first()) else { return Match::Perhaps };
    let equal = match right {
        Right::Set(Set::Named(_, None)) => return Match::Perhaps,
        // Kernels differ in what is not in all there is.
        Right::Set(Set::Elements(elements) | Set::Named(_, Some(elements)))
            if op == Op::Ne && elements.iter().any(|element| element.items.is_empty()) =>
        {
            return Match::Perhaps;
        }
        Right::Set(Set::Elements(elements) | Set::Named(_, Some(elements))) => {
            elements.iter().fold(Match::No, |any, element| any.or(holds(keys, &fields, element)))
        }
        // Any of the bits is `!=` none of them.
        Right::AnyOf(bits) => {
            field.bits(bits).map_or(Match::Perhaps, |set| Match::certain(set.iter().all(|byte| *byte == 0)))
        }
        Right::Masked { mask, value } => {
            return field.bits(mask).map_or(Match::Perhaps, |set| ordered(&set, op, value));
        }
        Right::Item(item) if matches!(op, Op::Eq | Op::Ne) => is(key, field, item),
        Right::Item(Item::Value(value)) => {
            return field.value().map_or(Match::Perhaps, |own| ordered(own, op, value));
        }
        Right::Item(_) => return Match::Perhaps,
    };
    if op == Op::Ne { equal.not() } else { equal }
}

/// As the kernel does, which compares bytes: of names, as many as there are.
fn ordered(own: &[u8], op: Op, value: &[u8]) -> Match {
    let order = own[..value.len().min(own.len())].cmp(value);
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
        (Field::Is(own), Item::Range(first, last)) => ordered(own, Op::Ge, first).and(ordered(own, Op::Le, last)),
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
