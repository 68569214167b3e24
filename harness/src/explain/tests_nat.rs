//! Labs in which NAT takes a packet elsewhere than it is for.

use super::tests::{explanation, lab, tells};
use crate::{Deadline, Lab, Node, Probe, expect, firewall::Family};

/// A rule in a NAT chain at `prerouting` or `output`.
pub(super) fn dnat(host: &Node, hook: &str, rule: &str) {
    let mut batch = host.firewall().batch();
    batch.add_table(Family::Ip, "t");
    batch.add_chain(Family::Ip, "t", hook, &format!("type nat hook {hook} priority dstnat; policy accept;")).unwrap();
    batch.add_rule(Family::Ip, "t", hook, rule).unwrap();
    batch.commit().unwrap();
}

/// A rule for all destinations draws in what is for another host.
///
///     outside 192.0.2.1:8080 --- eth0 [host: br0] --- [netns1 :80] [netns2]
#[test]
fn drawn_in() {
    let (lab, host, one, two) = lab("gateway-one-subnet");
    dnat(&host, "prerouting", "tcp dport 8080 dnat to 10.20.30.41:80");
    dnat(&host, "output", "tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let words = ["host sends what is for 192.0.2.1:8080 to 10.20.30.41:80 instead", "ip t", "dnat to 10.20.30.41:80"];
    tells(&two.tcp_to((lab.outside(), 8080)), &words);
    tells(&host.tcp_to((lab.outside(), 8080)), &words);
}

/// A published port that is asked for by loopback: the node's subnet is no place for a source like 127.0.0.1.
#[test]
fn kept_on_loopback() {
    let (_lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "output", "tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let words = ["127.0.0.1 on to 10.20.30.41", "nothing from 127.0.0.0/8 leaves by br0", "br0.route_localnet=1"];
    tells(&host.tcp_to((host.at("127.0.0.1".parse().unwrap()), 8080)), &words);
    host.set_sysctl("net.ipv4.conf.br0.route_localnet", "1").unwrap();
    // Nothing masquerades: the node is asked by 127.0.0.1, and does not take that for an address of somebody else's.
    tells(&host.tcp_to((host.at("127.0.0.1".parse().unwrap()), 8080)), &["netns1 drops what comes in", "127.0.0.1"]);
}

/// What draws in may be a rule of the old iptables, whose words the kernel keeps in structures.
#[test]
fn drawn_in_by_iptables() {
    let (lab, host, _one, two) = lab("gateway-one-subnet");
    let rule = "-t nat -A PREROUTING -p tcp --dport 8080 -m addrtype ! --dst-type LOCAL -j DNAT --to-destination 10.20.30.41:80";
    let Ok(done) = host.run(|| std::process::Command::new("iptables").args(rule.split(' ')).status()).unwrap() else {
        return; // There is no iptables here.
    };
    assert!(done.success());
    let words = ["host sends what is for 192.0.2.1:8080 to 10.20.30.41:80 instead", "ip nat PREROUTING", "DNAT"];
    tells(&two.tcp_to((lab.outside(), 8080)), &words);
}

/// The port leads to the second node now; a client that goes on from its port is led to the first, where nobody listens.
#[test]
fn a_flow_that_is_remembered() {
    let (lab, host, one, two) = lab("gateway-one-subnet");
    let first = "udp dport 6000 dnat to 10.20.30.41:6000";
    dnat(&host, "prerouting", first);
    let ask = |lab: &Lab| lab.outside().udp_to((host.at("192.0.2.2".parse().unwrap()), 6000)).from_port(5555);
    let server = one.serve_udp((&one, 6000)).unwrap();
    assert!(ask(&lab).look(Deadline::after(std::time::Duration::from_secs(5))).unwrap().answered());
    drop(server);
    let _server = two.serve_udp((&two, 6000)).unwrap();
    let flow =
        "host remembers the flow from 192.0.2.1:5555 to 192.0.2.2:6000, which goes to 10.20.30.41:6000 (conntrack)";
    host.firewall().flush().unwrap();
    tells(&ask(&lab), &[flow, "no rule leads there any more"]);
    dnat(&host, "prerouting", "udp dport 6000 dnat to 10.20.20.41:6000");
    tells(&ask(&lab), &[flow, "new flows go to 10.20.20.41:6000", "ip t prerouting", "dnat to 10.20.20.41:6000"]);
}

/// A client that asked before the port was published goes on to ask the host itself.
#[test]
fn a_flow_from_before() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    let ask = || lab.outside().udp_to((host.at("192.0.2.2".parse().unwrap()), 6000)).from_port(5555);
    dnat(&host, "prerouting", "udp dport 7000 dnat to 10.20.30.41:7000");
    ask().look(Deadline::after(std::time::Duration::from_secs(5))).unwrap();
    dnat(&host, "prerouting", "udp dport 6000 dnat to 10.20.30.41:6000");
    let _server = one.serve_udp((&one, 6000)).unwrap();
    let flow =
        "host remembers the flow from 192.0.2.1:5555 to 192.0.2.2:6000, which goes to 192.0.2.2:6000 (conntrack)";
    tells(&ask(), &[flow, "new flows go to 10.20.30.41:6000"]);
}

/// Where a rule may lead, or leads to what is not followed, nobody is said to be asked in vain.
///
///     outside --- eth0 [host: br0, port 8080] --- [netns1 :80]
#[test]
fn led_nobody_knows_where() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    let published = || lab.outside().tcp_to((host.at("192.0.2.2".parse().unwrap()), 8080));
    let rule = "tcp dport 8080 limit rate 1000/second dnat to 10.20.30.41:80";
    dnat(&host, "prerouting", rule);
    let server = one.serve_http((&one, 80)).unwrap();
    assert_eq!(explanation(&published()).cause, None);
    drop(server);
    let mut batch = host.firewall().batch();
    batch.add_chain(Family::Ip, "t", "f", "type filter hook forward priority filter; policy drop;").unwrap();
    batch.commit().unwrap();
    let words =
        ["host may change whom the packet for 192.0.2.2:8080 is for", "chain ip t prerouting", "to whom is not known"];
    tells(&published(), &words);
    host.firewall().flush().unwrap();
    dnat(&host, "prerouting", "tcp dport 8080 redirect to :80");
    let _server = host.serve_http((host.at("192.0.2.2".parse().unwrap()), 80)).unwrap();
    expect!(published(), Connected { .. });
    assert_eq!(explanation(&published()).cause, None);
}

/// What may lead a packet elsewhere that is for another host is told beside the cause that is found.
///
///     [netns1] --- [host: br0] --- eth0 --- outside
#[test]
fn led_elsewhere_maybe() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "prerouting", "meta mark 0x1 dnat to 10.20.20.41");
    host.set_sysctl("net.ipv4.ip_forward", "0").unwrap();
    tells(
        &one.ping(lab.outside()),
        &["host does not forward IPv4", "; or host may change whom", "meta mark 0x00000001 dnat"],
    );
}

/// A rule for what leaves by `lo` is known to be one that may match, where nobody knows by which device the packet leaves.
#[test]
fn led_by_the_loopback_device() {
    let (_lab, host, one, _two) = lab("gateway-one-subnet");
    dnat(&host, "output", "oif \"lo\" tcp dport 8080 dnat to 10.20.30.41:80");
    let _server = one.serve_http((&one, 80)).unwrap();
    let published = host.tcp_to((host.at("10.20.0.1".parse().unwrap()), 8080));
    expect!(published, Connected { .. });
    assert_eq!(explanation(&published).cause, None);
}
