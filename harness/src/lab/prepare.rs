//! What stands before an implementation comes: namespaces, sysctls, the uplink.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use super::{Lab, Node};
use crate::{
    Deadline, Error, Namespace, Result, Topology, addr,
    implement::{Shared, Site},
    link::{self, Veth},
    route,
    sysctl::Sysctl,
    topology::{Destination, Interface, Route, Uplink},
    world::limits,
};

/// The interface index of the uplink in `host`: high, so that it is in nobody's way. The low ones are those of the tunnels
/// that a namespace is born with where their modules are loaded (`tunl0`, `sit0`).
const UPLINK: u32 = 1000;

pub(super) fn lab(topology: Topology, implementation: Option<Shared>, shown: Vec<PathBuf>) -> Result<Lab> {
    static READY: OnceLock<()> = OnceLock::new();
    if READY.get().is_none() {
        crate::enter::ready()?;
        READY.get_or_init(|| ());
    }
    limits::raise();
    let mut names = vec!["host"];
    names.extend(topology.nodes.iter().map(|node| node.name.as_str()));
    names.extend(topology.host.uplink.as_ref().map(|_| "outside"));
    let mut namespaces = Namespace::fresh(&names, &SYSCTLS)?;
    let outside = topology.host.uplink.as_ref().and_then(|_| namespaces.pop());
    let host = namespaces.remove(0);
    host.apply(link::set_up("lo"))?;
    let outside = match (&topology.host.uplink, outside) {
        (Some(uplink), Some(outside)) => Some(self::uplink(uplink, &host, outside)?),
        _ => None,
    };
    // What stands already, so that nothing of the host's changes by `up` but through it.
    host.quicken()?;
    let behind = outside.as_ref().map(|outside| (**outside).clone());
    let of_nodes = topology.nodes.iter().zip(&namespaces);
    let nodes = of_nodes.map(|(node, namespace)| Node::new(namespace.clone(), &node.interfaces)).collect();
    let folders = implementation.iter().flat_map(|builder| builder.folders()).chain(shown).collect();
    let site = Site::new(host.clone(), namespaces, behind, folders);
    let stands = Topology { nodes: Vec::new(), bridges: Vec::new(), ..topology.clone() };
    let host = Node::bare(host).as_host(&stands);
    Ok(Lab { implementation, asked: topology, stands, is_up: false, site, host, outside, nodes, others: Vec::new() })
}

/// A namespace as a node's is before `up`.
pub(super) fn node(name: &str) -> Result<Namespace> {
    let made = Namespace::fresh(&[name], &SYSCTLS)?;
    made.into_iter().next().ok_or_else(|| Error::Usage("one name makes one namespace".into()))
}

/// The veth between `host` and `outside`, addressed at both ends, and the host's default routes.
fn uplink(uplink: &Uplink, host: &Namespace, outside: Namespace) -> Result<Node> {
    let veth = Veth::new(&uplink.interface, "eth0").index(UPLINK).peer_in(&outside).peer_index(UPLINK);
    let veth = uplink.mtu.iter().fold(veth, |veth, mtu| veth.mtu(*mtu));
    host.apply(veth.request())?;
    let gateways = uplink.gateways.iter().map(|gateway| {
        let of = |net: &&ipnet::IpNet| net.contains(gateway);
        let prefix_len = uplink.addresses.iter().find(of).map_or(32, ipnet::IpNet::prefix_len);
        ipnet::IpNet::new_assert(*gateway, prefix_len)
    });
    let gateways: Vec<ipnet::IpNet> = gateways.collect();
    let inside = gateways.iter().map(|address| addr::add(UPLINK, *address));
    outside.apply_all([link::set_up("lo"), link::set_up("eth0")].into_iter().chain(inside))?;
    let addresses = uplink.addresses.iter().map(|address| addr::add(UPLINK, *address));
    let routes = uplink.gateways.iter().map(|gateway| {
        let default = Route { to: Destination::Default, via: Some(*gateway), dev: None };
        route::add(&default, Some(UPLINK))
    });
    host.apply_all(addresses.chain(routes))?;
    for (namespace, name) in [(host, uplink.interface.as_str()), (&outside, "eth0")] {
        namespace.settle(&[name])?;
        // Usable once the node is in the multicast group in which the address is asked for. With `nodad` the kernel
        // says at once that it is, and joins the group later.
        if gateways.iter().any(|address| address.addr().is_ipv6()) {
            namespace.settle_addresses()?;
        }
    }
    let interface = Interface { name: "eth0".into(), addresses: gateways, mtu: uplink.mtu, ..Interface::default() };
    Ok(Node::new(outside, &[interface]))
}

/// Waits until the host's links of these names are gone.
pub(super) fn wait_gone(host: &Namespace, links: &BTreeSet<String>) -> Result<()> {
    // Kernels before 5.16 look through every tracked flow of the machine for each namespace that goes.
    let deadline = Deadline::after(Duration::from_secs(30));
    let mut changes = host.link_changes()?;
    while links.iter().any(|link| host.link_message(link).is_ok()) {
        if !changes.wait(deadline)? {
            let doing = format!("waiting for {} to go", links.iter().cloned().collect::<Vec<_>>().join(", "));
            let doing = doing + " (is a clone of its node, a tap or a server of it still held?)";
            return Err(Error::Timeout { doing, namespace: host.name().into(), after: deadline.length() });
        }
    }
    Ok(())
}

/// Every sysctl that a claim depends on: a fresh namespace takes some from the machine's own, and none is left to that.
static SYSCTLS: LazyLock<Vec<Sysctl>> = LazyLock::new(|| {
    let all = |folder: &'static str, own: &[Setting], of_devices: &[Setting]| {
        let every = ["conf/all/", "conf/default/"].map(|conf| of_devices.iter().map(move |setting| (conf, *setting)));
        let own = own.iter().map(|setting| ("", *setting));
        let named = own.chain(every.into_iter().flatten());
        named.map(|(at, (name, value))| Sysctl { folder, path: format!("{at}{name}"), value }).collect::<Vec<_>>()
    };
    [all("ipv4", IPV4, IPV4_CONF), all("ipv6", IPV6, IPV6_CONF), all("bridge", BRIDGE, &[])]
        .into_iter()
        .flatten()
        .collect()
});

type Setting = (&'static str, &'static str);

const IPV4: &[Setting] = &[
    ("icmp_echo_ignore_all", "0"),
    ("icmp_errors_use_inbound_ifaddr", "0"),
    // No ICMP error is held back: a claim about the second one would depend on the first.
    ("icmp_ratemask", "0"),
    ("ping_group_range", "0 0"),
    ("ip_default_ttl", "64"),
    // Reports of groups and questions for routers, which nobody hears, would each take an entry of the neighbour
    // tables, which all namespaces of the machine share: where they are full, the kernel forgets failed neighbours.
    ("igmp_link_local_mcast_reports", "0"),
];

const IPV4_CONF: &[Setting] = &[
    ("forwarding", "0"),
    ("rp_filter", "0"),
    ("arp_ignore", "0"),
    ("arp_announce", "0"),
    ("arp_filter", "0"),
    ("arp_accept", "0"),
    ("arp_notify", "0"),
    ("proxy_arp", "0"),
    ("accept_local", "0"),
    ("route_localnet", "0"),
    ("accept_redirects", "1"),
    ("send_redirects", "1"),
    ("shared_media", "1"),
    ("drop_gratuitous_arp", "0"),
    ("ignore_routes_with_linkdown", "0"),
    // As the kernel has it: systemd sets 1 on the machine, and so in every namespace.
    ("promote_secondaries", "0"),
];

const IPV6: &[Setting] = &[
    // As the kernel has it: 1 here would take from an interface the right to turn it off.
    ("conf/all/accept_dad", "0"),
    ("conf/default/accept_dad", "1"),
    ("icmp/echo_ignore_all", "0"),
    // As `icmp_ratemask` of IPv4.
    ("icmp/ratelimit", "0"),
];

const IPV6_CONF: &[Setting] = &[
    ("forwarding", "0"),
    ("disable_ipv6", "0"),
    ("accept_ra", "1"),
    ("accept_redirects", "1"),
    // No address waits a second for duplicates: a claim about their detection asks for it.
    ("dad_transmits", "0"),
    // The first probe goes out at once instead of after a random part of a second.
    ("router_solicitation_delay", "0"),
    ("router_solicitations", "0"),
];

const BRIDGE: &[Setting] =
    &[("bridge-nf-call-iptables", "0"), ("bridge-nf-call-ip6tables", "0"), ("bridge-nf-call-arptables", "0")];
