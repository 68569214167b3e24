//! Router advertisements of nodes.

use netproof::forge;

use super::*;

pub(in crate::cases) fn advertisements_ignored(stage: &mut Stage) -> Result<()> {
    let host = stage.host();
    for node in stage.nodes() {
        let attacker = node.injector(node.device())?;
        let source: std::net::Ipv6Addr = "fe80::bad".parse().expect("it is one");
        let wire = host.tap(stage.bridge_of(node))?;
        // Whether ports forward when `up` returns is another case's claim.
        expect!(node.link(node.device()), Some(Link { carrier: true, .. }));
        expect!(host.link(node.port()), Some(Link { port_state: "forwarding", .. }));
        attacker.send(&forge::router_advertisement(attacker.mac(), source, 1800, "2001:db8:bad::".parse().ok()))?;
        expect!(wire.frames(filter::router_advertisement()), 1..);
        let learned = |route: &netproof::state::Route| route.protocol == "ra";
        expect!(host.routes(), list if !list.iter().any(learned));
        let autoconfigured =
            |address: &netproof::state::Address| address.address.to_string().starts_with("2001:db8:bad:");
        expect!(host.addresses(), list if !list.iter().any(autoconfigured));
    }
    // The advertisement is one that a host takes: a bystander with the kernel's defaults does.
    bystander_takes_it(stage)
}

fn bystander_takes_it(stage: &mut Stage) -> Result<()> {
    let bystander = stage.add_namespace("bystander")?;
    let attacker = stage.add_namespace("attacker")?;
    attacker.apply(link::Veth::new("a", "b").peer_in(&bystander).request())?;
    bystander.apply(link::set_up("b"))?;
    attacker.settle(&["a"])?;
    bystander.settle(&["b"])?;
    has_link_local(&bystander, "b");
    let injector = attacker.injector("a")?;
    let source: std::net::Ipv6Addr = "fe80::bad".parse().expect("it is one");
    injector.send(&forge::router_advertisement(injector.mac(), source, 1800, "2001:db8:bad::".parse().ok()))?;
    expect!(bystander.routes(), list if list.iter().any(|route| route.protocol == "ra"));
    Ok(())
}
