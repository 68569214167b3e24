//! NAT: what the outside sees of the nodes, and published ports, from everywhere.
//!
//! ```text
//! outside --- eth0 192.0.2.2:8080 [host: br0] --- [netns1 :80] [netns2]
//! ```

use std::net::{IpAddr, Ipv4Addr};

use netproof::{
    Endpoint, Server,
    topology::{Destination, Route, Transport},
};

use super::prelude::*;

const PUBLISHED: &[&str] = &["publish", "publish-v6"];

pub(super) const SUITE: Suite = Suite {
    name: "nat",
    about: "Source addresses on the way out, and published ports: reached from everywhere, and only where they should be.",
    cases: &[
        Case {
            id: "nat/the-outside-sees-the-uplinks-address",
            level: Must,
            claim: "A server outside sees a node's connection come from the uplink's address.",
            source: "article line 118, left out; RFC 3022",
            failing: "Replies from the outside have nowhere to go, and private addresses leak.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "isolated-ports", "mtu"],
            start: Built,
            run: outside_sees_uplink,
        },
        Case {
            id: "nat/peers-see-each-others-own-address",
            level: Must,
            claim: "A server in one node sees the other node's own address, whether bridged frames pass the firewall or not.",
            source: "firewalld#501; kernel br_netfilter",
            failing: "Containers cannot tell each other apart, and rules by address fail.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: peers_see_own,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-outside",
            level: Must,
            claim: "A published TCP port and a published UDP port answer from outside.",
            source: "moby TestAccessPublishedPortFromRemoteHost",
            failing: "A published service cannot be reached.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: from_outside,
        },
        Case {
            id: "nat/the-client-address-is-preserved",
            level: Must,
            claim: "A published service sees the outside client's own address.",
            source: "moby#7540, moby#15086",
            failing: "Logs, rate limits and access lists of a published service see the gateway only.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: client_preserved,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-the-host",
            level: Must,
            claim: "The host reaches a published port at its own uplink address.",
            source: "libvirt-hook-qemu#11; needs a rule in OUTPUT",
            failing: "The host's own programs cannot use what it publishes.",
            on: PUBLISHED,
            start: Built,
            run: from_the_host,
        },
        Case {
            id: "nat/a-published-port-is-reached-by-loopback",
            level: Should,
            claim: "The host reaches a published port at 127.0.0.1.",
            source: "CNI portmap tests; netavark tests",
            failing: "`curl localhost:8080` fails on the very machine that publishes it.",
            on: &["publish", "publish-v6", "publish-loopback"],
            start: Built,
            run: by_loopback,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-a-peer",
            level: Must,
            claim: "Another node on the bridge reaches the published port at the host's address, with bridged frames shown to the firewall or not.",
            source: "moby#29330",
            failing: "A container cannot use a published service by the address that everybody else uses.",
            on: PUBLISHED,
            start: Built,
            run: from_a_peer,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-its-own-node",
            level: Must,
            claim: "The node that serves a published port reaches itself by it, with bridged frames shown to the firewall or not.",
            source: "moby TestPortMappedHairpin; CNI hairpinMode",
            failing: "A service that calls itself by its public name hangs.",
            on: PUBLISHED,
            start: Built,
            run: from_itself,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-another-bridge",
            level: Should,
            claim: "A node on another bridge reaches the published port at the host's address.",
            source: "moby#49509 TestAccessToPublishedPort",
            failing: "Two networks of one host cannot use each other's published services.",
            on: &["isolated-publish"],
            start: Built,
            run: from_another_bridge,
        },
        Case {
            id: "nat/only-what-is-for-the-host-is-passed-on",
            level: Must,
            claim: "A node's connection to the same port of another host outside is not drawn to the published service.",
            source: "CNI portmap, dst-type LOCAL",
            failing: "Connections to other hosts end up in the wrong container.",
            on: PUBLISHED,
            start: Built,
            run: not_hijacked,
        },
        Case {
            id: "nat/loopback-services-of-the-host-are-not-exposed",
            level: Must,
            claim: "A service on the host's 127.0.0.1 cannot be reached from outside or from a node that routes 127.0.0.1 to it.",
            source: "CVE-2020-8558; kubernetes#92315",
            failing: "Services that trust the loopback interface are open to the neighbours.",
            on: &["publish", "publish-loopback", "gateway-one-subnet"],
            start: Built,
            run: loopback_closed,
        },
        Case {
            id: "nat/a-loopback-port-is-published-to-the-host-only",
            level: Must,
            claim: "A port published on 127.0.0.1 answers the host, and neither the outside nor a node.",
            source: "moby#45610, moby#41872",
            failing: "A port that is meant for this machine only is open to the network.",
            on: &["publish-loopback"],
            start: Built,
            run: loopback_only,
        },
        Case {
            id: "nat/unpublished-ports-have-no-direct-way-in",
            level: Should,
            claim: "Who routes a node's subnet to the host from outside does not reach the node's unpublished ports.",
            source: "moby#49325, moby#48724",
            failing: "Every port of every container is open to whoever shares the host's network.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "publish-v6", "isolated"],
            start: Built,
            run: no_direct_way,
        },
        Case {
            id: "nat/an-unpublished-port-is-closed",
            level: Must,
            claim: "A port next to a published one is refused by the host, not passed on.",
            source: "the topology publishes two ports, and no other",
            failing: "More is published than was asked for.",
            on: PUBLISHED,
            start: Built,
            run: next_port_closed,
        },
    ],
};

/// Serves, in its node, a published port of this transport.
fn served(stage: &Stage, transport: Transport, version: Version) -> Result<Option<(Server, u16, Node)>> {
    let Some(rule) = stage.topology().nat.publish.iter().find(|rule| rule.protocol == transport) else {
        return Ok(None);
    };
    let node = stage.node(&rule.node).clone();
    let at = (version.of(&node), rule.node_port);
    let server = match transport {
        Transport::Tcp => node.serve_http(at)?,
        Transport::Udp => node.serve_udp(at)?,
    };
    Ok(Some((server, rule.port, node)))
}

/// The host's address on the uplink.
fn uplink(stage: &Stage, version: Version) -> Target {
    let uplink = stage.topology().host.uplink.as_ref().expect("the topology has an uplink");
    let address = uplink.addresses.iter().map(IpNet::addr).find(|address| version.has(*address));
    Target::from(address.expect("the uplink has an address of the nodes' version"))
}

fn loopback(version: Version) -> Target {
    match version {
        Version::V4 => Target::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
        Version::V6 => Target::from(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
    }
}

/// Asks the published TCP and UDP ports of `at` from a namespace.
fn answers(stage: &Stage, from: &Node, at: &Target, version: Version) -> Result<()> {
    if let Some((_server, port, node)) = served(stage, Transport::Tcp, version)? {
        expect!(from.http((at.clone(), port)).get(), Status { code: 200, server, .. } if server == node.name());
    }
    if let Some((_server, port, node)) = served(stage, Transport::Udp, version)? {
        expect!(from.udp_to((at.clone(), port)), Answer { server, .. } if server == node.name());
    }
    Ok(())
}

fn outside_sees_uplink(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = stage.external(version);
        let server = stage.outside().serve_http((at.clone(), 80))?;
        let expected = uplink(stage, version).address.to_string();
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.http((at.clone(), 80)).get(), Status { code: 200, client, .. } if client == expected);
        }
        drop(server);
    }
    Ok(())
}

fn peers_see_own(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for pair in stage.peers() {
            for target in pair.targets() {
                stage.cold()?;
                let server = pair.to.serve_http((target.clone(), 80))?;
                let version = if target.address.is_ipv4() { Version::V4 } else { Version::V6 };
                let own = version.of(&pair.from).address.to_string();
                expect!(pair.from.http((target.clone(), 80)).get(), Status { code: 200, client, .. } if client == own);
                drop(server);
            }
        }
        Ok(())
    })
}

fn from_outside(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            stage.cold()?;
            answers(stage, stage.outside(), &uplink(stage, version), version)?;
        }
        Ok(())
    })
}

fn client_preserved(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let client = stage.external(version).address.to_string();
        let at = uplink(stage, version);
        if let Some((_server, port, _)) = served(stage, Transport::Tcp, version)? {
            expect!(stage.outside().http((at.clone(), port)).get(), Status { client: seen, .. } if seen == client);
        }
        if let Some((_server, port, _)) = served(stage, Transport::Udp, version)? {
            expect!(stage.outside().udp_to((at.clone(), port)), Answer { client_seen, .. } if client_seen == client);
        }
    }
    Ok(())
}

fn from_the_host(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        stage.cold()?;
        answers(stage, stage.host(), &uplink(stage, version), version)?;
    }
    Ok(())
}

fn by_loopback(stage: &mut Stage) -> Result<()> {
    // On ::1 the kernel has no way to pass a connection on: there is no route_localnet for IPv6.
    stage.cold()?;
    answers(stage, stage.host(), &loopback(Version::V4), Version::V4)
}

fn from_a_peer(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            stage.cold()?;
            answers(stage, stage.node("netns2"), &uplink(stage, version), version)?;
        }
        Ok(())
    })
}

fn from_itself(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            stage.cold()?;
            answers(stage, stage.node("netns1"), &uplink(stage, version), version)?;
        }
        Ok(())
    })
}

fn from_another_bridge(stage: &mut Stage) -> Result<()> {
    stage.cold()?;
    answers(stage, stage.node("netns3"), &uplink(stage, Version::V4), Version::V4)
}

fn not_hijacked(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let Some((_published, port, _)) = served(stage, Transport::Tcp, version)? else { continue };
        let external = stage.external(version);
        let _elsewhere = stage.outside().serve_http((external.clone(), port))?;
        for from in [stage.node("netns2"), stage.node("netns1"), stage.host()] {
            stage.cold()?;
            expect!(from.http((external.clone(), port)).get(), Status { code: 200, server: "outside", .. });
        }
    }
    Ok(())
}

fn loopback_closed(stage: &mut Stage) -> Result<()> {
    let local = loopback(Version::V4);
    let host = stage.host();
    let server = host.serve_http((local.clone(), 7777))?;
    expect!(host.http((local.clone(), 7777)).get(), Status { code: 200, .. });
    let uplink_mac = host.links().list()?.into_iter().find(|link| link.name == "eth0").and_then(|link| link.mac);
    let bridge = stage.bridge_of(stage.node("netns1")).to_owned();
    let bridge_mac = host.links().list()?.into_iter().find(|link| link.name == bridge).and_then(|link| link.mac);
    for (attacker, device, mac) in [
        (stage.outside().clone(), "eth0".to_owned(), uplink_mac),
        (stage.node("netns1").clone(), stage.node("netns1").device().to_owned(), bridge_mac),
    ] {
        let Some(mac) = mac else { continue };
        // Forged, as an attacker with raw sockets can: its own kernel would keep 127.0.0.1 to itself.
        let injector = attacker.injector(&device)?;
        let way = netproof::forge::Way {
            source_mac: injector.mac(),
            destination_mac: mac,
            source: attacker.address(),
            destination: local.address,
        };
        let wire = attacker.tap(&device)?;
        injector.send(&netproof::forge::tcp_syn(way, 40000, 7777))?;
        expect!(wire.frames(filter::tcp_to_port(7777)), 1..);
        expect!(
            wire.frames(filter::tcp_from_port(7777))
                .before((&**host, if device == "eth0" { "eth0" } else { bridge.as_str() })),
            0
        );
    }
    drop(server);
    Ok(())
}

fn loopback_only(stage: &mut Stage) -> Result<()> {
    let Some((_server, port, _)) = served(stage, Transport::Tcp, Version::V4)? else { return Ok(()) };
    expect!(stage.host().http((loopback(Version::V4), port)).get(), Status { code: 200, server: "netns1", .. });
    let at = uplink(stage, Version::V4);
    for from in [stage.outside(), stage.node("netns2"), stage.node("netns1")] {
        stage.cold()?;
        expect!(from.tcp_to((at.clone(), port)), Refused | TimedOut | Unreachable { .. });
    }
    Ok(())
}

fn no_direct_way(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let gateway = uplink(stage, version).address;
        for node in stage.nodes() {
            let target = version.of(node);
            let prefix =
                node.prefixes().iter().find(|net| version.has(net.addr())).map(IpNet::trunc).expect("it has one");
            let way_in = Route { to: Destination::Prefix(prefix), via: Some(gateway), dev: None };
            let _server = node.serve_http(Endpoint::from((target.clone(), 7000)))?;
            expect!(stage.host().http((target.clone(), 7000)).get(), Status { code: 200, .. });
            stage.outside().add_route(&way_in)?;
            stage.cold()?;
            expect!(stage.outside().tcp_to((target.clone(), 7000)), TimedOut | Refused | Unreachable { .. });
            stage.outside().delete_route(&way_in)?;
        }
    }
    Ok(())
}

fn next_port_closed(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let Some((_server, port, _)) = served(stage, Transport::Tcp, version)? else { continue };
        let at = uplink(stage, version);
        expect!(stage.outside().tcp_to((at.clone(), port)), Connected { .. });
        expect!(stage.outside().tcp_to((at.clone(), port + 1)), Refused | TimedOut | Unreachable { .. });
    }
    Ok(())
}
