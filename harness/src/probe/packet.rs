//! Packet sockets: AF_PACKET, packet(7).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::SystemTime,
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::socket::{setsockopt, sockopt},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};

use crate::{
    Error, Mac, Namespace, Result,
    probe::{
        frame::{Direction, Frame, sentinel_frame, sentinel_packet},
        stamps, sys,
    },
};

/// Everything: a socket that is bound to ARP alone sees nothing on a bridge's port.
const ALL: u16 = libc::ETH_P_ALL as u16;

/// What stands for all devices, as it does for `tcpdump -i`.
const ANY: &str = "any";

/// A packet socket on one device, or on all.
pub(crate) struct PacketSocket {
    socket: Option<Socket>,
    pub mac: Mac,
    pub is_ethernet: bool,
}

impl PacketSocket {
    /// One that hears every frame that passes the device, from now on.
    pub fn hearing(namespace: &Namespace, device: &str) -> Result<Self> {
        stamps::await_them()?;
        Self::open(namespace, device, ALL)
    }

    /// One that only sends.
    pub fn sending(namespace: &Namespace, device: &str) -> Result<Self> {
        Self::open(namespace, device, 0)
    }

    fn open(namespace: &Namespace, device: &str, protocol: u16) -> Result<Self> {
        let opened = namespace.run(|| {
            // Not bound to a protocol yet: it would hear all devices until it is bound to one.
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
            if protocol != 0 {
                roomy(&socket)?;
                setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
                sys::set_number(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
            }
            let index = if device == ANY { 0 } else { nix::net::if_::if_nametoindex(device)? };
            sys::bind_packet(&socket, index, protocol)?;
            let (is_ethernet, mac) = sys::bound_device(&socket)?;
            Ok(Self { socket: Some(socket), mac: mac.map_or_else(Mac::default, Mac), is_ethernet })
        })?;
        opened.map_err(|error: io::Error| {
            Error::kernel(format!("opening a packet socket on {device}"), namespace.name(), error)
        })
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket().send(frame).map(drop)
    }

    /// The next frame that has arrived, if there is one.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let received = loop {
            match sys::receive_packet(self, buffer) {
                Ok(received) => break received,
                Err(error) => match error.raw_os_error() {
                    // The device went down: it may come up again.
                    Some(libc::ENETDOWN | libc::EINTR) => {}
                    // The device is gone, and nothing more will come.
                    Some(libc::EAGAIN | libc::ENODEV) => return Ok(None),
                    _ => return Err(error),
                },
            }
        };
        let at = received.at.map_or_else(SystemTime::now, |since| SystemTime::UNIX_EPOCH + since);
        let direction = match received.kind {
            libc::PACKET_BROADCAST => Direction::Broadcast,
            libc::PACKET_MULTICAST => Direction::Multicast,
            libc::PACKET_OTHERHOST => Direction::Other,
            libc::PACKET_OUTGOING => Direction::Out,
            _ => Direction::In,
        };
        let mut bytes = buffer[..received.length].to_vec();
        if !received.is_ethernet {
            return Ok(Some(Frame { index: received.index, ..Frame::parse_ip(bytes, at, direction) }));
        }
        // The kernel takes a tag out before anybody hears the frame (`skb_vlan_untag`): it belongs behind the MAC addresses.
        let macs = bytes.len().min(12);
        bytes.splice(macs..macs, received.tag.into_iter().flatten().flatten());
        Ok(Some(Frame { index: received.index, ..Frame::parse(bytes, at, direction) }))
    }

    fn socket(&self) -> &Socket {
        self.socket.as_ref().expect("only taken when dropped")
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

/// Closing waits for an RCU grace period, about 12 ms: another thread does.
impl Drop for PacketSocket {
    fn drop(&mut self) {
        static CLOSER: OnceLock<Sender<Socket>> = OnceLock::new();
        let closer = CLOSER.get_or_init(|| {
            let (sender, receiver) = channel::<Socket>();
            let _ = thread::Builder::new().name("netproof-close".into()).spawn(move || receiver.iter().for_each(drop));
            sender
        });
        if let Some(socket) = self.socket.take() {
            let _ = closer.send(socket);
        }
    }
}

/// Room for a burst: what does not fit is lost, and a count that lacks frames proves nothing.
fn roomy(socket: &Socket) -> io::Result<()> {
    const BYTES: usize = 8 << 20;
    if setsockopt(socket, sockopt::RcvBufForce, &BYTES).is_err() {
        socket.set_recv_buffer_size(BYTES)?;
    }
    Ok(())
}

/// Sentinels: broadcast frames that mark a moment on the wire.
///
/// A frame that is on its way waits in the queue of one CPU. One sentinel is sent from each CPU, so that when all have
/// arrived, everything that was sent before has too.
pub(crate) struct Sentinels {
    socket: PacketSocket,
    namespace: Namespace,
    base: u64,
}

impl Sentinels {
    /// Ready to be sent from the device.
    pub fn new(namespace: &Namespace, device: &str) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let base = u64::from(std::process::id()) << 40 | NEXT.fetch_add(1, Ordering::Relaxed) << 12;
        Ok(Self { socket: PacketSocket::sending(namespace, device)?, namespace: namespace.clone(), base })
    }

    /// Sends one from each CPU, and returns their tokens.
    pub fn send(&self) -> Result<Vec<u64>> {
        // On a thread of its own: it is moved from CPU to CPU.
        let sent = self.namespace.run(|| {
            let here = Pid::from_raw(0);
            let cpus = sched_getaffinity(here)?;
            let mut tokens = Vec::new();
            for cpu in (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu).unwrap_or(false)) {
                let mut only = CpuSet::new();
                only.set(cpu)?;
                sched_setaffinity(here, &only)?;
                let token = self.base | cpu as u64;
                let sentinel = match self.socket.is_ethernet {
                    true => sentinel_frame(self.socket.mac, token),
                    false => sentinel_packet(token),
                };
                self.socket.send(&sentinel)?;
                tokens.push(token);
            }
            Ok(tokens)
        })?;
        sent.map_err(|error: io::Error| Error::kernel("sending a sentinel", self.namespace.name(), error))
    }
}
