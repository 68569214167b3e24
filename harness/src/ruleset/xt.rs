//! Extensions of the old iptables that explanations need: what they say, read from the kernel's structures.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The extension's name, and of some what they compare with or do: `DNAT to 10.20.30.41:80`, `addrtype dst-type local`.
pub(crate) fn words(name: &str, revision: u32, info: &[u8]) -> String {
    let more = match (name, revision) {
        ("DNAT", 1 | 2) => destination(info),
        ("addrtype", 1) => destination_type(info),
        _ => None,
    };
    more.map_or_else(|| name.to_owned(), |more| format!("{name} {more}"))
}

/// `struct nf_nat_range`, and `nf_nat_range2`, which goes on: flags, two addresses, two ports.
fn destination(info: &[u8]) -> Option<String> {
    const ADDRESSES: u32 = 1;
    const PORTS: u32 = 2;
    let flags = u32::from_ne_bytes(*info.first_chunk()?);
    if flags & ADDRESSES == 0 {
        return None;
    }
    let bytes: [u8; 16] = *info.get(4..)?.first_chunk()?;
    let v4: [u8; 4] = *bytes.first_chunk()?;
    // The structure does not say which version it is of; no IPv6 address of ours ends in twelve zeroes.
    let address = if bytes[4..] == [0; 12] { IpAddr::from(v4) } else { Ipv6Addr::from(bytes).into() };
    let port = u16::from_be_bytes(*info.get(36..)?.first_chunk()?);
    Some(match flags & PORTS {
        0 => format!("to {address}"),
        _ => format!("to {}", SocketAddr::new(address, port)),
    })
}

/// `struct xt_addrtype_info_v1`: the types of source and destination, a bit each, and flags.
fn destination_type(info: &[u8]) -> Option<String> {
    const LOCAL: u16 = 1 << 2;
    const NOT: u32 = 2;
    let half = |at: usize| Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let flags = u32::from_ne_bytes(*info.get(4..)?.first_chunk()?);
    match (half(0)?, half(2)?, flags) {
        (0, LOCAL, 0) => Some("dst-type local".into()),
        (0, LOCAL, NOT) => Some("dst-type != local".into()),
        _ => None,
    }
}
