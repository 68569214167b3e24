//! Rules that come and go with nodes, and that are put back.

use netproof::Error;

use super::*;

const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// Flushes the firewall, as its reload does. Where what the network needs went on without rules, nothing was flushed.
pub(super) fn flush(stage: &Stage, still_works: impl FnOnce(&Stage) -> bool) -> Result<()> {
    stage.host().firewall().flush()?;
    stage.host().delete_flows(|_| true)?;
    if still_works(stage) {
        let text = format!("a flush of nf_tables takes nothing away that {} needs", stage.description().name);
        return Err(Error::Unsupported(text));
    }
    Ok(())
}

pub(super) fn reloaded(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    let published = stage.asked().nat.publish.clone();
    works(stage)?;
    answer_everybody(stage, &published)?;
    flush(stage, |stage| reaches(stage.node("netns1"), stage.external(Version::V4)))?;
    stage.reload()?;
    works(stage)?;
    answer_everybody(stage, &published)
}

pub(super) fn no_doubles(stage: &mut Stage) -> Result<()> {
    stage.needs("reload")?;
    let before = Inventory::of(stage.host())?;
    for _ in 0..2 {
        stage.reload()?;
    }
    let rules = [Kind::Rule, Kind::Table, Kind::Chain];
    same(&before.changes(&Inventory::of(stage.host())?), &rules, "after `reload`")?;
    works(stage)
}

pub(super) fn re_pointed(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let mut before = None;
    for (name, number) in [("first", 9), ("second", 10)] {
        if let Some((name, servers)) = before.take() {
            stage.remove(name)?;
            drop(servers);
        }
        let node = numbered(stage, name, number);
        stage.add(node, vec![publish(name, Transport::Udp)])?;
        let node = stage.node(name).clone();
        let mut servers = Vec::new();
        for version in stage.versions() {
            servers.push(node.serve_udp((version.of(&node), 6000))?);
            let at = uplink(stage, version);
            expect!(stage.outside().udp_to((at, 6000)).from_port(5555), Answer { server, .. } if server == name);
        }
        before = Some((name, servers));
    }
    Ok(())
}

pub(super) fn added_port(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let node = newcomer(stage, "newcomer");
    let rules = BOTH.map(|transport| publish("newcomer", transport));
    stage.add(node, rules.to_vec())?;
    answer_everybody(stage, &rules)?;
    published_answer(stage)
}

pub(super) fn removed_port(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = newcomer(stage, "newcomer");
    let rules = BOTH.map(|transport| publish("newcomer", transport));
    stage.add(node, rules.to_vec())?;
    rules.iter().try_for_each(|rule| answers(stage, stage.outside(), rule))?;
    stage.remove("newcomer")?;
    published_answer(stage)?;
    // Another now has the addresses, and serves the port: nothing may lead to it.
    let node = newcomer(stage, "heir");
    stage.add(node, Vec::new())?;
    let heir = stage.node("heir").clone();
    for version in stage.versions() {
        let (at, to) = ((version.of(&heir), rules[0].node_port), (uplink(stage, version), rules[0].port));
        let (_tcp, _udp) = (heir.serve_http(at.clone())?, heir.serve_udp(at.clone())?);
        // Whether the host still knows the old one as its neighbour is another case's.
        stage.cold()?;
        expect!(stage.host().http(at.clone()).get(), Status { code: 200, server: "heir", .. });
        expect!(stage.host().udp_to(at), Answer { server: "heir", .. });
        expect!(stage.outside().tcp_to(to.clone()), Refused | TimedOut | Unreachable { .. });
        expect!(stage.outside().udp_to(to), Refused | Silence | Unreachable { .. });
    }
    published_answer(stage)
}

pub(super) fn open_connections(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    nodes::hold_mac(stage)?;
    let rule = stage.topology().nat.publish.iter().find(|rule| rule.protocol == Transport::Tcp).cloned();
    let rule = rule.expect("the topology publishes a TCP port");
    let node = stage.node(&rule.node).clone();
    let (mut servers, mut connections) = (Vec::new(), Vec::new());
    for version in stage.versions() {
        let (external, at) = (stage.external(version), uplink(stage, version));
        servers.push(node.serve_http((version.of(&node), rule.node_port))?);
        servers.push(stage.outside().serve_http((external.clone(), 80))?);
        for way in [stage.outside().http((at, rule.port)), stage.node("netns2").http((external, 80))] {
            expect!(way.clone().get(), Status { code: 200, .. });
            connections.push(way.connect()?);
        }
    }
    let go_on = || {
        for connection in &connections {
            expect!(*connection, Status { code: 200, .. });
        }
    };
    go_on();
    let newcomer = newcomer(stage, "newcomer");
    stage.add(newcomer, vec![publish("newcomer", Transport::Tcp)])?;
    given("a node was added", go_on);
    stage.remove("newcomer")?;
    given("it was removed", go_on);
    if stage.knows("reload") {
        stage.reload()?;
        given("the rules were reloaded", go_on);
    }
    Ok(())
}
