//! Labs in which only a firewall rule is in the way.

use super::tests::{lab, says, tells};
use crate::{Node, firewall::Family, topology};

/// Adds rules, split at `;`, to a chain of its own at this hook.
fn rules(node: &Node, family: Family, hook: &str, policy: &str, rules: &str) {
    let mut batch = node.firewall().batch();
    batch.add_table(family, "t");
    let kind = format!("type filter hook {hook} priority filter; policy {policy};");
    batch.add_chain(family, "t", "c", &kind).unwrap();
    rules
        .split(';')
        .filter(|rule| !rule.trim().is_empty())
        .for_each(|rule| batch.add_rule(family, "t", "c", rule).unwrap());
    batch.commit().unwrap();
}

/// The router's forward chain drops what would leave by the uplink.
///
///     outside --- eth0 [host: br0] --- [netns1]
#[test]
fn router_drops() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    let back = topology::Route {
        to: topology::Destination::Prefix("10.20.0.0/16".parse().unwrap()),
        via: Some("192.0.2.2".parse().unwrap()),
        dev: None,
    };
    lab.outside().add_route(&back).unwrap();
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
    let back = topology::Route {
        to: topology::Destination::Prefix("10.20.0.0/16".parse().unwrap()),
        via: Some("192.0.2.2".parse().unwrap()),
        dev: None,
    };
    lab.outside().add_route(&back).unwrap();
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
