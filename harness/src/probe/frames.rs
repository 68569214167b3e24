//! Frames that a filter picks, and those that did not come.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Deadline, Error, Namespace, Result,
    probe::{
        Probe, Seen, Watch,
        filter::Filter,
        frame::{Frame, Packet},
        packet::Sentinels,
        tap::Tap,
        traffic,
    },
    state::Nud,
    watch::Group,
};

/// The frames on a tap that a filter picks; made by [`Tap::frames`].
#[derive(Clone, Debug)]
#[must_use = "frames are counted by `look` or `expect!`"]
pub struct Frames {
    tap: Tap,
    filter: Filter,
    before: Option<Station>,
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

impl Station {
    /// Waits while a neighbour of the station's is looked for, as long as silence lasts: a packet that waits for it is on its
    /// way too, and a sentinel, which asks for nobody, would overtake it.
    fn wait_for_neighbours(&self) -> Result<()> {
        let window = Deadline::exactly(traffic::silence());
        let mut changes = None;
        loop {
            let neighbours = self.namespace.neighbours().list()?;
            if neighbours.iter().all(|neighbour| neighbour.state != Nud::Incomplete) || window.passed() {
                return Ok(());
            }
            match &mut changes {
                // What changed between the list and the subscription is seen by another look.
                None => changes = Some(self.namespace.changes(&[Group::Neighbour])?),
                Some(changes) => drop(changes.wait(window)?),
            }
        }
    }
}

impl Tap {
    /// The frames that the filter picks, counted. In [`expect!`](crate::expect!) a pattern for it is a number: `1..`; one
    /// that says how many there are at most needs [`Frames::before`].
    pub fn frames(&self, filter: impl Into<Filter>) -> Frames {
        Frames { tap: self.clone(), filter: filter.into(), before: None }
    }
}

impl Frames {
    /// Counts only what came before now: a look sends a sentinel from the station, a node or a namespace's device,
    /// waits until it passes the tap, and counts what passed before. Without it, that nothing came, or no more, proves
    /// nothing.
    ///
    /// The sentinel is a broadcast frame (ethertype 0x88b5) from each CPU: frames that wait in a CPU's queue are then counted
    /// too. From a device without Ethernet it is an IPv4 packet to 255.255.255.255 of protocol 253 (RFC 3692), which a
    /// program that reads a TUN device gets to see, and a tunnel may carry to its other end. It is sent once the station's
    /// namespace looks for no neighbour any more, whose packets would wait; what waits in a router further on it overtakes.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect, filter::arp};
    /// let lab = Lab::of("isolated-ports")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// let tap = netns2.tap(netns2.device())?;
    /// expect!(netns1.ping(netns2), NoReply);
    /// // Nothing of it came: what is sent after it has been seen.
    /// expect!(tap.frames(arp()).before((lab.host(), "br0")), 0);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn before(mut self, station: impl Into<Station>) -> Self {
        self.before = Some(station.into());
        self
    }
}

impl Probe for Frames {
    type Output = Captured;

    fn describe(&self) -> String {
        let (namespace, device) = (self.tap.namespace().name(), self.tap.device());
        let line = format!("{namespace}: tcpdump -e -n -i {device}: {}", self.filter);
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
        std::iter::once(self.tap.namespace()).chain(from).cloned().collect()
    }

    fn depends_on_ports(&self) -> bool {
        true
    }

    /// Frames that have not come yet are not missing; only those that a sentinel overtook are. That goes for any number of
    /// frames of which more would not match.
    fn control<M: Fn(usize) -> bool>(&self, seen: &Captured, matches: &M) -> Result<Option<String>> {
        let mut more = (1..=64).chain([1 << 30]).map(|more| seen.frames.len() + more);
        let unproven = self.before.is_none() && !more.all(matches);
        Ok(unproven.then(|| "more may still be on their way: say `.before(station)`, which sends a sentinel".into()))
    }
}

impl Frames {
    fn until_sentinel(&self, station: &Station, deadline: Deadline) -> Result<Vec<Arc<Frame>>> {
        // One that meets a port which does not forward yet is lost.
        const AGAIN: Duration = Duration::from_millis(200);
        let sentinels = Sentinels::new(&station.namespace, &station.device)?;
        station.wait_for_neighbours()?;
        loop {
            let tokens = sentinels.send()?;
            let round = deadline.at_most(AGAIN);
            while !round.passed() {
                let mut frames = self.tap.captured()?;
                if let Some(end) = all_passed(&frames, &tokens) {
                    frames.truncate(end);
                    return Ok(frames);
                }
                self.tap.wait(round)?;
            }
            if deadline.passed() {
                return Err(Error::NoBroadcast {
                    from: format!("{} in {}", station.device, station.namespace.name()),
                    to: format!("{} in {}", self.tap.device(), self.tap.namespace().name()),
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
        self.0.wait(deadline)
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
    use std::{
        net::{IpAddr, Ipv4Addr},
        thread,
    };

    use rtnetlink::packet_route::AddressFamily;

    use super::*;
    use crate::{
        neigh::set_retransmission,
        probe::{
            filter::{
                any, arp_reply_from, arp_request_for, echo_reply_from, echo_request_to, incoming, neighbour_reply_from,
                neighbour_request_for, outgoing, udp_to_port,
            },
            forge,
            testing::{bridged, look, pair},
        },
    };

    const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// A pair in which nobody is asked a second time because a busy machine is late with the answer.
    fn patient() -> (Namespace, Namespace) {
        let (a, b) = pair();
        let versions = [AddressFamily::Inet, AddressFamily::Inet6];
        a.apply_all(versions.map(|version| set_retransmission(a.index("a0").unwrap(), version, 10_000))).unwrap();
        (a, b)
    }

    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    ///
    /// A first ping is four frames: ARP request and reply, echo request and reply; each with its direction.
    #[test]
    fn a_first_ping_is_four_frames() {
        let (a, _b) = patient();
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

    /// The same over IPv6, with neighbour discovery in ARP's place.
    #[test]
    fn a_first_ping_over_ipv6_is_four_frames() {
        let (a, _b) = patient();
        let two: IpAddr = "fd00::2".parse().unwrap();
        let tap = a.tap("a0").unwrap();
        assert!(look(&a.ping(two)).answered());
        for filter in [
            neighbour_request_for(two).and(outgoing()),
            neighbour_reply_from(two).and(incoming()),
            echo_request_to(two).and(outgoing()),
            echo_reply_from(two).and(incoming()),
        ] {
            let seen = look(&tap.frames(filter.clone()));
            assert_eq!(seen.seen(), 1, "{filter}: {seen}");
        }
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
        let ours = |frame: &Frame| matches!(frame.packet, Packet::Echo { identifier: 0xabc, reply: false, .. });
        for round in 1..=20 {
            thread::scope(|scope| {
                for _ in 0..4 {
                    let send = || (0..25).for_each(|seq| injector.send(&forge::echo_request(way, 0xabc, seq)).unwrap());
                    scope.spawn(send);
                }
            });
            let seen = look(&to.frames(ours).before((&n1, "e1")));
            assert_eq!(seen.seen(), round * 100, "in round {round}");
        }
        let none = aside.frames(echo_request_to(TWO)).before((&n1, "e1"));
        let seen = look(&none);
        assert_eq!(seen.seen(), 0, "{seen}");
        assert_eq!(none.control(&seen, &|count| count == 0).unwrap(), None);
        let unguarded = aside.frames(echo_request_to(TWO));
        for most in 0..3 {
            let reason = unguarded.control(&seen, &|count| count <= most).unwrap().unwrap();
            assert!(reason.contains("sentinel"), "{reason}");
        }
        for is_so in [|count: usize| count != 1, |count| count == 0 || count > 1, |count| count % 2 == 0] {
            assert!(unguarded.control(&seen, &is_so).unwrap().is_some());
        }
        assert_eq!(unguarded.control(&seen, &|count| count >= 1 && count * 10 > 5).unwrap(), None);
        let all = look(&aside.frames(|frame: &Frame| frame.ethertype == 0x88b5).before((&n3, "e3")));
        assert_eq!(all.seen(), 0, "sentinels do not count: {all}");
    }

    /// The MAC address that n1's pings to n2 go to.
    fn forged_target(tap: &Tap, n1: &Namespace) -> crate::Mac {
        assert!(look(&n1.ping(TWO)).answered());
        look(&tap.frames(echo_request_to(TWO))).frames[0].destination
    }

    /// A sentinel does not overtake a packet that waits for its neighbour.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2], which answers ARP when the test does
    #[test]
    fn a_sentinel_waits_for_neighbours() {
        let (a, b) = patient();
        b.set_sysctl("net.ipv4.conf.all.arp_ignore", "8").unwrap();
        let (tap, injector) = (b.tap("b0").unwrap(), b.injector("b0").unwrap());
        let socket = a.run(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        socket.send_to(b"x", (TWO, 9)).unwrap();
        let asked = look(&tap.frames(arp_request_for(TWO)).before((&a, "a0")));
        assert_eq!(look(&tap.frames(udp_to_port(9))).seen(), 0, "it waits");
        let one = asked.frames[0].source;
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                injector.send(&forge::arp_reply(injector.mac(), TWO, one, Ipv4Addr::new(10, 0, 0, 1))).unwrap();
            });
            assert_eq!(look(&tap.frames(udp_to_port(9)).before((&a, "a0"))).seen(), 1);
        });
    }

    /// A sentinel that cannot arrive is an error, not a zero.
    #[test]
    fn a_sentinel_that_does_not_arrive_is_an_error() {
        let (a, _b) = pair();
        let (other, _c) = pair();
        let tap = a.tap("a0").unwrap();
        let frames = tap.frames(any()).before((&other, "a0"));
        let error = frames.look(Deadline::exactly(Duration::from_millis(100))).unwrap_err().to_string();
        assert!(error.contains("no broadcast of a0 in "), "{error}");
    }
}
