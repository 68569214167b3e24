//! Every case on every topology, against the built-in implementation.
//!
//! Made from the suites: `UPDATE=1 cargo test -p netproof-suites fresh` makes it anew.

use netproof_suites::run::claim;
use rstest::rstest;

netproof::enter!();

/// A veth from the host to each node, addressed at both ends, without a bridge.
mod veth {
    use super::*;

    /// The two ends of a veth answer each other's pings, from a cold start in either direction.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn both_ends_reach_each_other(#[case] topology: &str) {
        claim("veth/both-ends-reach-each-other", topology);
    }

    /// The host reaches each node on-link by its own end of the node's veth, with that end's address as source.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn the_connected_route_leads_to_the_end_in_the_host(#[case] topology: &str) {
        claim("veth/the-connected-route-leads-to-the-end-in-the-host", topology);
    }

    /// Where no bridge is in between, ARP for a node resolves on the very veth that asks.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn the_neighbour_is_known_on_the_end_in_the_host(#[case] topology: &str) {
        claim("veth/the-neighbour-is-known-on-the-end-in-the-host", topology);
    }

    /// Without a bridge or a route, one node has no route to another one's subnet.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn nodes_have_no_way_to_each_other(#[case] topology: &str) {
        claim("veth/nodes-have-no-way-to-each-other", topology);
    }

    /// A veth end that is moved into another namespace arrives down and without addresses, and must be set up again.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn a_moved_end_loses_its_state(#[case] topology: &str) {
        claim("veth/a-moved-end-loses-its-state", topology);
    }

    /// A veth end has carrier only while its other end is up.
    #[rstest]
    #[case::veth("veth")]
    #[test_log::test]
    fn no_carrier_while_the_other_end_is_down(#[case] topology: &str) {
        claim("veth/no-carrier-while-the-other-end-is-down", topology);
    }
}

/// Two nodes in two subnets on one bridge, with on-link default routes.
mod pair {
    use super::*;

    /// Nodes on one bridge answer each other's pings, from a cold start in either direction, with a TTL of 64.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated("isolated")]
    #[case::two_networks("two-networks")]
    #[case::mtu("mtu")]
    #[case::direct("direct")]
    #[case::mesh("mesh")]
    #[case::star("star")]
    #[test_log::test]
    fn peers_reach_each_other(#[case] topology: &str) {
        claim("pair/peers-reach-each-other", topology);
    }

    /// While the bridge is down its ports are disabled and no frame passes; once it is up, the ports forward at once.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn a_bridge_left_down_carries_nothing(#[case] topology: &str) {
        claim("pair/a-bridge-left-down-carries-nothing", topology);
    }

    /// A default route by a device makes the other node's subnet on-link: ARP asks for the other node itself.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn the_other_subnet_is_on_link(#[case] topology: &str) {
        claim("pair/the-other-subnet-is-on-link", topology);
    }

    /// Where one node has no route back, the other one's request arrives, its neighbour is known, and no reply comes.
    #[rstest]
    #[case::pair("pair")]
    #[test_log::test]
    fn both_sides_need_the_route(#[case] topology: &str) {
        claim("pair/both-sides-need-the-route", topology);
    }

    /// Peers on one bridge talk while the host's IP forwarding is off, and the host's IP stack forwards none of it.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[case::internal("internal")]
    #[test_log::test]
    fn the_host_forwards_nothing(#[case] topology: &str) {
        claim("pair/the-host-forwards-nothing", topology);
    }

    /// After a ping each node has the other one's own MAC address, not the bridge's.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::direct("direct")]
    #[test_log::test]
    fn peers_know_each_others_mac(#[case] topology: &str) {
        claim("pair/peers-know-each-others-mac", topology);
    }

    /// A node whose lo is down cannot reach its own address, though its peers can.
    #[rstest]
    #[case::pair("pair")]
    #[test_log::test]
    fn own_address_needs_lo(#[case] topology: &str) {
        claim("pair/own-address-needs-lo", topology);
    }

    /// A ping to an address that nobody has ends in a failed neighbour entry, not in a reply.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn an_unanswered_address_fails(#[case] topology: &str) {
        claim("pair/an-unanswered-address-fails", topology);
    }
}

/// The host's addresses are on the bridge ports, where ARP replies never arrive.
mod port_address {
    use super::*;

    /// From an address on a bridge port the host cannot reach the node: the neighbour entry on the port never resolves.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn stays_incomplete(#[case] topology: &str) {
        claim("port-address/stays-incomplete", topology);
    }

    /// The ARP reply is seen on the port and on the bridge, but ARP asked on the port, so no entry takes it.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn the_reply_arrives_on_the_port_and_is_delivered_on_the_bridge(#[case] topology: &str) {
        claim("port-address/the-reply-arrives-on-the-port-and-is-delivered-on-the-bridge", topology);
    }

    /// The request is asked again and again by the same port: the bridge sees replies only, the other port nothing.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn requests_repeat_on_the_port_alone(#[case] topology: &str) {
        claim("port-address/requests-repeat-on-the-port-alone", topology);
    }

    /// It is the connected route of the port's address that sends the traffic to the port.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn the_route_leads_to_the_port(#[case] topology: &str) {
        claim("port-address/the-route-leads-to-the-port", topology);
    }

    /// Bound to the bridge, with the uplink's address as source, the host's ping is answered, and the entry is on the bridge.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn the_bridge_as_device_works(#[case] topology: &str) {
        claim("port-address/the-bridge-as-device-works", topology);
    }

    /// With rp_filter 1 or 2 the reply to a ping by the bridge is dropped and counted, though the neighbour entry resolves.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn reverse_path_filtering_drops_the_reply_on_the_bridge(#[case] topology: &str) {
        claim("port-address/reverse-path-filtering-drops-the-reply-on-the-bridge", topology);
    }

    /// An entry on the port that was known before hides the trap for plain pings until it is flushed.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn a_cached_neighbour_hides_the_fault(#[case] topology: &str) {
        claim("port-address/a-cached-neighbour-hides-the-fault", topology);
    }

    /// With the port's address gone and a route by the bridge in its place, the host reaches the node; the other node is as before.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn the_route_by_the_bridge_repairs_it(#[case] topology: &str) {
        claim("port-address/the-route-by-the-bridge-repairs-it", topology);
    }

    /// Deleting the port's address takes its connected route along; adding the bridge's route first is refused as there already.
    #[rstest]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn the_route_cannot_be_added_before_the_address_goes(#[case] topology: &str) {
        claim("port-address/the-route-cannot-be-added-before-the-address-goes", topology);
    }
}

/// The host reaches the nodes by routes to a bridge that has no address.
mod host_route {
    use super::*;

    /// A route by the bridge makes the host's pings to the nodes work, whatever rp_filter is.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn the_host_reaches_the_nodes(#[case] topology: &str) {
        claim("host-route/the-host-reaches-the-nodes", topology);
    }

    /// Each node reaches the host's uplink address, from a cold start.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn the_nodes_reach_the_host(#[case] topology: &str) {
        claim("host-route/the-nodes-reach-the-host", topology);
    }

    /// The bridge having no address, the kernel takes the uplink's as source.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn the_source_is_another_links_address(#[case] topology: &str) {
        claim("host-route/the-source-is-another-links-address", topology);
    }

    /// On a host without any IPv4 address ARP still resolves, but no ping is answered: it has no source.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn without_any_address_nothing_is_answered(#[case] topology: &str) {
        claim("host-route/without-any-address-nothing-is-answered", topology);
    }

    /// With one node's route gone the host reaches the other node only, in either direction.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn one_missing_route_cuts_off_one_node(#[case] topology: &str) {
        claim("host-route/one-missing-route-cuts-off-one-node", topology);
    }

    /// Without a gateway a node asks for an external address by ARP, and nobody answers.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::port_address("port-address")]
    #[test_log::test]
    fn nothing_beyond_the_host_answers(#[case] topology: &str) {
        claim("host-route/nothing-beyond-the-host-answers", topology);
    }

    /// Static routes by a bridge are lost when it goes down, and do not come back with it.
    #[rstest]
    #[case::host_route("host-route")]
    #[test_log::test]
    fn the_routes_go_with_the_bridge(#[case] topology: &str) {
        claim("host-route/the-routes-go-with-the-bridge", topology);
    }
}

/// An address on the bridge is the gateway, and the host forwards with NAT.
mod gateway {
    use super::*;

    /// A node with the bridge's address as gateway reaches the outside, through exactly one router.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[case::mtu("mtu")]
    #[case::two_networks("two-networks")]
    #[test_log::test]
    fn a_node_reaches_the_outside(#[case] topology: &str) {
        claim("gateway/a-node-reaches-the-outside", topology);
    }

    /// With the host's forwarding off the gateway still answers, and nothing comes back from the outside.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn without_forwarding_nothing_leaves(#[case] topology: &str) {
        claim("gateway/without-forwarding-nothing-leaves", topology);
    }

    /// The outside sees the uplink's address as source, never the node's.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_outside_sees_the_uplinks_address(#[case] topology: &str) {
        claim("gateway/the-outside-sees-the-uplinks-address", topology);
    }

    /// The node that still has an on-link default route reaches its peer and the host, not the outside.
    #[rstest]
    #[case::gateway("gateway")]
    #[test_log::test]
    fn the_node_without_a_gateway_stays_inside(#[case] topology: &str) {
        claim("gateway/the-node-without-a-gateway-stays-inside", topology);
    }

    /// To the gateway's own subnet the host speaks with the gateway's address.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_host_speaks_with_the_gateways_address(#[case] topology: &str) {
        claim("gateway/the-host-speaks-with-the-gateways-address", topology);
    }

    /// Two subnets with a gateway each reach each other through the host, and only while it forwards.
    #[rstest]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[test_log::test]
    fn two_subnets_are_routed_by_the_host(#[case] topology: &str) {
        claim("gateway/two-subnets-are-routed-by-the-host", topology);
    }

    /// The host tells a node of the other subnet that its peer is on the same link (ICMP redirect).
    #[rstest]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[test_log::test]
    fn two_subnets_cause_redirects(#[case] topology: &str) {
        claim("gateway/two-subnets-cause-redirects", topology);
    }

    /// With one subnet and one gateway, peers talk directly, without redirects, with forwarding off.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn one_subnet_needs_no_router(#[case] topology: &str) {
        claim("gateway/one-subnet-needs-no-router", topology);
    }
}

/// Bridges, ports and the nodes' ends are up, attached, and carry traffic at once.
mod links {
    use super::*;

    /// When `up` returns, the bridge, every port and every node's end are up with carrier, and every port forwards.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::two_networks("two-networks")]
    #[case::mtu("mtu")]
    #[case::star("star")]
    #[test_log::test]
    fn all_are_up_when_up_returns(#[case] topology: &str) {
        claim("links/all-are-up-when-up-returns", topology);
    }

    /// The host's end of every node's veth is a port of the bridge that was asked for.
    #[rstest]
    #[case::pair("pair")]
    #[case::port_address("port-address")]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::two_networks("two-networks")]
    #[case::mtu("mtu")]
    #[case::star("star")]
    #[test_log::test]
    fn every_port_is_on_its_bridge(#[case] topology: &str) {
        claim("links/every-port-is-on-its-bridge", topology);
    }

    /// Every node reaches its own addresses and its loopback address.
    #[rstest]
    #[case::veth("veth")]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::direct("direct")]
    #[case::mesh("mesh")]
    #[case::star("star")]
    #[test_log::test]
    fn lo_is_up_in_every_node(#[case] topology: &str) {
        claim("links/lo-is-up-in-every-node", topology);
    }

    /// A port that loses and regains carrier forwards at once, without a listening or learning delay.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn no_port_waits_before_it_forwards(#[case] topology: &str) {
        claim("links/no-port-waits-before-it-forwards", topology);
    }

    /// Bridge, ports and nodes' ends have one MTU, no larger than the uplink's.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::mtu("mtu")]
    #[case::internal("internal")]
    #[case::star("star")]
    #[test_log::test]
    fn the_default_mtu_is_the_same_everywhere(#[case] topology: &str) {
        claim("links/the-default-mtu-is-the-same-everywhere", topology);
    }

    /// No two ports or nodes' ends have the same MAC address, and no node's end has a bridge's.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::isolated("isolated")]
    #[case::star("star")]
    #[test_log::test]
    fn macs_are_unique(#[case] topology: &str) {
        claim("links/macs-are-unique", topology);
    }

    /// The bridge keeps its MAC address when a port with a lower one is attached.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_bridges_mac_does_not_follow_its_ports(#[case] topology: &str) {
        claim("links/the-bridges-mac-does-not-follow-its-ports", topology);
    }

    /// Where an address of a node or a bridge has a broadcast address it is the subnet's, and what a node sends to the subnet's arrives at its peers.
    #[rstest]
    #[case::veth("veth")]
    #[case::pair("pair")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::two_networks("two-networks")]
    #[case::mtu("mtu")]
    #[case::direct("direct")]
    #[case::star("star")]
    #[test_log::test]
    fn a_broadcast_address_is_its_subnets(#[case] topology: &str) {
        claim("links/a-broadcast-address-is-its-subnets", topology);
    }
}

/// The bridge learns addresses, floods what it does not know, and sends what it knows to one port.
mod fdb {
    use super::*;

    /// After one exchange each node's MAC address is learned on its own port.
    #[rstest]
    #[case::pair("pair")]
    #[case::host_route("host-route")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::star("star")]
    #[test_log::test]
    fn addresses_are_learned_on_their_own_port(#[case] topology: &str) {
        claim("fdb/addresses-are-learned-on-their-own-port", topology);
    }

    /// A frame to a MAC address that nobody has learned leaves by every forwarding port but the one that it came in by.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn unknown_unicast_is_flooded_to_all_but_its_ingress(#[case] topology: &str) {
        claim("fdb/unknown-unicast-is-flooded-to-all-but-its-ingress", topology);
    }

    /// A datagram to a group of the link's own, as 224.0.0.251 is, reaches every other node of the bridge.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn multicast_reaches_every_node(#[case] topology: &str) {
        claim("fdb/multicast-reaches-every-node", topology);
    }

    /// A frame to a MAC address that was learned leaves by that port only.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn known_unicast_reaches_its_port_alone(#[case] topology: &str) {
        claim("fdb/known-unicast-reaches-its-port-alone", topology);
    }

    /// A broadcast comes back to nobody: the sender does not hear its own frame.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn no_frame_returns_to_its_ingress(#[case] topology: &str) {
        claim("fdb/no-frame-returns-to-its-ingress", topology);
    }

    /// An entry that nothing refreshes ages out after the ageing time, not at once and not never.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn idle_entries_age_out(#[case] topology: &str) {
        claim("fdb/idle-entries-age-out", topology);
    }

    /// When a port goes, what was learned on it goes too.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn a_port_that_is_gone_leaves_no_entry(#[case] topology: &str) {
        claim("fdb/a-port-that-is-gone-leaves-no-entry", topology);
    }

    /// While every node speaks from where it is, no MAC address changes its port.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::star("star")]
    #[test_log::test]
    fn no_address_roams_while_idle(#[case] topology: &str) {
        claim("fdb/no-address-roams-while-idle", topology);
    }
}

/// Neighbours resolve on the bridge, with the right MAC addresses, from a cold start.
mod neighbour {
    use super::*;

    /// No bridge port has a global address, and no route leads to one.
    #[rstest]
    #[case::pair("pair")]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::star("star")]
    #[test_log::test]
    fn no_address_on_a_port(#[case] topology: &str) {
        claim("neighbour/no-address-on-a-port", topology);
    }

    /// With every neighbour forgotten, the host's plain ping to each node is answered.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated("isolated")]
    #[case::mtu("mtu")]
    #[case::star("star")]
    #[test_log::test]
    fn the_host_reaches_nodes_from_a_cold_start(#[case] topology: &str) {
        claim("neighbour/the-host-reaches-nodes-from-a-cold-start", topology);
    }

    /// The host's neighbour entry for a node is on the bridge, with the node's MAC address, and on no port.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_entry_is_on_the_bridge(#[case] topology: &str) {
        claim("neighbour/the-entry-is-on-the-bridge", topology);
    }

    /// A node's neighbour entry for its gateway has the bridge's MAC address.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_gateway_answers_with_the_bridges_mac(#[case] topology: &str) {
        claim("neighbour/the-gateway-answers-with-the-bridges-mac", topology);
    }

    /// A neighbour solicitation, which is multicast, reaches the other node through the bridge.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn solicitations_cross_the_bridge(#[case] topology: &str) {
        claim("neighbour/solicitations-cross-the-bridge", topology);
    }

    /// A question for an address that nobody on the bridge has is answered by nobody.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn nobody_answers_for_another(#[case] topology: &str) {
        claim("neighbour/nobody-answers-for-another", topology);
    }

    /// Who asks on the uplink for a node's address is not answered; who asks for the uplink's own is.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_uplink_does_not_answer_for_nodes(#[case] topology: &str) {
        claim("neighbour/the-uplink-does-not-answer-for-nodes", topology);
    }

    /// Who asks on the uplink for the bridge's address is not answered; who asks for the uplink's own is.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn the_uplink_does_not_answer_for_the_bridge(#[case] topology: &str) {
        claim("neighbour/the-uplink-does-not-answer-for-the-bridge", topology);
    }
}

/// One route to each subnet, with a source that the nodes can answer, and one default for each node.
mod routes {
    use super::*;

    /// For every node's address the host selects the node's bridge, on-link.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated("isolated")]
    #[case::mtu("mtu")]
    #[case::star("star")]
    #[test_log::test]
    fn the_host_reaches_every_node_by_its_bridge(#[case] topology: &str) {
        claim("routes/the-host-reaches-every-node-by-its-bridge", topology);
    }

    /// Where the host has an address in a node's subnet, that is the source that it speaks to the node with.
    #[rstest]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated("isolated")]
    #[case::mtu("mtu")]
    #[case::star("star")]
    #[test_log::test]
    fn the_source_is_in_the_nodes_subnet(#[case] topology: &str) {
        claim("routes/the-source-is-in-the-nodes-subnet", topology);
    }

    /// The host has exactly one route to each subnet of its bridges.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn one_route_to_each_subnet(#[case] topology: &str) {
        claim("routes/one-route-to-each-subnet", topology);
    }

    /// For every node's address the kernel has a source address to speak with.
    #[rstest]
    #[case::host_route("host-route")]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[case::isolated("isolated")]
    #[case::star("star")]
    #[test_log::test]
    fn the_host_has_a_source_for_every_node(#[case] topology: &str) {
        claim("routes/the-host-has-a-source-for-every-node", topology);
    }

    /// Each node has exactly one default route for each IP version, on-link to a gateway that answers.
    #[rstest]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::two_networks("two-networks")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_v6("isolated-v6")]
    #[case::hairpin_v6("hairpin-v6")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn one_default_and_its_gateway_answers(#[case] topology: &str) {
        claim("routes/one-default-and-its-gateway-answers", topology);
    }

    /// A node of an internal network has no default route.
    #[rstest]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn no_default_out_of_an_internal_network(#[case] topology: &str) {
        claim("routes/no-default-out-of-an-internal-network", topology);
    }

    /// No other route of the host's lies within a bridge's subnet.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[test_log::test]
    fn the_bridges_subnet_overlaps_nothing(#[case] topology: &str) {
        claim("routes/the-bridges-subnet-overlaps-nothing", topology);
    }

    /// When the bridge was down and is up again, the host reaches its nodes as before.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[test_log::test]
    fn connected_routes_survive_a_bridge_that_was_down(#[case] topology: &str) {
        claim("routes/connected-routes-survive-a-bridge-that-was-down", topology);
    }

    /// Peers, host and outside reach each other with rp_filter 0, 1 and 2.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::isolated("isolated")]
    #[case::publish("publish")]
    #[test_log::test]
    fn reverse_path_filtering_does_not_matter(#[case] topology: &str) {
        claim("routes/reverse-path-filtering-does-not-matter", topology);
    }

    /// A node on two networks has one default route, by the network that was asked for, every time.
    #[rstest]
    #[case::two_networks("two-networks")]
    #[test_log::test]
    fn which_network_has_the_default_is_not_chance(#[case] topology: &str) {
        claim("routes/which-network-has-the-default-is-not-chance", topology);
    }
}

/// The host forwards what it should, counts it, and nothing else.
mod forwarding {
    use super::*;

    /// Every node's ping to the outside is answered with a TTL that is exactly one less.
    #[rstest]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::isolated_v6("isolated-v6")]
    #[case::isolated_ports("isolated-ports")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn the_outside_answers_through_one_router(#[case] topology: &str) {
        claim("forwarding/the-outside-answers-through-one-router", topology);
    }

    /// The host's forwarding is on where the topology asks for it, and its counter moves with a node's traffic.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn it_is_on_and_counted(#[case] topology: &str) {
        claim("forwarding/it-is-on-and-counted", topology);
    }

    /// The gateway answers a packet whose TTL ends at it with time exceeded, from the gateway's address.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn a_packet_at_the_end_of_its_life_is_told(#[case] topology: &str) {
        claim("forwarding/a-packet-at-the-end-of-its-life-is-told", topology);
    }

    /// A node of an internal network reaches its peers and its bridge, and nothing outside even by a route of its own.
    #[rstest]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn an_internal_network_has_no_way_out(#[case] topology: &str) {
        claim("forwarding/an-internal-network-has-no-way-out", topology);
    }
}

/// How an implementation answers what it does not know.
mod protocol {
    use super::*;

    /// A topology that the implementation has never heard of is declined with exit status 89, and nothing changes; who claims `*` builds it from its data.
    #[rstest]
    #[case::pair("pair")]
    #[test_log::test]
    fn an_unknown_topology_is_declined(#[case] topology: &str) {
        claim("protocol/an-unknown-topology-is-declined", topology);
    }

    /// A verb that the implementation has never heard of is declined with exit status 89, and nothing changes.
    #[rstest]
    #[case::pair("pair")]
    #[test_log::test]
    fn an_unknown_verb_is_declined(#[case] topology: &str) {
        claim("protocol/an-unknown-verb-is-declined", topology);
    }

    /// Asked what it is, the implementation answers as before, and nothing changes.
    #[rstest]
    #[case::pair("pair")]
    #[test_log::test]
    fn describing_changes_nothing(#[case] topology: &str) {
        claim("protocol/describing-changes-nothing", topology);
    }
}

/// Source addresses on the way out, and published ports: reached from everywhere, and only where they should be.
mod nat {
    use super::*;

    /// A server outside sees a node's connection come from the uplink's address.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn the_outside_sees_the_uplinks_address(#[case] topology: &str) {
        claim("nat/the-outside-sees-the-uplinks-address", topology);
    }

    /// Nodes that speak from the same source port to the same server outside get each its own answers.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn two_nodes_may_use_one_source_port(#[case] topology: &str) {
        claim("nat/two-nodes-may-use-one-source-port", topology);
    }

    /// A server in one node sees the other node's own address, whether bridged frames pass the firewall or not.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn peers_see_each_others_own_address(#[case] topology: &str) {
        claim("nat/peers-see-each-others-own-address", topology);
    }

    /// A node reaches the outside, which sees the uplink's address, with bridged frames shown to the firewall or not.
    #[rstest]
    #[case::gateway("gateway")]
    #[case::gateway_two_subnets("gateway-two-subnets")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::isolated_v6("isolated-v6")]
    #[case::isolated_ports("isolated-ports")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[case::two_networks("two-networks")]
    #[test_log::test]
    fn the_way_out_does_not_depend_on_bridge_netfilter(#[case] topology: &str) {
        claim("nat/the-way-out-does-not-depend-on-bridge-netfilter", topology);
    }

    /// A published TCP port and a published UDP port answer from outside, at the address that was asked.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_from_outside(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-from-outside", topology);
    }

    /// A published service sees the outside client's own address.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn the_client_address_is_preserved(#[case] topology: &str) {
        claim("nat/the-client-address-is-preserved", topology);
    }

    /// The host reaches a published port at its own addresses, the uplink's and the gateway's.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_from_the_host(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-from-the-host", topology);
    }

    /// The host reaches a published port at 127.0.0.1.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::publish_loopback("publish-loopback")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_by_loopback(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-by-loopback", topology);
    }

    /// Another node on the bridge reaches the published port at the host's addresses, the uplink's and the gateway's, with bridged frames shown to the firewall or not.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_from_a_peer(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-from-a-peer", topology);
    }

    /// The node that serves a published port reaches itself by it, with bridged frames shown to the firewall or not.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_from_its_own_node(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-from-its-own-node", topology);
    }

    /// A node on another bridge reaches the published port at the host's address.
    #[rstest]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_published_port_is_reached_from_another_bridge(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-from-another-bridge", topology);
    }

    /// A published port answers from outside, from a peer and from its own node with rp_filter 0, 1 and 2.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn a_published_port_is_reached_with_any_rp_filter(#[case] topology: &str) {
        claim("nat/a-published-port-is-reached-with-any-rp-filter", topology);
    }

    /// A body of 300,000 bytes, and a datagram of 1,400, arrive whole from a published service, and at a node from outside.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_large_answer_arrives_whole(#[case] topology: &str) {
        claim("nat/a-large-answer-arrives-whole", topology);
    }

    /// Where nothing serves behind a published port, the client outside is refused at once, TCP and UDP, by the address that it asked.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn a_published_port_without_a_service_refuses(#[case] topology: &str) {
        claim("nat/a-published-port-without-a-service-refuses", topology);
    }

    /// A service of the host's own answers the outside at the uplink's address, and nodes at their gateway's.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn the_hosts_own_services_stay_reachable(#[case] topology: &str) {
        claim("nat/the-hosts-own-services-stay-reachable", topology);
    }

    /// The host and the outside ping each other, and the host's own TCP and UDP to the outside are answered, errors included.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[test_log::test]
    fn the_hosts_own_traffic_passes(#[case] topology: &str) {
        claim("nat/the-hosts-own-traffic-passes", topology);
    }

    /// Where the outside answers a node's datagram with an ICMP error, the node hears it.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn errors_from_outside_come_back_to_the_node(#[case] topology: &str) {
        claim("nat/errors-from-outside-come-back-to-the-node", topology);
    }

    /// When the uplink gets another address, nodes' new flows leave with that one.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn another_address_of_the_uplink_is_taken(#[case] topology: &str) {
        claim("nat/another-address-of-the-uplink-is-taken", topology);
    }

    /// A node's connection to the same port of another host outside is not drawn to the published service.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn only_what_is_for_the_host_is_passed_on(#[case] topology: &str) {
        claim("nat/only-what-is-for-the-host-is-passed-on", topology);
    }

    /// A service on the host's 127.0.0.1 cannot be reached from outside or from a node that routes 127.0.0.1 to it.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_loopback("publish-loopback")]
    #[case::isolated_publish("isolated-publish")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn loopback_services_of_the_host_are_not_exposed(#[case] topology: &str) {
        claim("nat/loopback-services-of-the-host-are-not-exposed", topology);
    }

    /// A port published on 127.0.0.1 answers the host, and neither the outside nor a node at the host's other addresses.
    #[rstest]
    #[case::publish_loopback("publish-loopback")]
    #[test_log::test]
    fn a_loopback_port_is_published_to_the_host_only(#[case] topology: &str) {
        claim("nat/a-loopback-port-is-published-to-the-host-only", topology);
    }

    /// A frame to 127.0.0.1 that a neighbour puts on the wire does not reach a port that is published there.
    #[rstest]
    #[case::publish_loopback("publish-loopback")]
    #[test_log::test]
    fn a_loopback_port_is_closed_to_forged_frames(#[case] topology: &str) {
        claim("nat/a-loopback-port-is-closed-to-forged-frames", topology);
    }

    /// Who routes a node's subnet to the host from outside does not reach the node's unpublished ports.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn unpublished_ports_have_no_direct_way_in(#[case] topology: &str) {
        claim("nat/unpublished-ports-have-no-direct-way-in", topology);
    }

    /// A port next to a published one is not passed on, even where the node serves it.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn an_unpublished_port_is_closed(#[case] topology: &str) {
        claim("nat/an-unpublished-port-is-closed", topology);
    }
}

/// The network works beside others' firewall rules, and leaves them alone.
mod filter {
    use super::*;

    /// With a FORWARD chain whose policy is drop, there from before, peers reach each other with bridged frames shown to the firewall or not.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn peers_talk_under_a_forward_policy_of_drop(#[case] topology: &str) {
        claim("filter/peers-talk-under-a-forward-policy-of-drop", topology);
    }

    /// With a FORWARD chain whose policy is drop, there from before, nodes reach the outside.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn the_way_out_passes_a_forward_policy_of_drop(#[case] topology: &str) {
        claim("filter/the-way-out-passes-a-forward-policy-of-drop", topology);
    }

    /// With a rule at the end of the FORWARD chain that drops everything, there from before, nodes reach the outside.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn the_way_out_passes_a_forward_rule_that_drops(#[case] topology: &str) {
        claim("filter/the-way-out-passes-a-forward-rule-that-drops", topology);
    }

    /// With a FORWARD chain whose policy is drop, there from before, a published port answers from outside.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn a_published_port_passes_a_forward_policy_of_drop(#[case] topology: &str) {
        claim("filter/a-published-port-passes-a-forward-policy-of-drop", topology);
    }

    /// Rules and chains that others have made are the same after `down` as before `up`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn others_rules_are_as_before(#[case] topology: &str) {
        claim("filter/others-rules-are-as-before", topology);
    }

    /// Nodes on a bridge that somebody else has made reach each other while the network is up, bridged frames shown to the firewall.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn another_bridge_works_as_before(#[case] topology: &str) {
        claim("filter/another-bridge-works-as-before", topology);
    }

    /// The network comes up without changing bridge-nf-call-iptables or -ip6tables.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated_ports("isolated-ports")]
    #[case::internal("internal")]
    #[test_log::test]
    fn bridge_netfilter_is_left_as_it_is(#[case] topology: &str) {
        claim("filter/bridge-netfilter-is-left-as-it-is", topology);
    }

    /// Where the host routes for another network from before, that network's nodes reach the outside, and the outside them, with their own addresses, while the network is up and after.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[test_log::test]
    fn what_others_route_passes_as_before(#[case] topology: &str) {
        claim("filter/what-others-route-passes-as-before", topology);
    }

    /// What a FORWARD policy of drop, there from before, keeps from another network and from unpublished ports is kept from them while the network is up.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn what_others_drop_stays_dropped(#[case] topology: &str) {
        claim("filter/what-others-drop-stays-dropped", topology);
    }

    /// While the network is up the uplink has its addresses, flags and sysctls, the host its default route, and sysctls for all devices, bridges and connection tracking are as before, but for forwarding.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated_ports("isolated-ports")]
    #[case::internal("internal")]
    #[test_log::test]
    fn the_hosts_own_settings_are_as_before(#[case] topology: &str) {
        claim("filter/the-hosts-own-settings-are-as-before", topology);
    }
}

/// Nodes, bridges and hosts that are to be kept apart are apart, in both IP versions.
mod isolation {
    use super::*;

    /// Nodes on isolated ports do not reach each other, and each reaches its gateway.
    #[rstest]
    #[case::isolated_ports("isolated-ports")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[test_log::test]
    fn isolated_ports_do_not_talk(#[case] topology: &str) {
        claim("isolation/isolated-ports-do-not-talk", topology);
    }

    /// A node on an isolated port that routes its peer's address via the gateway does not reach the peer.
    #[rstest]
    #[case::isolated_ports("isolated-ports")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[test_log::test]
    fn the_gateway_is_no_way_around_isolated_ports(#[case] topology: &str) {
        claim("isolation/the-gateway-is-no-way-around-isolated-ports", topology);
    }

    /// Nodes on different isolated bridges do not reach each other, and each reaches the outside.
    #[rstest]
    #[case::isolated("isolated")]
    #[case::isolated_v6("isolated-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn isolated_bridges_do_not_talk(#[case] topology: &str) {
        claim("isolation/isolated-bridges-do-not-talk", topology);
    }

    /// A node that is on two networks does not forward from one to the other.
    #[rstest]
    #[case::two_networks("two-networks")]
    #[test_log::test]
    fn a_node_on_two_networks_is_no_way_between_them(#[case] topology: &str) {
        claim("isolation/a-node-on-two-networks-is-no-way-between-them", topology);
    }

    /// Who routes an internal network's subnet to the host from outside does not reach its nodes, even where the host forwards.
    #[rstest]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn an_internal_network_is_not_reached_from_outside(#[case] topology: &str) {
        claim("isolation/an-internal-network-is-not-reached-from-outside", topology);
    }

    /// A node of an internal network does not reach another's bridge of the host, nor is it reached from there, even where the host forwards.
    #[rstest]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn an_internal_network_is_apart_from_other_bridges(#[case] topology: &str) {
        claim("isolation/an-internal-network-is-apart-from-other-bridges", topology);
    }

    /// A router advertisement that a node sends makes no route in the host.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated_v6("isolated-v6")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::pair("pair")]
    #[test_log::test]
    fn the_host_ignores_router_advertisements_of_nodes(#[case] topology: &str) {
        claim("isolation/the-host-ignores-router-advertisements-of-nodes", topology);
    }

    /// A frame with another MAC or IP address than the node's own does not leave its port, and the node's own do.
    #[rstest]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn a_forged_source_address_is_dropped(#[case] topology: &str) {
        claim("isolation/a-forged-source-address-is-dropped", topology);
    }

    /// An ARP announcement, request or reply, or a neighbour advertisement, of another's address does not leave the node's port, and one of its own does.
    #[rstest]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn a_forged_arp_reply_is_dropped(#[case] topology: &str) {
        claim("isolation/a-forged-arp-reply-is-dropped", topology);
    }

    /// Where a node sends from its own addresses only, a router advertisement of its does not leave its port.
    #[rstest]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn a_nodes_router_advertisement_does_not_reach_its_peers(#[case] topology: &str) {
        claim("isolation/a-nodes-router-advertisement-does-not-reach-its-peers", topology);
    }

    /// Where a node sends from its own addresses only, its echo, TCP and UDP reach peers, the host and the outside, and its questions whether its address is taken reach its peers.
    #[rstest]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn a_guard_lets_a_nodes_own_frames_pass(#[case] topology: &str) {
        claim("isolation/a-guard-lets-a-nodes-own-frames-pass", topology);
    }
}

/// Packets as large as the MTU pass, larger ones are told, and a bridge keeps what it has.
mod mac_mtu {
    use super::*;

    /// Where the topology asks for an MTU, bridge, ports and nodes have it.
    #[rstest]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn the_asked_mtu_is_everywhere(#[case] topology: &str) {
        claim("mac-mtu/the-asked-mtu-is-everywhere", topology);
    }

    /// A packet as large as the MTU, not to be fragmented, passes between peers, to the host and to the outside.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::mtu("mtu")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_packet_of_the_whole_mtu_passes(#[case] topology: &str) {
        claim("mac-mtu/a-packet-of-the-whole-mtu-passes", topology);
    }

    /// A packet that must not be fragmented and is larger than the MTU is refused with an error, not lost.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::mtu("mtu")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn an_oversize_packet_is_told(#[case] topology: &str) {
        claim("mac-mtu/an-oversize-packet-is-told", topology);
    }

    /// A node hears of a smaller MTU on its way: of the uplink's from its gateway, and of one beyond from the router there.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn a_smaller_mtu_on_the_way_is_told(#[case] topology: &str) {
        claim("mac-mtu/a-smaller-mtu-on-the-way-is-told", topology);
    }

    /// A bridge that loses its last port keeps its address.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal("internal")]
    #[test_log::test]
    fn the_last_port_leaves_the_address_behind(#[case] topology: &str) {
        claim("mac-mtu/the-last-port-leaves-the-address-behind", topology);
    }
}

/// IPv6 addresses are ready when `up` returns, and the host keeps what it had.
mod ipv6 {
    use super::*;

    /// When `up` returns, no node's address and no bridge's is tentative or found to be a duplicate.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish_v6("publish-v6")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated_v6("isolated-v6")]
    #[case::hairpin_v6("hairpin-v6")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[test_log::test]
    fn no_address_is_tentative_when_up_returns(#[case] topology: &str) {
        claim("ipv6/no-address-is-tentative-when-up-returns", topology);
    }

    /// Every node's interface, and every bridge that has an IPv6 address, has a link-local address too.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish_v6("publish-v6")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated_v6("isolated-v6")]
    #[case::hairpin_v6("hairpin-v6")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[test_log::test]
    fn every_end_has_a_link_local_address(#[case] topology: &str) {
        claim("ipv6/every-end-has-a-link-local-address", topology);
    }

    /// No node's IPv6 address, and no bridge's, is deprecated.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish_v6("publish-v6")]
    #[case::internal_v6("internal-v6")]
    #[case::isolated_v6("isolated-v6")]
    #[case::hairpin_v6("hairpin-v6")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[test_log::test]
    fn no_address_is_deprecated(#[case] topology: &str) {
        claim("ipv6/no-address-is-deprecated", topology);
    }

    /// A node that is given an address that its peer has finds it out, and does not use it.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn a_duplicate_is_detected(#[case] topology: &str) {
        claim("ipv6/a-duplicate-is-detected", topology);
    }

    /// With hairpin ports, which return a node's own solicitation to it, a new address becomes usable all the same.
    #[rstest]
    #[case::hairpin_v6("hairpin-v6")]
    #[test_log::test]
    fn hairpin_does_not_fail_duplicate_detection(#[case] topology: &str) {
        claim("ipv6/hairpin-does-not-fail-duplicate-detection", topology);
    }

    /// A host that learned its default route from a router advertisement still has it while the network is up.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn the_host_keeps_its_advertised_default_route(#[case] topology: &str) {
        claim("ipv6/the-host-keeps-its-advertised-default-route", topology);
    }

    /// Over IPv6 nodes reach their peers with a hop limit of 64, and the outside through one router.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish_v6("publish-v6")]
    #[case::hairpin_v6("hairpin-v6")]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn nodes_reach_each_other_and_the_outside(#[case] topology: &str) {
        claim("ipv6/nodes-reach-each-other-and-the-outside", topology);
    }
}

/// Nodes ask a DNS server beyond the host, and get its answers.
mod resolver {
    use super::*;

    /// A node asks the upstream server by UDP for a name, and gets the address that the server has for it.
    #[rstest]
    #[case::resolver("resolver")]
    #[test_log::test]
    fn a_name_is_resolved_by_the_upstream_server(#[case] topology: &str) {
        claim("resolver/a-name-is-resolved-by-the-upstream-server", topology);
    }

    /// For a name that the server does not know, the node gets its answer that there is none, not silence.
    #[rstest]
    #[case::resolver("resolver")]
    #[test_log::test]
    fn a_name_that_is_not_there_is_told(#[case] topology: &str) {
        claim("resolver/a-name-that-is-not-there-is-told", topology);
    }

    /// At the port of DNS the upstream server is reached by TCP, and its datagrams of some 1,200 bytes arrive.
    #[rstest]
    #[case::resolver("resolver")]
    #[test_log::test]
    fn tcp_and_large_answers_pass(#[case] topology: &str) {
        claim("resolver/tcp-and-large-answers-pass", topology);
    }
}

/// What comes goes again, nodes come and go while others talk, and nothing is left behind.
mod lifecycle {
    use super::*;

    /// After `down` the host has the links that it had before `up`, with the queueing disciplines that they had.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_no_link(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-no-link", topology);
    }

    /// After `down` the host has the addresses and routes that it had before `up`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_no_address_or_route(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-no-address-or-route", topology);
    }

    /// After `down` the host has the firewall rules that it had before `up`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_no_rule(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-no-rule", topology);
    }

    /// After `down` the host has the firewall tables and chains that it had before `up`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_no_empty_chain(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-no-empty-chain", topology);
    }

    /// After `down` the host's sysctls are as they were before `up`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_puts_sysctls_back(#[case] topology: &str) {
        claim("lifecycle/a-down-puts-sysctls-back", topology);
    }

    /// After `down` a node's namespace has no link, address or route of the network any more.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_the_nodes_empty(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-the-nodes-empty", topology);
    }

    /// When nodes were added, removed and talked to, `down` leaves the host as it was all the same.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_after_changes_leaves_nothing(#[case] topology: &str) {
        claim("lifecycle/a-down-after-changes-leaves-nothing", topology);
    }

    /// Another's bridge, addresses, routes, neighbours and rules are the same after `down`, and its nodes still talk.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated("isolated")]
    #[case::internal("internal")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_down_leaves_others_alone(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-others-alone", topology);
    }

    /// A host that forwarded before `up` forwards after `down`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn forwarding_that_was_on_stays_on(#[case] topology: &str) {
        claim("lifecycle/forwarding-that-was-on-stays-on", topology);
    }

    /// The host's /etc/resolv.conf and /etc/hosts are the same while the network is up, and after `down`.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::resolver("resolver")]
    #[test_log::test]
    fn the_hosts_resolver_is_left_as_it_is(#[case] topology: &str) {
        claim("lifecycle/the-hosts-resolver-is-left-as-it-is", topology);
    }

    /// After `down` nothing runs any more that `up` or another verb started.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::resolver("resolver")]
    #[test_log::test]
    fn a_down_leaves_no_process(#[case] topology: &str) {
        claim("lifecycle/a-down-leaves-no-process", topology);
    }

    /// After `down` the host remembers no flow to a published port.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn a_down_forgets_its_flows(#[case] topology: &str) {
        claim("lifecycle/a-down-forgets-its-flows", topology);
    }

    /// `down` of what is down already succeeds, and changes nothing.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn down_twice_succeeds(#[case] topology: &str) {
        claim("lifecycle/down-twice-succeeds", topology);
    }

    /// After `down`, `up` builds a network that works.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn up_after_down_works(#[case] topology: &str) {
        claim("lifecycle/up-after-down-works", topology);
    }

    /// `up` of what stands already succeeds or is refused; either way what stands is unchanged and works.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn up_twice_changes_nothing(#[case] topology: &str) {
        claim("lifecycle/up-twice-changes-nothing", topology);
    }

    /// When `up` was called again while the network stood, `down` leaves the host as it was before the first.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_down_after_a_second_up_leaves_nothing(#[case] topology: &str) {
        claim("lifecycle/a-down-after-a-second-up-leaves-nothing", topology);
    }

    /// `down` puts the host's sysctls back also when `up` was called twice, when a node was added, and when a node's namespace is gone.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_down_puts_sysctls_back_whatever_came_before(#[case] topology: &str) {
        claim("lifecycle/a-down-puts-sysctls-back-whatever-came-before", topology);
    }

    /// `down` succeeds and leaves nothing when a node's namespace is gone already.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn down_works_with_a_node_already_gone(#[case] topology: &str) {
        claim("lifecycle/down-works-with-a-node-already-gone", topology);
    }

    /// `down` succeeds and leaves nothing when no node's namespace is there any more.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn down_works_with_every_node_gone(#[case] topology: &str) {
        claim("lifecycle/down-works-with-every-node-gone", topology);
    }

    /// While something holds a node's namespace open, `remove` and `down` take its port out of the host all the same, or fail and say so.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn a_namespace_held_open_leaves_no_port_behind(#[case] topology: &str) {
        claim("lifecycle/a-namespace-held-open-leaves-no-port-behind", topology);
    }

    /// An `up` that fails because a link's name is taken leaves nothing behind once `down` followed it, and the other's link is untouched.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_failed_up_rolls_back(#[case] topology: &str) {
        claim("lifecycle/a-failed-up-rolls-back", topology);
    }

    /// After an `up` that failed and its `down`, the host's sysctls are as they were.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_failed_up_puts_sysctls_back(#[case] topology: &str) {
        claim("lifecycle/a-failed-up-puts-sysctls-back", topology);
    }

    /// An `up` that fails because a link's name is taken has taken back what it made when it returns, without a `down`.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_failed_up_cleans_up_after_itself(#[case] topology: &str) {
        claim("lifecycle/a-failed-up-cleans-up-after-itself", topology);
    }

    /// After an `up` that failed and its `down`, the next `up` works when the name is free again.
    #[rstest]
    #[case::pair("pair")]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[test_log::test]
    fn up_works_once_the_obstacle_is_gone(#[case] topology: &str) {
        claim("lifecycle/up-works-once-the-obstacle-is-gone", topology);
    }

    /// A node that is added reaches itself, its peers and the outside, a second one reaches the first, and a conversation of others goes on without a loss.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_node_is_added_while_others_talk(#[case] topology: &str) {
        claim("lifecycle/a-node-is-added-while-others-talk", topology);
    }

    /// When a node is removed the others' conversation goes on without a loss, and the node's port is gone.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_node_is_removed_while_others_talk(#[case] topology: &str) {
        claim("lifecycle/a-node-is-removed-while-others-talk", topology);
    }

    /// After a node was added and removed, the host is as it was before, and nothing of the network is left in the node's namespace.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_removed_node_leaves_nothing(#[case] topology: &str) {
        claim("lifecycle/a-removed-node-leaves-nothing", topology);
    }

    /// To a bridge that has all of its 1023 ports no node is added: `add` fails, leaves nothing behind once `remove` followed it, and works when a port is free.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[test_log::test]
    fn a_node_beyond_the_last_port_is_refused(#[case] topology: &str) {
        claim("lifecycle/a-node-beyond-the-last-port-is-refused", topology);
    }

    /// A node that was removed and is added again works as before, and its peers reach it.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::isolated("isolated")]
    #[test_log::test]
    fn a_removed_node_may_come_back(#[case] topology: &str) {
        claim("lifecycle/a-removed-node-may-come-back", topology);
    }

    /// A node that is added to isolated ports, to an isolated bridge or to an internal one does not reach whom the others do not reach, nor is it reached, in every IP version.
    #[rstest]
    #[case::isolated_ports("isolated-ports")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[case::isolated("isolated")]
    #[case::isolated_v6("isolated-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn an_added_node_is_as_isolated_as_the_others(#[case] topology: &str) {
        claim("lifecycle/an-added-node-is-as-isolated-as-the-others", topology);
    }

    /// Once a node was added, there is no direct way to its unpublished ports, the host's loopback services are closed, the host takes no router advertisement, and where nodes may not forge source addresses the new one may not.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn guards_hold_when_a_node_was_added(#[case] topology: &str) {
        claim("lifecycle/guards-hold-when-a-node-was-added", topology);
    }

    /// Where the network passes another's FORWARD chain whose policy is drop, it does so once a node was added: the new one and the others.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn an_added_node_passes_a_forward_policy_of_drop(#[case] topology: &str) {
        claim("lifecycle/an-added-node-passes-a-forward-policy-of-drop", topology);
    }

    /// In an added node lo is up, its MTU is the network's, its broadcast address the subnet's, and the bridge learns on which port it is.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::mtu("mtu")]
    #[test_log::test]
    fn an_added_node_is_set_up_as_the_others(#[case] topology: &str) {
        claim("lifecycle/an-added-node-is-set-up-as-the-others", topology);
    }

    /// A TCP and a UDP port that are published for a node that was added answer the outside, the host, peers and the node itself, and the others' still answer.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn an_added_nodes_published_port_answers(#[case] topology: &str) {
        claim("lifecycle/an-added-nodes-published-port-answers", topology);
    }

    /// When a node is removed its published TCP and UDP ports are closed, and the others' still answer.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[case::isolated_publish("isolated-publish")]
    #[test_log::test]
    fn a_removed_nodes_published_port_is_closed(#[case] topology: &str) {
        claim("lifecycle/a-removed-nodes-published-port-is-closed", topology);
    }

    /// An open connection to a published port, and a node's to the outside, go on when other nodes are added and removed and when the rules are reloaded.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn an_open_connection_outlives_what_happens_to_others(#[case] topology: &str) {
        claim("lifecycle/an-open-connection-outlives-what-happens-to-others", topology);
    }

    /// When a removed node's address comes back with a new node, host and peers reach it at the first ping.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn a_reused_address_is_reached_at_once(#[case] topology: &str) {
        claim("lifecycle/a-reused-address-is-reached-at-once", topology);
    }

    /// Where an added node's addresses are announced by gratuitous ARP or an unsolicited neighbour advertisement, it is once the port forwards: the bridge hears it.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn what_an_added_node_announces_is_heard(#[case] topology: &str) {
        claim("lifecycle/what-an-added-node-announces-is-heard", topology);
    }

    /// After a node was removed the host has no usable neighbour entry for its address.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[test_log::test]
    fn no_stale_neighbour_is_left_of_a_removed_node(#[case] topology: &str) {
        claim("lifecycle/no-stale-neighbour-is-left-of-a-removed-node", topology);
    }

    /// After the firewall was flushed, `reload` makes the way out work again, and published ports for the outside, the host, peers and their own node.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn rules_are_restored_after_a_flush(#[case] topology: &str) {
        claim("lifecycle/rules-are-restored-after-a-flush", topology);
    }

    /// After the firewall was flushed, `reload` makes isolated and internal networks isolated again, in every IP version.
    #[rstest]
    #[case::isolated("isolated")]
    #[case::isolated_v6("isolated-v6")]
    #[case::isolated_ports("isolated-ports")]
    #[case::isolated_ports_v6("isolated-ports-v6")]
    #[case::internal("internal")]
    #[case::internal_v6("internal-v6")]
    #[test_log::test]
    fn isolation_is_restored_after_a_flush(#[case] topology: &str) {
        claim("lifecycle/isolation-is-restored-after-a-flush", topology);
    }

    /// After the firewall was flushed, `reload` closes again what was closed: the direct way to unpublished ports, the host's loopback services, router advertisements, and forged source addresses.
    #[rstest]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[case::publish_loopback("publish-loopback")]
    #[case::anti_spoof("anti-spoof")]
    #[test_log::test]
    fn guards_are_restored_after_a_flush(#[case] topology: &str) {
        claim("lifecycle/guards-are-restored-after-a-flush", topology);
    }

    /// After another's firewall was loaded anew, whose FORWARD chain drops by its policy, `reload` lets the network through it again, and a further `reload` adds nothing to it.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::gateway_v6("gateway-v6")]
    #[case::publish("publish")]
    #[test_log::test]
    fn a_reload_passes_a_forward_policy_of_drop(#[case] topology: &str) {
        claim("lifecycle/a-reload-passes-a-forward-policy-of-drop", topology);
    }

    /// `reload` where nothing was flushed leaves the rules as they are, none twice.
    #[rstest]
    #[case::gateway_one_subnet("gateway-one-subnet")]
    #[case::publish("publish")]
    #[case::isolated("isolated")]
    #[case::isolated_ports("isolated-ports")]
    #[test_log::test]
    fn a_reload_doubles_nothing(#[case] topology: &str) {
        claim("lifecycle/a-reload-doubles-nothing", topology);
    }

    /// A UDP client that keeps its source port is answered by the new node once a published port was pointed at it.
    #[rstest]
    #[case::publish("publish")]
    #[case::publish_v6("publish-v6")]
    #[test_log::test]
    fn a_udp_flow_follows_a_re_pointed_port(#[case] topology: &str) {
        claim("lifecycle/a-udp-flow-follows-a-re-pointed-port", topology);
    }
}

/// Nodes in one VLAN reach each other, and nobody else.
mod vlan {
    use super::*;

    /// Nodes in the same VLAN reach each other from a cold start.
    #[rstest]
    #[case::vlan("vlan")]
    #[test_log::test]
    fn one_vlan_is_one_network(#[case] topology: &str) {
        claim("vlan/one-vlan-is-one-network", topology);
    }

    /// Nodes in different VLANs of one bridge do not reach each other, though they are in one subnet.
    #[rstest]
    #[case::vlan("vlan")]
    #[test_log::test]
    fn two_vlans_are_apart(#[case] topology: &str) {
        claim("vlan/two-vlans-are-apart", topology);
    }
}
