//! Which addresses are translated, and which are not.

use super::*;

pub(super) fn outside_sees_uplink(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = stage.external(version);
        let _tcp = stage.outside().serve_http((at.clone(), 80))?;
        let _udp = stage.outside().serve_udp((at.clone(), 53))?;
        let expected = uplink(stage, version).address.to_string();
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.http((at.clone(), 80)).get(), Status { code: 200, client, .. } if client == expected);
            expect!(node.udp_to((at.clone(), 53)), Answer { client_seen, .. } if client_seen == expected);
            // Echo has no port, and is translated all the same.
            let wire = stage.outside().tap("eth0")?;
            expect!(node.ping(&at), Reply { .. });
            expect!(wire.frames(filter::echo_request().and(filter::ip_from(uplink(stage, version)))), 1..);
            let leaked = filter::echo_request().and(filter::ip_from(version.of(node)));
            expect!(wire.frames(leaked).before((&**stage.host(), "eth0")), 0);
        }
    }
    Ok(())
}

pub(super) fn any_brnf(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for version in stage.versions() {
            let at = stage.external(version);
            let _tcp = stage.outside().serve_http((at.clone(), 80))?;
            let _udp = stage.outside().serve_udp((at.clone(), 53))?;
            let expected = uplink(stage, version).address.to_string();
            for node in stage.nodes().iter().filter(|node| stage.gateway(node, version).is_some()) {
                stage.cold()?;
                expect!(node.ping(&at), Reply { ttl: 63, .. });
                expect!(node.http((at.clone(), 80)).get(), Status { code: 200, client, .. } if client == expected);
                expect!(node.udp_to((at.clone(), 53)), Answer { client_seen, .. } if client_seen == expected);
            }
        }
        Ok(())
    })
}

pub(super) fn one_source_port(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = stage.external(version);
        let _server = stage.outside().serve_udp((at.clone(), 7000))?;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2 {
            for node in stage.nodes() {
                let heard = expect!(node.udp_to((at.clone(), 7000)).from_port(5555), Answer { server: "outside", .. });
                if let netproof::probe::outcome::Heard::Answer { port_seen, .. } = heard.heard {
                    seen.insert(port_seen);
                }
            }
        }
        // The server can tell them apart: one flow each, and the second round went by the flows of the first.
        if seen.len() != stage.nodes().len() {
            let text = format!("{} nodes came from {} source ports: {seen:?}", stage.nodes().len(), seen.len());
            return Err(netproof::Error::ReadBack(text));
        }
    }
    Ok(())
}

pub(super) fn peers_see_own(stage: &mut Stage) -> Result<()> {
    stage.with_each_brnf(|stage| {
        for pair in stage.peers() {
            for target in pair.targets() {
                stage.cold()?;
                let version = Version::from(target.address);
                let own = version.of(&pair.from).address.to_string();
                let _tcp = pair.to.serve_http((target.clone(), 80))?;
                expect!(pair.from.http((target.clone(), 80)).get(), Status { code: 200, client, .. } if client == own);
                let _udp = pair.to.serve_udp((target.clone(), 53))?;
                expect!(pair.from.udp_to((target.clone(), 53)), Answer { client_seen, .. } if client_seen == own);
            }
        }
        Ok(())
    })
}

pub(super) fn client_preserved(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let client = stage.external(version).address.to_string();
        let (at, outside) = (uplink(stage, version), stage.outside());
        for rule in &stage.topology().nat.publish {
            let _server = serve(stage, rule, version)?;
            let to = (at.clone(), rule.port);
            match rule.protocol {
                Transport::Tcp => {
                    expect!(outside.http(to).get(), Status { client: seen, .. } if seen == client);
                }
                Transport::Udp => {
                    expect!(outside.udp_to(to), Answer { client_seen, .. } if client_seen == client);
                }
            }
        }
    }
    Ok(())
}

pub(super) fn refused(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let (at, outside) = (uplink(stage, version), stage.outside());
        stage.cold()?;
        // The way is there: what refuses is the node.
        answers(stage, outside, &at, version)?;
        for rule in &stage.topology().nat.publish {
            let node = stage.node(&rule.node);
            let wire = node.tap(node.device())?;
            let to = (at.clone(), rule.port);
            match rule.protocol {
                Transport::Tcp => {
                    expect!(outside.tcp_to(to), Refused);
                    expect!(wire.frames(filter::tcp_to_port(rule.node_port)), 1..);
                }
                Transport::Udp => {
                    expect!(outside.udp_to(to), Refused);
                    expect!(wire.frames(filter::udp_to_port(rule.node_port)), 1..);
                }
            }
        }
    }
    Ok(())
}

pub(super) fn not_hijacked(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let external = stage.external(version);
        for rule in &stage.topology().nat.publish {
            let _published = serve(stage, rule, version)?;
            let to = (external.clone(), rule.port);
            let _elsewhere = match rule.protocol {
                Transport::Tcp => stage.outside().serve_http(to.clone())?,
                Transport::Udp => stage.outside().serve_udp(to.clone())?,
            };
            for from in [stage.node("netns2"), stage.node("netns1"), stage.host()] {
                stage.cold()?;
                match rule.protocol {
                    Transport::Tcp => {
                        expect!(from.http(to.clone()).get(), Status { code: 200, server: "outside", .. });
                    }
                    Transport::Udp => {
                        expect!(from.udp_to(to.clone()), Answer { server: "outside", .. });
                    }
                }
            }
        }
    }
    Ok(())
}
