//! Probes that send and taps that listen, in labs: as a test that uses this crate reads.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use netproof::{
    Lab, Result, expect,
    filter::{
        arp_reply_from, arp_request_for, echo_reply_from, echo_request_to, incoming, ip_from, outgoing, udp_to_port,
    },
    forge,
};

/// An address on a bridge port never resolves: its ARP replies are delivered on the bridge.
///
///     host[veth1-0 10.20.30.40 -> br0] --- netns1
#[test]
fn replies_to_a_port_arrive_on_the_bridge() -> Result<()> {
    let lab = Lab::of("port-address")?;
    let (host, netns1) = (lab.host(), lab.node("netns1"));
    let (port, bridge, aside) = (host.tap("veth1-0")?, host.tap("br0")?, host.tap("veth2-0")?);
    expect!(host.ping(netns1).from_device("veth1-0"), NoReply);
    expect!(port.frames(arp_request_for(netns1).and(outgoing())), 1..);
    expect!(port.frames(arp_reply_from(netns1).and(incoming())), 1..);
    expect!(bridge.frames(arp_reply_from(netns1).and(incoming())), 1..);
    expect!(bridge.frames(arp_request_for(netns1)).before(netns1), 0);
    expect!(aside.frames(arp_reply_from(netns1)).before(netns1), 0);
    Ok(())
}

/// Peers talk through the bridge, and a third wire hears nothing of it once the bridge has learned.
///
///     netns1 --- [host: br0] --- netns2
#[test]
fn a_third_wire_hears_nothing() -> Result<()> {
    let lab = Lab::of("gateway-one-subnet")?;
    let (netns1, netns2, host) = (lab.node("netns1"), lab.node("netns2"), lab.host());
    expect!(netns1.ping(netns2), Reply { ttl: 64, seq: 1, .. });
    let (own, uplink) = (netns2.tap(netns2.device())?, host.tap("eth0")?);
    expect!(netns1.ping(netns2), Reply { ttl: 64, seq: 1, .. });
    expect!(own.frames(echo_request_to(netns2).and(ip_from(netns1))), 1..);
    expect!(own.frames(echo_reply_from(netns2).and(outgoing())), 1..);
    expect!(uplink.frames(echo_request_to(netns2)).before((&**host, "eth0")), 0);
    Ok(())
}

/// What goes in pieces is told by the first of them, in both IP versions; the others say only whose they are.
///
///     netns1 --- [host: br0] --- netns2 (UDP)
#[test]
fn a_first_fragment_says_what_it_carries() -> Result<()> {
    let lab = Lab::of("gateway-v6")?;
    let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    let (wire, v6) = (netns2.tap(netns2.device())?, netns2.at(netns2.v6().unwrap()));
    expect!(netns1.ping(netns2).size(3000).may_fragment(), Reply { size: 3000, .. });
    expect!(netns1.ping(&v6).size(3000).may_fragment(), Reply { size: 3000, .. });
    let _servers = [netns2.serve_udp((netns2, 7))?, netns2.serve_udp((v6.clone(), 7))?];
    expect!(netns1.udp_to((netns2, 7)).size(3000), Answer { .. });
    expect!(netns1.udp_to((v6.clone(), 7)).size(3000), Answer { .. });
    expect!(wire.frames(echo_request_to(netns2)).before(netns1), 1);
    expect!(wire.frames(echo_request_to(&v6)).before(netns1), 1);
    expect!(wire.frames(udp_to_port(7).and(ip_from(netns1))).before(netns1), 1);
    expect!(wire.frames(udp_to_port(7).and(!ip_from(netns1))).before(netns1), 1);
    Ok(())
}

/// Servers tell whom they saw: a peer by its own address.
///
///     netns1 --- [host: br0] --- netns2 (HTTP, UDP, DNS)
#[test]
fn servers_tell_whom_they_saw() -> Result<()> {
    let lab = Lab::of("gateway-one-subnet")?;
    let (netns1, netns2, host) = (lab.node("netns1"), lab.node("netns2"), lab.host());
    let http = netns2.serve_http((netns2, 80))?;
    let _udp = netns2.serve_udp((netns2, 7))?;
    let _dns = netns2.serve_dns((netns2, 53), [("one.test", netns1.address())])?;
    let one = netns1.address().to_string();
    expect!(netns1.http((netns2, 80)).get(), Status { code: 200, client, server: "netns2", .. } if client == one);
    expect!(netns1.udp_to((netns2, 7)).from_port(5000), Answer { client_seen, port_seen: 5000, .. } if client_seen == one);
    expect!(netns1.tcp_to((netns2, 81)), Refused);
    expect!(host.lookup("one.test").server(netns2), Address(address) if address == one);
    expect!(host.lookup("two.test").server(netns2), NoSuchName);
    assert_eq!(http.requests(), 1);
    Ok(())
}

/// A forged announcement moves an address: the next packet to it goes to the forger.
///
///     netns1 --- [host: br0] --- netns2 (says that it has netns1's address)
#[test]
fn a_forged_announcement_is_believed() -> Result<()> {
    let lab = Lab::of("gateway-one-subnet")?;
    let (netns1, netns2, host) = (lab.node("netns1"), lab.node("netns2"), lab.host());
    expect!(host.ping(netns1), Reply { .. });
    let forger = netns2.injector(netns2.device())?;
    let std::net::IpAddr::V4(stolen) = netns1.address() else { panic!("the lab has IPv4") };
    let wire = netns2.tap(netns2.device())?;
    forger.send(&forge::arp_announcement(forger.mac(), stolen))?;
    expect!(host.ping(netns1), NoReply);
    expect!(wire.frames(echo_request_to(netns1).and(incoming())), 1..);
    Ok(())
}

/// A bridge that forgets what it has learned floods until it has learned again: a conversation does not notice.
///
///     netns1 --- [host: br0] --- netns2
#[test]
fn a_conversation_goes_on() -> Result<()> {
    let lab = Lab::of("gateway-one-subnet")?;
    let talk = lab.node("netns1").talk_to(lab.node("netns2"))?;
    lab.host().flush_fdb("br0")?;
    expect!(talk.so_far(), Talked { lost: 0, .. });
    Ok(())
}
