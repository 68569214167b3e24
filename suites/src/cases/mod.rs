//! The claims themselves, one file for each suite.

use crate::suite::Suite;

mod fdb;
mod filter;
mod forwarding;
mod gateway;
mod host_route;
mod ipv6;
mod isolation;
mod knock;
mod lifecycle;
mod links;
mod mac_mtu;
mod nat;
mod neighbour;
mod pair;
mod port_address;
mod protocol;
mod resolver;
mod routes;
mod unguarded;
mod veth;
mod vlan;

/// Every suite: the article's topologies in its order, then one for each subject.
pub const ALL: &[Suite] = &[
    veth::SUITE,
    pair::SUITE,
    port_address::SUITE,
    host_route::SUITE,
    gateway::SUITE,
    links::SUITE,
    fdb::SUITE,
    neighbour::SUITE,
    routes::SUITE,
    forwarding::SUITE,
    protocol::SUITE,
    nat::SUITE,
    filter::SUITE,
    isolation::SUITE,
    mac_mtu::SUITE,
    ipv6::SUITE,
    resolver::SUITE,
    lifecycle::SUITE,
    vlan::SUITE,
];

/// What every file of cases uses.
mod prelude {
    pub(super) use netproof::{IpNet, Node, Result, Target, addr, expect, filter, given, link};

    pub(super) use crate::{
        case::{
            Case,
            Level::{May, Must, Should},
            Start::{Built, Prepared, Unclaimed},
        },
        stage::{Stage, Version},
        suite::Suite,
    };

    pub(super) use super::{
        knock::{by_the_host, is_heard, knock, knocks, to_the_host},
        unguarded::unguarded,
    };

    /// Every topology whose nodes are on a bridge.
    pub(super) const BRIDGED: &[&str] = &[
        "pair",
        "port-address",
        "host-route",
        "gateway",
        "gateway-two-subnets",
        "gateway-one-subnet",
        "gateway-v6",
        "internal",
        "isolated",
        "two-networks",
        "mtu",
        "star",
    ];

    /// A prefix written in a case.
    pub(super) fn net(text: &str) -> IpNet {
        text.parse().expect("a case's own prefixes are well-formed")
    }

    /// The links that nobody made: `lo`, and where their modules are loaded tunnels that nobody can delete (`tunl0`, `sit0`;
    /// `net.core.fb_tunnels_only_for_init_net`).
    pub(super) fn born_links() -> Result<Vec<String>> {
        let links = netproof::Namespace::new("fresh")?.links().list()?;
        Ok(links.into_iter().map(|link| link.name).collect())
    }

    /// A route written in a case: where to, and by which device.
    pub(super) fn on_link(to: &str, dev: &str) -> netproof::topology::Route {
        let to = if to == "default" {
            netproof::topology::Destination::Default
        } else {
            netproof::topology::Destination::Prefix(net(to))
        };
        netproof::topology::Route { to, via: None, dev: Some(dev.into()) }
    }

    /// A default route written in a case, via a gateway.
    pub(super) fn default_via(gateway: std::net::IpAddr) -> netproof::topology::Route {
        netproof::topology::Route { to: netproof::topology::Destination::Default, via: Some(gateway), dev: None }
    }

    /// The host's address on the uplink, of this IP version.
    pub(super) fn uplink(lab: &netproof::Lab, version: Version) -> Target {
        let uplink = lab.topology().host.uplink.as_ref().expect("the topology has an uplink");
        let address = uplink.addresses.iter().map(IpNet::addr).find(|address| version.has(*address));
        lab.host().at(address.expect("the uplink has an address of the nodes' version"))
    }

    /// The first bridge's address of this IP version.
    pub(super) fn bridge_address(lab: &netproof::Lab, version: Version) -> std::net::IpAddr {
        let mut addresses = lab.topology().bridges[0].addresses.iter().map(IpNet::addr);
        let found = addresses.find(|address| version.has(*address));
        found.expect("the bridge has an address of each of the nodes' versions")
    }

    /// The way into a node's subnet from outside: by the host's address on the uplink.
    pub(super) fn way_in(lab: &netproof::Lab, node: &Node, version: Version) -> netproof::topology::Route {
        let prefix = node.prefixes().iter().find(|net| version.has(net.addr())).map(IpNet::trunc);
        netproof::topology::Route {
            to: netproof::topology::Destination::Prefix(prefix.expect("the node has an address of this version")),
            via: Some(uplink(lab, version).address),
            dev: None,
        }
    }

    /// HTTP and UDP, from one to a server at an address of the other's: what lets pings pass may let nothing else.
    pub(super) fn talks(from: &Node, to: &Node, at: &Target) -> Result<()> {
        // Ports that no engine serves itself, as some do DNS on the host.
        let (tcp, udp) = ((at.clone(), 2222), (at.clone(), 2223));
        let (_tcp, _udp) = (to.serve_http(tcp.clone())?, to.serve_udp(udp.clone())?);
        expect!(from.http(tcp).get(), Status { code: 200, server, .. } if server == to.name());
        expect!(from.udp_to(udp), Answer { server, .. } if server == to.name());
        Ok(())
    }

    /// The sysctl by which the host forwards packets of this IP version.
    pub(super) fn forwarding(version: Version) -> &'static str {
        if version == Version::V4 { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" }
    }

    /// The MAC address of a link.
    pub(super) fn mac_of(node: &Node, link: &str) -> Result<netproof::Mac> {
        let found = node.link(link).read()?.and_then(|link| link.mac);
        found.ok_or_else(|| netproof::Error::Usage(format!("{link} in {} has no MAC address", node.name())))
    }

    /// Waits until a link takes router advertisements: once it has a link-local address, which it makes after it is up.
    pub(super) fn has_link_local(node: &netproof::Namespace, dev: &str) {
        expect!(node.addresses(), list if list.iter().any(|own| own.dev == dev && own.address.to_string().starts_with("fe80:") && !own.tentative));
    }

    /// Takes away the default routes of a node, of one IP version.
    pub(super) fn drop_defaults(node: &Node, version: Version) -> Result<()> {
        for route in node.routes().list()? {
            if route.v6 == (version == Version::V6) && route.to == netproof::topology::Destination::Default {
                let v6_default = net("::/0");
                let to = if route.v6 { netproof::topology::Destination::Prefix(v6_default) } else { route.to };
                node.delete_route(&netproof::topology::Route { to, via: route.via, dev: route.dev })?;
            }
        }
        Ok(())
    }
}
