//! Isolation: who must not reach whom, tried as an attacker would.
//!
//! ```text
//! [netns1] [netns2] --- [host: br0, br1] --- [netns3] [netns4]
//! ```

use super::prelude::*;

mod advertised;
mod apart;
mod internal;
mod spoof;

pub(super) use self::advertised::advertisements_ignored;

pub(super) const SUITE: Suite = Suite {
    name: "isolation",
    about: "Nodes, bridges and hosts that are to be kept apart are apart, in both IP versions.",
    cases: &[
        Case {
            id: "isolation/isolated-ports-do-not-talk",
            level: Must,
            claim: "Nodes on isolated ports do not reach each other, and each reaches its gateway.",
            source: "kernel selftest bridge_port_isolation; docker icc=false; CNI portIsolation",
            failing: "Containers of different tenants on one network can attack each other.",
            on: &["isolated-ports", "isolated-ports-v6"],
            start: Built,
            run: apart::ports_do_not_talk,
        },
        Case {
            id: "isolation/the-gateway-is-no-way-around-isolated-ports",
            level: Should,
            claim: "A node on an isolated port that routes its peer's address via the gateway does not reach the peer.",
            source: "kernel bridge isolated: frames are kept apart, packets are not",
            failing: "Port isolation is bypassed with one command in a container.",
            on: &["isolated-ports", "isolated-ports-v6"],
            start: Built,
            run: apart::no_way_around,
        },
        Case {
            id: "isolation/isolated-bridges-do-not-talk",
            level: Must,
            claim: "Nodes on different isolated bridges do not reach each other, and each reaches the outside.",
            source: "netavark#1515, netavark#331; docker networks",
            failing: "Two networks that are meant to be apart are one.",
            on: &["isolated", "isolated-v6", "isolated-publish"],
            start: Built,
            run: apart::bridges_do_not_talk,
        },
        Case {
            id: "isolation/a-node-on-two-networks-is-no-way-between-them",
            level: Should,
            claim: "A node that is on two networks does not forward from one to the other.",
            source: "RFC 1122 3.3.1: a host forwards only where it was told to",
            failing: "A container on two networks joins what is meant to be apart.",
            on: &["two-networks"],
            start: Built,
            run: apart::node_is_no_router,
        },
        Case {
            id: "isolation/an-internal-network-is-not-reached-from-outside",
            level: Must,
            claim: "Who routes an internal network's subnet to the host from outside does not reach its nodes, even where the host forwards.",
            source: "docker network create --internal",
            failing: "A network that is meant to be cut off is open to the host's neighbours.",
            on: &["internal", "internal-v6"],
            start: Built,
            run: internal::not_reached,
        },
        Case {
            id: "isolation/an-internal-network-is-apart-from-other-bridges",
            level: Must,
            claim: "A node of an internal network does not reach another's bridge of the host, nor is it reached from there, even where the host forwards.",
            source: "docker network create --internal; netavark test \"internal network\"",
            failing: "A container that is meant to be cut off can reach the host's other networks, and is reached from there.",
            on: &["internal", "internal-v6"],
            start: Prepared,
            run: internal::no_way_to_other_bridges,
        },
        Case {
            id: "isolation/the-host-ignores-router-advertisements-of-nodes",
            level: Must,
            claim: "A router advertisement that a node sends makes no route in the host.",
            source: "CVE-2020-13401; incus#2743",
            failing: "A container can draw the host's IPv6 traffic to itself.",
            on: &["gateway-v6", "internal-v6", "isolated-v6", "gateway-one-subnet", "pair"],
            start: Built,
            run: advertisements_ignored,
        },
        Case {
            id: "isolation/a-forged-source-address-is-dropped",
            level: May,
            claim: "A frame with another MAC or IP address than the node's own does not leave its port, and the node's own do.",
            source: "containernetworking/plugins#639",
            failing: "A container can speak in another's name.",
            on: &["anti-spoof"],
            start: Built,
            run: spoof::forged_sources,
        },
        Case {
            id: "isolation/a-forged-arp-reply-is-dropped",
            level: May,
            claim: "An ARP announcement, request or reply, or a neighbour advertisement, of another's address does not leave the node's port, and one of its own does.",
            source: "containernetworking/plugins#639; RFC 5227",
            failing: "A container can draw another's traffic to itself.",
            on: &["anti-spoof"],
            start: Built,
            run: spoof::forged_neighbours,
        },
        Case {
            id: "isolation/a-nodes-router-advertisement-does-not-reach-its-peers",
            level: May,
            claim: "Where a node sends from its own addresses only, a router advertisement of its does not leave its port.",
            source: "RFC 6105; CVE-2020-13401",
            failing: "A container can draw its neighbours' IPv6 traffic to itself.",
            on: &["anti-spoof"],
            start: Built,
            run: spoof::advertisements_dropped,
        },
        Case {
            id: "isolation/a-guard-lets-a-nodes-own-frames-pass",
            level: Must,
            claim: "Where a node sends from its own addresses only, its echo, TCP and UDP reach peers, the host and the outside, and its questions whether its address is taken reach its peers.",
            source: "RFC 4862 5.4; RFC 5227 2.1.1",
            failing: "The guard against spoofing cuts honest containers off.",
            on: &["anti-spoof"],
            start: Built,
            run: spoof::own_frames_pass,
        },
    ],
};
