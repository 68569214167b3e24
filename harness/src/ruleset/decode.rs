//! From netlink attributes to instructions and sets. The numbers are those of `linux/netfilter/nf_tables.h`.

use super::{
    attribute::Attributes,
    encode::USERDATA_COMMENT,
    expr::{Expr, Load, NatKind, Op, Verdict},
    names, nfta,
    set::{KernelElement, KernelSet},
};

/// A rule's instructions. One that cannot be read is kept by its name.
pub(crate) fn exprs(list: &Attributes) -> Vec<Expr> {
    list.all(1)
        .map(|element| {
            let element = Attributes::of(element);
            let name = element.string(nfta::expr::NAME).unwrap_or_else(|| "?".into());
            expr(&name, &element.nested(nfta::expr::DATA)).unwrap_or(Expr::Other { name })
        })
        .collect()
}

/// The comment in a rule's user data.
pub(crate) fn comment(userdata: &[u8]) -> Option<String> {
    let mut rest = userdata;
    while let [kind, length, data @ ..] = rest {
        let length = usize::from(*length);
        let text = data.get(..length)?;
        if *kind == USERDATA_COMMENT {
            return Some(String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned());
        }
        rest = &data[length..];
    }
    None
}

/// A set, its elements aside.
pub(crate) fn set(set: &Attributes) -> Option<KernelSet> {
    Some(KernelSet {
        name: set.string(nfta::set::NAME)?,
        flags: set.number(nfta::set::FLAGS).unwrap_or_default(),
        key_type: set.number(nfta::set::KEY_TYPE).unwrap_or_default(),
        key_len: set.number(nfta::set::KEY_LEN)?,
        ..KernelSet::default()
    })
}

/// The elements in a message about them.
pub(crate) fn elements(message: &Attributes) -> Vec<KernelElement> {
    let list = message.nested(nfta::elements::ELEMENTS);
    list.all(1).filter_map(|found| element(&Attributes::of(found))).collect()
}

fn element(element: &Attributes) -> Option<KernelElement> {
    let flags = element.number(nfta::element::FLAGS).unwrap_or_default();
    let key = value(element, nfta::element::KEY);
    Some(KernelElement {
        key: if flags & nfta::element::CATCHALL != 0 { Vec::new() } else { key? },
        key_end: value(element, nfta::element::KEY_END),
        is_end: flags & nfta::element::INTERVAL_END != 0,
        verdict: verdict(&element.nested(nfta::element::DATA)),
    })
}

fn value(parts: &Attributes, kind: u16) -> Option<Vec<u8>> {
    parts.nested(kind).bytes(1).map(ToOwned::to_owned)
}

fn verdict(data: &Attributes) -> Option<Verdict> {
    let verdict = data.nested(2);
    Verdict::from_code(verdict.number(1)? as i32, verdict.string(2))
}

fn expr(name: &str, parts: &Attributes) -> Option<Expr> {
    let registers = |kinds: [u16; 2]| kinds.map(|kind| parts.number(kind));
    Some(match name {
        "meta" => match parts.number(3) {
            Some(from) => Expr::SetMeta { key: parts.number(2)?, from },
            None => Expr::Load { load: Load::Meta(parts.number(2)?), to: parts.number(1)? },
        },
        "ct" => match parts.number(4) {
            Some(from) => Expr::SetCt { key: parts.number(2)?, from },
            None => {
                let direction = parts.bytes(3).and_then(|bytes| bytes.first().copied());
                Expr::Load { load: Load::Ct(parts.number(2)?, direction), to: parts.number(1)? }
            }
        },
        "payload" => {
            let load = Load::Payload { base: parts.number(2)?, offset: parts.number(3)?, len: parts.number(4)? };
            // Without a destination it writes to the packet, which has no words here.
            Expr::Load { load, to: parts.number(1)? }
        }
        "fib" => {
            Expr::Load { load: Load::Fib { flags: parts.number(3)?, result: parts.number(2)? }, to: parts.number(1)? }
        }
        "bitwise" => Expr::Bitwise {
            from: parts.number(1)?,
            to: parts.number(2)?,
            mask: value(parts, 4)?,
            xor: value(parts, 5)?,
        },
        "cmp" => {
            Expr::Compare { register: parts.number(1)?, op: Op::from_number(parts.number(2)?)?, data: value(parts, 3)? }
        }
        "range" => Expr::Range {
            register: parts.number(1)?,
            invert: parts.number(2)? == 1,
            from: value(parts, 3)?,
            to: value(parts, 4)?,
        },
        "lookup" => Expr::Lookup {
            register: parts.number(2)?,
            set: parts.string(1)?,
            id: parts.number(4),
            invert: parts.number(5).unwrap_or_default() & 1 != 0,
            to: parts.number(3),
        },
        "immediate" => match parts.number(1)? {
            0 => Expr::Verdict(verdict(&parts.nested(2))?),
            to => Expr::Constant { to, data: value(parts, 2)? },
        },
        "counter" => Expr::Counter { packets: parts.long(2)?, bytes: parts.long(1)? },
        "nat" => Expr::Nat {
            kind: if parts.number(1)? == 0 { NatKind::Source } else { NatKind::Destination },
            family: parts.number(2)?,
            address: registers([3, 4]),
            port: registers([5, 6]),
            flags: parts.number(7).unwrap_or_default(),
        },
        "masq" => Expr::Masquerade { port: registers([2, 3]), flags: parts.number(1).unwrap_or_default() },
        "redir" => Expr::Redirect { port: registers([1, 2]), flags: parts.number(3).unwrap_or_default() },
        "reject" => Expr::Reject {
            kind: parts.number(1)?,
            code: parts.bytes(2).and_then(|bytes| bytes.first().copied()).unwrap_or_default(),
        },
        "log" => Expr::Log {
            prefix: parts.string(2),
            group: parts.bytes(1).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes),
            level: parts.number(5),
        },
        "limit" => Expr::Limit {
            rate: parts.long(1)?,
            unit: parts.long(2)?,
            burst: parts.number(3).unwrap_or_default(),
            bytes: parts.number(4) == Some(1),
            over: parts.number(5).unwrap_or_default() & 1 != 0,
        },
        "match" | "target" => Expr::Xt {
            words: super::xt::words(&parts.string(1)?, parts.number(2)?, parts.bytes(3)?),
            target: name == "target",
        },
        "objref" => Expr::Other { name: format!("objref {}", names::word(names::OBJECT, parts.number(1)?.into())?) },
        _ => return None,
    })
}
