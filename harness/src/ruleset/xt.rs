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
    // How one of several is chosen.
    const ORDER: u32 = 4 | 8 | 16;
    let flags = u32::from_ne_bytes(*info.first_chunk()?);
    // One address, and one port: a range is any of them.
    let (first, last) = (info.get(4..20)?, info.get(20..36)?);
    let is_one = first == last && (flags & PORTS == 0 || info.get(36..38)? == info.get(38..40)?);
    if flags & ADDRESSES == 0 || flags & !(ADDRESSES | PORTS | ORDER) != 0 || !is_one {
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

#[cfg(test)]
mod tests {
    use super::words;

    /// One address, and one port, are told; what is one of several is not.
    #[test]
    fn destinations() {
        let info = |flags: u32, first: [u8; 4], last: [u8; 4], ports: [u16; 2]| {
            let address = |octets: [u8; 4]| [&octets[..], &[0; 12]].concat();
            let ports = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
            [flags.to_ne_bytes().to_vec(), address(first), address(last), ports].concat()
        };
        let (one, other) = ([10, 0, 0, 1], [10, 0, 0, 9]);
        for (flags, last, ports, expected) in [
            (3, one, [80, 80], "DNAT to 10.0.0.1:80"),
            (1, one, [0, 0], "DNAT to 10.0.0.1"),
            (1 | 4, one, [0, 0], "DNAT to 10.0.0.1"),
            (3, other, [80, 80], "DNAT"),
            (3, one, [80, 90], "DNAT"),
            (1 | 32, one, [0, 0], "DNAT"),
            (2, one, [80, 80], "DNAT"),
        ] {
            assert_eq!(words("DNAT", 2, &info(flags, one, last, ports)), expected, "{flags} {last:?} {ports:?}");
        }
    }
}
