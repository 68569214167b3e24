//! Labs in which exactly one thing is broken, and what the explanation makes of each.

use std::{net::IpAddr, time::Duration};

use super::*;
use crate::{
    Deadline, Lab, Mac, Node, Probe, addr,
    link::{self, PortFlag},
    neigh,
    state::Vlan,
    topology,
};

/// The cause that is found for a probe that fails.
pub(super) fn cause(probe: &impl Probe) -> String {
    let explanation = explanation(probe);
    explanation.cause.clone().unwrap_or_else(|| panic!("no cause: {explanation}"))
}

pub(super) fn explanation(probe: &impl Probe) -> Explanation {
    let look = || drop(probe.look(Deadline::after(Duration::from_secs(5))).unwrap());
    explain(&probe.journey().unwrap(), look).unwrap()
}

/// The cause that is found for a ping, in which all these words are.
#[track_caller]
pub(super) fn says(from: &Node, to: &Node, words: &[&str]) {
    tells(&from.ping(to), words);
}

#[track_caller]
pub(super) fn tells(probe: &impl Probe, words: &[&str]) {
    let cause = cause(probe);
    for part in words {
        assert!(cause.contains(part), "`{part}` is not in: {cause}");
    }
}

pub(super) fn lab(name: &str) -> (Lab, Node, Node, Node) {
    let lab = Lab::of(name).unwrap();
    let (host, one, two) = (lab.host().clone(), lab.node("netns1").clone(), lab.node("netns2").clone());
    (lab, host, one, two)
}

fn port(host: &Node, name: &str, flag: PortFlag, on: bool) {
    host.apply(link::set_port(name, host.index(name).unwrap(), flag, on)).unwrap();
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The outside's way to the nodes, as without NAT.
pub(super) fn route_back(lab: &Lab) {
    let back = topology::Route {
        to: topology::Destination::Prefix("10.20.0.0/16".parse().unwrap()),
        via: Some(ip("192.0.2.2")),
        dev: None,
    };
    lab.outside().add_route(&back).unwrap();
}

fn delete_routes(node: &Node) {
    let default = topology::Route { to: topology::Destination::Default, via: None, dev: None };
    node.delete_route(&default).unwrap();
}

/// Where nothing is broken nothing is blamed, and the whole way is told.
///
///     [netns1] --- [host: br0] --- [netns2]
#[test]
fn nothing_is_broken() {
    let (_lab, _host, one, two) = lab("pair");
    let told = explanation(&one.ping(&two));
    assert!(told.cause.is_none(), "{told}");
    let there = "netns1 veth1-1 > host veth1-0 > br0 > veth2-0 > netns2 veth2-1";
    assert!(told.way.starts_with(there), "{told}");
    assert!(told.done.is_empty(), "{told}");
}

/// What a router does to a packet that arrives is told: an answer with another TTL, or another client's address, is then
/// no riddle.
///
///     outside --- eth0 [host: br0] --- [netns1]
#[test]
fn nothing_is_broken_by_a_router() {
    let (lab, _host, one, _two) = lab("gateway-one-subnet");
    let told = explanation(&one.ping(lab.outside())).to_string();
    assert!(told.contains("gets there (host lets it out by eth0 with 192.0.2.2 as its source), and"), "{told}");
    lab.host().firewall().flush().unwrap();
    route_back(&lab);
    let told = explanation(&one.ping(lab.outside())).to_string();
    assert!(told.contains("gets there (host forwards it by eth0), and"), "{told}");
}

#[test]
fn bridge_down() {
    let (_lab, host, one, two) = lab("pair");
    host.apply(link::set_down("br0")).unwrap();
    says(&one, &two, &["br0 in host is down", "none of its ports forwards"]);
}

#[test]
fn port_down() {
    let (_lab, host, one, two) = lab("pair");
    host.apply(link::set_down("veth2-0")).unwrap();
    says(&one, &two, &["veth2-0 in host, a port of br0, is down"]);
}

#[test]
fn node_end_down() {
    let (_lab, _host, one, two) = lab("pair");
    two.apply(link::set_down("veth2-1")).unwrap();
    says(&one, &two, &["veth2-1 in netns2 is down"]);
    says(&two, &one, &["netns2 has no route to 10.20.30.41", "veth2-1 is down"]);
}

#[test]
fn loopback_down() {
    let (_lab, _host, one, _two) = lab("pair");
    one.apply(link::set_down("lo")).unwrap();
    says(&one, &one, &["lo in netns1 is down"]);
}

#[test]
fn port_of_another_bridge() {
    let (_lab, host, one, two) = lab("pair");
    host.apply(link::Bridge::new("br1").request()).unwrap();
    host.apply(link::set_master("veth2-0", host.index("br1").unwrap())).unwrap();
    says(&one, &two, &["10.20.20.41", "veth2-0 in host belongs to br1"]);
    host.apply(link::set_master("veth2-0", 0)).unwrap();
    says(&one, &two, &["veth2-0 in host is attached to no bridge"]);
}

#[test]
fn no_route() {
    let (_lab, _host, one, two) = lab("pair");
    delete_routes(&one);
    says(&one, &two, &["netns1 has no route to 10.20.20.41"]);
}

/// netns2 hears netns1, and cannot answer: a one-way route.
#[test]
fn no_route_back() {
    let (_lab, _host, one, two) = lab("pair");
    delete_routes(&two);
    says(&one, &two, &["the answer does not get back", "netns2 has no route back to 10.20.30.41"]);
}

#[test]
fn gateway_that_nobody_is() {
    let (lab, _host, one, _two) = lab("gateway-one-subnet");
    delete_routes(&one);
    let via = topology::Route { to: topology::Destination::Default, via: Some(ip("10.20.0.254")), dev: None };
    one.add_route(&via).unwrap();
    says(&one, lab.outside(), &["netns1 looks for 10.20.0.254", "nobody has that address"]);
}

#[test]
fn strict_reverse_path_filter() {
    let (_lab, host, one, two) = lab("pair");
    delete_routes(&two);
    let away = topology::Route { to: topology::Destination::Default, via: None, dev: Some("dummy0".into()) };
    two.apply(link::Veth::new("dummy0", "dummy1").request()).unwrap();
    two.apply_all([link::set_up("dummy1"), addr::add(two.index("dummy0").unwrap(), "203.0.113.1/24".parse().unwrap())])
        .unwrap();
    two.add_route(&away).unwrap();
    two.set_sysctl("net.ipv4.conf.all.rp_filter", "1").unwrap();
    drop(host);
    says(&one, &two, &["netns2", "rp_filter=1 on veth2-1", "route back is by dummy0"]);
}

#[test]
fn forwarding_off() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    host.set_sysctl("net.ipv4.ip_forward", "0").unwrap();
    says(&one, lab.outside(), &["host does not forward IPv4", "br0"]);
}

/// netns1's address leaves the uplink as it is, and `outside` knows no way back.
#[test]
fn no_masquerade() {
    let mut topology = crate::Topology::shipped("gateway-one-subnet").unwrap();
    topology.nat.masquerade.clear();
    let lab = Lab::builder(topology).up().unwrap();
    says(lab.node("netns1"), lab.outside(), &["outside has no route back to 10.20", "host", "eth0", "no masquerade"]);
}

/// What the article stumbles over: the host's address is on the port, and what comes back is delivered on the bridge.
#[test]
fn address_on_a_port() {
    let (_lab, host, one, _two) = lab("port-address");
    says(&host, &one, &["veth1-0, which is a port of br0", "delivered on br0", "10.20.30.40/24 belongs on br0"]);
    tells(&host.ping(&one).from_device("veth1-0"), &["veth1-0, which is a port of br0"]);
}

#[test]
fn too_long_for_a_node() {
    let (_lab, _host, one, two) = lab("gateway-one-subnet");
    two.apply(link::set_mtu("veth2-1", 1400)).unwrap();
    tells(&one.ping(&two).size(1472).dont_fragment(), &["1500 bytes", "veth2-1 in netns2", "MTU is 1400"]);
}

#[test]
fn the_same_mac_twice() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    two.apply(link::set_mac("veth2-1", one.mac())).unwrap();
    host.flush_fdb("br0").unwrap();
    says(&one, &two, &["same MAC address", "veth1-1 in netns1", "veth2-1 in netns2"]);
}

#[test]
fn isolated_ports() {
    let (_lab, host, one, two) = lab("pair");
    port(&host, "veth1-0", PortFlag::Isolated, true);
    port(&host, "veth2-0", PortFlag::Isolated, true);
    says(&one, &two, &["veth1-0 and veth2-0 are isolated ports of br0 in host"]);
    assert_eq!(explanation(&one.ping(&two)).way, "netns1 veth1-1 > host veth1-0 > br0");
}

/// Unknown unicast does not leave the port, and the bridge does not learn where it would have to go.
#[test]
fn neither_flood_nor_learning() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    port(&host, "veth2-0", PortFlag::Flood, false);
    port(&host, "veth2-0", PortFlag::Learning, false);
    host.flush_fdb("br0").unwrap();
    // A neighbour that is known needs no broadcast, which would leave the port.
    says(&one, &two, &["no FDB entry", "veth2-0 has flood off"]);
}

/// It is told apart from a fault.
#[test]
fn icmp_muted() {
    let (_lab, _host, one, two) = lab("pair");
    two.set_sysctl("net.ipv4.icmp_echo_ignore_all", "1").unwrap();
    says(&one, &two, &["ICMP muted", "netns2", "no fault of the network"]);
}

#[test]
fn arp_ignored() {
    let (_lab, _host, one, two) = lab("pair");
    two.set_sysctl("net.ipv4.conf.all.arp_ignore", "8").unwrap();
    two.flush_neighbours().unwrap();
    one.flush_neighbours().unwrap();
    says(&one, &two, &["netns2 does not answer ARP requests", "arp_ignore=8"]);
}

/// netns2 found that another had its address, and does not use it although the other is gone.
#[test]
fn duplicate_address() {
    let (_lab, host, one, two) = lab("gateway-v6");
    let address = two.v6().unwrap();
    let (net, dev) = (format!("{address}/64").parse().unwrap(), two.index("veth2-1").unwrap());
    two.apply(addr::delete(dev, net)).unwrap();
    one.apply(addr::add(one.index("veth1-1").unwrap(), net)).unwrap();
    two.set_sysctl("net.ipv6.conf.veth2-1.dad_transmits", "1").unwrap();
    let mut changes = two.changes(&[crate::watch::Group::Ipv6Address]).unwrap();
    two.apply(addr::add(dev, net)).unwrap();
    let failed = |state: &State| state.address(address).is_some_and(|own| own.dadfailed);
    let deadline = Deadline::after(Duration::from_secs(5));
    while !failed(&State::of(&two).unwrap()) && changes.wait(deadline).unwrap() {}
    one.apply(addr::delete(one.index("veth1-1").unwrap(), net)).unwrap();
    host.flush_neighbours().unwrap();
    tells(&host.ping(two.at(address)), &["veth2-1 in netns2 is a duplicate (dadfailed)"]);
}

/// An entry that an earlier owner of the address has left.
#[test]
fn old_neighbour_entry() {
    let (_lab, _host, one, two) = lab("gateway-one-subnet");
    let gone = Mac([2, 0, 0, 0, 0xde, 0xad]);
    one.apply(neigh::set_permanent(one.index(one.device()).unwrap(), two.address(), gone)).unwrap();
    says(&one, &two, &["netns1", "02:00:00:00:de:ad", "PERMANENT", "veth2-1 in netns2 has"]);
}

/// STP listens and learns before it lets frames pass.
#[test]
fn spanning_tree_waits() {
    use rtnetlink::packet_route::link::{BridgeStpState, InfoBridge};
    let (_lab, host, one, two) = lab("pair");
    host.apply(link::set_down("veth2-0")).unwrap();
    let bridge = host.index("br0").unwrap();
    host.apply(link::set_bridge("br0", bridge, InfoBridge::StpState(BridgeStpState::KernelStp))).unwrap();
    host.apply(link::set_up("veth2-0")).unwrap();
    says(&one, &two, &["veth2-0 in host", "forwards nothing", "br0 runs STP"]);
}

/// The bridge as it would be with VLAN filtering, which not every kernel has.
#[test]
fn another_vlan() {
    let (_lab, host, one, two) = lab("pair");
    let journey = one.ping(&two).journey().unwrap();
    let mut scene = Scene::around(&[Namespace::clone(&one), Namespace::clone(&two)]).unwrap();
    let place = scene.place_of(&host).unwrap();
    for link in &mut scene.places[place].links {
        link.bridge.iter_mut().for_each(|bridge| bridge.vlan_filtering = true);
        let vid = if link.name == "veth1-0" { 10 } else { 20 };
        link.vlans = vec![Vlan { vid, pvid: true, untagged: true }];
    }
    let cause = walked(&scene, None, &journey).unwrap().cause.unwrap();
    assert_eq!(cause, "what comes in by veth1-0 belongs to VLAN 10 of br0 in host, and veth2-0 does not");
}

#[test]
fn forwarding_off_v6() {
    let (lab, host, one, _two) = lab("gateway-v6");
    host.set_sysctl("net.ipv6.conf.all.forwarding", "0").unwrap();
    let outside = lab.outside();
    tells(&one.ping(outside.at(outside.v6().unwrap())), &["host does not forward IPv6", "br0"]);
}

/// No neighbour solicitation leaves the port, and its host has not told the bridge which groups it listens to.
#[test]
fn no_multicast_v6() {
    use rtnetlink::packet_route::link::InfoBridge;
    let (_lab, host, one, two) = lab("gateway-v6");
    host.apply(link::set_bridge("br0", host.index("br0").unwrap(), InfoBridge::MulticastSnooping(false))).unwrap();
    port(&host, "veth2-0", PortFlag::McastFlood, false);
    one.flush_neighbours().unwrap();
    tells(&one.ping(two.at(two.v6().unwrap())), &["veth2-0 in host", "mcast_flood off", "neighbour solicitation"]);
}

#[test]
fn no_route_v6() {
    let (lab, _host, one, _two) = lab("gateway-v6");
    let all = topology::Destination::Prefix("::/0".parse().unwrap());
    one.delete_route(&topology::Route { to: all, via: None, dev: None }).unwrap();
    let outside = lab.outside();
    tells(&one.ping(outside.at(outside.v6().unwrap())), &["netns1 has no route to 2001:db8:0:2::1"]);
}

#[test]
fn host_without_an_address() {
    let (_lab, host, one, _two) = lab("pair");
    host.add_route(&topology::Route {
        to: topology::Destination::Prefix("10.20.30.0/24".parse().unwrap()),
        via: None,
        dev: Some("br0".into()),
    })
    .unwrap();
    says(&host, &one, &["host has no IPv4 address to send from", "0.0.0.0"]);
}

/// The host itself is asked for the published port, and passes it on to nobody; in netns1 nobody listens.
#[test]
fn published_to_nobody() {
    let (lab, host, one, _two) = lab("gateway-one-subnet");
    let at = host.at(ip("192.0.2.2"));
    tells(&lab.outside().tcp_to((&at, 8080)), &["TCP port 8080 of host is passed on to nobody", "no destination NAT"]);
    tells(&host.tcp_to((&one, 80)), &["nothing listens on TCP port 80 in netns1"]);
    tells(&host.udp_to((&one, 53)), &["nothing listens on UDP port 53 in netns1"]);
}

#[test]
fn the_same_address_twice() {
    let (_lab, host, one, two) = lab("gateway-one-subnet");
    let net = format!("{}/16", two.address()).parse().unwrap();
    two.apply(link::set_down("veth2-1")).unwrap();
    one.apply(addr::add(one.index("veth1-1").unwrap(), net)).unwrap();
    says(&host, &two, &["10.20.20.41 is an address of netns1 too", "netns2"]);
}

#[test]
fn bound_to_a_port() {
    let (_lab, host, one, _two) = lab("port-address");
    let port = host.index("veth1-0").unwrap();
    host.apply(neigh::set_permanent(port, one.address(), one.mac())).unwrap();
    tells(&host.ping(&one).from_device("veth1-0"), &["comes back by br0", "bound to veth1-0 does not hear it"]);
}

/// Where a ping is answered nothing is blamed, in any direction.
#[test]
fn a_healthy_lab_has_no_cause() {
    for name in
        ["veth", "pair", "host-route", "gateway-two-subnets", "gateway-v6", "two-networks", "direct", "mesh", "mtu"]
    {
        let lab = Lab::of(name).unwrap();
        let ends = lab.all();
        for (from, to) in ends.iter().flat_map(|from| ends.iter().map(move |to| (from, to))) {
            for address in to.addresses().list().unwrap().iter().map(|own| own.address.addr()) {
                healthy(name, from, to, address);
            }
        }
    }
}

fn healthy(topology: &str, from: &Node, to: &Node, address: IpAddr) {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let ping = from.ping(to.at(address));
    if address.is_loopback() || link_local || !ping.look(Deadline::after(Duration::from_secs(5))).unwrap().answered() {
        return;
    }
    let told = explanation(&ping);
    assert!(told.cause.is_none(), "{topology}: {}: {told}", ping.describe());
}
