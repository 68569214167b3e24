//! From instructions and sets to netlink attributes. The numbers are those of `linux/netfilter/nf_tables.h`.

use super::{
    attribute::{attribute, nest, number, string},
    expr::{Expr, Load, Verdict},
    nfta,
    set::{KernelElement, KernelSet, flags},
};

/// `NFT_DATA_VERDICT`.
const DATA_VERDICT: u32 = 0xffff_ff00;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`: tells `nft` how to print the keys.
const USERDATA_KEY_ORDER: u8 = 0;
/// `NFTNL_UDATA_RULE_COMMENT`.
pub(super) const USERDATA_COMMENT: u8 = 0;

/// A rule's instructions, each an element of `NFTA_RULE_EXPRESSIONS`; `None` for one that has no form here.
pub(crate) fn exprs(exprs: &[Expr]) -> Option<Vec<Vec<u8>>> {
    exprs.iter().map(expr).collect()
}

/// A comment, as a rule's user data.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    // The length is one byte; nft allows 128 with the closing zero.
    let mut end = text.len().min(127);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text.as_bytes()[..end];
    [&[USERDATA_COMMENT, text.len() as u8 + 1], text, &[0]].concat()
}

/// The attributes of a new set.
pub(crate) fn set(table: &str, set: &KernelSet) -> Vec<Vec<u8>> {
    let order: u32 = if set.host_order { 1 } else { 2 };
    let userdata = [&[USERDATA_KEY_ORDER, 4][..], &order.to_ne_bytes()].concat();
    let mut parts = vec![
        string(nfta::set::TABLE, table),
        string(nfta::set::NAME, &set.name),
        number(nfta::set::FLAGS, set.flags),
        number(nfta::set::KEY_TYPE, set.key_type),
        number(nfta::set::KEY_LEN, set.key_len),
    ];
    if set.flags & flags::MAP != 0 {
        // A verdict has no length of its own; the kernel wants one all the same.
        parts.extend([number(nfta::set::DATA_TYPE, DATA_VERDICT), number(nfta::set::DATA_LEN, 16)]);
    }
    parts.extend([number(nfta::set::ID, set.id), attribute(nfta::set::USERDATA, &userdata)]);
    parts
}

/// The attributes of a set's elements.
pub(crate) fn elements(table: &str, set: &KernelSet) -> Vec<Vec<u8>> {
    vec![
        string(nfta::elements::TABLE, table),
        string(nfta::elements::SET, &set.name),
        nest(nfta::elements::ELEMENTS, set.elements.iter().map(element)),
        number(nfta::elements::SET_ID, set.id),
    ]
}

fn element(element: &KernelElement) -> Vec<u8> {
    let is_rest = element.key.is_empty();
    let mut parts = if is_rest { Vec::new() } else { vec![data(nfta::element::KEY, &element.key)] };
    if let Some(verdict) = &element.verdict {
        parts.push(nest(nfta::element::DATA, [verdict_data(verdict)]));
    }
    let flags = [(element.is_end, nfta::element::INTERVAL_END), (is_rest, nfta::element::CATCHALL)];
    let flags = flags.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag);
    parts.extend(unless_zero(nfta::element::FLAGS, flags));
    nest(1, parts)
}

fn expr(expr: &Expr) -> Option<Vec<u8>> {
    let (name, parts) = match expr {
        Expr::Load { load: of, to } => load(*of, *to),
        Expr::Bitwise { from, to, mask, xor } => (
            "bitwise",
            vec![number(1, *from), number(2, *to), number(3, mask.len() as u32), data(4, mask), data(5, xor)],
        ),
        Expr::Compare { register, op, data: value } => {
            ("cmp", vec![number(1, *register), number(2, *op as u32), data(3, value)])
        }
        Expr::Range { register, invert, from, to } => {
            ("range", vec![number(1, *register), number(2, u32::from(*invert)), data(3, from), data(4, to)])
        }
        Expr::Lookup { register, set, id, invert, to } => ("lookup", lookup(*register, set, *id, *invert, *to)),
        Expr::Constant { to, data: value } => ("immediate", vec![number(1, *to), data(2, value)]),
        Expr::Verdict(verdict) => ("immediate", vec![number(1, 0), nest(2, [verdict_data(verdict)])]),
        Expr::SetMeta { key, from } => ("meta", vec![number(2, *key), number(3, *from)]),
        Expr::SetCt { key, from } => ("ct", vec![number(2, *key), number(4, *from)]),
        Expr::Counter { packets, bytes } => ("counter", vec![long(1, *bytes), long(2, *packets)]),
        Expr::Nat { kind, family, address, port, flags } => {
            let mut parts = vec![number(1, *kind as u32), number(2, *family)];
            parts.extend(registers([3, 4], *address));
            parts.extend(registers([5, 6], *port));
            parts.extend(unless_zero(7, *flags));
            ("nat", parts)
        }
        Expr::Masquerade { port, flags } => {
            ("masq", unless_zero(1, *flags).into_iter().chain(registers([2, 3], *port)).collect())
        }
        Expr::Redirect { port, flags } => {
            ("redir", registers([1, 2], *port).into_iter().chain(unless_zero(3, *flags)).collect())
        }
        Expr::Reject { kind, code } => ("reject", vec![number(1, *kind), attribute(2, &[*code])]),
        Expr::Log { prefix, group, level } => {
            let group = group.map(|group| attribute(1, &group.to_be_bytes()));
            let prefix = prefix.as_ref().map(|prefix| string(2, prefix));
            ("log", [group, prefix, level.map(|level| number(5, level))].into_iter().flatten().collect())
        }
        Expr::Limit { rate, unit, burst, bytes, over } => (
            "limit",
            vec![
                long(1, *rate),
                long(2, *unit),
                number(3, *burst),
                number(4, u32::from(*bytes)),
                number(5, u32::from(*over)),
            ],
        ),
        Expr::Xt { .. } | Expr::Other { .. } => return None,
    };
    // NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }
    Some(nest(1, [string(1, name), nest(2, parts)]))
}

fn load(load: Load, to: u32) -> (&'static str, Vec<Vec<u8>>) {
    match load {
        Load::Meta(key) => ("meta", vec![number(1, to), number(2, key)]),
        Load::Ct(key, direction) => {
            let direction = direction.map(|direction| attribute(3, &[direction]));
            ("ct", [number(1, to), number(2, key)].into_iter().chain(direction).collect())
        }
        Load::Payload { base, offset, len } => {
            ("payload", vec![number(1, to), number(2, base), number(3, offset), number(4, len)])
        }
        Load::Fib { flags, result } => ("fib", vec![number(1, to), number(2, result), number(3, flags)]),
    }
}

fn lookup(register: u32, set: &str, id: Option<u32>, invert: bool, to: Option<u32>) -> Vec<Vec<u8>> {
    /// `NFT_LOOKUP_F_INV`.
    const INVERT: u32 = 1;
    let mut parts = vec![string(1, set), number(2, register)];
    parts.extend(to.map(|to| number(3, to)));
    parts.extend(id.map(|id| number(4, id)));
    parts.extend(invert.then(|| number(5, INVERT)));
    parts
}

/// A first and a last register; the kernel wants the last even where it is the first.
fn registers(kinds: [u16; 2], registers: [Option<u32>; 2]) -> Vec<Vec<u8>> {
    let [Some(first), last] = registers else {
        return Vec::new();
    };
    vec![number(kinds[0], first), number(kinds[1], last.unwrap_or(first))]
}

fn unless_zero(kind: u16, value: u32) -> Option<Vec<u8>> {
    (value != 0).then(|| number(kind, value))
}

fn long(kind: u16, value: u64) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// A value, as `NFTA_DATA_VALUE` within an attribute.
fn data(kind: u16, value: &[u8]) -> Vec<u8> {
    nest(kind, [attribute(1, value)])
}

/// `NFTA_DATA_VERDICT`.
fn verdict_data(verdict: &Verdict) -> Vec<u8> {
    let chain = match verdict {
        Verdict::Jump(chain) | Verdict::Goto(chain) => Some(string(2, chain)),
        _ => None,
    };
    nest(2, [number(1, verdict.code() as u32)].into_iter().chain(chain))
}
