//! Published ports from everywhere, and what must stay reachable beside them.

use super::*;

pub(super) fn from_outside(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            stage.cold()?;
            answers(stage, stage.outside(), &uplink(stage, version), version)?;
        }
        Ok(())
    })
}

pub(super) fn from_the_host(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        for rule in &stage.topology().nat.publish {
            let _server = serve(stage, rule, version)?;
            let gateway = stage.gateway(stage.node(&rule.node), version).map(Target::from);
            for at in [uplink(stage, version)].iter().chain(&gateway) {
                stage.cold()?;
                asked(stage.host(), at, rule);
            }
        }
    }
    Ok(())
}

pub(super) fn by_loopback(stage: &mut Stage) -> Result<()> {
    // On ::1 the kernel has no way to pass a connection on: there is no route_localnet for IPv6.
    stage.cold()?;
    answers(stage, stage.host(), &loopback(Version::V4), Version::V4)
}

pub(super) fn from_a_peer(stage: &mut Stage) -> Result<()> {
    let home = |stage: &Stage, name: &str| stage.bridge_of(stage.node(name)).to_owned();
    from_nodes(stage, |stage, from, rule| from.name() != rule.node && stage.bridge_of(from) == home(stage, &rule.node))
}

pub(super) fn from_itself(stage: &mut Stage) -> Result<()> {
    from_nodes(stage, |_, from, rule| from.name() == rule.node)
}

/// Asks at the uplink's address, and at the gateway's: both are the host's.
fn from_nodes(stage: &mut Stage, asks: impl Fn(&Stage, &Node, &Publish) -> bool) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            for rule in &stage.topology().nat.publish {
                let _server = serve(stage, rule, version)?;
                for from in stage.nodes().iter().filter(|from| asks(stage, from, rule)) {
                    let gateway = stage.gateway(from, version).map(|gateway| stage.host().at(gateway));
                    for at in [uplink(stage, version)].iter().chain(&gateway) {
                        stage.cold()?;
                        asked(from, at, rule);
                    }
                }
            }
        }
        Ok(())
    })
}

pub(super) fn from_another_bridge(stage: &mut Stage) -> Result<()> {
    let at = uplink(stage, Version::V4);
    for rule in published(stage, Transport::Tcp) {
        let _server = serve(stage, &rule, Version::V4)?;
        let home = stage.bridge_of(stage.node(&rule.node));
        for from in stage.nodes().iter().filter(|from| stage.bridge_of(from) != home) {
            stage.cold()?;
            expect!(from.http((at.clone(), rule.port)).get(), Status { code: 200, server, .. } if server == rule.node);
        }
    }
    Ok(())
}

pub(super) fn any_rp_filter(stage: &mut Stage) -> Result<()> {
    stage.with_each_rp_filter(|stage| {
        for version in stage.versions() {
            for from in [stage.outside(), stage.node("netns2"), stage.node("netns1")] {
                stage.cold()?;
                answers(stage, from, &uplink(stage, version), version)?;
            }
        }
        Ok(())
    })
}

pub(super) fn large_answer(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = uplink(stage, version);
        for rule in &stage.topology().nat.publish {
            let _server = serve(stage, rule, version)?;
            large(stage.outside(), &at, rule.port, rule.protocol);
        }
        let external = stage.external(version);
        let _tcp = stage.outside().serve_http((external.clone(), 80))?;
        let _udp = stage.outside().serve_udp((external.clone(), 53))?;
        for node in stage.nodes() {
            large(node, &external, 80, Transport::Tcp);
            large(node, &external, 53, Transport::Udp);
        }
    }
    Ok(())
}

/// More than one packet by TCP, and one of nearly the MTU by UDP.
fn large(from: &Node, at: &Target, port: u16, transport: Transport) {
    let to = (at.clone(), port);
    if transport == Transport::Tcp {
        expect!(from.http(to).body_of(300_000), Status { code: 200, .. });
    } else {
        expect!(from.udp_to(to).size(1_400), Answer { .. });
    }
}
