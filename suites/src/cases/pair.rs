//! Two nodes in two subnets on one bridge: what the article builds first.
//!
//! ```text
//! [netns1] veth1-1 10.20.30.41 --- veth1-0 [host: br0] veth2-0 --- 10.20.20.41 veth2-1 [netns2]
//! ```

use netproof::{Result, expect, link};

use crate::{
    case::{Case, Level::Must, Start::Built},
    stage::{Stage, Version},
    suite::Suite,
};

pub(super) const SUITE: Suite = Suite {
    name: "pair",
    about: "Two nodes in two subnets on one bridge, with on-link default routes.",
    cases: &[
        Case {
            id: "pair/peers-reach-each-other",
            level: Must,
            claim: "Nodes on one bridge answer each other's pings, from a cold start in either direction, with a TTL of 64.",
            source: "article lines 44-47; kernel selftest bridge_vlan_unaware",
            failing: "Containers of one network cannot talk to each other.",
            on: &["pair", "port-address", "host-route", "gateway-one-subnet", "direct", "mesh", "star"],
            start: Built,
            run: peers_reach_each_other,
        },
        Case {
            id: "pair/a-bridge-left-down-carries-nothing",
            level: Must,
            claim: "While the bridge is down its ports are disabled and no frame passes; once it is up, the ports forward at once.",
            source: "article line 38 as printed never brings br0 up; kernel net/bridge/br_stp_if.c",
            failing: "The bridge is not what connects the nodes, or it waits before it forwards.",
            on: &["pair"],
            start: Built,
            run: a_bridge_left_down,
        },
    ],
};

fn peers_reach_each_other(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
        }
    }
    Ok(())
}

fn a_bridge_left_down(stage: &mut Stage) -> Result<()> {
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    let bridge = stage.bridge_of(netns1);
    host.apply(link::set_down(bridge))?;
    expect!(host.link(netns1.port()), Some(Link { port_state: "disabled", .. }));
    stage.cold()?;
    expect!(netns1.ping(netns2), NoReply);
    host.apply(link::set_up(bridge))?;
    expect!(host.link(netns1.port()), Some(Link { port_state: "forwarding", .. }));
    expect!(netns1.ping(Version::V4.of(netns2)), Reply { ttl: 64, .. });
    Ok(())
}
