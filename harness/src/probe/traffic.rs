//! What the probes that send something share: how long silence is, errors that arrive later, when to ask again.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sockopt},
};

use crate::{
    Deadline, Namespace, Result,
    probe::{Watch, sys},
    time_scale,
};

/// How long nothing must be heard before it counts as silence: 500 ms times the time scale, at most 2.5 s.
///
/// It is never shortened, not even by a deadline: that nothing came in 5 ms says nothing.
pub(crate) fn silence() -> Duration {
    Duration::from_millis(500).mul_f64(time_scale()).min(Duration::from_millis(2500))
}

/// The watch of a probe that sends something: what may change on the way tells nobody, so it asks again, soon.
pub(crate) struct Again;

impl Watch for Again {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        const PACE: Duration = Duration::from_millis(20);
        if deadline.left() < PACE {
            return Ok(false);
        }
        thread::sleep(PACE);
        Ok(true)
    }
}

/// What `poll(2)` found.
pub(crate) struct Ready {
    pub readable: bool,
    pub failed: bool,
}

/// Waits until there is something to read, or an error; neither: the deadline passed.
pub(crate) fn wait_readable(socket: &impl AsFd, deadline: Deadline) -> io::Result<Ready> {
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        // Rounded up: a poll of 0 ms in the last millisecond would spin.
        let millis = deadline.left().as_micros().div_ceil(1000);
        match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        let failed = events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL);
        let readable = events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP);
        if readable || failed || deadline.passed() {
            return Ok(Ready { readable, failed });
        }
    }
}

/// An error from a socket's error queue: `IP_RECVERR`, ip(7).
#[derive(Debug)]
pub(crate) struct Late {
    /// The host that sent the ICMP error; none where this kernel itself is the origin.
    pub from: Option<IpAddr>,
    pub errno: i32,
    pub kind: u8,
    pub code: u8,
    /// The MTU, where that is what is wrong.
    pub info: u32,
    /// The start of the packet that caused it, after its IP header and, of UDP, its UDP header.
    pub payload: Vec<u8>,
}

/// Asks for errors to be queued: a refused or lost packet is then told with who says so.
pub(crate) fn queue_errors(socket: &impl AsFd, v6: bool) -> io::Result<()> {
    let done = if v6 {
        nix::sys::socket::setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    } else {
        nix::sys::socket::setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    };
    Ok(done?)
}

/// Takes the next queued error.
pub(crate) fn next_error(socket: &impl AsFd) -> io::Result<Option<Late>> {
    let mut payload = [0; 256];
    let mut control = vec![0; 512];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    let (late, length) = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags) {
        Err(Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(message) => (message.cmsgs()?.find_map(late), message.bytes),
    };
    Ok(late.map(|late| Late { payload: payload[..length].to_vec(), ..late }))
}

fn late(message: ControlMessageOwned) -> Option<Late> {
    let (error, from) = match message {
        ControlMessageOwned::Ipv4RecvErr(error, from) => {
            (error, from.map(|from| IpAddr::from(from.sin_addr.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) => (error, from.map(|from| IpAddr::from(from.sin6_addr.s6_addr))),
        _ => return None,
    };
    Some(Late {
        from: from.filter(|_| error.ee_origin != libc::SO_EE_ORIGIN_LOCAL),
        errno: error.ee_errno as i32,
        kind: error.ee_type,
        code: error.ee_code,
        info: error.ee_info,
        payload: Vec::new(),
    })
}

/// Whether `address` is one of the namespace's own: whether a socket can be bound to it.
pub(crate) fn is_own(namespace: &Namespace, address: IpAddr) -> Result<bool> {
    namespace.run(|| std::net::UdpSocket::bind(SocketAddr::new(address, 0)).is_ok())
}

/// Sets the TTL, or hop limit, of unicast packets.
pub(crate) fn set_ttl(socket: &impl AsFd, v6: bool, ttl: u8) -> io::Result<()> {
    if v6 {
        sys::set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, ttl.into())
    } else {
        sys::set_number(socket, libc::IPPROTO_IP, libc::IP_TTL, ttl.into())
    }
}

/// Whether packets may be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragments {
    /// As the kernel does by default: path MTU discovery.
    Default,
    /// DF set, and no remembered path MTU: each look finds the same.
    Never,
    /// DF clear: anyone on the way may fragment.
    Allowed,
}

/// Sets `IP_MTU_DISCOVER`, ip(7).
pub(crate) fn set_fragments(socket: &impl AsFd, v6: bool, fragments: Fragments) -> io::Result<()> {
    let mode = match fragments {
        Fragments::Default => return Ok(()),
        Fragments::Never => libc::IP_PMTUDISC_PROBE,
        Fragments::Allowed => libc::IP_PMTUDISC_DONT,
    };
    if !v6 {
        return sys::set_number(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode);
    }
    sys::set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)?;
    let whole = i32::from(fragments == Fragments::Never);
    sys::set_number(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, whole)
}
