//! The topologies that come with the crate.

use super::Topology;

/// Every topology that comes with the crate, in the article's order.
pub fn shipped() -> &'static [Topology] {
    &[]
}
