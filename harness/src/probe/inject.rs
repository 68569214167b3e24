//! Raw frames: what an attacker, a broken host or another implementation would put on the wire.

use std::{sync::Arc, time::SystemTime};

use crate::{
    Error, Mac, Namespace, Result,
    probe::{
        frame::{Direction, Frame},
        packet::PacketSocket,
    },
};

impl Namespace {
    /// A way to send raw frames from a device of this namespace. Keep it: closing one takes the kernel about 12 ms.
    pub fn injector(&self, device: &str) -> Result<Injector> {
        let socket = PacketSocket::sending(self, device)?;
        Ok(Injector { namespace: self.clone(), device: device.to_owned(), socket: Arc::new(socket) })
    }
}

/// Sends raw frames from one device; made by [`Namespace::injector`]. Frames come from [`forge`](crate::probe::forge).
///
/// ```no_run
/// # use netproof::{Mac, Namespace, probe::forge};
/// # let netns1 = Namespace::new("netns1")?;
/// let veth = netns1.injector("veth1-1")?;
/// veth.send(&forge::arp_announcement(veth.mac(), "10.20.30.42".parse().unwrap()))?;
/// # Ok::<(), netproof::Error>(())
/// ```
#[derive(Clone)]
pub struct Injector {
    namespace: Namespace,
    device: String,
    socket: Arc<PacketSocket>,
}

impl Injector {
    /// The device's own MAC address, as it was when this was made.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.socket.mac
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Sends a whole frame, Ethernet header included; from a device without Ethernet (a TUN device, WireGuard, an IP tunnel)
    /// an IP packet, which is what a frame of [`forge`](crate::probe::forge) has behind its 14th byte.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        if !self.socket.is_ethernet && Frame::parse_ip(frame.to_vec(), SystemTime::now(), Direction::Out).ip().is_none()
        {
            let (device, name) = (&self.device, self.namespace.name());
            return Err(Error::Usage(format!(
                "{device} in {name} has no Ethernet: it takes IP packets, and no frames"
            )));
        }
        self.socket.send(frame).map_err(|error| {
            let doing = format!("sending a raw frame of {} bytes from {}", frame.len(), self.device);
            Error::kernel(doing, self.namespace.name(), error)
        })
    }
}
