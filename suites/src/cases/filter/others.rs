//! What others have on the host: it is there while the network is, and works, or is shut, as before.

use netproof::{Inventory, inventory::Kind};

use super::*;

/// A bridge of somebody else's with two nodes of its own.
pub(in crate::cases) fn foreign_bridge(stage: &mut Stage) -> Result<(Node, Target)> {
    let (one, other) = (stage.add_namespace("foreign1")?, stage.add_namespace("foreign2")?);
    let host = stage.host();
    host.apply(link::Bridge::new("np-foreign").request())?;
    let bridge = host.index("np-foreign")?;
    for (number, node) in [(1, &one), (2, &other)] {
        let port = format!("np-f{number}");
        host.apply(link::Veth::new(&port, "eth0").master(bridge).peer_in(node).request())?;
        let address = net(&format!("198.51.100.{number}/24"));
        node.apply_all([link::set_up("lo"), link::set_up("eth0"), addr::add(node.index("eth0")?, address)])?;
        host.settle(&[&port])?;
    }
    let target = other.at([198, 51, 100, 2].into());
    Ok((one, target))
}

pub(super) fn another_bridge(stage: &mut Stage) -> Result<()> {
    stage.set_brnf("1")?;
    let (one, other) = foreign_bridge(stage)?;
    expect!(one.ping(&other), Reply { ttl: 64, .. });
    stage.up()?;
    one.flush_neighbours()?;
    expect!(one.ping(&other), Reply { ttl: 64, .. });
    stage.down()?;
    expect!(one.ping(&other), Reply { ttl: 64, .. });
    Ok(())
}

pub(super) fn brnf_untouched(stage: &mut Stage) -> Result<()> {
    for value in ["0", "1"] {
        stage.set_brnf(value)?;
        let is_left = |stage: &Stage| {
            for name in ["iptables", "ip6tables"] {
                let setting = stage.host().setting(&format!("net.bridge.bridge-nf-call-{name}"));
                expect!(setting, Some(now) if now == value);
            }
        };
        stage.up()?;
        is_left(stage);
        stage.down()?;
        is_left(stage);
    }
    Ok(())
}

/// A network of somebody else's that the host routes, on a bridge of its own: one of its nodes.
fn routed_network(stage: &mut Stage) -> Result<Node> {
    let (node, _) = foreign_bridge(stage)?;
    let (host, outside) = (stage.host(), stage.outside());
    let gateway = net("198.51.100.254/24");
    host.apply(addr::add(host.index("np-foreign")?, gateway))?;
    host.set_sysctl("net.ipv4.ip_forward", "1")?;
    node.add_route(&default_via(gateway.addr()))?;
    let to = netproof::topology::Destination::Prefix(gateway.trunc());
    let via = Some(uplink(stage, Version::V4).address);
    outside.add_route(&netproof::topology::Route { to, via, dev: None })?;
    Ok(node)
}

/// The address that the foreign node has.
fn foreign_target(node: &Node) -> Target {
    node.at([198, 51, 100, 1].into())
}

pub(super) fn routed_as_before(stage: &mut Stage) -> Result<()> {
    let node = routed_network(stage)?;
    let (own, external) = (foreign_target(&node), stage.external(Version::V4));
    let passes = |stage: &Stage| -> Result<()> {
        node.flush_neighbours()?;
        expect!(node.ping(&external), Reply { ttl: 63, .. });
        let (client, outside) = (own.address.to_string(), stage.outside());
        let (_tcp, _udp) = (outside.serve_http((external.clone(), 80))?, outside.serve_udp((external.clone(), 53))?);
        expect!(node.http((external.clone(), 80)).get(), Status { client: seen, .. } if seen == client);
        expect!(node.udp_to((external.clone(), 53)), Answer { client_seen, .. } if client_seen == client);
        let _inward = node.serve_http((own.clone(), 80))?;
        expect!(outside.http((own.clone(), 80)).get(), Status { code: 200, .. });
        Ok(())
    };
    passes(stage)?;
    stage.up()?;
    passes(stage)?;
    stage.down()?;
    passes(stage)
}

pub(super) fn dropped_as_before(stage: &mut Stage) -> Result<()> {
    let node = routed_network(stage)?;
    let (own, external) = (foreign_target(&node), stage.external(Version::V4));
    expect!(node.ping(&external), Reply { ttl: 63, .. });
    expect!(stage.outside().ping(&own), Reply { ttl: 63, .. });
    foreign_chains(stage, "drop", None)?;
    // Neither the answer nor the question may pass.
    let is_shut = |stage: &Stage| -> Result<()> {
        let (there, here) = (stage.outside().tap("eth0")?, node.tap("eth0")?);
        expect!(node.ping(&external), NoReply);
        expect!(stage.outside().ping(&own), NoReply);
        expect!(there.frames(filter::ip_from(&own)).before((&**stage.host(), "eth0")), 0);
        expect!(here.frames(filter::ip_from(&external)).before((&**stage.host(), "np-foreign")), 0);
        Ok(())
    };
    is_shut(stage)?;
    stage.up()?;
    is_shut(stage)?;
    // Nor is there a way from outside to a port of a node that is not published.
    let inner = stage.nodes()[0].clone();
    let _server = inner.serve_http((&inner, 7000))?;
    expect!(stage.host().http((&inner, 7000)).get(), Status { code: 200, .. });
    stage.outside().add_route(&way_in(stage, &inner, Version::V4))?;
    expect!(stage.outside().tcp_to((&inner, 7000)), TimedOut | Refused | Unreachable { .. });
    Ok(())
}

pub(super) fn settings_as_before(stage: &mut Stage) -> Result<()> {
    let host = stage.host().clone();
    has_link_local(&host, "eth0");
    // As a distribution sets it, so that a lower value shows.
    host.set_sysctl("net.ipv4.conf.eth0.rp_filter", "1")?;
    let before = Inventory::of(&host)?;
    stage.up()?;
    has_link_local(&host, "eth0");
    let changes = before.changes(&Inventory::of(&host)?);
    let changed: Vec<String> = changes
        .iter()
        .filter(|change| match change.kind {
            Kind::Sysctl => is_others(change.text.split(' ').next().unwrap_or_default()),
            Kind::Route => change.text.starts_with("default"),
            Kind::Link | Kind::Address => change.text.split(' ').any(|word| word == "eth0"),
            _ => false,
        })
        .map(ToString::to_string)
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let text = format!("while the network is up the host's own settings are not as before:\n{}", changed.join("\n"));
    Err(netproof::Error::ReadBack(text))
}

/// Whether a sysctl that has changed is none that forwarding changes, by itself or through the kernel (`accept_redirects`
/// follows `forwarding`; a host that forwards IPv6 takes router advertisements with `accept_ra=2` only), nor another
/// case's.
fn is_others(name: &str) -> bool {
    let follows = ["ip_forward", "forwarding", "accept_redirects", "accept_ra"];
    if matches!(name, "net.bridge.bridge-nf-call-iptables" | "net.bridge.bridge-nf-call-ip6tables") {
        return false;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let others = [".conf.eth0.", ".conf.all.", "net.netfilter.", "net.bridge."];
    !follows.contains(&last) && others.iter().any(|part| name.contains(part))
}
