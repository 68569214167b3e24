//! A packet that leaves by a device without a wire of its own: a tunnel, a program's, or one on top of another.

use std::{net::IpAddr, time::SystemTime};

use super::{
    scene::Spot,
    trace::{Trace, Travelling, is_question},
    walk::{Leaving, Step, Stop, Walk},
};
use crate::{Frame, state::Link};

impl Walk<'_> {
    /// Where it comes out. The way in between is another packet's, or none: what was seen must tell.
    pub fn emerges(&mut self, leaving: Leaving<'_>, packet: &Travelling) -> Step<Spot> {
        let Leaving { out, hop, .. } = leaving;
        let left = self.trace.and_then(|trace| trace.first(out, true, packet)).map(|frame| frame.at);
        if left.is_none() && self.trace.is_some_and(|trace| trace.heard(out)) {
            if let Some(cause) = self.leaves_by_a_port(out, hop).or_else(|| self.unusable(out, packet.from)) {
                return Err(Stop::Cause(cause));
            }
            if self.asks_in_vain(out, hop) {
                self.passed.push(out);
                return Err(Stop::Cause(self.no_neighbour(out, hop)));
            }
            return Err(Stop::Cause(self.does_not_leave(leaving, packet)));
        }
        self.passed.push(out);
        if let Some(there) = self.taken_first(out, left, packet) {
            self.passed.push(there);
            return Ok(there);
        }
        let (what, start) = (packet.what(), self.scene.say(out));
        let kind =
            self.scene.link(out).map(|link| link.kind.as_str()).filter(|kind| !kind.is_empty()).unwrap_or("other");
        Err(Stop::Cause(format!(
            "{what} is handed to {start}, and comes out of no other device here: what a device of type {kind} does with it is not followed"
        )))
    }

    /// The device by which the first place got it that took it, once it had left.
    fn taken_first(&self, out: Spot, left: Option<SystemTime>, packet: &Travelling) -> Option<Spot> {
        let trace = self.trace?;
        let others = (0..self.scene.places.len()).filter(|place| *place != out.place);
        let taken = others.flat_map(|place| trace.spots(place)).filter_map(|spot| {
            let frame = trace.find(spot, |frame| {
                frame.is_taken() && packet.is_in(frame) && left.is_none_or(|left| frame.at >= left)
            });
            frame.map(|frame| (frame.at, spot))
        });
        let taken: Vec<(SystemTime, Spot)> = taken.collect();
        let first = taken.iter().min_by_key(|(at, _)| *at)?;
        // A port hands it to its bridge, a device to the one on top of it: the kernel stamps it once.
        let together = taken.iter().filter(|(at, spot)| (*at, spot.place) == (first.0, first.1.place));
        let rank = |spot: &Spot| {
            let is_port = self.scene.link(*spot).is_some_and(|link| link.master.is_some());
            (!is_port, self.scene.is_wireless(*spot))
        };
        together.map(|(_, spot)| *spot).max_by_key(rank)
    }

    /// Whether the next hop was asked for its MAC address, and did not tell: what a firewall drops before asks nobody.
    fn asks_in_vain(&self, out: Spot, hop: IpAddr) -> bool {
        let asked = |trace: &Trace| trace.find(out, |frame| frame.is_out() && is_question(frame, hop)).is_some();
        let known = self.scene.places[out.place].neighbour(hop, self.scene.dev(out)).is_some();
        let does_arp = self.scene.link(out).is_some_and(Link::does_arp);
        does_arp && self.neighbour_missing(out, hop) && (known || self.trace.is_some_and(asked))
    }

    /// The next hop is asked for its MAC address over what is not followed, in vain.
    fn no_neighbour(&self, out: Spot, hop: IpAddr) -> String {
        let others = self.scene.places.iter().enumerate().filter(|(place, _)| *place != out.place);
        let Some((place, own)) = others.filter_map(|(place, state)| Some((place, state.address(hop)?))).next() else {
            return self.nobody_has(out, hop);
        };
        let (start, home) = (self.scene.say(out), format!("{} in {}", own.dev, self.scene.name(place)));
        let asked = |frame: &Frame| !frame.is_out() && is_question(frame, hop);
        let heard_at = |spot: Spot| self.trace.is_some_and(|trace| trace.find(spot, asked).is_some());
        let elsewhere = || self.trace.and_then(|trace| trace.spots(place).find(|spot| heard_at(*spot)));
        let what = match self.scene.spot(place, &own.dev) {
            Some(spot) if heard_at(spot) => "gets there, and no answer comes back".into(),
            _ => match elsewhere() {
                Some(spot) => format!("gets to {} there, and not to {}", self.scene.dev(spot), own.dev),
                None => "does not get there".into(),
            },
        };
        format!("{start} finds no neighbour for {hop}, which is on {home}: the question {what}")
    }
}
