//! A picture of a topology, as tests and reports show it.

use super::{Interface, Topology};

impl Topology {
    /// An ASCII picture: what is attached to what, with addresses.
    ///
    /// ```
    /// let picture = netproof::Topology::shipped("gateway-one-subnet")?.diagram();
    /// assert_eq!(picture.lines().next(), Some("outside 192.0.2.1 --- eth0 192.0.2.2/24 [host]"));
    /// # Ok::<(), netproof::Error>(())
    /// ```
    #[must_use]
    pub fn diagram(&self) -> String {
        let mut lines = Vec::new();
        if let Some(uplink) = &self.host.uplink {
            lines.push(format!(
                "outside {} --- {} {} [host]",
                list(&uplink.gateways),
                uplink.interface,
                list(&uplink.addresses)
            ));
        }
        for bridge in &self.bridges {
            let addresses =
                if bridge.addresses.is_empty() { String::new() } else { format!(" {}", list(&bridge.addresses)) };
            lines.push(format!("[host: {}{addresses}]", bridge.name));
            lines.extend(
                self.ends(|interface| interface.bridge.as_deref() == Some(&bridge.name))
                    .map(|end| format!("    {end}")),
            );
        }
        lines.extend(
            self.ends(|interface| interface.bridge.is_none() && interface.port.is_some())
                .map(|end| format!("[host] {end}")),
        );
        lines.extend(self.joined());
        lines.join("\n")
    }

    /// Lines for the veths to the host whose node ends `wanted` takes; the middle of a long list is left out.
    fn ends(&self, wanted: impl Fn(&Interface) -> bool) -> impl Iterator<Item = String> {
        let mut ends: Vec<String> = self
            .nodes
            .iter()
            .flat_map(|node| node.interfaces.iter().map(move |interface| (node, interface)))
            .filter(|(_, interface)| wanted(interface))
            .map(|(node, interface)| {
                let port = interface.port.as_deref().unwrap_or("-");
                let at_port = if interface.port_addresses.is_empty() {
                    String::new()
                } else {
                    format!(" {}", list(&interface.port_addresses))
                };
                format!("{port}{at_port} --- {} {} [{}]", interface.name, list(&interface.addresses), node.name)
            })
            .collect();
        if ends.len() > 8 {
            let left_out = ends.len() - 5;
            ends.splice(4..ends.len() - 1, [format!("... {left_out} more ...")]);
        }
        ends.into_iter()
    }

    /// Lines for the veths between nodes, each once.
    fn joined(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for interface in &node.interfaces {
                let Some(peer) = &interface.peer else { continue };
                let other = self.nodes.iter().position(|other| other.name == peer.node);
                if other.is_some_and(|other| other > index) {
                    let addresses = list(&interface.addresses);
                    lines.push(format!(
                        "[{}] {} {addresses} --- {} [{}]",
                        node.name, interface.name, peer.interface, peer.node
                    ));
                }
            }
        }
        lines
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use crate::Topology;

    /// Every node is in the picture.
    #[test]
    fn every_topology_has_a_picture() {
        for topology in crate::topology::shipped() {
            let picture = topology.diagram();
            let shown = topology.nodes.iter().filter(|node| picture.contains(&format!("[{}]", node.name))).count();
            assert!(shown == topology.nodes.len() || picture.contains("more ..."), "{picture}");
        }
        let pair = Topology::shipped("pair").unwrap().diagram();
        assert_eq!(
            pair,
            "[host: br0]\n    veth1-0 --- veth1-1 10.20.30.41/24 [netns1]\n    veth2-0 --- veth2-1 10.20.20.41/24 [netns2]"
        );
    }
}
