//! Changes that the kernel announces over rtnetlink, so that nobody needs to sleep.

use std::io;

use nix::poll::PollFlags;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{Deadline, Error, Namespace, Result};

/// What can be subscribed to: the multicast groups of `rtnetlink(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Group {
    /// Links, and the states of bridge ports.
    Link = 1,
    /// Neighbours, and FDB entries.
    Neighbour = 3,
    /// IPv4 addresses.
    Ipv4Address = 5,
    /// IPv4 routes.
    Ipv4Route = 7,
    /// IPv4 policy rules.
    Ipv4Rule = 8,
    /// IPv6 addresses.
    Ipv6Address = 9,
    /// IPv6 routes.
    Ipv6Route = 11,
    /// IPv6 policy rules.
    Ipv6Rule = 19,
}

/// A subscription, open since it was made.
pub struct Changes {
    namespace: Namespace,
    socket: Socket,
}

impl Namespace {
    /// Subscribes to changes of these kinds. Equivalent to `ip monitor`.
    pub fn changes(&self, groups: &[Group]) -> Result<Changes> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            for group in groups {
                socket.add_membership(*group as u32)?;
            }
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let opened = self.run(open)?;
        let socket = opened.map_err(|error| Error::kernel("subscribing to rtnetlink", self.name(), error))?;
        Ok(Changes { namespace: self.clone(), socket })
    }

    /// Subscribes to changes of links.
    pub(crate) fn link_changes(&self) -> Result<Changes> {
        self.changes(&[Group::Link])
    }
}

impl Changes {
    /// Waits for the next change; `false` where the deadline passed without one. What was announced is used up.
    pub fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        let failed = |error: io::Error| Error::kernel("waiting for rtnetlink", self.namespace.name(), error);
        let news = !deadline.poll(&self.socket, PollFlags::POLLIN).map_err(failed)?.is_empty();
        if news {
            self.drain().map_err(failed)?;
        }
        Ok(news)
    }

    fn drain(&self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Announcements were lost, so there were changes.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
