//! nft text to netlink, and back.
//!
//! The messages are made of `packet_core`'s generic attributes: what a rule is made of is a handful of expressions, each
//! with two to five attributes, whose numbers stand in `linux/netfilter/nf_tables.h`.

pub(crate) mod attribute;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod numbers;
