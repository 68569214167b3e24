//! The socket calls that no crate wraps: the one place in the probes with unsafe code.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
};

/// Sets a socket option whose value is a number: `setsockopt(2)`.
pub(crate) fn set_number(socket: &impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    set(socket, level, option, &value)
}

/// Lets only the given ICMP types through to a raw IPv4 socket: `ICMP_FILTER`, raw(7).
pub(crate) fn only_icmp_types(socket: &impl AsFd, types: &[u8]) -> io::Result<()> {
    const ICMP_FILTER: i32 = 1;
    let blocked: u32 = types.iter().fold(u32::MAX, |mask, kind| mask & !(1u32 << kind));
    set(socket, libc::SOL_RAW, ICMP_FILTER, &blocked)
}

/// Lets only the given ICMPv6 types through to a raw IPv6 socket: `ICMPV6_FILTER`, RFC 3542 section 3.2.
pub(crate) fn only_icmpv6_types(socket: &impl AsFd, types: &[u8]) -> io::Result<()> {
    const ICMPV6_FILTER: i32 = 1;
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        blocked[usize::from(kind >> 5)] &= !(1u32 << (kind & 31));
    }
    set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)
}

fn set<T: Copy>(socket: &impl AsFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is to a live value of `length` bytes, which the call only reads; the descriptor is borrowed.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
