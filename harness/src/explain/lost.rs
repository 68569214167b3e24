//! A packet that the state of links, routes and neighbours lets pass, and which was seen no further: firewall rules.

use super::{
    filter::{Hook, Passing, Ruleset, Verdict},
    scene::{Spot, Way},
    trace::Travelling,
    walk::{Arrival, Leaving, Walk},
};
use crate::Result;

impl Walk<'_> {
    /// Where the packet was seen last, and what drops it there.
    pub fn vanished(&self, leaving: Leaving, way: Option<&Way>, packet: &Travelling) -> Result<String> {
        let Leaving { by, out, hop } = leaving;
        let what = if packet.answer { "the answer" } else { "the packet" };
        let start = self.scene.say(out);
        let Some(way) = way else { return Ok(format!("{what} leaves by {start}, and nobody is there to take it")) };
        let left = self.trace.is_some_and(|trace| trace.first(out, true, packet).is_some());
        let asks = !left && self.neighbour_missing(out, hop) && self.seen_up_to(way, hop, packet) > 0;
        if !left && !asks {
            let dropped = self.dropped_before(by, out, packet)?;
            return Ok(format!("{what} does not leave by {start}, though its route leads there: {dropped}"));
        }
        let last = self.seen_up_to(way, hop, packet).saturating_sub(1);
        let next = (last + 1).min(way.0.len() - 1);
        let dropped = self.dropped_on_a_bridge(way, last, packet)?;
        let seen =
            format!("is last seen at {}, and not at {}", self.scene.say(way.0[last]), self.scene.say(way.0[next]));
        Ok(match (asks, last == next) {
            (false, _) => format!("{what} {seen}: {dropped}"),
            (true, false) => format!("the question for the MAC address of {hop} {seen}: {dropped}"),
            (true, true) => {
                let owner = self.scene.name(way.end().place);
                format!("{owner} is asked for the MAC address of {hop}, and no answer gets back to {start}: {dropped}")
            }
        })
    }

    /// What drops the packet between where it came in, or starts, and where it would leave.
    pub fn dropped_before(&self, by: Option<Spot>, out: Spot, packet: &Travelling) -> Result<String> {
        let hook = if by.is_some() { Hook::Forward } else { Hook::Output };
        // No answer may mean that the question was not let in.
        let question = self.arrived.as_ref().filter(|_| by.is_none() && packet.answer);
        if let Some(cause) = question.map(|arrival| self.dropped_on_arrival(arrival)).transpose()?.flatten() {
            return Ok(cause);
        }
        let passing = self.passing(hook, by, Some(out), packet);
        Ok(self.dropped(out.place, &passing)?.unwrap_or_else(|| self.unknown(out.place)))
    }

    /// What drops a packet, for certain, that is where it is for.
    pub fn not_let_in(&self, arrival: &Arrival) -> Result<Option<String>> {
        let passing = self.passing(Hook::Input, arrival.by, None, &arrival.packet);
        let verdict = Ruleset::of(&self.scene.places[arrival.place].namespace)?.verdict(&passing);
        Ok(matches!(verdict, Verdict::Drops { .. }).then(|| self.say(arrival.place, verdict)).flatten())
    }

    /// What drops a packet that is where it is for.
    pub fn dropped_on_arrival(&self, arrival: &Arrival) -> Result<Option<String>> {
        let passing = self.passing(Hook::Input, arrival.by, None, &arrival.packet);
        self.dropped(arrival.place, &passing)
    }

    /// What drops the packet on the bridge that comes after the last link where it was seen.
    fn dropped_on_a_bridge(&self, way: &Way, last: usize, packet: &Travelling) -> Result<String> {
        let is_bridge = |spot: &&Spot| self.scene.link(**spot).is_some_and(|link| link.is_bridge());
        let Some(bridge) = way.0.iter().skip(last).take(2).find(is_bridge) else {
            return Ok(self.unknown(way.0[last].place));
        };
        let at = way.0.iter().position(|spot| spot == bridge).unwrap_or(0);
        let came_in = at.checked_sub(1).map(|port| way.0[port]);
        let (hook, leaves) = match way.0.get(at + 1) {
            Some(port) => (Hook::Forward, Some(*port)),
            None => (Hook::Input, None),
        };
        let frame = Passing { bridged: true, ..self.passing(hook, came_in, leaves, packet) };
        if let Some(cause) = self.dropped(bridge.place, &frame)? {
            return Ok(cause);
        }
        let sysctl = if packet.to.is_ipv4() { "iptables" } else { "ip6tables" };
        let sysctl = format!("net.bridge.bridge-nf-call-{sysctl}");
        let called =
            self.scene.places[bridge.place].namespace.sysctl_if_there(&sysctl)?.is_some_and(|value| value != "0");
        if called && leaves.is_some() {
            let routed_like = self.passing(Hook::Forward, Some(*bridge), Some(*bridge), packet);
            if let Some(cause) = self.dropped(bridge.place, &routed_like)? {
                return Ok(format!("{cause}, which sees bridged frames too ({sysctl}=1)"));
            }
        }
        Ok(self.unknown(bridge.place))
    }

    pub fn passing(&self, hook: Hook, iif: Option<Spot>, oif: Option<Spot>, packet: &Travelling) -> Passing {
        let name = |spot: Option<Spot>| spot.map(|spot| self.scene.dev(spot).to_owned());
        Passing {
            hook,
            bridged: false,
            iif: name(iif),
            oif: name(oif),
            from: packet.from,
            to: packet.to,
            carries: packet.carries,
            answer: packet.answer,
            translated: !self.published.is_empty(),
            local: hook == Hook::Input || hook == Hook::Prerouting,
        }
    }

    fn dropped(&self, place: usize, passing: &Passing) -> Result<Option<String>> {
        Ok(self.say(place, Ruleset::of(&self.scene.places[place].namespace)?.verdict(passing)))
    }

    fn say(&self, place: usize, verdict: Verdict) -> Option<String> {
        let name = self.scene.name(place);
        match verdict {
            Verdict::Passes => None,
            Verdict::Drops { chain, rule } => {
                Some(format!("{name} drops it by its firewall (chain {chain}: `{rule}`)"))
            }
            Verdict::MayDrop { chain, rule } => {
                Some(format!("{name} may drop it by its firewall (chain {chain}: `{rule}`)"))
            }
        }
    }

    fn unknown(&self, place: usize) -> String {
        format!("nothing known here drops it; a firewall rule in {}, maybe", self.scene.name(place))
    }
}
