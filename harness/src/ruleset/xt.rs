//! Extensions of the old iptables that explanations need: what they say, read from the kernel's structures.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{kind::print_flags, names};

/// The extension's name, and of some what they compare with or do: `DNAT to 10.20.30.41:80`, `addrtype dst-type local`.
pub(crate) fn words(name: &str, revision: u32, info: &[u8]) -> String {
    let more = match (name, revision) {
        ("DNAT", 1 | 2) => destination(info),
        ("addrtype", 1) => destination_type(info),
        ("conntrack", 3) => state(info),
        ("multiport", 1) => destination_ports(info),
        ("CT", 0..=2) => notrack(info),
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

/// `struct xt_conntrack_mtinfo3`, where it asks for the state alone.
fn state(info: &[u8]) -> Option<String> {
    const STATE: u16 = 1;
    // It was written as `-m state`.
    const STATE_ALIAS: u16 = 1 << 13;
    let half = |at: usize| Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let (asks, inverts, states) = (half(146)?, half(148)?, half(150)?);
    // `XT_CONNTRACK_STATE_INVALID` and the three after it are the bits that nf_tables has.
    if asks & !STATE_ALIAS != STATE || states > 0xf {
        return None;
    }
    let not = if inverts & STATE == 0 { "" } else { "!= " };
    Some(format!("ctstate {not}{}", print_flags(names::CT_STATE, states.into()).join(",")))
}

/// `struct xt_multiport_v1`, where it lists destination ports, and no ranges.
fn destination_ports(info: &[u8]) -> Option<String> {
    const DESTINATION: u8 = 1;
    let [DESTINATION, count, ..] = *info else { return None };
    let count = usize::from(count).min(15);
    let ports = info.get(2..32)?.chunks_exact(2).map(|port| u16::from_ne_bytes([port[0], port[1]]));
    let ports: Vec<String> = ports.take(count).map(|port| port.to_string()).collect();
    let is_ranged = info.get(32..47)?.iter().any(|flag| *flag != 0);
    let not = if *info.get(47)? == 0 { "" } else { "!= " };
    (!is_ranged).then(|| format!("dports {not}{}", ports.join(",")))
}

/// `struct xt_ct_target_info`, and `xt_ct_target_info_v1`.
fn notrack(info: &[u8]) -> Option<String> {
    const NOTRACK: u16 = 1;
    (u16::from_ne_bytes(*info.first_chunk()?) & NOTRACK != 0).then(|| "notrack".into())
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

    /// The state alone, and no other conditions beside it; single destination ports, and no ranges.
    #[test]
    fn states_and_ports() {
        let conntrack = |asks: u16, inverts: u16, states: u16| {
            let halves = [asks, inverts, states, 0, 0, 0, 0, 0].map(u16::to_ne_bytes).concat();
            words("conntrack", 3, &[vec![0; 146], halves].concat())
        };
        assert_eq!(conntrack(1, 0, 6), "conntrack ctstate established,related");
        assert_eq!(conntrack(1, 1, 8), "conntrack ctstate != new");
        assert_eq!(conntrack(0x2001, 0, 6), "conntrack ctstate established,related");
        assert_eq!([conntrack(3, 0, 6), conntrack(1, 0, 128)], ["conntrack", "conntrack"]);
        let multiport = |flags: u8, ranged: u8, inverts: u8| {
            let mut info = vec![flags, 2];
            info.extend([80_u16, 443].map(u16::to_ne_bytes).concat());
            info.resize(32, 0);
            info.extend([&[ranged][..], &[0; 14], &[inverts]].concat());
            words("multiport", 1, &info)
        };
        assert_eq!(multiport(1, 0, 0), "multiport dports 80,443");
        assert_eq!(multiport(1, 0, 1), "multiport dports != 80,443");
        assert_eq!([multiport(0, 0, 0), multiport(1, 1, 0)], ["multiport", "multiport"]);
        assert_eq!(words("CT", 2, &1_u16.to_ne_bytes()), "CT notrack");
        assert_eq!(words("CT", 2, &0_u16.to_ne_bytes()), "CT");
    }
}
