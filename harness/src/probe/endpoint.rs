//! Where a connection goes, and where it comes from.

use std::{
    fmt::{self, Write},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use socket2::{Domain, Socket, Type};

use crate::{
    Namespace, Target,
    probe::{Carries, Journey, traffic},
};

/// A port of a target: `(&node, 80)`, `(Ipv4Addr::LOCALHOST, 80)`, or a `SocketAddr`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Whose port.
    pub target: Target,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Its address and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.target.address, self.port)
    }
}

impl<T: Into<Target>> From<(T, u16)> for Endpoint {
    fn from((target, port): (T, u16)) -> Self {
        Self { target: target.into(), port }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { target: address.ip().into(), port: address.port() }
    }
}

/// `10.20.30.41:80`, or with a name `10.20.30.41:80 (netns1)`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())?;
        if self.target.label != self.target.address.to_string() {
            write!(f, " ({})", self.target.label)?;
        }
        Ok(())
    }
}

/// Where a probe sends from: what it leaves open, the kernel chooses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub device: Option<String>,
    pub address: Option<IpAddr>,
    pub mark: Option<u32>,
    pub port: u16,
}

impl Origin {
    /// A socket as asked for, with errors queued, and the address to send to; to be called inside the namespace.
    pub fn open(&self, kind: Type, to: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(to), kind.nonblocking(), None)?;
        traffic::queue_errors(&socket, to.is_ipv6())?;
        // The same source port again, look after look.
        socket.set_reuse_address(true)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        let mut scope = 0;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
            scope = nix::net::if_::if_nametoindex(device.as_str())?;
        }
        if self.address.is_some() || self.port != 0 {
            let any = if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            socket.bind(&scoped(SocketAddr::new(self.address.unwrap_or(any), self.port), scope).into())?;
        }
        Ok((socket, scoped(to, scope)))
    }
}

impl Origin {
    /// The way of what is sent from here.
    pub fn journey(&self, namespace: &Namespace, target: &Target, carries: Carries) -> Journey {
        Journey {
            device: self.device.clone(),
            source: self.address,
            mark: self.mark,
            ..Journey::new(namespace, target, carries)
        }
    }
}

/// ` -I eth0 -s 10.0.0.1 -p 5000`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = &self.device {
            write!(f, " -I {device}")?;
        }
        if let Some(address) = &self.address {
            write!(f, " -s {address}")?;
        }
        if let Some(mark) = self.mark {
            write!(f, " -m {mark:#x}")?;
        }
        if self.port != 0 {
            write!(f, " -p {}", self.port)?;
        }
        f.write_char(' ')
    }
}

/// With a scope where IPv6 needs one.
pub(crate) fn scoped(address: SocketAddr, scope: u32) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into(),
    }
}
