//! nf_tables rules, written as `nft` prints them, over netlink: the `nft` program is not needed.

use std::{fmt, io};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::{
    Error, Namespace, Result,
    ruleset::{
        attribute::{Attributes, attribute, nest, number, string},
        decode, encode, numbers,
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
    /// `prerouting`, `input`, `forward`, `output`, `postrouting`
    pub hook: String,
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
}

const SUBSYSTEM: u16 = 10 << 8;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
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
        Batch { namespace: self.namespace.clone(), messages: Vec::new() }
    }

    /// Everything that there is. Equivalent to `nft list ruleset`, but for the elements of sets.
    pub fn ruleset(&self) -> Result<Ruleset> {
        let socket = NetfilterSocket::open(&self.namespace)?;
        let mut ruleset = Ruleset::default();
        for (family, table) in socket.dump("listing tables", SUBSYSTEM | 1)? {
            let Some(family) = Family::of(family) else { continue };
            ruleset.tables.push(Table { family, name: table.string(1).unwrap_or_default(), chains: Vec::new() });
        }
        for (family, chain) in socket.dump("listing chains", SUBSYSTEM | 4)? {
            let name = chain.string(1).unwrap_or_default();
            let table = ruleset.tables.iter_mut().find(|table| table.family as u8 == family && table.name == name);
            if let Some(table) = table {
                table.chains.push(read_chain(&chain));
            }
        }
        for (family, rule) in socket.dump("listing rules", SUBSYSTEM | 7)? {
            let (table, chain) = (rule.string(1).unwrap_or_default(), rule.string(2).unwrap_or_default());
            let table = ruleset.tables.iter_mut().find(|known| known.family as u8 == family && known.name == table);
            let chain = table.and_then(|table| table.chains.iter_mut().find(|known| known.name == chain));
            if let Some(chain) = chain {
                chain.rules.push(read_rule(&rule));
            }
        }
        Ok(ruleset)
    }

    /// Takes everything away. Equivalent to `nft flush ruleset`.
    pub fn flush(&self) -> Result<()> {
        let mut batch = self.batch();
        batch.push("flushing the ruleset", SUBSYSTEM | 2, 0, 0, vec![]);
        batch.commit()
    }

    /// Takes away the rules that `unwanted` picks.
    pub fn delete_rules(&self, unwanted: impl Fn(&Table, &Chain, &Rule) -> bool) -> Result<()> {
        let mut batch = self.batch();
        let ruleset = self.ruleset()?;
        for table in &ruleset.tables {
            for chain in &table.chains {
                for rule in chain.rules.iter().filter(|rule| unwanted(table, chain, rule)) {
                    batch.delete_rule(table.family, &table.name, &chain.name, rule.handle);
                }
            }
        }
        batch.commit()
    }
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
        if !text.trim().is_empty() {
            let hook =
                parse_hook(family, text).ok_or_else(|| Error::Usage(format!("{doing}: `{text}` is not understood")))?;
            let place = numbers::HOOKS.iter().position(|known| *known == hook.hook).unwrap_or(0) as u32;
            parts.push(nest(4, [number(1, place), number(2, hook.priority as u32)]));
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
        self.rule(family, table, chain, text, CREATE | APPEND)
    }

    /// Adds a rule at the head of a chain. Equivalent to `nft insert rule`.
    pub fn insert_rule(&mut self, family: Family, table: &str, chain: &str, text: &str) -> Result<()> {
        self.rule(family, table, chain, text, CREATE)
    }

    /// Takes a rule away. Equivalent to `nft delete rule ... handle HANDLE`.
    pub fn delete_rule(&mut self, family: Family, table: &str, chain: &str, handle: u64) {
        let parts = vec![string(1, table), string(2, chain), attribute(3, &handle.to_be_bytes())];
        let doing = format!("deleting rule {handle} of chain {family} {table} {chain}");
        self.push(doing, SUBSYSTEM | 8, 0, family as u8, parts);
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
        if let Some((sequence, error)) = socket.refusals()?.into_iter().next() {
            let doing = self
                .messages
                .get((sequence as usize).wrapping_sub(1))
                .map_or("changing the ruleset", |(doing, _)| doing);
            return Err(Error::kernel(doing, self.namespace.name(), error));
        }
        Ok(())
    }

    fn rule(&mut self, family: Family, table: &str, chain: &str, text: &str, flags: u16) -> Result<()> {
        let doing = format!("adding rule `{text}` to chain {family} {table} {chain}");
        let encoded = encode::rule(family, text).map_err(|why| Error::Usage(format!("{doing}: {why}")))?;
        let mut parts = vec![string(1, table), string(2, chain), nest(4, encoded.expressions)];
        if let Some(comment) = encoded.comment {
            // libnftnl's form: NFTNL_UDATA_RULE_COMMENT, length, text with its closing zero.
            let text = [comment.as_bytes(), &[0]].concat();
            parts.push(attribute(7, &[&[0, text.len() as u8][..], &text].concat()));
        }
        self.push(doing, SUBSYSTEM | 6, flags, family as u8, parts);
        Ok(())
    }

    fn push(&mut self, doing: impl Into<String>, kind: u16, flags: u16, family: u8, parts: Vec<Vec<u8>>) {
        let sequence = 1 + self.messages.len() as u32;
        let body = [vec![family, 0, 0, 0], parts.concat()].concat();
        self.messages.push((doing.into(), message(kind, REQUEST | ACK | flags, sequence, &body)));
    }
}

/// `nlmsghdr`, then the body.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A socket to the namespace's netfilter.
pub(crate) struct NetfilterSocket {
    namespace: Namespace,
    socket: Socket,
}

impl NetfilterSocket {
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let opened = namespace.run(|| -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            Ok(socket)
        })?;
        let socket = opened.map_err(|error| Error::kernel("opening a netfilter socket", namespace.name(), error))?;
        Ok(Self { namespace: namespace.clone(), socket })
    }

    pub fn send(&self, doing: &str, bytes: &[u8]) -> Result<()> {
        let sent = self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0);
        sent.map(|_| ()).map_err(|error| Error::kernel(doing, self.namespace.name(), error))
    }

    /// What was refused of what was sent. The kernel has answered by the time that sending returns.
    pub fn refusals(&self) -> Result<Vec<(u32, io::Error)>> {
        let mut refused = Vec::new();
        loop {
            match self.socket.recv_from_full_nonblocking() {
                Ok(bytes) => refused.extend(messages(&bytes).filter_map(|(kind, sequence, body)| {
                    let errno = error_number(kind, body)?;
                    (errno != 0).then(|| (sequence, io::Error::from_raw_os_error(errno)))
                })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(refused),
                Err(error) => return Err(Error::kernel("reading netfilter's answer", self.namespace.name(), error)),
            }
        }
    }

    /// Everything of a kind: its family, and its attributes.
    pub fn dump(&self, doing: &str, kind: u16) -> Result<Vec<(u8, Attributes)>> {
        const DONE: u16 = 3;
        self.send(doing, &message(kind, REQUEST | DUMP, 1, &[0; 4]))?;
        let failed = |error| Error::kernel(doing, self.namespace.name(), error);
        let mut found = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(failed)?;
            for (kind, _, body) in messages(&bytes) {
                match error_number(kind, body) {
                    Some(0) => return Ok(found),
                    Some(errno) => return Err(failed(io::Error::from_raw_os_error(errno))),
                    None if kind == DONE => return Ok(found),
                    None => found.push((body[0], Attributes::of(&body[4..]))),
                }
            }
        }
    }
}

trait NonBlocking {
    fn recv_from_full_nonblocking(&self) -> io::Result<Vec<u8>>;
}

impl NonBlocking for Socket {
    fn recv_from_full_nonblocking(&self) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(1 << 16);
        self.recv(&mut buffer, libc::MSG_DONTWAIT)?;
        Ok(buffer)
    }
}

/// The messages of a datagram: kind, sequence, body.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let word = |place: usize| rest.get(place..place + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (length, sequence) = (word(0)? as usize, word(8)?);
        let kind = u16::from_ne_bytes([*rest.get(4)?, *rest.get(5)?]);
        let body = rest.get(16..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, sequence, body))
    })
}

/// The error number of an `NLMSG_ERROR`; 0 is an acknowledgement.
fn error_number(kind: u16, body: &[u8]) -> Option<i32> {
    const ERROR: u16 = 2;
    (kind == ERROR).then(|| body.get(..4)?.try_into().ok().map(|bytes| -i32::from_ne_bytes(bytes)))?
}

fn read_chain(chain: &Attributes) -> Chain {
    let hook = chain.nested(4);
    let hook = hook.number(1).map(|place| Hook {
        kind: chain.string(7).unwrap_or_else(|| "filter".into()),
        hook: numbers::HOOKS.get(place as usize).unwrap_or(&"?").to_string(),
        priority: hook.number(2).unwrap_or(0) as i32,
        drops: chain.number(5) == Some(0),
    });
    Chain { name: chain.string(3).unwrap_or_default(), hook, rules: Vec::new() }
}

fn read_rule(rule: &Attributes) -> Rule {
    let comment = rule.bytes(7).filter(|data| data.first() == Some(&0)).and_then(|data| {
        let length = usize::from(*data.get(1)?);
        let text = data.get(2..2 + length)?;
        Some(String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned())
    });
    Rule { handle: rule.long(3).unwrap_or(0), text: decode::rule(&rule.nested(4)), comment }
}

fn parse_hook(family: Family, text: &str) -> Option<Hook> {
    let words: Vec<&str> = text.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let after =
        |word: &str| words.iter().position(|known| *known == word).and_then(|place| words.get(place + 1)).copied();
    let named = if family == Family::Bridge { numbers::BRIDGE_PRIORITIES } else { numbers::PRIORITIES };
    let priority = after("priority")?;
    let priority = numbers::of(named, priority).or_else(|| priority.parse().ok())?;
    let hook = after("hook").filter(|hook| numbers::HOOKS.contains(hook))?;
    Some(Hook { kind: after("type")?.into(), hook: hook.into(), priority, drops: after("policy") == Some("drop") })
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
            for chain in &table.chains {
                writeln!(f, "\tchain {} {{", chain.name)?;
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
        let named = if family == Family::Bridge { numbers::BRIDGE_PRIORITIES } else { numbers::PRIORITIES };
        let priority = numbers::word(named, self.priority).map_or_else(|| self.priority.to_string(), ToOwned::to_owned);
        let policy = if self.drops { "drop" } else { "accept" };
        format!("type {} hook {} priority {priority}; policy {policy};", self.kind, self.hook)
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
mod tests {
    use rstest::rstest;

    use super::*;

    /// What is written comes back from the kernel as it was written.
    #[rstest]
    #[case(Family::Inet, "ip saddr 10.20.0.0/16 oifname \"eth0\" masquerade")]
    #[case(Family::Inet, "ip6 saddr fd00:20::/64 oifname != \"br0\" masquerade")]
    #[case(Family::Inet, "fib daddr type local tcp dport 8080 dnat ip to 10.20.30.41:80")]
    #[case(Family::Inet, "fib daddr type local udp dport 5300 dnat ip6 to [fd00:20::41]:53")]
    #[case(Family::Ip, "ip daddr 127.0.0.1 tcp dport 8080 dnat ip to 10.20.30.41:80 comment \"np: 1\"")]
    fn nat_rules_come_back(#[case] family: Family, #[case] text: &str) {
        let hook = if text.contains("dnat") { "prerouting priority dstnat" } else { "postrouting priority srcnat" };
        comes_back(family, &format!("type nat hook {hook}; policy accept;"), text);
    }

    /// Likewise for filters.
    #[rstest]
    #[case(Family::Inet, "ct state established,related accept")]
    #[case(Family::Inet, "iifname \"eth0\" ip daddr 10.20.0.0/16 ct status dnat accept")]
    #[case(Family::Inet, "iifname \"veth*\" oifname \"br0\" drop")]
    #[case(Family::Inet, "meta mark 0x00000007 reject")]
    #[case(Family::Inet, "meta l4proto udp meta mark set 0x00000001")]
    #[case(Family::Inet, "icmpv6 type nd-router-advert iifname \"br0\" drop")]
    #[case(Family::Inet, "meta pkttype other return comment \"why not\"")]
    #[case(Family::Ip6, "ip6 daddr != fd00::1 tcp sport 80 drop")]
    #[case(Family::Bridge, "iifname \"veth1-0\" ether saddr != 02:00:00:00:00:01 drop")]
    #[case(Family::Bridge, "iifname \"veth1-0\" arp saddr ip != 10.20.30.41 drop")]
    #[case(Family::Bridge, "iifname \"veth1-0\" ip saddr != 10.20.30.41 drop")]
    fn filter_rules_come_back(#[case] family: Family, #[case] text: &str) {
        comes_back(family, "type filter hook forward priority filter; policy drop;", text);
    }

    fn comes_back(family: Family, hook: &str, text: &str) {
        let namespace = Namespace::new("host").unwrap();
        let mut batch = namespace.firewall().batch();
        batch.add_table(family, "np");
        batch.add_chain(family, "np", "chain", hook).unwrap();
        batch.add_rule(family, "np", "chain", text).unwrap();
        batch.commit().unwrap();
        let listed = namespace.firewall().ruleset().unwrap();
        let expected = format!("table {family} np {{\n\tchain chain {{\n\t\t{hook}\n\t\t{text}\n\t}}\n}}\n");
        assert_eq!(listed.to_string(), expected);
        namespace.firewall().delete_rules(|_, _, rule| rule.text.len() > 3).unwrap();
        assert!(namespace.firewall().ruleset().unwrap().tables[0].chains[0].rules.is_empty());
        namespace.firewall().flush().unwrap();
        assert_eq!(namespace.firewall().ruleset().unwrap(), Ruleset::default());
    }

    /// A batch happens as a whole or not at all, and its error names the rule.
    #[test]
    fn all_or_nothing() {
        let namespace = Namespace::new("host").unwrap();
        let mut batch = namespace.firewall().batch();
        batch.add_table(Family::Inet, "np");
        batch.add_rule(Family::Inet, "np", "nowhere", "accept").unwrap();
        let error = batch.commit().unwrap_err().to_string();
        assert!(error.starts_with("adding rule `accept` to chain inet np nowhere in namespace host: "), "{error}");
        assert!(namespace.firewall().ruleset().unwrap().tables.is_empty());
    }

    /// What cannot be written is told at once.
    #[test]
    fn a_word_that_is_not_understood_is_named() {
        let mut batch = Namespace::new("host").unwrap().firewall().batch();
        let error = batch.add_rule(Family::Inet, "np", "chain", "ip saddr nonsense drop").unwrap_err().to_string();
        assert!(error.ends_with("`nonsense` in `ip saddr nonsense drop` is not understood"), "{error}");
    }
}
