//! Forwarding databases of bridges, over `RTM_*NEIGH` of the family `AF_BRIDGE`.

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::InfoBridge,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use crate::{Mac, Namespace, Result, link, netlink::Request};

/// Tells the bridge for good that this MAC address is behind the port with this index. Equivalent to
/// `bridge fdb replace MAC dev PORT master permanent`; the bridge takes frames for it itself.
pub fn set_permanent(port: u32, mac: Mac) -> Request {
    set(port, mac, NeighbourState::Permanent)
}

/// Tells the bridge that this MAC address is behind the port with this index, until a frame from it comes in elsewhere.
/// Equivalent to `bridge fdb replace MAC dev PORT master static`.
pub fn set_static(port: u32, mac: Mac) -> Request {
    set(port, mac, NeighbourState::Noarp)
}

/// Has the bridge forget this MAC address, learned or set, behind the port with this index. Equivalent to
/// `bridge fdb del MAC dev PORT master`.
pub fn delete(port: u32, mac: Mac) -> Request {
    let message = message(port, mac);
    Request::change(format!("deleting FDB entry {mac} dev"), RouteNetlinkMessage::DelNeighbour(message)).about(port)
}

fn set(port: u32, mac: Mac, state: NeighbourState) -> Request {
    let mut message = message(port, mac);
    message.header.state = state;
    Request::replace(format!("setting FDB entry {mac} dev"), RouteNetlinkMessage::NewNeighbour(message)).about(port)
}

fn message(port: u32, mac: Mac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

impl Namespace {
    /// Forgets what the bridge has learned. Equivalent to `ip link set BRIDGE type bridge fdb_flush`.
    pub fn flush_fdb(&self, bridge: &str) -> Result<()> {
        self.apply(link::set_bridge(bridge, self.index(bridge)?, InfoBridge::FdbFlush))
    }

    /// Every FDB entry, as the kernel describes it.
    pub(crate) fn fdb_messages(&self) -> Result<Vec<NeighbourMessage>> {
        self.dump_neighbours(AddressFamily::Bridge)
    }
}
