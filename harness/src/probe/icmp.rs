//! ICMP messages as bytes: the echo that is sent, and what of an answer says whose it is.

use std::net::IpAddr;

use crate::probe::outcome::Heard;

pub(crate) const ECHO_REPLY: u8 = 0;
pub(crate) const DESTINATION_UNREACHABLE: u8 = 3;
pub(crate) const ECHO_REQUEST: u8 = 8;
pub(crate) const TIME_EXCEEDED: u8 = 11;
pub(crate) const V6_DESTINATION_UNREACHABLE: u8 = 1;
pub(crate) const V6_PACKET_TOO_BIG: u8 = 2;
pub(crate) const V6_TIME_EXCEEDED: u8 = 3;
pub(crate) const V6_ECHO_REQUEST: u8 = 128;
pub(crate) const V6_ECHO_REPLY: u8 = 129;

/// The header of every ICMP echo, in bytes.
pub(crate) const HEADER: usize = 8;

/// An echo request. The IPv4 checksum (RFC 792) is in place; the IPv6 one is the kernel's work (RFC 3542 section 3.1).
pub(crate) fn echo_request(v6: bool, identifier: u16, seq: u16, size: usize) -> Vec<u8> {
    let mut message = vec![0; HEADER + size];
    message[0] = if v6 { V6_ECHO_REQUEST } else { ECHO_REQUEST };
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[6..8].copy_from_slice(&seq.to_be_bytes());
    for (index, byte) in message[HEADER..].iter_mut().enumerate() {
        *byte = index as u8;
    }
    if !v6 {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// An echo message's type, identifier and sequence number.
pub(crate) fn echo(message: &[u8]) -> Option<(u8, u16, u16)> {
    let header: &[u8; HEADER] = message.first_chunk()?;
    Some((header[0], u16::from_be_bytes([header[4], header[5]]), u16::from_be_bytes([header[6], header[7]])))
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An ICMP error by its type and code, in the words of `nft`'s `reject with`.
pub(crate) fn error(from: IpAddr, kind: u8, code: u8, info: u32) -> Heard<String> {
    let v6 = from.is_ipv6();
    let from = from.to_string();
    let expired = if v6 { V6_TIME_EXCEEDED } else { TIME_EXCEEDED };
    if kind == expired && code == 0 {
        return Heard::TimeExceeded { from };
    }
    let name = if v6 { v6_name(kind, code) } else { v4_name(kind, code) };
    let mtu = if matches!(name, Some("frag-needed" | "packet-too-big")) { info } else { 0 };
    let code = name.map_or_else(|| format!("icmp type {kind} code {code}"), str::to_owned);
    Heard::Unreachable { from, code, mtu }
}

fn v4_name(kind: u8, code: u8) -> Option<&'static str> {
    if kind != DESTINATION_UNREACHABLE {
        return None;
    }
    Some(match code {
        0 => "net-unreachable",
        1 => "host-unreachable",
        2 => "prot-unreachable",
        3 => "port-unreachable",
        4 => "frag-needed",
        9 => "net-prohibited",
        10 => "host-prohibited",
        13 => "admin-prohibited",
        _ => return None,
    })
}

fn v6_name(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (V6_DESTINATION_UNREACHABLE, 0) => "no-route",
        (V6_DESTINATION_UNREACHABLE, 1) => "admin-prohibited",
        (V6_DESTINATION_UNREACHABLE, 2) => "beyond-scope",
        (V6_DESTINATION_UNREACHABLE, 3) => "addr-unreachable",
        (V6_DESTINATION_UNREACHABLE, 4) => "port-unreachable",
        (V6_DESTINATION_UNREACHABLE, 5) => "policy-fail",
        (V6_DESTINATION_UNREACHABLE, 6) => "reject-route",
        (V6_PACKET_TOO_BIG, _) => "packet-too-big",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071: over a message whose checksum is in place the sum is zero, odd lengths included.
    #[test]
    fn checksum_of_a_checksummed_message_is_zero() {
        for size in [0, 1, 56, 57] {
            assert_eq!(checksum(&echo_request(false, 0xbeef, 7, size)), 0, "payload of {size} bytes");
        }
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2, "the RFC's own example");
    }

    #[test]
    fn echo_reads_back_what_was_written() {
        assert_eq!(echo(&echo_request(false, 258, 3, 0)), Some((ECHO_REQUEST, 258, 3)));
        assert_eq!(echo(&echo_request(true, 258, 3, 9)), Some((V6_ECHO_REQUEST, 258, 3)));
        assert_eq!(echo(&[8, 0, 0]), None);
    }

    #[test]
    fn errors_have_the_names_of_nft() {
        let from: IpAddr = "10.0.0.1".parse().unwrap();
        assert_eq!(
            error(from, 3, 4, 1400),
            Heard::Unreachable { from: "10.0.0.1".into(), code: "frag-needed".into(), mtu: 1400 }
        );
        assert_eq!(error(from, 11, 0, 0), Heard::TimeExceeded { from: "10.0.0.1".into() });
    }
}
