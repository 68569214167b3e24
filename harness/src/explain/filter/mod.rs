//! What firewall rules do to one packet.
//!
//! Only what is certain is told: a key whose value is not known here makes a rule one that may match.

use std::{fmt, net::IpAddr};

pub(super) use self::chains::Chains;
use crate::Carries;

mod chains;
mod field;
mod rule;

/// Where a packet passes the rules, in the order of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// A device's, before all others.
    Ingress,
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// A device's, after all others.
    Egress,
}

/// A packet at a hook.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    pub hook: Hook,
    /// It is seen by the rules of the `bridge` family, not by those of the IP families.
    pub bridged: bool,
    /// It is seen by a chain of the `netdev` family.
    pub netdev: bool,
    /// It is no packet yet, but the question for the MAC address of its next hop.
    pub asks: bool,
    /// It is the answer to that.
    pub tells: bool,
    pub iif: Device,
    pub oif: Device,
    /// None: it is not known.
    pub from: Option<IpAddr>,
    pub target: Target,
    /// Its target until destination NAT, which is at this hook, has changed it.
    pub asked: Option<Target>,
    /// Neither its target's address nor its ports are known, only of which protocol it is.
    pub unsure: bool,
    /// Whether connection tracking has seen it; none: that is not known.
    pub tracked: Option<bool>,
    /// It has passed the source NAT of its own namespace.
    pub own: bool,
    /// It belongs to a connection of which the other side has heard.
    pub answer: bool,
    /// It is an answer to what the namespace did not see.
    pub stray: bool,
    /// Its destination was translated.
    pub translated: bool,
}

impl Passing {
    /// It is ARP.
    fn is_arp(&self) -> bool {
        self.asks && self.target.to.is_ipv4()
    }
}

/// A device that rules may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// There is none at this hook.
    None,
    Is(String),
    Unknown,
}

/// Whom a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub to: IpAddr,
    pub carries: Carries,
    /// It is an address of the namespace.
    pub local: bool,
}

/// What the rules do to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passes,
    /// This rule, or policy, of this chain drops it.
    Drops {
        chain: String,
        rule: String,
    },
    /// This rule may.
    MayDrop {
        chain: String,
        rule: String,
    },
}

/// What destination NAT does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Kept,
    Changed(Rewrite),
    /// This rule of this chain may change it, or changes it for certain, to what is not known.
    Unknown {
        is_certain: bool,
        chain: String,
        rule: String,
    },
}

/// A destination NAT that the packet meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    /// Whom the packet is for then.
    pub to: IpAddr,
    /// At which port, where that changes.
    pub port: Option<u16>,
    chain: String,
    rule: String,
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "destination NAT of its firewall (chain {}: `{}`)", self.chain, self.rule)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_doubt;
