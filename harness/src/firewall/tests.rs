//! Rules through the kernel and back.

use rstest::rstest;

use super::*;
use crate::ruleset::{
    decode, encode,
    expr::{Expr, Load, NatKind, Op},
    lift::lift,
    set::{KernelElement, KernelSet, flags},
    statement,
};

/// What is written comes back from the kernel as it was written.
#[rstest]
#[case(Family::Inet, "ip saddr 10.20.0.0/16 oifname \"eth0\" masquerade")]
#[case(Family::Inet, "ip6 saddr fd00:20::/64 oifname != \"br0\" masquerade")]
#[case(Family::Inet, "fib daddr type local tcp dport 8080 dnat ip to 10.20.30.41:80")]
#[case(Family::Inet, "fib daddr type local udp dport 5300 dnat ip6 to [fd00:20::41]:53")]
#[case(Family::Ip, "ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.20.30.41:80 comment \"np: 1\"")]
fn nat_rules_come_back(#[case] family: Family, #[case] text: &str) {
    let hook = if text.contains("dnat") { "prerouting priority dstnat" } else { "postrouting priority srcnat" };
    comes_back(family, &format!("type nat hook {hook}; policy accept;"), text);
}

/// Likewise for filters.
#[rstest]
#[case(Family::Inet, "ct state established,related accept")]
#[case(Family::Inet, "iifname \"eth0\" ip daddr 10.20.0.0/16 ct status dnat accept")]
#[case(Family::Inet, "iifname \"veth*\" oifname \"br0\" drop")]
#[case(Family::Inet, "meta mark 0x00000007 reject")]
#[case(Family::Inet, "meta l4proto udp meta mark set 0x00000001")]
#[case(Family::Inet, "icmpv6 type nd-router-advert iifname \"br0\" drop")]
#[case(Family::Inet, "meta pkttype other return comment \"why not\"")]
#[case(Family::Ip6, "ip6 daddr != fd00::1 tcp sport 80 drop")]
#[case(Family::Bridge, "iifname \"veth1-0\" ether saddr != 02:00:00:00:00:01 drop")]
#[case(Family::Ip, "ip daddr vmap { 10.20.0.0/16 : accept, * : drop }")]
#[case(Family::Ip, "tcp dport . iifname vmap { 80 . \"br0\" : accept, * : drop }")]
#[case(Family::Bridge, "iifname \"veth1-0\" arp saddr ip != 10.20.30.41 drop")]
#[case(Family::Bridge, "iifname \"veth1-0\" ip saddr != 10.20.30.41 drop")]
fn filter_rules_come_back(#[case] family: Family, #[case] text: &str) {
    comes_back(family, "type filter hook forward priority filter; policy drop;", text);
}

fn comes_back(family: Family, hook: &str, text: &str) {
    let namespace = Namespace::new("host").unwrap();
    let mut batch = namespace.firewall().batch();
    batch.add_table(family, "np");
    batch.add_chain(family, "np", "chain", hook).unwrap();
    batch.add_rule(family, "np", "chain", text).unwrap();
    batch.commit().unwrap();
    let listed = namespace.firewall().ruleset().unwrap();
    let expected = format!("table {family} np {{\n\tchain chain {{\n\t\t{hook}\n\t\t{text}\n\t}}\n}}\n");
    assert_eq!(listed.to_string(), expected);
    namespace.firewall().delete_rules(|_, _, rule| rule.text.len() > 3).unwrap();
    assert!(namespace.firewall().ruleset().unwrap().tables[0].chains[0].rules.is_empty());
    namespace.firewall().flush().unwrap();
    assert_eq!(namespace.firewall().ruleset().unwrap(), Ruleset::default());
}

/// A chain may be one of several devices.
#[test]
fn chains_of_devices_come_back() {
    let lab = crate::Lab::of("pair").unwrap();
    lab.host().firewall().flush().unwrap();
    for devices in ["device \"veth1-0\"", "devices = { veth1-0, veth2-0 }"] {
        let hook = format!("type filter hook ingress {devices} priority filter; policy drop;");
        let mut batch = lab.host().firewall().batch();
        batch.add_table(Family::Netdev, "np");
        batch.add_chain(Family::Netdev, "np", "chain", &hook).unwrap();
        batch.commit().unwrap();
        let listed = lab.host().firewall().ruleset().unwrap();
        assert_eq!(listed.to_string(), format!("table netdev np {{\n\tchain chain {{\n\t\t{hook}\n\t}}\n}}\n"));
        lab.host().firewall().flush().unwrap();
    }
}

/// A batch happens as a whole or not at all, and its error names the rule.
#[test]
fn all_or_nothing() {
    let namespace = Namespace::new("host").unwrap();
    let mut batch = namespace.firewall().batch();
    batch.add_table(Family::Inet, "np");
    batch.add_rule(Family::Inet, "np", "nowhere", "accept").unwrap();
    let error = batch.commit().unwrap_err().to_string();
    assert!(error.starts_with("adding rule `accept` to chain inet np nowhere in namespace host: "), "{error}");
    assert!(namespace.firewall().ruleset().unwrap().tables.is_empty());
}

/// What cannot be written is told at once.
#[test]
fn a_word_that_is_not_understood_is_named() {
    let mut batch = Namespace::new("host").unwrap().firewall().batch();
    let error = batch.add_rule(Family::Inet, "np", "chain", "ip saddr nonsense drop").unwrap_err().to_string();
    assert!(error.contains("`nonsense` is not understood: expected a value (10.20.0.0/16)"), "{error}");
}

/// What `nft` 1.0.6 was seen to print for these, comes back so.
#[rstest]
#[case("tcp dport { 80, 443 } accept")]
#[case("ip saddr { 10.0.0.0/8, 192.168.0.1 } drop")]
#[case("ip saddr { 10.0.0.1-10.0.0.9, 10.1.0.0/16 } drop")]
#[case("ip6 saddr { fd00:20::/64, fd00:30::1 } drop")]
#[case("oifname { \"a\", \"b\" } accept")]
#[case("ct state { established, related } accept")]
#[case("ip saddr . ip daddr { 10.0.0.1 . 10.0.0.2 } drop")]
#[case("ct state vmap { invalid : drop, established : accept, new : jump aside }")]
#[case("meta l4proto { tcp, udp } th dport 53 accept")]
#[case("tcp dport 1000-2000 drop")]
#[case("tcp dport != 1-5 drop")]
#[case("ip saddr 10.16.0.0/12 accept")]
#[case("ip daddr 0.0.0.0/0 accept")]
#[case("ip saddr != { 10.0.0.1, 10.0.0.2 } drop")]
#[case("ct state ! established drop")]
#[case("ct state != established | related drop")]
#[case("tcp flags & (syn | ack) == syn drop")]
#[case("icmp type echo-request drop")]
#[case("icmpv6 type nd-router-advert drop")]
#[case("ip protocol tcp drop")]
#[case("meta nfproto ipv4 fib daddr type local accept")]
#[case("fib saddr . iif oif missing drop")]
#[case("ether saddr 02:00:00:00:00:01 drop")]
#[case("meta mark & 0x000000ff == 0x00000010 accept")]
#[case("ct mark set meta mark")]
#[case("ct mark set ct mark | 0x00001000")]
#[case("meta mark set meta mark & 0x0000ffff")]
#[case("meta mark set ct mark ^ 0x00000001")]
#[case("meta mark set meta mark & 0xffff0000 ^ 0x00000010")]
#[case("ct mark set 0x00000001")]
#[case("ct original ip daddr 10.0.0.1 ct original proto-dst 80 accept")]
#[case("iif \"lo\" accept")]
#[case("reject")]
#[case("reject with icmpx admin-prohibited")]
#[case("reject with icmp host-unreachable")]
#[case("reject with icmpv6 addr-unreachable")]
#[case("tcp dport 80 reject with tcp reset")]
#[case("limit rate 10/second burst 3 packets log prefix \"a b\" drop")]
#[case("limit rate over 5/minute log level debug drop")]
#[case("counter packets 3 bytes 252 goto aside comment \"counted\"")]
fn what_nft_prints_comes_back(#[case] text: &str) {
    assert_eq!(there_and_back(Family::Inet, FILTER, text), text);
}

/// Likewise for translations.
#[rstest]
#[case(Family::Inet, "prerouting", "tcp dport 8080 dnat ip6 to [fd00::1]:80")]
#[case(Family::Inet, "prerouting", "dnat ip to 10.0.0.1-10.0.0.2")]
#[case(Family::Ip, "prerouting", "tcp dport 80 redirect to :8080")]
#[case(Family::Ip, "postrouting", "snat to 192.0.2.1 persistent")]
#[case(Family::Ip, "postrouting", "udp sport 5 masquerade to :1024-2048 random")]
fn translations_come_back(#[case] family: Family, #[case] hook: &str, #[case] text: &str) {
    let base = format!("type nat hook {hook} priority 0; policy accept;");
    assert_eq!(there_and_back(family, &base, text), text);
}

/// What one writes and what the kernel is told may differ in words, never in sense.
#[rstest]
#[case(Family::Inet, "meta iifname eth0 counter accept", "iifname \"eth0\" counter packets 0 bytes 0 accept")]
#[case(Family::Inet, "meta l4proto tcp tcp dport 80 accept", "tcp dport 80 accept")]
#[case(Family::Inet, "tcp flags syn / syn,ack drop", "tcp flags & (syn | ack) == syn drop")]
#[case(Family::Inet, "mark 7 accept", "meta mark 0x00000007 accept")]
#[case(Family::Ip, "reject with icmp type port-unreachable", "reject")]
#[case(Family::Bridge, "ether type arp arp operation request drop", "arp operation request drop")]
#[case(
    Family::Bridge,
    "icmpv6 type nd-neighbor-advert nd taddr fe80::/10 drop",
    "icmpv6 type nd-neighbor-advert icmpv6 taddr fe80::/10 drop"
)]
fn other_words_for_the_same(#[case] family: Family, #[case] text: &str, #[case] printed: &str) {
    assert_eq!(there_and_back(family, FILTER, text), printed);
}

const FILTER: &str = "type filter hook forward priority filter; policy drop;";

fn there_and_back(family: Family, base: &str, text: &str) -> String {
    let namespace = Namespace::new("host").unwrap();
    let mut batch = namespace.firewall().batch();
    batch.add_table(family, "np");
    batch.add_chain(family, "np", "aside", "").unwrap();
    batch.add_chain(family, "np", "chain", base).unwrap();
    batch.add_rule(family, "np", "chain", text).unwrap();
    batch.commit().unwrap();
    let ruleset = namespace.firewall().ruleset().unwrap();
    ruleset.tables[0].chains.iter().find(|chain| chain.name == "chain").unwrap().rules[0].to_string()
}

/// Chains say where they are hooked in as `nft` does.
#[rstest]
#[case(Family::Inet, "type filter hook forward priority filter + 10; policy drop;")]
#[case(Family::Inet, "type filter hook prerouting priority raw - 1; policy accept;")]
#[case(Family::Inet, "type filter hook input priority 25; policy accept;")]
#[case(Family::Arp, "type filter hook output priority filter; policy accept;")]
#[case(Family::Bridge, "type filter hook forward priority filter; policy accept;")]
#[case(Family::Netdev, "type filter hook ingress device \"lo\" priority filter; policy accept;")]
fn chains_come_back(#[case] family: Family, #[case] base: &str) {
    let namespace = Namespace::new("host").unwrap();
    let mut batch = namespace.firewall().batch();
    batch.add_table(family, "np");
    batch.add_chain(family, "np", "chain", base).unwrap();
    batch.commit().unwrap();
    let chain = namespace.firewall().ruleset().unwrap().tables[0].chains[0].clone();
    assert_eq!(chain.hook.unwrap().show(family), base);
}

/// A word that makes no sense is named, with what would make some.
#[rstest]
#[case("tcp dport http accept", "`http` is not understood: expected a value (a number that fits)")]
#[case("tcp dport 70000 accept", "`70000` is not understood")]
#[case("ip saddr 10.0.0.0/33 drop", "`10.0.0.0/33` is not understood")]
#[case("iifname abcdefghijklmnop drop", "expected a value (a device's name of at most 15 bytes)")]
#[case("ip saddr 10.0.0.1 ip6 saddr fd00::1 drop", "`ip6 saddr` never holds in a rule for another protocol")]
#[case("tcp dport 80 udp dport 80 drop", "`udp dport` never holds after the protocol matched before it")]
#[case("ip saddr { 10.0.0.0/8, 10.1.0.0/16 } drop", "elements that overlap")]
#[case("arp operation request drop", "`arp operation` cannot be seen in the family inet")]
#[case("ip ttl set 3", "`ip ttl` cannot be set")]
#[case("comment \"open", "a quote has no end")]
#[case("jump", "expected a chain at its end")]
#[case("tcp dport { } drop", "expected an element")]
#[case("", "a rule without a statement")]
fn nonsense_is_named(#[case] text: &str, #[case] why: &str) {
    let namespace = Namespace::new("host").unwrap();
    let error = namespace.firewall().batch().add_rule(Family::Inet, "np", "chain", text).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

/// Thousands of rules happen at once, too: neither they nor what is said about them runs out of room.
#[test]
fn a_large_batch_is_one_batch() {
    let namespace = Namespace::new("host").unwrap();
    let with = |last: &str| {
        let mut batch = namespace.firewall().batch();
        batch.add_table(Family::Inet, "np");
        batch.add_chain(Family::Inet, "np", "chain", "").unwrap();
        for port in 1..=2000 {
            batch.add_rule(Family::Inet, "np", "chain", &format!("tcp dport {port} accept")).unwrap();
        }
        batch.add_rule(Family::Inet, "np", "chain", last).unwrap();
        batch.commit()
    };
    let error = with("jump nowhere").unwrap_err().to_string();
    assert!(error.starts_with("adding rule `jump nowhere` to chain inet np chain"), "{error}");
    assert_eq!(namespace.firewall().ruleset().unwrap(), Ruleset::default());
    with("drop").unwrap();
    assert_eq!(namespace.firewall().ruleset().unwrap().tables[0].chains[0].rules.len(), 2001);
}

/// Rules are put in the place of others where those stood, and a policy changes without its chain.
#[test]
fn rules_and_policies_change_in_place() {
    let namespace = Namespace::new("host").unwrap();
    let firewall = namespace.firewall();
    let mut batch = firewall.batch();
    batch.add_table(Family::Ip, "np");
    batch.add_chain(Family::Ip, "np", "chain", FILTER).unwrap();
    for text in ["tcp dport 1 drop", "tcp dport { 2, 3 } drop comment \"mine\"", "tcp dport 4 drop"] {
        batch.add_rule(Family::Ip, "np", "chain", text).unwrap();
    }
    batch.commit().unwrap();
    let edited =
        firewall.edit_rules(|_, _, rule| rule.comment.is_some().then(|| rule.to_string().replace("3 }", "30 }")));
    assert_eq!(edited.unwrap(), 1);
    let mut batch = firewall.batch();
    batch.set_policy(Family::Ip, "np", "chain", false);
    batch.commit().unwrap();
    let listed = firewall.ruleset().unwrap().to_string();
    let expected = "table ip np {\n\tchain chain {\n\t\ttype filter hook forward priority filter; policy accept;\n\
                    \t\ttcp dport 1 drop\n\t\ttcp dport { 2, 30 } drop comment \"mine\"\n\t\ttcp dport 4 drop\n\t}\n}\n";
    assert_eq!(listed, expected);
}

/// What others made is listed, too: sets with names, and rules that look into them.
#[test]
fn sets_with_names_are_listed() {
    let namespace = Namespace::new("host").unwrap();
    let set = KernelSet {
        name: "blocked".into(),
        id: 1,
        flags: flags::INTERVAL,
        key_type: 7,
        key_len: 4,
        elements: [([0; 4], true), ([10, 0, 0, 0], false), ([11, 0, 0, 0], true)]
            .map(|(key, is_end)| KernelElement { key: key.to_vec(), is_end, ..KernelElement::default() })
            .to_vec(),
        ..KernelSet::default()
    };
    let mut batch = namespace.firewall().batch();
    batch.add_table(Family::Ip, "np");
    batch.add_chain(Family::Ip, "np", "chain", "").unwrap();
    batch.push(
        "adding a set",
        libc::NFT_MSG_NEWSET,
        libc::NLM_F_CREATE as u16,
        Family::Ip as u8,
        encode::set("np", &set),
    );
    batch.push(
        "adding its elements",
        libc::NFT_MSG_NEWSETELEM,
        libc::NLM_F_CREATE as u16,
        Family::Ip as u8,
        encode::elements("np", &set),
    );
    batch.add_rule(Family::Ip, "np", "chain", "ip saddr @blocked drop").unwrap();
    batch.commit().unwrap();
    let listed = namespace.firewall().ruleset().unwrap().to_string();
    let expected = "table ip np {\n\tset blocked { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }\n\n\
                    \tchain chain {\n\t\tip saddr @blocked drop\n\t}\n}\n";
    assert_eq!(listed, expected);
}

/// An instruction that has no words here is shown by its name, and what is read around it stays right.
#[test]
fn the_unknown_is_shown() {
    let port = Expr::Load { load: Load::Payload { base: 2, offset: 2, len: 2 }, to: 1 };
    let exprs = [
        Expr::Xt { words: "conntrack".into(), target: false },
        Expr::Load { load: Load::Meta(16), to: 1 },
        Expr::Compare { register: 1, op: Op::Eq, data: vec![17] },
        port,
        Expr::Compare { register: 1, op: Op::Eq, data: vec![0, 53] },
        Expr::Load { load: Load::Meta(23), to: 1 },
        Expr::Compare { register: 1, op: Op::Eq, data: vec![1, 0, 0, 0] },
        Expr::Load { load: Load::Payload { base: 1, offset: 30, len: 2 }, to: 1 },
        Expr::Compare { register: 1, op: Op::Eq, data: vec![0xab, 0xcd] },
        Expr::Other { name: "socket".into() },
    ];
    let text = statement::print(&lift(Family::Inet, &exprs, &[]));
    assert_eq!(text, "# xt conntrack udp dport 53 # expr meta key 23 cmp @nh,240,16 0xabcd # expr socket");
}

/// What an instruction left in a register is not taken for what another may have put there since.
#[test]
fn registers_that_may_have_changed() {
    let protocol = Expr::Load { load: Load::Meta(16), to: 1 };
    let constant = |to: u32, data: &[u8]| Expr::Constant { to, data: data.to_vec() };
    let map = |to| Expr::Lookup { register: 1, set: "ports".into(), id: None, invert: false, to: Some(to) };
    let nat = Expr::Nat {
        kind: NatKind::Destination,
        family: 2,
        address: [Some(1), Some(1)],
        port: [Some(2), Some(2)],
        flags: 0,
    };
    let print = |exprs: &[Expr]| statement::print(&lift(Family::Ip, exprs, &[]));
    let unknown = [
        protocol.clone(),
        Expr::Other { name: "numgen".into() },
        Expr::Compare { register: 1, op: Op::Eq, data: vec![6] },
    ];
    assert_eq!(print(&unknown), "# expr numgen # expr cmp");
    let known = [constant(1, &[10, 0, 0, 1]), constant(2, &[0, 80]), nat.clone()];
    assert_eq!(print(&known), "dnat to 10.0.0.1:80");
    let mapped = [constant(1, &[10, 0, 0, 1]), constant(2, &[0, 80]), map(2), nat];
    assert_eq!(print(&mapped), "# expr lookup # expr nat");
    let redirect = Expr::Redirect { port: [Some(2), Some(2)], flags: 0 };
    assert_eq!(print(&[map(2), redirect]), "# expr lookup # expr redir");
    assert_eq!(print(&[protocol, map(0)]), "# expr vmap");
    let wide = [constant(1, &[0; 16]), constant(9, &[0; 4]), Expr::SetMeta { key: 3, from: 1 }];
    assert!(print(&wide).starts_with("meta mark set"));
    assert_eq!(print(&[wide[1].clone(), wide[0].clone(), Expr::SetMeta { key: 3, from: 9 }]), "# expr meta set");
}

/// What is kept of a comment is whole characters, and no more than nft allows.
#[test]
fn a_long_comment_is_cut() {
    let comment = decode::comment(&encode::comment(&"é".repeat(100))).unwrap();
    assert_eq!(comment, "é".repeat(63));
}
