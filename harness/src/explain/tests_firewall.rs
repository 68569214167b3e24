//! Labs in which only a firewall rule is in the way.

use super::{
    tests::{explanation, lab, route_back, says, tells},
    tests_nat::dnat,
};
use crate::{Node, expect, firewall::Family};

/// Adds rules, split at `;`, to a chain of its own at this hook.
fn rules(node: &Node, family: Family, hook: &str, policy: &str, rules: &str) {
    chain(node, family, &format!("{hook} priority filter; policy {policy};"), rules);
}

/// The same, where the chain's priority or device is said too.
fn chain(node: &Node, family: Family, hook: &str, rules: &str) {
    add(node, family, "c", hook, rules);
}

/// The same, where there are several.
fn add(node: &Node, family: Family, name: &str, hook: &str, rules: &str) {
    let mut batch = node.firewall().batch();
    batch.add_table(family, "t");
    batch.add_chain(family, "t", name, &format!("type filter hook {hook}")).unwrap();
    rules
        .split(';')
        .filter(|rule| !rule.trim().is_empty())
        .for_each(|rule| batch.add_rule(family, "t", name, rule).unwrap());
    batch.commit().unwrap();
}

/// The router's forward chain drops what would leave by the uplink.
///
///     outside --- eth0 [host: br0] --- [netns1]
#[test]
fn router_drops() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    route_back(&lab);
    rules(&host, Family::Inet, "forward", "accept", "iifname br0 oifname eth0 counter drop");
    says(
        &one,
        lab.outside(),
        &["the packet does not leave by eth0 in host", "host drops it", "inet t c", "oifname \"eth0\""],
    );
}

#[test]
fn router_drops_the_answer() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    route_back(&lab);
    rules(&host, Family::Ip, "forward", "drop", "iifname br0 accept");
    says(
        &one,
        lab.outside(),
        &["the answer does not get back", "does not leave by br0 in host", "ip t c: `policy drop`"],
    );
}

#[test]
fn node_lets_nothing_in() {
    let (_lab, _host, one, two) = lab("pair");
    rules(&two, Family::Ip, "input", "accept", "meta l4proto icmp drop");
    says(&one, &two, &["the packet gets there, but netns2 drops it", "meta l4proto icmp drop"]);
    rules(&two, Family::Inet, "input", "drop", "");
    tells(&one.tcp_to((&two, 80)), &["netns2 drops it", "inet t c: `policy drop`"]);
}

#[test]
fn sender_lets_nothing_out() {
    let (_lab, _host, one, two) = lab("pair");
    rules(&one, Family::Ip, "output", "accept", "ip daddr 10.20.20.41 drop");
    says(&one, &two, &["netns1 drops it", "ip daddr 10.20.20.41 drop"]);
}

#[test]
fn sender_hears_no_answer() {
    let (_lab, _host, one, two) = lab("pair");
    rules(&one, Family::Ip, "input", "accept", "ip saddr 10.20.20.41 drop");
    says(&one, &two, &["the answer comes back, but netns1 drops it"]);
}

#[test]
fn bridge_drops_frames() {
    let (_lab, host, one, two) = lab("pair");
    rules(&host, Family::Bridge, "forward", "accept", "iifname veth1-0 oifname veth2-0 drop");
    says(&one, &two, &["10.20.20.41", "host drops it", "bridge t c"]);
}

/// Who is asked for a MAC address, or hears the answer, by rules for ARP or its like of IPv6.
///
///     [netns1] --- [host: br0] --- [netns2]
#[rstest::rstest]
#[case::asks(
    0,
    Family::Arp,
    "output",
    "arp operation request",
    "nor does the question for the MAC address of its next hop, 10.20.20.41: netns1 drops it"
)]
#[case::is_asked(1, Family::Arp, "input", "arp operation request", "netns2 is asked for the MAC address")]
#[case::tells(1, Family::Arp, "output", "arp operation reply", "netns2 drops it")]
#[case::hears(0, Family::Arp, "input", "arp operation reply", "netns1 drops it")]
#[case::is_asked_by_ipv6(1, Family::Ip6, "input", "icmpv6 type nd-neighbor-solicit", "netns2 drops it")]
#[case::hears_by_ipv6(0, Family::Inet, "input", "icmpv6 type nd-neighbor-advert", "netns1 drops it")]
fn neighbours_are_kept_from_each_other(
    #[case] at: usize,
    #[case] family: Family,
    #[case] hook: &str,
    #[case] what: &str,
    #[case] words: &str,
) {
    let is_ipv4 = family == Family::Arp;
    let (_lab, _host, one, two) = lab(if is_ipv4 { "pair" } else { "gateway-v6" });
    one.flush_neighbours().unwrap();
    two.flush_neighbours().unwrap();
    let rule = format!("{what} drop");
    rules(if at == 0 { &one } else { &two }, family, hook, "accept", &rule);
    let chain = format!("(chain {family} t c: `{rule}`)");
    let ping = if is_ipv4 { one.ping(&two) } else { one.ping(two.at(two.v6().unwrap())) };
    tells(&ping, &[words, &chain]);
}

/// Bridged frames pass the rules for routed packets, where the sysctl says so.
#[test]
fn bridged_frames_are_filtered() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    if host.sysctl_if_there("net.bridge.bridge-nf-call-iptables").unwrap().is_none() {
        return;
    }
    host.set_sysctl("net.bridge.bridge-nf-call-iptables", "1").unwrap();
    rules(&host, Family::Ip, "forward", "drop", "oifname eth0 accept");
    says(&one, &two, &["host drops it", "ip t c: `policy drop`", "bridge-nf-call-iptables=1"]);
}

/// What a packet passes before it is routed, and after, drops it too: a guard of an engine's against what comes in by
/// another device than its bridge, one device's own rules.
///
///     outside --- eth0 [host: br0] --- [netns1]
#[rstest::rstest]
#[case::raw(Family::Ip, "prerouting priority raw;", "ip daddr 10.20.30.41 iifname != br0 drop", "ip t c")]
#[case::after_nat(Family::Inet, "prerouting priority filter;", "ip daddr 10.20.30.41 drop", "inet t c")]
#[case::leaving(Family::Ip, "postrouting priority filter;", "oifname br0 drop", "ip t c")]
#[case::device(Family::Netdev, "ingress device eth0 priority filter;", "ip protocol icmp drop", "netdev t c")]
fn routers_drop_elsewhere(#[case] family: Family, #[case] hook: &str, #[case] rule: &str, #[case] named: &str) {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    route_back(&lab);
    host.firewall().flush().unwrap();
    expect!(lab.outside().ping(&one), Reply { .. });
    chain(&host, family, hook, rule);
    let drops = format!(
        "the packet does not leave by br0 in host, though its route leads there: host drops it by its firewall (chain {named}"
    );
    says(lab.outside(), &one, &[&drops]);
}

/// A rule of another device's is not blamed, nor one that sees what destination NAT has changed.
///
///     outside --- eth0 [host: br0, port 8080] --- [netns1: port 80]
#[test]
fn rules_see_the_packet_as_it_is_there() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "prerouting", "tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let published = || lab.outside().tcp_to((host.at("192.0.2.2".parse().unwrap()), 8080));
    expect!(published(), Connected { .. });
    chain(&host, Family::Netdev, "ingress device br0 priority filter;", "tcp dport 8080 drop");
    chain(&host, Family::Ip6, "prerouting priority raw;", "drop");
    expect!(published(), Connected { .. });
    chain(&host, Family::Inet, "prerouting priority raw;", "tcp dport 80 drop; tcp dport 8080 drop");
    tells(&published(), &["host drops it by its firewall (chain inet t c: `tcp dport 8080 drop`)"]);
}

/// The answer of a published port comes back from where it was asked.
///
///     outside --- eth0 [host: br0, port 8080] --- [netns1: port 80]
#[test]
fn clients_drop_what_was_published() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "prerouting", "tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let published = lab.outside().tcp_to((host.at("192.0.2.2".parse().unwrap()), 8080));
    rules(lab.outside(), Family::Inet, "input", "accept", "tcp sport 80 drop; tcp sport 8080 drop");
    tells(&published, &["the answer comes back, but outside drops it", "tcp sport 8080 drop"]);
}

/// Frames are dropped before a bridge looks where they go, as guards against spoofing do; what the host sends passes other
/// hooks than what its ports send to each other.
///
///     [netns1] --- veth1-0 [host: br0 10.20.0.1] --- [netns2]
#[test]
fn bridges_drop_elsewhere() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    chain(&host, Family::Bridge, "forward priority filter;", "iifname veth1-0 oifname veth2-0 drop");
    let explained = explanation(&host.ping(&two));
    assert_eq!(explained.cause, None);
    host.firewall().flush().unwrap();
    chain(&host, Family::Bridge, "output priority filter;", "oifname veth2-0 drop");
    says(&host, &two, &["host drops it", "bridge t c: `oifname \"veth2-0\" drop`"]);
    host.firewall().flush().unwrap();
    chain(&host, Family::Bridge, "prerouting priority dstnat;", "iifname veth1-0 drop");
    says(&one, &two, &["host drops it", "bridge t c: `iifname \"veth1-0\" drop`"]);
}

/// What is for its own namespace passes `lo`, and no rule of another device's.
#[test]
fn one_is_not_kept_from_oneself() {
    let (_lab, _host, one, _two) = lab("pair");
    rules(&one, Family::Inet, "input", "drop", "iifname lo accept");
    assert_eq!(explanation(&one.ping(&one)).cause, None);
    chain(&one, Family::Ip, "output priority filter;", "oifname lo drop");
    says(&one, &one, &["ip t c: `oifname \"lo\" drop`"]);
}

/// Frames that a bridge hands on are no business of its own device's chains, and have no input device where they leave.
///
///     [netns1] --- veth1-0 [host: br0] --- [netns2]
#[test]
fn bridged_frames_pass_no_other_devices_rules() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    let called = host.sysctl_if_there("net.bridge.bridge-nf-call-iptables").unwrap().is_some();
    if called {
        host.set_sysctl("net.bridge.bridge-nf-call-iptables", "1").unwrap();
    }
    host.firewall().flush().unwrap();
    add(&host, Family::Netdev, "bridge", "ingress device br0 priority filter;", "drop");
    add(&host, Family::Bridge, "blind", "postrouting priority filter;", "iifname veth1-0 drop");
    add(&host, Family::Ip, "late", "postrouting priority filter;", "iifname br0 drop");
    assert_eq!(explanation(&one.ping(&two)).cause, None);
    if called {
        add(&host, Family::Ip, "forward", "forward priority filter;", "oifname br0 drop");
        says(&one, &two, &["host drops it by its firewall (chain ip t forward: `oifname \"br0\" drop`)"]);
        host.firewall().flush().unwrap();
        add(&host, Family::Bridge, "blind", "postrouting priority filter;", "iifname veth1-0 drop");
    }
    add(&host, Family::Bridge, "last", "postrouting priority 200;", "oifname veth2-0 drop");
    says(&one, &two, &["host drops it by its firewall (chain bridge t last: `oifname \"veth2-0\" drop`)"]);
}

/// What a namespace sends itself is as it was asked for in `raw`, and as destination NAT has it after that.
#[test]
fn sender_sees_its_packet_before_nat_and_after() {
    let (_lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "output", "tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let published = || host.tcp_to((host.at("10.20.0.1".parse().unwrap()), 8080));
    add(&host, Family::Ip, "raw", "output priority raw;", "tcp dport 80 drop");
    add(&host, Family::Ip, "after", "output priority filter;", "tcp dport 8080 drop");
    expect!(published(), Connected { .. });
    add(&host, Family::Ip, "raw8080", "output priority raw;", "ct state new drop; tcp dport 8080 drop");
    tells(&published(), &["host drops it by its firewall (chain ip t raw8080: `tcp dport 8080 drop`)"]);
}

/// Rules of the old iptables, whose words the kernel keeps in structures: what they let pass is not held against the policy.
///
///     outside --- eth0 [host: br0] --- [netns1]
#[test]
fn iptables_drops_the_rest() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    route_back(&lab);
    host.firewall().flush().unwrap();
    let lines = [
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -p tcp -m multiport --dports 80,443 -j ACCEPT",
        "-P FORWARD DROP",
    ];
    for line in lines {
        let run = || std::process::Command::new("iptables").args(line.split(' ')).status();
        let Ok(done) = host.run(run).unwrap() else { return }; // There is no iptables here.
        assert!(done.success(), "{line}");
    }
    let _server = one.serve_http((&one, 80)).unwrap();
    assert_eq!(explanation(&lab.outside().tcp_to((&one, 80))).cause, None);
    says(lab.outside(), &one, &["host drops it by its firewall (chain ip filter FORWARD: `policy drop`)"]);
    tells(
        &lab.outside().tcp_to((&one, 81)),
        &["host drops it by its firewall (chain ip filter FORWARD: `policy drop`)"],
    );
}
