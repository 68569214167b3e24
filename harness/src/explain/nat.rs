//! What NAT makes of a packet: as it was seen, as connection tracking remembers it, as the rules say.

use std::net::{IpAddr, SocketAddr};

use super::{
    filter::{self, Chains, Hook, Rewrite},
    scene::Spot,
    trace::Travelling,
    walk::{Step, Walk, stop},
};
use crate::{Carries, Frame, conntrack::Flow, probe::frame::Packet};

/// Whom a packet is for.
type Destination = (IpAddr, Carries);

/// A place that changed the packet's destination.
pub(super) struct Published {
    pub place: usize,
    asked: Destination,
    to: Destination,
}

impl Walk<'_> {
    /// What NAT does with the packet where it has come in: as recorded on the way out, as was seen, as is remembered,
    /// or as its rules say.
    pub fn translate(&mut self, place: usize, by: Option<Spot>, packet: &mut Travelling) -> Step {
        if packet.answer {
            let undone = self.forwarded.iter().filter(|hop| hop.out.place == place).find_map(|hop| hop.translated);
            if let Some((before, _)) = undone.filter(|(_, after)| *after == packet.to) {
                packet.to = before;
            }
            return Ok(());
        }
        let flow = self.tracked(place, by, packet);
        let remembered = flow.as_ref().map(|flow| to(flow.reply.0, packet));
        let rules = self.rules_say(place, by, packet);
        let rewrite = if let filter::Destination::Changed(rewrite) = &rules { Some(rewrite) } else { None };
        let is_local = self.is_local(place, packet.to);
        // What starts here is not followed by its port: where it leaves as it is, an older flow is remembered so.
        if !is_local && by.is_none() && self.sends(place, packet) {
            return Ok(());
        }
        if rewrite.is_some() && remembered.is_none() {
            stop(self.dropped_before_nat(place, by, packet).map(|dropped| goes_no_further(packet, &dropped)))?;
        }
        if !is_local {
            stop(self.taken_elsewhere(place, packet, remembered, rewrite))?;
        }
        let seen = if is_local { self.seen_published(place, by, packet) } else { None };
        let ruled = rewrite.map(|rewrite| rewrite.apply(packet));
        let outdated = flow.as_ref().and_then(|flow| self.outdated(place, packet, flow, &rules));
        self.stale = outdated.or(self.stale.take());
        let asked = (packet.to, packet.carries);
        if let Some(to) = seen.or(remembered).or(ruled).filter(|to| *to != asked) {
            self.published.push(Published { place, asked, to });
            (packet.to, packet.carries) = to;
            return Ok(());
        }
        let filter::Destination::Unknown { is_certain, chain, rule } = rules else { return Ok(()) };
        // What is remembered as it is, was seen to leave so, or was answered, is not led elsewhere.
        let is_answered =
            packet.carries == Carries::Echo && packet.from.is_some_and(|to| self.sends(place, &packet.answered(to)));
        if flow.is_some() || is_answered || !is_local && self.sends(place, packet) {
            return Ok(());
        }
        stop(self.dropped_before_nat(place, by, packet).map(|dropped| goes_no_further(packet, &dropped)))?;
        let changes = if is_certain { "changes" } else { "may change" };
        let doubt = format!(
            "{} {changes} whom the packet for {} is for by its firewall (chain {chain}: `{rule}`), and to whom is not known here",
            self.scene.name(place),
            say(asked)
        );
        // Most likely, what is for others is not meant.
        if !is_local && !is_certain {
            self.doubt.get_or_insert(doubt);
            return Ok(());
        }
        stop(Some(doubt))
    }

    /// An answer leaves with the address and the port that were asked for, where the packet's were changed.
    pub fn answer_as_asked(&self, out: Spot, packet: &mut Travelling) {
        let comes = packet.from.map(|from| (from, packet.carries));
        let changed = self.published.iter().find(|one| one.place == out.place && Some(one.to) == comes);
        let Some(Published { asked, .. }) = changed.filter(|_| packet.answer) else { return };
        let asked = Travelling { from: Some(asked.0), carries: asked.1, ..packet.clone() };
        if self.trace.is_none_or(|trace| trace.first(out, true, &asked).is_some()) {
            *packet = asked;
        }
    }

    /// A packet that is not for the place itself, and goes to another than it is for.
    fn taken_elsewhere(
        &self,
        place: usize,
        packet: &Travelling,
        remembered: Option<Destination>,
        rewrite: Option<&Rewrite>,
    ) -> Option<String> {
        let (to, carries) = remembered.or(rewrite.map(|rewrite| rewrite.apply(packet)))?;
        let wanted = self.journey.to.namespace.as_ref().and_then(|namespace| self.scene.place_of(namespace));
        let is_meant = wanted.is_some_and(|wanted| self.scene.places[wanted].address(to).is_some());
        if is_meant || to == packet.to {
            return None;
        }
        let why = match rewrite.filter(|rewrite| rewrite.apply(packet) == (to, carries)) {
            Some(rewrite) => rewrite.to_string(),
            None => "as connection tracking remembers it".into(),
        };
        let (asked, taken) = (say((packet.to, packet.carries)), say((to, carries)));
        Some(format!("{} sends what is for {asked} to {taken} instead: {why}", self.scene.name(place)))
    }

    /// A flow that is led elsewhere than the rules would lead a new one.
    fn outdated(&self, place: usize, packet: &Travelling, flow: &Flow, rules: &filter::Destination) -> Option<String> {
        let old = to(flow.reply.0, packet);
        let (now, how) = match rules {
            filter::Destination::Kept => ((packet.to, packet.carries), "no rule leads there any more".into()),
            filter::Destination::Changed(rewrite) => {
                let now = rewrite.apply(packet);
                (now, format!("new flows go to {}: {rewrite}", say(now)))
            }
            filter::Destination::Unknown { .. } => return None,
        };
        if now == old {
            return None;
        }
        let (client, asked) = flow.original;
        Some(format!(
            "{} remembers the flow from {client} to {asked}, which goes to {} (conntrack), though {how}",
            self.scene.name(place),
            say(old)
        ))
    }

    /// The flow that connection tracking takes the packet for.
    fn tracked(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> Option<Flow> {
        let frame = self.trace?.first(by?, false, packet)?;
        let (client, (source, destination)) = (frame.ip()?.source, ports(frame, packet.carries)?);
        let original = (SocketAddr::new(client, source), SocketAddr::new(packet.to, destination));
        let protocol = if matches!(packet.carries, Carries::Tcp(_)) { 6 } else { 17 };
        // Where there is no connection tracking, nothing is remembered.
        let flows = self.scene.places[place].namespace.flows().ok()?;
        let is_it = |flow: &Flow| flow.protocol == protocol && flow.original == original;
        flows.into_iter().find(is_it)
    }

    /// What destination NAT does with the packet by the rules.
    fn rules_say(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> filter::Destination {
        let hook = if by.is_some() { Hook::Prerouting } else { Hook::Output };
        Chains::of(&self.scene.places[place].rules).destination(&self.coming(hook, place, by, packet))
    }

    /// Whom a frame leaves for that has the packet's source port, but not its destination.
    fn seen_published(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> Option<Destination> {
        let trace = self.trace?;
        let ports = |frame: &Frame| ports(frame, packet.carries);
        let client = by.and_then(|by| trace.first(by, false, packet)).and_then(ports).map(|(source, _)| source);
        for spot in trace.spots(place) {
            let found = trace.find(spot, |frame| {
                let Some((source, _)) = ports(frame) else { return false };
                let same = client.map_or(by.is_none(), |client| client == source);
                same && frame.is_out()
                    && frame.ip().is_some_and(|ip| ip.destination != packet.to && Some(ip.destination) != packet.from)
            });
            if let Some(frame) = found
                && let (Some(ip), Some((_, port))) = (frame.ip(), ports(frame))
            {
                return Some(to(SocketAddr::new(ip.destination, port), packet));
            }
        }
        None
    }
}

impl Rewrite {
    /// Where the packet is for after it.
    fn apply(&self, packet: &Travelling) -> Destination {
        match (packet.carries, self.port) {
            (Carries::Tcp(_), Some(port)) => (self.to, Carries::Tcp(port)),
            (Carries::Udp(_), Some(port)) => (self.to, Carries::Udp(port)),
            (carries, _) => (self.to, carries),
        }
    }
}

/// The source and destination port of a frame of the transport.
fn ports(frame: &Frame, carries: Carries) -> Option<(u16, u16)> {
    match (&frame.packet, carries) {
        (Packet::Tcp { source_port, destination_port, .. }, Carries::Tcp(_))
        | (Packet::Udp { source_port, destination_port, .. }, Carries::Udp(_)) => {
            Some((*source_port, *destination_port))
        }
        _ => None,
    }
}

/// An address and port, for the packet's transport.
fn to(at: SocketAddr, packet: &Travelling) -> Destination {
    let carries = match packet.carries {
        Carries::Tcp(_) => Carries::Tcp(at.port()),
        Carries::Udp(_) => Carries::Udp(at.port()),
        Carries::Echo => Carries::Echo,
    };
    (at.ip(), carries)
}

fn goes_no_further(packet: &Travelling, dropped: &str) -> String {
    format!("the packet for {} goes no further: {dropped}", say((packet.to, packet.carries)))
}

fn say((address, carries): Destination) -> String {
    match carries {
        Carries::Tcp(port) | Carries::Udp(port) => SocketAddr::new(address, port).to_string(),
        Carries::Echo => address.to_string(),
    }
}
