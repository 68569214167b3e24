//! Rules as `nft` prints them, against one packet.

use super::*;
use crate::{
    firewall::{self, Family, Ruleset, Table},
    ruleset::{parse, statement::Statement},
};

pub(super) fn echo() -> Passing {
    Passing {
        hook: Hook::Forward,
        bridged: false,
        netdev: false,
        asks: false,
        tells: false,
        iif: Device::Is("br0".into()),
        oif: Device::Is("eth0".into()),
        from: Some("10.20.30.41".parse().unwrap()),
        target: Target { to: "192.0.2.1".parse().unwrap(), carries: Carries::Echo, local: false },
        asked: None,
        unsure: false,
        tracked: None,
        own: false,
        answer: false,
        stray: false,
        translated: false,
    }
}

pub(super) fn chain(name: &str, hook: Option<(&str, &str, i32, bool)>, rules: &str) -> firewall::Chain {
    let hook = hook.map(|(kind, hook, priority, drops)| firewall::Hook {
        kind: kind.into(),
        hook: hook.into(),
        devices: Vec::new(),
        priority,
        drops,
    });
    firewall::Chain { name: name.into(), hook, rules: rules.lines().map(|text| rule(text.trim())).collect() }
}

/// A rule as it is read: what has no words stands after a `#`, up to the next; targets of the old iptables are in capitals.
pub(super) fn rule(text: &str) -> firewall::Rule {
    let parsed = |text: &str| parse::rule(text).map_or_else(|error| panic!("{text}: {error}"), |rule| rule.statements);
    let mut statements = Vec::new();
    for (place, part) in text.split("# ").map(str::trim).enumerate() {
        match part.split_once(" ; ") {
            _ if place == 0 && part.is_empty() => {}
            _ if place == 0 => statements.extend(parsed(part)),
            Some((words, rest)) => {
                statements.push(remark(words));
                statements.extend(parsed(rest));
            }
            None => statements.push(remark(part)),
        }
    }
    firewall::Rule { handle: 0, text: text.into(), comment: None, statements }
}

fn remark(text: &str) -> Statement {
    match text.split_once(' ').unwrap() {
        ("xt", words) => {
            Statement::Extension { words: words.into(), target: words.starts_with(|first: char| first.is_uppercase()) }
        }
        (_, name) => Statement::Unknown(name.into()),
    }
}

pub(super) fn table(family: Family, chains: Vec<firewall::Chain>) -> Ruleset {
    let table = Table { family, name: "mine".into(), dormant: false, sets: Vec::new(), chains };
    Ruleset { tables: vec![table] }
}

pub(super) fn verdict(ruleset: &Ruleset, packet: &Passing) -> Verdict {
    Chains::of(ruleset).verdict(packet)
}

/// A chain at `forward` that jumps to one of these rules.
pub(super) fn forward(rules: &str, drops: bool) -> Ruleset {
    let base = chain("forward", Some(("filter", "forward", 0, drops)), "jump aside");
    let other = chain("other", None, "ether saddr 02:00:00:00:00:01 return\n drop");
    table(Family::Inet, vec![chain("aside", None, rules), other, base])
}

/// What is certain is told with its chain and rule, down a jump and by the policy.
#[test]
fn drops_are_told_by_their_rule() {
    let drops = |rules: &str| {
        let verdict = verdict(&forward(rules, false), &echo());
        matches!(&verdict, Verdict::Drops { chain, rule } if chain == "inet mine aside" && rule == rules)
    };
    for rule in [
        "drop",
        "iifname \"br0\" oifname != \"br0\" counter packets 3 bytes 252 drop",
        "ip saddr 10.20.0.0/16 ip daddr != 10.20.0.0/16 drop",
        "ip daddr { 192.0.2.1, 192.0.2.2 } reject with icmp host-prohibited",
        "oifname \"eth*\" meta l4proto icmp ct state new drop",
        "icmp type { echo-request, timestamp-request } drop",
        "ip protocol icmp drop comment \"no pings\"",
    ] {
        assert!(drops(rule), "{rule}");
    }
    let policy = verdict(&forward("iifname \"br1\" accept", true), &echo());
    assert_eq!(policy, Verdict::Drops { chain: "inet mine forward".into(), rule: "policy drop".into() });
}

/// What does not match, or is accepted before, does not drop.
#[test]
fn what_does_not_match_passes() {
    for rules in [
        "iifname \"br1\" drop",
        "ip saddr != 10.20.0.0/16 drop",
        "ip6 saddr fd00:20::/64 drop",
        "tcp dport 80 drop",
        "icmp type echo-reply drop",
        "icmpv6 type echo-request drop",
        "ct state established,related drop",
        "ct status dnat drop",
        "meta nfproto ipv6 drop",
        "ct state new accept\n drop",
        "return\n drop",
    ] {
        assert_eq!(verdict(&forward(rules, false), &echo()), Verdict::Passes, "{rules}");
    }
    let answer = Passing { answer: true, ..echo() };
    assert_eq!(verdict(&forward("ct state established,related accept", true), &answer), Verdict::Passes);
    let translated = Passing { translated: true, ..echo() };
    assert_eq!(verdict(&forward("ct status dnat accept", true), &translated), Verdict::Passes);
    assert_eq!(verdict(&forward("drop", false), &Passing { hook: Hook::Input, ..echo() }), Verdict::Passes);
    let bridge = table(Family::Bridge, vec![chain("f", Some(("filter", "forward", -200, true)), "")]);
    assert_eq!(verdict(&bridge, &echo()), Verdict::Passes);
    assert!(matches!(verdict(&bridge, &Passing { bridged: true, ..echo() }), Verdict::Drops { .. }));
}

/// An expression that is not known here is not taken for one that matches, nor for one that does not.
#[test]
fn the_unknown_is_no_certainty() {
    let unknown = verdict(&forward("# xt physdev ; drop", false), &echo());
    assert!(matches!(unknown, Verdict::MayDrop { .. }), "{unknown:?}");
    assert_eq!(verdict(&forward("# xt physdev ; accept", false), &echo()), Verdict::Passes);
    let accepted = verdict(&forward("# xt physdev ; accept", true), &echo());
    assert!(matches!(accepted, Verdict::MayDrop { .. }), "{accepted:?}");
    let returned = verdict(&forward("# xt physdev ; return\n drop", false), &echo());
    assert!(matches!(returned, Verdict::MayDrop { .. }), "{returned:?}");
    // A return leaves its own chain only.
    let certain = verdict(&forward("jump other\n drop", false), &echo());
    assert!(matches!(&certain, Verdict::Drops { chain, .. } if chain == "inet mine aside"), "{certain:?}");
    let named_set = verdict(&forward("ip daddr @blocked drop", false), &echo());
    assert!(matches!(named_set, Verdict::MayDrop { .. }), "{named_set:?}");
}

/// Ports are of the packet's own protocol, and an answer's is where it comes from.
#[test]
fn ports() {
    let tcp = Passing { target: Target { carries: Carries::Tcp(8080), ..echo().target }, ..echo() };
    let drops = |rule: &str, packet: &Passing| matches!(verdict(&forward(rule, false), packet), Verdict::Drops { .. });
    assert!(drops("tcp dport 8080 drop", &tcp) && drops("tcp dport { 80, 8000-8100 } drop", &tcp));
    assert!(!drops("udp dport 8080 drop", &tcp) && !drops("tcp dport 80 drop", &tcp));
    assert!(drops("tcp sport 8080 drop", &Passing { answer: true, ..tcp }));
}

/// Chains of one hook run by priority, wherever they stand; those before destination NAT see whom the packet was for then.
#[test]
fn priorities() {
    let at = |priority| Some(("filter", "prerouting", priority, false));
    let chains = [("late", 0), ("early", -99), ("raw", -300)].map(|(name, priority)| chain(name, at(priority), "drop"));
    let first = |ruleset: &Ruleset, packet: &Passing| match verdict(ruleset, packet) {
        Verdict::Drops { chain, .. } => chain,
        other => format!("{other:?}"),
    };
    let packet = Passing { hook: Hook::Prerouting, ..echo() };
    assert_eq!(first(&table(Family::Ip, chains.to_vec()), &packet), "ip mine raw");
    assert_eq!(first(&table(Family::Ip, chains[..2].to_vec()), &packet), "ip mine early");
    let port = |port| Target { carries: Carries::Tcp(port), ..packet.target };
    let published = Passing { target: port(80), asked: Some(port(8080)), ..packet };
    for (asks_for, seen_by) in [("tcp dport 8080 drop", "ip mine raw"), ("tcp dport 80 drop", "ip mine early")] {
        let chains = [("late", 0), ("early", -99), ("raw", -300)].map(|(name, at_)| chain(name, at(at_), asks_for));
        assert_eq!(first(&table(Family::Ip, chains.to_vec()), &published), seen_by);
    }
}

/// Before connection tracking there is no state, and after source NAT another source.
#[test]
fn what_a_packet_does_not_have_yet_and_not_any_more() {
    let at = |hook: &str, priority, rule: &str| chain("c", Some(("filter", hook, priority, false)), rule);
    let is_certain = |hook, chain: firewall::Chain, more: &[firewall::Chain]| {
        let ruleset = table(Family::Ip, std::iter::once(chain).chain(more.iter().cloned()).collect());
        matches!(verdict(&ruleset, &Passing { hook, ..echo() }), Verdict::Drops { .. })
    };
    let new = "ct state new drop";
    assert!(is_certain(Hook::Prerouting, at("prerouting", -150, new), &[]));
    assert!(!is_certain(Hook::Prerouting, at("prerouting", -300, new), &[]));
    assert!(!is_certain(Hook::Output, at("output", -300, new), &[]));
    let source = "ip saddr 10.20.30.41 drop";
    let masquerades = chain("nat", Some(("nat", "postrouting", 100, false)), "oifname \"eth0\" masquerade");
    for (priority, certain) in [(0, true), (300, false)] {
        let chain = at("postrouting", priority, source);
        assert!(is_certain(Hook::Postrouting, chain.clone(), &[]), "nothing changes it");
        assert_eq!(is_certain(Hook::Postrouting, chain, std::slice::from_ref(&masquerades)), certain, "{priority}");
    }
}

/// Of two chains of NAT's own priority that is first which was made first; what is known of a connection that was
/// translated is known after that.
#[test]
fn beside_nat() {
    let tcp = |port| Target { carries: Carries::Tcp(port), ..echo().target };
    let published =
        Passing { hook: Hook::Prerouting, target: tcp(80), asked: Some(tcp(8080)), translated: true, ..echo() };
    let at = |priority, rule: &str| {
        let chain = chain("c", Some(("filter", "prerouting", priority, false)), rule);
        verdict(&table(Family::Ip, vec![chain]), &published)
    };
    for port in ["tcp dport 80 drop", "tcp dport 8080 drop"] {
        assert!(matches!(at(-100, port), Verdict::MayDrop { .. }), "{port}");
    }
    assert_eq!(at(-150, "ct status dnat drop"), Verdict::Passes);
    assert!(matches!(at(0, "ct status dnat drop"), Verdict::Drops { .. }));
    assert!(matches!(at(-150, "tcp dport 8000-8100 drop"), Verdict::Drops { .. }));
}

/// Ranges are of whole addresses.
#[test]
fn ranges() {
    let target = Target { to: "fd00::5".parse().unwrap(), ..echo().target };
    let packet = Passing { target, ..echo() };
    let drops = |rule: &str| matches!(verdict(&forward(rule, false), &packet), Verdict::Drops { .. });
    assert!(drops("ip6 daddr fd00::1-fd00::9 drop") && drops("ip6 daddr { fd00::/64 } drop"));
    assert!(!drops("ip6 daddr fd01::1-fd01::9 drop") && !drops("ip6 daddr fd00::6-fd00::9 drop"));
    assert!(!drops("ip6 daddr { fd00:0:0:1::/64 } drop"));
}

/// ARP bears no header of IP; a neighbour solicitation is for a group.
#[test]
fn questions() {
    let asks = |rule: &str, to: &str| {
        let target = Target { to: to.parse().unwrap(), ..echo().target };
        let forward = chain("f", Some(("filter", "forward", -200, false)), rule);
        verdict(&table(Family::Bridge, vec![forward]), &Passing { bridged: true, asks: true, target, ..echo() })
    };
    for rule in ["ip daddr 192.0.2.1 drop", "ip saddr != 10.0.0.0/8 drop", "icmp type echo-request drop"] {
        assert_eq!(asks(rule, "192.0.2.1"), Verdict::Passes, "{rule}");
    }
    assert!(matches!(asks("iifname \"br0\" drop", "192.0.2.1"), Verdict::Drops { .. }));
    assert!(matches!(asks("ether type arp drop", "192.0.2.1"), Verdict::Drops { .. }));
    assert!(matches!(asks("ether type != ip drop", "192.0.2.1"), Verdict::Drops { .. }));
    assert_eq!(asks("ether type arp drop", "fd00::1"), Verdict::Passes);
    let others = "iifname \"br0\" arp saddr ip != 10.20.30.9 drop";
    assert!(matches!(asks(others, "192.0.2.1"), Verdict::MayDrop { .. }));
    let own = asks("arp saddr ip 10.20.30.41 accept\n drop", "192.0.2.1");
    assert!(matches!(&own, Verdict::MayDrop { rule, .. } if rule == "drop"), "{own:?}");
    assert_eq!(asks("meta l4proto tcp drop", "192.0.2.1"), Verdict::Passes);
    assert!(matches!(asks("ip6 daddr fd00::/8 drop", "fd00::1"), Verdict::MayDrop { .. }));
    assert_eq!(asks("ip6 daddr fd00::/8 drop", "192.0.2.1"), Verdict::Passes);
}

/// Destination NAT tells whom a published port is passed on to.
#[test]
fn published_ports() {
    let early =
        |priority, rule: &str| table(Family::Ip, vec![chain("p", Some(("nat", "prerouting", priority, false)), rule)]);
    let nat = |rule: &str| early(-100, rule);
    let target = Target { carries: Carries::Tcp(8080), local: true, ..echo().target };
    let syn = Passing { hook: Hook::Prerouting, target, asked: Some(target), ..echo() };
    let changed = |ruleset: &Ruleset, packet: &Passing| match Chains::of(ruleset).destination(packet) {
        Destination::Kept => None,
        Destination::Changed(rewrite) => Some(Some((rewrite.to, rewrite.port))),
        Destination::Unknown { .. } => Some(None),
    };
    let to = |rules: &str| changed(&nat(rules), &syn);
    let netns1: IpAddr = "10.20.30.41".parse().unwrap();
    let certain = |port| Some(Some((netns1, port)));
    assert_eq!(to("fib daddr type local tcp dport 8080 dnat to 10.20.30.41:80"), certain(Some(80)));
    assert_eq!(to("tcp dport 8080 counter packets 1 bytes 60 dnat ip to 10.20.30.41"), certain(None));
    assert_eq!(
        to("tcp dport 8080 ct mark set ct mark | 0x00001000 meta mark set 0x00000001 dnat ip to 10.20.30.41:80"),
        certain(Some(80))
    );
    assert_eq!(to("tcp dport 8080 dnat to :80"), Some(Some((target.to, Some(80)))));
    assert_eq!(to("tcp dport 8081 dnat to 10.20.30.41:80"), None);
    let elsewhere = Target { local: false, ..target };
    let local = nat("fib daddr type local dnat to 10.20.30.41");
    assert_eq!(changed(&local, &Passing { target: elsewhere, asked: None, ..syn.clone() }), None);
    assert_eq!(changed(&early(-300, "dnat to 10.20.30.41"), &syn), certain(None));
    let words = "tcp dport 8080 # xt addrtype dst-type local ; counter packets 0 bytes 0 # xt DNAT to 10.20.30.41:80";
    assert_eq!(to(words), certain(Some(80)));
    assert_eq!(to("# xt addrtype dst-type != local # xt DNAT to 10.20.30.41"), None);
    assert_eq!(rule::endpoint("[fd00::1]:80"), Some(("fd00::1".parse().unwrap(), Some(80))));
}

/// A map tells a verdict where its element is known; a table that is dormant tells none.
#[test]
fn maps_and_dormant_tables() {
    let map = |map: &str, drops| verdict(&forward(map, drops), &echo());
    for accepts in [
        "ct state vmap { established : accept, new : accept }",
        "ip protocol . ip daddr vmap { icmp . 192.0.2.0/24 : accept }",
    ] {
        assert_eq!(map(accepts, true), Verdict::Passes, "{accepts}");
    }
    for drops in ["ip daddr vmap { 192.0.2.1 : drop, 192.0.2.2 : accept }", "iifname vmap { \"br0\" : jump other }"] {
        assert!(matches!(map(drops, false), Verdict::Drops { .. } | Verdict::MayDrop { .. }), "{drops}");
    }
    assert_eq!(map("ip daddr vmap { 192.0.2.2 : drop }", false), Verdict::Passes);
    for unknown in ["meta mark vmap { 0x1 : drop, 0x2 : accept }", "ip daddr vmap @verdicts"] {
        let may = map(unknown, false);
        assert!(matches!(&may, Verdict::MayDrop { rule, .. } if rule == unknown), "{unknown}: {may:?}");
    }
    let mut dormant = forward("", true);
    dormant.tables[0].dormant = true;
    assert_eq!(verdict(&dormant, &echo()), Verdict::Passes);
    dormant.tables.extend(forward("", true).tables);
    assert!(matches!(verdict(&dormant, &echo()), Verdict::Drops { .. }));
}
