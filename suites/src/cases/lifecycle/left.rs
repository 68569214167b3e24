//! What `down` leaves behind.

use netproof::Error;

use super::*;
use crate::cases::filter::foreign_bridge;

/// What is left in the host of these kinds, after up and down.
///
/// Of what a topology that translates addresses cannot do without, something must have been there in between: else
/// it is the inventory that sees nothing.
fn nothing(stage: &mut Stage, kinds: &[Kind]) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let during = before.changes(&Inventory::of(stage.host())?);
    let needs_it = !stage.asked().nat.masquerade.is_empty() || kinds.contains(&Kind::Link);
    if needs_it && !during.iter().any(|change| kinds.contains(&change.kind)) {
        let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let text =
            format!("no {} of {}'s is seen while the network is up", names.join(" or "), stage.description().name);
        return Err(Error::Unsupported(text));
    }
    works(stage)?;
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), kinds, "after `down`")
}

pub(super) fn no_link(stage: &mut Stage) -> Result<()> {
    nothing(stage, &[Kind::Link, Kind::Fdb, Kind::Qdisc])
}

pub(super) fn no_route(stage: &mut Stage) -> Result<()> {
    nothing(stage, &[Kind::Address, Kind::Route, Kind::Policy, Kind::Neighbour])
}

pub(super) fn no_rule(stage: &mut Stage) -> Result<()> {
    nothing(stage, &[Kind::Rule])
}

pub(super) fn no_chain(stage: &mut Stage) -> Result<()> {
    nothing(stage, &[Kind::Table, Kind::Chain])
}

pub(super) fn no_sysctl(stage: &mut Stage) -> Result<()> {
    nothing(stage, &[Kind::Sysctl])
}

pub(super) fn resolver_kept(stage: &mut Stage) -> Result<()> {
    const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
    // A file that is not there is as good as an empty one.
    let read = |stage: &Stage, path| Ok(stage.site().world()?.read(path).unwrap_or_default());
    let before = FILES.iter().map(|path| read(stage, path)).collect::<Result<Vec<String>>>()?;
    let same = |stage: &Stage, when: &str| {
        for (path, before) in FILES.iter().zip(&before) {
            let now = read(stage, path)?;
            if now != *before {
                let text = format!("{when} the host's {path} is not as before `up`:\nbefore:\n{before}\nnow:\n{now}");
                return Err(Error::ReadBack(text));
            }
        }
        Ok(())
    };
    stage.up()?;
    same(stage, "while the network is up")?;
    stage.down()?;
    same(stage, "after `down`")
}

pub(super) fn no_process(stage: &mut Stage) -> Result<()> {
    stage.up()?;
    works(stage)?;
    stage.down()?;
    expect!(stage.site().world()?.processes(), []);
    Ok(())
}

pub(super) fn nodes_empty(stage: &mut Stage) -> Result<()> {
    stage.up()?;
    let nodes = stage.nodes().to_vec();
    stage.down()?;
    nodes.iter().try_for_each(|node| nothing_of_network(node))
}

pub(super) fn after_changes(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    stage.remove("netns2")?;
    expect!(stage.host().ping(stage.node("newcomer")), Reply { .. });
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after `add`, `remove` and `down`")
}

pub(super) fn others_alone(stage: &mut Stage) -> Result<()> {
    let (one, other) = foreign_bridge(stage)?;
    expect!(one.ping(&other), Reply { ttl: 64, .. });
    let host = stage.host().clone();
    let bridge = host.index("np-foreign")?;
    host.apply_all([
        addr::add(bridge, net("198.51.100.254/24")),
        netproof::neigh::set_permanent(bridge, [198, 51, 100, 77].into(), netproof::Mac([2, 0, 0, 0, 0, 7])),
    ])?;
    host.add_route(&netproof::topology::Route {
        to: topology::Destination::Prefix(net("203.0.113.0/24")),
        via: Some([198, 51, 100, 1].into()),
        dev: None,
    })?;
    let mut batch = host.firewall().batch();
    for family in [netproof::firewall::Family::Inet, netproof::firewall::Family::Ip] {
        batch.add_table(family, "others");
        batch.add_chain(
            family,
            "others",
            "postrouting",
            "type nat hook postrouting priority srcnat; policy accept;",
        )?;
        batch.add_rule(family, "others", "postrouting", "ip saddr 198.51.100.0/24 oifname \"eth0\" masquerade")?;
    }
    batch.commit()?;
    let before = Inventory::of(&host)?;
    stage.up()?;
    stage.down()?;
    let kinds = [EVERYTHING, &[Kind::Table, Kind::Chain]].concat();
    // A chain of its own that is left empty is another case's.
    let changes: Vec<Change> = before
        .changes(&Inventory::of(&host)?)
        .into_iter()
        .filter(|change| change.sign == netproof::inventory::Sign::Removed || EVERYTHING.contains(&change.kind))
        .collect();
    same(&changes, &kinds, "after `down`")?;
    one.flush_neighbours()?;
    expect!(one.ping(&other), Reply { ttl: 64, .. });
    expect!(one.ping(host.at([198, 51, 100, 254].into())), Reply { ttl: 64, .. });
    Ok(())
}

pub(super) fn forwarding_stays(stage: &mut Stage) -> Result<()> {
    const SYSCTLS: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    for name in SYSCTLS {
        stage.host().set_sysctl(name, "1")?;
    }
    stage.up()?;
    works(stage)?;
    stage.down()?;
    for name in SYSCTLS {
        expect!(stage.host().setting(name), Some("1"));
    }
    Ok(())
}

pub(super) fn no_flow(stage: &mut Stage) -> Result<()> {
    let rule = stage.topology().nat.publish.iter().find(|rule| rule.protocol == Transport::Udp).cloned();
    let rule = rule.expect("the topology publishes a UDP port");
    let mut at = Vec::new();
    for version in stage.versions() {
        let node = stage.node(&rule.node);
        let server = node.serve_udp((version.of(node), rule.node_port))?;
        at.push(uplink(stage, version).address);
        expect!(stage.outside().udp_to((uplink(stage, version), rule.port)), Answer { .. });
        drop(server);
    }
    let is_ours = |flow: &netproof::conntrack::Flow| {
        flow.protocol == 17 && flow.original.1.port() == rule.port && at.contains(&flow.original.1.ip())
    };
    if stage.host().flows()?.iter().filter(|flow| is_ours(flow)).count() < at.len() {
        let text = format!("{} passes on the port without connection tracking", stage.description().name);
        return Err(Error::Unsupported(text));
    }
    stage.down()?;
    match stage.host().flows()?.iter().find(|flow| is_ours(flow)) {
        None => Ok(()),
        Some(flow) => {
            let (client, to) = flow.original;
            Err(Error::ReadBack(format!(
                "after `down` the host still leads UDP from {client} to {to} on to {}",
                flow.reply.0
            )))
        }
    }
}

pub(super) fn node_gone(stage: &mut Stage) -> Result<()> {
    // The first one, which ports are published for.
    lose(stage, |names| names.truncate(1))
}

pub(super) fn all_gone(stage: &mut Stage) -> Result<()> {
    lose(stage, |_| {})
}

fn lose(stage: &mut Stage, choose: impl FnOnce(&mut Vec<String>)) -> Result<()> {
    let before = Inventory::of(stage.host())?;
    stage.up()?;
    let mut names = stage.nodes().iter().map(|node| node.name().to_owned()).collect();
    choose(&mut names);
    for name in names {
        stage.lose(&name)?;
    }
    stage.down()?;
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after `down`")
}

pub(super) fn held_open(stage: &mut Stage) -> Result<()> {
    let nodes = stage.nodes().to_vec();
    // An open socket holds a namespace as a process in it does.
    let held = nodes.iter().map(|node| node.serve_udp((node, 7000)));
    let _held: Vec<netproof::Server> = held.collect::<Result<_>>()?;
    let (last, others) = nodes.split_last().expect("it has nodes");
    if stage.knows("remove") {
        let answer = stage.remove(last.name());
        taken_out(stage, answer, std::slice::from_ref(last))?;
        let answer = stage.down();
        return taken_out(stage, answer, others);
    }
    let answer = stage.down();
    taken_out(stage, answer, &nodes)
}

/// The verb has taken out the nodes' ports, or has said that it failed.
fn taken_out(stage: &Stage, answer: Result<()>, nodes: &[Node]) -> Result<()> {
    match answer {
        Err(Error::Implementation { .. }) => return Ok(()),
        other => other?,
    }
    for port in nodes.iter().map(Node::port) {
        expect!(stage.host().link(port), None);
    }
    Ok(())
}
