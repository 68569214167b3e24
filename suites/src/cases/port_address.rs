//! The host's addresses on the bridge ports: the article's first, failing attempt.
//!
//! ```text
//! [host] veth1-0 10.20.30.40 -> br0 --- veth1-1 10.20.30.41 [netns1]
//! ```

use super::prelude::*;

pub(super) const SUITE: Suite = Suite {
    name: "port-address",
    about: "The host's addresses are on the bridge ports, where ARP replies never arrive.",
    cases: &[
        Case {
            id: "port-address/stays-incomplete",
            level: Must,
            claim: "From an address on a bridge port the host cannot reach the node: the neighbour entry on the port never resolves.",
            source: "article lines 48-53 and 72-74",
            failing: "The trap that the topology shows is not there: the ports are not what they should be.",
            on: &["port-address"],
            start: Built,
            run: stays_incomplete,
        },
        Case {
            id: "port-address/the-reply-arrives-on-the-port-and-is-delivered-on-the-bridge",
            level: Must,
            claim: "The ARP reply is seen on the port and on the bridge, but ARP asked on the port, so no entry takes it.",
            source: "article lines 61-75; kernel net/ipv4/arp.c, neighbour tables are per device",
            failing: "Replies are lost somewhere else than the explanation says.",
            on: &["port-address"],
            start: Built,
            run: reply_on_the_bridge,
        },
        Case {
            id: "port-address/requests-repeat-on-the-port-alone",
            level: Must,
            claim: "The request is asked again and again by the same port: the bridge sees replies only, the other port nothing.",
            source: "article lines 64-70",
            failing: "Frames of the host leave by a port that they do not belong to.",
            on: &["port-address"],
            start: Built,
            run: requests_repeat,
        },
        Case {
            id: "port-address/the-route-leads-to-the-port",
            level: Must,
            claim: "It is the connected route of the port's address that sends the traffic to the port.",
            source: "article lines 83-90",
            failing: "The cause of the trap is another one than the explanation says.",
            on: &["port-address"],
            start: Built,
            run: route_to_the_port,
        },
        Case {
            id: "port-address/the-bridge-as-device-works",
            level: Must,
            claim: "Bound to the bridge, with the uplink's address as source, the host's ping is answered, and the entry is on the bridge.",
            source: "article lines 54-60 and 78-82; holds with rp_filter=0 on the bridge only",
            failing: "The bridge itself does not connect the host to its nodes.",
            on: &["port-address"],
            start: Built,
            run: by_the_bridge,
        },
        Case {
            id: "port-address/reverse-path-filtering-drops-the-reply-on-the-bridge",
            level: Must,
            claim: "With rp_filter 1 or 2 the reply to a ping by the bridge is dropped and counted, though the neighbour entry resolves.",
            source: "kernel Documentation/networking/ip-sysctl.rst, rp_filter; a bridge without address is not loose",
            failing: "A host with the distribution's usual rp_filter behaves otherwise than this suite takes it to.",
            on: &["port-address"],
            start: Built,
            run: reverse_path,
        },
        Case {
            id: "port-address/a-cached-neighbour-hides-the-fault",
            level: Must,
            claim: "An entry on the port that was known before hides the trap for plain pings until it is flushed.",
            source: "article line 48 does not say it; kernel net/core/neighbour.c",
            failing: "A test that does not start cold would pass where a user's traffic fails.",
            on: &["port-address"],
            start: Built,
            run: a_cached_neighbour,
        },
        Case {
            id: "port-address/the-route-by-the-bridge-repairs-it",
            level: Must,
            claim: "With the port's address gone and a route by the bridge in its place, the host reaches the node; the other node is as before.",
            source: "article lines 92-104",
            failing: "The repair that the article gives does not work.",
            on: &["port-address"],
            start: Built,
            run: repaired,
        },
        Case {
            id: "port-address/the-route-cannot-be-added-before-the-address-goes",
            level: Must,
            claim: "Deleting the port's address takes its connected route along; adding the bridge's route first is refused as there already.",
            source: "article lines 94-96: the order matters",
            failing: "Two routes to one subnet can stand side by side, and the first one wins.",
            on: &["port-address"],
            start: Built,
            run: order_matters,
        },
    ],
};

fn stays_incomplete(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        stage.cold()?;
        expect!(stage.host().ping(node).from_device(node.port()), NoReply);
        expect!(stage.host().neighbour(node).on(node.port()), Incomplete | Failed | Absent);
        expect!(stage.host().neighbour(node).on(stage.bridge_of(node)), Absent);
    }
    Ok(())
}

fn reply_on_the_bridge(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        stage.cold()?;
        let port = stage.host().tap(node.port())?;
        let bridge = stage.host().tap(stage.bridge_of(node))?;
        expect!(stage.host().ping(node).from_device(node.port()), NoReply);
        expect!(port.frames(filter::arp_reply_from(node)), 1..);
        expect!(bridge.frames(filter::arp_reply_from(node).and(filter::incoming())), 1..);
    }
    Ok(())
}

fn requests_repeat(stage: &mut Stage) -> Result<()> {
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    for (node, other) in [(netns1, netns2), (netns2, netns1)] {
        stage.cold()?;
        let port = stage.host().tap(node.port())?;
        let bridge = stage.host().tap(stage.bridge_of(node))?;
        let other_port = stage.host().tap(other.port())?;
        expect!(stage.host().ping(node).from_device(node.port()), NoReply);
        expect!(port.frames(filter::arp_request_for(node)), 2..);
        expect!(bridge.frames(filter::arp_request_for(node)).before(node), 0);
        expect!(other_port.frames(filter::arp_request_for(node)).before(node), 0);
    }
    Ok(())
}

fn route_to_the_port(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        let source = node.interfaces()[0].port_addresses[0].addr().to_string();
        expect!(stage.host().route_to(node), Route { dev, via: "", src, .. } if dev == node.port() && src == source);
    }
    Ok(())
}

fn by_the_bridge(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        stage.cold()?;
        let bridge = stage.bridge_of(node);
        expect!(stage.host().ping(node).from_device(bridge), Reply { ttl: 64, .. });
        expect!(stage.host().neighbour(node).on(bridge).mac(), Some(mac) if mac == node.mac());
    }
    Ok(())
}

fn reverse_path(stage: &mut Stage) -> Result<()> {
    for value in ["1", "2"] {
        stage.set_rp_filter(value)?;
        given(format!("rp_filter={value}"), || dropped_by_reverse_path(stage))?;
    }
    stage.set_rp_filter("0")
}

fn dropped_by_reverse_path(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for node in stage.nodes() {
        stage.cold()?;
        let before = host.counter("TcpExtIPReversePathFilter").read()?;
        let bridge = stage.bridge_of(node);
        expect!(host.ping(node).from_device(bridge), NoReply);
        expect!(host.counter("TcpExtIPReversePathFilter"), count if count > before);
        expect!(host.neighbour(node).on(bridge), Reachable | Stale | Delay | Probing);
    }
    Ok(())
}

fn a_cached_neighbour(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for node in stage.nodes() {
        stage.cold()?;
        host.apply(netproof::neigh::set_permanent(host.index(node.port())?, node.address(), node.mac()))?;
        expect!(host.ping(node), Reply { ttl: 64, .. });
        host.apply(netproof::neigh::delete(host.index(node.port())?, node.address()))?;
        stage.cold()?;
        expect!(host.ping(node), NoReply);
    }
    Ok(())
}

fn repaired(stage: &mut Stage) -> Result<()> {
    let (host, netns1, netns2) = (stage.host(), stage.node("netns1"), stage.node("netns2"));
    let (bridge, port) = (stage.bridge_of(netns1), netns1.port());
    let address = netns1.interfaces()[0].port_addresses[0];
    host.apply(addr::delete(host.index(port)?, address))?;
    host.add_route(&on_link(&address.trunc().to_string(), bridge))?;
    stage.cold()?;
    expect!(host.route_to(netns1), Route { dev, .. } if dev == bridge);
    expect!(host.ping(netns1), Reply { ttl: 64, .. });
    stage.cold()?;
    expect!(netns1.ping(stage.host().at(uplink_address(stage))), Reply { ttl: 64, .. });
    expect!(host.ping(netns2), NoReply);
    Ok(())
}

fn order_matters(stage: &mut Stage) -> Result<()> {
    let (host, netns1) = (stage.host(), stage.node("netns1"));
    let address = netns1.interfaces()[0].port_addresses[0];
    let by_bridge = on_link(&address.trunc().to_string(), stage.bridge_of(netns1));
    let refused = host.add_route(&by_bridge);
    assert!(
        matches!(&refused, Err(netproof::Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EEXIST)),
        "a second route to {} was to be refused as there already, and the kernel said: {refused:?}",
        address.trunc()
    );
    host.apply(addr::delete(host.index(netns1.port())?, address))?;
    expect!(host.route_to(netns1), Route { dev: "eth0", .. });
    host.add_route(&by_bridge)
}

fn uplink_address(stage: &Stage) -> std::net::IpAddr {
    let uplink = stage.topology().host.uplink.as_ref().expect("the topology has an uplink");
    uplink.addresses[0].addr()
}
