//! From the kernel's instructions to statements.

use std::{collections::HashMap, net::IpAddr};

use super::{
    expr::{Expr, Load, NatKind, Op, REGISTER_1, REGISTER32_00},
    field::{Key, Needs, meta},
    kind::Form,
    lower::{known_in, learn},
    set::{KernelSet, flags, mask_length, width},
    statement::{Bounds, Item, Reject, Right, Set, Statement, Value},
};
use crate::firewall::Family;

/// Reads a rule of a table of `family`, whose sets are `sets`. What it does not know becomes [`Statement::Unknown`].
pub(crate) fn lift(family: Family, exprs: &[Expr], sets: &[KernelSet]) -> Vec<Statement> {
    let mut lifting = Lifting { family, sets, known: known_in(family), registers: HashMap::new(), out: Vec::new() };
    for expr in exprs {
        lifting.expr(expr);
    }
    without_dependencies(lifting.out, known_in(family))
}

/// What a register holds.
#[derive(Clone, Debug)]
enum Held {
    Loaded(Key),
    /// `& mask ^ xor`.
    Changed(Key, Vec<u8>, Vec<u8>),
    Constant(Vec<u8>),
    /// A load that has no name here.
    Nameless(String),
}

struct Lifting<'a> {
    family: Family,
    sets: &'a [KernelSet],
    known: Needs,
    /// By the number of the 32-bit register that it begins at.
    registers: HashMap<u32, Held>,
    out: Vec<Statement>,
}

impl Lifting<'_> {
    fn expr(&mut self, expr: &Expr) {
        let statement = match expr {
            Expr::Load { load, to } => return self.load(*load, *to),
            Expr::Bitwise { from, to, mask, xor } => return self.bitwise(*from, *to, mask, xor),
            Expr::Constant { to, data } => return self.hold(*to, Held::Constant(data.clone())),
            Expr::Compare { register, op, data } => self.compare(*register, *op, data),
            Expr::Range { register, invert, from, to } => self.range(*register, *invert, from, to),
            Expr::Lookup { register, set, invert, to, .. } => self.lookup(*register, set, *invert, *to),
            Expr::Verdict(verdict) => Some(Statement::Verdict(verdict.clone())),
            Expr::SetMeta { key, from } => self.setting(Load::Meta(*key), *from),
            Expr::SetCt { key, from } => self.setting(Load::Ct(*key, None), *from),
            Expr::Counter { packets, bytes } => Some(Statement::Counter { packets: *packets, bytes: *bytes }),
            Expr::Nat { kind, family, address, port, flags } => self.nat(*kind, *family, *address, *port, *flags),
            Expr::Masquerade { port, flags } => {
                self.ports(*port).map(|port| Statement::Masquerade { port, flags: *flags })
            }
            Expr::Redirect { port, flags } => self.ports(*port).map(|port| Statement::Redirect { port, flags: *flags }),
            Expr::Reject { kind, code } => self.reject(*kind, *code),
            Expr::Log { prefix, group, level } => {
                Some(Statement::Log { prefix: prefix.clone(), group: *group, level: *level })
            }
            Expr::Limit { rate, unit, burst, bytes, over } => {
                Some(Statement::Limit { rate: *rate, unit: *unit, burst: *burst, bytes: *bytes, over: *over })
            }
            Expr::Xt { words, target } => Some(Statement::Extension { words: words.clone(), target: *target }),
            Expr::Other { name } => {
                // It may have filled any.
                self.registers.clear();
                Some(Statement::Unknown(name.clone()))
            }
        };
        self.out.push(statement.unwrap_or_else(|| Statement::Unknown(name_of(expr).into())));
    }

    fn hold(&mut self, register: u32, held: Held) {
        let first = storage(register);
        let bytes = match &held {
            Held::Loaded(key) | Held::Changed(key, ..) => key.kind.len,
            Held::Constant(data) => data.len(),
            // As many as there are.
            Held::Nameless(_) => 64,
        };
        let end = first + bytes.div_ceil(4) as u32;
        self.registers.retain(|other, _| !(first..end).contains(other));
        self.registers.insert(first, held);
    }

    fn held(&self, register: u32) -> Option<&Held> {
        self.registers.get(&storage(register))
    }

    fn load(&mut self, load: Load, to: u32) {
        let held = match (Key::for_load(load, self.known), load) {
            (Some(key), _) => Held::Loaded(key),
            (None, Load::Payload { base, offset, len }) => Held::Loaded(Key::raw(base, offset, len)),
            (None, Load::Meta(number)) => Held::Nameless(format!("meta key {number}")),
            (None, Load::Ct(number, _)) => Held::Nameless(format!("ct key {number}")),
            (None, Load::Fib { .. }) => Held::Nameless("fib".into()),
        };
        self.hold(to, held);
    }

    fn bitwise(&mut self, from: u32, to: u32, mask: &[u8], xor: &[u8]) {
        let held = match self.held(from) {
            Some(Held::Loaded(key)) => Held::Changed(key.clone(), mask.to_vec(), xor.to_vec()),
            Some(Held::Nameless(name)) => Held::Nameless(name.clone()),
            _ => Held::Nameless("bitwise".into()),
        };
        self.hold(to, held);
    }

    fn compare(&mut self, register: u32, op: Op, data: &[u8]) -> Option<Statement> {
        let (key, right) = match self.held(register)? {
            Held::Loaded(key) => (key.clone(), Right::Item(self.value(key, data))),
            Held::Changed(key, mask, xor) if xor.iter().all(|byte| *byte == 0) => {
                (key.clone(), masked(key, mask, op, data))
            }
            Held::Changed(key, ..) => return Some(Statement::Unknown(format!("{} bitwise cmp", key.name))),
            Held::Nameless(name) => return Some(Statement::Unknown(format!("{name} cmp"))),
            Held::Constant(_) => return None,
        };
        if let (Op::Le, Right::Item(Item::Value(last))) = (op, &right)
            && let Some(range) = self.end_of_range(&key, last)
        {
            return Some(range);
        }
        learn(&mut self.known, &key, op, &right);
        Some(Statement::Match { keys: vec![key], op, right })
    }

    /// A load of the first bytes of an address is a comparison with a prefix.
    fn value(&self, key: &Key, data: &[u8]) -> Item {
        let address = matches!(key.kind.form, Form::Ipv4 | Form::Ipv6);
        if address && data.len() < key.kind.len {
            let mut whole = data.to_vec();
            whole.resize(key.kind.len, 0);
            return Item::Prefix(whole, 8 * data.len() as u8);
        }
        Item::Value(data.to_vec())
    }

    /// Older nft writes a range as two comparisons, `>=` and `<=`: makes one of them again.
    fn end_of_range(&mut self, key: &Key, last: &[u8]) -> Option<Statement> {
        let Some(Statement::Match { keys, op: Op::Ge, right: Right::Item(Item::Value(first)) }) = self.out.last()
        else {
            return None;
        };
        if keys[0] != *key {
            return None;
        }
        let item = Item::Range(first.clone(), last.to_vec());
        self.out.pop();
        Some(Statement::Match { keys: vec![key.clone()], op: Op::Eq, right: Right::Item(item) })
    }

    fn range(&self, register: u32, invert: bool, from: &[u8], to: &[u8]) -> Option<Statement> {
        let Held::Loaded(key) = self.held(register)? else {
            return None;
        };
        let right = Right::Item(Item::Range(from.to_vec(), to.to_vec()));
        Some(Statement::Match { keys: vec![key.clone()], op: if invert { Op::Ne } else { Op::Eq }, right })
    }

    fn lookup(&mut self, register: u32, name: &str, invert: bool, to: Option<u32>) -> Option<Statement> {
        let set = self.sets.iter().find(|set| set.name == name);
        let keys = set.and_then(|set| self.keys(register, set));
        if let Some(register) = to.filter(|register| *register != 0) {
            self.hold(register, Held::Nameless(format!("map {name}")));
            return None;
        }
        let (set, keys) = (set?, keys?);
        let is_fixed = set.flags & (flags::DYNAMIC | flags::TIMEOUT) == 0;
        let right = if set.flags & flags::ANONYMOUS == 0 {
            Set::Named(name.to_owned(), is_fixed.then(|| set.elements(&keys)))
        } else {
            Set::Elements(set.elements(&keys))
        };
        match to {
            None => {
                let op = if invert { Op::Ne } else { Op::Eq };
                Some(Statement::Match { keys, op, right: Right::Set(right) })
            }
            Some(_) => Some(Statement::VerdictMap { keys, map: right }),
        }
    }

    /// The keys, side by side, that fill a set's key.
    fn keys(&self, register: u32, set: &KernelSet) -> Option<Vec<Key>> {
        let mut keys = Vec::new();
        let (mut at, start) = (0, storage(register));
        while at < set.key_len {
            let Held::Loaded(key) = self.registers.get(&(start + at / 4))? else {
                return None;
            };
            at += width(key, 2) as u32;
            keys.push(key.clone());
        }
        Some(keys)
    }

    fn setting(&self, load: Load, from: u32) -> Option<Statement> {
        let key = Key::for_load(load, self.known)?;
        let value = match self.held(from)? {
            Held::Constant(data) => Value::Constant(data.clone()),
            Held::Loaded(other) => Value::Of(other.clone()),
            Held::Changed(of, mask, xor) => Value::Changed { of: of.clone(), mask: mask.clone(), xor: xor.clone() },
            Held::Nameless(_) => return None,
        };
        Some(Statement::Set { key, value })
    }

    fn nat(
        &self,
        kind: NatKind,
        family: u32,
        address: [Option<u32>; 2],
        port: [Option<u32>; 2],
        flags: u32,
    ) -> Option<Statement> {
        let constant = |register| match self.held(register)? {
            Held::Constant(data) => Some(data.as_slice()),
            _ => None,
        };
        let ip = |register| -> Option<IpAddr> {
            let data = constant(register)?;
            match data.len() {
                4 => Some(<[u8; 4]>::try_from(data).ok()?.into()),
                16 => Some(<[u8; 16]>::try_from(data).ok()?.into()),
                _ => None,
            }
        };
        let address = match address {
            [None, _] => None,
            [Some(first), last] => Some(bounds(first, last, ip)?),
        };
        // A table for one version of IP says it for the rule; a port alone is translated for both.
        let family = match (self.family, family as i32) {
            (Family::Ip | Family::Ip6, _) | (_, libc::NFPROTO_INET) => None,
            (_, libc::NFPROTO_IPV6) => Some("ip6"),
            _ => Some("ip"),
        };
        Some(Statement::Nat { kind, family, address, port: self.ports(port)?, flags })
    }

    /// None: they are not known here; none within: there are none.
    fn ports(&self, [first, last]: [Option<u32>; 2]) -> Option<Option<Bounds<u16>>> {
        let port = |register: u32| match self.held(register)? {
            Held::Constant(data) => Some(u16::from_be_bytes(data.get(..2)?.try_into().ok()?)),
            _ => None,
        };
        let Some(first) = first else { return Some(None) };
        bounds(first, last, port).map(Some)
    }

    fn reject(&self, kind: u32, code: u8) -> Option<Statement> {
        let version6 = self.family == Family::Ip6 || self.known.network == Some(super::field::Network::Ip6);
        Some(Statement::Reject(match kind {
            0 if version6 => Reject::Icmpv6(code),
            0 => Reject::Icmp(code),
            1 => Reject::TcpReset,
            2 => Reject::Icmpx(code),
            _ => return None,
        }))
    }
}

/// The kernel's older registers of 16 bytes and the newer ones of 4 are the same storage.
fn storage(register: u32) -> u32 {
    match register {
        1..=4 => REGISTER32_00 + 4 * (register - REGISTER_1),
        other => other,
    }
}

/// What two registers hold; none: that is not known.
fn bounds<T: PartialEq>(first: u32, last: Option<u32>, read: impl Fn(u32) -> Option<T>) -> Option<Bounds<T>> {
    let first = read(first)?;
    let last = last.map_or(Some(None), |last| read(last).map(Some))?;
    Some(Bounds { last: last.filter(|last| *last != first), first })
}

fn masked(key: &Key, mask: &[u8], op: Op, data: &[u8]) -> Right {
    let zero = data.iter().all(|byte| *byte == 0);
    match key.kind.form {
        Form::Flags(_) if zero && matches!(op, Op::Eq | Op::Ne) => Right::AnyOf(mask.to_vec()),
        Form::Ipv4 | Form::Ipv6 if mask.len() == key.kind.len => match mask_length(mask) {
            Some(length) => Right::Item(Item::Prefix(data.to_vec(), length)),
            None => Right::Masked { mask: mask.to_vec(), value: data.to_vec() },
        },
        _ => Right::Masked { mask: mask.to_vec(), value: data.to_vec() },
    }
}

/// Leaves out the matches on protocols that a later match says by itself: `meta l4proto tcp` before `tcp dport 80`.
fn without_dependencies(statements: Vec<Statement>, known: Needs) -> Vec<Statement> {
    let mut kept: Vec<Statement> = Vec::new();
    for (at, statement) in statements.iter().enumerate() {
        if !is_said_later(statement, &statements[at + 1..], known) {
            kept.push(statement.clone());
        }
    }
    kept
}

fn is_said_later(statement: &Statement, later: &[Statement], known: Needs) -> bool {
    let Statement::Match { keys, op: Op::Eq, right: right @ Right::Item(Item::Value(_)) } = statement else {
        return false;
    };
    let mut learnt = Needs::default();
    match keys[0].load {
        Load::Meta(meta::NFPROTO | meta::PROTOCOL | meta::L4PROTO | meta::IIFTYPE) => {}
        Load::Payload { base: super::field::header::LINK, offset: 12, .. } => {}
        _ => return false,
    }
    learn(&mut learnt, &keys[0], Op::Eq, right);
    later.iter().filter_map(needs_of).any(|needs| {
        let same_network = learnt.network.is_some() && needs.network == learnt.network && known.network.is_none();
        let same_transport = learnt.transport.is_some() && needs.transport == learnt.transport;
        same_network || same_transport || (learnt.ether && needs.ether)
    })
}

fn needs_of(statement: &Statement) -> Option<Needs> {
    let keys = match statement {
        Statement::Match { keys, .. } | Statement::VerdictMap { keys, .. } => keys,
        Statement::Reject(Reject::TcpReset) => return Some(Needs { transport: Some(6), ..Needs::default() }),
        Statement::Reject(Reject::Icmp(_)) => {
            return Some(Needs { network: Some(super::field::Network::Ip), ..Needs::default() });
        }
        Statement::Reject(Reject::Icmpv6(_)) => {
            return Some(Needs { network: Some(super::field::Network::Ip6), ..Needs::default() });
        }
        _ => return None,
    };
    keys.first().map(|key| key.needs)
}

fn name_of(expr: &Expr) -> &'static str {
    match expr {
        Expr::Load { .. } => "load",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Compare { .. } => "cmp",
        Expr::Range { .. } => "range",
        Expr::Lookup { to: Some(0), .. } => "vmap",
        Expr::Lookup { .. } => "lookup",
        Expr::Constant { .. } | Expr::Verdict(_) => "immediate",
        Expr::SetMeta { .. } => "meta set",
        Expr::SetCt { .. } => "ct set",
        Expr::Nat { .. } => "nat",
        Expr::Masquerade { .. } => "masq",
        Expr::Redirect { .. } => "redir",
        Expr::Reject { .. } => "reject",
        _ => "unknown",
    }
}
