//! What probes say of the kernel's tables.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::net::Ipv4Addr;

use netproof::{Lab, expect, link};

/// The article's trap, told by four probes: an address on a bridge port never resolves.
///
///     host[veth1-0 10.20.30.40 -> br0] --- veth1-1 [netns1]
#[test]
fn an_address_on_a_port_stays_incomplete() {
    let lab = Lab::of("port-address").unwrap();
    let (host, netns1) = (lab.host(), lab.node("netns1"));
    expect!(host.route_to(netns1), Route { dev: "veth1-0", via: "", src: "10.20.30.40", .. });
    expect!(host.ping(netns1).from_device("veth1-0"), NoReply);
    expect!(host.neighbour(netns1).on("veth1-0"), Incomplete | Failed | Absent);
    expect!(host.neighbour(netns1).on("br0"), Absent);
}

/// Links, addresses, routes, neighbours and FDB are as they were built, and print as their tools print them.
///
///     outside --- eth0 [host: br0 10.20.0.1] --- [netns1] [netns2]
#[test]
fn tables_are_as_built() {
    let lab = Lab::of("gateway-one-subnet").unwrap();
    let (host, netns1, netns2) = (lab.host(), lab.node("netns1"), lab.node("netns2"));
    expect!(host.link("br0"), Some(Link { kind: "bridge", up: true, state: "UP", mtu: 1500, .. }));
    expect!(host.link("veth1-0"), Some(Link { master: "br0", port_state: "forwarding", carrier: true, .. }));
    expect!(host.link("nothing"), None);
    expect!(netns1.addresses(), list if list.iter().any(|address| address.to_string() == "10.20.30.41/16 brd 10.20.255.255 scope global"));
    expect!(netns1.routes(), [first, ..] if first.to_string() == "default via 10.20.0.1 dev veth1-1");
    expect!(host.routes(), list if list.iter().any(|route| route.to_string() == "10.20.0.0/16 dev br0 proto kernel scope link src 10.20.0.1"));
    expect!(
        netns1.route_to(Ipv4Addr::new(198, 51, 100, 1)),
        Route { via: "10.20.0.1", dev: "veth1-1", table: 254, .. }
    );
    expect!(netns1.ping(netns2), Reply { ttl: 64, seq: 1, .. });
    expect!(netns1.neighbour(netns2).mac(), Some(mac) if mac == netns2.mac());
    expect!(netns1.neighbours(), [entry, ..] if entry.to_string().contains("lladdr"));
    expect!(host.fdb("br0").port_of(netns2.mac()), Some("veth2-0"));
    // What the node sends unasked is not learned again.
    let port = host.index("veth2-0").unwrap();
    host.apply(link::set_port("veth2-0", port, link::PortFlag::Learning, false)).unwrap();
    host.flush_fdb("br0").unwrap();
    expect!(host.fdb("br0").port_of(netns2.mac()), None);
}

/// No route at all is an answer, too.
#[test]
fn no_route_is_an_answer() {
    let alone = netproof::Namespace::new("alone").unwrap();
    expect!(alone.route_to(Ipv4Addr::new(192, 0, 2, 1)), NoRoute { error: "ENETUNREACH" });
    expect!(alone.routes(), []);
}
