//! What the probes that send something share: how long silence is, errors that arrive later, when to ask again.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sockopt},
};

use crate::{
    Deadline, Namespace, Result, Target,
    probe::{
        Watch, icmp,
        outcome::{Heard, Outcome},
        sys,
    },
    state::{Question, State},
    time_scale,
    watch::{Changes, Group},
};

/// How long nothing must be heard before it counts as silence: 250 ms times the time scale, at most 2.5 s.
///
/// It is never shortened, not even by a deadline: that nothing came in 5 ms says nothing.
pub(crate) fn silence() -> Duration {
    // Unit tests look once only, so that a busy machine gets longer.
    let plain = if cfg!(test) { 1000 } else { 250 };
    Duration::from_millis(plain).mul_f64(time_scale()).min(Duration::from_millis(2500))
}

/// The watch of a probe whose answer may change unannounced: what it sends, or counts. Much of what may change on the way
/// tells nobody, so it asks again soon after the last look, or as soon as something has changed where it sends from.
pub(crate) struct Again {
    namespace: Namespace,
    /// None before the first wait: a probe that is answered at once needs no subscription.
    changes: Option<Changes>,
}

impl Again {
    pub fn from(namespace: &Namespace) -> Box<dyn Watch> {
        Box::new(Self { namespace: namespace.clone(), changes: None })
    }
}

impl Watch for Again {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        const SOON: Duration = Duration::from_millis(25);
        const GROUPS: [Group; 5] =
            [Group::Link, Group::Ipv4Address, Group::Ipv4Route, Group::Ipv6Address, Group::Ipv6Route];
        let Some(changes) = &mut self.changes else {
            self.changes = Some(self.namespace.changes(&GROUPS)?);
            // What changed between the look and the subscription is seen by another look, at once.
            return Ok(true);
        };
        changes.wait(deadline.at_most(SOON))?;
        Ok(!deadline.passed())
    }
}

/// What `poll(2)` found.
pub(crate) struct Ready {
    pub readable_or_writable: bool,
    pub failed: bool,
}

/// Waits until there is something to read, or an error; neither: the deadline passed.
pub(crate) fn wait_readable(socket: &impl AsFd, deadline: Deadline) -> io::Result<Ready> {
    wait(socket, PollFlags::POLLIN, deadline)
}

/// Waits until the socket is ready, or has an error; neither: the deadline passed.
pub(crate) fn wait(socket: &impl AsFd, what: PollFlags, deadline: Deadline) -> io::Result<Ready> {
    let events = deadline.poll(socket, what)?;
    let failed = events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL);
    Ok(Ready { readable_or_writable: events.intersects(what | PollFlags::POLLHUP), failed })
}

/// What an error from the queue tells.
pub(crate) enum Afar {
    /// This kernel's own error, which the call has returned too.
    Local,
    /// This host found no neighbour to send to.
    Neighbour,
    /// An ICMP error from another, or from this host as a router.
    Error(Heard<String>),
}

/// Tells this host's report that a neighbour did not answer from what others report.
pub(crate) fn from_afar(namespace: &Namespace, late: &Late) -> io::Result<Afar> {
    let Some(from) = late.from else { return Ok(Afar::Local) };
    let missing =
        if from.is_ipv6() { (icmp::V6_DESTINATION_UNREACHABLE, 3) } else { (icmp::DESTINATION_UNREACHABLE, 1) };
    if (late.kind, late.code) == missing && is_own(namespace, from).map_err(io::Error::other)? {
        return Ok(Afar::Neighbour);
    }
    Ok(Afar::Error(icmp::error(from, late.kind, late.code, late.info)))
}

/// What a probe knows besides, when it has heard nothing.
#[derive(Default)]
pub(crate) struct Lost {
    /// How often this host reported that it found no neighbour.
    pub without_neighbour: usize,
    /// How often the device dropped a packet instead of sending it.
    pub dropped: usize,
}

impl Lost {
    /// Takes it as sent where the device dropped it: one that asks for errors to be queued is told `ENOBUFS` then (carrier
    /// down, a veth whose peer has a smaller MTU, or no room for a neighbour), where any other program is told nothing.
    pub fn sent(&mut self, result: io::Result<usize>) -> io::Result<()> {
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.dropped += 1;
                Ok(())
            }
            other => other.map(drop),
        }
    }

    pub fn note(&self) -> Option<String> {
        match (self.without_neighbour, self.dropped) {
            (0, 0) => None,
            (0, _) => {
                Some("the device dropped it: no carrier, too long for the other end, or no room for a neighbour".into())
            }
            (times, _) => Some(format!("no neighbour found, {times} times")),
        }
    }
}

/// The kernel's refusal to send, as an outcome; want of memory or of descriptors is none, but an error.
pub(crate) fn local_error(error: io::Error) -> io::Result<Outcome> {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EBADF) | None => Err(error),
        Some(errno) => Ok(Outcome::local_error(errno)),
    }
}

/// The kernel's refusal to open a socket, as an outcome where waiting may help: a device or an address may come yet.
pub(crate) fn not_opened(error: io::Error) -> io::Result<Outcome> {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL | libc::EADDRINUSE) => local_error(error),
        _ => Err(error),
    }
}

/// A number that no other look of this process uses.
pub(crate) fn fresh_token() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    u64::from(std::process::id()).wrapping_mul(0x9e37) << 16 ^ NEXT.fetch_add(1, Ordering::Relaxed)
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

/// Whether `address` is one of the namespace's own: whether what is for it is taken in.
pub(crate) fn is_own(namespace: &Namespace, address: IpAddr) -> Result<bool> {
    Ok(Question::to(address).ask(namespace)?.is_ok_and(|route| route.is_local()))
}

/// Why silence of a target proves nothing, if so: it is said to be where its address is not.
pub(crate) fn why_absent(target: &Target, outcome: &Outcome) -> Result<Option<String>> {
    let Some(home) = target.namespace.as_ref().filter(|_| outcome.came_back() == Some(false)) else { return Ok(None) };
    lacks(home, target.address)
}

/// That the namespace does not have an address, and perhaps why; none where it has it.
pub(crate) fn lacks(home: &Namespace, address: IpAddr) -> Result<Option<String>> {
    if is_own(home, address)? {
        return Ok(None);
    }
    let state = State::of(home)?;
    let perhaps = match state.down().as_slice() {
        down if address.is_ipv4() || down.is_empty() => String::new(),
        down => {
            format!("; set down there: {}, and a device that is set down loses its IPv6 addresses", down.join(", "))
        }
    };
    Ok(Some(format!("{} does not have {address}{perhaps}", home.name())))
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
