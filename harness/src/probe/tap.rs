//! Frames on a device.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{frame::Frame, packet::PacketSocket, sys, traffic},
};

impl Namespace {
    /// Listens on a device: every frame that passes it in either direction, from when this returns. On `any` it is
    /// every device of the namespace, those that come later too. On a device without Ethernet (a TUN device, WireGuard, an
    /// IP tunnel) a frame is the IP packet.
    ///
    /// ```no_run
    /// # use netproof::{Deadline, Namespace, Probe, probe::filter::arp_request_for};
    /// # use std::{net::Ipv4Addr, time::Duration};
    /// # let host = Namespace::new("host")?;
    /// let target = Ipv4Addr::new(10, 20, 30, 41);
    /// let port = host.tap("veth1-0")?; // listen before acting
    /// host.ping(target).look(Deadline::after(Duration::from_secs(1)))?;
    /// println!("{}", port.frames(arp_request_for(target)).look(Deadline::after(Duration::from_secs(1)))?);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn tap(&self, device: &str) -> Result<Tap> {
        let socket = PacketSocket::hearing(self, device)?;
        let capture = Mutex::new(Capture { frames: Vec::new(), buffer: vec![0; 1 << 17], lost: 0 });
        Ok(Tap { inner: Arc::new(Inner { namespace: self.clone(), device: device.to_owned(), socket, capture }) })
    }
}

/// A device that is listened to; made by [`Namespace::tap`]. Dropping it and all its probes ends that.
#[derive(Clone)]
#[must_use = "a tap hears only as long as it is kept"]
pub struct Tap {
    inner: Arc<Inner>,
}

struct Inner {
    namespace: Namespace,
    device: String,
    socket: PacketSocket,
    capture: Mutex<Capture>,
}

struct Capture {
    frames: Vec<Arc<Frame>>,
    buffer: Vec<u8>,
    lost: u32,
}

impl Tap {
    /// All frames that have passed since this was made, sentinels included.
    pub fn captured(&self) -> Result<Vec<Arc<Frame>>> {
        Ok(self.drain()?.frames.clone())
    }

    /// Forgets the frames that have passed so far, and that some were lost.
    pub fn clear(&self) -> Result<()> {
        let mut capture = self.read()?;
        capture.frames.clear();
        capture.lost = 0;
        Ok(())
    }

    /// Writes the frames that have passed so far as a pcapng file, for Wireshark or `tcpdump -r`.
    ///
    /// ```no_run
    /// # let lab = netproof::Lab::of("pair")?;
    /// let tap = lab.host().tap("any")?;
    /// // ... what is to be looked at ...
    /// tap.save("ping.pcapng")?;
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (path, frames) = (path.as_ref(), self.captured()?);
        let written = self.pcapng(&frames).map_err(io::Error::other).and_then(|bytes| fs::write(path, bytes));
        written
            .map_err(|error| Error::kernel(format!("writing {}", path.display()), self.inner.namespace.name(), error))
    }

    fn pcapng(&self, frames: &[Arc<Frame>]) -> std::result::Result<Vec<u8>, PcapError> {
        const NANOSECONDS: u8 = 9;
        let mut writer = PcapNgWriter::new(Vec::new())?;
        let name = format!("{}/{}", self.inner.namespace.name(), self.inner.device);
        // One of each kind that is there: a file of two is more than some readers take.
        let ethernet = frames.iter().any(|frame| frame.is_ethernet) || frames.is_empty();
        let bare = frames.iter().any(|frame| !frame.is_ethernet);
        for linktype in [(ethernet, DataLink::ETHERNET), (bare, DataLink::RAW)]
            .into_iter()
            .filter_map(|kind| kind.0.then_some(kind.1))
        {
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(name.clone().into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            })?;
        }
        for frame in frames {
            let inbound_or_outbound = if frame.is_out() { 2 } else { 1 };
            writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id: u32::from(ethernet && !frame.is_ethernet),
                timestamp: frame.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
                original_len: frame.bytes.len() as u32,
                data: frame.bytes.as_slice().into(),
                options: vec![EnhancedPacketOption::Flags(inbound_or_outbound)],
            })?;
        }
        Ok(writer.into_inner())
    }

    /// Waits for a frame that has not been read yet; false: the deadline passed without one.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let ready = traffic::wait_readable(&self.inner.socket, deadline);
        let failed = |error| Error::kernel(format!("waiting on {self}"), self.inner.namespace.name(), error);
        ready.map(|ready| ready.readable_or_writable).map_err(failed)
    }

    /// Where it listens.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    /// What it listens on.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.inner.device
    }

    /// Reads what the socket has, and refuses to go on where it had no room for a frame.
    fn drain(&self) -> Result<MutexGuard<'_, Capture>> {
        let capture = self.read()?;
        if capture.lost > 0 {
            let lost = format!("reading {self}: {} frames came too fast and were lost", capture.lost);
            let no_room = io::Error::from_raw_os_error(libc::ENOBUFS);
            return Err(Error::kernel(lost, self.inner.namespace.name(), no_room));
        }
        Ok(capture)
    }

    fn read(&self) -> Result<MutexGuard<'_, Capture>> {
        let mut guard = self.inner.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let capture = &mut *guard;
        let failed = |error| Error::kernel(format!("reading {self}"), self.inner.namespace.name(), error);
        while let Some(frame) = self.inner.socket.receive(&mut capture.buffer).map_err(failed)? {
            capture.frames.push(Arc::new(frame));
        }
        capture.lost += sys::frames_lost(&self.inner.socket).map_err(failed)?;
        Ok(guard)
    }
}

/// `tap on veth1-0`
impl fmt::Display for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tap on {}", self.inner.device)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tap({} in {})", self.inner.device, self.inner.namespace.name())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::probe::testing::{look, pair};

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// What is saved is a pcapng file with every frame, its time to the nanosecond, and its direction.
    #[test]
    fn a_saved_capture_reads_back() {
        let (a, _b) = pair();
        let tap = a.tap("a0").unwrap();
        assert!(look(&a.ping(TWO)).answered());
        let file = tempfile::NamedTempFile::new().unwrap();
        tap.save(file.path()).unwrap();
        let frames = tap.captured().unwrap();
        let mut reader = pcap_file::pcapng::PcapNgReader::new(fs::File::open(file.path()).unwrap()).unwrap();
        let mut read = Vec::new();
        while let Some(block) = reader.next_block() {
            if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block.unwrap() {
                let out = packet.options.contains(&EnhancedPacketOption::Flags(2));
                read.push((packet.timestamp, packet.data.to_vec(), out));
            }
        }
        let written: Vec<_> = frames
            .iter()
            .map(|frame| {
                (frame.at.duration_since(SystemTime::UNIX_EPOCH).unwrap(), frame.bytes.clone(), frame.is_out())
            })
            .take(read.len())
            .collect();
        assert!(read.len() >= 4, "{} frames", read.len());
        assert_eq!(read, written);
    }

    /// On `any`, a device that comes later is heard too, and each frame says which it was seen on.
    ///
    ///     a[a0] --- b        a[a1] --- b
    #[test]
    fn any_hears_what_comes_later() {
        let (a, b) = pair();
        let tap = a.tap("any").unwrap();
        a.apply(crate::link::Veth::new("a1", "b1").peer_in(&b).request()).unwrap();
        b.apply(crate::link::set_up("b1")).unwrap();
        a.settle(&["a1"]).unwrap();
        let index = a.index("a1").unwrap();
        let injector = b.injector("b1").unwrap();
        injector.send(&crate::forge::arp_announcement(injector.mac(), TWO)).unwrap();
        let announced = crate::filter::arp_announcement_of(TWO).and(crate::filter::on_device(index));
        assert_eq!(look(&tap.frames(announced).before((&b, "b1"))).frames.len(), 1);
    }

    /// Where frames were lost, what was heard counts for nothing until it is forgotten.
    #[test]
    fn what_was_lost_is_forgotten_too() {
        let (a, _b) = pair();
        let tap = a.tap("a0").unwrap();
        tap.inner.capture.lock().unwrap().lost = 3;
        let error = tap.captured().unwrap_err().to_string();
        assert!(error.contains("3 frames came too fast and were lost"), "{error}");
        tap.clear().unwrap();
        tap.captured().unwrap();
    }

    /// The kernel takes a tag out of a frame before anybody hears it: it is put back, and what is tagged is read all the same.
    ///
    ///     a[a0] --- b[b0]
    #[test]
    fn tags_are_heard() {
        let (a, b) = pair();
        let tap = a.tap("a0").unwrap();
        let injector = b.injector("b0").unwrap();
        let mut frame = crate::forge::arp_announcement(injector.mac(), TWO);
        frame.splice(12..12, [0x81, 0, 0x20, 5]);
        injector.send(&frame).unwrap();
        let announced = crate::filter::arp_announcement_of(TWO);
        let seen = look(&tap.frames(announced.clone().and(crate::filter::vlan(5))).before((&b, "b0")));
        assert_eq!(seen.frames.iter().map(|frame| &frame.bytes).collect::<Vec<_>>(), [&frame]);
        assert!(seen.frames[0].to_string().contains("ethertype 802.1Q (0x8100), length 46: vlan 5, "));
        assert_eq!(look(&tap.frames(announced.and(!crate::filter::vlan(5))).before((&b, "b0"))).frames, []);
    }

    /// A device that is not there is an error that names it.
    #[test]
    fn no_such_device() {
        let error = Namespace::new("alone").unwrap().tap("nosuch0").unwrap_err().to_string();
        assert!(error.starts_with("opening a packet socket on nosuch0 in namespace alone"), "{error}");
    }
}
