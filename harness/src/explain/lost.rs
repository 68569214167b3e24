//! A packet that the state of links, routes and neighbours lets pass, and which was seen no further: firewall rules.

use super::{
    filter::{Chains, Hook, Passing, Verdict},
    scene::{Spot, Way},
    trace::Travelling,
    walk::{Arrival, Leaving, Walk},
};
use crate::Result;

impl Walk<'_> {
    /// Where the packet was seen last, and what drops it there.
    pub fn vanished(&self, leaving: Leaving<'_>, way: Option<&Way>, packet: &Travelling) -> Result<String> {
        let Leaving { out, hop, .. } = leaving;
        let (what, start) = (packet.what(), self.scene.say(out));
        let Some(way) = way else { return Ok(format!("{what} leaves by {start}, and nobody is there to take it")) };
        let left = self.trace.is_some_and(|trace| trace.first(out, true, packet).is_some());
        let asks = !left && self.neighbour_missing(out, hop) && self.seen_up_to(way, hop, packet) > 0;
        if !left && !asks {
            return Ok(self.does_not_leave(leaving, packet));
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

    /// The packet is dropped between where it came in, or starts, and where it would leave.
    pub fn does_not_leave(&self, leaving: Leaving<'_>, packet: &Travelling) -> String {
        let Leaving { by, out, came, .. } = leaving;
        // No answer may mean that the question was not let in.
        let question = self.arrived.as_ref().filter(|_| by.is_none() && packet.answer);
        let dropped = question
            .and_then(|arrival| self.dropped_on_arrival(arrival))
            .or_else(|| self.say(out.place, self.verdict(out.place, self.through(by, Some(out), came, packet))))
            .unwrap_or_else(|| self.unknown(out.place));
        let (what, start) = (packet.what(), self.scene.say(out));
        format!("{what} does not leave by {start}, though its route leads there: {dropped}")
    }

    /// What drops a packet, for certain, that is where it is for.
    pub fn not_let_in(&self, arrival: &Arrival) -> Option<String> {
        let verdict = self.at_its_end(arrival);
        matches!(verdict, Verdict::Drops { .. }).then(|| self.say(arrival.place, verdict)).flatten()
    }

    /// What drops a packet that is where it is for.
    pub fn dropped_on_arrival(&self, arrival: &Arrival) -> Option<String> {
        self.say(arrival.place, self.at_its_end(arrival))
    }

    fn at_its_end(&self, arrival: &Arrival) -> Verdict {
        self.verdict(arrival.place, self.through(arrival.by, None, &arrival.came, &arrival.packet))
    }

    /// What drops the packet on the bridge that comes after the last link where it was seen.
    fn dropped_on_a_bridge(&self, way: &Way, last: usize, packet: &Travelling) -> Result<String> {
        let is_bridge = |spot: &&Spot| self.scene.link(**spot).is_some_and(|link| link.is_bridge());
        let Some(bridge) = way.0.iter().skip(last).take(2).find(is_bridge) else {
            return Ok(self.unknown(way.0[last].place));
        };
        let at = way.0.iter().position(|spot| spot == bridge).unwrap_or(0);
        let (came_in, leaves) = (at.checked_sub(1).map(|port| way.0[port]), way.0.get(at + 1).copied());
        let frames = self.through(came_in, leaves, packet, packet).map(|passing| Passing { bridged: true, ..passing });
        if let Some(cause) = self.say(bridge.place, self.verdict(bridge.place, frames)) {
            return Ok(cause);
        }
        let sysctl = if packet.to.is_ipv4() { "iptables" } else { "ip6tables" };
        let sysctl = format!("net.bridge.bridge-nf-call-{sysctl}");
        let called =
            self.scene.places[bridge.place].namespace.sysctl_if_there(&sysctl)?.is_some_and(|value| value != "0");
        if called && leaves.is_some() {
            let routed_like = self.through(Some(*bridge), Some(*bridge), packet, packet);
            if let Some(cause) = self.say(bridge.place, self.verdict(bridge.place, routed_like)) {
                return Ok(format!("{cause}, which sees bridged frames too ({sysctl}=1)"));
            }
        }
        Ok(self.unknown(bridge.place))
    }

    /// The packet at each hook of one place, from where it comes in to where it leaves: it starts where it does not come in,
    /// and is where it is for where it does not leave. `came` is as it was before destination NAT.
    fn through<'a>(
        &'a self,
        by: Option<Spot>,
        out: Option<Spot>,
        came: &'a Travelling,
        packet: &'a Travelling,
    ) -> impl Iterator<Item = Passing> + 'a {
        use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting, Raw};
        let hooks: &[Hook] = match (by, out) {
            (Some(_), Some(_)) => &[Ingress, Raw, Prerouting, Forward, Postrouting, Egress],
            (Some(_), None) => &[Ingress, Raw, Prerouting, Input],
            (None, Some(_)) => &[Output, Postrouting, Egress],
            (None, None) => &[Output, Postrouting, Raw, Prerouting, Input],
        };
        let place = by.or(out).map(|spot| spot.place);
        hooks.iter().map(move |hook| {
            let now = if matches!(hook, Ingress | Raw) { came } else { packet };
            let leaves = !matches!(hook, Ingress | Raw | Prerouting | Input);
            let mut passing = self.passing(*hook, by, out.filter(|_| leaves), now);
            passing.local = *hook == Input || place.is_none_or(|place| self.is_local(place, now.to));
            if place.is_none() {
                // What is for its own namespace passes `lo`.
                let dev = if leaves { &mut passing.oif } else { &mut passing.iif };
                *dev = Some("lo".into());
            }
            passing
        })
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
            local: false,
        }
    }

    /// What drops the packet for certain, at the first hook that does, or what may.
    fn verdict(&self, place: usize, passings: impl Iterator<Item = Passing>) -> Verdict {
        let rules = Chains::of(&self.scene.places[place].rules);
        let mut perhaps = Verdict::Passes;
        for passing in passings {
            match rules.verdict(&passing) {
                drops @ Verdict::Drops { .. } => return drops,
                verdict if perhaps == Verdict::Passes => perhaps = verdict,
                _ => {}
            }
        }
        perhaps
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
