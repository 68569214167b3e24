//! What others may remember of an address: forgotten, or told anew.

use std::net::{IpAddr, SocketAddr};

use crate::{
    Result, Topology, forge,
    implement::Site,
    neigh,
    topology::{Publish, Transport},
};

/// Forgets the host's neighbour entries for the nodes' addresses: the next node with such an address has another MAC.
pub(super) fn forget_neighbours(site: &Site, topology: &Topology) -> Result<()> {
    let gone: Vec<IpAddr> = addresses(topology);
    for entry in site.host.neighbours().list()? {
        if gone.contains(&entry.address) {
            // It may have gone by itself since it was listed.
            site.host.apply(neigh::delete(site.host.index(&entry.dev)?, entry.address).may_be_gone())?;
        }
    }
    Ok(())
}

/// Forgets the tracked flows to published ports: a flow that goes on would keep going to the old node.
pub(super) fn forget_flows(site: &Site, publish: &[Publish], topology: &Topology) -> Result<()> {
    if publish.is_empty() {
        return Ok(());
    }
    let nodes = addresses(topology);
    let own: Vec<IpAddr> = site.host.addresses().list()?.iter().map(|own| own.address.addr()).collect();
    site.host.delete_flows(|flow| {
        let to: SocketAddr = flow.original.1;
        // A connection that somebody has to such a port elsewhere is theirs.
        let is_published = own.contains(&to.ip())
            && publish.iter().any(|rule| rule.port == to.port() && number(rule.protocol) == flow.protocol);
        is_published || nodes.contains(&flow.reply.0.ip()) && flow.reply.0.ip() != to.ip()
    })
}

/// Tells every neighbour of the nodes' MAC addresses: gratuitous ARP (RFC 5227), unsolicited advertisements (RFC 4861 7.2.6).
pub(super) fn announce(site: &Site, topology: &Topology) -> Result<()> {
    for node in &topology.nodes {
        let namespace = site.node(&node.name)?;
        for interface in node.interfaces.iter().filter(|interface| interface.bridge.is_some()) {
            let injector = namespace.injector(&interface.name)?;
            for address in interface.addresses.iter().map(ipnet::IpNet::addr) {
                let frame = match address {
                    IpAddr::V4(address) => forge::arp_announcement(injector.mac(), address),
                    IpAddr::V6(address) => forge::neighbour_advertisement(injector.mac(), address),
                };
                injector.send(&frame)?;
            }
        }
    }
    Ok(())
}

fn addresses(topology: &Topology) -> Vec<IpAddr> {
    let interfaces = topology.nodes.iter().flat_map(|node| &node.interfaces);
    interfaces.flat_map(|interface| &interface.addresses).map(ipnet::IpNet::addr).collect()
}

fn number(protocol: Transport) -> u8 {
    match protocol {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}
