//! nft text to netlink, and back.
