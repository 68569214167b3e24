//! Forwarding databases of bridges, over `RTM_*NEIGH` of the family `AF_BRIDGE`.

use rtnetlink::packet_route::{AddressFamily, link::InfoBridge, neighbour::NeighbourMessage};

use crate::{Namespace, Result, link};

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
