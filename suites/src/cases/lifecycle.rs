//! Coming, going, and coming again.
//!
//! ```text
//! outside --- eth0 [host: br0] --- [netns1] [netns2] (+ newcomer)
//! ```

use netproof::{
    Inventory,
    inventory::{Change, Kind},
    topology::{self, Transport},
};

use super::prelude::*;

const NETWORKS: &[&str] = &["gateway-one-subnet", "gateway-v6", "publish", "isolated", "internal", "isolated-ports"];

pub(super) const SUITE: Suite = Suite {
    name: "lifecycle",
    about: "What comes goes again, nodes come and go while others talk, and nothing is left behind.",
    cases: &[
        left(
            "lifecycle/a-down-leaves-no-link",
            "After `down` the host has the links that it had before `up`.",
            "Bridges and veths pile up until names clash.",
            no_link_left,
        ),
        left(
            "lifecycle/a-down-leaves-no-address-or-route",
            "After `down` the host has the addresses and routes that it had before `up`.",
            "Traffic is sent to networks that are not there any more.",
            no_route_left,
        ),
        left(
            "lifecycle/a-down-leaves-no-rule",
            "After `down` the host has the firewall rules that it had before `up`.",
            "Rules for networks that are gone translate and drop others' traffic.",
            no_rule_left,
        ),
        Case {
            level: Should,
            ..left(
                "lifecycle/a-down-leaves-no-empty-chain",
                "After `down` the host has the firewall tables and chains that it had before `up`.",
                "Empty chains pile up; they do no harm but to the reader.",
                no_chain_left,
            )
        },
        Case {
            level: Should,
            ..left(
                "lifecycle/a-down-puts-sysctls-back",
                "After `down` the host's sysctls are as they were before `up`.",
                "A host that was no router remains one.",
                no_sysctl_left,
            )
        },
        Case {
            id: "lifecycle/down-twice-succeeds",
            level: Must,
            claim: "`down` of what is down already succeeds, and changes nothing.",
            source: "containernetworking/cni#124; docs/driver-protocol.md",
            failing: "A clean-up that is tried again fails for ever.",
            on: &["gateway-one-subnet", "publish", "isolated"],
            start: Built,
            run: down_twice,
        },
        Case {
            id: "lifecycle/up-after-down-works",
            level: Must,
            claim: "After `down`, `up` builds a network that works.",
            source: "docs/driver-protocol.md",
            failing: "A network that was stopped cannot be started again.",
            on: &["pair", "gateway-one-subnet", "gateway-v6", "publish", "isolated"],
            start: Built,
            run: up_again,
        },
        Case {
            id: "lifecycle/up-twice-changes-nothing",
            level: Must,
            claim: "`up` of what stands already succeeds or is refused; either way what stands is unchanged and works.",
            source: "CNI \"handles an existing bridge\"; docs/driver-protocol.md",
            failing: "A repeated start breaks a running network.",
            on: &["pair", "gateway-one-subnet", "publish"],
            start: Built,
            run: up_twice,
        },
        Case {
            id: "lifecycle/down-works-with-a-node-already-gone",
            level: Must,
            claim: "`down` succeeds and leaves nothing when a node's namespace is gone already.",
            source: "netavark#1451; containernetworking/cni#810",
            failing: "A container that crashed leaves its rules and addresses behind.",
            on: &["gateway-one-subnet", "publish"],
            start: Prepared,
            run: node_gone,
        },
        Case {
            id: "lifecycle/a-failed-up-rolls-back",
            level: Must,
            claim: "An `up` that fails because a link's name is taken leaves nothing behind once `down` followed it, and the other's link is untouched.",
            source: "moby TestJoinError; CNI ipam release",
            failing: "A start that failed half-way blocks the next one.",
            on: &["pair", "gateway-one-subnet", "publish"],
            start: Prepared,
            run: rolls_back,
        },
        Case {
            id: "lifecycle/a-node-is-added-while-others-talk",
            level: Must,
            claim: "A node that is added reaches its peers and the outside, and a conversation of others goes on without a loss.",
            source: "netavark#183",
            failing: "Starting a container disturbs those that run.",
            on: &["gateway-one-subnet", "publish"],
            start: Built,
            run: added,
        },
        Case {
            id: "lifecycle/a-node-is-removed-while-others-talk",
            level: Must,
            claim: "When a node is removed the others' conversation goes on without a loss, and the node's port is gone.",
            source: "netavark#183",
            failing: "Stopping a container disturbs those that run.",
            on: &["gateway-one-subnet", "publish"],
            start: Built,
            run: removed,
        },
        Case {
            id: "lifecycle/a-reused-address-is-reached-at-once",
            level: Should,
            claim: "When a removed node's address comes back with a new node, host and peers reach it at the first ping.",
            source: "moby#36069; containernetworking/cni#88",
            failing: "A container that was replaced is out of reach until old neighbour entries expire.",
            on: &["gateway-one-subnet"],
            start: Built,
            run: reused,
        },
        Case {
            id: "lifecycle/no-stale-neighbour-is-left-of-a-removed-node",
            level: Should,
            claim: "After a node was removed the host has no usable neighbour entry for its address.",
            source: "moby#36069",
            failing: "The host sends to a MAC address that nobody has any more.",
            on: &["gateway-one-subnet"],
            start: Built,
            run: no_stale_neighbour,
        },
        Case {
            id: "lifecycle/rules-are-restored-after-a-flush",
            level: Should,
            claim: "After the firewall was flushed, `reload` makes the way out and published ports work again.",
            source: "moby#15254; netavark firewalld reload",
            failing: "Reloading the host's firewall cuts off every container for good.",
            on: &["gateway-one-subnet", "publish"],
            start: Built,
            run: reloaded,
        },
        Case {
            id: "lifecycle/a-udp-flow-follows-a-re-pointed-port",
            level: Must,
            claim: "A UDP client that keeps its source port is answered by the new node once a published port was pointed at it.",
            source: "CNI#123; moby#8795, moby#53384",
            failing: "Traffic keeps going to a container that is gone, as long as the client keeps sending.",
            on: &["publish"],
            start: Built,
            run: re_pointed,
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

/// What is left in the host of these kinds, after up and down.
fn nothing_left(stage: &mut Stage, kinds: &[Kind]) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let during = before.changes(&Inventory::of(stage.host())?);
    stage.down()?;
    let changes = before.changes(&Inventory::of(stage.host())?);
    if during.is_empty() {
        return Err(netproof::Error::ReadBack(
            "`up` changed nothing in the host: there is nothing that could be left".into(),
        ));
    }
    same(&changes, kinds)
}

fn same(changes: &[Change], kinds: &[Kind]) -> Result<()> {
    let left: Vec<String> =
        changes.iter().filter(|change| kinds.contains(&change.kind)).map(ToString::to_string).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(netproof::Error::ReadBack(format!("after `down` the host is not as before:\n{}", left.join("\n"))))
}

const EVERYTHING: &[Kind] = &[Kind::Link, Kind::Address, Kind::Route, Kind::Policy, Kind::Rule, Kind::Fdb];

fn no_link_left(stage: &mut Stage) -> Result<()> {
    nothing_left(stage, &[Kind::Link, Kind::Fdb])
}

fn no_route_left(stage: &mut Stage) -> Result<()> {
    nothing_left(stage, &[Kind::Address, Kind::Route, Kind::Policy, Kind::Neighbour])
}

fn no_rule_left(stage: &mut Stage) -> Result<()> {
    nothing_left(stage, &[Kind::Rule])
}

fn no_chain_left(stage: &mut Stage) -> Result<()> {
    nothing_left(stage, &[Kind::Table, Kind::Chain])
}

fn no_sysctl_left(stage: &mut Stage) -> Result<()> {
    nothing_left(stage, &[Kind::Sysctl])
}

fn works(stage: &Stage) -> Result<()> {
    for pair in stage.peers() {
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
    Ok(())
}

fn down_twice(stage: &mut Stage) -> Result<()> {
    stage.down()?;
    let before = Inventory::of(stage.host())?;
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING)
}

fn up_again(stage: &mut Stage) -> Result<()> {
    for _ in 0..2 {
        stage.down()?;
        stage.up()?;
        works(stage)?;
    }
    Ok(())
}

fn up_twice(stage: &mut Stage) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    let request = netproof::protocol::Request::new(stage.asked());
    let again = stage.implementation().up(stage.site(), &request);
    if let Err(error @ netproof::Error::Unsupported(_)) = again {
        return Err(stage.blame("up", "`up` of what stands was answered as not supported", error.to_string()));
    }
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING)?;
    works(stage)
}

fn node_gone(stage: &mut Stage) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let last = stage.nodes().last().map(|node| node.name().to_owned()).expect("it has nodes");
    stage.lose(&last)?;
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING)
}

fn rolls_back(stage: &mut Stage) -> Result<()> {
    let taken = stage.asked().nodes.last().and_then(|node| node.interfaces[0].port.clone()).expect("it has a port");
    stage.host().apply(link::Veth::new(&taken, "np-taken").request())?;
    let before = Inventory::of(stage.host())?;
    match stage.up() {
        Err(netproof::Error::Implementation { .. } | netproof::Error::Kernel { .. }) => {
            stage.down()?;
            same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING)
        }
        // A name of its own choice for the host's end is no clash.
        Ok(()) => works(stage),
        Err(other) => Err(other),
    }
}

/// A further node like the topology's last, with an address that nobody has.
fn newcomer(stage: &Stage, name: &str) -> topology::Node {
    let mut node = stage.asked().nodes.last().cloned().expect("it has nodes");
    node.name = name.into();
    let interface = &mut node.interfaces[0];
    interface.name = "veth9-1".into();
    interface.port = Some("veth9-0".into());
    interface.mac = None;
    interface.addresses = vec![net("10.20.77.9/16")];
    node.routes.retain(|route| route.via.is_none_or(|via| via.is_ipv4()));
    node
}

fn added(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let (netns1, netns2) = (stage.node("netns1").clone(), stage.node("netns2").clone());
    let talk = netns1.talk_to(&netns2)?;
    expect!(talk.so_far(), Talked { sent: 3.., .. });
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let node = stage.node("newcomer").clone();
    expect!(node.ping(&netns1), Reply { ttl: 64, .. });
    expect!(netns2.ping(&node), Reply { ttl: 64, .. });
    expect!(node.ping(stage.external(Version::V4)), Reply { ttl: 63, .. });
    expect!(talk.so_far(), Talked { lost: 0, .. });
    Ok(())
}

fn removed(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let port = stage.node("newcomer").port().to_owned();
    let (netns1, netns2) = (stage.node("netns1").clone(), stage.node("netns2").clone());
    let talk = netns1.talk_to(&netns2)?;
    expect!(talk.so_far(), Talked { sent: 3.., .. });
    stage.remove("newcomer")?;
    expect!(stage.host().link(&port), None);
    expect!(netns1.ping(&netns2), Reply { .. });
    expect!(talk.so_far(), Talked { lost: 0, .. });
    works(stage)
}

fn reused(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = newcomer(stage, "first");
    stage.add(node, Vec::new())?;
    let first = stage.node("first").clone();
    let target = Target::from(&first);
    expect!(stage.host().ping(&target), Reply { .. });
    expect!(stage.node("netns1").ping(&target), Reply { .. });
    stage.remove("first")?;
    let node = newcomer(stage, "second");
    stage.add(node, Vec::new())?;
    let mac = stage.node("second").mac();
    expect!(stage.host().ping(&target), Reply { seq: 1, .. });
    expect!(stage.node("netns1").ping(&target), Reply { seq: 1, .. });
    expect!(stage.node("netns1").neighbour(&target).mac(), Some(seen) if seen == mac);
    Ok(())
}

fn no_stale_neighbour(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let target = Target::from(&stage.node("newcomer").clone());
    expect!(stage.host().ping(&target), Reply { .. });
    expect!(stage.host().neighbour(&target), Reachable | Delay | Stale | Probing);
    stage.remove("newcomer")?;
    expect!(stage.host().neighbour(&target), Absent | Failed);
    Ok(())
}

fn reloaded(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    stage.host().firewall().flush()?;
    stage.reload()?;
    works(stage)?;
    let Some(rule) = stage.topology().nat.publish.iter().find(|rule| rule.protocol == Transport::Tcp).cloned() else {
        return Ok(());
    };
    let node = stage.node(&rule.node);
    let _server = node.serve_http((node, rule.node_port))?;
    let at = stage.topology().host.uplink.as_ref().expect("it has an uplink").addresses[0].addr();
    expect!(stage.outside().http((Target::from(at), rule.port)).get(), Status { code: 200, .. });
    Ok(())
}

fn re_pointed(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let at = Target::from(stage.topology().host.uplink.as_ref().expect("it has an uplink").addresses[0].addr());
    let publish = |node: &str| topology::Publish {
        protocol: Transport::Udp,
        host_address: None,
        port: 6000,
        node: node.into(),
        node_port: 6000,
    };
    let node = newcomer(stage, "first");
    stage.add(node, vec![publish("first")])?;
    let first = stage.node("first").clone();
    let old = first.serve_udp((&first, 6000))?;
    expect!(stage.outside().udp_to((at.clone(), 6000)).from_port(5555), Answer { server: "first", .. });
    stage.remove("first")?;
    drop(old);
    let mut second = newcomer(stage, "second");
    second.interfaces[0].addresses = vec![net("10.20.77.10/16")];
    stage.add(second, vec![publish("second")])?;
    let second = stage.node("second").clone();
    let _new = second.serve_udp((&second, 6000))?;
    expect!(stage.outside().udp_to((at.clone(), 6000)).from_port(5555), Answer { server: "second", .. });
    Ok(())
}
