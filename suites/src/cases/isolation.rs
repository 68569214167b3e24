//! Isolation: who must not reach whom, tried as an attacker would.
//!
//! ```text
//! [netns1] [netns2] --- [host: br0, br1] --- [netns3] [netns4]
//! ```

use netproof::{
    forge::{self, Way},
    topology::{Destination, Route},
};

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "isolation",
    about: "Nodes, bridges and hosts that are to be kept apart are apart, in both IP versions.",
    cases: &[
        Case {
            id: "isolation/isolated-ports-do-not-talk",
            level: Must,
            claim: "Nodes on isolated ports do not reach each other, and each reaches its gateway.",
            source: "kernel selftest bridge_port_isolation; docker icc=false; CNI portIsolation",
            failing: "Containers of different tenants on one network can attack each other.",
            on: &["isolated-ports", "isolated-ports-v6"],
            start: Built,
            run: ports_do_not_talk,
        },
        Case {
            id: "isolation/the-gateway-is-no-way-around-isolated-ports",
            level: Should,
            claim: "A node on an isolated port that routes its peer's address via the gateway does not reach the peer.",
            source: "kernel bridge isolated: frames are kept apart, packets are not",
            failing: "Port isolation is bypassed with one command in a container.",
            on: &["isolated-ports", "isolated-ports-v6"],
            start: Built,
            run: no_way_around,
        },
        Case {
            id: "isolation/isolated-bridges-do-not-talk",
            level: Must,
            claim: "Nodes on different isolated bridges do not reach each other, and each reaches the outside.",
            source: "netavark#1515, netavark#331; docker networks",
            failing: "Two networks that are meant to be apart are one.",
            on: &["isolated", "isolated-v6", "isolated-publish"],
            start: Built,
            run: bridges_do_not_talk,
        },
        Case {
            id: "isolation/an-internal-network-is-not-reached-from-outside",
            level: Must,
            claim: "Who routes an internal network's subnet to the host from outside does not reach its nodes, even where the host forwards.",
            source: "docker network create --internal",
            failing: "A network that is meant to be cut off is open to the host's neighbours.",
            on: &["internal", "internal-v6"],
            start: Built,
            run: not_reached,
        },
        Case {
            id: "isolation/the-host-ignores-router-advertisements-of-nodes",
            level: Must,
            claim: "A router advertisement that a node sends makes no route in the host.",
            source: "CVE-2020-13401; incus#2743",
            failing: "A container can draw the host's IPv6 traffic to itself.",
            on: &["gateway-v6", "internal-v6", "isolated-v6", "gateway-one-subnet", "pair"],
            start: Built,
            run: advertisements_ignored,
        },
        Case {
            id: "isolation/a-forged-source-address-is-dropped",
            level: May,
            claim: "A frame with another MAC or IP address than the node's own does not leave its port, and the node's own do.",
            source: "containernetworking/plugins#639",
            failing: "A container can speak in another's name.",
            on: &["anti-spoof"],
            start: Built,
            run: forged_dropped,
        },
        Case {
            id: "isolation/a-forged-arp-reply-is-dropped",
            level: May,
            claim: "An ARP announcement, or a neighbour advertisement, of another's address does not leave the node's port, and one of its own does.",
            source: "containernetworking/plugins#639; RFC 5227",
            failing: "A container can draw another's traffic to itself.",
            on: &["anti-spoof"],
            start: Built,
            run: forged_arp_dropped,
        },
    ],
};

/// Ordered pairs of nodes on one bridge, or on different ones.
fn pairs(stage: &Stage, same_bridge: bool) -> Vec<(Node, Node)> {
    let nodes = stage.nodes();
    let all = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from.clone(), to.clone())));
    all.filter(|(from, to)| from.name() != to.name() && (stage.bridge_of(from) == stage.bridge_of(to)) == same_bridge)
        .collect()
}

fn ports_do_not_talk(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, true) {
            stage.cold()?;
            let gateway = stage.gateway(&from, version).expect("it has a gateway");
            expect!(from.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            expect!(to.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            expect!(from.ping(version.of(&to)), NoReply | Unreachable { .. });
        }
    }
    // It is the isolation that keeps them apart, by the bridge or by rules: the same two talk as soon as it is taken away.
    let (host, port) = (stage.host(), stage.node("netns1").port());
    host.apply(link::set_port(port, host.index(port)?, link::PortFlag::Isolated, false))?;
    host.firewall().flush()?;
    stage.cold()?;
    expect!(stage.node("netns2").ping(stage.node("netns1")), Reply { .. });
    Ok(())
}

fn no_way_around(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, true) {
            let target = version.of(&to);
            let way = Route {
                to: Destination::Prefix(IpNet::from(target.address)),
                via: stage.gateway(&from, version),
                dev: None,
            };
            let back = Route {
                to: Destination::Prefix(IpNet::from(version.of(&from).address)),
                via: stage.gateway(&to, version),
                dev: None,
            };
            from.add_route(&way)?;
            to.add_route(&back)?;
            stage.cold()?;
            let wire = to.tap(to.device())?;
            expect!(from.ping(&target), NoReply | Unreachable { .. });
            expect!(wire.frames(filter::echo_request_to(&target)).before((&**stage.host(), stage.bridge_of(&to))), 0);
            from.delete_route(&way)?;
            to.delete_route(&back)?;
        }
    }
    Ok(())
}

fn bridges_do_not_talk(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for (from, to) in pairs(stage, false) {
            stage.cold()?;
            expect!(from.ping(stage.external(version)), Reply { ttl: 63, .. });
            let target = version.of(&to);
            let wire = to.tap(to.device())?;
            expect!(from.ping(&target), NoReply | Unreachable { .. });
            expect!(wire.frames(filter::echo_request_to(&target)).before((&**stage.host(), stage.bridge_of(&to))), 0);
        }
    }
    Ok(())
}

fn not_reached(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let uplink = stage.topology().host.uplink.as_ref().expect("it has an uplink");
        let gateway =
            uplink.addresses.iter().map(IpNet::addr).find(|address| version.has(*address)).expect("of each version");
        let sysctl = if version == Version::V4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
        stage.host().set_sysctl(sysctl, "1")?;
        for node in stage.nodes() {
            let target = version.of(node);
            expect!(stage.host().ping(&target), Reply { .. });
            let prefix =
                node.prefixes().iter().find(|net| version.has(net.addr())).map(IpNet::trunc).expect("it has one");
            let way_in = Route { to: Destination::Prefix(prefix), via: Some(gateway), dev: None };
            stage.outside().add_route(&way_in)?;
            let wire = node.tap(node.device())?;
            expect!(stage.outside().ping(&target), NoReply | Unreachable { .. });
            expect!(
                wire.frames(filter::ip_from(stage.external(version))).before((&**stage.host(), stage.bridge_of(node))),
                0
            );
            stage.outside().delete_route(&way_in)?;
        }
    }
    Ok(())
}

pub(super) fn advertisements_ignored(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for node in stage.nodes() {
        let attacker = node.injector(node.device())?;
        let source: std::net::Ipv6Addr = "fe80::bad".parse().expect("it is one");
        let wire = host.tap(stage.bridge_of(node))?;
        // Whether ports forward when `up` returns is another case's claim.
        expect!(node.link(node.device()), Some(Link { carrier: true, .. }));
        expect!(host.link(node.port()), Some(Link { port_state: "forwarding", .. }));
        attacker.send(&forge::router_advertisement(attacker.mac(), source, 1800, "2001:db8:bad::".parse().ok()))?;
        expect!(wire.frames(filter::router_advertisement()), 1..);
        let learned = |route: &netproof::probe::routes::Route| route.protocol == "ra";
        expect!(host.routes(), list if !list.iter().any(learned));
        let autoconfigured =
            |address: &netproof::probe::addresses::Address| address.address.to_string().starts_with("2001:db8:bad:");
        expect!(host.addresses(), list if !list.iter().any(autoconfigured));
    }
    // The advertisement is one that a host takes: a bystander with the kernel's defaults does.
    bystander_takes_it(stage)
}

fn bystander_takes_it(stage: &mut Stage) -> Result<()> {
    let bystander = stage.add_namespace("bystander")?;
    let attacker = stage.add_namespace("attacker")?;
    attacker.apply(link::Veth::new("a", "b").peer_in(&bystander).request())?;
    bystander.apply(link::set_up("b"))?;
    attacker.settle(&["a"])?;
    bystander.settle(&["b"])?;
    has_link_local(&bystander, "b");
    let injector = attacker.injector("a")?;
    let source: std::net::Ipv6Addr = "fe80::bad".parse().expect("it is one");
    injector.send(&forge::router_advertisement(injector.mac(), source, 1800, "2001:db8:bad::".parse().ok()))?;
    expect!(bystander.routes(), list if list.iter().any(|route| route.protocol == "ra"));
    Ok(())
}

fn forged_dropped(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    let injector = netns1.injector(netns1.device())?;
    let own = Way {
        source_mac: netns1.mac(),
        destination_mac: netns2.mac(),
        source: netns1.address(),
        destination: netns2.address(),
    };
    let wire = netns2.tap(netns2.device())?;
    injector.send(&forge::udp(own, 7001, 7001, b"own"))?;
    expect!(wire.frames(filter::udp_to_port(7001)), 1..);
    let other = [10, 20, 99, 99].into();
    injector.send(&forge::udp(Way { source: other, ..own }, 7002, 7002, b"forged address"))?;
    injector.send(&forge::udp(
        Way { source_mac: netproof::Mac([2, 0, 0, 0, 0, 9]), ..own },
        7003,
        7003,
        b"forged MAC",
    ))?;
    let host = (&**stage.host(), stage.bridge_of(netns2));
    expect!(wire.frames(filter::udp_to_port(7002)).before(host), 0);
    expect!(wire.frames(filter::udp_to_port(7003)).before(host), 0);
    let (source, destination) = (Version::V6.of(netns1).address, Version::V6.of(netns2).address);
    let own = Way { source, destination, ..own };
    injector.send(&forge::udp(own, 7004, 7004, b"own"))?;
    expect!(wire.frames(filter::udp_to_port(7004)), 1..);
    let other: std::net::Ipv6Addr = "fd00:20::99:99".parse().expect("it is one");
    injector.send(&forge::udp(Way { source: other.into(), ..own }, 7005, 7005, b"forged address"))?;
    expect!(wire.frames(filter::udp_to_port(7005)).before(host), 0);
    Ok(())
}

fn forged_arp_dropped(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    let injector = netns1.injector(netns1.device())?;
    let wire = netns2.tap(netns2.device())?;
    let std::net::IpAddr::V4(own) = netns1.address() else { return Ok(()) };
    let victim = std::net::Ipv4Addr::new(10, 20, 0, 1);
    injector.send(&forge::arp_announcement(netns1.mac(), own))?;
    expect!(wire.frames(filter::arp_announcement_of(own)), 1..);
    injector.send(&forge::arp_announcement(netns1.mac(), victim))?;
    let host = (&**stage.host(), stage.bridge_of(netns2));
    expect!(wire.frames(filter::arp_announcement_of(victim)).before(host), 0);
    let std::net::IpAddr::V6(own) = Version::V6.of(netns1).address else { return Ok(()) };
    let victim: std::net::Ipv6Addr = "fd00:20::1".parse().expect("it is one");
    injector.send(&forge::neighbour_advertisement(netns1.mac(), own))?;
    expect!(wire.frames(filter::neighbour_advertisement_of(own)), 1..);
    injector.send(&forge::neighbour_advertisement(netns1.mac(), victim))?;
    expect!(wire.frames(filter::neighbour_advertisement_of(victim)).before(host), 0);
    Ok(())
}
