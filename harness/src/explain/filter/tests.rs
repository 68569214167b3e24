//! Rules as `nft` prints them, against one packet.

use super::*;

fn echo() -> Passing {
    Passing {
        hook: Hook::Forward,
        bridged: false,
        iif: Some("br0".into()),
        oif: Some("eth0".into()),
        from: Some("10.20.30.41".parse().unwrap()),
        to: "192.0.2.1".parse().unwrap(),
        carries: Carries::Echo,
        answer: false,
        translated: false,
        local: false,
    }
}

fn forward(rules: &str, policy: &str) -> Ruleset {
    Ruleset::parse(&format!(
        "table inet mine {{\n set blocked {{\n type ipv4_addr\n elements = {{ 192.0.2.7 }}\n }}\n chain aside {{\n {rules}\n }}\n \
         chain forward {{\n type filter hook forward priority filter; policy {policy};\n jump aside\n }}\n}}\n"
    ))
}

/// What is certain is told with its chain and rule, down a jump and by the policy.
#[test]
fn drops_are_told_by_their_rule() {
    let drops = |rules: &str| {
        let verdict = forward(rules, "accept").verdict(&echo());
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
    let policy = forward("iifname \"br1\" accept", "drop").verdict(&echo());
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
        assert_eq!(forward(rules, "accept").verdict(&echo()), Verdict::Passes, "{rules}");
    }
    let answer = Passing { answer: true, ..echo() };
    assert_eq!(forward("ct state established,related accept", "drop").verdict(&answer), Verdict::Passes);
    let translated = Passing { translated: true, ..echo() };
    assert_eq!(forward("ct status dnat accept", "drop").verdict(&translated), Verdict::Passes);
    assert_eq!(forward("drop", "accept").verdict(&Passing { hook: Hook::Input, ..echo() }), Verdict::Passes);
    let bridge =
        Ruleset::parse("table bridge b {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}");
    assert_eq!(bridge.verdict(&echo()), Verdict::Passes);
    assert!(matches!(bridge.verdict(&Passing { bridged: true, ..echo() }), Verdict::Drops { .. }));
}

/// An expression that is not known here is not taken for one that matches, nor for one that does not.
#[test]
fn the_unknown_is_no_certainty() {
    let unknown = forward("xt match \"physdev\" drop", "accept").verdict(&echo());
    assert!(matches!(unknown, Verdict::MayDrop { .. }), "{unknown:?}");
    assert_eq!(forward("xt match \"physdev\" accept", "accept").verdict(&echo()), Verdict::Passes);
    let accepted = forward("xt match \"physdev\" accept", "drop").verdict(&echo());
    assert!(matches!(accepted, Verdict::MayDrop { .. }), "{accepted:?}");
    for rules in ["xt match \"physdev\" return\n drop", "jump aside2\n drop"] {
        let text = format!("{rules}\n }}\n chain aside2 {{\n ether saddr 02:00:00:00:00:01 return\n drop");
        let returned = forward(&text, "accept").verdict(&echo());
        assert_eq!(matches!(&returned, Verdict::MayDrop { .. }), rules.starts_with("xt"), "{rules}: {returned:?}");
    }
    let named_set = forward("ip daddr @blocked drop", "accept").verdict(&echo());
    assert!(matches!(named_set, Verdict::MayDrop { .. }), "{named_set:?}");
}

/// Ports are of the packet's own protocol, and an answer's is where it comes from.
#[test]
fn ports() {
    let tcp = Passing { carries: Carries::Tcp(8080), ..echo() };
    let drops = |rule: &str, packet: &Passing| matches!(forward(rule, "accept").verdict(packet), Verdict::Drops { .. });
    assert!(drops("tcp dport 8080 drop", &tcp) && drops("tcp dport { 80, 8000-8100 } drop", &tcp));
    assert!(!drops("udp dport 8080 drop", &tcp) && !drops("tcp dport 80 drop", &tcp));
    assert!(drops("tcp sport 8080 drop", &Passing { answer: true, ..tcp }));
}

/// Chains of one hook run by priority.
#[test]
fn priorities() {
    let texts = ["raw", "mangle", "dstnat", "filter - 1", "filter", "filter + 1", "srcnat", "-200"];
    assert_eq!(texts.map(priority), [-300, -150, -100, -1, 0, 1, 100, -200]);
}

/// Destination NAT tells whom a published port is passed on to.
#[test]
fn published_ports() {
    let nat = |rule: &str| {
        Ruleset::parse(&format!(
            "table ip n {{\n chain p {{\n type nat hook prerouting priority dstnat; policy accept;\n {rule}\n }}\n}}"
        ))
    };
    let syn = Passing { hook: Hook::Prerouting, carries: Carries::Tcp(8080), local: true, ..echo() };
    let to = |rule: &str| nat(rule).destination(&syn).map(|rewrite| (rewrite.to, rewrite.port));
    let netns1: IpAddr = "10.20.30.41".parse().unwrap();
    assert_eq!(to("fib daddr type local tcp dport 8080 dnat to 10.20.30.41:80"), Some((netns1, Some(80))));
    assert_eq!(to("tcp dport 8080 counter packets 1 bytes 60 dnat ip to 10.20.30.41"), Some((netns1, None)));
    assert_eq!(
        to("tcp dport 8080 ct mark set ct mark | 0x00001000 meta mark set 0x00000001 dnat ip to 10.20.30.41:80"),
        Some((netns1, Some(80)))
    );
    assert_eq!(to("tcp dport 8081 dnat to 10.20.30.41:80"), None);
    assert_eq!(
        nat("fib daddr type local dnat to 10.20.30.41").destination(&Passing { local: false, ..syn.clone() }),
        None
    );
    assert_eq!(
        to("tcp dport 8080 # xt addrtype dst-type local counter packets 0 bytes 0 # xt DNAT to 10.20.30.41:80"),
        Some((netns1, Some(80)))
    );
    assert_eq!(to("# xt addrtype dst-type != local # xt DNAT to 10.20.30.41"), None);
    assert_eq!(to("# xt set # xt DNAT to 10.20.30.41"), None);
    assert_eq!(destination("[fd00::1]:80"), Some(("fd00::1".parse().unwrap(), Some(80))));
}

/// Which verdict a map gives is not certain; a table that is dormant gives none.
#[test]
fn maps_and_dormant_tables() {
    let map = "ct state vmap { established : accept, new : accept }";
    let may = forward(map, "drop").verdict(&echo());
    assert!(matches!(&may, Verdict::MayDrop { rule, .. } if rule == "policy drop"), "{may:?}");
    for map in ["ip daddr vmap { 192.0.2.1 : drop, 192.0.2.2 : accept }", "iifname vmap { \"br0\" : drop }"] {
        let may = forward(map, "accept").verdict(&echo());
        assert!(matches!(&may, Verdict::MayDrop { rule, .. } if rule == map), "{map}: {may:?}");
    }
    let text = "table inet mine {\n\tflags dormant\n chain forward {\n type filter hook forward priority filter; policy drop;\n }\n}\n";
    assert_eq!(Ruleset::parse(text).verdict(&echo()), Verdict::Passes);
    let after =
        "table inet other {\n chain forward {\n type filter hook forward priority filter; policy drop;\n }\n}\n";
    assert_ne!(Ruleset::parse(&format!("{text}{after}")).verdict(&echo()), Verdict::Passes);
}
