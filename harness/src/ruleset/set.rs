//! Sets as the kernel keeps them, and as one writes them.

use super::{
    expr::Verdict,
    field::Key,
    kind::{Form, Order},
    statement::{Element, Item, Set, print_set},
};

/// `NFT_SET_*`.
pub(crate) mod flags {
    pub(crate) const ANONYMOUS: u32 = 1;
    pub(crate) const CONSTANT: u32 = 2;
    pub(crate) const INTERVAL: u32 = 4;
    pub(crate) const MAP: u32 = 8;
    pub(crate) const TIMEOUT: u32 = 16;
    pub(crate) const DYNAMIC: u32 = 32;
}

/// A set as the kernel keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelSet {
    pub(crate) name: String,
    /// Its number within a batch, before the kernel has named it.
    pub(crate) id: u32,
    pub(crate) flags: u32,
    /// nft's number for the keys' type; 6 bits for each of several.
    pub(crate) key_type: u32,
    pub(crate) key_len: u32,
    pub(crate) host_order: bool,
    pub(crate) elements: Vec<KernelElement>,
}

/// An element, or the end of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelElement {
    /// Empty: it stands for what no other does (`*`).
    pub(crate) key: Vec<u8>,
    /// The last key, in sets of several intervals side by side.
    pub(crate) key_end: Option<Vec<u8>>,
    /// The first key that is no longer in: `NFT_SET_ELEM_INTERVAL_END`.
    pub(crate) is_end: bool,
    pub(crate) verdict: Option<Verdict>,
}

impl KernelSet {
    /// A nameless set of these elements.
    pub(crate) fn anonymous(id: u32, keys: &[Key], elements: &[Element]) -> Result<Self, String> {
        let map = elements.iter().any(|element| element.verdict.is_some());
        let interval = elements.iter().flat_map(|element| &element.items).any(|item| !matches!(item, Item::Value(_)));
        if interval && (keys.len() > 1 || keys[0].kind.order == Order::Host) {
            return Err(format!("prefixes and ranges are not known here in a set of `{}`", keys[0].name));
        }
        let mut flags = flags::ANONYMOUS | flags::CONSTANT;
        flags |= if map { flags::MAP } else { 0 } | if interval { flags::INTERVAL } else { 0 };
        let elements = if interval {
            intervals(keys, elements)?
        } else {
            let values = elements.iter().map(|element| KernelElement {
                key: element.items.iter().flat_map(|item| padded(&bounds(item).0, keys.len())).collect(),
                verdict: element.verdict.clone(),
                ..KernelElement::default()
            });
            values.collect()
        };
        Ok(Self {
            name: if map { "__map%d" } else { "__set%d" }.into(),
            id,
            flags,
            key_type: keys.iter().fold(0, |types, key| types << 6 | key.kind.id),
            key_len: keys.iter().map(|key| width(key, keys.len()) as u32).sum(),
            host_order: keys[0].kind.order == Order::Host,
            elements,
        })
    }

    /// A named set in one line, as `nft` would write it: `set blocked { type ipv4_addr; elements = { 192.0.2.7 } }`.
    pub(crate) fn print(&self) -> String {
        let holds_data = self.flags & flags::MAP != 0 && self.elements.iter().any(|element| element.verdict.is_none());
        let keys = Key::of_type(self.key_type).filter(|keys| !keys.is_empty() && !holds_data);
        let Some(keys) = keys else {
            return format!("# set {} of {} elements", self.name, self.elements.len());
        };
        let (word, to) = if self.flags & flags::MAP != 0 { ("map", " : verdict") } else { ("set", "") };
        let kind = keys.iter().map(|key| key.name.as_ref()).collect::<Vec<_>>().join(" . ");
        let named = [(flags::INTERVAL, "interval"), (flags::DYNAMIC, "dynamic"), (flags::TIMEOUT, "timeout")];
        let set: Vec<&str> = named.iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, name)| *name).collect();
        let flags = if set.is_empty() { String::new() } else { format!(" flags {};", set.join(",")) };
        let elements = Set::Elements(self.elements(&keys));
        let elements = if self.elements.is_empty() {
            String::new()
        } else {
            format!(" elements = {}", print_set(&keys, &elements))
        };
        format!("{word} {} {{ type {kind}{to};{flags}{elements} }}", self.name)
    }

    /// The elements as one writes them.
    pub(crate) fn elements(&self, keys: &[Key]) -> Vec<Element> {
        let mut sorted = self.elements.clone();
        // An interval's end comes before the beginning of the next, which may be the same key.
        sorted.sort_by(|a, b| (&a.key, !a.is_end).cmp(&(&b.key, !b.is_end)));
        let interval = self.flags & flags::INTERVAL != 0 && keys.len() == 1;
        let mut elements = Vec::new();
        for (at, element) in sorted.iter().enumerate().filter(|(_, element)| !element.is_end) {
            let items = if element.key.is_empty() {
                Vec::new()
            } else if interval {
                let end = sorted.get(at + 1).map(|next| before(&next.key));
                vec![written(&keys[0], &element.key, &end.unwrap_or_else(|| vec![0xff; element.key.len()]))]
            } else {
                split(keys, &element.key, element.key_end.as_deref().unwrap_or(&element.key))
            };
            elements.push(Element { items, verdict: element.verdict.clone() });
        }
        elements.sort_by_key(|element| element.items.is_empty());
        elements
    }
}

/// The number of bytes that a key takes; side by side with others, whole registers.
pub(crate) fn width(key: &Key, keys: usize) -> usize {
    if keys > 1 { key.kind.len.next_multiple_of(4) } else { key.kind.len }
}

/// The first and the last value of an item.
pub(crate) fn bounds(item: &Item) -> (Vec<u8>, Vec<u8>) {
    match item {
        Item::Value(value) => (value.clone(), value.clone()),
        Item::Range(first, last) => (first.clone(), last.clone()),
        Item::Prefix(value, length) => {
            let mask = mask(*length, value.len());
            let join = |f: fn(u8, u8) -> u8| value.iter().zip(&mask).map(|(byte, mask)| f(*byte, *mask)).collect();
            (join(|byte, mask| byte & mask), join(|byte, mask| byte & mask | !mask))
        }
    }
}

/// `length` ones, then zeroes.
pub(crate) fn mask(length: u8, bytes: usize) -> Vec<u8> {
    let ones = |at: usize| u32::from(length).saturating_sub(8 * at as u32).min(8);
    (0..bytes).map(|at| 0xff_u8.checked_shl(8 - ones(at)).unwrap_or(0)).collect()
}

/// The length of a mask that is ones, then zeroes.
pub(crate) fn mask_length(bytes: &[u8]) -> Option<u8> {
    let length = bytes.iter().map(|byte| byte.leading_ones()).take_while(|ones| *ones > 0).sum::<u32>() as u8;
    (mask(length, bytes.len()) == bytes).then_some(length)
}

fn padded(value: &[u8], keys: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    if keys > 1 {
        value.resize(value.len().next_multiple_of(4), 0);
    }
    value
}

/// Beginnings and ends, in order. The kernel's interval sets hold the first key that is in, and the first that is not.
fn intervals(keys: &[Key], elements: &[Element]) -> Result<Vec<KernelElement>, String> {
    let (some, rest): (Vec<_>, Vec<_>) = elements.iter().partition(|element| !element.items.is_empty());
    let mut sorted: Vec<_> = some.iter().map(|element| (bounds(&element.items[0]), &element.verdict)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut made = Vec::new();
    let end = |key: Vec<u8>| KernelElement { key, is_end: true, ..KernelElement::default() };
    if sorted.first().is_some_and(|((first, _), _)| first.iter().any(|byte| *byte != 0)) {
        made.push(end(vec![0; keys[0].kind.len]));
    }
    for (at, ((first, last), verdict)) in sorted.iter().enumerate() {
        if first > last {
            return Err(format!("a range that ends before it begins, in a set of `{}`", keys[0].name));
        }
        let next = sorted.get(at + 1).map(|((next, _), _)| next);
        if next.is_some_and(|next| next <= last) {
            return Err(format!("elements that overlap, in a set of `{}`", keys[0].name));
        }
        made.push(KernelElement { key: first.clone(), verdict: (*verdict).clone(), ..KernelElement::default() });
        if let Some(after) = after(last).filter(|after| next != Some(after)) {
            made.push(end(after));
        }
    }
    let rest = rest.iter().map(|rest| KernelElement { verdict: rest.verdict.clone(), ..KernelElement::default() });
    made.extend(rest);
    Ok(made)
}

/// The key after this one; none after the last.
fn after(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(key);
        }
    }
    None
}

fn before(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let (difference, borrow) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrow {
            break;
        }
    }
    key
}

/// An interval as one writes it: a value, a prefix where it is one, else a range.
fn written(key: &Key, first: &[u8], last: &[u8]) -> Item {
    if first == last {
        return Item::Value(first.to_vec());
    }
    let differing: Vec<u8> = first.iter().zip(last).map(|(a, b)| !(a ^ b)).collect();
    match mask_length(&differing) {
        // `eth*`
        Some(length) if key.kind.form == Form::Name && length % 8 == 0 => {
            Item::Value(first[..usize::from(length / 8)].to_vec())
        }
        Some(length)
            if matches!(key.kind.form, Form::Ipv4 | Form::Ipv6)
                && bounds(&Item::Prefix(first.to_vec(), length)) == (first.to_vec(), last.to_vec()) =>
        {
            Item::Prefix(first.to_vec(), length)
        }
        _ => Item::Range(first.to_vec(), last.to_vec()),
    }
}

/// The parts of a key of several, side by side.
fn split(keys: &[Key], first: &[u8], last: &[u8]) -> Vec<Item> {
    let mut at = 0;
    let part = |key: &Key| {
        let start = at;
        at += width(key, keys.len());
        let cut = |bytes: &[u8]| bytes.get(start..start + key.kind.len).unwrap_or_default().to_vec();
        written(key, &cut(first), &cut(last))
    };
    keys.iter().map(part).collect()
}
