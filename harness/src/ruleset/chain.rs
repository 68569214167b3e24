//! What makes a chain a base chain: `type nat hook postrouting priority srcnat; policy accept;`.

use super::{
    names::{self, Names},
    tokens::tokens,
};
use crate::firewall::{Family, Hook};

/// Reads what `nft` has between a base chain's braces; nothing for an empty text: a chain that only rules lead to.
/// An error says what was expected.
pub(crate) fn parse(family: Family, text: &str) -> Result<Option<Hook>, String> {
    let tokens = tokens(text).ok_or("a quote has no end")?;
    let mut words = tokens.iter().map(String::as_str).filter(|word| *word != ";").peekable();
    if words.peek().is_none() {
        return Ok(None);
    }
    let (mut kind, mut hook, mut priority, mut devices, mut drops) = (None, None, None, Vec::new(), false);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("a value is missing after `{word}`"));
        match word {
            "type" => kind = Some(value()?.to_owned()),
            "hook" => hook = Some(value()?.to_owned()),
            "device" => devices.push(value()?.to_owned()),
            // `devices = { eth0, eth1 }`
            "devices" => loop {
                match value()? {
                    "}" => break,
                    "=" | "{" | "," => {}
                    device => devices.push(device.to_owned()),
                }
            },
            "policy" => {
                drops = match value()? {
                    "accept" => false,
                    "drop" => true,
                    other => return Err(format!("the policy is `accept` or `drop`, not `{other}`")),
                }
            }
            "priority" => {
                let mut sum = value()?.to_owned();
                // `filter + 10`
                while let Some(more) = words.next_if(|word| is_summand(word)) {
                    sum.push_str(more);
                }
                let number = parse_priority(family, &sum);
                priority = Some(number.ok_or_else(|| format!("`{sum}` is not a priority"))?);
            }
            other => return Err(format!("`{other}` is not understood")),
        }
    }
    let missing = |word: &str| format!("`{word}` is missing");
    let hook = hook.ok_or_else(|| missing("hook"))?;
    if number_of(family, &hook).is_none() {
        let known: Vec<_> = hooks(family).iter().map(|(name, _)| *name).collect();
        return Err(format!("`{hook}` is no hook of the family {family}, which has {}", known.join(", ")));
    }
    let (kind, priority) = (kind.ok_or_else(|| missing("type"))?, priority.ok_or_else(|| missing("priority"))?);
    Ok(Some(Hook { kind, hook, devices, priority, drops }))
}

/// The kernel's number for a hook.
pub(crate) fn number_of(family: Family, hook: &str) -> Option<u32> {
    names::number(hooks(family), hook).map(|number| number as u32)
}

/// A hook, by the kernel's number for it.
pub(crate) fn name_of(family: Family, number: u32) -> &'static str {
    names::word(hooks(family), number.into()).unwrap_or("?")
}

/// A priority as `nft` prints it: by the name of what is at most ten away.
pub(crate) fn print_priority(family: Family, number: i32) -> String {
    let near = priorities(family).iter().find(|(_, base)| number.abs_diff(*base) <= 10);
    match near {
        None => number.to_string(),
        Some((name, base)) if number == *base => (*name).into(),
        Some((name, base)) if number > *base => format!("{name} + {}", number - base),
        Some((name, base)) => format!("{name} - {}", base - number),
    }
}

fn parse_priority(family: Family, text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let (_, base) = priorities(family).iter().find(|(name, _)| *name == &text[..end])?;
    let offset: i32 = if end == text.len() { 0 } else { text[end..].parse().ok()? };
    base.checked_add(offset)
}

fn is_summand(word: &str) -> bool {
    matches!(word, "+" | "-") || word.parse::<i32>().is_ok()
}

fn hooks(family: Family) -> Names {
    match family {
        Family::Arp => names::HOOK_ARP,
        Family::Netdev => names::HOOK_NETDEV,
        _ => names::HOOK,
    }
}

/// `NF_IP_PRI_*`.
const PRIORITIES: &[(&str, i32)] =
    &[("raw", -300), ("mangle", -150), ("dstnat", -100), ("filter", 0), ("security", 50), ("srcnat", 100)];
/// `NF_BR_PRI_*`.
const PRIORITIES_BRIDGE: &[(&str, i32)] = &[("dstnat", -300), ("filter", -200), ("out", 100), ("srcnat", 300)];

fn priorities(family: Family) -> &'static [(&'static str, i32)] {
    if family == Family::Bridge { PRIORITIES_BRIDGE } else { PRIORITIES }
}
