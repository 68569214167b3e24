//! A packet that the state of links, routes and neighbours lets pass, and which was seen no further: firewall rules.

use super::{
    filter::{Chains, Hook, Passing, Target, Verdict},
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
        let dropped = self.dropped_on_a_bridge(way, last, packet, asks)?;
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

    /// What drops the packet, or the question for its next hop, on the bridge that comes after the last link where it was seen.
    fn dropped_on_a_bridge(&self, way: &Way, last: usize, packet: &Travelling, asks: bool) -> Result<String> {
        let is_bridge = |spot: &&Spot| self.scene.link(**spot).is_some_and(|link| link.is_bridge());
        let Some(bridge) = way.0.iter().skip(last).take(2).find(is_bridge) else {
            return Ok(self.unknown(way.0[last].place));
        };
        let at = way.0.iter().position(|spot| spot == bridge).unwrap_or(0);
        let (came_in, leaves) = (at.checked_sub(1).map(|port| way.0[port]), way.0.get(at + 1).copied());
        // What a bridge hands on has no input device any more where it leaves.
        let of_bridge = |bridged: bool| {
            move |passing: Passing| {
                let iif = passing.iif.filter(|_| passing.hook != Hook::Postrouting);
                Passing { bridged, asks, iif, ..passing }
            }
        };
        let frames = self.through(came_in, leaves, packet, packet).map(of_bridge(true));
        if let Some(cause) = self.say(bridge.place, self.verdict(bridge.place, frames)) {
            return Ok(cause);
        }
        let sysctl = if packet.to.is_ipv4() { "iptables" } else { "ip6tables" };
        let sysctl = format!("net.bridge.bridge-nf-call-{sysctl}");
        let called =
            self.scene.places[bridge.place].namespace.sysctl_if_there(&sysctl)?.is_some_and(|value| value != "0");
        // ARP is no packet of IPv4's rules; what the bridge's own stack sends has passed them before.
        let is_seen = came_in.is_some() && leaves.is_some() && !(asks && packet.to.is_ipv4());
        if called && is_seen {
            let is_ip = |passing: &Passing| !matches!(passing.hook, Hook::Ingress | Hook::Egress);
            let routed = self.through(Some(*bridge), Some(*bridge), packet, packet);
            let routed_like = routed.filter(is_ip).map(of_bridge(false));
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
        use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let hooks: &[Hook] = match (by, out) {
            (Some(_), Some(_)) => &[Ingress, Prerouting, Forward, Postrouting, Egress],
            (Some(_), None) => &[Ingress, Prerouting, Input],
            (None, Some(_)) => &[Output, Postrouting, Egress],
            // What is for its own namespace passes `lo`.
            (None, None) => &[Output, Postrouting, Egress, Ingress, Prerouting, Input],
        };
        let is_own = by.is_none() && out.is_none();
        let lo = move || is_own.then(|| "lo".to_owned());
        let place = by.or(out).map(|spot| spot.place);
        hooks.iter().map(move |hook| {
            let passing = self.passing(*hook, place, packet);
            let comes = matches!(hook, Ingress | Prerouting | Input);
            let is_changed = *hook == Output || matches!(hook, Ingress | Prerouting) && !is_own;
            let iif = self.device(by).filter(|_| *hook != Egress).or_else(|| lo().filter(|_| comes));
            Passing {
                iif,
                oif: if comes { None } else { self.device(out).or_else(lo) },
                asked: is_changed.then(|| self.target(place, came)),
                tracked: is_own && comes,
                ..passing
            }
        })
    }

    /// The packet at a hook of a place, by no device; without a place, where it is for.
    pub fn passing(&self, hook: Hook, place: Option<usize>, packet: &Travelling) -> Passing {
        Passing {
            hook,
            bridged: false,
            asks: false,
            iif: None,
            oif: None,
            from: packet.from,
            target: self.target(place, packet),
            asked: None,
            tracked: false,
            answer: packet.answer,
            translated: !self.published.is_empty(),
        }
    }

    fn target(&self, place: Option<usize>, packet: &Travelling) -> Target {
        let local = place.is_none_or(|place| self.is_local(place, packet.to));
        Target { to: packet.to, carries: packet.carries, local }
    }

    /// The name of the device at a spot.
    pub fn device(&self, spot: Option<Spot>) -> Option<String> {
        spot.map(|spot| self.scene.dev(spot).to_owned())
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
