//! What firewall rules, as `nft list ruleset` prints them, do to one packet.
//!
//! Only what is certain is told: an expression that is not known here makes a rule one that may match.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use self::words::matches;
use crate::{Carries, Namespace, Result};

mod words;

/// Where a packet passes the rules, in the order of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// A device's, before all others.
    Ingress,
    /// Prerouting before destination NAT, as the packet came: the table `raw`.
    Raw,
    /// Prerouting from destination NAT on.
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
    pub iif: Option<String>,
    pub oif: Option<String>,
    pub from: Option<IpAddr>,
    pub to: IpAddr,
    pub carries: Carries,
    /// It belongs to a connection of which the other side has heard.
    pub answer: bool,
    /// Its destination was translated.
    pub translated: bool,
    /// Its destination is an address of the namespace.
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

/// The chains of a ruleset.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruleset(Vec<Chain>);

#[derive(Clone, Debug, Default)]
struct Chain {
    family: String,
    table: String,
    name: String,
    /// `filter` or `nat`, of a base chain.
    kind: String,
    /// `forward`, of a base chain.
    hook: String,
    /// At `ingress` and `egress`.
    device: Option<String>,
    priority: i32,
    drops: bool,
    rules: Vec<String>,
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
                if self.perhaps == Verdict::Passes {
                    self.perhaps = Verdict::MayDrop { chain, rule };
                }
                End::Return
            }
            end => end,
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

impl Ruleset {
    /// The namespace's.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        super::rules_of(namespace).map(|text| Self::parse(&text))
    }

    /// Reads what `nft list ruleset` prints.
    pub fn parse(text: &str) -> Self {
        let (mut chains, mut table, mut chain) = (Vec::new(), (String::new(), String::new()), None::<Chain>);
        let (mut skipped, mut dormant) = (0_usize, false);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line)) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (words.as_slice(), &mut chain) {
                _ if skipped > 0 => {
                    skipped = (skipped + line.matches('{').count()).saturating_sub(line.matches('}').count())
                }
                (["table", family, name, ..], _) => (table, dormant) = (((*family).into(), (*name).into()), false),
                (["chain", name, ..], _) => {
                    let (family, table) = table.clone();
                    chain = Some(Chain { family, table, name: (*name).into(), ..Chain::default() });
                }
                (["}", ..], chain) => chains.extend(chain.take().filter(|_| !dormant)),
                (["type", kind, "hook", hook, ..], Some(chain)) => chain.base(kind, hook, line),
                (_, Some(chain)) => chain.rules.push(line.into()),
                // Its chains see nothing.
                (["flags", flags, ..], None) => dormant = flags.contains("dormant"),
                (_, None) if line.ends_with('{') => skipped = 1,
                _ => {}
            }
        }
        chains.sort_by_key(|chain: &Chain| chain.priority);
        Self(chains)
    }

    /// What becomes of the packet.
    pub fn verdict(&self, packet: &Passing) -> Verdict {
        let mut doubt = Doubt { perhaps: Verdict::Passes, accepted: false };
        for chain in self.at("filter", packet) {
            doubt.accepted = false;
            match self.run(chain, packet, 0, &mut doubt) {
                End::Drop(verdict) if !doubt.accepted => return verdict,
                End::Return if chain.drops && !doubt.accepted => {
                    return Verdict::Drops { chain: chain.title(), rule: "policy drop".into() };
                }
                End::Drop(Verdict::Drops { chain, rule }) => doubt.perhaps = Verdict::MayDrop { chain, rule },
                End::Return if chain.drops => {
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
        self.at("nat", packet).find_map(|chain| match self.run(chain, packet, 0, &mut doubt) {
            End::Translate(rewrite) => Some(rewrite),
            _ => None,
        })
    }

    /// Whether any rule changes destinations.
    pub fn rewrites(&self) -> bool {
        self.0.iter().flat_map(|chain| &chain.rules).any(|rule| rule.split_whitespace().any(is_dnat))
    }

    /// The base chains of this kind that see the packet.
    fn at<'a>(&'a self, kind: &'a str, packet: &'a Passing) -> impl Iterator<Item = &'a Chain> {
        let is_at = |chain: &Chain| match packet.hook {
            Hook::Ingress => chain.is_of("ingress", packet.iif.as_deref()),
            Hook::Raw => chain.hook == "prerouting" && chain.priority < DSTNAT,
            Hook::Prerouting => chain.hook == "prerouting" && chain.priority >= DSTNAT,
            Hook::Input => chain.hook == "input",
            Hook::Forward => chain.hook == "forward",
            Hook::Output => chain.hook == "output",
            Hook::Postrouting => chain.hook == "postrouting",
            Hook::Egress => chain.is_of("egress", packet.oif.as_deref()),
        };
        self.0.iter().filter(move |chain| chain.kind == kind && is_at(chain) && chain.sees(packet))
    }

    fn run(&self, chain: &Chain, packet: &Passing, depth: usize, doubt: &mut Doubt) -> End {
        const DEEPEST: usize = 16;
        // Whether the packet may have left the chain before.
        let mut returned = false;
        for rule in &chain.rules {
            let matches = matches(rule, packet);
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
                    if doubt.perhaps == Verdict::Passes {
                        doubt.perhaps = Verdict::MayDrop { chain: chain.title(), rule: rule.clone() };
                    }
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
                    let target = self.0.iter().find(|other| other.is_beside(chain) && other.name == *to);
                    match target.map(|target| self.run(target, packet, depth + 1, doubt)) {
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

impl Chain {
    fn base(&mut self, kind: &str, hook: &str, line: &str) {
        (self.kind, self.hook) = (kind.into(), hook.into());
        self.device = line.split_once(" device \"").and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
        let rest = line.split_once("priority ").map_or("", |(_, rest)| rest);
        self.priority = priority(rest.split(';').next().unwrap_or_default());
        self.drops = line.contains("policy drop");
    }

    /// Whether it is hooked in at this end of the device.
    fn is_of(&self, hook: &str, device: Option<&str>) -> bool {
        self.hook == hook && self.device.is_some() && self.device.as_deref() == device
    }

    fn is_beside(&self, other: &Self) -> bool {
        (&self.family, &self.table) == (&other.family, &other.table)
    }

    /// `inet netproof forward`
    fn title(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    fn sees(&self, packet: &Passing) -> bool {
        match self.family.as_str() {
            _ if self.device.is_some() => true,
            "bridge" => packet.bridged,
            "ip" => !packet.bridged && packet.to.is_ipv4(),
            "ip6" => !packet.bridged && packet.to.is_ipv6(),
            "inet" => !packet.bridged,
            _ => false,
        }
    }
}

/// NF_IP_PRI_NAT_DST, of the chains that change destinations.
const DSTNAT: i32 = -100;

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

/// Remarks about what has no words, `# xt addrtype`, may be all of a rule.
fn is_comment(line: &str) -> bool {
    line.starts_with('#') && !line.starts_with("# xt ") && !line.starts_with("# expr ")
}

/// `filter - 1`, `-100`, `dstnat`
fn priority(text: &str) -> i32 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = |name: &str| match name {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => DSTNAT,
        "security" => 50,
        "srcnat" => 100,
        other => other.parse().unwrap_or(0),
    };
    let number = |text: &str| text.parse::<i32>().unwrap_or(0);
    match words.as_slice() {
        [name, "+", more] => named(name) + number(more),
        [name, "-", less] => named(name) - number(less),
        [name, ..] => named(name),
        [] => 0,
    }
}

#[cfg(test)]
mod tests;
