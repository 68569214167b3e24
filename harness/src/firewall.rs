//! nf_tables rules, written as `nft` prints them, over netlink: the `nft` program is not needed.

use std::{collections::BTreeSet, fmt, io};

use crate::{
    Error, Namespace, Result,
    ruleset::{
        attribute::{Attributes, attribute, nest, number, string},
        chain, decode, encode,
        lift::lift,
        lower::lower,
        parse,
        set::{KernelSet, flags},
        socket::{NetfilterSocket, REQUEST, body, message},
        statement,
    },
};

/// An address family of nf_tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// ARP.
    Arp = 3,
    /// One device's ingress and egress.
    Netdev = 5,
    /// Bridged frames.
    Bridge = 7,
    /// IPv6.
    Ip6 = 10,
}

/// The whole ruleset of a namespace. Its `Display` is that of `nft list ruleset`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The tables.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its sets and maps that have a name, a line each.
    pub sets: Vec<String>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it is hooked in; `None`: others jump to it.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where a base chain is hooked in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter`, `nat`, `route`
    pub kind: String,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress`
    pub hook: String,
    /// At `ingress`, the device.
    pub device: Option<String>,
    /// Chains of the same hook run in the order of their priorities.
    pub priority: i32,
    /// What becomes of a packet that no rule decided on: true: it is dropped.
    pub drops: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number in its table.
    pub handle: u64,
    /// Its text, without its comment.
    pub text: String,
    /// Its comment.
    pub comment: Option<String>,
}

/// The nf_tables of a namespace.
#[derive(Clone, Debug)]
pub struct Firewall {
    namespace: Namespace,
}

/// Changes that happen all at once, or not at all.
#[derive(Debug)]
#[must_use = "nothing is changed before `commit`"]
pub struct Batch {
    namespace: Namespace,
    messages: Vec<(String, Vec<u8>)>,
    /// How many nameless sets its rules have.
    sets: u32,
}

const SUBSYSTEM: u16 = 10 << 8;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

impl Namespace {
    /// The namespace's nf_tables.
    #[must_use]
    pub fn firewall(&self) -> Firewall {
        Firewall { namespace: self.clone() }
    }
}

impl Firewall {
    /// Changes that are to happen at once.
    pub fn batch(&self) -> Batch {
        Batch { namespace: self.namespace.clone(), messages: Vec::new(), sets: 0 }
    }

    /// Everything that there is, whoever made it. Equivalent to `nft list ruleset`, but for counters and the like that
    /// have names, and flowtables.
    ///
    /// Rules of the legacy `iptables` programs are not among it: the kernel keeps those apart.
    pub fn ruleset(&self) -> Result<Ruleset> {
        const TRIES: usize = 16;
        let socket = NetfilterSocket::open(&self.namespace)?;
        for _ in 0..TRIES {
            // Somebody may change the rules between two lists: the kernel numbers the changes.
            let mut generations = BTreeSet::new();
            let ruleset = read(&socket, &mut generations)?;
            if generations.len() <= 1 {
                return Ok(ruleset);
            }
        }
        let busy = io::Error::from_raw_os_error(libc::EBUSY);
        Err(Error::kernel("listing rules that keep changing", self.namespace.name(), busy))
    }

    /// Takes everything away. Equivalent to `nft flush ruleset`.
    pub fn flush(&self) -> Result<()> {
        let mut batch = self.batch();
        batch.push("flushing the ruleset", SUBSYSTEM | 2, 0, 0, vec![]);
        batch.commit()
    }

    /// Puts others in the place of the rules that `edit` has a text for, all at once. Tells how many.
    ///
    /// ```no_run
    /// # let host = netproof::Namespace::new("host")?;
    /// host.firewall().edit_rules(|_, _, rule| {
    ///     rule.text.contains("dnat").then(|| rule.to_string().replace("10.20.30.41", "10.20.20.41"))
    /// })?;
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn edit_rules(&self, edit: impl Fn(&Table, &Chain, &Rule) -> Option<String>) -> Result<usize> {
        let (mut batch, mut edited) = (self.batch(), 0);
        let ruleset = self.ruleset()?;
        let chains = ruleset.tables.iter().flat_map(|table| table.chains.iter().map(move |chain| (table, chain)));
        for (table, chain) in chains {
            for rule in &chain.rules {
                if let Some(text) = edit(table, chain, rule) {
                    batch.replace_rule(table.family, &table.name, &chain.name, rule.handle, &text)?;
                    edited += 1;
                }
            }
        }
        batch.commit()?;
        Ok(edited)
    }

    /// Takes away the rules that `unwanted` picks.
    pub fn delete_rules(&self, unwanted: impl Fn(&Table, &Chain, &Rule) -> bool) -> Result<()> {
        let mut batch = self.batch();
        batch.delete_rules(&self.ruleset()?, unwanted);
        batch.commit()
    }
}

fn read(socket: &NetfilterSocket, generations: &mut BTreeSet<u16>) -> Result<Ruleset> {
    let mut dump = |doing: &str, kind: u16| -> Result<Vec<(Family, Attributes)>> {
        let parts = socket.dump(doing, SUBSYSTEM | kind, 0, &[])?;
        generations.extend(parts.iter().map(|part| part.generation));
        Ok(parts.into_iter().filter_map(|part| Some((Family::of(part.family)?, part.attributes))).collect())
    };
    let tables = dump("listing tables", 1)?;
    if tables.is_empty() {
        return Ok(Ruleset::default());
    }
    let (chains, rules) = (dump("listing chains", 4)?, dump("listing rules", 7)?);
    let sets = read_sets(socket, generations)?;
    let mut ruleset = Ruleset::default();
    for (family, table) in tables {
        ruleset.tables.push(Table {
            family,
            name: table.string(1).unwrap_or_default(),
            sets: Vec::new(),
            chains: Vec::new(),
        });
    }
    for (family, chain) in chains {
        let name = chain.string(1).unwrap_or_default();
        if let Some(table) = ruleset.tables.iter_mut().find(|table| table.family == family && table.name == name) {
            table.chains.push(read_chain(family, &chain));
        }
    }
    for (family, table, set) in sets.iter().filter(|(_, _, set)| set.flags & flags::ANONYMOUS == 0) {
        let mut tables = ruleset.tables.iter_mut();
        if let Some(table) = tables.find(|known| known.family as u8 == *family && known.name == *table) {
            table.sets.push(set.print());
        }
    }
    for (family, rule) in rules {
        let (table, chain) = (rule.string(1).unwrap_or_default(), rule.string(2).unwrap_or_default());
        let own = sets.iter().filter(|(of, name, _)| *of == family as u8 && *name == table);
        let own: Vec<KernelSet> = own.map(|(_, _, set)| set.clone()).collect();
        let table = ruleset.tables.iter_mut().find(|known| known.family == family && known.name == table);
        if let Some(chain) = table.and_then(|table| table.chains.iter_mut().find(|known| known.name == chain)) {
            chain.rules.push(read_rule(family, &rule, &own));
        }
    }
    Ok(ruleset)
}

impl Batch {
    /// Adds a table; one that is there already stays as it is. Equivalent to `nft add table`.
    pub fn add_table(&mut self, family: Family, table: &str) {
        self.push(format!("adding table {family} {table}"), SUBSYSTEM, CREATE, family as u8, vec![string(1, table)]);
    }

    /// Takes a table away, with all that is in it. Equivalent to `nft delete table`.
    pub fn delete_table(&mut self, family: Family, table: &str) {
        self.push(format!("deleting table {family} {table}"), SUBSYSTEM | 2, 0, family as u8, vec![string(1, table)]);
    }

    /// Adds a chain: `type nat hook postrouting priority srcnat; policy accept;`, or empty for one that others jump to.
    /// Equivalent to `nft add chain`.
    pub fn add_chain(&mut self, family: Family, table: &str, chain: &str, text: &str) -> Result<()> {
        let doing = format!("adding chain {family} {table} {chain}");
        let mut parts = vec![string(1, table), string(3, chain)];
        let hook = chain::parse(family, text).map_err(|why| Error::Usage(format!("{doing}: `{text}`: {why}")))?;
        if let Some(hook) = hook {
            let place = chain::number_of(family, &hook.hook).unwrap_or_default();
            let device = hook.device.as_ref().map(|device| string(3, device));
            parts.push(nest(4, [number(1, place), number(2, hook.priority as u32)].into_iter().chain(device)));
            parts.push(number(5, u32::from(!hook.drops)));
            parts.push(string(7, &hook.kind));
        }
        self.push(doing, SUBSYSTEM | 3, CREATE, family as u8, parts);
        Ok(())
    }

    /// Takes an empty chain away. Equivalent to `nft delete chain`.
    pub fn delete_chain(&mut self, family: Family, table: &str, chain: &str) {
        let doing = format!("deleting chain {family} {table} {chain}");
        self.push(doing, SUBSYSTEM | 5, 0, family as u8, vec![string(1, table), string(3, chain)]);
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
        let parts = vec![string(1, table), string(3, chain), number(5, u32::from(!drops))];
        self.push(doing, SUBSYSTEM | 3, 0, family as u8, parts);
    }

    /// Takes a rule away. Equivalent to `nft delete rule ... handle HANDLE`.
    pub fn delete_rule(&mut self, family: Family, table: &str, chain: &str, handle: u64) {
        let parts = vec![string(1, table), string(2, chain), attribute(3, &handle.to_be_bytes())];
        let doing = format!("deleting rule {handle} of chain {family} {table} {chain}");
        self.push(doing, SUBSYSTEM | 8, 0, family as u8, parts);
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
        let edge = |kind, sequence| message(kind, REQUEST, sequence, &[0, 0, 0, 10]);
        let mut bytes = edge(0x10, 0);
        for (_, message) in &self.messages {
            bytes.extend(message);
        }
        bytes.extend(edge(0x11, 1 + self.messages.len() as u32));
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
            self.push(format!("{doing}: its set"), SUBSYSTEM | 9, CREATE, family as u8, encode::set(table, set));
            let elements = encode::elements(table, set);
            self.push(format!("{doing}: its set's elements"), SUBSYSTEM | 12, CREATE, family as u8, elements);
        }
        let mut parts = vec![string(1, table), string(2, chain)];
        parts.extend(handle.map(|handle| attribute(3, &handle.to_be_bytes())));
        parts.push(nest(4, expressions));
        parts.extend(rule.comment.map(|comment| attribute(7, &encode::comment(&comment))));
        self.push(doing, SUBSYSTEM | 6, flags, family as u8, parts);
        Ok(())
    }

    fn push(&mut self, doing: impl Into<String>, kind: u16, flags: u16, family: u8, parts: Vec<Vec<u8>>) {
        let sequence = 1 + self.messages.len() as u32;
        self.messages.push((doing.into(), message(kind, REQUEST | flags, sequence, &body(family, &parts))));
    }
}

type OwnedSet = (u8, String, KernelSet);

/// Every set, with its elements.
fn read_sets(socket: &NetfilterSocket, generations: &mut BTreeSet<u16>) -> Result<Vec<OwnedSet>> {
    let mut sets = Vec::new();
    for found in socket.dump("listing sets", SUBSYSTEM | 10, 0, &[])? {
        generations.insert(found.generation);
        let (Some(table), Some(mut set)) = (found.attributes.string(1), decode::set(&found.attributes)) else {
            continue;
        };
        let of_set = [string(1, &table), string(2, &set.name)];
        match socket.dump("listing a set's elements", SUBSYSTEM | 13, found.family, &of_set) {
            Ok(parts) => {
                generations.extend(parts.iter().map(|part| part.generation));
                set.elements = parts.iter().flat_map(|part| decode::elements(&part.attributes)).collect();
            }
            // It has gone since it was listed, and another look will be taken.
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
                generations.insert(found.generation.wrapping_add(1));
            }
            Err(error) => return Err(error),
        }
        sets.push((found.family, table, set));
    }
    Ok(sets)
}

fn read_chain(family: Family, chain: &Attributes) -> Chain {
    let place = chain.nested(4);
    let hook = place.number(1).map(|number| Hook {
        kind: chain.string(7).unwrap_or_else(|| "filter".into()),
        hook: chain::name_of(family, number).to_owned(),
        device: place.string(3),
        priority: place.number(2).unwrap_or(0) as i32,
        drops: chain.number(5) == Some(0),
    });
    Chain { name: chain.string(3).unwrap_or_default(), hook, rules: Vec::new() }
}

fn read_rule(family: Family, rule: &Attributes, sets: &[KernelSet]) -> Rule {
    let statements = lift(family, &decode::exprs(&rule.nested(4)), sets);
    Rule {
        handle: rule.long(3).unwrap_or(0),
        text: statement::print(&statements),
        comment: rule.bytes(7).and_then(decode::comment),
    }
}

impl Family {
    fn of(number: u8) -> Option<Self> {
        use Family::{Arp, Bridge, Inet, Ip, Ip6, Netdev};
        [Inet, Ip, Arp, Netdev, Bridge, Ip6].into_iter().find(|family| *family as u8 == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "table {} {} {{", table.family, table.name)?;
            for set in &table.sets {
                writeln!(f, "\t{set}\n")?;
            }
            for (place, chain) in table.chains.iter().enumerate() {
                let apart = if place > 0 { "\n" } else { "" };
                writeln!(f, "{apart}\tchain {} {{", chain.name)?;
                if let Some(hook) = &chain.hook {
                    writeln!(f, "\t\t{}", hook.show(table.family))?;
                }
                for rule in &chain.rules {
                    writeln!(f, "\t\t{rule}")?;
                }
                writeln!(f, "\t}}")?;
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

impl Hook {
    /// As `nft` prints it in a chain of this family.
    #[must_use]
    pub fn show(&self, family: Family) -> String {
        let device = self.device.as_ref().map(|device| format!(" device \"{device}\"")).unwrap_or_default();
        let priority = chain::print_priority(family, self.priority);
        let policy = if self.drops { "drop" } else { "accept" };
        format!("type {} hook {}{device} priority {priority}; policy {policy};", self.kind, self.hook)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
