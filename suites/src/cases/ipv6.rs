//! IPv6: addresses that are ready, duplicates that are found, and a host that keeps its own way out.
//!
//! ```text
//! outside 2001:db8:0:2::1 --- eth0 [host: br0 fd00:20::1] --- [netns1] [netns2]
//! ```

use netproof::{forge, state::Address};

use super::prelude::*;

const V6: &[&str] = &["gateway-v6", "publish-v6", "internal-v6", "isolated-v6", "hairpin-v6", "isolated-ports-v6"];

pub(super) const SUITE: Suite = Suite {
    name: "ipv6",
    about: "IPv6 addresses are ready when `up` returns, and the host keeps what it had.",
    cases: &[
        Case {
            id: "ipv6/no-address-is-tentative-when-up-returns",
            level: Must,
            claim: "When `up` returns, no node's address and no bridge's is tentative or found to be a duplicate.",
            source: "moby#48609; RFC 4862",
            failing: "A container's first IPv6 connections fail: its address is not yet its own.",
            on: V6,
            start: Prepared,
            run: not_tentative,
        },
        Case {
            id: "ipv6/every-end-has-a-link-local-address",
            level: Must,
            claim: "Every node's interface, and every bridge that has an IPv6 address, has a link-local address too.",
            source: "RFC 4291 2.1",
            failing: "What speaks from link-local addresses does not work: router and group discovery, multicast DNS.",
            on: V6,
            start: Built,
            run: link_local,
        },
        Case {
            id: "ipv6/no-address-is-deprecated",
            level: Should,
            claim: "No node's IPv6 address, and no bridge's, is deprecated.",
            source: "RFC 4862 5.5.4; RFC 6724 5, rule 3",
            failing: "Programs make connections from another address, or by IPv4.",
            on: V6,
            start: Built,
            run: preferred,
        },
        Case {
            id: "ipv6/a-duplicate-is-detected",
            level: Should,
            claim: "A node that is given an address that its peer has finds it out, and does not use it.",
            source: "RFC 4862 5.4, which leaves it to a node to turn it off (5.1)",
            failing: "Two containers with one address break each other without a word.",
            on: &["gateway-v6", "internal-v6"],
            start: Prepared,
            run: duplicate,
        },
        Case {
            id: "ipv6/hairpin-does-not-fail-duplicate-detection",
            level: Must,
            claim: "With hairpin ports, which return a node's own solicitation to it, a new address becomes usable all the same.",
            source: "moby#15840; containernetworking/cni#52; RFC 7527",
            failing: "On a network with hairpin mode, IPv6 addresses are refused as duplicates of themselves.",
            on: &["hairpin-v6"],
            start: Prepared,
            run: hairpin,
        },
        Case {
            id: "ipv6/the-host-keeps-its-advertised-default-route",
            level: Should,
            claim: "A host that learned its default route from a router advertisement still has it while the network is up.",
            source: "moby#43466; kernel Documentation/networking/ip-sysctl.rst, accept_ra",
            failing: "Starting the first container cuts the host off from IPv6.",
            on: &["gateway-v6", "gateway-one-subnet"],
            start: Prepared,
            run: keeps_default,
        },
        Case {
            id: "ipv6/nodes-reach-each-other-and-the-outside",
            level: Must,
            claim: "Over IPv6 nodes reach their peers with a hop limit of 64, and the outside through one router.",
            source: "RFC 8200; RFC 4861",
            failing: "IPv6 is configured, and does not work.",
            on: &["gateway-v6", "publish-v6", "hairpin-v6", "anti-spoof"],
            start: Built,
            run: reach,
        },
    ],
};

/// Builds with so many probes for duplicates, a second apart, of every address: a lab has none by default.
fn up_with_detection(stage: &mut Stage, probes: &str) -> Result<()> {
    let site = stage.site();
    for place in [&site.host].into_iter().chain(&site.nodes) {
        place.set_sysctl("net.ipv6.conf.default.dad_transmits", probes)?;
    }
    stage.up()
}

fn not_tentative(stage: &mut Stage) -> Result<()> {
    // It takes longer than any `up` that does not wait for it: else it would have ended by chance.
    up_with_detection(stage, "3")?;
    // Looked at once, without patience: it is what `up` returned with that counts.
    for place in [stage.host()].into_iter().chain(stage.nodes()) {
        let own: Vec<IpNet> = place.prefixes().to_vec();
        let late = |address: &Address| own.contains(&address.address) && (address.tentative || address.dadfailed);
        for late in place.addresses().list()?.into_iter().filter(late) {
            if is_not_probed(place, &late.dev)? {
                // The kernel itself has yet to come by, which makes it usable without a question.
                expect!(place.addresses(), list if usable(list, late.address));
                continue;
            }
            return Err(netproof::Error::ReadBack(format!(
                "when `up` returns, {} in {} is not usable: {late}",
                late.address,
                place.name()
            )));
        }
    }
    Ok(())
}

fn link_local(stage: &mut Stage) -> Result<()> {
    for node in stage.nodes() {
        node.interfaces().iter().for_each(|end| has_link_local(node, &end.name));
    }
    let has_v6 = |addresses: &[IpNet]| addresses.iter().any(|net| net.addr().is_ipv6());
    for bridge in stage.topology().bridges.iter().filter(|bridge| has_v6(&bridge.addresses)) {
        has_link_local(stage.host(), &bridge.name);
    }
    Ok(())
}

fn preferred(stage: &mut Stage) -> Result<()> {
    for place in [stage.host()].into_iter().chain(stage.nodes()) {
        let is_own = |address: &Address| place.prefixes().contains(&address.address);
        expect!(place.addresses(), list if !list.iter().any(|address| is_own(address) && address.deprecated));
    }
    Ok(())
}

/// Whether the kernel probes for no duplicates on the device: `accept_dad` in Documentation/networking/ip-sysctl.rst.
fn is_not_probed(place: &Node, dev: &str) -> Result<bool> {
    for name in ["all", &dev.replace('.', "/")] {
        let value = place.sysctl(&format!("net.ipv6.conf.{name}.accept_dad"))?;
        if value.parse::<i32>().is_ok_and(|value| value >= 1) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the address is there, and duplicate address detection has ended well.
fn usable(list: &[Address], address: IpNet) -> bool {
    list.iter().any(|own| own.address == address && !own.tentative && !own.dadfailed)
}

fn duplicate(stage: &mut Stage) -> Result<()> {
    up_with_detection(stage, "1")?;
    let (netns1, netns2) = (stage.node("netns1"), stage.node("netns2"));
    let taken = netns2.prefixes().iter().find(|net| net.addr().is_ipv6()).copied().expect("it has one");
    // One that is tentative itself has no answer for another's question, and that is another case's claim.
    expect!(netns2.addresses(), list if usable(list, taken));
    netns1.apply(addr::add(netns1.index(netns1.device())?, taken))?;
    expect!(netns1.addresses(), list if list.iter().any(|address| address.address == taken && address.dadfailed));
    // Another one, which nobody has, becomes usable.
    let free = net("fd00:20::7777/64");
    netns1.apply(addr::add(netns1.index(netns1.device())?, free))?;
    expect!(netns1.addresses(), list if usable(list, free));
    Ok(())
}

fn hairpin(stage: &mut Stage) -> Result<()> {
    up_with_detection(stage, "1")?;
    for node in stage.nodes() {
        expect!(stage.host().link(node.port()), Some(Link { port: Some(port), .. }) if port.hairpin);
    }
    let netns1 = stage.node("netns1");
    let late = net("fd00:20::7777/64");
    netns1.apply(addr::add(netns1.index(netns1.device())?, late))?;
    expect!(netns1.addresses(), list if usable(list, late), within: std::time::Duration::from_secs(20));
    Ok(())
}

fn keeps_default(stage: &mut Stage) -> Result<()> {
    let (host, outside) = (stage.host().clone(), stage.outside().clone());
    let injector = outside.injector("eth0")?;
    let router: std::net::Ipv6Addr = "fe80::1".parse().expect("it is one");
    let advertise = || injector.send(&forge::router_advertisement(injector.mac(), router, 1800, None));
    let learned = |list: &[netproof::state::Route]| {
        list.iter().any(|route| route.protocol == "ra" && route.to == netproof::topology::Destination::Default)
    };
    has_link_local(&host, "eth0");
    advertise()?;
    expect!(host.routes(), list if learned(list));
    stage.up()?;
    // Routers go on advertising; a host that takes no more of it loses the route in the end.
    advertise()?;
    expect!(host.routes(), list if learned(list));
    Ok(())
}

fn reach(stage: &mut Stage) -> Result<()> {
    for pair in stage.peers() {
        stage.cold()?;
        expect!(pair.from.ping(Version::V6.of(&pair.to)), Reply { ttl: 64, .. });
        expect!(pair.from.ping(stage.external(Version::V6)), Reply { ttl: 63, .. });
    }
    Ok(())
}
