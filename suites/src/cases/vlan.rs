//! VLANs on a bridge that filters them.
//!
//! ```text
//! [netns1 10] [netns2 10] --- [host: br0 vlan_filtering] --- [netns3 20] [netns4 20]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "vlan",
    about: "Nodes in one VLAN reach each other, and nobody else.",
    cases: &[
        Case {
            id: "vlan/one-vlan-is-one-network",
            level: May,
            claim: "Nodes in the same VLAN reach each other from a cold start.",
            source: "kernel selftest bridge_vlan_aware; netavark test 630",
            failing: "Containers of one VLAN cannot talk to each other.",
            on: &["vlan"],
            start: Built,
            run: one_network,
        },
        Case {
            id: "vlan/two-vlans-are-apart",
            level: May,
            claim: "Nodes in different VLANs of one bridge do not reach each other, though they are in one subnet.",
            source: "kernel selftest no_forwarding; IEEE 802.1Q",
            failing: "VLANs that are meant to be apart are one network.",
            on: &["vlan"],
            start: Built,
            run: apart,
        },
    ],
};

fn one_network(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        stage.cold()?;
        expect!(pair.from.ping(&pair.to), Reply { ttl: 64, .. });
    }
    Ok(())
}

fn apart(stage: &mut Stage) -> Result<()> {
    for (from, to) in [("netns1", "netns3"), ("netns3", "netns1"), ("netns2", "netns4")] {
        stage.cold()?;
        expect!(stage.node(from).ping(stage.node(to)), NoReply);
    }
    Ok(())
}
