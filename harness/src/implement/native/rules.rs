//! The rules themselves, as text: what is said here is what `nft list table inet netproof` shows.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    Topology,
    firewall::Family,
    topology::{Bridge, Interface, Publish, Transport},
};

/// A chain of ours: its family, its name, where it is hooked in, and its rules.
pub(super) type Chain = (Family, &'static str, &'static str, Vec<String>);

/// Every chain that the topology needs, but that for ARP; one without rules is not made.
pub(super) fn all(topology: &Topology) -> Vec<Chain> {
    let (dnat, masquerade) = (publish(topology), masquerade(topology));
    // Before Linux 4.18, replies are translated back only where both NAT hooks are registered.
    let dnat = if dnat.is_empty() && !masquerade.is_empty() { vec!["counter".to_owned()] } else { dnat };
    let output = publish(topology);
    vec![
        (Family::Inet, "raw", "type filter hook prerouting priority raw; policy accept;", martians(topology)),
        (Family::Inet, "prerouting", "type nat hook prerouting priority dstnat; policy accept;", dnat),
        (Family::Inet, "output", "type nat hook output priority dstnat; policy accept;", output),
        (Family::Inet, "postrouting", "type nat hook postrouting priority srcnat; policy accept;", masquerade),
        (Family::Inet, "forward", "type filter hook forward priority filter; policy accept;", forward(topology)),
        (Family::Inet, "input", "type filter hook input priority filter; policy accept;", input(topology)),
        (Family::Bridge, "spoof", "type filter hook prerouting priority dstnat; policy accept;", spoof(topology)),
    ]
}

/// The chain for ARP: a bridge's address is nobody's business on other links, where somebody else may have it.
pub(super) fn for_arp(topology: &Topology) -> Chain {
    let mut texts = Vec::new();
    for bridge in &topology.bridges {
        for address in bridge.addresses.iter().map(IpNet::addr).filter(IpAddr::is_ipv4) {
            texts.push(format!("iifname != \"{}\" arp daddr ip {address} drop", bridge.name));
        }
    }
    (Family::Arp, "input", "type filter hook input priority filter; policy accept;", texts)
}

/// What must pass others' forward chains, without its verdict.
pub(super) fn passes(topology: &Topology) -> Vec<(Family, String)> {
    let mut passes = Vec::new();
    for bridge in topology.bridges.iter() {
        let name = &bridge.name;
        for family in versions(bridge) {
            // Bridged frames are seen by the firewall where bridge-nf-call-iptables is 1.
            passes.push((family, format!("iifname \"{name}\" oifname \"{name}\"")));
            if bridge.internal || !topology.host.forwarding {
                continue;
            }
            passes.push((family, format!("oifname \"{name}\" ct state established,related")));
            passes.push((family, format!("oifname \"{name}\" ct status dnat")));
            if let Some(uplink) = &topology.host.uplink {
                passes.push((family, format!("iifname \"{name}\" oifname \"{}\"", uplink.interface)));
            }
            for other in topology.bridges.iter().filter(|other| other.name != bridge.name) {
                if !bridge.isolated && !other.isolated && !other.internal {
                    passes.push((family, format!("iifname \"{name}\" oifname \"{}\"", other.name)));
                }
            }
        }
    }
    passes
}

fn versions(bridge: &Bridge) -> Vec<Family> {
    let has =
        |v4: bool| bridge.addresses.is_empty() && v4 || bridge.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
    [(true, Family::Ip), (false, Family::Ip6)]
        .into_iter()
        .filter(|(v4, _)| has(*v4))
        .map(|(_, family)| family)
        .collect()
}

/// Who leaves by the uplink takes its address; so does who comes back to where it came from.
fn masquerade(topology: &Topology) -> Vec<String> {
    let mut texts = Vec::new();
    for rule in &topology.nat.masquerade {
        texts.push(format!("{} saddr {} oifname \"{}\" masquerade", version(&rule.source), rule.source, rule.out));
    }
    for (node, address, publish) in targets(topology) {
        let ip = if address.is_ipv4() { "ip" } else { "ip6" };
        let (transport, port) = (transport(publish.protocol), publish.node_port);
        // Who asks from the same bridge, the node itself too, would be answered directly, by somebody whom it did not
        // ask: the answer has to come back this way.
        for net in bridge_of(node).and_then(|name| topology.bridge(name)).iter().flat_map(|bridge| &bridge.addresses) {
            if net.contains(&address) {
                let net = net.trunc();
                texts.push(format!(
                    "{ip} saddr {net} {ip} daddr {address} {transport} dport {port} ct status dnat masquerade"
                ));
            }
        }
        // The host by its loopback address: 127.0.0.1 is nobody that the node could answer.
        if let Some(bridge) = bridge_of(node).filter(|_| address.is_ipv4()) {
            texts.push(format!(
                "ip saddr 127.0.0.0/8 oifname \"{bridge}\" ip daddr {address} {transport} dport {port} masquerade"
            ));
        }
    }
    texts
}

/// Published ports: only what is for the host itself, so that no connection to elsewhere is drawn in.
fn publish(topology: &Topology) -> Vec<String> {
    targets(topology)
        .into_iter()
        .filter_map(|(_, address, publish)| {
            let at = match publish.host_address {
                Some(host) if host.is_ipv4() != address.is_ipv4() => return None,
                Some(host) => format!("{} daddr {host}", if host.is_ipv4() { "ip" } else { "ip6" }),
                None if address.is_ipv4() => "meta nfproto ipv4 fib daddr type local".into(),
                // On ::1 a connection cannot be passed on: the kernel has no route_localnet for IPv6.
                None => "meta nfproto ipv6 ip6 daddr != ::1 fib daddr type local".into(),
            };
            let (ip, to) = match address {
                IpAddr::V4(address) => ("ip", format!("{address}:{}", publish.node_port)),
                IpAddr::V6(address) => ("ip6", format!("[{address}]:{}", publish.node_port)),
            };
            Some(format!("{at} {} dport {} dnat {ip} to {to}", transport(publish.protocol), publish.port))
        })
        .collect()
}

/// Each published port with each address of its node, and the interface that has it.
fn targets(topology: &Topology) -> Vec<(&Interface, IpAddr, &Publish)> {
    let mut all = Vec::new();
    for publish in &topology.nat.publish {
        let Some(first) = topology.node(&publish.node).and_then(|node| node.interfaces.first()) else { continue };
        let mut seen = [false; 2];
        for net in &first.addresses {
            // The first of each IP version.
            let version = usize::from(net.addr().is_ipv6());
            if !std::mem::replace(&mut seen[version], true) {
                all.push((first, net.addr(), publish));
            }
        }
    }
    all
}

/// Nobody but the host itself may speak to its loopback addresses, which route_localnet would let in (CVE-2020-8558).
fn martians(topology: &Topology) -> Vec<String> {
    if targets(topology).iter().all(|(_, address, _)| address.is_ipv6()) {
        return Vec::new();
    }
    vec!["iifname != \"lo\" ip daddr 127.0.0.0/8 drop".into()]
}

fn forward(topology: &Topology) -> Vec<String> {
    let mut texts = Vec::new();
    let uplink = topology.host.uplink.as_ref().map(|uplink| &uplink.interface);
    for bridge in &topology.bridges {
        let name = &bridge.name;
        if bridge.isolate_ports {
            // The ports are kept apart on the bridge; here it is the way through the gateway that is closed.
            texts.push(format!("iifname \"{name}\" oifname \"{name}\" drop"));
        }
        if bridge.internal {
            texts.push(format!("iifname \"{name}\" oifname != \"{name}\" drop"));
            texts.push(format!("oifname \"{name}\" iifname != \"{name}\" drop"));
            continue;
        }
        if bridge.isolated {
            texts.extend(apart(topology, bridge));
        }
        let has_nat = topology
            .nat
            .masquerade
            .iter()
            .any(|rule| bridge.addresses.iter().any(|net| rule.source.contains(&net.addr())));
        if let Some(uplink) = uplink.filter(|_| has_nat) {
            // From outside only what was asked for, or published: the nodes' own addresses are no way in.
            texts.push(format!("iifname \"{uplink}\" oifname \"{name}\" ct state established,related accept"));
            texts.push(format!("iifname \"{uplink}\" oifname \"{name}\" ct status dnat accept"));
            texts.push(format!("iifname \"{uplink}\" oifname \"{name}\" drop"));
        }
    }
    texts
}

/// Between an isolated bridge and every other nothing passes, but for published ports.
fn apart(topology: &Topology, bridge: &Bridge) -> Vec<String> {
    let name = &bridge.name;
    let others = topology.bridges.iter().filter(|other| other.name != bridge.name);
    let has_publish = !topology.nat.publish.is_empty();
    others
        .flat_map(|other| {
            let there = format!("iifname \"{name}\" oifname \"{}\"", other.name);
            // Of another that is isolated, too, the way back is closed with its own rules.
            let back = (!other.isolated).then(|| format!("iifname \"{}\" oifname \"{name}\"", other.name));
            [there].into_iter().chain(back).flat_map(|way| {
                let published = has_publish.then(|| {
                    [format!("{way} ct status dnat accept"), format!("{way} ct state established,related accept")]
                });
                published.into_iter().flatten().chain([format!("{way} drop")]).collect::<Vec<_>>()
            })
        })
        .collect()
}

/// The host takes no router advertisement from a node.
fn input(topology: &Topology) -> Vec<String> {
    let from = |bridge: &Bridge| format!("iifname \"{}\" icmpv6 type nd-router-advert drop", bridge.name);
    topology.bridges.iter().map(from).collect()
}

/// A node sends from its own MAC address and its own addresses only.
fn spoof(topology: &Topology) -> Vec<String> {
    let mut texts = Vec::new();
    let guarded = |interface: &&Interface| {
        interface.bridge.as_deref().and_then(|name| topology.bridge(name)).is_some_and(|bridge| bridge.anti_spoof)
    };
    for interface in topology.nodes.iter().flat_map(|node| &node.interfaces).filter(guarded) {
        let Some(port) = &interface.port else { continue };
        let from = format!("iifname \"{port}\"");
        if let Some(mac) = interface.mac {
            texts.push(format!("{from} ether saddr != {mac} drop"));
            texts.push(format!("{from} arp saddr ether != {mac} drop"));
        }
        let own = |v4: bool| interface.addresses.iter().map(IpNet::addr).filter(move |address| address.is_ipv4() == v4);
        for address in own(true) {
            texts.push(format!("{from} ip saddr {address} accept"));
            texts.push(format!("{from} arp saddr ip {address} accept"));
        }
        // From no address one asks whether an address is taken (RFC 5227).
        texts.push(format!("{from} arp saddr ip 0.0.0.0 accept"));
        texts.push(format!("{from} ether type ip drop"));
        texts.push(format!("{from} ether type arp drop"));
        let own_v6 = || own(false).chain(interface.mac.map(|mac| mac.link_local().into()));
        for address in own_v6() {
            // What it advertises of itself, and no other address.
            texts.push(format!("{from} icmpv6 type nd-neighbor-advert nd taddr {address} accept"));
        }
        texts.push(format!("{from} icmpv6 type nd-neighbor-advert drop"));
        texts.push(format!("{from} icmpv6 type nd-router-advert drop"));
        for address in own_v6() {
            texts.push(format!("{from} ip6 saddr {address} accept"));
        }
        // Duplicate address detection speaks from no address.
        texts.push(format!("{from} ip6 saddr :: icmpv6 type nd-neighbor-solicit accept"));
        texts.push(format!("{from} ether type ip6 drop"));
    }
    texts
}

fn version(net: &IpNet) -> &'static str {
    if net.addr().is_ipv4() { "ip" } else { "ip6" }
}

fn transport(protocol: Transport) -> &'static str {
    match protocol {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn bridge_of(interface: &Interface) -> Option<&str> {
    interface.bridge.as_deref()
}
