//! What is told as a change, and what is none.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    Mac, addr, fdb, link, neigh,
    probe::testing::{bridged, look, via},
};

fn texts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// What the network does by itself is no change: neighbours and addresses are learned, packets counted.
///
///     n1 --- p1[br0]p2 --- n2
#[test]
fn traffic_is_no_change() {
    let (host, [n1, n2, _n3]) = bridged();
    let before = Inventory::of(&host).unwrap();
    assert!(look(&n1.ping(Ipv4Addr::new(10, 0, 0, 2))).answered());
    assert!(look(&host.ping(Ipv4Addr::new(10, 0, 0, 1))).answered());
    n2.apply(link::set_down("e2")).unwrap();
    let changes = before.changes(&Inventory::of(&host).unwrap());
    assert!(changes.is_empty(), "{:?}", texts(&changes));
}

/// Each kind of thing that is made is told, in the words of its tool, and told as gone when it is taken back.
#[test]
fn each_kind_is_told() {
    let (host, _nodes) = bridged();
    let before = Inventory::of(&host).unwrap();
    let mac = Mac([2, 0, 0, 0, 0, 7]);
    let (bridge, port) = (host.index("br0").unwrap(), host.index("p1").unwrap());
    host.apply_all([
        link::Veth::new("x0", "x1").down().request(),
        addr::add(bridge, "10.7.0.1/24".parse().unwrap()),
        neigh::set_permanent(bridge, Ipv4Addr::new(10, 7, 0, 2).into(), mac),
        link::set_port("p1", port, link::PortFlag::Isolated, true),
        fdb::set_static(port, mac),
    ])
    .unwrap();
    via(&host, "10.8.0.0/16", "10.7.0.2");
    host.set_sysctls(&[("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.br0.rp_filter", "1")]).unwrap();
    let after = Inventory::of(&host).unwrap();
    let changes = texts(&before.changes(&after));
    for line in [
        "+ address 10.7.0.1/24 scope global dev br0",
        "+ route 10.7.0.0/24 dev br0 proto kernel scope link src 10.7.0.1",
        "+ route 10.8.0.0/16 via 10.7.0.2 dev br0",
        "+ neighbour 10.7.0.2 dev br0 lladdr 02:00:00:00:00:07 PERMANENT",
        "+ fdb 02:00:00:00:00:07 dev p1 master br0 static",
        "- sysctl net.ipv4.ip_forward = 0",
        "+ sysctl net.ipv4.ip_forward = 1",
        "+ sysctl net.ipv4.conf.br0.rp_filter = 1",
    ] {
        assert!(changes.iter().any(|change| change == line), "{line} in {changes:#?}");
    }
    let has = |start: &str, end: &str| changes.iter().any(|change| change.starts_with(start) && change.ends_with(end));
    assert!(
        has("+ link x0 veth ", " mtu 1500 down") && has("+ link p1 veth ", " master br0 isolated on"),
        "{changes:#?}"
    );
    assert!(!changes.iter().any(|change| change.contains("conf.x0")), "{changes:#?}");
    let back = after.changes(&before);
    assert_eq!(back.len(), changes.len());
    assert!(back.iter().any(|change| change.to_string() == "- address 10.7.0.1/24 scope global dev br0"));
}

/// A policy rule, and a table of the old iptables as soon as somebody has used it.
#[test]
fn policy_rules_and_old_tables_are_told() {
    use rtnetlink::packet_route::{
        AddressFamily, RouteNetlinkMessage,
        rule::{RuleAction, RuleAttribute, RuleMessage},
    };
    let host = Namespace::new("host").unwrap();
    let before = Inventory::of(&host).unwrap();
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet;
    rule.header.action = RuleAction::ToTable;
    rule.header.src_len = 16;
    let from = RuleAttribute::Source("10.20.0.0".parse().unwrap());
    rule.attributes.extend([from, RuleAttribute::Priority(100), RuleAttribute::Table(7)]);
    let message = RouteNetlinkMessage::NewRule(rule);
    host.apply(crate::Request::create("adding a policy rule".into(), message)).unwrap();
    let used = host.run(|| sys::legacy_entries("filter", false)).unwrap();
    let mut expected = vec!["+ policy 100: from 10.20.0.0/16 lookup 7".to_owned()];
    // Not every kernel has the old iptables.
    expected.extend(used.map(|entries| format!("+ table iptables-legacy filter: {entries} entries")));
    assert_eq!(texts(&before.changes(&Inventory::of(&host).unwrap())), expected);
}

/// The order of a chain's rules is part of what they do; that of its table's chains, and of tables, is not.
#[test]
fn order_is_told_where_it_counts() {
    let host = Namespace::new("host").unwrap();
    let nft = |text: &str| {
        let output = host.run(|| std::process::Command::new("nft").arg(text).output()).unwrap().unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
        Inventory::of(&host).unwrap()
    };
    let [one, two] = ["chain one { accept; tcp dport 1 drop; tcp dport 1 drop; }", "chain two { tcp dport 2 drop; }"];
    let before = nft(&format!("table ip a {{ {one}; {two}; }}; table ip b {{ {two}; }}"));
    let moved = nft(&format!("flush ruleset; table ip b {{ {two}; }}; table ip a {{ {two}; {one}; }}"));
    assert_eq!(texts(&before.changes(&moved)), [""; 0]);
    // Which of the two has moved is not known.
    let swapped = nft(
        "flush chain ip a one; add rule ip a one tcp dport 1 drop; add rule ip a one accept; add rule ip a one tcp dport 1 drop",
    );
    assert_eq!(
        texts(&before.changes(&swapped)),
        ["+ rule ip a one tcp dport 1 drop", "- rule ip a one tcp dport 1 drop"]
    );
    let fewer = nft("flush chain ip a one; add rule ip a one accept; add rule ip a one tcp dport 1 drop");
    assert_eq!(texts(&before.changes(&fewer)), ["- rule ip a one tcp dport 1 drop"]);
}

/// What daemons leave that route and answer for others is told: proxied neighbours, what a route says besides, sets.
#[test]
fn what_daemons_leave_is_told() {
    let (host, _nodes) = bridged();
    let run = |line: &str| {
        let output = host.run(|| std::process::Command::new("sh").args(["-c", line]).output()).unwrap().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    run("ip route add default via 10.0.0.1; nft 'table ip mine { set seen { type ipv4_addr; flags timeout; }
        set dynamic_timeouts { type ipv4_addr; flags interval; }; map to { type ipv4_addr : verdict; }; }'");
    let before = Inventory::of(&host).unwrap();
    run("ip neigh add proxy 10.0.0.77 dev br0; ip -6 neigh add proxy fd00::77 dev br0
        ip route change default via 10.0.0.1 mtu lock 1300 advmss 1260 initcwnd 5
        ip route add 10.7.0.0/16 tos 0x10 via 10.0.0.1
        ip route add 10.6.0.0/16 nexthop via 10.0.0.1 weight 2 nexthop via 10.0.0.2
        ip rule add lookup 100 priority 10 protocol static
        nft add element ip mine seen '{ 10.1.1.1 timeout 1h }'; nft add element ip mine to '{ 10.1.1.1 : drop }'
        nft add element ip mine dynamic_timeouts '{ 10.1.0.0/16 }'; nft 'add table ip mine { flags dormant; }'");
    let changes = before.changes(&Inventory::of(&host).unwrap());
    assert_eq!(
        texts(&changes),
        [
            "- route default via 10.0.0.1 dev br0",
            "+ route 10.6.0.0/16 nexthop via 10.0.0.1 dev br0 weight 2 nexthop via 10.0.0.2 dev br0 weight 1",
            "+ route 10.7.0.0/16 via 10.0.0.1 dev br0 tos 0x10",
            "+ route default via 10.0.0.1 dev br0 mtu lock 1300 advmss 1260 initcwnd 5",
            "+ policy 10: from all lookup 100 proto static",
            "+ neighbour 10.0.0.77 dev br0 proxy",
            "+ neighbour fd00::77 dev br0 proxy",
            "- table ip mine",
            "+ table ip mine flags dormant",
            "- set ip mine map to { type ipv4_addr : verdict; }",
            "- set ip mine set dynamic_timeouts { type ipv4_addr; flags interval; }",
            "+ set ip mine map to { type ipv4_addr : verdict; elements = { 10.1.1.1 : drop } }",
            "+ set ip mine set dynamic_timeouts { type ipv4_addr; flags interval; elements = { 10.1.0.0/16 } }",
        ]
    );
}
