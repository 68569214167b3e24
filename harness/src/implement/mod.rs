//! Who builds a topology.

pub mod driver;
pub mod native;
