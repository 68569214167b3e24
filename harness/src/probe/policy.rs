//! Policy routing rules, as `ip rule` prints them.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use rtnetlink::packet_route::{
    AddressFamily, IpProtocol, RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::{Probe, Seen, Watch};
use crate::{Deadline, Namespace, Result, watch::Group};

impl Namespace {
    /// Looks at the policy routing rules of both IP versions, those that every namespace has included. Equivalent to
    /// `ip rule; ip -6 rule`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("gateway")?;
    /// // ip rule add fwmark 0x1 lookup 100
    /// expect!(lab.host().policy().table(100), [rule] if rule.fwmark == Some(1) && !rule.v6);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn policy(&self) -> Policy {
        Policy { namespace: self.clone(), table: None }
    }
}

/// Which packets' routes are looked up in which table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyRule {
    /// Its place: the lowest comes first.
    pub priority: u32,
    /// Whether it is of IPv6.
    pub v6: bool,
    /// The source addresses that it holds for; `None`: all.
    pub from: Option<IpNet>,
    /// The destinations that it holds for; `None`: all.
    pub to: Option<IpNet>,
    /// The device that packets came in by.
    pub iif: Option<String>,
    /// The device that packets are bound to.
    pub oif: Option<String>,
    /// The firewall mark that it holds for.
    pub fwmark: Option<u32>,
    /// The bits of the mark that count; all, where there is a mark and this is `None`.
    pub fwmask: Option<u32>,
    /// Whether it holds for all packets but those.
    pub not: bool,
    /// What it does: `lookup`, `goto`, `nop`, `unreachable`, `prohibit` or `blackhole`.
    pub action: String,
    /// The table in which routes are looked up, 254 for `main`; `None` where it does something else.
    pub table: Option<u32>,
    /// Of `goto` the place at which the kernel goes on, if there is a rule.
    pub goto: Option<u32>,
    /// Routes of prefixes of this length, or a shorter one, do not count.
    pub suppress_prefixlength: Option<u32>,
    /// The whole, in the words of `ip rule`: `not from all fwmark 0xca6c lookup 51820`. Of `ipproto` the common protocols have
    /// names, the others are `ipproto-200`.
    pub text: String,
}

/// A probe of the policy routing rules.
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    namespace: Namespace,
    table: Option<u32>,
}

/// Policy routing rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyList(pub Vec<PolicyRule>);

impl Policy {
    /// Only those that look up this table.
    pub fn table(mut self, table: u32) -> Self {
        self.table = Some(table);
        self
    }

    /// Lists them, those of IPv4 first, each IP version's by their places.
    pub fn list(&self) -> Result<Vec<PolicyRule>> {
        let mut rules = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RuleMessage::default();
            message.header.family = family;
            let found = self.namespace.ask("listing policy rules", RouteNetlinkMessage::GetRule(message), true)?;
            rules.extend(found.iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewRule(rule) => Some(PolicyRule::of(rule)),
                _ => None,
            }));
        }
        rules.retain(|rule| self.table.is_none() || rule.table == self.table);
        Ok(rules)
    }
}

impl PolicyRule {
    fn of(message: &RuleMessage) -> Self {
        use RuleAttribute::{
            Destination, FwMark, FwMask, Goto, Iifname, Oifname, Priority, Source, SuppressPrefixLen, Table,
        };
        let header = &message.header;
        let mut rule = Self {
            priority: 0,
            v6: header.family == AddressFamily::Inet6,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            fwmask: None,
            not: header.flags.contains(RuleFlags::Invert),
            action: action(header.action),
            table: Some(header.table.into()),
            goto: None,
            suppress_prefixlength: None,
            text: String::new(),
        };
        let prefix = |address: &IpAddr, length| IpNet::new(*address, length).ok();
        for attribute in &message.attributes {
            match attribute {
                Priority(number) => rule.priority = *number,
                Source(address) => rule.from = prefix(address, header.src_len),
                Destination(address) => rule.to = prefix(address, header.dst_len),
                Iifname(name) => rule.iif = Some(name.clone()),
                Oifname(name) => rule.oif = Some(name.clone()),
                FwMark(mark) => rule.fwmark = Some(*mark),
                FwMask(mask) if *mask != u32::MAX => rule.fwmask = Some(*mask),
                Table(number) => rule.table = Some(*number),
                Goto(target) => rule.goto = Some(*target),
                SuppressPrefixLen(length) if *length != u32::MAX => rule.suppress_prefixlength = Some(*length),
                _ => {}
            }
        }
        // The kernel does not say that the mark is 0.
        rule.fwmark = rule.fwmark.or(rule.fwmask.map(|_| 0));
        if header.action != RuleAction::ToTable || message.attributes.contains(&RuleAttribute::L3MDev(true)) {
            rule.table = None;
        }
        rule.text = rule.words(message);
        rule
    }

    fn words(&self, message: &RuleMessage) -> String {
        let not = if self.not { "not " } else { "" };
        let mut words = format!("{not}from {}", self.from.map_or_else(|| "all".into(), short));
        words.extend(self.to.iter().map(|to| format!(" to {}", short(*to))));
        if message.header.tos != 0 {
            words += &format!(" tos {:#x}", message.header.tos);
        }
        words.extend(
            self.fwmark.iter().map(|mark| if *mark == 0 { " fwmark 0".into() } else { format!(" fwmark {mark:#x}") }),
        );
        words.extend(self.fwmask.iter().map(|mask| format!("/{mask:#x}")));
        words.extend(self.iif.iter().map(|name| format!(" iif {name}")));
        words.extend(self.oif.iter().map(|name| format!(" oif {name}")));
        let mut conditions: Vec<_> = message.attributes.iter().filter_map(condition).collect();
        conditions.sort_by_key(|(place, _)| *place);
        words.extend(conditions.into_iter().map(|(_, text)| text));
        match (self.table, self.action.as_str()) {
            (Some(table), _) => words += &format!(" lookup {}", table_name(table)),
            (None, "lookup") => words += " lookup [l3mdev-table]",
            _ => {}
        }
        let mut consequences: Vec<_> = message.attributes.iter().filter_map(consequence).collect();
        consequences.extend(self.suppress_prefixlength.map(|length| (0, format!(" suppress_prefixlength {length}"))));
        consequences.extend(self.goto.map(|target| (3, format!(" goto {target}"))));
        if !matches!(self.action.as_str(), "lookup" | "goto") {
            consequences.push((4, format!(" {}", self.action)));
        }
        consequences.sort_by_key(|(place, _)| *place);
        words.extend(consequences.into_iter().map(|(_, text)| text));
        words
    }
}

/// A prefix of its whole length is an address.
fn short(prefix: IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() { prefix.addr().to_string() } else { prefix.to_string() }
}

/// What else it holds for, and which of the conditions is printed first.
fn condition(attribute: &RuleAttribute) -> Option<(u8, String)> {
    use RuleAttribute::{DestinationPortRange, IpProtocol, SourcePortRange, TunId, UidRange};
    let ports = |start: u16, end: u16| if start == end { start.to_string() } else { format!("{start}-{end}") };
    Some(match attribute {
        UidRange(range) => (0, format!(" uidrange {}-{}", range.start, range.end)),
        IpProtocol(protocol) => (1, format!(" ipproto {}", protocol_name(*protocol))),
        SourcePortRange(range) => (2, format!(" sport {}", ports(range.start, range.end))),
        DestinationPortRange(range) => (3, format!(" dport {}", ports(range.start, range.end))),
        TunId(id) => (4, format!(" tun_id {id}")),
        _ => return None,
    })
}

/// What it does of which there is no field, and which of that is printed first; the action's own word has place 4.
fn consequence(attribute: &RuleAttribute) -> Option<(u8, String)> {
    use RuleAttribute::{Protocol, Realm, SuppressIfGroup};
    Some(match attribute {
        SuppressIfGroup(group) if *group != u32::MAX => (1, format!(" suppress_ifgroup {group}")),
        Realm(realm) if realm.source == 0 => (2, format!(" realms {}", realm.destination)),
        Realm(realm) => (2, format!(" realms {}/{}", realm.source, realm.destination)),
        Protocol(maker) if !matches!(maker, RouteProtocol::Unspec | RouteProtocol::Kernel) => {
            (5, format!(" proto {maker}"))
        }
        _ => return None,
    })
}

fn action(action: RuleAction) -> String {
    match action {
        RuleAction::ToTable => "lookup".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A transport protocol as /etc/protocols names it, on which all systems agree.
fn protocol_name(protocol: IpProtocol) -> String {
    match i32::from(protocol) {
        libc::IPPROTO_ICMP => "icmp".into(),
        libc::IPPROTO_TCP => "tcp".into(),
        libc::IPPROTO_UDP => "udp".into(),
        libc::IPPROTO_GRE => "gre".into(),
        libc::IPPROTO_ICMPV6 => "ipv6-icmp".into(),
        libc::IPPROTO_SCTP => "sctp".into(),
        number => format!("ipproto-{number}"),
    }
}

fn table_name(table: u32) -> String {
    match table {
        253 => "default".into(),
        254 => "main".into(),
        255 => "local".into(),
        other => other.to_string(),
    }
}

impl Probe for Policy {
    type Output = PolicyList;

    fn describe(&self) -> String {
        let table = self.table.iter().map(|table| format!(" show table {table}")).collect::<String>();
        format!("{}: ip rule{table}", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<PolicyList> {
        self.list().map(PolicyList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Ipv4Rule, Group::Ipv6Rule])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Seen for PolicyList {
    type As<'a> = &'a [PolicyRule];

    fn seen(&self) -> &[PolicyRule] {
        &self.0
    }
}

impl fmt::Display for PolicyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &self.0)
    }
}

/// As `ip rule` prints it: `32766: from all lookup main`, with `-6` after it where it is of IPv6.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.priority, self.text, if self.v6 { " -6" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ip(host: &Namespace, line: &str) -> String {
        let output = host.run(|| Command::new("ip").args(line.split(' ')).output()).unwrap().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Each rule reads as `ip rule` says it, in both IP versions.
    #[test]
    fn rules_read_as_ip_prints_them() {
        let host = Namespace::new("host").unwrap();
        for rule in [
            "not fwmark 0xca6c lookup 51820 priority 100",
            "from 10.0.0.0/8 to 192.0.2.1 iif lo fwmark 0x1/0xff lookup 100 priority 101",
            "ipproto tcp sport 1000-2000 dport 80 uidrange 0-99 lookup 100 priority 102",
            "lookup main suppress_prefixlength 0 priority 103",
            "tos 0x10 oif eth9 lookup 100 suppress_ifgroup 7 priority 104",
            "from 203.0.113.0/24 unreachable priority 105",
            "goto 32766 priority 106",
            "lookup 200 priority 109 protocol static",
            "fwmark 0/0x1 lookup 200 priority 108",
            "ipproto ipv6-icmp realms 5/6 prohibit priority 110",
            "ipproto sctp lookup 200 protocol bird priority 111",
            "to 10.0.0.0/8 ipproto 200 realms 7 lookup 200 suppress_prefixlength 8 protocol static priority 112",
            "goto 32766 protocol static priority 113",
            "iif lo nop priority 114",
        ] {
            ip(&host, &format!("rule add {rule}"));
        }
        ip(&host, "-6 rule add from fd00::/8 lookup 100 priority 107");
        let printed = |version: &str| {
            let lines = ip(&host, &format!("{version} rule"));
            let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" [detached]", "");
            lines.lines().map(plain).collect::<Vec<_>>()
        };
        let mut expected = printed("-4");
        expected.extend(printed("-6").into_iter().map(|line| line + " -6"));
        let read: Vec<String> = host.policy().list().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(read, expected);
    }

    /// A rule that comes while it is waited for is seen; the fields say what `ip rule` would; others are of other tables.
    #[test]
    fn a_rule_is_waited_for() {
        let host = Namespace::new("host").unwrap();
        crate::expect!(host.policy().table(51820), []);
        let news = host.policy().watch();
        ip(&host, "rule add not from 10.0.0.0/8 fwmark 0xca6c lookup 51820");
        assert!(news.unwrap().wait(Deadline::after(std::time::Duration::from_secs(5))).unwrap());
        let net = "10.0.0.0/8".parse().unwrap();
        crate::expect!(host.policy().table(51820), [PolicyRule { fwmark: Some(0xca6c), not: true, from: Some(from), .. }]
            if *from == net);
        crate::expect!(host.policy().table(254), [_, _]);
    }
}
