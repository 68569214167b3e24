//! A packet that the state of links, routes and neighbours lets pass, and which was seen no further: firewall rules.

use super::{
    filter::{Chains, Device, Hook, Passing, Target, Verdict},
    scene::{Spot, Way},
    trace::Travelling,
    walk::{Arrival, Leaving, Walk},
};
use crate::Result;

impl Passing {
    /// What a bridge hands on has no input device any more where it leaves.
    fn handed_on(self) -> Self {
        if self.hook == Hook::Postrouting { Self { iif: Device::None, ..self } } else { self }
    }
}

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
        // Once the next hop was asked, its own rules may be in the way, and those of who asked.
        let (place, not_told) =
            if asks && last == next { self.not_told(out, way.end(), packet) } else { (out.place, Verdict::Passes) };
        let dropped = match not_told {
            Verdict::Drops { .. } => None,
            _ => self.dropped_on_a_bridge(way, last, packet, asks)?,
        };
        let dropped = dropped.or_else(|| self.say(place, &not_told));
        let dropped = dropped.unwrap_or_else(|| self.unknown(way.0[last].place));
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
        let Leaving { by, out, hop, came } = leaving;
        // No answer may mean that the question was not let in.
        let question = self.arrived.as_ref().filter(|_| by.is_none() && packet.answer);
        let mut verdicts: Vec<(usize, Verdict, String)> = Vec::new();
        verdicts.extend(question.map(|arrival| (arrival.place, self.at_its_end(arrival), String::new())));
        let own = self.verdict(out.place, self.through(out.place, by, Some(out), came, packet));
        verdicts.push((out.place, own, String::new()));
        if self.neighbour_missing(out, hop) {
            let asked = self.question(out.place, None, Some(out), false, packet);
            let asks = format!("nor does the question for the MAC address of its next hop, {hop}: ");
            verdicts.push((out.place, asked, asks));
        }
        let found = first_drop(&verdicts, |(_, verdict, _)| verdict);
        let dropped = found.and_then(|(place, verdict, what)| Some(format!("{what}{}", self.say(*place, verdict)?)));
        let dropped = dropped.unwrap_or_else(|| self.unknown(out.place));
        let (what, start) = (packet.what(), self.scene.say(out));
        format!("{what} does not leave by {start}, though its route leads there: {dropped}")
    }

    /// What drops the question for the next hop's MAC address where it is asked, or the answer to that.
    fn not_told(&self, asker: Spot, owner: Spot, packet: &Travelling) -> (usize, Verdict) {
        let passes = [
            (owner.place, Some(owner), None, false),
            (owner.place, None, Some(owner), true),
            (asker.place, Some(asker), None, true),
        ];
        let verdicts = passes.map(|(place, by, out, tells)| (place, self.question(place, by, out, tells, packet)));
        first_drop(&verdicts, |(_, verdict)| verdict).cloned().unwrap_or((owner.place, Verdict::Passes))
    }

    /// What becomes of the question for the packet's next hop, or of the answer to it, in one place.
    fn question(&self, place: usize, by: Option<Spot>, out: Option<Spot>, tells: bool, packet: &Travelling) -> Verdict {
        let asks = |passing: Passing| Passing { asks: true, tells, ..passing };
        self.verdict(place, self.through(place, by, out, packet, packet).map(asks))
    }

    /// What drops a packet, for certain, that is where it is for.
    pub fn not_let_in(&self, arrival: &Arrival) -> Option<String> {
        self.say_certain(arrival.place, &self.at_its_end(arrival))
    }

    /// What drops a packet that is where it is for.
    pub fn dropped_on_arrival(&self, arrival: &Arrival) -> Option<String> {
        self.say(arrival.place, &self.at_its_end(arrival))
    }

    fn at_its_end(&self, arrival: &Arrival) -> Verdict {
        self.verdict(arrival.place, self.through(arrival.place, arrival.by, None, &arrival.came, &arrival.packet))
    }

    /// What drops the packet, for certain, where its destination is changed: before that, or whatever it is then.
    pub fn dropped_before_nat(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> Option<String> {
        let hooks: &[Hook] = if by.is_some() { &[Hook::Ingress, Hook::Prerouting] } else { &[Hook::Output] };
        let passings = hooks.iter().map(|hook| {
            let coming = self.coming(*hook, place, by, packet);
            Passing { asked: Some(coming.target), unsure: true, ..coming }
        });
        self.say_certain(place, &self.verdict(place, passings))
    }

    /// The packet at a hook of a place before it is known by which device it leaves.
    pub fn coming(&self, hook: Hook, place: usize, by: Option<Spot>, packet: &Travelling) -> Passing {
        let oif = if by.is_some() { Device::None } else { Device::Unknown };
        Passing { iif: self.device(by), oif, ..self.passing(hook, place, packet) }
    }

    /// What drops the packet, or the question for its next hop, on the bridge that comes after the last link where it was seen.
    fn dropped_on_a_bridge(&self, way: &Way, last: usize, packet: &Travelling, asks: bool) -> Result<Option<String>> {
        let is_bridge = |spot: &&Spot| self.scene.link(**spot).is_some_and(|link| link.is_bridge());
        let Some(bridge) = way.0.iter().skip(last).take(2).find(is_bridge) else { return Ok(None) };
        let at = way.0.iter().position(|spot| spot == bridge).unwrap_or(0);
        let (came_in, leaves) = (at.checked_sub(1).map(|port| way.0[port]), way.0.get(at + 1).copied());
        let of_bridge = |passing: Passing| Passing { bridged: true, asks, ..passing }.handed_on();
        let frames = self.through(bridge.place, came_in, leaves, packet, packet).map(of_bridge);
        let ruled = self.verdict(bridge.place, frames);
        let sysctl = if packet.to.is_ipv4() { "iptables" } else { "ip6tables" };
        let sysctl = format!("net.bridge.bridge-nf-call-{sysctl}");
        let called =
            self.scene.places[bridge.place].namespace.sysctl_if_there(&sysctl)?.is_some_and(|value| value != "0");
        // ARP is no packet of IPv4's rules; what the bridge's own stack sends has passed them before.
        let is_seen = called && came_in.is_some() && !(asks && packet.to.is_ipv4());
        if is_seen && !matches!(ruled, Verdict::Drops { .. }) {
            // What is for the bridge's own stack is seen where it comes in.
            let is_ip = |passing: &Passing| match passing.hook {
                Hook::Prerouting => true,
                Hook::Forward | Hook::Postrouting => leaves.is_some(),
                _ => false,
            };
            let routed = self.through(bridge.place, Some(*bridge), Some(*bridge), packet, packet);
            let has_crossed = self.crossed.contains(&bridge.place);
            let of_ip =
                |passing: Passing| Passing { asks, stray: passing.stray && !has_crossed, ..passing }.handed_on();
            let routed = routed.filter(is_ip).map(of_ip);
            let routed = self.verdict(bridge.place, routed);
            let is_cause = ruled == Verdict::Passes || matches!(routed, Verdict::Drops { .. });
            if let Some(cause) = self.say(bridge.place, &routed).filter(|_| is_cause) {
                return Ok(Some(format!("{cause}, which sees bridged frames too ({sysctl}=1)")));
            }
        }
        Ok(self.say(bridge.place, &ruled))
    }

    /// The packet at each hook of one place, from where it comes in to where it leaves: it starts where it does not come in,
    /// and is where it is for where it does not leave. `came` is as it was before destination NAT.
    fn through<'a>(
        &'a self,
        place: usize,
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
        let device = move |spot: Option<Spot>| match spot {
            None if is_own => Device::Is("lo".into()),
            spot => self.device(spot),
        };
        // All chains at output see the device, and the source, of the route to whom the packet was for at first.
        let is_led_elsewhere = by.is_none() && came.to != packet.to;
        hooks.iter().map(move |hook| {
            let passing = self.passing(*hook, place, packet);
            let comes = matches!(hook, Ingress | Prerouting | Input);
            let is_changed = *hook == Output || matches!(hook, Ingress | Prerouting) && !is_own;
            Passing {
                iif: if *hook == Egress || is_own && !comes { Device::None } else { device(by) },
                oif: match hook {
                    _ if comes => Device::None,
                    Output if is_led_elsewhere => Device::Unknown,
                    _ => device(out),
                },
                from: passing.from.filter(|_| !is_led_elsewhere),
                asked: is_changed.then(|| self.target(place, came)),
                own: is_own && comes,
                ..passing
            }
        })
    }

    /// The packet at a hook of a place, by no device.
    pub fn passing(&self, hook: Hook, place: usize, packet: &Travelling) -> Passing {
        Passing {
            hook,
            bridged: false,
            netdev: false,
            asks: false,
            tells: false,
            iif: Device::None,
            oif: Device::None,
            from: packet.from,
            target: self.target(place, packet),
            asked: None,
            unsure: false,
            tracked: None,
            own: false,
            answer: packet.answer,
            stray: packet.answer && !self.has_seen(place),
            translated: self.has_published(place),
        }
    }

    fn target(&self, place: usize, packet: &Travelling) -> Target {
        Target { to: packet.to, carries: packet.carries, local: self.is_local(place, packet.to) }
    }

    /// The device at a spot.
    pub fn device(&self, spot: Option<Spot>) -> Device {
        spot.map_or(Device::None, |spot| Device::Is(self.scene.dev(spot).to_owned()))
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

    fn say_certain(&self, place: usize, verdict: &Verdict) -> Option<String> {
        matches!(verdict, Verdict::Drops { .. }).then(|| self.say(place, verdict)).flatten()
    }

    fn say(&self, place: usize, verdict: &Verdict) -> Option<String> {
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

/// The first that drops the packet for certain, or else the first that may.
fn first_drop<T>(all: &[T], verdict: impl Fn(&T) -> &Verdict) -> Option<&T> {
    let certain = all.iter().find(|one| matches!(verdict(one), Verdict::Drops { .. }));
    certain.or_else(|| all.iter().find(|one| *verdict(one) != Verdict::Passes))
}
