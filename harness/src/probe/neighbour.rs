//! Neighbour states, as `ip neigh` prints them.

use std::{fmt, net::IpAddr};

use super::{Carries, Journey, Probe, Seen, Watch};
use crate::{
    Deadline, Mac, Namespace, Result, Target, neigh,
    state::{Neighbour, Nud},
    watch::Group,
};

impl Namespace {
    /// Looks at every neighbour. Equivalent to `ip neigh`.
    pub fn neighbours(&self) -> Neighbours {
        Neighbours { namespace: self.clone() }
    }

    /// Looks at the neighbour entry for `target`, on any device unless [`OneNeighbour::on`] says which.
    /// Equivalent to `ip neigh show to TARGET`.
    ///
    /// ```no_run
    /// use netproof::{Lab, expect};
    /// let lab = Lab::of("pair")?;
    /// let (netns1, netns2) = (lab.node("netns1"), lab.node("netns2"));
    /// expect!(netns1.neighbour(netns2), Absent);
    /// expect!(netns1.ping(netns2), Reply { .. });
    /// expect!(netns1.neighbour(netns2), Reachable | Delay | Stale);
    /// let mac = netns2.mac();
    /// expect!(netns1.neighbour(netns2).mac(), Some(found) if found == mac);
    /// # Ok::<(), netproof::Error>(())
    /// ```
    pub fn neighbour(&self, target: impl Into<Target>) -> OneNeighbour {
        OneNeighbour { namespace: self.clone(), target: target.into(), dev: None }
    }

    fn neighbours_where(&self, wanted: impl Fn(IpAddr) -> bool) -> Result<Vec<Neighbour>> {
        let mut messages = self.neighbour_messages()?;
        messages.retain(|message| neigh::address_of(message).is_some_and(&wanted));
        let names = self.link_names(messages.iter().map(|message| message.header.ifindex))?;
        Ok(messages.iter().filter_map(|message| Neighbour::of(message, &names)).collect())
    }
}

/// A probe of every neighbour.
#[derive(Clone, Debug)]
#[must_use]
pub struct Neighbours {
    namespace: Namespace,
}

/// A probe of one neighbour's state.
#[derive(Clone, Debug)]
#[must_use]
pub struct OneNeighbour {
    namespace: Namespace,
    target: Target,
    dev: Option<String>,
}

/// A probe of one neighbour's MAC address.
#[derive(Clone, Debug)]
#[must_use]
pub struct NeighbourMac(OneNeighbour);

/// Every neighbour of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourList(pub Vec<Neighbour>);

/// One neighbour entry, or its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaybeNeighbour(pub Option<Neighbour>);

/// A neighbour's MAC address, or that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaybeMac(pub Option<Mac>);

impl Neighbours {
    /// Lists them: of both IP versions, without those that need no asking.
    pub fn list(&self) -> Result<Vec<Neighbour>> {
        let mut all = self.namespace.neighbours_where(|_| true)?;
        all.retain(|neighbour| neighbour.state != Nud::Noarp);
        Ok(all)
    }
}

impl OneNeighbour {
    /// On this device only, which must be there.
    pub fn on(mut self, dev: impl Into<String>) -> Self {
        self.dev = Some(dev.into());
        self
    }

    /// Its MAC address instead of its state.
    pub fn mac(self) -> NeighbourMac {
        NeighbourMac(self)
    }

    /// The entry, or `None`. Of several devices' entries the best known.
    pub fn read(&self) -> Result<Option<Neighbour>> {
        // A name that no device has is an error, and not an entry that is absent.
        self.dev.as_deref().map(|dev| self.namespace.index(dev)).transpose()?;
        let mut found = self.namespace.neighbours_where(|address| address == self.target.address)?;
        found.retain(|entry| self.dev.as_ref().is_none_or(|dev| *dev == entry.dev));
        Ok(found.into_iter().min_by_key(|entry| matches!(entry.state, Nud::Incomplete | Nud::Failed)))
    }
}

impl Probe for Neighbours {
    type Output = NeighbourList;

    fn describe(&self) -> String {
        format!("{}: ip neigh", self.namespace.name())
    }

    fn look(&self, _deadline: Deadline) -> Result<NeighbourList> {
        self.list().map(NeighbourList)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Neighbour])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
}

impl Probe for OneNeighbour {
    type Output = MaybeNeighbour;

    fn describe(&self) -> String {
        let dev = self.dev.as_ref().map(|dev| format!(" dev {dev}")).unwrap_or_default();
        format!("{}: ip neigh show to {}{dev}", self.namespace.name(), self.target)
    }

    fn look(&self, _deadline: Deadline) -> Result<MaybeNeighbour> {
        self.read().map(MaybeNeighbour)
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        Ok(Box::new(self.namespace.changes(&[Group::Neighbour])?))
    }

    fn concerned(&self) -> Vec<Namespace> {
        [&self.namespace].into_iter().chain(&self.target.namespace).cloned().collect()
    }

    /// Who does not become known as a neighbour is looked for where a packet for it would go.
    fn journey(&self) -> Option<Journey> {
        let namespace = self.target.namespace.as_ref()?;
        let elsewhere = !namespace.is_same(&self.namespace).unwrap_or(true);
        elsewhere.then(|| Journey::new(&self.namespace, &self.target, Carries::Echo))
    }
}

impl Probe for NeighbourMac {
    type Output = MaybeMac;

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn look(&self, _deadline: Deadline) -> Result<MaybeMac> {
        Ok(MaybeMac(self.0.read()?.and_then(|entry| entry.mac)))
    }

    fn watch(&self) -> Result<Box<dyn Watch>> {
        self.0.watch()
    }

    fn concerned(&self) -> Vec<Namespace> {
        self.0.concerned()
    }

    fn journey(&self) -> Option<Journey> {
        self.0.journey()
    }
}

impl Seen for NeighbourList {
    type As<'a> = &'a [Neighbour];

    fn seen(&self) -> &[Neighbour] {
        &self.0
    }
}

impl Seen for MaybeNeighbour {
    type As<'a> = Nud;

    fn seen(&self) -> Nud {
        self.0.as_ref().map_or(Nud::Absent, |entry| entry.state)
    }
}

impl Seen for MaybeMac {
    type As<'a> = Option<Mac>;

    fn seen(&self) -> Option<Mac> {
        self.0
    }
}

impl fmt::Display for NeighbourList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::lines(f, &self.0)
    }
}

impl fmt::Display for MaybeNeighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(entry) => entry.fmt(f),
            None => f.write_str("there is no entry"),
        }
    }
}

impl fmt::Display for MaybeMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(mac) => write!(f, "lladdr {mac}"),
            None => f.write_str("no MAC address is known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        neigh,
        probe::testing::{look, pair},
    };

    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    /// Its state once nobody asks for it any more, by the kernel's own announcements.
    fn settled(probe: &OneNeighbour) -> Nud {
        let deadline = Deadline::after(std::time::Duration::from_secs(5));
        let mut watch = probe.watch().unwrap();
        while look(probe).seen() == Nud::Incomplete {
            assert!(watch.wait(deadline).unwrap(), "{}", look(probe));
        }
        look(probe).seen()
    }

    /// A neighbour comes to be known, is forgotten, set for good, and kept by a flush.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn a_neighbours_life() {
        let (a, b) = pair();
        let known = a.neighbour(IpAddr::from(THERE)).on("a0");
        a.flush_neighbours().unwrap();
        assert_eq!(look(&known).seen(), Nud::Absent);
        assert!(look(&a.ping(IpAddr::from(THERE))).answered());
        assert_eq!(look(&known).seen(), Nud::Reachable);
        let mac = b.link("b0").read().unwrap().unwrap().mac;
        assert_eq!(look(&known.clone().mac()).seen(), mac);
        assert_eq!(look(&known).to_string(), format!("10.0.0.2 dev a0 lladdr {} REACHABLE", mac.unwrap()));
        assert_eq!(look(&a.neighbour(IpAddr::from(THERE)).on("lo")).seen(), Nud::Absent);

        a.flush_neighbours().unwrap();
        assert_eq!(look(&known).seen(), Nud::Absent);
        let index = a.index("a0").unwrap();
        a.apply(neigh::set_permanent(index, THERE.into(), Mac([2, 0, 0, 0, 0, 9]))).unwrap();
        a.flush_neighbours().unwrap();
        assert_eq!(look(&known).seen(), Nud::Permanent);
        a.apply(neigh::set_noarp(index, THERE.into(), Mac([2, 0, 0, 0, 0, 9]))).unwrap();
        assert_eq!((look(&known).seen(), a.neighbours().list().unwrap()), (Nud::Noarp, vec![]));
        a.apply(neigh::delete(index, THERE.into())).unwrap();
        assert_eq!(look(&known).seen(), Nud::Absent);
        let again = neigh::delete(index, THERE.into());
        assert!(a.apply(again.clone()).is_err() && a.apply(again.may_be_gone()).is_ok());
    }

    /// A device that is not there is an error: its absent entries would prove nothing.
    #[test]
    fn no_such_device() {
        let (a, _b) = pair();
        let error = a
            .neighbour(Ipv4Addr::new(10, 0, 0, 2))
            .on("a9")
            .look(Deadline::after(std::time::Duration::ZERO))
            .unwrap_err()
            .to_string();
        assert!(error.contains("a9"), "{error}");
    }

    /// Who does not answer is asked for three times, 50 ms apart once quickened, and then `Failed`.
    ///
    ///     a[a0 10.0.0.1] --- b[b0 10.0.0.2]
    #[test]
    fn nobody_fails_quickly() {
        let (a, _b) = pair();
        a.set_sysctls(&["ipv4", "ipv6"].map(|version| (format!("net.{version}.neigh.a0.retrans_time_ms"), "1000")))
            .unwrap();
        a.quicken().unwrap();
        for version in ["ipv4", "ipv6"] {
            let set: u32 = a.sysctl(&format!("net.{version}.neigh.a0.retrans_time_ms")).unwrap().parse().unwrap();
            // Rounded up to a tick.
            assert!((50..=60).contains(&set), "{set}");
            assert_eq!(a.sysctl(&format!("net.{version}.neigh.a0.proxy_delay")).unwrap(), "0");
        }
        let nobody = a.neighbour(IpAddr::from(NOBODY));
        let started = std::time::Instant::now();
        assert!(!look(&a.ping(IpAddr::from(NOBODY))).answered());
        let state = settled(&nobody);
        assert!(matches!(state, Nud::Failed | Nud::Absent), "{state:?}");
        assert!(started.elapsed() < std::time::Duration::from_millis(2500), "{:?}", started.elapsed());
        let failed = MaybeNeighbour(Some(Neighbour {
            address: NOBODY.into(),
            dev: "a0".into(),
            mac: None,
            state: Nud::Failed,
            proxy: false,
        }));
        assert_eq!(failed.to_string(), "10.0.0.9 dev a0 FAILED");
    }
}
