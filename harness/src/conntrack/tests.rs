//! Flows through the kernel's own translation: what a rule says is what happens to packets.

use std::{io, net::UdpSocket, time::Duration};

use super::*;
use crate::{firewall::Family, link};

/// A datagram to a translated port arrives at the other, its flow is listed with both, and once it is forgotten and
/// the rule repointed, the next datagram goes the new way.
///
///     host[127.0.0.1:5300 -> :5301, then :5302]
#[test]
fn a_flow_is_translated_listed_and_forgotten() {
    let host = with_loopback();
    let (first, second) = (bound(&host, 5301), bound(&host, 5302));
    let client = bound(&host, 5399);
    let mut batch = host.firewall().batch();
    batch.add_table(Family::Ip, "np");
    batch.add_chain(Family::Ip, "np", "output", "type nat hook output priority dstnat; policy accept;").unwrap();
    batch.add_rule(Family::Ip, "np", "output", "udp dport { 5300, 5303 } dnat to 127.0.0.1:5301").unwrap();
    batch.commit().unwrap();

    client.send_to(b"one", "127.0.0.1:5300").unwrap();
    assert_eq!(heard(&first).unwrap(), b"one");
    let flows = host.flows().unwrap();
    let flow = flows.iter().find(|flow| flow.original.1.port() == 5300).expect("the flow is listed");
    assert_eq!((flow.protocol, flow.reply.0.port(), flow.reply.1.port()), (17, 5301, 5399));

    let repoint = |rule: &crate::firewall::Rule| Some(rule.to_string().replace("5301", "5302"));
    assert_eq!(host.firewall().edit_rules(|_, _, rule| repoint(rule)).unwrap(), 1);
    client.send_to(b"two", "127.0.0.1:5300").unwrap();
    assert_eq!(heard(&first).unwrap(), b"two", "a flow outlives the rule that made it");
    host.delete_flows(|flow| flow.original.1.port() == 5300).unwrap();
    assert!(host.flows().unwrap().iter().all(|flow| flow.original.1.port() != 5300));
    client.send_to(b"three", "127.0.0.1:5300").unwrap();
    assert_eq!(heard(&second).unwrap(), b"three");
}

/// What a filter lets pass arrives, and what it drops does not; its counter tells which is which.
///
///     host[127.0.0.1:5301]
#[test]
fn a_rule_drops_what_it_says_and_no_more() {
    let host = with_loopback();
    let (server, client) = (bound(&host, 5301), bound(&host, 5399));
    let other = bound(&host, 5398);
    let mut batch = host.firewall().batch();
    batch.add_table(Family::Inet, "np");
    batch.add_chain(Family::Inet, "np", "input", "type filter hook input priority filter; policy accept;").unwrap();
    let rule = "ip saddr 127.0.0.0/9 udp sport 5390-5398 udp dport { 5300, 5301 } counter drop";
    batch.add_rule(Family::Inet, "np", "input", rule).unwrap();
    batch.commit().unwrap();

    other.send_to(b"dropped", "127.0.0.1:5301").unwrap();
    client.send_to(b"passed", "127.0.0.1:5301").unwrap();
    // The loopback device keeps order: what was sent first would have come first.
    assert_eq!(heard(&server).unwrap(), b"passed");
    let ruleset = host.firewall().ruleset().unwrap();
    let text = &ruleset.tables[0].chains[0].rules[0].text;
    assert!(text.contains("counter packets 1 bytes 35 drop"), "{text}");
}

fn with_loopback() -> Namespace {
    let host = Namespace::new("host").unwrap();
    host.apply(link::set_up("lo")).unwrap();
    host
}

fn bound(host: &Namespace, port: u16) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind(("127.0.0.1", port))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5).mul_f64(crate::time_scale()))).unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 64];
    socket.recv(&mut buffer).map(|length| buffer[..length].to_vec())
}
