//! NAT, published ports, and what may not pass: one nf_tables table of our own, and passes through others' chains.

use std::collections::BTreeSet;

use super::rules;
use crate::{
    Error, Namespace, Result, Topology,
    firewall::{Batch, Chain, Family, Ruleset, Table},
};

/// The table that holds every rule of ours, but for those in others' chains.
pub(super) const TABLE: &str = "netproof";

/// What marks a rule of ours in another's chain.
const MARK: &str = "netproof";

/// Puts all rules for the topology in place of those of before, in one step.
pub(super) fn set(host: &Namespace, topology: &Topology) -> Result<()> {
    let firewall = host.firewall();
    let before = firewall.ruleset()?;
    let replace = |arp: Option<rules::Chain>| {
        let mut batch = firewall.batch();
        take_away(&mut batch, &before);
        rules::all(topology).into_iter().chain(arp).try_for_each(|chain| add_chain(&mut batch, chain))?;
        open_passes(&mut batch, &before, topology)?;
        batch.commit()
    };
    // Not every kernel has nf_tables for ARP, and the network works without it.
    match replace(Some(rules::for_arp(topology))) {
        // What is missing may be another thing, and then it is told again.
        Err(error) if is_missing(&error) => replace(None),
        other => other,
    }
}

fn add_chain(batch: &mut Batch, (family, chain, hook, texts): rules::Chain) -> Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    batch.add_table(family, TABLE);
    batch.add_chain(family, TABLE, chain, hook)?;
    texts.iter().try_for_each(|text| batch.add_rule(family, TABLE, chain, text))
}

fn is_missing(error: &Error) -> bool {
    match error {
        Error::Kernel { source, .. } => matches!(source.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::ENOENT)),
        Error::Unsupported(_) => true,
        _ => false,
    }
}

/// Takes every rule of ours away.
pub(super) fn clear(host: &Namespace) -> Result<()> {
    let firewall = host.firewall();
    let mut batch = firewall.batch();
    take_away(&mut batch, &firewall.ruleset()?);
    batch.commit()
}

fn take_away(batch: &mut Batch, before: &Ruleset) {
    for table in before.tables.iter().filter(|table| is_ours(table)) {
        batch.delete_table(table.family, TABLE);
    }
    batch.delete_rules(before, |table, _, rule| !is_ours(table) && rule.comment.as_deref() == Some(MARK));
}

fn is_ours(table: &Table) -> bool {
    table.name == TABLE
}

/// An accept in our own table does not outweigh a drop in another's: so what must pass gets a rule at the head of every
/// forward chain of others that drops something, as Docker does in `DOCKER-USER`'s neighbourhood.
fn open_passes(batch: &mut Batch, before: &Ruleset, topology: &Topology) -> Result<()> {
    let passes = rules::passes(topology);
    for table in before.tables.iter().filter(|table| !is_ours(table)) {
        for chain in table.chains.iter().filter(|chain| may_drop_forwarded(chain, table)) {
            // Each goes to the head: the last that is inserted comes first.
            for (family, text) in passes.iter().rev() {
                if table.family == Family::Inet || table.family == *family {
                    let text = format!("{text} accept comment \"{MARK}\"");
                    batch.insert_rule(table.family, &table.name, &chain.name, &text)?;
                }
            }
        }
    }
    Ok(())
}

/// A base chain for forwarded packets that drops by its policy, or by a rule of its own or of a chain that it jumps to.
fn may_drop_forwarded(chain: &Chain, table: &Table) -> bool {
    let Some(hook) = chain.hook.as_ref().filter(|hook| hook.hook == "forward" && hook.kind == "filter") else {
        return false;
    };
    if !matches!(table.family, Family::Inet | Family::Ip | Family::Ip6) {
        return false;
    }
    let mut seen = BTreeSet::new();
    let mut left = vec![chain];
    while let Some(chain) = left.pop() {
        if !seen.insert(&chain.name) {
            continue;
        }
        for rule in &chain.rules {
            let words: Vec<&str> = rule.text.split(' ').collect();
            // A target of the old iptables may be a drop, and is not told.
            if words.iter().any(|word| matches!(*word, "drop" | "reject" | "xt")) {
                return true;
            }
            let jumps = words.windows(2).filter(|pair| matches!(pair[0], "jump" | "goto"));
            left.extend(jumps.filter_map(|pair| table.chains.iter().find(|chain| chain.name == pair[1])));
        }
    }
    hook.drops
}
