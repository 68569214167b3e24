//! The way of one packet through chains.

use std::{collections::HashMap, net::IpAddr};

use super::{
    Destination, Device, Hook, Passing, Rewrite, Verdict,
    rule::{Does, Effect, apply, translates, untracks},
};
use crate::{
    firewall::{self, Family, Rule, Ruleset, Table},
    ruleset::{expr::Verdict as Ruling, statement::Statement},
};

/// The chains of a ruleset that see packets, by their priorities.
pub(in super::super) struct Chains<'a> {
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

/// One packet in one base chain, and what is not certain about it.
struct Run<'a> {
    chains: &'a Chains<'a>,
    packet: Passing,
    /// A rule that may drop it.
    may_drop: Option<By>,
    /// A rule that may change its destination.
    may_translate: Option<By>,
    /// A rule may let it pass before others decide.
    may_pass: bool,
    /// How chains end that others lead to, by their names.
    ends: HashMap<&'a str, End>,
}

/// A rule, and its chain.
#[derive(Clone)]
struct By {
    chain: String,
    rule: String,
}

/// How a chain ends for the packet.
#[derive(Clone)]
enum End {
    Accept,
    Return,
    Drop(By),
    /// It gets another destination, at this port; none: which is not known.
    Translate(By, Option<(IpAddr, Option<u16>)>),
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
        let mut perhaps = Verdict::Passes;
        for chain in self.seeing(packet) {
            let mut run = self.run(chain, packet);
            let end = match run.chain(chain, 0) {
                End::Return if chain.drops() => End::Drop(By { chain: chain.title(), rule: "policy drop".into() }),
                end => end,
            };
            match end {
                End::Drop(By { chain, rule }) if !run.may_pass => return Verdict::Drops { chain, rule },
                End::Drop(by) => {
                    run.may_drop.get_or_insert(by);
                }
                End::Accept | End::Return | End::Translate(..) => {}
            }
            if let (Verdict::Passes, Some(By { chain, rule })) = (&perhaps, run.may_drop) {
                perhaps = Verdict::MayDrop { chain, rule };
            }
        }
        perhaps
    }

    /// What destination NAT does with the packet.
    pub fn destination(&self, packet: &Passing) -> Destination {
        for chain in self.seeing(packet).filter(|chain| chain.is_nat()) {
            let mut run = self.run(chain, packet);
            let end = run.chain(chain, 0);
            match (end, run.may_translate) {
                (End::Translate(By { chain, rule }, Some((to, port))), None) if !run.may_pass => {
                    return Destination::Changed(Rewrite { to, port, chain, rule });
                }
                (_, Some(By { chain, rule })) | (End::Translate(By { chain, rule }, _), None) => {
                    return Destination::Unknown { chain, rule };
                }
                (End::Accept | End::Return | End::Drop(_), None) => {}
            }
        }
        Destination::Kept
    }

    /// The base chains that see the packet.
    fn seeing<'b>(&'b self, packet: &'b Passing) -> impl Iterator<Item = Chain<'a>> + 'b {
        self.all.iter().copied().filter(|chain| chain.sees(packet))
    }

    fn run<'b>(&'b self, chain: Chain<'b>, packet: &Passing) -> Run<'b> {
        let packet = self.seen_by(chain, packet);
        Run { chains: self, packet, may_drop: None, may_translate: None, may_pass: false, ends: HashMap::new() }
    }

    /// The packet as a base chain sees it, by its priority: `enum nf_ip_hook_priorities`. Of two of the same priority, that
    /// is first which was first there. What a packet is changed to is not followed here.
    fn seen_by(&self, chain: Chain<'_>, packet: &Passing) -> Passing {
        const CONNTRACK: i32 = -200;
        const DSTNAT: i32 = -100;
        const SRCNAT: i32 = 100;
        use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let (priority, is_nat) = (chain.priority(), chain.is_nat());
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
            && !is_nat
            && self.translate;
        let is_early = !packet.own
            && match packet.hook {
                Ingress => true,
                // Chains of type `nat` are asked what is to be done, wherever they stand.
                Prerouting | Output => priority < DSTNAT || is_nat,
                Input | Forward | Postrouting | Egress => false,
            };
        Passing {
            netdev: chain.table.family == Family::Netdev,
            // Bridges track connections where a module lets them.
            tracked: tracked.filter(|_| !packet.bridged && !packet.asks && !packet.stray && !self.untrack),
            from: packet.from.filter(|_| !is_late),
            target: if is_early { asked } else { packet.target },
            translated: packet.translated && !(changed && (is_early || priority == DSTNAT)),
            unsure: packet.unsure && !is_early
                || changed && !is_early && priority == DSTNAT
                || is_late && packet.answer,
            ..packet.clone()
        }
    }
}

impl<'a> Run<'a> {
    fn chain(&mut self, chain: Chain<'a>, depth: usize) -> End {
        // Whether the packet may have left the chain before.
        let mut returned = false;
        for rule in &chain.chain.rules {
            let (does, is_certain) = match apply(rule, &self.packet) {
                Effect::Does(does) => (vec![does], true),
                Effect::May(does) => (does, false),
            };
            for does in does {
                let Some(end) = self.end(chain, rule, &does, depth) else { continue };
                if is_certain && !returned {
                    return end;
                }
                returned |= matches!(end, End::Return);
                self.may(end);
                if is_certain {
                    return End::Return;
                }
            }
        }
        End::Return
    }

    /// Notes how it may end.
    fn may(&mut self, end: End) {
        match end {
            End::Drop(by) => {
                self.may_drop.get_or_insert(by);
            }
            End::Translate(by, _) => {
                self.may_translate.get_or_insert(by);
                self.may_pass = true;
            }
            End::Accept => self.may_pass = true,
            End::Return => {}
        }
    }

    /// How the chain ends by what a rule does; none: it goes on.
    fn end(&mut self, chain: Chain<'a>, rule: &Rule, does: &Does, depth: usize) -> Option<End> {
        let by = || By { chain: chain.title(), rule: rule.to_string() };
        let (target, goes) = match does {
            Does::Translate(to) => return Some(End::Translate(by(), *to)),
            Does::Verdict(Ruling::Drop) => return Some(End::Drop(by())),
            Does::Verdict(Ruling::Accept) => return Some(End::Accept),
            Does::Verdict(Ruling::Return) => return Some(End::Return),
            // A program decides.
            Does::Verdict(Ruling::Queue) => {
                self.may_drop.get_or_insert_with(by);
                return Some(End::Accept);
            }
            Does::Verdict(Ruling::Continue) => return None,
            Does::Verdict(Ruling::Jump(target)) => (target, false),
            Does::Verdict(Ruling::Goto(target)) => (target, true),
        };
        match self.lead(chain, target, depth).unwrap_or_else(|| {
            self.may(End::Drop(by()));
            self.may(End::Accept);
            End::Return
        }) {
            End::Return if !goes => None,
            end => Some(end),
        }
    }

    /// How the chain of this name ends, beside `chain`; none: that is not known.
    fn lead(&mut self, chain: Chain<'a>, name: &str, depth: usize) -> Option<End> {
        /// `NFT_JUMP_STACK_SIZE`: the kernel takes no rules that lead deeper.
        const DEEPEST: usize = 16;
        let mut others = self.chains.all.iter().filter(|other| other.is_beside(chain));
        let target = *others.find(|other| other.chain.name == name)?;
        if let Some(end) = self.ends.get(name) {
            return Some(end.clone());
        }
        if depth >= DEEPEST {
            return None;
        }
        let end = self.chain(target, depth + 1);
        self.ends.insert(&target.chain.name, end.clone());
        Some(end)
    }
}

impl Chain<'_> {
    /// `inet netproof forward`
    fn title(self) -> String {
        format!("{} {} {}", self.table.family, self.table.name, self.chain.name)
    }

    fn priority(self) -> i32 {
        self.chain.hook.as_ref().map_or(0, |hook| hook.priority)
    }

    fn is_nat(self) -> bool {
        self.chain.hook.as_ref().is_some_and(|hook| hook.kind == "nat")
    }

    /// Whether what no rule decided on is dropped.
    fn drops(self) -> bool {
        self.chain.hook.as_ref().is_some_and(|hook| hook.drops)
    }

    fn is_beside(self, other: Chain<'_>) -> bool {
        (self.table.family, &self.table.name) == (other.table.family, &other.table.name)
    }

    /// Whether it is a base chain that sees the packet.
    fn sees(self, packet: &Passing) -> bool {
        let Some(hook) = &self.chain.hook else { return false };
        let is_at = |device: &Device| matches!(device, Device::Is(name) if hook.devices.contains(name));
        let is_ip = !packet.bridged && !packet.is_arp();
        let of_family = match self.table.family {
            Family::Bridge => packet.bridged,
            Family::Ip => is_ip && packet.target.to.is_ipv4(),
            Family::Ip6 => is_ip && packet.target.to.is_ipv6(),
            Family::Inet => is_ip,
            Family::Arp => !packet.bridged && packet.is_arp(),
            Family::Netdev => false,
        };
        let is_there = match (packet.hook, hook.hook.as_str()) {
            (Hook::Ingress, "ingress") => {
                is_at(&packet.iif) && (self.table.family == Family::Netdev || !packet.is_arp())
            }
            (Hook::Egress, "egress") => is_at(&packet.oif),
            (Hook::Prerouting, "prerouting")
            | (Hook::Input, "input")
            | (Hook::Forward, "forward")
            | (Hook::Output, "output")
            | (Hook::Postrouting, "postrouting") => of_family,
            _ => false,
        };
        // Connections are asked about once.
        is_there && !(self.is_nat() && (packet.answer || packet.asks || packet.own))
    }
}

fn any(chains: &[Chain<'_>], is: impl Fn(&Statement) -> bool) -> bool {
    chains.iter().flat_map(|chain| &chain.chain.rules).flat_map(|rule| &rule.statements).any(is)
}
