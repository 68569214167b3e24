//! Where a connection goes, and where it comes from.

use std::{
    fmt, io,
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

impl Endpoint {
    /// As `nc` takes it: `10.20.30.41 80 (netns1)`.
    pub(crate) fn spaced(&self) -> String {
        format!("{} {}{}", self.target.address, self.port, self.target.whose())
    }
}

/// `10.20.30.41:80`, or with a name `10.20.30.41:80 (netns1)`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address(), self.target.whose())
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

/// The builder methods of a probe with an [`Origin`]; `port`: of one whose source port can be told, too.
macro_rules! from_where {
    ($probe:ty) => {
        impl $probe {
            /// Sends from this device, and hears only what arrives at it (`SO_BINDTODEVICE`).
            pub fn from_device(mut self, device: impl Into<String>) -> Self {
                self.origin.device = Some(device.into());
                self
            }

            /// Sends from this address.
            pub fn source(mut self, address: impl Into<std::net::IpAddr>) -> Self {
                self.origin.address = Some(address.into());
                self
            }

            /// Sends with this firewall mark, which policy rules look at (`SO_MARK`, socket(7)).
            pub fn mark(mut self, mark: u32) -> Self {
                self.origin.mark = Some(mark);
                self
            }
        }
    };
    ($probe:ty, port) => {
        $crate::probe::endpoint::from_where!($probe);

        impl $probe {
            /// Sends from this port, so that every look is the same flow.
            pub fn from_port(mut self, port: u16) -> Self {
                self.origin.port = port;
                self
            }
        }
    };
}
pub(crate) use from_where;

/// A program that could be asked by hand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Ping,
    Nc,
    Curl,
    Dig,
}

impl Origin {
    /// A socket as asked for, with errors queued, and the address to send to; to be called inside the namespace.
    pub fn open(&self, kind: Type, to: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(to), kind.nonblocking(), None)?;
        traffic::queue_errors(&socket, to.is_ipv6())?;
        // The same source port again, look after look.
        socket.set_reuse_address(true)?;
        if to.is_ipv4() && kind == Type::DGRAM {
            socket.set_broadcast(true)?;
        }
        let scope = self.bind(&socket, to.is_ipv6())?;
        Ok((socket, scoped(to, scope)))
    }

    /// Has the socket send from here; tells the index of the device, or 0.
    pub fn bind(&self, socket: &Socket, v6: bool) -> io::Result<u32> {
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        let mut scope = 0;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
            scope = nix::net::if_::if_nametoindex(device.as_str())?;
        }
        if self.address.is_some() || self.port != 0 {
            socket.bind(&scoped(SocketAddr::new(self.address.unwrap_or(any(v6)), self.port), scope).into())?;
        }
        Ok(scope)
    }

    /// The way of what is sent from here.
    pub fn journey(&self, namespace: &Namespace, target: &Target, carries: Carries) -> Journey {
        Journey {
            device: self.device.clone(),
            source: self.address,
            mark: self.mark,
            ..Journey::new(namespace, target, carries)
        }
    }

    /// Where a packet of the journey's is sent from.
    pub fn of(journey: &Journey) -> Self {
        Self { device: journey.device.clone(), address: journey.source, mark: journey.mark, port: 0 }
    }

    /// How the tool is told to send from here, and in words what it cannot be told: ` -s 10.0.0.1 -p 5000`, and
    /// ` (from eth0, with mark 0x1)`.
    pub fn typed(&self, tool: Tool, v6: bool) -> (String, String) {
        let (mut options, mut said) = (String::new(), Vec::new());
        match (&self.device, tool) {
            (Some(device), Tool::Ping) => options += &format!(" -I {device}"),
            // The last `--interface` alone counts.
            (Some(device), Tool::Curl) if self.address.is_none() => options += &format!(" --interface {device}"),
            (Some(device), Tool::Curl | Tool::Nc | Tool::Dig) => said.push(format!("from {device}")),
            (None, _) => {}
        }
        match (self.address, tool) {
            (Some(address), Tool::Ping) => options += &format!(" -I {address}"),
            (Some(address), Tool::Nc) => options += &format!(" -s {address}"),
            (Some(address), Tool::Curl) => options += &format!(" --interface {address}"),
            (Some(address), Tool::Dig) if self.port == 0 => options += &format!(" -b {address}"),
            (_, Tool::Dig) | (None, _) => {}
        }
        match tool {
            _ if self.port == 0 => {}
            Tool::Nc => options += &format!(" -p {}", self.port),
            Tool::Curl => options += &format!(" --local-port {}", self.port),
            Tool::Dig => options += &format!(" -b {}#{}", self.address.unwrap_or(any(v6)), self.port),
            Tool::Ping => {}
        }
        match self.mark {
            Some(mark) if tool == Tool::Ping => options += &format!(" -m {mark:#x}"),
            Some(mark) => said.push(format!("with mark {mark:#x}")),
            None => {}
        }
        let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
        (options, said)
    }
}

/// The unspecified address.
fn any(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// With a scope where IPv6 needs one.
pub(crate) fn scoped(address: SocketAddr, scope: u32) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probe;

    /// Each probe says what one would type, and in words what its tool cannot be told.
    #[test]
    fn what_one_would_type() {
        let a = Namespace::new("a").unwrap();
        let [to, from] = [2, 1].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let http = || a.http((to, 80)).path("/x");
        let lookup = || a.lookup("x.test").server(to);
        for (said, typed) in [
            (a.ping(to).from_device("a0").source(from).mark(1).describe(), "ping -I a0 -I 10.0.0.1 -m 0x1 10.0.0.2"),
            (a.tcp_to((to, 80)).describe(), "nc -z 10.0.0.2 80"),
            (a.tcp_to((to, 80)).source(from).from_port(5).describe(), "nc -z -s 10.0.0.1 -p 5 10.0.0.2 80"),
            (a.udp_to((to, 7)).from_device("a0").mark(1).describe(), "nc -u 10.0.0.2 7 (from a0, with mark 0x1)"),
            (
                http().from_device("a0").from_port(5).describe(),
                "curl --interface a0 --local-port 5 http://10.0.0.2:80/x",
            ),
            (http().method("HEAD").mark(1).describe(), "curl -I http://10.0.0.2:80/x (with mark 0x1)"),
            (
                http().source(from).from_device("a0").body("b").describe(),
                "curl -X GET -H 'Content-Type:' --data-raw \"b\" --interface 10.0.0.1 http://10.0.0.2:80/x (from a0)",
            ),
            (
                http().method("HEAD").body("b").describe(),
                "curl -X HEAD -H 'Content-Type:' --data-raw \"b\" http://10.0.0.2:80/x",
            ),
            (lookup().source(from).describe(), "dig -b 10.0.0.1 @10.0.0.2 x.test A"),
            (lookup().from_port(5).port(54).describe(), "dig -b 0.0.0.0#5 -p 54 @10.0.0.2 x.test A"),
        ] {
            assert_eq!(said, format!("a: {typed}"));
        }
    }

    /// Of a node it says whose the address is.
    #[test]
    fn whose_it_is() {
        let two = Namespace::new("two").unwrap();
        let to = || Target { address: Ipv4Addr::LOCALHOST.into(), label: "two".into(), namespace: Some(two.clone()) };
        assert_eq!(two.tcp_to((to(), 80)).describe(), "two: nc -z 127.0.0.1 80 (two)");
        assert_eq!(Endpoint::from((to(), 80)).to_string(), "127.0.0.1:80 (two)");
    }
}
