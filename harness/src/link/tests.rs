//! Requests, against what the kernel made of them.

use super::*;

/// A veth is made with its port attached and its peer in the node, in one message.
///
///     host[br0: port] --- end[node]
#[test]
fn both_ends_in_place() {
    let (host, node) = (Namespace::new("host").unwrap(), Namespace::new("node").unwrap());
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    host.apply_all([
        Bridge::new("br0").index(10).request(),
        Veth::new("port", "end").index(11).master(10).peer_in(&node).peer_mac(mac).mtu(1400).request(),
    ])
    .unwrap();
    node.apply(set_up("end")).unwrap();
    let end = node.link_message("end").unwrap();
    assert!(end.attributes.contains(&LinkAttribute::Address(mac.0.to_vec())));
    assert!(end.attributes.contains(&LinkAttribute::Mtu(1400)));
    let port = host.link_message("port").unwrap();
    assert!(port.attributes.contains(&LinkAttribute::Controller(10)));
    host.apply(set_port("port", 11, PortFlag::Hairpin, true)).unwrap();
    host.flush_fdb("br0").unwrap();
}

/// An error names the object, the namespace and the kernel's reason.
#[test]
fn an_error_names_all() {
    let host = Namespace::new("host").unwrap();
    let error = host.apply(set_up("nothing")).unwrap_err().to_string();
    assert_eq!(error, "bringing up link nothing in namespace host: No such device (os error 19)");
}

/// A link moves into another namespace, and arrives there down; a port's master can be changed and taken away.
///
///     host[br0, br1: port] --- end[node]
#[test]
fn links_move() {
    let (host, node) = (Namespace::new("host").unwrap(), Namespace::new("node").unwrap());
    host.apply_all([
        Bridge::new("br0").index(10).request(),
        Bridge::new("br1").index(11).mac(Mac([2, 0, 0, 0, 0, 0xb1])).request(),
        Veth::new("port", "end").index(12).master(10).request(),
        set_master("port", 11),
        set_namespace("end", &node),
    ])
    .unwrap();
    assert!(host.link_if_there("end").unwrap().is_none());
    let end = node.link("end").read().unwrap().unwrap();
    assert!(!end.up);
    let port = || host.link("port").read().unwrap().unwrap();
    assert_eq!(port().master.as_deref(), Some("br1"));
    host.apply(set_master("port", 0)).unwrap();
    assert_eq!(port().master, None);
    let bridge = host.link("br1").read().unwrap().unwrap();
    assert_eq!(bridge.mac, Some(Mac([2, 0, 0, 0, 0, 0xb1])));
    host.apply(delete("port")).unwrap();
    assert!(node.link("end").read().unwrap().is_none(), "the other end goes with it");
}

/// A request that fails does not keep those after it from being made.
#[test]
fn the_first_error_is_told_and_the_rest_is_done() {
    let host = Namespace::new("host").unwrap();
    let error = host.apply_all([
        Bridge::new("br0").request(),
        Bridge::new("br0").request(),
        set_up("nothing"),
        Bridge::new("br1").request(),
    ]);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("adding bridge br0") && error.contains("File exists"), "{error}");
    assert_eq!(host.links().list().unwrap().len(), 3);
}

/// A bridge takes its smallest port's MTU, also where it was made with another, unless its own is pinned.
///
///     a0[br0]    b0[br1]    c0[br2]
#[test]
fn a_bridge_follows_its_ports_unless_pinned() {
    let host = Namespace::new("host").unwrap();
    host.apply_all([
        Bridge::new("br0").index(10).mtu(1400).request(),
        Bridge::new("br1").index(11).request(),
        Bridge::new("br2").index(12).request(),
    ])
    .unwrap();
    host.apply_all(pin_mtu("br1", 1400).into_iter().chain(pin_mtu("br2", 1500))).unwrap();
    host.apply_all([
        Veth::new("a0", "a1").master(10).request(),
        Veth::new("b0", "b1").master(11).request(),
        Veth::new("c0", "c1").master(12).mtu(1300).request(),
    ])
    .unwrap();
    let mtu = |bridge: &str| host.link(bridge).read().unwrap().unwrap().mtu;
    assert_eq!(["br0", "br1", "br2"].map(mtu), [1500, 1400, 1500]);
}
