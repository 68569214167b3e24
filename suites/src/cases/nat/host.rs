//! What the host itself serves and asks for, and what comes back to its nodes, beside all that is translated.

use super::*;

pub(super) fn own_services(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let at = uplink(stage, version);
        stage.cold()?;
        talks(stage.outside(), stage.host(), &at)?;
        for node in stage.nodes() {
            let bridge = stage.topology().bridge(stage.bridge_of(node)).expect("a node's bridge is the topology's");
            let on_bridge = bridge.addresses.iter().map(IpNet::addr).find(|address| version.has(*address));
            // Where the bridge has none the gateway is elsewhere.
            let Some(gateway) = on_bridge.or_else(|| stage.gateway(node, version)) else { continue };
            talks(node, stage.host(), &stage.host().at(gateway))?;
        }
    }
    Ok(())
}

pub(super) fn own_traffic(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let (host, outside) = (stage.host(), stage.outside());
        let (own, external) = (uplink(stage, version), stage.external(version));
        stage.cold()?;
        expect!(outside.ping(&own), Reply { ttl: 64, .. });
        expect!(host.ping(&external), Reply { ttl: 64, .. });
        talks(host, outside, &external)?;
        // An error is an answer, too: nobody serves this one.
        expect!(host.udp_to((external, 9)), Refused);
    }
    Ok(())
}

pub(super) fn errors_come_back(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let external = stage.external(version);
        for node in stage.nodes() {
            stage.cold()?;
            expect!(node.ping(&external), Reply { .. });
            let wire = stage.outside().tap("eth0")?;
            expect!(node.udp_to((external.clone(), 9)), Refused);
            expect!(wire.frames(filter::udp_to_port(9)), 1..);
        }
    }
    Ok(())
}

pub(super) fn another_address(stage: &mut Stage) -> Result<()> {
    let (host, outside) = (stage.host(), stage.outside());
    let (external, now) = (stage.external(Version::V4), net("192.0.2.7/24"));
    let _server = outside.serve_udp((external.clone(), 53))?;
    let leaves_as = |address: IpAddr| {
        let expected = address.to_string();
        for node in stage.nodes() {
            let node = node.udp_to((external.clone(), 53)).from_port(5555);
            expect!(node, Answer { client_seen, .. } if client_seen == expected);
        }
    };
    leaves_as(uplink(stage, Version::V4).address);
    // As a DHCP client does it: the old one goes, the new one comes, and the default route with it.
    let (eth0, gateway) = (host.index("eth0")?, external.address);
    let old = stage.topology().host.uplink.as_ref().expect("it has an uplink").addresses[0];
    host.apply_all([addr::delete(eth0, old), addr::add(eth0, now)])?;
    drop_defaults(host, Version::V4)?;
    host.add_route(&default_via(gateway))?;
    stage.cold()?;
    leaves_as(now.addr());
    Ok(())
}
