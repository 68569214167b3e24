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
        stage.cold()?;
        answers(stage, stage.host(), &uplink(stage, version), version)?;
    }
    Ok(())
}

pub(super) fn by_loopback(stage: &mut Stage) -> Result<()> {
    // On ::1 the kernel has no way to pass a connection on: there is no route_localnet for IPv6.
    stage.cold()?;
    answers(stage, stage.host(), &loopback(Version::V4), Version::V4)
}

pub(super) fn from_a_peer(stage: &mut Stage) -> Result<()> {
    from_node(stage, "netns2")
}

pub(super) fn from_itself(stage: &mut Stage) -> Result<()> {
    from_node(stage, "netns1")
}

fn from_node(stage: &mut Stage, name: &str) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            stage.cold()?;
            answers(stage, stage.node(name), &uplink(stage, version), version)?;
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
    const BYTES: usize = 300_000;
    for version in stage.versions() {
        let at = uplink(stage, version);
        for rule in published(stage, Transport::Tcp) {
            let _server = serve(stage, &rule, version)?;
            expect!(stage.outside().http((at.clone(), rule.port)).body_of(BYTES), Status { code: 200, .. });
        }
        let external = stage.external(version);
        let _outside = stage.outside().serve_http((external.clone(), 80))?;
        for node in stage.nodes() {
            expect!(node.http((external.clone(), 80)).body_of(BYTES), Status { code: 200, .. });
        }
    }
    Ok(())
}

pub(super) fn hosts_own(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = uplink(stage, version);
        let _server = stage.host().serve_http((at.clone(), 2222))?;
        stage.cold()?;
        expect!(stage.outside().http((at.clone(), 2222)).get(), Status { code: 200, server: "host", .. });
        for node in stage.nodes() {
            let gateway = stage.host().at(stage.gateway(node, version).expect("each node has a gateway"));
            let _server = stage.host().serve_http((gateway.clone(), 2223))?;
            expect!(node.http((gateway.clone(), 2223)).get(), Status { code: 200, server: "host", .. });
        }
    }
    Ok(())
}
