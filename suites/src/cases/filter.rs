//! Others' firewall rules: what a real host has before a network comes.
//!
//! ```text
//! outside --- eth0 [host: FORWARD drops; br0] --- [netns1] [netns2]
//! ```

use netproof::{firewall::Family, topology::Transport};

use super::prelude::*;

mod others;

pub(super) use self::others::foreign_bridge;

const NETWORKS: &[&str] = &["gateway-one-subnet", "gateway-v6"];

pub(super) const SUITE: Suite = Suite {
    name: "filter",
    about: "The network works beside others' firewall rules, and leaves them alone.",
    cases: &[
        Case {
            id: "filter/peers-talk-under-a-forward-policy-of-drop",
            level: Must,
            claim: "With a FORWARD chain whose policy is drop, there from before, peers reach each other with bridged frames shown to the firewall or not.",
            source: "containernetworking/cni#430; moby#48411",
            failing: "On a host with a firewall, containers of one network cannot talk.",
            on: NETWORKS,
            start: Prepared,
            run: peers_under_drop,
        },
        Case {
            id: "filter/the-way-out-passes-a-forward-policy-of-drop",
            level: Should,
            claim: "With a FORWARD chain whose policy is drop, there from before, nodes reach the outside.",
            source: "moby TestDropInForwardChain",
            failing: "On a host with a firewall, containers have no way out.",
            on: NETWORKS,
            start: Prepared,
            run: outside_under_drop,
        },
        Case {
            id: "filter/the-way-out-passes-a-forward-rule-that-drops",
            level: Should,
            claim: "With a rule at the end of the FORWARD chain that drops everything, there from before, nodes reach the outside.",
            source: "moby TestDropInForwardChain",
            failing: "On a host with a firewall, containers have no way out.",
            on: NETWORKS,
            start: Prepared,
            run: outside_under_rule,
        },
        Case {
            id: "filter/a-published-port-passes-a-forward-policy-of-drop",
            level: Should,
            claim: "With a FORWARD chain whose policy is drop, there from before, a published port answers from outside.",
            source: "moby#48411; netavark and CNI leave it closed",
            failing: "On a host with a firewall, published services cannot be reached.",
            on: &["publish", "publish-v6"],
            start: Prepared,
            run: published_under_drop,
        },
        Case {
            id: "filter/others-rules-are-as-before",
            level: Must,
            claim: "Rules and chains that others have made are the same after `down` as before `up`.",
            source: "netavark test \"only loopback adapter\"; moby#39439",
            failing: "A host's own firewall is damaged by a network that came and went.",
            on: &["gateway-one-subnet", "publish"],
            start: Prepared,
            run: rules_as_before,
        },
        Case {
            id: "filter/another-bridge-works-as-before",
            level: Should,
            claim: "Nodes on a bridge that somebody else has made reach each other while the network is up, bridged frames shown to the firewall.",
            source: "moby#39439, moby#52612",
            failing: "Virtual machines on the same host lose their network.",
            on: &["gateway-one-subnet", "publish", "isolated"],
            start: Prepared,
            run: others::another_bridge,
        },
        Case {
            id: "filter/bridge-netfilter-is-left-as-it-is",
            level: Should,
            claim: "The network comes up without changing bridge-nf-call-iptables or -ip6tables.",
            source: "moby#48492",
            failing: "Other bridges of the host are suddenly filtered, or not any more.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated-ports", "internal"],
            start: Prepared,
            run: others::brnf_untouched,
        },
        Case {
            id: "filter/what-others-route-passes-as-before",
            level: Must,
            claim: "Where the host routes for another network from before, that network's nodes reach the outside, and the outside them, with their own addresses, while the network is up and after.",
            source: "moby#39439, moby#52612",
            failing: "Installing a container engine cuts off the virtual machines and VPNs that the host routes for.",
            on: &["gateway-one-subnet", "publish", "isolated", "internal"],
            start: Prepared,
            run: others::routed_as_before,
        },
        Case {
            id: "filter/what-others-drop-stays-dropped",
            level: Must,
            claim: "What a FORWARD policy of drop, there from before, keeps from another network and from unpublished ports is kept from them while the network is up.",
            source: "a host's firewall is opened for the network that was asked for, and for no other",
            failing: "Starting a container opens the host's firewall for everybody.",
            on: &["gateway-one-subnet", "publish"],
            start: Prepared,
            run: others::dropped_as_before,
        },
        Case {
            id: "filter/the-hosts-own-settings-are-as-before",
            level: Should,
            claim: "While the network is up the uplink has its addresses, flags and sysctls, the host its default route, and sysctls for all devices, bridges and connection tracking are as before, but for forwarding.",
            source: "moby#48492; kernel Documentation/networking/ip-sysctl.rst",
            failing: "A host loses its guard against spoofing, its IPv6, or its idle connections when a container starts.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated-ports", "internal"],
            start: Prepared,
            run: others::settings_as_before,
        },
    ],
};

/// Somebody else's forward chains: with this policy, and this rule where there is one.
pub(super) fn foreign_chains(stage: &Stage, policy: &str, rule: Option<&str>) -> Result<()> {
    let mut batch = stage.host().firewall().batch();
    for family in [Family::Ip, Family::Ip6] {
        batch.add_table(family, "filter");
        let hook = format!("type filter hook forward priority filter; policy {policy};");
        batch.add_chain(family, "filter", "FORWARD", &hook)?;
        if let Some(rule) = rule {
            batch.add_rule(family, "filter", "FORWARD", rule)?;
        }
    }
    batch.commit()
}

/// Shows that the foreign chain does drop: a node of somebody else's, on a bridge that nobody opens it for.
fn up_under(stage: &mut Stage, policy: &str, rule: Option<&str>) -> Result<()> {
    foreign_chains(stage, policy, rule)?;
    stage.up()
}

fn peers_under_drop(stage: &mut Stage) -> Result<()> {
    up_under(stage, "drop", None)?;
    stage.with_each_brnf(|stage| {
        for pair in stage.peers() {
            for target in pair.targets() {
                stage.cold()?;
                expect!(pair.from.ping(&target), Reply { ttl: 64, .. });
                talks(&pair.from, &pair.to, &target)?;
            }
        }
        Ok(())
    })?;
    // The chain is in force all the while: without the network's own rules it drops.
    stage.set_brnf("1")?;
    foreign_is_in_force(stage)
}

/// On a bridge that the network knows nothing of, the foreign chain drops.
fn foreign_is_in_force(stage: &mut Stage) -> Result<()> {
    let (one, other) = foreign_bridge(stage)?;
    expect!(one.ping(&other), NoReply);
    Ok(())
}

fn outside_under_drop(stage: &mut Stage) -> Result<()> {
    up_under(stage, "drop", None)?;
    reach_outside(stage)
}

fn outside_under_rule(stage: &mut Stage) -> Result<()> {
    up_under(stage, "accept", Some("counter drop"))?;
    reach_outside(stage)
}

fn reach_outside(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.ping(stage.external(version)), Reply { ttl: 63, .. });
            talks(node, stage.outside(), &stage.external(version))?;
        }
    }
    Ok(())
}

fn published_under_drop(stage: &mut Stage) -> Result<()> {
    up_under(stage, "drop", None)?;
    for rule in &stage.topology().nat.publish {
        let node = stage.node(&rule.node);
        for version in stage.versions() {
            let (to, at) = ((version.of(node), rule.node_port), (uplink(stage, version), rule.port));
            stage.cold()?;
            if rule.protocol == Transport::Tcp {
                let _server = node.serve_http(to)?;
                expect!(stage.outside().http(at).get(), Status { code: 200, .. });
            } else {
                let _server = node.serve_udp(to)?;
                expect!(stage.outside().udp_to(at), Answer { .. });
            }
        }
    }
    Ok(())
}

fn rules_as_before(stage: &mut Stage) -> Result<()> {
    foreign_chains(stage, "drop", Some("iifname \"tun0\" accept"))?;
    let before = stage.host().firewall().ruleset()?.to_string();
    stage.up()?;
    let mut during = stage.host().firewall().ruleset()?;
    during.tables.retain(|table| table.name == "filter");
    stage.down()?;
    let mut after = stage.host().firewall().ruleset()?;
    after.tables.retain(|table| table.name == "filter");
    let after = after.to_string();
    if before == after {
        return Ok(());
    }
    Err(netproof::Error::ReadBack(format!("others' rules are not as before\nbefore:\n{before}\nafter:\n{after}")))
}
