//! The kernel's time stamps of packets.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};

use crate::{Deadline, Error, Namespace, Result, link};

/// After this a datagram is lost, as where memory is short.
const LOST: Duration = Duration::from_millis(100);

/// Returns once packets are stamped where they pass.
///
/// The kernel stamps none unless a socket asks for it, and begins some time after the first has (`net_enable_timestamp()` in
/// net/core/dev.c); a packet from before gets the time at which it is read. So one socket asks for as long as the process
/// lives, and what comes over a loopback device shows when it has begun.
pub(crate) fn await_them() -> Result<()> {
    static HELD: Mutex<Option<UdpSocket>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_some() {
        return Ok(());
    }
    let aside = Namespace::new("stamps")?;
    aside.apply(link::set_up("lo"))?;
    let asking = aside.run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(stamped))?;
    *held = Some(asking.map_err(|error| Error::kernel("waiting for time stamps", aside.name(), error))?);
    Ok(())
}

/// Has the socket send to itself until what comes bears a time from before it was read.
fn stamped(socket: UdpSocket) -> io::Result<UdpSocket> {
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    let to = socket.local_addr()?;
    // Without stamps a capture is as good as it can be.
    let deadline = Deadline::after(Duration::from_secs(1));
    while !deadline.passed() {
        socket.send_to(&[0], to)?;
        let read = SystemTime::now();
        if deadline.at_most(LOST).poll(&socket, PollFlags::POLLIN)?.is_empty() {
            continue;
        }
        let (mut byte, mut control) = ([0], nix::cmsg_space!(libc::timespec));
        let mut slices = [IoSliceMut::new(&mut byte)];
        let received =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let stamp = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(SystemTime::UNIX_EPOCH + Duration::from(stamp)),
            _ => None,
        });
        if stamp.is_some_and(|stamp| stamp < read) {
            break;
        }
        std::thread::yield_now();
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{
        filter::icmp_echo,
        testing::{look, pair},
    };

    /// What passes two devices bears the times at which it passed them, whichever tap is read first.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn frames_bear_the_time_at_which_they_passed() {
        let (a, b) = pair();
        let (there, here) = (b.tap("b0").unwrap(), a.tap("a0").unwrap());
        assert!(look(&a.ping(Ipv4Addr::new(10, 0, 0, 2))).answered());
        let passed = SystemTime::now();
        let times = [there, here].map(|tap| {
            let frames = look(&tap.frames(icmp_echo())).frames;
            frames.iter().map(|frame| frame.at).collect::<Vec<_>>()
        });
        let [[asked_there, answered_there], [asked_here, answered_here]] = times.map(|times| [times[0], times[1]]);
        let order = [asked_here, asked_there, answered_there, answered_here, passed];
        assert!(order.is_sorted(), "{order:?}");
    }
}
