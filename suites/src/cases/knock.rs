//! Knocks: what asks for another's services, put on the wire by itself, so that nobody waits for an answer that is not to come.

use std::net::IpAddr;

use netproof::{
    Filter, Injector, Lab, Mac, Node, Result, expect, filter,
    forge::{self, Way},
    probe::tap::Tap,
};

use super::prelude::mac_of;

/// The way from a node to an address beyond its first interface's bridge, by the host.
pub(super) fn by_the_host(lab: &Lab, from: &Node, source: IpAddr, destination: IpAddr) -> Result<Way> {
    let bridge = from.interfaces().first().and_then(|first| first.bridge.as_deref());
    to_the_host(lab.host(), bridge.expect("it is on a bridge"), from.mac(), source, destination)
}

/// The way to an address by the host's device on the same wire.
pub(super) fn to_the_host(
    host: &Node,
    device: &str,
    source_mac: Mac,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Way> {
    Ok(Way { source_mac, destination_mac: mac_of(host, device)?, source, destination })
}

/// Sends a TCP segment and a datagram to this port.
pub(super) fn knock(injector: &Injector, way: Way, port: u16) -> Result<()> {
    const FROM: u16 = 40_000;
    injector.send(&forge::tcp_syn(way, FROM, port))?;
    injector.send(&forge::udp(way, FROM, port, b"netproof"))
}

/// Knocks at this port that come in, whoever's address they have by then.
pub(super) fn knocks(port: u16) -> Filter {
    filter::tcp_to_port(port).or(filter::udp_to_port(port)).and(filter::incoming())
}

/// That a knock at this port gets to a tap, by TCP and by UDP.
pub(super) fn is_heard(tap: &Tap, port: u16) {
    expect!(tap.frames(filter::tcp_to_port(port).and(filter::incoming())), 1..);
    expect!(tap.frames(filter::udp_to_port(port).and(filter::incoming())), 1..);
}
