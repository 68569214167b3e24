//! Routes, policy rules and MTUs that let nothing pass.

use std::time::Duration;

use super::tests::{cause, explanation, lab};
use crate::{Lab, Node, Probe, link};

/// Runs `ip` with the words of this line, in a node or the host.
fn run(lab: &Lab, at: &Node, line: &str) {
    lab.command("ip").unwrap().args(line.split(' ')).inside(at).read(Duration::from_secs(10)).unwrap();
}

/// A policy rule of a router's that forbids is named, whatever it holds for, and no route of a table that none looks up.
///
///     [netns1] --- eth0 [host: br0] --- outside
#[test]
fn a_policy_rule_forbids() {
    let (lab, _host, one, _two) = lab("gateway-one-subnet");
    let run = |line: &str| run(&lab, lab.host(), line);
    run("route add unreachable default table 77");
    for (rule, words) in [
        ("from 10.20.30.41 prohibit", "the policy rule `500: from 10.20.30.41 prohibit` forbids it"),
        ("iif br0 blackhole", "the policy rule `500: from all iif br0 blackhole` forbids it"),
        ("to 192.0.2.1 unreachable", "the policy rule `500: from all to 192.0.2.1 unreachable` forbids it"),
        ("from 10.20.30.41 lookup 77", ": `unreachable default table 77` forbids it"),
        ("not from 10.20.30.0/24 prohibit", "host has no route back to 10.20.30.41: the policy rule `500: not from"),
        ("to 192.0.2.1 protocol static prohibit", "the policy rule `500: from all to 192.0.2.1 prohibit proto static`"),
        ("not from 0.0.0.0/0 prohibit", ""),
        ("to 198.51.100.0/24 prohibit", ""),
        ("fwmark 7 prohibit", ""),
    ] {
        run(&format!("rule add pref 500 {rule}"));
        let explained = explanation(&one.ping(lab.outside()));
        match (words, &explained.cause) {
            ("", None) => {}
            ("", Some(cause)) => panic!("{rule}: {cause}"),
            (words, cause) => assert!(cause.as_ref().is_some_and(|cause| cause.contains(words)), "{rule}: {cause:?}"),
        }
        run("rule del pref 500");
    }
}

/// What a `goto` passes over, or a suppressed route would have led to, is not blamed; what is reached is.
///
///     [netns1] --- eth0 [host: br0] --- outside
#[test]
fn rules_that_are_passed_over() {
    let (lab, _host, one, _two) = lab("gateway-one-subnet");
    let run = |line: &str| run(&lab, lab.host(), line);
    run("rule add pref 700 to 192.0.2.1 unreachable");
    run("rule add pref 600 to 192.0.2.1 prohibit");
    for (rule, words, others) in [
        ("goto 700", "`700: from all to 192.0.2.1 unreachable` forbids it", "prohibit"),
        ("goto 777", "`600: from all to 192.0.2.1 prohibit` forbids it", "700"),
        ("lookup main suppress_prefixlength 24", "`600: from all to 192.0.2.1 prohibit` forbids it", "700"),
    ] {
        run(&format!("rule add pref 500 {rule}"));
        let cause = cause(&one.ping(lab.outside()));
        assert!(cause.contains(words) && !cause.contains(others), "{rule}: {cause}");
        run("rule del pref 500");
    }
}

/// A rule for a device holds for what is bound to it. Of IPv6: what is bound to a device and finds no IPv4 route is taken
/// for on-link, by ip_route_output_key_hash_rcu() in net/ipv4/route.c.
///
///     [netns1] --- [host: br0] --- [netns2]
#[test]
fn a_rule_for_a_device() {
    let (lab, _host, one, two) = lab("gateway-v6");
    run(&lab, &one, "-6 rule add pref 9 oif veth1-1 prohibit");
    let target = || two.at(two.v6().unwrap());
    crate::expect!(one.ping(target()), Reply { .. });
    let cause = cause(&one.ping(target()).from_device("veth1-1"));
    assert!(cause.ends_with("the policy rule `9: from all oif veth1-1 prohibit -6` forbids it"), "{cause}");
}

/// A router that says that a packet is too large is not said to be unheard where it is heard.
///
///     [netns1] --- [host: br0] --- eth0, MTU 1300 --- outside
#[test]
fn a_router_that_is_heard() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    host.apply(link::set_mtu("eth0", 1300)).unwrap();
    let cause = cause(&one.ping(lab.outside()).size(1372).dont_fragment());
    assert!(cause.ends_with("whose MTU is 1300: host says so with an ICMP error (frag-needed)"), "{cause}");
}

/// A packet is looked up by its mark, and so is why it finds no way.
///
///     [netns1] --- [host: br0] --- [netns2]
#[test]
fn a_marked_packet() {
    let (lab, _host, one, two) = lab("gateway-one-subnet");
    run(&lab, &one, "rule add fwmark 0x1/0xf unreachable");
    crate::expect!(one.route_to(&two), Route { dev: "veth1-1", .. });
    crate::expect!(one.route_to(&two).mark(0x11), NoRoute { error: "ENETUNREACH" | "EHOSTUNREACH" });
    crate::expect!(one.ping(&two).mark(2), Reply { .. });
    crate::expect!(one.tcp_to((&two, 80)).mark(2), Refused);
    for cause in [cause(&one.ping(&two).mark(0x11)), cause(&one.tcp_to((&two, 80)).mark(0x11))] {
        assert!(cause.ends_with("from all fwmark 0x1/0xf unreachable` forbids it"), "{cause}");
    }
    assert_eq!(one.ping(&two).mark(0x11).describe(), "netns1: ping -m 0x11 10.20.20.41 (netns2)");
}

/// A server that listens for itself only is named, with where it listens; one for everybody is not.
///
///     [netns1] --- [host: br0] --- [netns2: 127.0.0.1, port 80]
#[test]
fn a_server_for_itself_only() {
    let (_lab, _host, one, two) = lab("gateway-v6");
    let at = |address: &str| {
        let address: std::net::SocketAddr = address.parse().unwrap();
        (
            two.run(|| std::net::TcpListener::bind(address).unwrap()),
            two.run(|| std::net::UdpSocket::bind(address).unwrap()),
        )
    };
    let v6 = || two.at(two.v6().unwrap());
    let _servers = [at("127.0.0.1:80"), at("[::1]:81"), at("[::]:82")];
    for (cause, port, own, to) in [
        (cause(&one.tcp_to((&two, 80))), "TCP port 80", "127.0.0.1", "10.20.20.41"),
        (cause(&one.udp_to((&two, 80))), "UDP port 80", "127.0.0.1", "10.20.20.41"),
        (cause(&one.tcp_to((v6(), 81))), "TCP port 81", "::1", "fd00:20::20:41"),
    ] {
        assert_eq!(cause, format!("netns2 listens on {port} of {own} only, and not of {to}"));
    }
    for probe in [one.tcp_to((&two, 82)), one.tcp_to((v6(), 82))] {
        assert_eq!(explanation(&probe).cause, None);
    }
}
