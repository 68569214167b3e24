//! Topologies of any size.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::{Bridge, Interface, Node, Peer, Topology};
use crate::{Error, Result};

/// How many ports a bridge can have (`BR_MAX_PORTS` - 1).
const PORTS: u16 = 1023;

impl Topology {
    /// `mesh` of another size: 2 to 254 nodes, a veth pair between every two, N(N-1)/2 of them. The pair of netnsI and
    /// netnsJ, I < J, has 10.I.J.0/24.
    ///
    /// ```
    /// let mesh = netproof::Topology::mesh(3)?;
    /// assert_eq!(mesh.nodes[2].interfaces[1].addresses[0].to_string(), "10.2.3.3/24");
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn mesh(nodes: u16) -> Result<Self> {
        let count = match u8::try_from(nodes) {
            Ok(count @ 2..=254) => count,
            _ => return Err(Error::Usage(format!("a mesh of {nodes}: 2 to 254 nodes are possible"))),
        };
        let summary = format!("{count} nodes, a veth pair between every two: what a bridge saves.");
        let nodes = (1..=count).map(|own| mesh_node(own, count)).collect();
        Ok(Self { name: "mesh".into(), summary, nodes, ..Self::default() })
    }

    /// `star` of another size: 1 to 1,023 nodes on one bridge, as many as a bridge has ports.
    ///
    /// ```
    /// assert_eq!(netproof::Topology::star(1000)?.nodes.len(), 1000);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn star(nodes: u16) -> Result<Self> {
        if !(1..=PORTS).contains(&nodes) {
            return Err(Error::Usage(format!("a star of {nodes}: 1 to {PORTS} nodes are possible")));
        }
        let summary = format!("{nodes} nodes on one bridge, one subnet.");
        let bridge = Bridge { name: "br0".into(), addresses: vec![net([10, 20, 0, 1], 16)], ..Bridge::default() };
        let nodes = (1..=nodes).map(star_node).collect();
        Ok(Self { name: "star".into(), summary, bridges: vec![bridge], nodes, ..Self::default() })
    }
}

fn mesh_node(own: u8, count: u8) -> Node {
    let others = (1..=count).filter(|other| *other != own);
    let interfaces = others.map(|other| Interface {
        name: format!("veth{own}-{other}"),
        peer: Some(Peer { node: format!("netns{other}"), interface: format!("veth{other}-{own}") }),
        addresses: vec![net([10, own.min(other), own.max(other), own], 24)],
        ..Interface::default()
    });
    Node { name: format!("netns{own}"), interfaces: interfaces.collect(), routes: Vec::new() }
}

fn star_node(number: u16) -> Node {
    // 254 nodes have each third byte: no address ends in 0 or 255.
    let (block, place) = ((number - 1) / 254, (number - 1) % 254);
    let [third, last] = [block + 1, place + 1].map(|byte| u8::try_from(byte).expect("at most 254"));
    let interface = Interface {
        name: format!("veth{number}-1"),
        port: Some(format!("veth{number}-0")),
        bridge: Some("br0".into()),
        addresses: vec![net([10, 20, third, last], 16)],
        ..Interface::default()
    };
    Node { name: format!("netns{number}"), interfaces: vec![interface], routes: Vec::new() }
}

fn net(address: [u8; 4], prefix_len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(address), prefix_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped files are these, written out.
    #[test]
    fn the_shipped_sizes_are_written_out() {
        for (made, name) in [(Topology::mesh(4), "mesh"), (Topology::star(64), "star")] {
            let shipped = Topology::shipped(name).unwrap();
            assert_eq!(Topology { summary: shipped.summary.clone(), ..made.unwrap() }, shipped);
        }
    }

    /// The largest ones are good topologies; one more is an error that says how many are possible.
    #[test]
    fn sizes_have_bounds() {
        Topology::mesh(24).unwrap().check().unwrap();
        Topology::star(1023).unwrap().check().unwrap();
        assert_eq!(Topology::mesh(1).unwrap_err().to_string(), "a mesh of 1: 2 to 254 nodes are possible");
        assert_eq!(Topology::star(1024).unwrap_err().to_string(), "a star of 1024: 1 to 1023 nodes are possible");
    }
}
