//! The socket calls that no crate wraps: the one place in the probes with unsafe code.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

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

/// Binds a packet socket to a device; from then on it gets that device's frames of `protocol`, 0: none. packet(7).
pub(crate) fn bind_packet(socket: &impl AsFd, index: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a live `sockaddr_ll` of `length` bytes, which the call only reads.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many frames a packet socket had no room for since the last call: `PACKET_STATISTICS`, packet(7).
pub(crate) fn frames_lost(socket: &impl AsFd) -> io::Result<u32> {
    // SAFETY: all-zero is a valid `tpacket_stats`.
    let mut statistics: libc::tpacket_stats = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the pointers are to a live `tpacket_stats` and to its length, which the call keeps to.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            std::ptr::from_mut(&mut statistics).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(statistics.tp_drops) } else { Err(io::Error::last_os_error()) }
}

/// The device that a packet socket is bound to: whether it has Ethernet, and its hardware address, where that is of six
/// bytes.
pub(crate) fn bound_device(socket: &impl AsFd) -> io::Result<(bool, Option<[u8; 6]>)> {
    // SAFETY: all-zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointers are to a live `sockaddr_ll` and to its length, which the call keeps to.
    let result = unsafe {
        libc::getsockname(socket.as_fd().as_raw_fd(), std::ptr::from_mut(&mut address).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mac: [u8; 6] = *address.sll_addr.first_chunk().expect("six of eight bytes");
    // Bound to all devices, it has none.
    let is_ethernet = address.sll_ifindex == 0 || is_ethernet(address.sll_hatype);
    Ok((is_ethernet, (address.sll_halen == 6).then_some(mac)))
}

/// Whether frames of a device of this type begin with a header of Ethernet: a loopback device's do.
fn is_ethernet(hatype: u16) -> bool {
    matches!(hatype, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK)
}

/// How many entries a table of the old iptables has, asked from inside the namespace: `IPT_SO_GET_INFO`.
pub(crate) fn legacy_entries(table: &str, v6: bool) -> io::Result<u32> {
    /// `struct ipt_getinfo`, which `ip6t_getinfo` is too.
    #[repr(C)]
    struct Info {
        name: [u8; 32],
        valid_hooks: u32,
        hook_entry: [u32; 5],
        underflow: [u32; 5],
        entries: u32,
        size: u32,
    }
    const IPT_SO_GET_INFO: i32 = 64;
    let (domain, level) = if v6 { (Domain::IPV6, libc::IPPROTO_IPV6) } else { (Domain::IPV4, libc::IPPROTO_IP) };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    // SAFETY: all-zero is valid for numbers.
    let mut info: Info = unsafe { mem::zeroed() };
    let name = table.as_bytes();
    let place = info.name.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(name);
    let mut length = mem::size_of::<Info>() as libc::socklen_t;
    // SAFETY: the pointers are to a live `Info` and to its length, which the call keeps to.
    let result = unsafe {
        let value = std::ptr::from_mut(&mut info).cast();
        libc::getsockopt(socket.as_raw_fd(), level, IPT_SO_GET_INFO, value, &raw mut length)
    };
    if result == 0 { Ok(info.entries) } else { Err(io::Error::last_os_error()) }
}

/// A frame that a packet socket received.
pub(crate) struct Received {
    /// Its length; the buffer holds as much of it as it has room for.
    pub length: usize,
    /// `sll_pkttype`
    pub kind: u8,
    /// `sll_ifindex`
    pub index: u32,
    /// Whether it begins with a header of Ethernet.
    pub is_ethernet: bool,
    /// When the kernel saw it, since 1970; with `SO_TIMESTAMPNS`.
    pub at: Option<Duration>,
    /// The VLAN tag, type and value, that the kernel took out of the frame; with `PACKET_AUXDATA`.
    pub tag: Option<[[u8; 2]; 2]>,
}

/// Receives one frame without waiting.
pub(crate) fn receive_packet(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    /// Room for control messages, aligned as they must be.
    #[repr(align(8))]
    struct Control([u8; 128]);
    let mut control = Control([0; 128]);
    // SAFETY: all-zero is a valid `sockaddr_ll`, and a valid `msghdr`.
    let (mut address, mut header): (libc::sockaddr_ll, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = std::ptr::from_mut(&mut address).cast();
    header.msg_namelen = mem::size_of_val(&address) as libc::socklen_t;
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in the header is to a live buffer of the length that stands beside it.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = (length as usize).min(buffer.len());
    let index = u32::try_from(address.sll_ifindex).unwrap_or_default();
    let (kind, is_ethernet) = (address.sll_pkttype, is_ethernet(address.sll_hatype));
    let mut received = Received { length, kind, index, is_ethernet, at: None, tag: None };
    read_control(&header, &mut received);
    Ok(received)
}

/// Takes over what the control messages of a received message say.
fn read_control(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the kernel has filled in the header's control buffer, which is still alive.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: it is null, or points to a whole control message inside the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        // SAFETY: the message is whole.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (message.cmsg_level, message.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: a message of this type holds a `timespec`; unaligned reads are safe wherever it lies.
                let at = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                received.at = Some(Duration::new(at.tv_sec as u64, at.tv_nsec as u32));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: as above, a `tpacket_auxdata`.
                let said = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                let tag = || [said.tp_vlan_tpid.to_be_bytes(), said.tp_vlan_tci.to_be_bytes()];
                received.tag = (said.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then(tag);
            }
            _ => {}
        }
        // SAFETY: the header and the message belong together.
        next = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
}
