//! Nodes that come and go while others talk.

use netproof::Error;

use super::*;

pub(super) fn added(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let (netns1, netns2) = (stage.node("netns1").clone(), stage.node("netns2").clone());
    expect!(netns1.ping(&netns2), Reply { .. });
    let talk = netns1.talk_to(&netns2)?;
    expect!(talk.so_far(), Talked { sent: 3.., .. });
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let node = stage.node("newcomer").clone();
    for version in stage.versions() {
        expect!(node.ping(version.of(&netns1)), Reply { ttl: 64, .. });
        expect!(netns2.ping(version.of(&node)), Reply { ttl: 64, .. });
        expect!(stage.host().ping(version.of(&node)), Reply { ttl: 64, .. });
        expect!(node.ping(version.of(&node)), Reply { .. });
        expect!(node.ping(stage.external(version)), Reply { ttl: 63, .. });
    }
    let second = numbered(stage, "second", 10);
    stage.add(second, Vec::new())?;
    let second = stage.node("second").clone();
    for version in stage.versions() {
        expect!(second.ping(version.of(&node)), Reply { ttl: 64, .. });
        expect!(node.ping(version.of(&second)), Reply { ttl: 64, .. });
    }
    expect!(talk.so_far(), Talked { lost: 0, .. });
    Ok(())
}

pub(super) fn removed(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let port = stage.node("newcomer").port().to_owned();
    let (netns1, netns2) = (stage.node("netns1").clone(), stage.node("netns2").clone());
    expect!(netns1.ping(&netns2), Reply { .. });
    let talk = netns1.talk_to(&netns2)?;
    expect!(talk.so_far(), Talked { sent: 3.., .. });
    stage.remove("newcomer")?;
    expect!(stage.host().link(&port), None);
    expect!(netns1.ping(&netns2), Reply { .. });
    expect!(talk.so_far(), Talked { lost: 0, .. });
    works(stage)
}

pub(super) fn set_up_as_others(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    links::lo_is_up(stage)?;
    links::one_mtu(stage)?;
    links::broadcast_address(stage)?;
    fdb::learned(stage)
}

pub(super) fn leaves_nothing(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let before = Inventory::of(stage.host())?;
    // What is published for it goes with it.
    add_publishing(stage)?;
    expect!(stage.host().ping(stage.node("newcomer")), Reply { .. });
    let port = stage.node("newcomer").port().to_owned();
    stage.remove("newcomer")?;
    // A port may go with its namespace, which the kernel takes apart when it has the time: `held_open` is about that.
    expect!(stage.host().link(&port), None);
    same(&before.changes(&Inventory::of(stage.host())?), EVERYTHING, "after `add` and `remove`")?;
    // The namespace that the suite made for it: an implementation that has its own takes that away with all that is in it.
    nothing_of_network(stage.site().node("newcomer")?)
}

pub(super) fn comes_back(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    let node = stage.asked().node("netns2").cloned().expect("it is there");
    for _ in 0..2 {
        stage.remove("netns2")?;
        stage.add(node.clone(), Vec::new())?;
        works(stage)?;
    }
    Ok(())
}

pub(super) fn reused(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    hold_mac(stage)?;
    let node = newcomer(stage, "first");
    stage.add(node, Vec::new())?;
    let targets: Vec<Target> = stage.versions().iter().map(|version| version.of(stage.node("first"))).collect();
    for target in &targets {
        expect!(stage.host().ping(target), Reply { .. });
        expect!(stage.node("netns1").ping(target), Reply { .. });
    }
    stage.remove("first")?;
    let node = newcomer(stage, "second");
    stage.add(node, Vec::new())?;
    let mac = stage.node("second").mac();
    for target in &targets {
        expect!(stage.host().ping(target), Reply { seq: 1, .. });
        expect!(stage.node("netns1").ping(target), Reply { seq: 1, .. });
        expect!(stage.node("netns1").neighbour(target).mac(), Some(seen) if seen == mac);
    }
    Ok(())
}

pub(super) fn announced(stage: &mut Stage) -> Result<()> {
    use netproof::{Deadline, Probe};
    stage.needs("add")?;
    let everywhere = stage.host().tap("any")?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let (host, node) = (stage.host(), stage.node("newcomer"));
    let (port, bridge) = (host.index(node.port())?, host.index(stage.bridge_of(node))?);
    let announced = |address: &IpNet, on| {
        filter::announcement_of(address.addr()).and(filter::on_device(on)).and(filter::incoming())
    };
    let mut came_in = Vec::new();
    for address in node.prefixes() {
        let at_port = everywhere.frames(announced(address, port)).before(node);
        if !at_port.look(Deadline::after(std::time::Duration::from_secs(5)))?.frames.is_empty() {
            came_in.push(address);
        }
    }
    if came_in.is_empty() {
        return Err(netproof::Error::Unsupported(format!("{} announces no added node", stage.description().name)));
    }
    for address in came_in {
        expect!(everywhere.frames(announced(address, bridge)), 1..);
    }
    Ok(())
}

pub(super) fn no_stale_neighbour(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    stage.needs("remove")?;
    hold_mac(stage)?;
    let node = newcomer(stage, "newcomer");
    stage.add(node, Vec::new())?;
    let targets: Vec<Target> = stage.versions().iter().map(|version| version.of(stage.node("newcomer"))).collect();
    for target in &targets {
        expect!(stage.host().ping(target), Reply { .. });
        expect!(stage.host().neighbour(target), Reachable | Delay | Stale | Probing);
    }
    stage.remove("newcomer")?;
    for target in &targets {
        expect!(stage.host().neighbour(target), Absent | Failed);
    }
    Ok(())
}

pub(super) fn beyond_the_last_port(stage: &mut Stage) -> Result<()> {
    stage.needs("add")?;
    let host = stage.host().clone();
    fill(&host, stage.bridge_of(stage.node("netns1")))?;
    // An inventory of a thousand devices, with their sysctls, would take seconds.
    let stands = || -> Result<Vec<String>> {
        let links = host.links().list()?.into_iter().map(|link| link.name);
        let addresses = host.addresses().list()?.into_iter().map(|own| format!("{} {}", own.dev, own.address));
        let routes = host.routes().list()?.into_iter().map(|route| route.to_string());
        Ok(links.chain(addresses).chain(routes).filter(|line| !line.contains("fe80:")).collect())
    };
    let before = stands()?;
    let node = newcomer(stage, "newcomer");
    match stage.add(node.clone(), Vec::new()) {
        Err(Error::Implementation { .. }) => {}
        Ok(()) => return Err(stage.blame("add", "it succeeded, though the bridge has all of its ports", "")),
        Err(other) => return Err(other),
    }
    if stage.knows("remove") {
        let mut part = stage.asked().clone();
        (part.nodes, part.nat.publish) = (vec![node.clone()], Vec::new());
        stage.implementation().remove(stage.site(), &netproof::protocol::Request::new(&part))?;
    }
    // As in `leaves_nothing`, a port may go with its namespace.
    for link in host.links().list()?.iter().filter(|link| !before.contains(&link.name)) {
        expect!(host.link(&link.name), None);
    }
    if let Some(left) = stands()?.iter().find(|line| !before.contains(line)) {
        return Err(Error::ReadBack(format!("an `add` beyond the last port leaves behind: {left}")));
    }
    works(stage)?;
    host.apply(link::delete("np-full-1"))?;
    stage.add(node, Vec::new())?;
    expect!(host.ping(stage.node("newcomer")), Reply { .. });
    Ok(())
}

/// Gives the bridge all the ports that it can have: their numbers have ten bits, of which 0 is none.
fn fill(host: &Node, bridge: &str) -> Result<()> {
    const MOST: usize = 1023;
    let has = host.links().list()?.iter().filter(|link| link.master.as_deref() == Some(bridge)).count();
    let index = host.index(bridge)?;
    let ports = (1..=MOST - has).map(|number| link::vxlan_port(&format!("np-full-{number}"), number as u32, index));
    match host.apply_all(ports) {
        Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(
            Error::Unsupported("this kernel has no vxlan, of which a thousand ports are made: modprobe vxlan".into()),
        ),
        other => other,
    }
}

/// Holds the bridge's MAC address, by setting it to what it is.
///
/// Where the kernel chooses it from the ports', it would change by chance as one goes, and the host's neighbours would be
/// flushed with it.
pub(super) fn hold_mac(stage: &Stage) -> Result<()> {
    let (host, bridge) = (stage.host(), stage.bridge_of(stage.node("netns1")));
    host.apply(link::set_mac(bridge, mac_of(host, bridge)?))
}
