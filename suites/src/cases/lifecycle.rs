//! Coming, going, and coming again.
//!
//! ```text
//! outside --- eth0 [host: br0] --- [netns1] [netns2] (+ newcomer)
//! ```

use netproof::{
    Inventory, Lab,
    inventory::{Change, Kind},
    topology::{self, Publish, Transport},
};

use super::prelude::*;

mod again;
mod left;
mod nodes;
mod rules;

const NETWORKS: &[&str] =
    &["gateway-one-subnet", "gateway-v6", "publish", "publish-v6", "isolated", "internal", "isolated-ports"];

pub(super) const SUITE: Suite = Suite {
    name: "lifecycle",
    about: "What comes goes again, nodes come and go while others talk, and nothing is left behind.",
    cases: &[
        left(
            "lifecycle/a-down-leaves-no-link",
            "After `down` the host has the links that it had before `up`.",
            "Bridges and veths pile up until names clash.",
            left::no_link,
        ),
        left(
            "lifecycle/a-down-leaves-no-address-or-route",
            "After `down` the host has the addresses and routes that it had before `up`.",
            "Traffic is sent to networks that are not there any more.",
            left::no_route,
        ),
        left(
            "lifecycle/a-down-leaves-no-rule",
            "After `down` the host has the firewall rules that it had before `up`.",
            "Rules for networks that are gone translate and drop others' traffic.",
            left::no_rule,
        ),
        Case {
            level: Should,
            ..left(
                "lifecycle/a-down-leaves-no-empty-chain",
                "After `down` the host has the firewall tables and chains that it had before `up`.",
                "Empty chains pile up; they do no harm but to the reader.",
                left::no_chain,
            )
        },
        Case {
            level: Should,
            ..left(
                "lifecycle/a-down-puts-sysctls-back",
                "After `down` the host's sysctls are as they were before `up`.",
                "A host that was no router remains one.",
                left::no_sysctl,
            )
        },
        left(
            "lifecycle/a-down-leaves-the-nodes-empty",
            "After `down` a node's namespace has no link, address or route of the network any more.",
            "A container that is moved to another network is still on the first.",
            left::nodes_empty,
        ),
        left(
            "lifecycle/a-down-after-changes-leaves-nothing",
            "When nodes were added, removed and talked to, `down` leaves the host as it was all the same.",
            "What came later is forgotten when the network is removed.",
            left::after_changes,
        ),
        left(
            "lifecycle/a-down-leaves-others-alone",
            "Another's bridge, addresses, routes, neighbours and rules are the same after `down`, and its nodes still talk.",
            "Removing one network breaks the host's others.",
            left::others_alone,
        ),
        Case {
            id: "lifecycle/forwarding-that-was-on-stays-on",
            level: Must,
            claim: "A host that forwarded before `up` forwards after `down`.",
            source: "docs/driver-protocol.md, `down`",
            failing: "Removing the last container stops a router from routing.",
            on: &["gateway-one-subnet", "gateway-v6", "publish"],
            start: Prepared,
            run: left::forwarding_stays,
        },
        Case {
            id: "lifecycle/a-down-forgets-its-flows",
            level: Should,
            claim: "After `down` the host remembers no flow to a published port.",
            source: "moby#8795; kernel nf_conntrack",
            failing: "A client that keeps sending is led to an address that is gone, or somebody else's.",
            on: &["publish", "publish-v6"],
            start: Built,
            run: left::no_flow,
        },
        Case {
            id: "lifecycle/down-twice-succeeds",
            level: Must,
            claim: "`down` of what is down already succeeds, and changes nothing.",
            source: "containernetworking/cni#124; docs/driver-protocol.md",
            failing: "A clean-up that is tried again fails for ever.",
            on: &["gateway-one-subnet", "publish", "isolated"],
            start: Built,
            run: again::down_twice,
        },
        Case {
            id: "lifecycle/up-after-down-works",
            level: Must,
            claim: "After `down`, `up` builds a network that works.",
            source: "docs/driver-protocol.md",
            failing: "A network that was stopped cannot be started again.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: again::up_again,
        },
        Case {
            id: "lifecycle/up-twice-changes-nothing",
            level: Must,
            claim: "`up` of what stands already succeeds or is refused; either way what stands is unchanged and works.",
            source: "CNI \"handles an existing bridge\"; docs/driver-protocol.md",
            failing: "A repeated start breaks a running network.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: again::up_twice,
        },
        Case {
            id: "lifecycle/down-works-with-a-node-already-gone",
            level: Must,
            claim: "`down` succeeds and leaves nothing when a node's namespace is gone already.",
            source: "netavark#1451; containernetworking/cni#810",
            failing: "A container that crashed leaves its rules and addresses behind.",
            on: &["gateway-one-subnet", "publish"],
            start: Prepared,
            run: left::node_gone,
        },
        Case {
            id: "lifecycle/down-works-with-every-node-gone",
            level: Must,
            claim: "`down` succeeds and leaves nothing when no node's namespace is there any more.",
            source: "netavark#1451; containernetworking/cni#810",
            failing: "After a reboot of its containers a network can never be removed.",
            on: &["gateway-one-subnet", "publish"],
            start: Prepared,
            run: left::all_gone,
        },
        Case {
            id: "lifecycle/a-namespace-held-open-leaves-no-port-behind",
            level: Should,
            claim: "While something holds a node's namespace open, `remove` and `down` take its port out of the host all the same, or fail and say so.",
            source: "moby#41136; network_namespaces(7)",
            failing: "A process that outlives its container leaves a port on the bridge, and the next container's name clashes.",
            on: &["pair", "gateway-one-subnet", "publish", "isolated"],
            start: Built,
            run: left::held_open,
        },
        Case {
            id: "lifecycle/a-failed-up-rolls-back",
            level: Must,
            claim: "An `up` that fails because a link's name is taken leaves nothing behind once `down` followed it, and the other's link is untouched.",
            source: "moby TestJoinError; CNI ipam release",
            failing: "A start that failed half-way blocks the next one.",
            on: &["pair", "gateway-one-subnet", "publish"],
            start: Prepared,
            run: again::rolls_back,
        },
        Case {
            id: "lifecycle/a-failed-up-cleans-up-after-itself",
            level: Should,
            claim: "An `up` that fails because a link's name is taken has taken back what it made when it returns, without a `down`.",
            source: "moby TestJoinError; CNI ipam release",
            failing: "Whoever forgets to clean up after an error has half a network.",
            on: &["pair", "gateway-one-subnet", "publish"],
            start: Prepared,
            run: again::cleans_up,
        },
        Case {
            id: "lifecycle/up-works-once-the-obstacle-is-gone",
            level: Must,
            claim: "After an `up` that failed and its `down`, the next `up` works when the name is free again.",
            source: "moby TestJoinError",
            failing: "One failed start blocks every later one.",
            on: &["pair", "gateway-one-subnet", "publish"],
            start: Prepared,
            run: again::works_after,
        },
        Case {
            id: "lifecycle/a-node-is-added-while-others-talk",
            level: Must,
            claim: "A node that is added reaches its peers and the outside, and a conversation of others goes on without a loss.",
            source: "netavark#183",
            failing: "Starting a container disturbs those that run.",
            on: &["gateway-one-subnet", "gateway-v6", "publish"],
            start: Built,
            run: nodes::added,
        },
        Case {
            id: "lifecycle/a-node-is-removed-while-others-talk",
            level: Must,
            claim: "When a node is removed the others' conversation goes on without a loss, and the node's port is gone.",
            source: "netavark#183",
            failing: "Stopping a container disturbs those that run.",
            on: &["gateway-one-subnet", "gateway-v6", "publish"],
            start: Built,
            run: nodes::removed,
        },
        Case {
            id: "lifecycle/a-removed-node-leaves-nothing",
            level: Must,
            claim: "After a node was added and removed, the host is as it was before.",
            source: "netavark test \"only loopback adapter\"; CNI DEL",
            failing: "Each container that comes and goes leaves something behind.",
            on: &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "isolated-ports"],
            start: Built,
            run: nodes::leaves_nothing,
        },
        Case {
            id: "lifecycle/a-node-beyond-the-last-port-is-refused",
            level: Should,
            claim: "To a bridge that has all of its 1023 ports no node is added: `add` fails, leaves nothing behind once `remove` followed it, and works when a port is free.",
            source: "kernel net/bridge/br_private.h, BR_MAX_PORTS; moby#14718, moby#44973",
            failing: "The container beyond the last port starts without a network, or leaves half of one.",
            on: &["gateway-one-subnet"],
            start: Built,
            run: nodes::beyond_the_last_port,
        },
        Case {
            id: "lifecycle/a-removed-node-may-come-back",
            level: Must,
            claim: "A node that was removed and is added again works as before, and its peers reach it.",
            source: "CNI DEL, ADD; docker network disconnect, connect",
            failing: "A container that is restarted has no network.",
            on: &["gateway-one-subnet", "gateway-v6", "isolated"],
            start: Built,
            run: nodes::comes_back,
        },
        Case {
            id: "lifecycle/an-added-node-is-as-isolated-as-the-others",
            level: Must,
            claim: "A node that is added to isolated ports, or to an isolated bridge, does not reach whom the others do not reach.",
            source: "docker icc=false; netavark#331",
            failing: "The guard holds for the containers of the first minute only.",
            on: &["isolated-ports", "isolated"],
            start: Built,
            run: nodes::added_isolated,
        },
        Case {
            id: "lifecycle/an-added-nodes-published-port-answers",
            level: Must,
            claim: "A port that is published for a node that was added answers from outside, and the others' still do.",
            source: "CNI portmap ADD; netavark",
            failing: "Only containers that were there at first can publish ports.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: rules::added_port,
        },
        Case {
            id: "lifecycle/a-removed-nodes-published-port-is-closed",
            level: Must,
            claim: "When a node is removed its published port is closed, and the others' still answer.",
            source: "CNI portmap DEL; moby#53384",
            failing: "A port leads to whoever gets the old container's address next.",
            on: &["publish", "publish-v6", "isolated-publish"],
            start: Built,
            run: rules::removed_port,
        },
        Case {
            id: "lifecycle/an-open-connection-outlives-what-happens-to-others",
            level: Must,
            claim: "An open connection to a published port, and a node's to the outside, go on when other nodes are added and removed and when the rules are reloaded.",
            source: "moby#15254; netavark firewalld reload",
            failing: "Starting a container cuts off the clients of another.",
            on: &["publish", "publish-v6"],
            start: Built,
            run: rules::open_connections,
        },
        Case {
            id: "lifecycle/a-reused-address-is-reached-at-once",
            level: Should,
            claim: "When a removed node's address comes back with a new node, host and peers reach it at the first ping.",
            source: "moby#36069; containernetworking/cni#88",
            failing: "A container that was replaced is out of reach until old neighbour entries expire.",
            on: &["gateway-one-subnet", "gateway-v6"],
            start: Built,
            run: nodes::reused,
        },
        Case {
            id: "lifecycle/what-an-added-node-announces-is-heard",
            level: Should,
            claim: "Where an added node's addresses are announced by gratuitous ARP or an unsolicited neighbour advertisement, it is once the port forwards: the bridge hears it.",
            source: "moby#49364; containernetworking/plugins#463; RFC 5227; RFC 4861 7.2.6",
            failing: "The announcement is lost, and peers keep sending to whoever had the address before.",
            on: &["gateway-one-subnet", "gateway-v6"],
            start: Built,
            run: nodes::announced,
        },
        Case {
            id: "lifecycle/no-stale-neighbour-is-left-of-a-removed-node",
            level: Should,
            claim: "After a node was removed the host has no usable neighbour entry for its address.",
            source: "moby#36069",
            failing: "The host sends to a MAC address that nobody has any more.",
            on: &["gateway-one-subnet", "gateway-v6"],
            start: Built,
            run: nodes::no_stale_neighbour,
        },
        Case {
            id: "lifecycle/rules-are-restored-after-a-flush",
            level: Should,
            claim: "After the firewall was flushed, `reload` makes the way out and published ports work again.",
            source: "moby#15254; netavark firewalld reload",
            failing: "Reloading the host's firewall cuts off every container for good.",
            on: &["gateway-one-subnet", "gateway-v6", "publish"],
            start: Built,
            run: rules::reloaded,
        },
        Case {
            id: "lifecycle/isolation-is-restored-after-a-flush",
            level: Should,
            claim: "After the firewall was flushed, `reload` makes isolated networks isolated again.",
            source: "netavark firewalld reload; moby#15254",
            failing: "Reloading the host's firewall opens what was closed.",
            on: &["isolated", "isolated-ports"],
            start: Built,
            run: rules::isolation_reloaded,
        },
        Case {
            id: "lifecycle/a-reload-doubles-nothing",
            level: Should,
            claim: "`reload` where nothing was flushed leaves the rules as they are, none twice.",
            source: "netavark firewalld reload",
            failing: "Rules pile up with every reload of the firewall.",
            on: &["gateway-one-subnet", "publish", "isolated", "isolated-ports"],
            start: Built,
            run: rules::no_doubles,
        },
        Case {
            id: "lifecycle/a-udp-flow-follows-a-re-pointed-port",
            level: Must,
            claim: "A UDP client that keeps its source port is answered by the new node once a published port was pointed at it.",
            source: "CNI#123; moby#8795, moby#53384",
            failing: "Traffic keeps going to a container that is gone, as long as the client keeps sending.",
            on: &["publish", "publish-v6"],
            start: Built,
            run: rules::re_pointed,
        },
    ],
};

/// A case about what is left after `down`.
const fn left(id: &'static str, claim: &'static str, failing: &'static str, run: fn(&mut Stage) -> Result<()>) -> Case {
    Case {
        id,
        level: Must,
        claim,
        source: "netavark test \"only loopback adapter\"; docs/driver-protocol.md, `down`",
        failing,
        on: NETWORKS,
        start: Prepared,
        run,
    }
}

/// What no `down` may leave, and nobody else's of which it may take away.
const EVERYTHING: &[Kind] =
    &[Kind::Link, Kind::Address, Kind::Route, Kind::Policy, Kind::Neighbour, Kind::Rule, Kind::Fdb];

/// Fails where something of these kinds has changed.
fn same(changes: &[Change], kinds: &[Kind], when: &str) -> Result<()> {
    let counts = |change: &&Change| {
        kinds.contains(&change.kind) || (kinds.contains(&Kind::Rule) && change.kind == Kind::Chain && drops(change))
    };
    let left: Vec<String> = changes.iter().filter(counts).map(ToString::to_string).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(netproof::Error::ReadBack(format!("{when} the host is not as before:\n{}", left.join("\n"))))
}

/// Whether it is a chain that drops what none of its rules accepts, which is as good as a rule.
fn drops(change: &Change) -> bool {
    change.text.ends_with("policy drop;")
}

/// Peers that may talk do, and who has a gateway reaches the outside.
fn works(stage: &Stage) -> Result<()> {
    let keeps_apart = |node: &Node| {
        let name = node.interfaces().first().and_then(|first| first.bridge.as_deref());
        name.and_then(|name| stage.topology().bridge(name)).is_some_and(|bridge| bridge.isolate_ports)
    };
    for pair in stage.peers().iter().filter(|pair| !keeps_apart(&pair.from)) {
        for target in pair.targets() {
            stage.cold()?;
            expect!(pair.from.ping(&target), Reply { .. });
        }
    }
    for version in stage.versions() {
        for node in stage.nodes().iter().filter(|node| stage.gateway(node, version).is_some()) {
            expect!(node.ping(stage.external(version)), Reply { .. });
        }
    }
    published_answer(stage)
}

/// Every published TCP port answers from outside.
fn published_answer(lab: &Lab) -> Result<()> {
    for rule in lab.topology().nat.publish.iter().filter(|rule| rule.protocol == Transport::Tcp) {
        answers(lab, rule)?;
    }
    Ok(())
}

/// A published TCP port answers from outside, by every version that the node has an address of.
fn answers(lab: &Lab, rule: &Publish) -> Result<()> {
    let node = lab.node(&rule.node);
    let has = |version: &Version| node.prefixes().iter().any(|net| version.has(net.addr()));
    for version in [Version::V4, Version::V6].into_iter().filter(has) {
        let _server = node.serve_http((version.of(node), rule.node_port))?;
        let at = uplink(lab, version);
        expect!(lab.outside().http((at, rule.port)).get(), Status { code: 200, server, .. } if server == rule.node);
    }
    Ok(())
}

/// A further node like the topology's last, with addresses that nobody has.
fn newcomer(stage: &Stage, name: &str) -> topology::Node {
    numbered(stage, name, 9)
}

/// The same, with another number in its addresses and device names.
fn numbered(stage: &Stage, name: &str, number: u8) -> topology::Node {
    let mut node = stage.asked().nodes.last().cloned().expect("it has nodes");
    node.name = name.into();
    let interface = &mut node.interfaces[0];
    interface.name = format!("veth{number}-1");
    interface.port = Some(format!("veth{number}-0"));
    interface.mac = None;
    for address in &mut interface.addresses {
        let free = match address.addr() {
            std::net::IpAddr::V4(own) => {
                let [a, b, ..] = own.octets();
                std::net::IpAddr::from([a, b, 77, number])
            }
            std::net::IpAddr::V6(own) => {
                let [a, b, c, d, ..] = own.segments();
                std::net::IpAddr::from([a, b, c, d, 0, 0, 0x77, number.into()])
            }
        };
        *address = IpNet::new(free, address.prefix_len()).expect("the length is the old address's");
    }
    node
}

/// A port of the host's, published for this node.
fn publish(node: &str, protocol: Transport) -> Publish {
    Publish { protocol, host_address: None, port: 6000, node: node.into(), node_port: 6000 }
}
