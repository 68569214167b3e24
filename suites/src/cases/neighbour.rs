//! ARP and neighbour discovery: on which device, with which MAC address.
//!
//! ```text
//! [host: br0 10.20.0.1] --- [netns1] [netns2]
//! ```

use std::net::IpAddr;

use netproof::forge;

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "neighbour",
    about: "Neighbours resolve on the bridge, with the right MAC addresses, from a cold start.",
    cases: &[
        Case {
            id: "neighbour/no-address-on-a-port",
            level: Must,
            claim: "No bridge port has a global address, and no route leads to one.",
            source: "article lines 35-94",
            failing: "The host's traffic to a container leaves by a port, where no reply is ever delivered.",
            on: &[
                "pair",
                "host-route",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "isolated",
                "star",
            ],
            start: Built,
            run: no_address_on_a_port,
        },
        Case {
            id: "neighbour/the-host-reaches-nodes-from-a-cold-start",
            level: Must,
            claim: "With every neighbour forgotten, the host's plain ping to each node is answered.",
            source: "article line 98",
            failing: "The host reaches its containers only as long as an old neighbour entry lives.",
            on: &[
                "host-route",
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "internal",
                "internal-v6",
                "isolated",
                "mtu",
                "star",
            ],
            start: Built,
            run: cold_start,
        },
        Case {
            id: "neighbour/the-entry-is-on-the-bridge",
            level: Must,
            claim: "The host's neighbour entry for a node is on the bridge, with the node's MAC address, and on no port.",
            source: "article lines 72-79",
            failing: "ARP is asked where its reply is not delivered.",
            on: &["host-route", "gateway", "gateway-one-subnet", "gateway-v6", "internal", "isolated"],
            start: Built,
            run: entry_on_the_bridge,
        },
        Case {
            id: "neighbour/the-gateway-answers-with-the-bridges-mac",
            level: Must,
            claim: "A node's neighbour entry for its gateway has the bridge's MAC address.",
            source: "article lines 109-112; kernel net/ipv4/arp.c",
            failing: "Something else answers in the gateway's place.",
            on: &["gateway", "gateway-two-subnets", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: bridges_mac,
        },
        Case {
            id: "neighbour/solicitations-cross-the-bridge",
            level: Must,
            claim: "A neighbour solicitation, which is multicast, reaches the other node through the bridge.",
            source: "kernel selftest bridge_mld; RFC 4861",
            failing: "IPv6 between containers works only after they have spoken by another way.",
            on: &["gateway-v6", "internal-v6"],
            start: Built,
            run: solicitations,
        },
        Case {
            id: "neighbour/nobody-answers-for-another",
            level: Must,
            claim: "A question for an address that nobody on the bridge has is answered by nobody.",
            source: "kernel proxy_arp; ip-sysctl.rst arp_ignore",
            failing: "The host draws traffic to itself that is meant for somebody else.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "internal", "internal-v6"],
            start: Built,
            run: nobody_answers,
        },
        Case {
            id: "neighbour/the-uplink-does-not-answer-for-nodes",
            level: Should,
            claim: "Who asks on the uplink for a node's address is not answered; who asks for the uplink's own is.",
            source: "kernel Documentation/networking/ip-sysctl.rst, proxy_arp; RFC 1027",
            failing: "The host draws traffic of its network to its containers, which others may have the addresses of.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "internal", "isolated"],
            start: Built,
            run: no_proxy,
        },
        Case {
            id: "neighbour/the-uplink-does-not-answer-for-the-bridge",
            level: May,
            claim: "Who asks on the uplink for the bridge's address is not answered; who asks for the uplink's own is.",
            source: "kernel Documentation/networking/ip-sysctl.rst, arp_ignore; RFC 1122 3.3.4.2; RFC 5227",
            failing: "A machine of the host's network that has the address itself, as many bridges have 172.17.0.1, is told that it is a duplicate.",
            on: &[
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "internal",
                "isolated",
            ],
            start: Built,
            run: answers_for_itself,
        },
    ],
};

fn no_address_on_a_port(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for node in stage.nodes() {
        for port in node.interfaces().iter().filter_map(|interface| interface.port.as_deref()) {
            let is_global = |address: &netproof::state::Address| {
                address.dev == port && !matches!(address.address, IpNet::V6(net) if net.addr().is_unicast_link_local())
            };
            expect!(host.addresses(), list if !list.iter().any(is_global));
            let leads_there = |route: &netproof::state::Route| {
                let link_local = net("fe80::/64");
                route.dev.as_deref() == Some(port) && route.to != netproof::topology::Destination::Prefix(link_local)
            };
            expect!(host.routes(), list if !list.iter().any(leads_there));
        }
    }
    Ok(())
}

fn cold_start(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in stage.nodes() {
            stage.cold()?;
            expect!(stage.host().ping(version.of(node)), Reply { ttl: 64, .. });
        }
    }
    Ok(())
}

fn entry_on_the_bridge(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for version in stage.versions() {
        for node in stage.nodes() {
            stage.cold()?;
            let target = version.of(node);
            expect!(host.ping(&target), Reply { .. });
            expect!(host.neighbour(&target).on(stage.bridge_of(node)).mac(), Some(mac) if mac == node.mac());
            expect!(host.neighbour(&target).on(node.port()), Absent);
        }
    }
    Ok(())
}

fn bridges_mac(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in stage.nodes() {
            let Some(gateway) = stage.gateway(node, version) else { continue };
            let bridge = stage.bridge_of(node);
            let mac =
                stage.host().links().list()?.into_iter().find(|link| link.name == bridge).and_then(|link| link.mac);
            stage.cold()?;
            expect!(node.ping(stage.host().at(gateway)), Reply { ttl: 64, .. });
            expect!(node.neighbour(gateway).mac(), seen if seen == mac);
        }
    }
    Ok(())
}

fn solicitations(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        stage.cold()?;
        let target = Version::V6.of(&pair.to);
        let wire = pair.to.tap(pair.to.device())?;
        expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
        expect!(wire.frames(filter::neighbour_solicitation_for(&target)), 1..);
        expect!(pair.from.neighbour(&target).mac(), Some(mac) if mac == pair.to.mac());
    }
    Ok(())
}

fn nobody_answers(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    for version in stage.versions() {
        let nobody = Target::from(match version {
            Version::V4 => IpAddr::from([10, 20, 30, 222]),
            Version::V6 => IpAddr::from([0xfd00, 0x20, 0, 0, 0, 0, 0x30, 0x222]),
        });
        for (from, to) in [(netns1, netns2), (netns2, netns1)] {
            stage.cold()?;
            let (wire, peer) = (from.tap(from.device())?, version.of(to));
            expect!(from.ping(&peer), Reply { .. });
            expect!(wire.frames(filter::neighbour_reply_from(&peer)), 1..);
            expect!(from.tcp_to((nobody.clone(), 9)), TimedOut | LocalError { .. } | Unreachable { .. });
            expect!(wire.frames(filter::neighbour_reply_from(&nobody)).before(to), 0);
        }
    }
    Ok(())
}

fn no_proxy(stage: &mut Stage) -> Result<()> {
    let addresses = stage.nodes().iter().flat_map(|node| node.prefixes()).map(IpNet::addr);
    answers_for_itself_alone(stage, addresses.collect())
}

fn answers_for_itself(stage: &mut Stage) -> Result<()> {
    let bridges: Vec<IpAddr> =
        stage.topology().bridges.iter().flat_map(|bridge| &bridge.addresses).map(IpNet::addr).collect();
    if bridges.is_empty() {
        return Err(netproof::Error::Unsupported("no bridge has an address: the gateway's is elsewhere".into()));
    }
    answers_for_itself_alone(stage, bridges)
}

/// Whoever asks on the uplink for the uplink's own address is answered; for these he is not.
fn answers_for_itself_alone(stage: &Stage, others: Vec<IpAddr>) -> Result<()> {
    let (host, outside) = (stage.host(), stage.outside());
    let injector = outside.injector("eth0")?;
    let (asker, uplink_wire) = (outside.tap("eth0")?, host.tap("eth0")?);
    let ask = |address: IpAddr| {
        let frame = match (stage.external(address.into()).address, address) {
            (IpAddr::V4(own), IpAddr::V4(asked)) => forge::arp_request(injector.mac(), own, asked),
            (IpAddr::V6(own), IpAddr::V6(asked)) => forge::neighbour_solicitation(injector.mac(), own, asked),
            _ => unreachable!("both are of one version"),
        };
        injector.send(&frame)
    };
    for address in others {
        let own = uplink(stage, address.into());
        ask(own.address)?;
        expect!(asker.frames(filter::neighbour_reply_from(&own)), 1..);
        ask(address)?;
        expect!(uplink_wire.frames(filter::neighbour_request_for(address)), 1..);
        expect!(asker.frames(filter::neighbour_reply_from(address)).before((&**host, "eth0")), 0);
    }
    Ok(())
}
