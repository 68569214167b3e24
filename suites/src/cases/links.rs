//! Links: that they are there, up, and attached where they should be.
//!
//! ```text
//! [host: br0] veth1-0 --- veth1-1 [netns1]
//! ```

use netproof::Error;

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "links",
    about: "Bridges, ports and the nodes' ends are up, attached, and carry traffic at once.",
    cases: &[
        Case {
            id: "links/all-are-up-when-up-returns",
            level: Must,
            claim: "When `up` returns, the bridge, every port and every node's end are up with carrier, and every port forwards.",
            source: "article lines 38-47; moby#49364",
            failing: "The first packets of a container that was just started are lost.",
            on: BRIDGED,
            start: Prepared,
            run: all_up,
        },
        Case {
            id: "links/every-port-is-on-its-bridge",
            level: Must,
            claim: "The host's end of every node's veth is a port of the bridge that was asked for.",
            source: "article lines 40-41",
            failing: "A container is on another network than the one it was put on.",
            on: BRIDGED,
            start: Built,
            run: on_its_bridge,
        },
        Case {
            id: "links/lo-is-up-in-every-node",
            level: Must,
            claim: "Every node reaches its own addresses and its loopback address.",
            source: "netavark test \"loopback up\"; article never brings lo up",
            failing: "Programs in a container that talk to themselves by address fail.",
            on: &["veth", "pair", "gateway-one-subnet", "gateway-v6", "internal", "direct", "mesh", "star"],
            start: Built,
            run: lo_is_up,
        },
        Case {
            id: "links/no-port-waits-before-it-forwards",
            level: Must,
            claim: "A port that loses and regains carrier forwards at once, without a listening or learning delay.",
            source: "kernel Documentation/networking/bridge.rst; containernetworking/cni#470",
            failing: "Every container waits for the bridge's forward delay, up to 30 s, before its network works.",
            on: &["pair", "gateway-one-subnet", "internal", "isolated"],
            start: Built,
            run: no_delay,
        },
        Case {
            id: "links/the-default-mtu-is-the-same-everywhere",
            level: Should,
            claim: "Bridge, ports and nodes' ends have one MTU, no larger than the uplink's.",
            source: "moby#22297; netavark test 640",
            failing: "Large packets vanish between two containers, or on their way out.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "mtu", "internal", "star"],
            start: Built,
            run: one_mtu,
        },
        Case {
            id: "links/macs-are-unique",
            level: Must,
            claim: "No two ports or nodes' ends have the same MAC address, and no node's end has a bridge's.",
            source: "moby#47146, moby#48595; kernel \"received packet with own address as source address\"",
            failing: "Frames go to whoever spoke last; connections break at random.",
            on: &["pair", "gateway-one-subnet", "isolated", "star"],
            start: Built,
            run: unique_macs,
        },
        Case {
            id: "links/the-bridges-mac-does-not-follow-its-ports",
            level: Must,
            claim: "The bridge keeps its MAC address when a port with a lower one is attached.",
            source: "lxc#604; netavark#833; containernetworking/cni#285; kernel net/bridge/br_stp_if.c",
            failing: "Starting a container cuts off the others from their gateway until their neighbour entries expire.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: steady_mac,
        },
        Case {
            id: "links/a-broadcast-address-is-its-subnets",
            level: Should,
            claim: "Where an address of a node or a bridge has a broadcast address it is the subnet's, and what a node sends to the subnet's arrives at its peers.",
            source: "RFC 919; netdevice(7) SIOCGIFBRDADDR; rtnetlink(7) IFA_BROADCAST",
            failing: "Programs that ask the interface whom to send a broadcast to (Samba, discovery, Wake-on-LAN) send it to nobody.",
            on: &[
                "veth",
                "pair",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "publish",
                "internal",
                "isolated",
                "two-networks",
                "mtu",
                "direct",
                "star",
            ],
            start: Built,
            run: broadcast_address,
        },
    ],
};

fn all_up(stage: &mut Stage) -> Result<()> {
    // The lab's own `up`, not the stage's: looked at once, without patience, as it is what that returned with that counts.
    netproof::Lab::up(stage)?;
    let host = stage.host().links().list()?;
    for bridge in &stage.topology().bridges {
        let is_up = host.iter().any(|link| link.name == bridge.name && link.up && link.carrier);
        claim(is_up, || format!("bridge {} is not up with carrier when `up` returns", bridge.name), stage.host())?;
    }
    for node in stage.nodes() {
        let links = node.links().list()?;
        for interface in node.interfaces() {
            let is_up = links.iter().any(|link| link.name == interface.name && link.up && link.carrier);
            claim(
                is_up,
                || format!("{}'s {} is not up with carrier when `up` returns", node.name(), interface.name),
                node,
            )?;
            let Some(port) = &interface.port else { continue };
            let forwards = |link: &netproof::state::Link| {
                link.port.as_ref().is_some_and(|port| port.state == netproof::state::PortState::Forwarding)
            };
            let is_up = host.iter().any(|link| link.name == *port && link.up && link.carrier && forwards(link));
            claim(is_up, || format!("port {port} does not forward when `up` returns"), stage.host())?;
        }
    }
    Ok(())
}

/// Fails as an expectation would, for what only one look can decide.
fn claim(holds: bool, message: impl FnOnce() -> String, at: &Node) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(netproof::Error::ReadBack(format!("{}\n{}", message(), netproof::state::State::of(at)?)))
}

fn on_its_bridge(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        for interface in node.interfaces() {
            let (Some(port), Some(bridge)) = (&interface.port, &interface.bridge) else { continue };
            expect!(stage.host().link(port), Some(Link { master, .. }) if master == bridge);
        }
    }
    Ok(())
}

pub(super) fn lo_is_up(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        expect!(node.link("lo"), Some(Link { up: true, .. }));
        for address in node.prefixes() {
            expect!(node.tcp_to((node.at(address.addr()), 9)), Refused);
        }
        expect!(node.tcp_to((Target::from(std::net::Ipv4Addr::LOCALHOST), 9)), Refused);
        if node.v6().is_some() {
            expect!(node.tcp_to((Target::from(std::net::Ipv6Addr::LOCALHOST), 9)), Refused);
        }
    }
    Ok(())
}

fn no_delay(stage: &mut Stage) -> Result<()> {
    // One node on each bridge.
    let mut seen = std::collections::BTreeSet::new();
    for node in stage.nodes().iter().filter(|node| seen.insert(stage.bridge_of(node))) {
        has_no_delay(stage, node)?;
    }
    Ok(())
}

fn has_no_delay(stage: &Stage, node: &Node) -> Result<()> {
    let host = stage.host();
    node.apply(link::set_down(node.device()))?;
    expect!(host.link(node.port()), Some(Link { carrier: false, port_state: "disabled", .. }));
    node.apply(link::set_up(node.device()))?;
    // Two seconds is the least forward delay that a kernel takes with STP on.
    expect!(host.link(node.port()), Some(Link { port_state: "forwarding", .. }), within: std::time::Duration::from_millis(1500));
    for route in &stage.topology().node(node.name()).expect("it is there").routes {
        if let Some(gateway) = route.via {
            // Where whoever has set the address puts its route back, and not the kernel, that takes a moment.
            expect!(node.route_to(gateway), Route { via: "", .. });
        }
        match node.add_route(route) {
            // Or it has put this one back, too.
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EEXIST) => {}
            other => other?,
        }
    }
    let peer = stage.peers().into_iter().find(|pair| pair.to.name() == node.name()).expect("each has a peer").from;
    expect!(peer.ping(node), Reply { ttl: 64, .. });
    Ok(())
}

pub(super) fn one_mtu(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let links = host.links().list()?;
    let egress = stage
        .topology()
        .host
        .uplink
        .as_ref()
        .and_then(|uplink| links.iter().find(|link| link.name == uplink.interface));
    for node in stage.nodes() {
        let (bridge, port) = (stage.bridge_of(node), node.port());
        let mtu = links.iter().find(|link| link.name == bridge).map_or(0, |link| link.mtu);
        expect!(host.link(port), Some(Link { mtu: of_port, .. }) if of_port == mtu);
        expect!(node.link(node.device()), Some(Link { mtu: of_node, .. }) if of_node == mtu);
        expect!(host.link(bridge), Some(Link { mtu: of_bridge, .. }) if egress.is_none_or(|egress| of_bridge <= egress.mtu));
    }
    Ok(())
}

fn unique_macs(stage: &mut Stage) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    let in_host = stage.host().links().list()?;
    // A bridge has, unless told otherwise, the MAC address of one of its own ports: that is no clash.
    let (bridges, others): (Vec<_>, Vec<_>) = in_host.into_iter().partition(|link| link.kind == "bridge");
    let mut all: Vec<_> = others.into_iter().map(|link| (link, "host")).collect();
    for node in stage.nodes() {
        all.extend(node.links().list()?.into_iter().map(|link| (link, node.name())));
    }
    let born = born_links()?;
    for (link, place) in all.into_iter().filter(|(link, _)| !born.contains(&link.name)) {
        let owner = format!("{} in {place}", link.name);
        let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
        if let Some(bridge) = bridges.iter().find(|bridge| place != "host" && bridge.mac == link.mac) {
            return claim(false, || format!("{owner} has the MAC address of {}, {mac}", bridge.name), stage.host());
        }
        if let Some(first) = seen.insert(link.mac, owner.clone()) {
            return claim(false, || format!("{first} and {owner} both have the MAC address {mac}"), stage.host());
        }
    }
    Ok(())
}

fn steady_mac(stage: &mut Stage) -> Result<()> {
    stage.topology().bridges.iter().try_for_each(|bridge| keeps_its_mac(stage, &bridge.name))
}

fn keeps_its_mac(stage: &Stage, bridge: &str) -> Result<()> {
    let host = stage.host();
    let node = stage.nodes().iter().find(|node| stage.bridge_of(node) == bridge).expect("each bridge has nodes");
    let gateway = stage.gateway(node, Version::V4).map_or_else(|| Target::from(host), |own| host.at(own));
    let before = host.links().list()?.into_iter().find(|link| link.name == bridge).and_then(|link| link.mac);
    let low = netproof::Mac([0, 0, 0, 0, 0, 2]);
    host.apply(link::Veth::new("np-low", "np-low-peer").mac(low).request())?;
    host.apply(link::set_master("np-low", host.index(bridge)?))?;
    expect!(host.link("np-low"), Some(Link { master, .. }) if master == bridge);
    expect!(host.link(bridge), Some(Link { mac, .. }) if mac == before);
    stage.cold()?;
    expect!(node.ping(gateway), Reply { ttl: 64, .. });
    host.apply(link::delete("np-low"))?;
    expect!(host.link(bridge), Some(Link { mac, .. }) if mac == before);
    Ok(())
}

pub(super) fn broadcast_address(stage: &mut Stage) -> Result<()> {
    let bridges: Vec<&str> = stage.topology().bridges.iter().map(|bridge| bridge.name.as_str()).collect();
    let is_odd = |own: &netproof::state::Address| match (own.address, own.broadcast) {
        (IpNet::V4(net), Some(broadcast)) => broadcast != net.broadcast(),
        _ => false,
    };
    expect!(stage.host().addresses(), list if !list.iter().any(|own| bridges.contains(&own.dev.as_str()) && is_odd(own)));
    for node in stage.nodes() {
        expect!(node.addresses(), list if !list.iter().any(is_odd));
    }
    for pair in stage.peers() {
        broadcasts(&pair.from, &pair.to)?;
    }
    Ok(())
}

/// A datagram to the broadcast address of a subnet that both are in arrives, whatever the interface says that it is.
fn broadcasts(from: &Node, to: &Node) -> Result<()> {
    const PORT: u16 = 7009;
    let shared = from.prefixes().iter().filter(|net| net.addr().is_ipv4() && net.prefix_len() < 31);
    for subnet in shared.filter(|net| to.prefixes().iter().any(|other| other.trunc() == net.trunc())) {
        let everyone = subnet.broadcast();
        let interface =
            to.interfaces().iter().find(|end| end.addresses.iter().any(|own| own.trunc() == subnet.trunc()));
        let wire = to.tap(&interface.expect("it has an interface in the subnet").name)?;
        let sent = from.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.set_broadcast(true)?;
            socket.send_to(b"netproof", (everyone, PORT))
        })?;
        sent.map_err(|error| netproof::Error::kernel(format!("sending to {everyone}"), from.name(), error))?;
        let arrived =
            filter::udp_to_port(PORT).and(filter::ip_to(everyone)).and(filter::to_mac(netproof::Mac([0xff; 6])));
        expect!(wire.frames(arrived), 1..);
    }
    Ok(())
}
