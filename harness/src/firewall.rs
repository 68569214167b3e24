//! nf_tables rules, written as `nft` prints them, over netlink: the `nft` program is not needed.

use std::{collections::BTreeSet, fmt, io};

pub use batch::Batch;

use crate::{
    Error, Namespace, Result,
    ruleset::{chain, socket::NetfilterSocket, statement::Statement},
};

mod batch;
mod read;

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
#[non_exhaustive]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Whether its chains see no packets for now (`flags dormant`).
    pub dormant: bool,
    /// Its sets and maps that have a name, a line each.
    pub sets: Vec<String>,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Hook {
    /// `filter`, `nat`, `route`
    pub kind: String,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`, `ingress`
    pub hook: String,
    /// At `ingress` and `egress`, the devices.
    pub devices: Vec<String>,
    /// Chains of the same hook run in the order of their priorities.
    pub priority: i32,
    /// What becomes of a packet that no rule decided on: true: it is dropped.
    pub drops: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Its number in its table.
    pub handle: u64,
    /// Its text, without its comment.
    pub text: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Its text, taken apart.
    pub(crate) statements: Vec<Statement>,
}

/// The nf_tables of a namespace.
#[derive(Clone, Debug)]
pub struct Firewall {
    namespace: Namespace,
}

impl Namespace {
    /// The namespace's nf_tables.
    #[must_use]
    pub fn firewall(&self) -> Firewall {
        Firewall { namespace: self.clone() }
    }
}

impl Firewall {
    /// Changes that are to happen at once.
    ///
    /// ```no_run
    /// use netproof::firewall::Family;
    /// # let host = netproof::Namespace::new("host")?;
    /// let mut batch = host.firewall().batch();
    /// batch.add_table(Family::Inet, "mine");
    /// batch.add_chain(Family::Inet, "mine", "forward", "type filter hook forward priority filter; policy drop;")?;
    /// batch.add_rule(Family::Inet, "mine", "forward", "ct state established,related accept")?;
    /// batch.commit()?;
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn batch(&self) -> Batch {
        Batch::new(&self.namespace)
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
            let ruleset = read::ruleset(&socket, &mut generations)?;
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
        batch.flush();
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
        for (table, chain) in ruleset.chains() {
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

impl Ruleset {
    /// Every chain, with its table.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (&Table, &Chain)> {
        self.tables.iter().flat_map(|table| table.chains.iter().map(move |chain| (table, chain)))
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
            if table.dormant {
                writeln!(f, "\tflags dormant")?;
            }
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
        let devices = match self.devices.as_slice() {
            [] => String::new(),
            [device] => format!(" device \"{device}\""),
            devices => format!(" devices = {{ {} }}", devices.join(", ")),
        };
        let priority = chain::print_priority(family, self.priority);
        let policy = if self.drops { "drop" } else { "accept" };
        format!("type {} hook {}{devices} priority {priority}; policy {policy};", self.kind, self.hook)
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
