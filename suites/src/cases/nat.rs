//! NAT: what the outside sees of the nodes, and published ports, from everywhere.
//!
//! ```text
//! outside --- eth0 192.0.2.2:8080 [host: br0] --- [netns1 :80] [netns2]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netproof::{
    Lab, Server,
    topology::{Publish, Transport},
};

use super::prelude::*;

pub(super) mod exposure;
mod host;
mod reach;
mod translate;

const PUBLISHED: &[&str] = &["publish", "publish-v6"];
const WAY_OUT: &[&str] = &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "isolated-ports", "mtu"];

pub(super) const SUITE: Suite = Suite {
    name: "nat",
    about: "Source addresses on the way out, and published ports: reached from everywhere, and only where they should be.",
    cases: &[
        Case {
            id: "nat/the-outside-sees-the-uplinks-address",
            level: Must,
            claim: "A server outside sees a node's connection come from the uplink's address.",
            source: "article line 118, left out; RFC 3022",
            failing: "Replies from the outside have nowhere to go, and private addresses leak.",
            on: WAY_OUT,
            start: Built,
            run: translate::outside_sees_uplink,
        },
        Case {
            id: "nat/two-nodes-may-use-one-source-port",
            level: Must,
            claim: "Nodes that speak from the same source port to the same server outside get each its own answers.",
            source: "RFC 3022 section 2.2; RFC 4787",
            failing: "Of two containers that use the same port only one has a network.",
            on: WAY_OUT,
            start: Built,
            run: translate::one_source_port,
        },
        Case {
            id: "nat/peers-see-each-others-own-address",
            level: Must,
            claim: "A server in one node sees the other node's own address, whether bridged frames pass the firewall or not.",
            source: "firewalld#501; kernel br_netfilter",
            failing: "Containers cannot tell each other apart, and rules by address fail.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "internal", "internal-v6"],
            start: Built,
            run: translate::peers_see_own,
        },
        Case {
            id: "nat/the-way-out-does-not-depend-on-bridge-netfilter",
            level: Must,
            claim: "A node reaches the outside, which sees the uplink's address, with bridged frames shown to the firewall or not.",
            source: "kernel br_netfilter; bridge-nf-call-iptables is 1 wherever the module is loaded",
            failing: "Containers lose their way out as soon as somebody loads br_netfilter, as Docker and Kubernetes do.",
            on: &[
                "gateway",
                "gateway-two-subnets",
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "publish-v6",
                "isolated",
                "isolated-v6",
                "isolated-ports",
                "isolated-ports-v6",
                "two-networks",
            ],
            start: Built,
            run: translate::any_brnf,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-outside",
            level: Must,
            claim: "A published TCP port and a published UDP port answer from outside, at the address that was asked.",
            source: "moby TestAccessPublishedPortFromRemoteHost",
            failing: "A published service cannot be reached.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: reach::from_outside,
        },
        Case {
            id: "nat/the-client-address-is-preserved",
            level: Must,
            claim: "A published service sees the outside client's own address.",
            source: "moby#7540, moby#15086",
            failing: "Logs, rate limits and access lists of a published service see the gateway only.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: translate::client_preserved,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-the-host",
            level: Must,
            claim: "The host reaches a published port at its own addresses, the uplink's and the gateway's.",
            source: "libvirt-hook-qemu#11; needs a rule in OUTPUT",
            failing: "The host's own programs cannot use what it publishes.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: reach::from_the_host,
        },
        Case {
            id: "nat/a-published-port-is-reached-by-loopback",
            level: Should,
            claim: "The host reaches a published port at 127.0.0.1.",
            source: "CNI portmap tests; netavark tests",
            failing: "`curl localhost:8080` fails on the very machine that publishes it.",
            on: &["publish", "publish-v6", "publish-loopback", "isolated-publish"],
            start: Built,
            run: reach::by_loopback,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-a-peer",
            level: Must,
            claim: "Another node on the bridge reaches the published port at the host's addresses, the uplink's and the gateway's, with bridged frames shown to the firewall or not.",
            source: "moby#29330",
            failing: "A container cannot use a published service by the address that everybody else uses.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: reach::from_a_peer,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-its-own-node",
            level: Must,
            claim: "The node that serves a published port reaches itself by it, with bridged frames shown to the firewall or not.",
            source: "moby TestPortMappedHairpin; CNI hairpinMode",
            failing: "A service that calls itself by its public name hangs.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: reach::from_itself,
        },
        Case {
            id: "nat/a-published-port-is-reached-from-another-bridge",
            level: Should,
            claim: "A node on another bridge reaches the published port at the host's address.",
            source: "moby#49509 TestAccessToPublishedPort",
            failing: "Two networks of one host cannot use each other's published services.",
            on: &["isolated-publish"],
            start: Built,
            run: reach::from_another_bridge,
        },
        Case {
            id: "nat/a-published-port-is-reached-with-any-rp-filter",
            level: Should,
            claim: "A published port answers from outside, from a peer and from its own node with rp_filter 0, 1 and 2.",
            source: "RFC 3704; netavark#962",
            failing: "Published services stop on distributions that filter by the reverse path.",
            on: PUBLISHED,
            start: Built,
            run: reach::any_rp_filter,
        },
        Case {
            id: "nat/a-large-answer-arrives-whole",
            level: Should,
            claim: "A body of 300,000 bytes, and a datagram of 1,400, arrive whole from a published service, and at a node from outside.",
            source: "moby#49398; RFC 1191",
            failing: "Small requests work, and downloads hang.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: reach::large_answer,
        },
        Case {
            id: "nat/a-published-port-without-a-service-refuses",
            level: Should,
            claim: "Where nothing serves behind a published port, the client outside is refused at once, TCP and UDP, by the address that it asked.",
            source: "RFC 5508; RFC 9293 3.10.7.1",
            failing: "Clients of a service that is down wait for a time-out.",
            on: PUBLISHED,
            start: Built,
            run: translate::refused,
        },
        Case {
            id: "nat/the-hosts-own-services-stay-reachable",
            level: Must,
            claim: "A service of the host's own answers the outside at the uplink's address, and nodes at their gateway's.",
            source: "the topology publishes its own ports, and no other",
            failing: "Starting a container cuts off the host's own services, its SSH server first.",
            on: &[
                "gateway-one-subnet",
                "gateway-v6",
                "publish",
                "publish-v6",
                "isolated",
                "isolated-ports-v6",
                "internal",
                "internal-v6",
            ],
            start: Built,
            run: host::own_services,
        },
        Case {
            id: "nat/the-hosts-own-traffic-passes",
            level: Must,
            claim: "The host and the outside ping each other, and the host's own TCP and UDP to the outside are answered, errors included.",
            source: "a network for containers is no firewall for its host",
            failing: "Starting a container cuts off the host's own updates, DNS and monitoring.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "publish-v6", "isolated", "internal"],
            start: Built,
            run: host::own_traffic,
        },
        Case {
            id: "nat/errors-from-outside-come-back-to-the-node",
            level: Must,
            claim: "Where the outside answers a node's datagram with an ICMP error, the node hears it.",
            source: "RFC 5508 REQ-3; RFC 4443",
            failing: "Programs wait for time-outs, and path MTU discovery fails.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "isolated-ports", "mtu"],
            start: Built,
            run: host::errors_come_back,
        },
        Case {
            id: "nat/another-address-of-the-uplink-is-taken",
            level: Should,
            claim: "When the uplink gets another address, nodes' new flows leave with that one.",
            source: "iptables-extensions(8), MASQUERADE; DHCP on the uplink",
            failing: "After the host has moved to another network its containers have no way out.",
            on: &["gateway-one-subnet", "isolated"],
            start: Built,
            run: host::another_address,
        },
        Case {
            id: "nat/only-what-is-for-the-host-is-passed-on",
            level: Must,
            claim: "A node's connection to the same port of another host outside is not drawn to the published service.",
            source: "CNI portmap, dst-type LOCAL",
            failing: "Connections to other hosts end up in the wrong container.",
            on: PUBLISHED,
            start: Built,
            run: translate::not_hijacked,
        },
        Case {
            id: "nat/loopback-services-of-the-host-are-not-exposed",
            level: Must,
            claim: "A service on the host's 127.0.0.1 cannot be reached from outside or from a node that routes 127.0.0.1 to it.",
            source: "CVE-2020-8558; kubernetes#92315",
            failing: "Services that trust the loopback interface are open to the neighbours.",
            on: &["publish", "publish-loopback", "isolated-publish", "gateway-one-subnet"],
            start: Built,
            run: exposure::loopback_closed,
        },
        Case {
            id: "nat/a-loopback-port-is-published-to-the-host-only",
            level: Must,
            claim: "A port published on 127.0.0.1 answers the host, and neither the outside nor a node at the host's other addresses.",
            source: "moby#45610, moby#41872",
            failing: "A port that is meant for this machine only is open to the network.",
            on: &["publish-loopback"],
            start: Built,
            run: exposure::loopback_only,
        },
        Case {
            id: "nat/a-loopback-port-is-closed-to-forged-frames",
            level: Must,
            claim: "A frame to 127.0.0.1 that a neighbour puts on the wire does not reach a port that is published there.",
            source: "moby#45610; CVE-2020-8558",
            failing: "Whoever is on the same network reaches a port that is meant for this machine only.",
            on: &["publish-loopback"],
            start: Built,
            run: exposure::loopback_forged,
        },
        Case {
            id: "nat/unpublished-ports-have-no-direct-way-in",
            level: Should,
            claim: "Who routes a node's subnet to the host from outside does not reach the node's unpublished ports.",
            source: "moby#49325, moby#48724",
            failing: "Every port of every container is open to whoever shares the host's network.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "publish-v6", "isolated"],
            start: Built,
            run: exposure::no_direct_way,
        },
        Case {
            id: "nat/an-unpublished-port-is-closed",
            level: Must,
            claim: "A port next to a published one is not passed on, even where the node serves it.",
            source: "the topology publishes two ports, and no other",
            failing: "More is published than was asked for.",
            on: PUBLISHED,
            start: Built,
            run: exposure::next_port_closed,
        },
    ],
};

/// What a topology publishes by this transport.
fn published(lab: &Lab, transport: Transport) -> Vec<Publish> {
    lab.topology().nat.publish.iter().filter(|rule| rule.protocol == transport).cloned().collect()
}

/// Serves, in its node, what a published port leads to.
fn serve(lab: &Lab, rule: &Publish, version: Version) -> Result<Server> {
    let node = lab.node(&rule.node);
    let at = (version.of(node), rule.node_port);
    match rule.protocol {
        Transport::Tcp => node.serve_http(at),
        Transport::Udp => node.serve_udp(at),
    }
}

/// Asks every published port of `at` from a namespace, with a service behind each.
fn answers(lab: &Lab, from: &Node, at: &Target, version: Version) -> Result<()> {
    lab.topology().nat.publish.iter().try_for_each(|rule| answers_by(lab, from, at, version, rule))
}

/// Asks a published port of `at` from a namespace, with a service behind it.
pub(super) fn answers_by(lab: &Lab, from: &Node, at: &Target, version: Version, rule: &Publish) -> Result<()> {
    let _server = serve(lab, rule, version)?;
    asked(from, at, rule);
    Ok(())
}

/// Asks a published port of `at`, behind which there is a service.
fn asked(from: &Node, at: &Target, rule: &Publish) {
    let (to, address) = ((at.clone(), rule.port), at.address.to_string());
    match rule.protocol {
        Transport::Tcp => {
            expect!(from.http(to).get(), Status { code: 200, server, .. } if server == rule.node);
        }
        Transport::Udp => {
            expect!(from.udp_to(to), Answer { server, from, .. } if server == rule.node && from == address);
        }
    }
}

fn loopback(version: Version) -> Target {
    Target::from(match version {
        Version::V4 => IpAddr::from(Ipv4Addr::LOCALHOST),
        Version::V6 => IpAddr::from(Ipv6Addr::LOCALHOST),
    })
}
