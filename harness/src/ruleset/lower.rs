//! From statements to the kernel's instructions.

use std::net::IpAddr;

use super::{
    expr::{Expr, NatKind, Op, REGISTER_1, REGISTER_2, REGISTER_3, REGISTER_4, REGISTER32_00, Verdict, nat_flags},
    field::{Key, Needs, Network, header, meta},
    kind::{Form, Order},
    set::{KernelSet, mask, width},
    statement::{Bounds, Element, Item, Reject, Right, Set, Statement, Value},
};
use crate::firewall::Family;

/// What a rule becomes: instructions, and the nameless sets that they look into.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    pub(crate) exprs: Vec<Expr>,
    pub(crate) sets: Vec<KernelSet>,
}

/// Translates a rule for a table of `family`; the numbers of its sets come from `next_set`.
pub(crate) fn lower(family: Family, statements: &[Statement], next_set: &mut u32) -> Result<Lowered, String> {
    let mut lowering = Lowering { family, known: known_in(family), out: Lowered::default(), next_set };
    for statement in statements {
        lowering.statement(statement)?;
    }
    Ok(lowering.out)
}

/// What every packet in a table of this family is known to be.
pub(crate) fn known_in(family: Family) -> Needs {
    let (ether, network) = match family {
        Family::Ip => (false, Some(Network::Ip)),
        Family::Ip6 => (false, Some(Network::Ip6)),
        Family::Arp => (false, Some(Network::Arp)),
        Family::Inet => (false, None),
        Family::Bridge | Family::Netdev => (true, None),
    };
    Needs { ether, network, transport: None }
}

/// What is known after a match: `meta l4proto tcp` makes the rest of the rule one about TCP.
pub(crate) fn learn(known: &mut Needs, key: &Key, op: Op, right: &Right) {
    let (Op::Eq, Right::Item(Item::Value(value))) = (op, right) else {
        return;
    };
    let number = key.kind.value(value);
    let by_ether_type = |number: u64| {
        [Network::Ip, Network::Ip6, Network::Arp].into_iter().find(|network| u64::from(network.ether_type()) == number)
    };
    match key.name.as_ref() {
        "meta nfproto" => {
            known.network =
                [Network::Ip, Network::Ip6].into_iter().find(|n| n.nfproto().map(u64::from) == Some(number));
        }
        "meta protocol" | "ether type" => known.network = by_ether_type(number),
        "meta l4proto" | "ip protocol" | "ip6 nexthdr" => known.transport = Some(number as u8),
        "meta iiftype" => known.ether = number == u64::from(libc::ARPHRD_ETHER),
        _ => {}
    }
}

struct Lowering<'a> {
    family: Family,
    known: Needs,
    out: Lowered,
    next_set: &'a mut u32,
}

impl Lowering<'_> {
    fn push(&mut self, expr: Expr) {
        self.out.exprs.push(expr);
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        match statement {
            Statement::Match { keys, op, right } => self.matching(keys, *op, right)?,
            Statement::VerdictMap { keys, map } => {
                self.load(keys)?;
                let (set, id) = self.set(keys, map)?;
                self.push(Expr::Lookup { register: REGISTER_1, set, id, invert: false, to: Some(0) });
            }
            Statement::Verdict(Verdict::Queue) => return Err("queues are not known here".into()),
            Statement::Verdict(verdict) => self.push(Expr::Verdict(verdict.clone())),
            Statement::Set { key, value } => self.setting(key, value)?,
            Statement::Counter { packets, bytes } => {
                self.push(Expr::Counter { packets: *packets, bytes: *bytes });
            }
            Statement::Nat { kind, family, address, port, flags } => {
                self.nat(*kind, *family, *address, *port, *flags)?;
            }
            Statement::Masquerade { port, flags } => {
                let (port, flags) = self.ports(*port, *flags, [REGISTER_1, REGISTER_2]);
                self.push(Expr::Masquerade { port, flags });
            }
            Statement::Redirect { port, flags } => {
                let (port, flags) = self.ports(*port, *flags, [REGISTER_1, REGISTER_2]);
                self.push(Expr::Redirect { port, flags });
            }
            Statement::Reject(reject) => self.reject(*reject)?,
            Statement::Log { prefix, group, level } => {
                self.push(Expr::Log { prefix: prefix.clone(), group: *group, level: *level });
            }
            Statement::Limit { rate, unit, burst, bytes, over } => {
                self.push(Expr::Limit { rate: *rate, unit: *unit, burst: *burst, bytes: *bytes, over: *over });
            }
            Statement::Extension { .. } | Statement::Unknown(_) => {
                return Err(format!("`{statement}` is not known here"));
            }
        }
        Ok(())
    }

    fn matching(&mut self, keys: &[Key], op: Op, right: &Right) -> Result<(), String> {
        self.require(keys)?;
        match right {
            Right::Item(item) => self.compare(&keys[0], op, item)?,
            Right::Set(set) => {
                if op != Op::Eq && op != Op::Ne {
                    return Err(format!("a set is either `==` or `!=`, not `{}`", op.symbol()));
                }
                self.load_required(keys);
                let (set, id) = self.set(keys, set)?;
                self.push(Expr::Lookup { register: REGISTER_1, set, id, invert: op == Op::Ne, to: None });
            }
            Right::AnyOf(bits) => self.masked(&keys[0], op, bits.clone(), vec![0; bits.len()]),
            Right::Masked { mask, value } => self.masked(&keys[0], op, mask.clone(), value.clone()),
        }
        learn(&mut self.known, &keys[0], op, right);
        Ok(())
    }

    fn masked(&mut self, key: &Key, op: Op, mask: Vec<u8>, value: Vec<u8>) {
        self.load_required(std::slice::from_ref(key));
        let xor = vec![0; mask.len()];
        self.push(Expr::Bitwise { from: REGISTER_1, to: REGISTER_1, mask, xor });
        self.push(Expr::Compare { register: REGISTER_1, op, data: value });
    }

    fn compare(&mut self, key: &Key, op: Op, item: &Item) -> Result<(), String> {
        let ordered = !matches!(op, Op::Eq | Op::Ne);
        if key.kind.order == Order::Host && (ordered || matches!(item, Item::Range(..))) {
            return Err(format!("`{}` can only be compared for being equal", key.name));
        }
        match item {
            Item::Value(value) => {
                self.load_required(std::slice::from_ref(key));
                self.push(Expr::Compare { register: REGISTER_1, op, data: value.clone() });
            }
            _ if ordered => return Err(format!("`{}` is only for single values", op.symbol())),
            Item::Prefix(value, length) => {
                let mask = mask(*length, value.len());
                let value = value.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
                self.masked(key, op, mask, value);
            }
            Item::Range(first, last) if first > last => return Err("a range ends before it begins".into()),
            Item::Range(first, last) => {
                self.load_required(std::slice::from_ref(key));
                let (from, to) = (first.clone(), last.clone());
                self.push(Expr::Range { register: REGISTER_1, invert: op == Op::Ne, from, to });
            }
        }
        Ok(())
    }

    fn load(&mut self, keys: &[Key]) -> Result<(), String> {
        self.require(keys)?;
        self.load_required(keys);
        Ok(())
    }

    /// One key into register 1; several side by side into what is the same storage, four bytes at a time.
    fn load_required(&mut self, keys: &[Key]) {
        let mut at = 0;
        for key in keys {
            let to = if keys.len() > 1 { REGISTER32_00 + at / 4 } else { REGISTER_1 };
            self.push(Expr::Load { load: key.load, to });
            at += width(key, keys.len()) as u32;
        }
    }

    /// Puts in the matches on protocols without which the keys' loads would read something else.
    fn require(&mut self, keys: &[Key]) -> Result<(), String> {
        for key in keys {
            let needs = key.needs;
            if needs.ether && !self.known.ether {
                self.depend("meta iiftype", u64::from(libc::ARPHRD_ETHER));
            }
            if let Some(network) = needs.network {
                self.require_network(network, key)?;
            }
            if let Some(protocol) = needs.transport {
                match self.known.transport {
                    None => self.depend("meta l4proto", u64::from(protocol)),
                    Some(known) if known == protocol => {}
                    Some(_) => return Err(format!("`{}` never holds after the protocol matched before it", key.name)),
                }
            }
        }
        Ok(())
    }

    fn require_network(&mut self, network: Network, key: &Key) -> Result<(), String> {
        match self.known.network {
            Some(known) if known == network => return Ok(()),
            Some(_) => return Err(format!("`{}` never holds in a rule for another protocol", key.name)),
            None => {}
        }
        match (self.family, network.nfproto()) {
            (Family::Inet, Some(nfproto)) => self.depend("meta nfproto", nfproto.into()),
            (Family::Inet, None) => return Err(format!("`{}` cannot be seen in the family inet", key.name)),
            // The frame's own type: `meta protocol` is the same but for VLAN tags, which it looks behind.
            _ => self.depend("meta protocol", network.ether_type().into()),
        }
        Ok(())
    }

    fn depend(&mut self, name: &str, number: u64) {
        let key = Key::named(name);
        let value = key.kind.number(number).expect("a protocol's number fits its field");
        let right = Right::Item(Item::Value(value.clone()));
        self.push(Expr::Load { load: key.load, to: REGISTER_1 });
        self.push(Expr::Compare { register: REGISTER_1, op: Op::Eq, data: value });
        learn(&mut self.known, &key, Op::Eq, &right);
    }

    fn set(&mut self, keys: &[Key], set: &Set) -> Result<(String, Option<u32>), String> {
        let elements = match set {
            Set::Named(name, _) => return Ok((name.clone(), None)),
            Set::Elements(elements) => elements,
        };
        if has_beginnings(keys, elements) {
            return Err("beginnings of names (`veth*`) are not known here in a set".into());
        }
        *self.next_set += 1;
        let set = KernelSet::anonymous(*self.next_set, keys, elements)?;
        let found = (set.name.clone(), Some(set.id));
        self.out.sets.push(set);
        Ok(found)
    }

    fn setting(&mut self, key: &Key, value: &Value) -> Result<(), String> {
        match value {
            Value::Constant(data) => self.push(Expr::Constant { to: REGISTER_1, data: data.clone() }),
            Value::Of(other) => self.load(std::slice::from_ref(other))?,
            Value::Changed { of, mask, xor } => {
                self.load(std::slice::from_ref(of))?;
                let (mask, xor) = (mask.clone(), xor.clone());
                self.push(Expr::Bitwise { from: REGISTER_1, to: REGISTER_1, mask, xor });
            }
        }
        match key.load {
            super::expr::Load::Meta(number @ (meta::MARK | meta::NFTRACE | 2 | 19)) => {
                self.push(Expr::SetMeta { key: number, from: REGISTER_1 });
            }
            super::expr::Load::Ct(super::field::CT_MARK, _) => {
                self.push(Expr::SetCt { key: super::field::CT_MARK, from: REGISTER_1 });
            }
            super::expr::Load::Payload { base, .. } if base <= header::TRANSPORT => {
                return Err(format!("`{}` cannot be set here", key.name));
            }
            _ => return Err(format!("`{}` cannot be set", key.name)),
        }
        Ok(())
    }

    fn nat(
        &mut self,
        kind: NatKind,
        said: Option<&str>,
        address: Option<Bounds<IpAddr>>,
        port: Option<Bounds<u16>>,
        flags: u32,
    ) -> Result<(), String> {
        let of_address = address.map(|address| if address.first.is_ipv6() { "ip6" } else { "ip" });
        let of_table = match self.family {
            Family::Ip => Some("ip"),
            Family::Ip6 => Some("ip6"),
            _ => None,
        };
        let family = of_address.or(said).or(of_table).ok_or("expected `ip` or `ip6`: `dnat ip to :80`")?;
        if [said, of_table].into_iter().flatten().any(|other| other != family) {
            return Err("the address is of another version of IP than the table, or the rule".into());
        }
        let registers = [REGISTER_1, REGISTER_3];
        let mut addresses = [None; 2];
        for (at, address) in address.iter().flat_map(|bounds| [Some(bounds.first), bounds.last]).enumerate() {
            let Some(address) = address else { continue };
            let data = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            self.push(Expr::Constant { to: registers[at], data });
            addresses[at] = Some(registers[at]);
        }
        let (port, flags) = self.ports(port, flags, [REGISTER_2, REGISTER_4]);
        let family = if family == "ip" { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 } as u32;
        self.push(Expr::Nat { kind, family, address: addresses, port, flags });
        Ok(())
    }

    fn ports(&mut self, port: Option<Bounds<u16>>, flags: u32, registers: [u32; 2]) -> ([Option<u32>; 2], u32) {
        let Some(port) = port else {
            return ([None; 2], flags);
        };
        let mut used = [None; 2];
        for (at, port) in [Some(port.first), port.last].into_iter().enumerate() {
            let Some(port) = port else { continue };
            self.push(Expr::Constant { to: registers[at], data: port.to_be_bytes().to_vec() });
            used[at] = Some(registers[at]);
        }
        (used, flags | nat_flags::PROTO_SPECIFIED)
    }

    fn reject(&mut self, reject: Reject) -> Result<(), String> {
        // In a table for one version of IP, icmpx is that version's own.
        let (kind, code) = match (reject, self.family) {
            (Reject::Icmpx(1), Family::Ip) => (0, 3),
            (Reject::Icmpx(1), Family::Ip6) => (0, 4),
            (Reject::Icmp(code), _) => {
                self.require_version(Network::Ip)?;
                (0, code)
            }
            (Reject::Icmpv6(code), _) => {
                self.require_version(Network::Ip6)?;
                (0, code)
            }
            (Reject::Icmpx(code), _) => (2, code),
            (Reject::TcpReset, _) => {
                if self.known.transport.is_none() {
                    self.depend("meta l4proto", 6);
                }
                (1, 0)
            }
        };
        self.push(Expr::Reject { kind, code });
        Ok(())
    }

    fn require_version(&mut self, network: Network) -> Result<(), String> {
        let name = if network == Network::Ip { "ip saddr" } else { "ip6 saddr" };
        self.require_network(network, &Key::named(name))
    }
}

/// Whether any is the beginning of a device's name.
fn has_beginnings(keys: &[Key], elements: &[Element]) -> bool {
    let values = elements.iter().flat_map(|element| keys.iter().zip(&element.items));
    let is_short = |(key, item): (&Key, &Item)| matches!((key.kind.form, item), (Form::Name, Item::Value(name)) if name.len() < key.kind.len);
    values.into_iter().any(is_short)
}
