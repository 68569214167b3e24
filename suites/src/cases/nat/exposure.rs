//! What must not be reached, tried as an attacker would; and that the attack works where nothing guards against it.

use netproof::{Injector, forge, probe::tap::Tap};

use super::*;

/// Somebody on the same wire as the host, who forges frames to the host's loopback address.
struct Forger {
    who: Node,
    tap: Tap,
    injector: Injector,
    host: Node,
    /// The host's device on that wire.
    device: String,
}

impl Forger {
    fn new(lab: &Lab, who: &Node, device: &str, host_device: &str) -> Result<Self> {
        let (tap, injector) = (who.tap(device)?, who.injector(device)?);
        Ok(Self { who: who.clone(), tap, injector, host: lab.host().clone(), device: host_device.into() })
    }

    /// The neighbours on the uplink and on each bridge.
    fn everywhere(lab: &Lab) -> Result<Vec<Self>> {
        let mut forgers = vec![Self::new(lab, lab.outside(), "eth0", "eth0")?];
        for bridge in &lab.topology().bridges {
            let is_on_it = |node: &&Node| node.interfaces()[0].bridge.as_deref() == Some(&bridge.name);
            let node = lab.nodes().iter().rfind(is_on_it).expect("each bridge has nodes");
            forgers.push(Self::new(lab, node, node.device(), &bridge.name)?);
        }
        Ok(forgers)
    }

    /// Its own kernel would keep 127.0.0.1 to itself: so the frame is forged, as whoever has raw sockets can.
    fn knock(&self, port: u16) -> Result<()> {
        // The host knows the forger's MAC address, so that an answer would find its way.
        expect!(self.host.ping(&self.who), Reply { .. });
        let local = loopback(Version::V4).address;
        let way = to_the_host(&self.host, &self.device, self.injector.mac(), self.who.address(), local)?;
        self.injector.send(&forge::tcp_syn(way, 40_000, port))?;
        expect!(self.tap.frames(filter::tcp_to_port(port)), 1..);
        // What was sent after it has been answered: an answer to it is under way, or none comes.
        expect!(self.host.ping(&self.who), Reply { .. });
        Ok(())
    }

    fn is_heard(&self, port: u16) {
        expect!(self.tap.frames(filter::tcp_from_port(port)), 1..);
    }

    fn is_not_heard(&self, port: u16) {
        expect!(self.tap.frames(filter::tcp_from_port(port)).before((&*self.host, self.device.as_str())), 0);
    }
}

/// A lab in which loopback addresses are routed on every device, and nobody guards against it.
fn open_loopback(lab: &Lab) -> Result<()> {
    lab.host().set_sysctl("net.ipv4.conf.all.route_localnet", "1")
}

pub(in crate::cases) fn loopback_closed(stage: &mut Stage) -> Result<()> {
    const PORT: u16 = 7777;
    let local = (loopback(Version::V4), PORT);
    let _server = stage.host().serve_http(local.clone())?;
    expect!(stage.host().http(local.clone()).get(), Status { code: 200, .. });
    for forger in Forger::everywhere(stage)? {
        forger.knock(PORT)?;
        forger.is_not_heard(PORT);
    }
    unguarded("publish", |lab| {
        open_loopback(lab)?;
        let _server = lab.host().serve_http(local)?;
        for forger in Forger::everywhere(lab)? {
            forger.knock(PORT)?;
            forger.is_heard(PORT);
        }
        Ok(())
    })
}

pub(super) fn loopback_forged(stage: &mut Stage) -> Result<()> {
    let rule = published(stage, Transport::Tcp).remove(0);
    let _server = serve(stage, &rule, Version::V4)?;
    expect!(stage.host().http((loopback(Version::V4), rule.port)).get(), Status { code: 200, server, .. } if server == rule.node);
    let node = stage.node(&rule.node);
    for forger in Forger::everywhere(stage)? {
        let wire = node.tap(node.device())?;
        forger.knock(rule.port)?;
        forger.is_not_heard(rule.port);
        let arrived = filter::tcp_to_port(rule.node_port).and(filter::ip_from(&forger.who));
        expect!(wire.frames(arrived).before((&**stage.host(), stage.bridge_of(node))), 0);
    }
    // Without the guard: the same translation, for everybody.
    unguarded("publish-loopback", |lab| {
        open_loopback(lab)?;
        let node = lab.node(&rule.node);
        let mut batch = lab.host().firewall().batch();
        batch.add_table(netproof::firewall::Family::Inet, "np");
        let hook = "type nat hook prerouting priority dstnat; policy accept;";
        batch.add_chain(netproof::firewall::Family::Inet, "np", "prerouting", hook)?;
        let to = format!("ip daddr 127.0.0.1 tcp dport {} dnat ip to {}:{}", rule.port, node.address(), rule.node_port);
        batch.add_rule(netproof::firewall::Family::Inet, "np", "prerouting", &to)?;
        batch.commit()?;
        let forger = Forger::new(lab, lab.outside(), "eth0", "eth0")?;
        let wire = node.tap(node.device())?;
        forger.knock(rule.port)?;
        expect!(wire.frames(filter::tcp_to_port(rule.node_port).and(filter::ip_from(&forger.who))), 1..);
        Ok(())
    })
}

pub(super) fn loopback_only(stage: &mut Stage) -> Result<()> {
    let rule = published(stage, Transport::Tcp).remove(0);
    let _server = serve(stage, &rule, Version::V4)?;
    expect!(stage.host().http((loopback(Version::V4), rule.port)).get(), Status { code: 200, server, .. } if server == rule.node);
    let gateway = stage.host().at(stage.topology().bridges[0].addresses[0].addr());
    let elsewhere = [uplink(stage, Version::V4), gateway];
    for (from, at) in [
        (stage.outside(), &elsewhere[0]),
        (stage.node("netns2"), &elsewhere[0]),
        (stage.node("netns2"), &elsewhere[1]),
        (stage.node("netns1"), &elsewhere[0]),
    ] {
        stage.cold()?;
        expect!(from.ping(at), Reply { .. });
        expect!(from.tcp_to((at.clone(), rule.port)), Refused | TimedOut | Unreachable { .. });
    }
    Ok(())
}

pub(super) fn no_direct_way(stage: &mut Stage) -> Result<()> {
    stage.nodes().iter().try_for_each(|node| no_direct_way_to(stage, node))?;
    unguarded("gateway-v6", |lab| {
        let node = lab.node("netns1");
        for version in [Version::V4, Version::V6] {
            let target = version.of(node);
            let (_tcp, _udp) = (node.serve_http((target.clone(), 7000))?, node.serve_udp((target.clone(), 7001))?);
            lab.outside().add_route(&way_in(lab, node, version))?;
            expect!(lab.outside().tcp_to((target.clone(), 7000)), Connected { .. });
            expect!(lab.outside().udp_to((target, 7001)), Answer { .. });
        }
        Ok(())
    })
}

/// That the outside, which routes a node's subnet to the host, does not reach what the node serves.
pub(in crate::cases) fn no_direct_way_to(stage: &Stage, node: &Node) -> Result<()> {
    for version in stage.versions() {
        let target = version.of(node);
        let (_tcp, _udp) = (node.serve_http((target.clone(), 7000))?, node.serve_udp((target.clone(), 7001))?);
        expect!(stage.host().http((target.clone(), 7000)).get(), Status { code: 200, .. });
        expect!(stage.host().udp_to((target.clone(), 7001)), Answer { .. });
        let way_in = way_in(stage, node, version);
        stage.outside().add_route(&way_in)?;
        stage.cold()?;
        expect!(stage.outside().tcp_to((target.clone(), 7000)), TimedOut | Refused | Unreachable { .. });
        expect!(stage.outside().udp_to((target, 7001)), Silence | Refused | Unreachable { .. });
        stage.outside().delete_route(&way_in)?;
    }
    Ok(())
}

pub(super) fn next_port_closed(stage: &mut Stage) -> Result<()> {
    for version in stage.versions() {
        let (at, outside) = (uplink(stage, version), stage.outside());
        for rule in &stage.topology().nat.publish {
            let node = stage.node(&rule.node);
            let _published = serve(stage, rule, version)?;
            // Served at every port that a rule without its port could lead to.
            let next = rule.port + 1;
            let beside = netproof::topology::Publish { node_port: next, ..rule.clone() };
            let _beside = serve(stage, &beside, version)?;
            let to = |port| (at.clone(), port);
            stage.cold()?;
            match rule.protocol {
                Transport::Tcp => {
                    expect!(stage.host().tcp_to((version.of(node), next)), Connected { .. });
                    expect!(outside.tcp_to(to(rule.port)), Connected { .. });
                    expect!(outside.tcp_to(to(next)), Refused | TimedOut | Unreachable { .. });
                    // Nor by the other transport.
                    expect!(outside.udp_to(to(rule.port)), Refused | Silence | Unreachable { .. });
                }
                Transport::Udp => {
                    expect!(stage.host().udp_to((version.of(node), next)), Answer { .. });
                    expect!(outside.udp_to(to(rule.port)), Answer { .. });
                    expect!(outside.udp_to(to(next)), Refused | Silence | Unreachable { .. });
                    expect!(outside.tcp_to(to(rule.port)), Refused | TimedOut | Unreachable { .. });
                }
            }
        }
    }
    Ok(())
}
