//! What firewall rules do to one packet.
//!
//! Only what is certain is told: an expression that is not known here makes a rule one that may match.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use self::words::matches;
use crate::{
    Carries,
    firewall::{self, Family, Ruleset, Table},
};

mod words;

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
    pub iif: Option<String>,
    pub oif: Option<String>,
    pub from: Option<IpAddr>,
    pub target: Target,
    /// Its target until destination NAT, which is at this hook, has changed it.
    pub asked: Option<Target>,
    /// Connection tracking has seen it.
    pub tracked: bool,
    /// It belongs to a connection of which the other side has heard.
    pub answer: bool,
    /// Its destination was translated.
    pub translated: bool,
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
pub(super) struct Chains<'a>(Vec<Chain<'a>>);

/// A chain, and the table that it is in.
#[derive(Clone, Copy)]
struct Chain<'a> {
    table: &'a Table,
    chain: &'a firewall::Chain,
}

/// Whether a rule's expressions hold for the packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Perhaps,
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
            End::Drop(Verdict::Drops { chain, rule }) if returned => {
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
    Drop(Verdict),
}

impl<'a> Chains<'a> {
    /// The ruleset's.
    pub fn of(ruleset: &'a Ruleset) -> Self {
        let chains = ruleset.chains().filter(|(table, _)| !table.dormant);
        let mut chains: Vec<_> = chains.map(|(table, chain)| Chain { table, chain }).collect();
        chains.sort_by_key(|chain| chain.chain.hook.as_ref().map_or(0, |hook| hook.priority));
        Self(chains)
    }

    /// What becomes of the packet.
    pub fn verdict(&self, packet: &Passing) -> Verdict {
        let mut doubt = Doubt { perhaps: Verdict::Passes, accepted: false };
        for (chain, packet) in self.at("filter", packet) {
            doubt.accepted = false;
            match self.run(chain, &packet, 0, &mut doubt) {
                End::Drop(verdict) if !doubt.accepted => return verdict,
                End::Return if chain.drops() && !doubt.accepted => {
                    return Verdict::Drops { chain: chain.title(), rule: "policy drop".into() };
                }
                End::Drop(Verdict::Drops { chain, rule }) => doubt.perhaps = Verdict::MayDrop { chain, rule },
                End::Return if chain.drops() => {
                    doubt.perhaps = Verdict::MayDrop { chain: chain.title(), rule: "policy drop".into() };
                }
                End::Drop(_) | End::Return | End::Accept | End::Translate(..) => {}
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
        self.any_word(is_dnat)
    }

    fn any_word(&self, is: impl Fn(&str) -> bool) -> bool {
        let mut rules = self.0.iter().flat_map(|chain| &chain.chain.rules);
        rules.any(|rule| rule.text.split_whitespace().any(&is))
    }

    /// The base chains of this kind that see the packet, and what each sees.
    fn at<'b>(&'b self, kind: &'b str, packet: &'b Passing) -> impl Iterator<Item = (Chain<'a>, Passing)> + 'b {
        let seeing = self.0.iter().copied().filter_map(move |chain| Some((chain, chain.sees(kind, packet)?)));
        seeing.map(|(chain, priority)| (chain, self.before_or_after_nat(packet, priority)))
    }

    /// The packet as a chain of this priority sees it: `enum nf_ip_hook_priorities`.
    fn before_or_after_nat(&self, packet: &Passing, priority: i32) -> Passing {
        const CONNTRACK: i32 = -200;
        const DSTNAT: i32 = -100;
        const SRCNAT: i32 = 100;
        let tracked = match packet.hook {
            Hook::Ingress => false,
            _ if packet.bridged => false,
            Hook::Prerouting | Hook::Output => priority > CONNTRACK,
            Hook::Input | Hook::Forward | Hook::Postrouting | Hook::Egress => true,
        };
        let is_late = match packet.hook {
            Hook::Postrouting => priority > SRCNAT,
            hook => hook == Hook::Egress,
        } && !packet.bridged;
        let is_changed =
            |word: &str| ["dnat", "snat", "masquerade", "redirect"].iter().any(|nat| word.eq_ignore_ascii_case(nat));
        let is_early = packet.hook == Hook::Ingress || priority < DSTNAT;
        Passing {
            tracked: packet.tracked || tracked,
            // What it is changed to is not followed here.
            from: packet.from.filter(|_| !is_late || !self.any_word(is_changed)),
            target: packet.asked.filter(|_| is_early).unwrap_or(packet.target),
            ..packet.clone()
        }
    }

    fn run(&self, chain: Chain<'_>, packet: &Passing, depth: usize, doubt: &mut Doubt) -> End {
        const DEEPEST: usize = 16;
        // Whether the packet may have left the chain before.
        let mut returned = false;
        for rule in chain.rules() {
            let matches = matches(&rule, packet);
            if matches == Match::No {
                continue;
            }
            let words: Vec<&str> = rule.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
            let leads_on = || ["accept", "jump", "goto"].iter().any(|verdict| words.contains(verdict));
            let named = || Verdict::Drops { chain: chain.title(), rule: rule.clone() };
            match words.as_slice() {
                _ if words.contains(&"drop") || words.contains(&"reject") => {
                    if matches == Match::Yes {
                        return doubt.unless(returned, End::Drop(named()));
                    }
                    doubt.accepted |= leads_on();
                    doubt.may_drop(chain.title(), rule.clone());
                }
                // A jump may lead to an `accept` too.
                _ if matches == Match::Perhaps => {
                    doubt.accepted |= leads_on();
                    returned |= words.contains(&"return");
                }
                _ if words.iter().copied().any(is_dnat) && words.contains(&"to") => {
                    let to = words.iter().skip_while(|word| **word != "to").nth(1);
                    if let Some((to, port)) = to.and_then(|to| destination(to)) {
                        return End::Translate(Rewrite { to, port, chain: chain.title(), rule: rule.clone() });
                    }
                }
                [.., "accept"] => return End::Accept,
                [.., "return"] => return End::Return,
                [.., jump @ ("jump" | "goto"), to] if depth < DEEPEST => {
                    let target = self.0.iter().find(|other| other.is_beside(chain) && other.chain.name == *to);
                    match target.map(|target| self.run(*target, packet, depth + 1, doubt)) {
                        Some(End::Return) if *jump == "goto" => return End::Return,
                        Some(End::Return) | None => {}
                        Some(end) => return doubt.unless(returned, end),
                    }
                }
                _ => {}
            }
        }
        End::Return
    }
}

impl Chain<'_> {
    /// `inet netproof forward`
    fn title(self) -> String {
        format!("{} {} {}", self.table.family, self.table.name, self.chain.name)
    }

    /// Its rules' texts, but for remarks about what has no words.
    fn rules(self) -> impl Iterator<Item = String> {
        self.chain.rules.iter().map(ToString::to_string).filter(|rule| !is_remark(rule))
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
        let is_at = |device: &Option<String>| hook.device.is_some() && hook.device == *device;
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

/// `dnat` of nf_tables, `DNAT` of iptables.
fn is_dnat(word: &str) -> bool {
    word.eq_ignore_ascii_case("dnat")
}

/// `10.20.30.41:80`, `[fd00:20::41]:80`, or the address alone.
fn destination(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip(), Some(both.port())));
    }
    Some((text.trim_matches(['[', ']']).parse().ok()?, None))
}

/// A remark about what has no words; `# xt addrtype` may be all of a rule.
fn is_remark(rule: &str) -> bool {
    rule.starts_with('#') && !rule.starts_with("# xt ") && !rule.starts_with("# expr ")
}

#[cfg(test)]
mod tests;
