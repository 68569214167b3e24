//! What firewall rules do to one packet.
//!
//! Only what is certain is told: a key whose value is not known here makes a rule one that may match.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use self::rule::{Does, Match, apply, translates, untracks};
use crate::{
    Carries,
    firewall::{self, Family, Rule, Ruleset, Table},
    ruleset::{
        expr::{NatKind, Verdict as Ruling},
        statement::Statement,
    },
};

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
    /// It is no packet yet, but the question for the MAC address of its next hop.
    pub asks: bool,
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
    /// Its destination was translated.
    pub translated: bool,
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

/// The chains of a ruleset that see packets, by their priorities.
pub(super) struct Chains<'a> {
    all: Vec<Chain<'a>>,
    /// Whether any rule changes addresses.
    translate: bool,
    /// Whether any rule keeps packets from connection tracking.
    untrack: bool,
}

/// A chain, and the table that it is in.
#[derive(Clone, Copy)]
struct Chain<'a> {
    table: &'a Table,
    chain: &'a firewall::Chain,
}

/// What is not certain.
struct Doubt {
    /// A rule that may drop the packet.
    perhaps: Verdict,
    /// A rule that may accept it, before others drop it.
    accepted: bool,
}

impl Doubt {
    /// How a chain ends that the packet may have left before.
    fn unless(&mut self, returned: bool, end: End) -> End {
        match end {
            End::Drop { chain, rule } if returned => {
                self.may_drop(chain, rule);
                End::Return
            }
            end => end,
        }
    }

    /// Notes a rule that may drop the packet, where none was noted before.
    fn may_drop(&mut self, chain: String, rule: String) {
        if self.perhaps == Verdict::Passes {
            self.perhaps = Verdict::MayDrop { chain, rule };
        }
    }
}

/// How a chain ends for the packet.
enum End {
    Translate(Rewrite),
    Accept,
    Return,
    /// By this rule of this chain.
    Drop {
        chain: String,
        rule: String,
    },
}

impl<'a> Chains<'a> {
    /// The ruleset's.
    pub fn of(ruleset: &'a Ruleset) -> Self {
        let chains = ruleset.chains().filter(|(table, _)| !table.dormant);
        let mut chains: Vec<_> = chains.map(|(table, chain)| Chain { table, chain }).collect();
        chains.sort_by_key(|chain| chain.chain.hook.as_ref().map_or(0, |hook| hook.priority));
        let (translate, untrack) = (any(&chains, translates), any(&chains, untracks));
        Self { all: chains, translate, untrack }
    }

    /// What becomes of the packet.
    pub fn verdict(&self, packet: &Passing) -> Verdict {
        let mut doubt = Doubt { perhaps: Verdict::Passes, accepted: false };
        for (chain, packet) in self.at("filter", packet) {
            doubt.accepted = false;
            match self.run(chain, &packet, 0, &mut doubt) {
                End::Drop { chain, rule } if !doubt.accepted => return Verdict::Drops { chain, rule },
                End::Return if chain.drops() && !doubt.accepted => {
                    return Verdict::Drops { chain: chain.title(), rule: "policy drop".into() };
                }
                End::Drop { chain, rule } => doubt.perhaps = Verdict::MayDrop { chain, rule },
                End::Return if chain.drops() => {
                    doubt.perhaps = Verdict::MayDrop { chain: chain.title(), rule: "policy drop".into() };
                }
                End::Return | End::Accept | End::Translate(..) => {}
            }
        }
        doubt.perhaps
    }

    /// What destination NAT does with the packet.
    pub fn destination(&self, packet: &Passing) -> Option<Rewrite> {
        let mut doubt = Doubt { perhaps: Verdict::Passes, accepted: false };
        self.at("nat", packet).find_map(|(chain, packet)| match self.run(chain, &packet, 0, &mut doubt) {
            End::Translate(rewrite) => Some(rewrite),
            _ => None,
        })
    }

    /// Whether any rule changes destinations.
    pub fn rewrites(&self) -> bool {
        any(&self.all, |statement| match statement {
            Statement::Nat { kind, .. } => *kind == NatKind::Destination,
            Statement::Unknown(what) => what.starts_with("xt DNAT"),
            _ => false,
        })
    }

    /// The base chains of this kind that see the packet, and what each sees.
    fn at<'b>(&'b self, kind: &'b str, packet: &'b Passing) -> impl Iterator<Item = (Chain<'a>, Passing)> + 'b {
        let seeing = self.all.iter().copied().filter_map(move |chain| Some((chain, chain.sees(kind, packet)?)));
        seeing.map(|(chain, priority)| (chain, self.seen_at(packet, priority)))
    }

    /// The packet as a chain of this priority sees it: `enum nf_ip_hook_priorities`. Of two of the same priority, that is
    /// first which was first there. What a packet is changed to is not followed here.
    fn seen_at(&self, packet: &Passing, priority: i32) -> Passing {
        const CONNTRACK: i32 = -200;
        const DSTNAT: i32 = -100;
        const SRCNAT: i32 = 100;
        use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let is_after = |conntrack: i32| match packet.hook {
            Ingress => Some(false),
            Prerouting | Output if priority == conntrack => None,
            Prerouting | Output => Some(priority > conntrack),
            Input | Forward | Postrouting | Egress => Some(true),
        };
        let tracked = if packet.own { Some(true) } else { is_after(CONNTRACK) };
        let (asked, changed) =
            (packet.asked.unwrap_or(packet.target), packet.asked.is_some_and(|asked| asked != packet.target));
        let is_late = match packet.hook {
            Postrouting | Input => priority >= SRCNAT || packet.own && packet.hook == Input,
            Ingress | Prerouting => packet.own,
            Egress => true,
            Forward | Output => false,
        } && !packet.bridged
            && self.translate;
        let is_early = packet.hook == Ingress || priority < DSTNAT;
        Passing {
            // Bridges track connections where a module lets them.
            tracked: tracked.filter(|_| !packet.bridged && !packet.asks && !self.untrack),
            from: packet.from.filter(|_| !is_late),
            target: if is_early { asked } else { packet.target },
            translated: packet.translated && !(changed && priority <= DSTNAT),
            unsure: packet.unsure || changed && priority == DSTNAT || is_late && packet.answer,
            ..packet.clone()
        }
    }

    fn run(&self, chain: Chain<'_>, packet: &Passing, depth: usize, doubt: &mut Doubt) -> End {
        // Whether the packet may have left the chain before.
        let mut returned = false;
        for rule in &chain.chain.rules {
            let (matches, does) = apply(rule, packet);
            let certain = matches == Match::Yes && does.len() == 1;
            for does in does {
                let end = self.end(chain, rule, &does, packet, depth, doubt);
                let Some(end) = end else { continue };
                if certain {
                    return doubt.unless(returned, end);
                }
                match end {
                    End::Drop { chain, rule } => doubt.may_drop(chain, rule),
                    End::Return => returned = true,
                    End::Accept | End::Translate(_) => doubt.accepted = true,
                }
            }
        }
        End::Return
    }

    /// How the chain ends by what a rule does; none: it goes on.
    fn end(
        &self,
        chain: Chain<'_>,
        rule: &Rule,
        does: &Does,
        packet: &Passing,
        depth: usize,
        doubt: &mut Doubt,
    ) -> Option<End> {
        const DEEPEST: usize = 16;
        let (title, rule) = (chain.title(), rule.to_string());
        let (target, goes) = match does {
            Does::Translate { to, port } => {
                return Some(End::Translate(Rewrite { to: *to, port: *port, chain: title, rule }));
            }
            Does::Verdict(Ruling::Drop) => return Some(End::Drop { chain: title, rule }),
            Does::Verdict(Ruling::Accept) => return Some(End::Accept),
            Does::Verdict(Ruling::Return) => return Some(End::Return),
            // A program decides.
            Does::Verdict(Ruling::Queue) => {
                doubt.may_drop(title, rule);
                return Some(End::Accept);
            }
            Does::Verdict(Ruling::Continue) => return None,
            Does::Verdict(Ruling::Jump(target)) => (target, false),
            Does::Verdict(Ruling::Goto(target)) => (target, true),
        };
        if depth >= DEEPEST {
            return None;
        }
        let target = self.all.iter().find(|other| other.is_beside(chain) && other.chain.name == *target)?;
        match self.run(*target, packet, depth + 1, doubt) {
            End::Return if !goes => None,
            end => Some(end),
        }
    }
}

impl Chain<'_> {
    /// `inet netproof forward`
    fn title(self) -> String {
        format!("{} {} {}", self.table.family, self.table.name, self.chain.name)
    }

    /// Whether what no rule decided on is dropped.
    fn drops(self) -> bool {
        self.chain.hook.as_ref().is_some_and(|hook| hook.drops)
    }

    fn is_beside(self, other: Chain<'_>) -> bool {
        (self.table.family, &self.table.name) == (other.table.family, &other.table.name)
    }

    /// Its priority, where it is of this kind and sees the packet.
    fn sees(self, kind: &str, packet: &Passing) -> Option<i32> {
        let hook = self.chain.hook.as_ref().filter(|hook| hook.kind == kind)?;
        let is_at = |device: &Device| matches!(device, Device::Is(name) if hook.devices.contains(name));
        let of_family = match self.table.family {
            Family::Bridge => packet.bridged,
            Family::Ip => !packet.bridged && packet.target.to.is_ipv4(),
            Family::Ip6 => !packet.bridged && packet.target.to.is_ipv6(),
            Family::Inet => !packet.bridged,
            Family::Netdev | Family::Arp => false,
        };
        let sees = match (packet.hook, hook.hook.as_str()) {
            (Hook::Ingress, "ingress") => is_at(&packet.iif),
            (Hook::Egress, "egress") => is_at(&packet.oif),
            (Hook::Prerouting, "prerouting")
            | (Hook::Input, "input")
            | (Hook::Forward, "forward")
            | (Hook::Output, "output")
            | (Hook::Postrouting, "postrouting") => of_family,
            _ => false,
        };
        sees.then_some(hook.priority)
    }
}

/// `10.20.30.41:80`, `[fd00:20::41]:80`, or the address alone.
fn destination(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip(), Some(both.port())));
    }
    Some((text.trim_matches(['[', ']']).parse().ok()?, None))
}

fn any(chains: &[Chain<'_>], is: impl Fn(&Statement) -> bool) -> bool {
    chains.iter().flat_map(|chain| &chain.chain.rules).flat_map(|rule| &rule.statements).any(is)
}

#[cfg(test)]
mod tests;
