//! What is certain, and what only may be.

use super::{
    tests::{chain, echo, forward, rule, table, verdict},
    *,
};
use crate::{
    firewall::{self, Family, Ruleset},
    ruleset::statement::{Item, Right, Set, Statement},
};

/// What may translate the packet, or translates it to what is not known, is neither nothing nor what comes after.
#[test]
fn translated_to_what_is_not_known() {
    let target = Target { carries: Carries::Tcp(8080), local: true, ..echo().target };
    let syn = Passing { hook: Hook::Prerouting, target, asked: Some(target), ..echo() };
    for rules in [
        "# xt set # xt DNAT to 10.20.30.41",
        "# xt set # xt DNAT to 10.20.30.41\n dnat to 10.20.30.42",
        "# xt set ; accept\n dnat to 10.20.30.42",
        "# xt set ; return\n dnat to 10.20.30.42",
        "redirect\n dnat to 10.20.30.42",
        "dnat to 10.20.30.41-10.20.30.43\n dnat to 10.20.30.42",
        "# expr nat\n dnat to 10.20.30.42",
        "# xt DNAT\n dnat to 10.20.30.42",
    ] {
        let ruleset = table(Family::Ip, vec![chain("p", Some(("nat", "prerouting", -100, false)), rules)]);
        let found = Chains::of(&ruleset).destination(&syn);
        assert!(matches!(found, Destination::Unknown { .. }), "{rules}: {found:?}");
        assert_eq!(verdict(&ruleset, &syn), Verdict::Passes, "{rules}");
    }
}

/// Statements that hold for one protocol only, instructions that decide on their own, masks, ranges of names.
#[test]
fn certain_only_where_it_is() {
    let tcp = Passing { target: Target { carries: Carries::Tcp(80), ..echo().target }, ..echo() };
    let of = |rules: &str, packet: &Passing| match verdict(&forward(rules, false), packet) {
        Verdict::Passes => "passes",
        Verdict::MayDrop { .. } => "may",
        Verdict::Drops { .. } => "drops",
    };
    for (rules, echo_is, tcp_is) in [
        ("reject with tcp reset", "passes", "drops"),
        ("reject with icmp host-prohibited", "drops", "drops"),
        ("reject with icmpv6 admin-prohibited", "passes", "passes"),
        ("reject with icmpx port-unreachable", "drops", "drops"),
        ("# expr fwd", "may", "may"),
        ("# expr fwd\n drop", "may", "may"),
        ("# xt TARPIT\n drop", "may", "may"),
        ("# xt TRACE ; drop", "drops", "drops"),
        ("# expr queue\n drop", "may", "may"),
        ("# xt set ; return\n accept\n drop", "passes", "passes"),
        ("# xt mark ; drop", "may", "may"),
        ("# xt conntrack ctstate new ; drop", "drops", "drops"),
        ("# xt conntrack ctstate != related,established ; drop", "drops", "drops"),
        ("# xt conntrack ctstate related,established ; drop", "passes", "passes"),
        ("# xt multiport dports 22,80 ; drop", "may", "drops"),
        ("# xt multiport dports != 22,80 ; drop", "may", "passes"),
        ("# expr objref counter ; drop", "drops", "drops"),
        ("# expr objref quota ; drop", "may", "may"),
        ("# expr flow_offload ; accept\n drop", "may", "may"),
        ("iif \"lo\" accept\n drop", "drops", "drops"),
        ("ip daddr != { 192.0.2.1, * } drop", "may", "may"),
        ("meta mark vmap { 0x1 : drop, * : drop }", "drops", "drops"),
        ("ip daddr vmap @verdicts", "may", "may"),
        ("th dport 80 drop", "may", "drops"),
        ("tcp flags & (fin | syn | rst | ack) != syn drop", "passes", "may"),
        ("ip daddr & 255.255.0.255 > 192.0.0.0 drop", "drops", "drops"),
        ("ip daddr & 255.255.0.255 > 192.0.0.1 drop", "passes", "passes"),
        ("ip protocol vmap { icmp : continue, tcp : accept } drop", "drops", "passes"),
        ("ip daddr vmap { 192.0.2.2 : accept, * : drop }", "drops", "drops"),
        ("ip daddr vmap { 192.0.2.1 : accept, * : drop }", "passes", "passes"),
        ("meta mark vmap { 0x1 : accept, * : drop }", "may", "may"),
        ("ip6 daddr vmap { fd00::1 : accept, * : drop }", "passes", "passes"),
    ] {
        assert_eq!((of(rules, &echo()), of(rules, &tcp)), (echo_is, tcp_is), "{rules}");
    }
    let solicits = Passing {
        asks: true,
        target: Target { to: "fd00::1".parse().unwrap(), local: true, ..echo().target },
        ..echo()
    };
    assert_eq!(of("ct state untracked drop", &solicits), "drops");
    assert_eq!(of("ct state invalid drop", &solicits), "passes");
    assert_eq!(of("# xt addrtype dst-type local ; drop", &solicits), "may");
    let policy = verdict(&forward("# xt set ; return\n accept", true), &echo());
    assert!(matches!(policy, Verdict::MayDrop { .. }), "{policy:?}");
    assert_eq!(of("ct state established drop", &Passing { answer: true, ..echo() }), "drops");
    assert_eq!(of("ct state established drop", &Passing { answer: true, stray: true, ..echo() }), "may");
    let between = |first: &[u8], last: &[u8]| {
        let mut rule = rule("iifname \"br1\" drop");
        let padded = |name: &[u8], with| [name, &vec![with; 16 - name.len()]].concat();
        let Some(Statement::Match { right, .. }) = rule.statements.first_mut() else { panic!("no match") };
        *right = Right::Item(Item::Range(padded(first, 0), padded(last, 0xff)));
        let base = chain("forward", Some(("filter", "forward", 0, false)), "");
        let base = firewall::Chain { rules: vec![rule], ..base };
        verdict(&table(Family::Inet, vec![base]), &echo())
    };
    assert!(matches!(between(b"br", b"br"), Verdict::Drops { .. }));
    assert_eq!(between(b"eth", b"eth"), Verdict::Passes);
}

/// A set with a name is known by its elements, but for one that packets or time change.
#[test]
fn sets_with_names() {
    let with = |elements: Option<&str>| {
        let mut blocked = rule("ip daddr @blocked drop");
        let written = elements.map(|elements| rule(&format!("ip daddr {{ {elements} }} drop")).statements.remove(0));
        let Some(Statement::Match { right: Right::Set(named), .. }) = blocked.statements.first_mut() else {
            panic!("no set")
        };
        let elements = match written {
            Some(Statement::Match { right: Right::Set(Set::Elements(elements)), .. }) => Some(elements),
            _ => None,
        };
        *named = Set::Named("blocked".into(), elements);
        let base = chain("forward", Some(("filter", "forward", 0, false)), "");
        verdict(&table(Family::Inet, vec![firewall::Chain { rules: vec![blocked], ..base }]), &echo())
    };
    assert!(matches!(with(Some("192.0.2.1, 192.0.2.9")), Verdict::Drops { .. }));
    assert_eq!(with(Some("192.0.2.9")), Verdict::Passes);
    assert!(matches!(with(None), Verdict::MayDrop { .. }));
}

/// What may be kept from connection tracking has no state for certain, and is not translated for certain.
#[test]
fn untracked() {
    let raw = |rule: &str| chain("raw", Some(("filter", "prerouting", -300, false)), rule);
    let nat = |rule: &str| chain("nat", Some(("nat", "prerouting", -100, false)), rule);
    let target = Target { carries: Carries::Tcp(8080), local: true, ..echo().target };
    let syn = Passing { hook: Hook::Prerouting, target, asked: Some(target), ..echo() };
    let led = |rule: &str| {
        let ruleset = table(Family::Ip, vec![raw(rule), nat("tcp dport 8080 dnat to 10.20.30.41")]);
        Chains::of(&ruleset).destination(&syn)
    };
    assert!(matches!(led("tcp dport 8080 # expr notrack"), Destination::Unknown { .. }));
    assert!(matches!(led("tcp dport 53 # expr notrack"), Destination::Changed(_)));
    assert!(matches!(led("# xt CT"), Destination::Changed(_)));
    let of = |rule: &str| {
        let after = chain("after", Some(("filter", "forward", 0, false)), "ct state new drop");
        verdict(&table(Family::Ip, vec![raw(rule), after]), &echo())
    };
    assert!(matches!(of("ip protocol icmp # xt CT notrack"), Verdict::MayDrop { .. }));
    assert!(matches!(of("tcp dport 53 # xt NOTRACK"), Verdict::Drops { .. }));
    // Its question may have been kept from it.
    let router = table(
        Family::Ip,
        vec![
            raw("ip daddr 10.20.30.41 # expr notrack"),
            chain("after", Some(("filter", "forward", 0, true)), "ct state established accept"),
        ],
    );
    let answer = Passing { answer: true, ..echo() };
    assert!(matches!(verdict(&router, &answer), Verdict::MayDrop { .. }));
    let ruleset = table(Family::Ip, vec![raw("tcp dport 8080 # expr notrack"), nat("redirect")]);
    let redirected = Chains::of(&ruleset).destination(&syn);
    assert!(matches!(redirected, Destination::Unknown { is_certain: false, .. }), "{redirected:?}");
}

/// Of two chains of NAT of the same priority nobody knows which is first; a packet of the other version of IP is left alone.
#[test]
fn rival_translations() {
    let nat = |name: &str, rule: &str| chain(name, Some(("nat", "prerouting", -100, false)), rule);
    let target = Target { carries: Carries::Tcp(8080), local: true, ..echo().target };
    let syn = Passing { hook: Hook::Prerouting, target, asked: Some(target), ..echo() };
    let led = |one: &str, other: &str| {
        Chains::of(&table(Family::Inet, vec![nat("a", one), nat("b", other)])).destination(&syn)
    };
    assert!(matches!(led("dnat ip to 10.0.0.1", "dnat ip to 10.0.0.2"), Destination::Unknown { .. }));
    assert!(matches!(led("dnat ip to 10.0.0.1", "dnat ip to 10.0.0.1"), Destination::Changed(_)));
    assert!(matches!(led("accept", "dnat ip to 10.0.0.2"), Destination::Changed(_)));
    assert!(matches!(led("dnat ip6 to fd00::1", "accept"), Destination::Kept));
}

/// What the kernel wrote to a packet is not known here, nor is what it was then.
#[test]
fn rewritten_headers() {
    let forward = |rule: &str| {
        let chains = [("raw", "prerouting", -300, "tcp dport 8080 # expr payload"), ("c", "forward", 0, rule)];
        let chains =
            chains.map(|(name, hook, priority, rule)| chain(name, Some(("filter", hook, priority, false)), rule));
        verdict(&table(Family::Ip, chains.to_vec()), &echo())
    };
    assert!(matches!(forward("ip daddr 192.0.2.1 drop"), Verdict::MayDrop { .. }));
    assert!(matches!(forward("ip protocol icmp drop"), Verdict::Drops { .. }));
}

/// Chains of every type drop; those of type `nat` see a connection's first packet only.
#[test]
fn types_of_chains() {
    let of = |kind, hook: &str| table(Family::Ip, vec![chain("c", Some((kind, hook, -150, false)), "drop")]);
    for (kind, hook, at) in [
        ("route", "output", Hook::Output),
        ("nat", "prerouting", Hook::Prerouting),
        ("nat", "postrouting", Hook::Postrouting),
    ] {
        let packet = Passing { hook: at, ..echo() };
        assert!(matches!(verdict(&of(kind, hook), &packet), Verdict::Drops { .. }), "{kind}");
        let answer = verdict(&of(kind, hook), &Passing { answer: true, ..packet });
        assert_eq!(answer == Verdict::Passes, kind == "nat", "{kind}: {answer:?}");
    }
}

/// Chains of devices, of several too: those of the family `inet` see IP alone, and as what it is.
#[test]
fn chains_of_devices() {
    let at = |family, rules: &str| {
        let mut chain = chain("c", Some(("filter", "ingress", 0, false)), rules);
        chain.hook.as_mut().unwrap().devices = vec!["eth0".into(), "br0".into()];
        table(family, vec![chain])
    };
    let packet = Passing { hook: Hook::Ingress, ..echo() };
    let arp = Passing { asks: true, ..packet.clone() };
    let drops = |ruleset: &Ruleset, packet: &Passing| matches!(verdict(ruleset, packet), Verdict::Drops { .. });
    assert!(drops(&at(Family::Netdev, "drop"), &packet) && drops(&at(Family::Netdev, "drop"), &arp));
    assert!(drops(&at(Family::Inet, "drop"), &packet) && !drops(&at(Family::Inet, "drop"), &arp));
    assert!(drops(&at(Family::Inet, "meta nfproto ipv4 drop"), &packet));
    assert!(!drops(&at(Family::Netdev, "meta nfproto ipv4 drop"), &packet));
    let elsewhere = Passing { iif: Device::Is("eth1".into()), ..packet };
    assert_eq!(verdict(&at(Family::Netdev, "drop"), &elsewhere), Verdict::Passes);
}

/// A chain that many lead to is read once, and one that leads in a circle is no certainty.
#[test]
fn jumps_beyond_all_measure() {
    let tier = |n: usize| {
        let rules = format!("# xt set ; jump tier{}\n", n + 1).repeat(40);
        chain(&format!("tier{n}"), None, &rules)
    };
    let mut chains: Vec<_> = (0..12).map(tier).collect();
    chains.push(chain("tier12", None, "drop"));
    chains.push(chain("forward", Some(("filter", "forward", 0, false)), "jump tier0"));
    assert!(matches!(verdict(&table(Family::Ip, chains), &echo()), Verdict::MayDrop { .. }));
    let circle = [chain("a", None, "jump a"), chain("f", Some(("filter", "forward", 0, true)), "jump a")];
    assert!(matches!(verdict(&table(Family::Ip, circle.to_vec()), &echo()), Verdict::MayDrop { .. }));
}
