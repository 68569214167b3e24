//! Frames on a device.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
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
    probe::{
        Probe, Seen, Watch,
        filter::Filter,
        frame::{Frame, Packet},
        packet::{PacketSocket, Sentinels},
        sys, traffic,
    },
};

impl Namespace {
    /// Listens on a device: every frame that passes it in either direction, from when this returns.
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

/// Where a sentinel is sent from: a device of a namespace.
#[derive(Clone, Debug)]
pub struct Station {
    /// The namespace.
    pub namespace: Namespace,
    /// Its device.
    pub device: String,
}

impl From<(&Namespace, &str)> for Station {
    fn from((namespace, device): (&Namespace, &str)) -> Self {
        Self { namespace: namespace.clone(), device: device.to_owned() }
    }
}

impl Tap {
    /// The frames that the filter picks, counted. In [`expect!`](crate::expect!) a pattern for it is a number: `1..`.
    pub fn frames(&self, filter: impl Into<Filter>) -> Frames {
        Frames { tap: self.clone(), filter: filter.into(), before: None }
    }

    /// All frames that have passed since this was made, sentinels included.
    pub fn captured(&self) -> Result<Vec<Arc<Frame>>> {
        Ok(self.drain()?.frames.clone())
    }

    /// Forgets the frames that have passed so far.
    pub fn clear(&self) -> Result<()> {
        self.drain()?.frames.clear();
        Ok(())
    }

    /// Writes the frames that have passed so far as a pcapng file, for Wireshark or `tcpdump -r`.
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
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
        for frame in frames {
            let inbound_or_outbound = if frame.is_out() { 2 } else { 1 };
            writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id: 0,
                timestamp: frame.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
                original_len: frame.bytes.len() as u32,
                data: frame.bytes.as_slice().into(),
                options: vec![EnhancedPacketOption::Flags(inbound_or_outbound)],
            })?;
        }
        Ok(writer.into_inner())
    }

    /// Reads what the socket has, and refuses to go on where it had no room for a frame.
    fn drain(&self) -> Result<MutexGuard<'_, Capture>> {
        let mut guard = self.inner.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let capture = &mut *guard;
        let failed = |error| Error::kernel(format!("reading {self}"), self.inner.namespace.name(), error);
        while let Some(frame) = self.inner.socket.receive(&mut capture.buffer).map_err(failed)? {
            capture.frames.push(Arc::new(frame));
        }
        capture.lost += sys::frames_lost(&self.inner.socket).map_err(failed)?;
        if capture.lost > 0 {
            let lost = format!("reading {self}: {} frames came too fast and were lost", capture.lost);
            let no_room = io::Error::from_raw_os_error(libc::ENOBUFS);
            return Err(Error::kernel(lost, self.inner.namespace.name(), no_room));
        }
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

/// The frames on a tap that a filter picks; made by [`Tap::frames`].
#[derive(Clone, Debug)]
#[must_use = "frames are counted by `look` or `expect!`"]
pub struct Frames {
    tap: Tap,
    filter: Filter,
    before: Option<Station>,
}

impl Frames {
    /// Counts only what came before now: a look sends a sentinel from the station, a node or a namespace's device,
    /// waits until it passes the tap, and counts what passed before. Without it, that nothing came proves nothing.
    ///
    /// The sentinel is a broadcast frame (ethertype 0x88b5) from each CPU: frames that wait in a CPU's queue are then counted too.
    pub fn before(mut self, station: impl Into<Station>) -> Self {
        self.before = Some(station.into());
        self
    }
}

impl Probe for Frames {
    type Output = Captured;

    fn describe(&self) -> String {
        let inner = &self.tap.inner;
        let line = format!("{}: tcpdump -e -n -i {}: {}", inner.namespace.name(), inner.device, self.filter);
        match &self.before {
            Some(from) => format!("{line}, before a sentinel from {} in {}", from.device, from.namespace.name()),
            None => line,
        }
    }

    fn look(&self, deadline: Deadline) -> Result<Captured> {
        let frames = match &self.before {
            Some(station) => self.until_sentinel(station, deadline)?,
            None => self.tap.captured()?,
        };
        Ok(Captured::of(&frames, &self.filter))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(Arrival(self.tap.clone())))
    }

    fn concerned(&self) -> Vec<Namespace> {
        let from = self.before.as_ref().map(|station| &station.namespace);
        std::iter::once(&self.tap.inner.namespace).chain(from).cloned().collect()
    }
}

impl Frames {
    fn until_sentinel(&self, station: &Station, deadline: Deadline) -> Result<Vec<Arc<Frame>>> {
        // One that meets a port which does not forward yet is lost.
        const AGAIN: Duration = Duration::from_millis(200);
        let inner = &self.tap.inner;
        let failed = |error| Error::kernel(format!("waiting on {}", self.tap), inner.namespace.name(), error);
        let sentinels = Sentinels::new(&station.namespace, &station.device)?;
        loop {
            let tokens = sentinels.send()?;
            let round = deadline.at_most(AGAIN);
            while !round.passed() {
                let mut frames = self.tap.captured()?;
                if let Some(end) = all_passed(&frames, &tokens) {
                    frames.truncate(end);
                    return Ok(frames);
                }
                traffic::wait_readable(&inner.socket, round).map_err(failed)?;
            }
            if deadline.passed() {
                let (device, from) = (&station.device, station.namespace.name());
                let doing = format!("waiting on {} for a sentinel from {device} in {from}", self.tap);
                return Err(Error::Timeout {
                    doing,
                    namespace: inner.namespace.name().into(),
                    after: deadline.length(),
                });
            }
        }
    }
}

/// Where in the capture the last of the sentinels first came by.
fn all_passed(frames: &[Arc<Frame>], tokens: &[u64]) -> Option<usize> {
    let first = |wanted: &u64| {
        frames.iter().position(|frame| matches!(frame.packet, Packet::Sentinel { token } if token == *wanted))
    };
    let places: Option<Vec<usize>> = tokens.iter().map(first).collect();
    places?.into_iter().max()
}

struct Arrival(Tap);

impl Watch for Arrival {
    fn wait(&mut self, deadline: Deadline) -> Result<bool> {
        let inner = &self.0.inner;
        let ready = traffic::wait_readable(&inner.socket, deadline);
        let ready = ready.map_err(|error| Error::kernel("waiting for frames", inner.namespace.name(), error))?;
        Ok(ready.readable_or_writable)
    }
}

/// The frames that a filter picked. Prints as `tcpdump -e -n` does.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The frames, in the order in which they passed.
    pub frames: Vec<Arc<Frame>>,
    /// How many others passed: what the filter did not pick, sentinels excluded.
    pub others: usize,
    /// The last of the others, for a reader who wonders what passed instead.
    last_others: Vec<Arc<Frame>>,
}

impl Captured {
    const SHOWN: usize = 12;

    fn of(frames: &[Arc<Frame>], filter: &Filter) -> Self {
        let real = frames.iter().filter(|frame| !matches!(frame.packet, Packet::Sentinel { .. }));
        let (picked, others): (Vec<_>, Vec<_>) = real.cloned().partition(|frame| filter.matches(frame));
        let last_others = others[others.len().saturating_sub(Self::SHOWN)..].to_vec();
        Self { frames: picked, others: others.len(), last_others }
    }
}

impl Seen for Captured {
    type As<'a> = usize;

    fn seen(&self) -> usize {
        self.frames.len()
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames", self.frames.len())?;
        for frame in self.frames.iter().take(Self::SHOWN) {
            write!(f, "\n{frame}")?;
        }
        if self.frames.len() > Self::SHOWN {
            write!(f, "\n... and {} more", self.frames.len() - Self::SHOWN)?;
        }
        if self.frames.is_empty() && self.others > 0 {
            write!(f, "; of the {} others, the last {}:", self.others, self.last_others.len())?;
            for frame in &self.last_others {
                write!(f, "\n{frame}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::probe::{
        filter::{any, arp_reply_from, arp_request_for, echo_reply_from, echo_request_to, incoming, outgoing},
        forge,
        testing::{bridged, look, pair},
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// A first ping is four frames: ARP request and reply, echo request and reply; each with its direction.
    #[test]
    fn a_first_ping_is_four_frames() {
        let (a, _b) = pair();
        let tap = a.tap("a0").unwrap();
        assert!(look(&a.ping(TWO)).answered());
        for (filter, count) in [
            (arp_request_for(TWO).and(outgoing()), 1),
            (arp_reply_from(TWO).and(incoming()), 1),
            (echo_request_to(TWO).and(outgoing()), 1),
            (echo_reply_from(TWO).and(incoming()), 1),
            (arp_request_for(Ipv4Addr::new(10, 0, 0, 9)), 0),
            (echo_reply_from(TWO).and(outgoing()), 0),
            (echo_reply_from(TWO).and(!any()), 0),
        ] {
            let seen = look(&tap.frames(filter.clone()));
            assert_eq!(seen.seen(), count, "{filter}: {seen}");
        }
        tap.clear().unwrap();
        assert_eq!(look(&tap.frames(|frame: &Frame| frame.ip().is_some_and(|ip| ip.source.is_ipv4()))).seen(), 0);
    }

    ///     n1 --- p1[br0]p2 --- n2
    ///               p3 ------- n3
    ///
    /// A sentinel comes after all that was sent before it, and never counts; nothing that was not sent to n3's port is
    /// counted there.
    #[test]
    fn a_sentinel_comes_after_what_was_sent_before() {
        let (host, [n1, _n2, n3]) = bridged();
        assert!(look(&n1.ping(TWO)).answered(), "the bridge learns where both are");
        let (to, aside) = (host.tap("p2").unwrap(), host.tap("p3").unwrap());
        let injector = n1.injector("e1").unwrap();
        let [source_mac, destination_mac] = [injector.mac(), forged_target(&to, &n1)];
        let way = forge::Way {
            source_mac,
            destination_mac,
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: TWO.into(),
        };
        for seq in 0..200 {
            injector.send(&forge::echo_request(way, 0xabc, seq)).unwrap();
        }
        let seen = look(&to.frames(echo_request_to(TWO)).before((&n1, "e1")));
        assert!(seen.seen() >= 200, "{seen}");
        let seen = look(&aside.frames(echo_request_to(TWO)).before((&n1, "e1")));
        assert_eq!(seen.seen(), 0, "{seen}");
        let all = look(&aside.frames(|frame: &Frame| frame.ethertype == 0x88b5).before((&n3, "e3")));
        assert_eq!(all.seen(), 0, "sentinels do not count: {all}");
    }

    /// The MAC address that n1's pings to n2 go to.
    fn forged_target(tap: &Tap, n1: &Namespace) -> crate::Mac {
        assert!(look(&n1.ping(TWO)).answered());
        look(&tap.frames(echo_request_to(TWO))).frames[0].destination
    }

    /// A sentinel that cannot arrive is an error, not a zero.
    #[test]
    fn a_sentinel_that_does_not_arrive_is_an_error() {
        let (a, _b) = pair();
        let (other, _c) = pair();
        let tap = a.tap("a0").unwrap();
        let frames = tap.frames(any()).before((&other, "a0"));
        let error = frames.look(Deadline::exactly(Duration::from_millis(100))).unwrap_err().to_string();
        assert!(error.contains("sentinel from a0"), "{error}");
    }

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

    /// A device that is not there is an error that names it.
    #[test]
    fn no_such_device() {
        let error = Namespace::new("alone").unwrap().tap("nosuch0").unwrap_err().to_string();
        assert!(error.starts_with("opening a packet socket on nosuch0 in namespace alone"), "{error}");
    }
}
