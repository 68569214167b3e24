//! The way of one packet through chains.

use std::{collections::HashMap, net::IpAddr};

use super::{
    Destination, Device, Hook, Passing, Rewrite, Verdict,
    rule::{Does, Effect, apply, may_untrack, translates, untracks, writes},
};
use crate::{
    firewall::{self, Family, Rule, Ruleset, Table},
    ruleset::{expr::Verdict as Ruling, statement::Statement},
};

/// The chains of a ruleset that see packets, by their priorities.
pub(in super::super) struct Chains<'a> {
    /// Those with a hook, by their priorities.
    base: Vec<Chain<'a>>,
    /// All, by family, table and name.
    all: HashMap<(Family, &'a str, &'a str), Chain<'a>>,
    /// Whether any rule changes addresses.
    translate: bool,
    /// Whether any rule writes to packets.
    write: bool,
    /// The rules that keep packets from connection tracking.
    untrack: Vec<(Family, &'a Rule)>,
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
    /// How chains end that others lead to, by their names; none: it is being found out.
    ends: HashMap<&'a str, Option<End>>,
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
        let chains: Vec<_> = chains.map(|(table, chain)| Chain { table, chain }).collect();
        let any = |is: fn(&Statement) -> bool| {
            chains.iter().flat_map(|chain| &chain.chain.rules).flat_map(|rule| &rule.statements).any(is)
        };
        let (translate, write) = (any(translates), any(writes));
        let rules =
            chains.iter().flat_map(|Chain { table, chain }| chain.rules.iter().map(|rule| (table.family, rule)));
        let untrack = rules.filter(|(_, rule)| rule.statements.iter().any(untracks)).collect();
        let all = chains.iter().map(|chain| (chain.key(&chain.chain.name), *chain)).collect();
        let mut base: Vec<_> = chains.into_iter().filter(|chain| chain.chain.hook.is_some()).collect();
        base.sort_by_key(|chain| chain.priority());
        Self { base, all, translate, write, untrack }
    }

    /// What becomes of the packet.
    pub fn verdict(&self, packet: &Passing) -> Verdict {
        let mut perhaps = Verdict::Passes;
        for base in self.seeing(packet) {
            let mut run = self.run(base, packet);
            let end = match run.chain(base) {
                End::Return if base.drops() => End::Drop(By { chain: base.title(), rule: "policy drop".into() }),
                end => end,
            };
            match end {
                End::Drop(By { chain, rule }) if !run.may_pass && !self.may_miss(base, packet) => {
                    return Verdict::Drops { chain, rule };
                }
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
        let mut found: Option<(i32, Destination)> = None;
        for nat in self.seeing(packet).filter(|chain| chain.is_nat()) {
            if found.as_ref().is_some_and(|(priority, _)| *priority != nat.priority()) {
                break;
            }
            let mut run = self.run(nat, packet);
            let end = run.chain(nat);
            let is_certain = !run.may_pass && !self.may_miss(nat, packet);
            let one = match (end, run.may_translate) {
                (End::Translate(By { chain, rule }, Some((to, port))), None) if is_certain => {
                    Destination::Changed(Rewrite { to, port, chain, rule })
                }
                (End::Translate(By { chain, rule }, _), None) => Destination::Unknown { is_certain, chain, rule },
                (_, Some(By { chain, rule })) => Destination::Unknown { is_certain: false, chain, rule },
                (End::Accept | End::Return | End::Drop(_), None) => continue,
            };
            // Of two of the same priority, nobody knows here which is first.
            found = Some(match (found, one) {
                (None, one) => (nat.priority(), one),
                (Some((priority, Destination::Changed(a))), Destination::Changed(b))
                    if (a.to, a.port) == (b.to, b.port) =>
                {
                    (priority, Destination::Changed(a))
                }
                (Some((priority, Destination::Changed(Rewrite { chain, rule, .. }))), _)
                | (Some((priority, Destination::Unknown { chain, rule, .. })), _) => {
                    (priority, Destination::Unknown { is_certain: false, chain, rule })
                }
                (Some(kept), _) => kept,
            });
        }
        found.map_or(Destination::Kept, |(_, found)| found)
    }

    /// Whether a chain that is asked once for a connection may not be asked about the packet.
    fn may_miss(&self, chain: Chain<'_>, packet: &Passing) -> bool {
        chain.is_nat() && (packet.stray || self.may_untrack(packet))
    }

    /// Whether a rule may have kept the packet from connection tracking, where it came in or started.
    fn may_untrack(&self, packet: &Passing) -> bool {
        let early = Passing {
            iif: Device::Unknown,
            oif: Device::Unknown,
            from: None,
            // Whether it was an answer's question that was not tracked, its own header does not tell.
            unsure: packet.unsure || packet.translated || packet.answer,
            target: packet.asked.unwrap_or(packet.target),
            tracked: Some(false),
            ..packet.clone()
        };
        let is_ipv4 = packet.target.to.is_ipv4();
        let sees = |family: Family| !matches!((family, is_ipv4), (Family::Ip, false) | (Family::Ip6, true));
        self.untrack.iter().any(|(family, rule)| sees(*family) && may_untrack(rule, &early))
    }

    /// The base chains that see the packet.
    fn seeing<'b>(&'b self, packet: &'b Passing) -> impl Iterator<Item = Chain<'a>> + 'b {
        self.base.iter().copied().filter(|chain| chain.sees(packet))
    }

    fn run<'b>(&'b self, chain: Chain<'b>, packet: &Passing) -> Run<'b> {
        let packet = self.seen_by(chain, packet);
        Run { chains: self, packet, may_drop: None, may_translate: None, may_pass: false, ends: HashMap::new() }
    }

    /// The packet as a base chain sees it, by its priority: `enum nf_ip_hook_priorities`. Of two of the same priority,
    /// nobody knows here which is first, and what a packet is changed to is not followed.
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
            tracked: tracked
                .filter(|_| !packet.bridged && !packet.is_arp() && !packet.stray && !self.may_untrack(packet)),
            from: packet.from.filter(|_| !is_late && !self.write),
            target: if is_early { asked } else { packet.target },
            translated: packet.translated && !(changed && is_early && !packet.answer),
            unsure: self.write
                || packet.unsure && !is_early
                || changed && !is_early && priority == DSTNAT
                || is_late && packet.answer,
            ..packet.clone()
        }
    }
}

impl<'a> Run<'a> {
    fn chain(&mut self, chain: Chain<'a>) -> End {
        // Whether the packet may have left the chain before.
        let mut returned = false;
        for rule in &chain.chain.rules {
            let (does, is_certain) = match apply(rule, &self.packet) {
                Effect::Does(does) => (vec![does], true),
                Effect::May(does) => (does, false),
            };
            for does in does {
                let Some(end) = self.end(chain, rule, &does) else { continue };
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
    fn end(&mut self, chain: Chain<'a>, rule: &Rule, does: &Does) -> Option<End> {
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
        let end = self.lead(chain, target).unwrap_or_else(|| {
            self.may(End::Drop(by()));
            self.may(End::Accept);
            End::Return
        });
        match end {
            End::Return if !goes => None,
            end => Some(end),
        }
    }

    /// How the chain of this name ends, beside `chain`; none: that is not known. The kernel takes no rules that lead in a
    /// circle.
    fn lead(&mut self, chain: Chain<'a>, name: &str) -> Option<End> {
        let target = *self.chains.all.get(&chain.key(name))?;
        if let Some(end) = self.ends.get(name) {
            return end.clone();
        }
        self.ends.insert(&target.chain.name, None);
        let end = self.chain(target);
        self.ends.insert(&target.chain.name, Some(end.clone()));
        Some(end)
    }
}

impl<'a> Chain<'a> {
    /// What a chain of this name, in the same table, is found by.
    fn key<'b>(self, name: &'b str) -> (Family, &'b str, &'b str)
    where
        'a: 'b,
    {
        (self.table.family, &self.table.name, name)
    }

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

    /// Whether it is a base chain that sees the packet.
    fn sees(self, packet: &Passing) -> bool {
        let Some(hook) = &self.chain.hook else { return false };
        let is_at = |device: &Device| match device {
            Device::Is(name) => hook.devices.iter().any(|device| match device.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == device,
            }),
            Device::None | Device::Unknown => false,
        };
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
        is_there && !(self.is_nat() && (packet.answer && !packet.stray || packet.asks || packet.own))
    }
}
