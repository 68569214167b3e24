//! What a topology needs of the kernel that not every kernel has.

use std::{io, sync::OnceLock};

use netproof::{Error, Namespace, Result, Topology, link::Bridge};

/// An error where this kernel cannot carry the topology, whoever builds it.
pub(super) fn carries(topology: &Topology) -> Result<()> {
    if topology.bridges.iter().any(|bridge| bridge.vlan_filtering) && !filters_vlans()? {
        return Err(Error::Unsupported("this kernel's bridges filter no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)".into()));
    }
    Ok(())
}

/// Whether a bridge with VLAN filtering can be made; asked once.
fn filters_vlans() -> Result<bool> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let known = match Namespace::new("feature probe")?.apply(Bridge::new("br0").vlan_filtering().request()) {
        Ok(()) => true,
        Err(Error::Kernel { source, .. }) if is_absent(&source) => false,
        Err(error) => return Err(error),
    };
    Ok(*KNOWN.get_or_init(|| known))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}
