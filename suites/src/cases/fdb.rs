//! The forwarding database: learning, flooding, forwarding to one port.
//!
//! ```text
//! [netns1] --- [host: br0] --- [netns2]
//!                   \--------- observer
//! ```

use netproof::{
    Tap,
    forge::{self, Way},
};

use super::prelude::*;
use crate::stage::Pair;

pub(super) const SUITE: Suite = Suite {
    name: "fdb",
    about: "The bridge learns addresses, floods what it does not know, and sends what it knows to one port.",
    cases: &[
        Case {
            id: "fdb/addresses-are-learned-on-their-own-port",
            level: Must,
            claim: "After one exchange each node's MAC address is learned on its own port.",
            source: "article line 3; kernel selftest bridge learning_test",
            failing: "The bridge floods all traffic to every container.",
            on: &["pair", "host-route", "gateway-one-subnet", "gateway-v6", "internal", "isolated", "star"],
            start: Built,
            run: learned,
        },
        Case {
            id: "fdb/unknown-unicast-is-flooded-to-all-but-its-ingress",
            level: Must,
            claim: "A frame to a MAC address that nobody has learned leaves by every forwarding port but the one that it came in by.",
            source: "article line 4; kernel selftest bridge flood_test",
            failing: "A container that has not spoken yet cannot be reached.",
            on: &["pair", "gateway-one-subnet", "internal", "isolated"],
            start: Built,
            run: flooded,
        },
        Case {
            id: "fdb/multicast-reaches-every-node",
            level: Must,
            claim: "A datagram to a group of the link's own, as 224.0.0.251 is, reaches every other node of the bridge.",
            source: "RFC 1112 6.1; RFC 4541 2.1.2; RFC 6762",
            failing: "Containers do not find each other by multicast DNS.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "internal", "isolated"],
            start: Built,
            run: multicast,
        },
        Case {
            id: "fdb/known-unicast-reaches-its-port-alone",
            level: Must,
            claim: "A frame to a MAC address that was learned leaves by that port only.",
            source: "article line 4",
            failing: "Containers see each other's traffic.",
            on: &["pair", "gateway-one-subnet", "internal", "isolated"],
            start: Built,
            run: known,
        },
        Case {
            id: "fdb/no-frame-returns-to-its-ingress",
            level: Must,
            claim: "A broadcast comes back to nobody: the sender does not hear its own frame.",
            source: "article line 4; IEEE 802.1D; kernel bridge hairpin_mode",
            failing: "Nodes see their own frames come back: duplicate address detection fails, and loops arise.",
            on: &["pair", "gateway-one-subnet", "internal", "isolated"],
            start: Built,
            run: no_return,
        },
        Case {
            id: "fdb/idle-entries-age-out",
            level: Should,
            claim: "An entry that nothing refreshes ages out after the ageing time, not at once and not never.",
            source: "kernel selftest bridge learning_test; IEEE 802.1D 7.9.2",
            failing: "A MAC address that moved is sent to its old port for ever, or all traffic is flooded.",
            on: &["pair", "gateway-one-subnet"],
            start: Built,
            run: age_out,
        },
        Case {
            id: "fdb/a-port-that-is-gone-leaves-no-entry",
            level: Must,
            claim: "When a port goes, what was learned on it goes too.",
            source: "grout bridge_test; kernel br_fdb_delete_by_port",
            failing: "Traffic to a container that was replaced goes to a port that is not there.",
            on: &["pair", "gateway-one-subnet"],
            start: Built,
            run: gone_with_its_port,
        },
        Case {
            id: "fdb/no-address-roams-while-idle",
            level: Must,
            claim: "While every node speaks from where it is, no MAC address changes its port.",
            source: "moby#47146; `bridge monitor fdb`",
            failing: "Two nodes have one MAC address, or there is a loop.",
            on: &["pair", "gateway-one-subnet", "star"],
            start: Built,
            run: no_roaming,
        },
    ],
};

pub(super) fn learned(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { .. });
            let bridge = stage.bridge_of(&pair.from);
            for node in [&pair.from, &pair.to] {
                expect!(stage.host().fdb(bridge).port_of(node.mac()), Some(port) if port == node.port());
            }
        }
    }
    Ok(())
}

/// A further port of a bridge, with nobody behind it but an observer.
struct Observer {
    /// The port's name, in the host.
    port: String,
    /// The observer's end, in the host too.
    end: String,
}

impl Observer {
    fn of(host: &Node, bridge: &str) -> Result<Self> {
        let index = host.index(bridge)?;
        let (port, end) = (format!("np-port{index}"), format!("np-end{index}"));
        host.apply(link::Veth::new(&port, &end).master(index).request())?;
        host.apply(link::set_up(&end))?;
        expect!(host.link(&port), Some(Link { port_state: "forwarding", .. }));
        Ok(Self { port, end })
    }

    /// One for each bridge, with its tap.
    fn taps(stage: &Stage) -> Result<Vec<(String, Tap)>> {
        let host = stage.host();
        let tap = |bridge: &str| Ok((bridge.to_owned(), host.tap(&Self::of(host, bridge)?.end)?));
        stage.topology().bridges.iter().map(|bridge| tap(&bridge.name)).collect()
    }
}

fn flooded(stage: &mut Stage) -> Result<()> {
    for (bridge, observer) in Observer::taps(stage)? {
        for Pair { from, to, .. } in stage.peers().iter().filter(|pair| stage.bridge_of(&pair.from) == bridge) {
            stage.cold()?;
            let far = to.tap(to.device())?;
            let unknown = netproof::Mac([2, 0, 0, 0xaa, 0xbb, 0xcc]);
            let injector = from.injector(from.device())?;
            injector.send(&frame_to(unknown, from, to))?;
            let ours = || filter::to_mac(unknown).and(filter::from_mac(from.mac()));
            expect!(far.frames(ours()).before(from), 1);
            expect!(observer.frames(ours()).before(from), 1);
            observer.clear()?;
        }
    }
    Ok(())
}

fn multicast(stage: &mut Stage) -> Result<()> {
    for Pair { from, to, .. } in stage.peers() {
        let far = to.tap(to.device())?;
        for version in stage.versions() {
            let (group, group_mac): (std::net::IpAddr, _) = match version {
                Version::V4 => ([224, 0, 0, 251].into(), [1, 0, 0x5e, 0, 0, 0xfb]),
                Version::V6 => ([0xff02, 0, 0, 0, 0, 0, 0, 0xfb].into(), [0x33, 0x33, 0, 0, 0, 0xfb]),
            };
            let way = Way {
                source_mac: from.mac(),
                destination_mac: netproof::Mac(group_mac),
                source: version.of(&from).address,
                destination: group,
            };
            from.injector(from.device())?.send(&forge::udp(way, 5353, 5353, b"netproof"))?;
            let ours = filter::ip_to(group).and(filter::udp_to_port(5353)).and(filter::ip_from(version.of(&from)));
            expect!(far.frames(ours).before(&from), 1);
        }
    }
    Ok(())
}

fn known(stage: &mut Stage) -> Result<()> {
    for (bridge, observer) in Observer::taps(stage)? {
        for Pair { from, to, .. } in stage.peers().iter().filter(|pair| stage.bridge_of(&pair.from) == bridge) {
            stage.cold()?;
            expect!(from.ping(to), Reply { .. });
            observer.clear()?;
            expect!(from.ping(to), Reply { .. });
            expect!(observer.frames(filter::icmp_echo()).before(from), 0);
        }
    }
    Ok(())
}

fn no_return(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        let (from, to) = (&pair.from, &pair.to);
        let (own, far) = (from.tap(from.device())?, to.tap(to.device())?);
        let injector = from.injector(from.device())?;
        let ours = netproof::Mac([2, 0, 0, 0xaa, 0xbb, 0xcc]);
        let (std::net::IpAddr::V4(one), std::net::IpAddr::V4(other)) = (from.address(), to.address()) else { continue };
        injector.send(&forge::arp_request(ours, one, other))?;
        expect!(far.frames(filter::from_mac(ours)).before(from), 1);
        expect!(own.frames(filter::from_mac(ours).and(filter::incoming())).before(to), 0);
    }
    Ok(())
}

fn age_out(stage: &mut Stage) -> Result<()> {
    use netproof::link::BridgeOption;
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    let bridge = stage.bridge_of(netns1);
    stage.cold()?;
    expect!(netns1.ping(netns2), Reply { .. });
    expect!(host.fdb(bridge).port_of(netns1.mac()), Some(_));
    // In hundredths of a second; the kernel looks for old entries about once in that time.
    host.apply(link::set_bridge(bridge, host.index(bridge)?, BridgeOption::AgeingTime(100)))?;
    for node in [netns1, netns2] {
        // Silence: nothing refreshes the entry.
        node.apply(link::set_arp(node.device(), false))?;
        node.set_sysctl(&format!("net.ipv6.conf.{}.disable_ipv6", node.device()), "1")?;
    }
    expect!(host.fdb(bridge).port_of(netns1.mac()), None, within: std::time::Duration::from_secs(10));
    Ok(())
}

fn gone_with_its_port(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    let bridge = stage.bridge_of(stage.node("netns1")).to_owned();
    let observer = Observer::of(host, &bridge)?;
    let mac = netproof::Mac([2, 0, 0, 0xaa, 0xbb, 0xcc]);
    host.injector(&observer.end)?.send(&forge::arp_announcement(mac, [10, 20, 30, 77].into()))?;
    expect!(host.fdb(&bridge).port_of(mac), Some(port) if port == observer.port);
    host.apply(link::delete(&observer.port))?;
    expect!(host.fdb(&bridge).port_of(mac), None);
    Ok(())
}

fn no_roaming(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        expect!(pair.from.ping(&pair.to), Reply { .. });
    }
    for node in stage.nodes() {
        let bridge = stage.bridge_of(node);
        expect!(stage.host().fdb(bridge).port_of(node.mac()), Some(port) if port == node.port());
    }
    Ok(())
}

fn frame_to(mac: netproof::Mac, from: &Node, to: &Node) -> Vec<u8> {
    forge::udp(
        Way { source_mac: from.mac(), destination_mac: mac, source: from.address(), destination: to.address() },
        7,
        7,
        b"netproof",
    )
}
