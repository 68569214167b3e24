//! Changes of the rules that happen all at once, or not at all.

use super::{Chain, Family, Rule, Ruleset, Table};
use crate::{
    Error, Namespace, Result,
    ruleset::{
        attribute::{attribute, nest, number, string},
        chain, encode,
        lower::lower,
        nfta::{self, message_type},
        parse,
        socket::{NetfilterSocket, REQUEST, body, message},
    },
};

/// Changes that happen all at once, or not at all.
#[derive(Debug)]
#[must_use = "nothing is changed before `commit`"]
pub struct Batch {
    namespace: Namespace,
    messages: Vec<(String, Vec<u8>)>,
    /// How many nameless sets its rules have.
    sets: u32,
}

const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

impl Batch {
    pub(super) fn new(namespace: &Namespace) -> Self {
        Self { namespace: namespace.clone(), messages: Vec::new(), sets: 0 }
    }

    /// Takes everything away.
    pub(super) fn flush(&mut self) {
        self.push("flushing the ruleset", libc::NFT_MSG_DELTABLE, 0, 0, vec![]);
    }

    /// Adds a table; one that is there already stays as it is. Equivalent to `nft add table`.
    pub fn add_table(&mut self, family: Family, table: &str) {
        let doing = format!("adding table {family} {table}");
        self.push(doing, libc::NFT_MSG_NEWTABLE, CREATE, family as u8, vec![string(nfta::table::NAME, table)]);
    }

    /// Takes a table away, with all that is in it. Equivalent to `nft delete table`.
    pub fn delete_table(&mut self, family: Family, table: &str) {
        let doing = format!("deleting table {family} {table}");
        self.push(doing, libc::NFT_MSG_DELTABLE, 0, family as u8, vec![string(nfta::table::NAME, table)]);
    }

    /// Adds a chain: `type nat hook postrouting priority srcnat; policy accept;`, or empty for one that others jump to.
    /// Equivalent to `nft add chain`.
    pub fn add_chain(&mut self, family: Family, table: &str, chain: &str, text: &str) -> Result<()> {
        let doing = format!("adding chain {family} {table} {chain}");
        let mut parts = of_chain(table, chain);
        let hook = chain::parse(family, text).map_err(|why| Error::Usage(format!("{doing}: `{text}`: {why}")))?;
        if let Some(hook) = hook {
            let place = chain::number_of(family, &hook.hook).unwrap_or_default();
            let named = |kind: u16| hook.devices.iter().map(move |device| string(kind, device));
            let devices = match hook.devices.len() {
                0 | 1 => named(nfta::hook::DEV).next(),
                _ => Some(nest(nfta::hook::DEVS, named(nfta::hook::DEVICE_NAME))),
            };
            let at = [number(nfta::hook::HOOKNUM, place), number(nfta::hook::PRIORITY, hook.priority as u32)];
            parts.push(nest(nfta::chain::HOOK, at.into_iter().chain(devices)));
            parts.push(policy(hook.drops));
            parts.push(string(nfta::chain::TYPE, &hook.kind));
        }
        self.push(doing, libc::NFT_MSG_NEWCHAIN, CREATE, family as u8, parts);
        Ok(())
    }

    /// Adds a rule at the end of a chain. Equivalent to `nft add rule`.
    pub fn add_rule(&mut self, family: Family, table: &str, chain: &str, text: &str) -> Result<()> {
        self.rule(family, table, chain, text, CREATE | APPEND, None)
    }

    /// Adds a rule at the head of a chain. Equivalent to `nft insert rule`.
    pub fn insert_rule(&mut self, family: Family, table: &str, chain: &str, text: &str) -> Result<()> {
        self.rule(family, table, chain, text, CREATE, None)
    }

    /// Puts another rule in the place of one. Equivalent to `nft replace rule ... handle HANDLE`.
    pub fn replace_rule(&mut self, family: Family, table: &str, chain: &str, handle: u64, text: &str) -> Result<()> {
        self.rule(family, table, chain, text, REPLACE, Some(handle))
    }

    /// Changes what becomes of packets that no rule of a base chain decided on. Equivalent to `iptables --policy`.
    pub fn set_policy(&mut self, family: Family, table: &str, chain: &str, drops: bool) {
        let doing = format!("changing the policy of chain {family} {table} {chain}");
        let mut parts = of_chain(table, chain);
        parts.push(policy(drops));
        self.push(doing, libc::NFT_MSG_NEWCHAIN, 0, family as u8, parts);
    }

    /// Takes a rule away. Equivalent to `nft delete rule ... handle HANDLE`.
    pub fn delete_rule(&mut self, family: Family, table: &str, chain: &str, handle: u64) {
        let doing = format!("deleting rule {handle} of chain {family} {table} {chain}");
        self.push(doing, libc::NFT_MSG_DELRULE, 0, family as u8, of_rule(table, chain, Some(handle)));
    }

    /// Takes away the rules of a ruleset that `unwanted` picks.
    pub fn delete_rules(&mut self, ruleset: &Ruleset, unwanted: impl Fn(&Table, &Chain, &Rule) -> bool) {
        for table in &ruleset.tables {
            for chain in &table.chains {
                for rule in chain.rules.iter().filter(|rule| unwanted(table, chain, rule)) {
                    self.delete_rule(table.family, &table.name, &chain.name, rule.handle);
                }
            }
        }
    }

    /// Has it all happen.
    pub fn commit(self) -> Result<()> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let socket = NetfilterSocket::open(&self.namespace)?;
        // NFNL_MSG_BATCH_BEGIN and _END carry the subsystem where others have a resource id.
        let edge =
            |kind, sequence| message(kind as u16, REQUEST, sequence, &[0, 0, 0, libc::NFNL_SUBSYS_NFTABLES as u8]);
        let mut bytes = edge(libc::NFNL_MSG_BATCH_BEGIN, 0);
        for (_, message) in &self.messages {
            bytes.extend(message);
        }
        bytes.extend(edge(libc::NFNL_MSG_BATCH_END, 1 + self.messages.len() as u32));
        socket.send("changing the ruleset", &bytes)?;
        // Nothing is acknowledged, for thousands of acknowledgements find no room; refusals come unasked.
        if let Some(refusal) = socket.refusals()?.first() {
            let of = self.messages.get((refusal.sequence as usize).wrapping_sub(1));
            return Err(socket.error(of.map_or("changing the ruleset", |(doing, _)| doing), refusal));
        }
        Ok(())
    }

    fn rule(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
        text: &str,
        flags: u16,
        handle: Option<u64>,
    ) -> Result<()> {
        let doing = match handle {
            Some(handle) => format!("replacing rule {handle} of chain {family} {table} {chain} by `{text}`"),
            None => format!("adding rule `{text}` to chain {family} {table} {chain}"),
        };
        let wrong = |why: String| Error::Usage(format!("{doing}: {why}"));
        let rule = parse::rule(text).map_err(wrong)?;
        let lowered = lower(family, &rule.statements, &mut self.sets).map_err(wrong)?;
        let expressions = encode::exprs(&lowered.exprs).ok_or_else(|| wrong("it has no form here".into()))?;
        for set in &lowered.sets {
            let (of_set, elements) = (encode::set(table, set), encode::elements(table, set));
            self.push(format!("{doing}: its set"), libc::NFT_MSG_NEWSET, CREATE, family as u8, of_set);
            self.push(format!("{doing}: its set's elements"), libc::NFT_MSG_NEWSETELEM, CREATE, family as u8, elements);
        }
        let mut parts = of_rule(table, chain, handle);
        parts.push(nest(nfta::rule::EXPRESSIONS, expressions));
        parts.extend(rule.comment.map(|comment| attribute(nfta::rule::USERDATA, &encode::comment(&comment))));
        self.push(doing, libc::NFT_MSG_NEWRULE, flags, family as u8, parts);
        Ok(())
    }

    pub(super) fn push(&mut self, doing: impl Into<String>, kind: i32, flags: u16, family: u8, parts: Vec<Vec<u8>>) {
        let sequence = 1 + self.messages.len() as u32;
        let message = message(message_type(kind), REQUEST | flags, sequence, &body(family, &parts));
        self.messages.push((doing.into(), message));
    }
}

fn of_chain(table: &str, chain: &str) -> Vec<Vec<u8>> {
    vec![string(nfta::chain::TABLE, table), string(nfta::chain::NAME, chain)]
}

fn of_rule(table: &str, chain: &str, handle: Option<u64>) -> Vec<Vec<u8>> {
    let handle = handle.map(|handle| attribute(nfta::rule::HANDLE, &handle.to_be_bytes()));
    [string(nfta::rule::TABLE, table), string(nfta::rule::CHAIN, chain)].into_iter().chain(handle).collect()
}

/// `NF_DROP` or `NF_ACCEPT`.
fn policy(drops: bool) -> Vec<u8> {
    number(nfta::chain::POLICY, u32::from(!drops))
}
