//! Inventories: what someone can leave behind in a namespace, and what changed between two of them.
//!
//! What changes by itself is left out by design, since it would be told as a change although nobody made it:
//!
//! - counters, ages and timers, and so every neighbour and FDB entry that the kernel learned and will forget;
//! - operational states, carriers and port states: they follow the other end, and the link watch's own pace;
//! - interface indices, and the peer of a veth by index: a link that was made anew is the same link;
//! - IPv6 link-local addresses, the routes and multicast filters that come with addresses: the kernel's own, whenever a link comes up;
//! - sysctls that are only in one of the two inventories: they come and go with a device, which is told itself, or with a
//!   module of the kernel's, which somebody else on the machine may have loaded;
//! - sysctls that count (`nf_conntrack_count`), or that repeat what a link says (`conf.DEV.mtu`);
//! - elements of nftables sets that packets or time change (`flags dynamic`, `flags timeout`).
//!
//! Not looked at: what the matches and targets of iptables' own in a rule are set to, rules of the old iptables but for their
//! number, `nexthop` objects, MDB entries, xfrm states and policies, nftables' named
//! counters, quotas and flowtables, the parameters of queueing disciplines, tc filters, address labels, MPTCP endpoints,
//! aliases and further names of links; files and processes, of which [`World`](crate::World) tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CStr,
    fmt, fs, io,
    os::fd::OwnedFd,
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, openat},
    io::read,
};
use similar::{Algorithm, DiffTag, capture_diff_slices};

use crate::{
    Error, Namespace, Result,
    firewall::{Chain, Rule, Ruleset, Table},
    probe::sys,
    state::{Address, FdbEntry, Link, Names, Neighbour, Nud, Route, State, qdisc},
};

/// What is in a namespace, as lines of text by kind.
///
/// ```no_run
/// use netproof::{Inventory, Namespace};
/// let host = Namespace::new("host")?;
/// let before = Inventory::of(&host)?;
/// // ... what is to leave nothing behind ...
/// let changes = before.changes(&Inventory::of(&host)?);
/// assert!(changes.is_empty(), "{changes:#?}");
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    lines: BTreeMap<Kind, Vec<String>>,
    sysctls: BTreeMap<String, String>,
}

/// What kind of thing is in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A link.
    Link,
    /// An address on a link.
    Address,
    /// A route.
    Route,
    /// A policy routing rule.
    Policy,
    /// A neighbour that was set by hand, or is answered for.
    Neighbour,
    /// An FDB entry that was set by hand, or that is a port's own.
    Fdb,
    /// A queueing discipline that somebody has set.
    Qdisc,
    /// A firewall table.
    Table,
    /// A named set or map of a firewall table's, with its elements.
    Set,
    /// A firewall chain.
    Chain,
    /// A firewall rule.
    Rule,
    /// A sysctl.
    Sysctl,
}

/// Whether something came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// It went.
    Removed,
    /// It came.
    Added,
}

/// One line of a diff: something that came or went. What changed went and came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Whether it came or went.
    pub sign: Sign,
    /// It, in the words of the tool that shows it.
    pub text: String,
}

/// Sets without what packets put into them.
fn set_lines(table: &Table) -> Vec<String> {
    let line = |set: &String| {
        let cut = set.split_once(" elements = ").map(|(head, _)| head);
        let changes = |head: &&str| {
            let flags =
                head.split_once(" flags ").and_then(|(_, rest)| rest.split_once(';')).map_or("", |(flags, _)| flags);
            flags.split([',', ' ']).any(|flag| matches!(flag, "dynamic" | "timeout"))
        };
        let text = cut.filter(changes).map_or_else(|| set.clone(), |head| format!("{head} }}"));
        format!("{} {} {text}", table.family, table.name)
    };
    table.sets.iter().map(line).collect()
}

/// A chain with its hook and policy: `inet netproof forward type filter hook forward priority filter; policy accept;`
fn chain_lines(table: &Table) -> Vec<String> {
    let line = |chain: &Chain| {
        let hook = chain.hook.as_ref().map(|hook| format!(" {}", hook.show(table.family))).unwrap_or_default();
        format!("{} {} {}{hook}", table.family, table.name, chain.name)
    };
    table.chains.iter().map(line).collect()
}

/// Rules without what their counters have counted: chains by their names, and each chain's rules in their order.
fn rule_lines(ruleset: &Ruleset) -> Vec<String> {
    let mut chains: Vec<_> = ruleset.chains().collect();
    chains.sort_by_key(|(table, chain)| (table.family, &table.name, &chain.name));
    let of = |table: &Table, chain: &Chain, rule: &Rule| {
        let mut words: Vec<String> = Vec::new();
        let text = rule.to_string();
        let mut rest = text.split(' ');
        while let Some(word) = rest.next() {
            words.push(word.to_owned());
            if word == "counter" {
                rest.by_ref().take(4).for_each(drop);
            }
        }
        format!("{} {} {} {}", table.family, table.name, chain.name, words.join(" "))
    };
    chains.iter().flat_map(|(table, chain)| chain.rules.iter().map(|rule| of(table, chain, rule))).collect()
}

impl Inventory {
    /// Takes it.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let state = State::of(namespace)?;
        let mut lines = BTreeMap::new();
        let mut list = |kind, mut found: Vec<String>| {
            found.sort();
            lines.insert(kind, found);
        };
        list(Kind::Link, state.links.iter().map(link_line).collect());
        list(Kind::Address, state.addresses.iter().filter(|own| lasts(own)).map(address_line).collect());
        list(Kind::Route, state.routes.iter().filter(|route| !route.is_own()).map(route_line).collect());
        list(Kind::Neighbour, state.neighbours.iter().filter(|own| was_set(own)).map(ToString::to_string).collect());
        list(Kind::Fdb, state.fdb.iter().filter(|entry| stays(entry)).map(ToString::to_string).collect());
        list(Kind::Qdisc, qdisc::read(namespace, &Names::of_links(&state.links))?);
        list(Kind::Policy, namespace.policy().list()?.iter().map(ToString::to_string).collect());
        let rules = &state.rules;
        let tables = rules.tables.iter().map(|table| {
            let flags = if table.dormant { " flags dormant" } else { "" };
            format!("{} {}{flags}", table.family, table.name)
        });
        list(Kind::Table, legacy_tables(namespace)?.into_iter().chain(tables).collect());
        list(Kind::Set, rules.tables.iter().flat_map(set_lines).collect());
        list(Kind::Chain, rules.tables.iter().flat_map(chain_lines).collect());
        lines.insert(Kind::Rule, rule_lines(rules));
        Ok(Self { lines, sysctls: sysctls(namespace)? })
    }

    /// What came and what went from this to `after`, by kind.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<Change> {
        let kinds: BTreeSet<Kind> = self.lines.keys().chain(after.lines.keys()).copied().collect();
        let none = Vec::new();
        let mut changes = Vec::new();
        for kind in kinds {
            let [old, new] = [self, after].map(|inventory| inventory.lines.get(&kind).unwrap_or(&none));
            changes.extend(difference(kind, old, new));
        }
        changes.extend(self.sysctl_changes(after));
        changes
    }

    fn sysctl_changes(&self, after: &Self) -> Vec<Change> {
        let both = self.sysctls.iter().filter_map(|(name, old)| Some((name, old, after.sysctls.get(name)?)));
        let changed = both.filter(|(_, old, new)| old != new);
        let line = |sign, name: &str, value: &str| {
            let text = format!("{} = {value}", dotted(name));
            Change { kind: Kind::Sysctl, sign, text }
        };
        changed.flat_map(|(name, old, new)| [line(Sign::Removed, name, old), line(Sign::Added, name, new)]).collect()
    }
}

/// The lines that are in one only. Sorted kinds have no order of their own; rules keep theirs.
fn difference(kind: Kind, old: &[String], new: &[String]) -> Vec<Change> {
    let mut changes = Vec::new();
    for operation in capture_diff_slices(Algorithm::Myers, old, new) {
        if operation.tag() == DiffTag::Equal {
            continue;
        }
        let line = |sign| move |text: &String| Change { kind, sign, text: text.clone() };
        changes.extend(old[operation.old_range()].iter().map(line(Sign::Removed)));
        changes.extend(new[operation.new_range()].iter().map(line(Sign::Added)));
    }
    changes
}

/// A link as it was made, without what follows from its surroundings.
fn link_line(link: &Link) -> String {
    let mut text = format!("{} {}", link.name, if link.kind.is_empty() { "device" } else { &link.kind });
    if let Some(mac) = link.mac {
        text += &format!(" {mac}");
    }
    text += &format!(" mtu {} {}", link.mtu, if link.up { "up" } else { "down" });
    for flag in ["NOARP", "ALLMULTI", "PROMISC"] {
        if link.flags.iter().any(|set| set == flag) {
            text += &format!(" {}", flag.to_lowercase());
        }
    }
    if let Some(master) = &link.master {
        text += &format!(" master {master}");
    }
    if link.group != 0 {
        text += &format!(" group {}", link.group);
    }
    if let Some(port) = link.port {
        text += port.options().as_str();
    }
    if let Some(bridge) = link.bridge {
        text += &format!(" {bridge}");
    }
    link.vlans.iter().for_each(|vlan| text += &format!(" {vlan}"));
    text
}

/// Whether the kernel did not make it by itself.
fn lasts(address: &Address) -> bool {
    !(address.scope == "link" && address.address.addr().is_ipv6())
}

fn address_line(address: &Address) -> String {
    let settled = Address { tentative: false, deprecated: false, broadcast: None, ..address.clone() };
    format!("{settled} dev {}", address.dev)
}

fn route_line(route: &Route) -> String {
    let mut route = Route { linkdown: false, ..route.clone() };
    route.hops.iter_mut().for_each(|hop| hop.linkdown = false);
    route.to_string()
}

fn was_set(neighbour: &Neighbour) -> bool {
    neighbour.proxy || neighbour.state == Nud::Permanent
}

fn stays(entry: &FdbEntry) -> bool {
    !entry.is_learned() && entry.is_unicast()
}

/// The tables of the old iptables, where this kernel has it and somebody used it, with how many entries they hold.
///
/// An empty `filter` has 4: its three chains, and an end.
fn legacy_tables(namespace: &Namespace) -> Result<Vec<String>> {
    let read = namespace.run(|| {
        let mut tables = Vec::new();
        for (program, names) in [("iptables-legacy", "ip_tables_names"), ("ip6tables-legacy", "ip6_tables_names")] {
            let Ok(names) = fs::read_to_string(format!("/proc/thread-self/net/{names}")) else { continue };
            for name in names.lines() {
                let entries = sys::legacy_entries(name, program == "ip6tables-legacy")?;
                tables.push(format!("{program} {name}: {entries} entries"));
            }
        }
        Ok(tables)
    })?;
    read.map_err(|error: io::Error| Error::kernel("reading iptables", namespace.name(), error))
}

/// All of `/proc/sys/net` that can be read, by its path below that.
fn sysctls(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let read = namespace.run(|| {
        let mut found = BTreeMap::new();
        walk(&fs::File::open("/proc/sys/net")?.into(), "", &mut found).map(|()| found)
    })?;
    read.map_err(|error| Error::kernel("reading sysctls", namespace.name(), error))
}

/// Each is opened by its name in its folder: every step of a path costs as much as there are namespaces.
fn walk(folder: &OwnedFd, below: &str, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    // The kernel hands out all of a sysctl's value at once.
    let mut value = [0; 4096];
    let open = |name: &CStr| openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        if entry.file_type() == FileType::Directory {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            match open(entry.file_name()).map_err(io::Error::from).and_then(|folder| walk(&folder, &path, found)) {
                // Its device has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        } else if !is_volatile(&path)
            // What cannot be read (write-only, a secret that is not set) cannot be compared.
            && let Ok(file) = open(entry.file_name())
            && let Ok(length) = read(&file, &mut value)
        {
            let text = String::from_utf8_lossy(&value[..length]);
            found.insert(path, text.trim_end().replace('\t', " "));
        }
    }
    Ok(())
}

/// Whether it changes by itself, or repeats what a link says. The kernel draws a Fast Open key for the first listener.
fn is_volatile(path: &str) -> bool {
    path.ends_with("nf_conntrack_count")
        || path.ends_with("tcp_fastopen_key")
        || device_of(path).is_some() && path.ends_with("/mtu")
}

/// The device whose sysctl it is: `ipv4/conf/br0/rp_filter`.
fn device_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    let (family, kind, device) = (parts.next()?, parts.next()?, parts.next()?);
    let per_device = matches!(family, "ipv4" | "ipv6") && matches!(kind, "conf" | "neigh") && parts.next().is_some();
    (per_device && !matches!(device, "all" | "default")).then_some(device)
}

/// As sysctl(8) names it: `net.ipv4.conf.br0.rp_filter`, a dot within a device's name as `/`.
fn dotted(path: &str) -> String {
    let swap = |letter| match letter {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    format!("net.{}", path.chars().map(swap).collect::<String>())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Policy => "policy",
            Self::Neighbour => "neighbour",
            Self::Fdb => "fdb",
            Self::Qdisc => "qdisc",
            Self::Table => "table",
            Self::Set => "set",
            Self::Chain => "chain",
            Self::Rule => "rule",
            Self::Sysctl => "sysctl",
        })
    }
}

/// A line of a diff: `+ route 10.20.0.0/16 dev br0`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.sign == Sign::Added { '+' } else { '-' };
        write!(f, "{sign} {} {}", self.kind, self.text)
    }
}

#[cfg(test)]
mod tests;
