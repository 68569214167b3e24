//! Policy routing rules.

use std::{fmt, net::IpAddr};

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use crate::{Namespace, Result};

/// Which table routes are looked up in, for which packets: `ip rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its place: the lowest comes first.
    pub priority: u32,
    /// Whether it is of IPv6.
    pub v6: bool,
    /// What it holds for, and what it does then, in the words of `ip rule`.
    pub text: String,
}

/// The rules of both IP versions, those that every namespace has included.
pub(crate) fn read(namespace: &Namespace) -> Result<Vec<PolicyRule>> {
    let mut rules = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let found = namespace.ask("listing policy rules", RouteNetlinkMessage::GetRule(message), true)?;
        rules.extend(found.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(rule) => Some(PolicyRule::of(rule)),
            _ => None,
        }));
    }
    Ok(rules)
}

impl PolicyRule {
    fn of(message: &RuleMessage) -> Self {
        use RuleAttribute::{
            Destination, FwMark, FwMask, Goto, Iifname, Oifname, Priority, Source, SuppressPrefixLen, Table,
        };
        let header = &message.header;
        let prefix = |address: &IpAddr, length| format!("{address}/{length}");
        let (mut from, mut rest) = ("all".to_owned(), String::new());
        let (mut priority, mut table) = (0, u32::from(header.table));
        for attribute in &message.attributes {
            match attribute {
                Source(address) => from = prefix(address, header.src_len),
                Destination(address) => rest += &format!(" to {}", prefix(address, header.dst_len)),
                Iifname(name) => rest += &format!(" iif {name}"),
                Oifname(name) => rest += &format!(" oif {name}"),
                FwMark(mark) => rest += &format!(" fwmark {mark:#x}"),
                FwMask(mask) if *mask != u32::MAX => rest += &format!("/{mask:#x}"),
                Goto(target) => rest += &format!(" goto {target}"),
                SuppressPrefixLen(length) if *length != u32::MAX => {
                    rest += &format!(" suppress_prefixlength {length}");
                }
                Priority(number) => priority = *number,
                Table(number) => table = *number,
                _ => {}
            }
        }
        let not = if header.flags.contains(RuleFlags::Invert) { "not " } else { "" };
        let action = match header.action {
            RuleAction::ToTable => format!(" lookup {}", table_name(table)),
            RuleAction::Goto => String::new(),
            other => format!(" {}", format!("{other:?}").to_lowercase()),
        };
        let v6 = header.family == AddressFamily::Inet6;
        Self { priority, v6, text: format!("{not}from {from}{rest}{action}") }
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

/// As `ip rule` prints it: `32766: from all lookup main`, with `-6` after it where it is of IPv6.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.priority, self.text, if self.v6 { " -6" } else { "" })
    }
}
