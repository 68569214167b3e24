//! Namespaces for the probes' own tests, which stand below the lab.

use std::{net::Ipv4Addr, time::Duration};

use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{RouteNetlinkMessage, route::RouteType},
};

use crate::{
    Deadline, Namespace, Probe, addr,
    firewall::Family,
    link::{self, Bridge, Veth},
    netlink::Request,
    topology::{Destination, Route},
};

/// Looks once.
pub(crate) fn look<P: Probe>(probe: &P) -> P::Output {
    probe.look(Deadline::after(Duration::from_secs(5))).unwrap()
}

/// Two namespaces joined by one veth pair: `a0` (10.0.0.1/24, fd00::1/64) in `a`, `b0` (.2, ::2) in `b`.
pub(crate) fn pair() -> (Namespace, Namespace) {
    let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
    a.apply(Veth::new("a0", "b0").peer_in(&b).request()).unwrap();
    ready(&a, "a0", 1);
    ready(&b, "b0", 2);
    for (namespace, device) in [(&a, "a0"), (&b, "b0")] {
        namespace.settle(&[device]).unwrap();
        namespace.settle_addresses().unwrap();
    }
    (a, b)
}

/// [`pair`], with `b` as a router that sends 10.8.0.0/16 back and has an unreachable route to 10.9.0.0/16.
pub(crate) fn routed() -> (Namespace, Namespace) {
    let (a, b) = pair();
    via(&a, "10.8.0.0/15", "10.0.0.2");
    b.set_sysctls(&[("net.ipv4.ip_forward", "1"), ("net.ipv4.icmp_ratelimit", "0")]).unwrap();
    via(&b, "10.8.0.0/16", "10.0.0.1");
    no_way(&b, Ipv4Addr::new(10, 9, 0, 0), RouteType::Unreachable);
    (a, b)
}

/// [`pair`], with `b` as the router to `c` (10.1.0.3/24 on `c0`), whose link has an MTU of 1300.
pub(crate) fn narrow() -> (Namespace, Namespace, Namespace) {
    let (a, b) = pair();
    let c = Namespace::new("c").unwrap();
    b.apply(Veth::new("b1", "c0").peer_in(&c).mtu(1300).request()).unwrap();
    b.set_sysctls(&[("net.ipv4.ip_forward", "1"), ("net.ipv4.icmp_ratelimit", "0")]).unwrap();
    for (namespace, device, address) in [(&b, "b1", "10.1.0.2/24"), (&c, "c0", "10.1.0.3/24")] {
        let index = namespace.index(device).unwrap();
        namespace.apply_all([link::set_up(device), addr::add(index, address.parse().unwrap())]).unwrap();
    }
    b.settle(&["b1"]).unwrap();
    c.settle(&["c0"]).unwrap();
    via(&a, "10.1.0.0/24", "10.0.0.2");
    via(&c, "10.0.0.0/24", "10.1.0.2");
    (a, b, c)
}

/// A bridge `br0` (10.0.0.254/24) in `host`, and nodes `n1` (10.0.0.1/24, fd00::1/64 on `e1`, port `p1`), `n2`, `n3`.
pub(crate) fn bridged() -> (Namespace, [Namespace; 3]) {
    let host = Namespace::new("host").unwrap();
    host.apply_all([Bridge::new("br0").index(10).request(), addr::add(10, "10.0.0.254/24".parse().unwrap())]).unwrap();
    let nodes = [1, 2, 3].map(|number| {
        let node = Namespace::new(format!("n{number}")).unwrap();
        let (port, end) = (format!("p{number}"), format!("e{number}"));
        host.apply(Veth::new(&port, &end).master(10).peer_in(&node).request()).unwrap();
        ready(&node, &end, number);
        node
    });
    host.settle(&["br0", "p1", "p2", "p3"]).unwrap();
    for (node, end) in nodes.iter().zip(["e1", "e2", "e3"]) {
        node.settle(&[end]).unwrap();
        node.settle_addresses().unwrap();
    }
    (host, nodes)
}

/// A route by a next hop.
pub(crate) fn via(namespace: &Namespace, to: &str, hop: &str) {
    let to = Destination::Prefix(to.parse().unwrap());
    namespace.add_route(&Route { to, via: Some(hop.parse().unwrap()), dev: None }).unwrap();
}

/// A route to this /16 that leads nowhere.
pub(crate) fn no_way(namespace: &Namespace, to: Ipv4Addr, kind: RouteType) {
    let message = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 16).kind(kind).build();
    namespace.apply(Request::create("adding a route".into(), RouteNetlinkMessage::NewRoute(message))).unwrap();
}

/// Nothing gets in any more.
pub(crate) fn drop_all(namespace: &Namespace) {
    let mut batch = namespace.firewall().batch();
    batch.add_table(Family::Inet, "t");
    batch.add_chain(Family::Inet, "t", "c", "type filter hook input priority filter; policy drop;").unwrap();
    batch.commit().unwrap();
}

fn ready(namespace: &Namespace, device: &str, host: u8) {
    let index = namespace.index(device).unwrap();
    // Not `nodad`: the kernel says at once of such an address that it is usable, and joins the multicast group in which it
    // is asked for later.
    namespace.set_sysctl(&format!("net.ipv6.conf.{device}.accept_dad"), "0").unwrap();
    namespace
        .apply_all([
            link::set_up("lo"),
            link::set_up(device),
            addr::add(index, format!("10.0.0.{host}/24").parse().unwrap()),
            addr::add(index, format!("fd00::{host}/64").parse().unwrap()),
        ])
        .unwrap();
    let quick = |family| (format!("net.{family}.neigh.{device}.retrans_time_ms"), "50");
    namespace.set_sysctls(&[quick("ipv4"), quick("ipv6")]).unwrap();
    namespace.index(device).unwrap();
}
