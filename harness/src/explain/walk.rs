//! The way of a packet, and of the answer to it, hop by hop.

use std::net::IpAddr;

use super::{
    nat::Published,
    scene::{Scene, Spot, Way},
    trace::{Trace, Travelling, is_question},
};
use crate::{Error, Journey, state::Question};

/// More routers than this are a circle.
const HOPS: usize = 16;

/// Why a walk ends before its time.
pub(super) enum Stop {
    /// The packet is lost, and this is why.
    Cause(String),
    /// It could not be found out.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

pub(super) type Step<T = ()> = Result<T, Stop>;

/// Stops with a cause, where there is one.
pub(super) fn stop(cause: Option<String>) -> Step {
    cause.map_or(Ok(()), |cause| Err(Stop::Cause(cause)))
}

/// A walk in progress.
pub(super) struct Walk<'a> {
    pub scene: &'a Scene,
    /// What was seen; none: the state alone must tell.
    pub trace: Option<&'a Trace>,
    pub journey: &'a Journey,
    /// The links passed so far.
    pub passed: Vec<Spot>,
    /// Where a router let the packet out, and whether it changed its source.
    pub forwarded: Vec<Forwarded>,
    /// The places where the packet's destination was changed.
    pub published: Vec<Published>,
    /// What leads the packet elsewhere than the rules would.
    pub stale: Option<String>,
    /// What may lead it elsewhere.
    pub doubt: Option<String>,
    /// Where the packet got to, once its answer is walked.
    pub arrived: Option<Arrival>,
    /// The places that it came by then, those whose bridges only handed it on too.
    pub crossed: Vec<usize>,
}

/// A router on the way out.
pub(super) struct Forwarded {
    pub out: Spot,
    /// The source before and after, where it was changed.
    pub translated: Option<(IpAddr, IpAddr)>,
}

/// A packet about to leave a place.
#[derive(Clone, Copy)]
pub(super) struct Leaving<'a> {
    /// The link that it came in by; none: it starts here.
    pub by: Option<Spot>,
    /// The link that it is to leave by.
    pub out: Spot,
    /// The next hop.
    pub hop: IpAddr,
    /// It as it came there, before its destination was changed.
    pub came: &'a Travelling,
}

/// Where a packet got to.
#[derive(Clone)]
pub(super) struct Arrival {
    pub place: usize,
    /// The link that it came in by; none: it never left the namespace.
    pub by: Option<Spot>,
    pub packet: Travelling,
    /// It as it came there, before its destination was changed.
    pub came: Travelling,
}

impl<'a> Walk<'a> {
    pub fn new(scene: &'a Scene, trace: Option<&'a Trace>, journey: &'a Journey) -> Self {
        let (passed, forwarded, published) = (Vec::new(), Vec::new(), Vec::new());
        let crossed = Vec::new();
        Self { scene, trace, journey, passed, forwarded, published, stale: None, doubt: None, arrived: None, crossed }
    }

    /// The packet of the journey, at its start.
    pub fn packet(&self) -> Travelling {
        let Journey { to, carries, source, whole, .. } = self.journey;
        Travelling { from: *source, to: to.address, carries: *carries, answer: false, whole: *whole }
    }

    /// Walks until the packet is where it is for.
    pub fn leg(&mut self, start: usize, mut packet: Travelling) -> Step<Arrival> {
        let (mut place, mut by) = (start, None);
        for _ in 0..HOPS {
            let came = packet.clone();
            self.translate(place, by, &mut packet)?;
            if came.to.is_loopback() && !packet.to.is_loopback() {
                stop(self.kept_on_loopback(place, came.to, packet.to)?)?;
                packet.from.get_or_insert(came.to);
            }
            if let Some(spot) = by {
                stop(self.refused(spot, &packet)?)?;
            }
            if self.is_local(place, packet.to) {
                if by.is_none() {
                    stop(self.loopback_down(place))?;
                }
                return Ok(Arrival { place, by, packet, came });
            }
            let (out, hop) = match by {
                None => self.route_out(place, &mut packet)?,
                Some(spot) => self.route_on(spot, &packet)?,
            };
            let there = self.cross(Leaving { by, out, hop, came: &came }, &mut packet)?;
            (place, by) = (there.place, Some(there));
        }
        Err(Stop::Cause(format!("the packet for {} goes in a circle: {}", packet.to, self.scene.say_way(&self.passed))))
    }

    /// Whether the packet was seen to leave the place.
    pub fn sends(&self, place: usize, packet: &Travelling) -> bool {
        self.trace.is_some_and(|trace| trace.spots(place).any(|spot| trace.first(spot, true, packet).is_some()))
    }

    /// The packet has got there, and its answer is walked from now on.
    pub fn turn(&mut self, there: Arrival) {
        self.crossed = self.passed.iter().map(|spot| spot.place).collect();
        self.arrived = Some(there);
    }

    /// Whether the packet, whose answer this is, passed the rules of this place.
    pub fn has_seen(&self, place: usize) -> bool {
        let ends = self.arrived.as_ref().map(|there| there.place).into_iter();
        let ends = ends.chain(self.scene.place_of(&self.journey.from));
        ends.chain(self.forwarded.iter().map(|hop| hop.out.place)).any(|seen| seen == place)
    }

    pub fn has_published(&self, place: usize) -> bool {
        self.published.iter().any(|one| one.place == place)
    }

    pub fn is_local(&self, place: usize, address: IpAddr) -> bool {
        self.scene.places[place].address(address).is_some() || address.is_loopback()
    }

    fn loopback_down(&self, place: usize) -> Option<String> {
        let lo = self.scene.places[place].link("lo").filter(|lo| !lo.up)?;
        let name = self.scene.name(place);
        Some(format!("{} in {name} is down, so {name} does not reach its own addresses (`ip link set lo up`)", lo.name))
    }

    /// The way out of where the packet starts.
    fn route_out(&self, place: usize, packet: &mut Travelling) -> Step<(Spot, IpAddr)> {
        let bound = if packet.answer { None } else { self.journey.device.as_deref() };
        let oif = match bound {
            None => None,
            Some(dev) => match self.scene.spot(place, dev) {
                Some(spot) => Some(spot.link),
                None => return Err(Stop::Cause(format!("{} has no device {dev}", self.scene.name(place)))),
            },
        };
        let mark = self.journey.mark.filter(|_| !packet.answer);
        let question = Question { from: packet.from, oif, mark, ..Question::to(packet.to) };
        let route = match question.ask(&self.scene.places[place].namespace)? {
            Ok(route) => route,
            Err(_) => return Err(Stop::Cause(self.no_route(place, None, packet)?)),
        };
        packet.from = packet.from.or(route.src);
        if packet.from.is_none() && packet.to.is_ipv4() {
            let name = self.scene.name(place);
            return Err(Stop::Cause(format!(
                "{name} has no IPv4 address to send from: the packet's source is 0.0.0.0, and nobody can answer that"
            )));
        }
        let out = route.dev.as_deref().and_then(|dev| self.scene.spot(place, dev));
        let Some(out) = out else { return Err(Stop::Cause(self.no_route(place, None, packet)?)) };
        Ok((out, route.via.unwrap_or(packet.to)))
    }

    /// The way on of a packet that came in, through a router.
    fn route_on(&self, by: Spot, packet: &Travelling) -> Step<(Spot, IpAddr)> {
        stop(self.does_not_forward(by, packet)?)?;
        let namespace = &self.scene.places[by.place].namespace;
        let question = Question { from: packet.from, iif: Some(by.link), ..Question::to(packet.to) };
        let no_route = || Ok::<_, Stop>(Err(Stop::Cause(self.no_route(by.place, Some(by), packet)?)));
        let route = match question.ask(namespace)? {
            Ok(route) => Ok(route),
            Err(_) if self.forbidden(by.place, Some(by), packet)?.is_some() => return no_route()?,
            // Refused, though by none of the known causes: as for a packet of its own.
            Err(_) => Question::to(packet.to).ask(namespace)?,
        };
        let Ok(route) = route else { return no_route()? };
        let out = route.dev.as_deref().and_then(|dev| self.scene.spot(by.place, dev));
        let Some(out) = out else { return no_route()? };
        Ok((out, route.via.unwrap_or(packet.to)))
    }

    /// From a device to the next hop's.
    fn cross(&mut self, leaving: Leaving<'_>, packet: &mut Travelling) -> Step<Spot> {
        let Leaving { by, out, hop, .. } = leaving;
        let ways = self.scene.ways(out);
        let has_it = |way: &&Way| self.scene.places[way.end().place].address(hop).is_some();
        let mut owners: Vec<&Way> = ways.iter().filter(has_it).collect();
        // The link that the address is on before others of the same namespace; the one that is meant before others.
        let wanted = self.journey.to.namespace.as_ref().and_then(|namespace| self.scene.place_of(namespace));
        owners.sort_by_key(|way| {
            let end = way.end();
            let on_it = self.scene.places[end.place].address(hop).is_some_and(|own| own.dev == self.scene.dev(end));
            (!on_it, wanted != Some(end.place))
        });
        self.answer_as_asked(out, packet);
        self.notice_source(out, by.is_some(), packet);
        if by.is_some() {
            stop(self.too_large(out, packet))?;
        }
        if self.scene.is_wireless(out) {
            return self.emerges(leaving, packet);
        }
        let seen = |way: &&&Way| self.trace.is_some_and(|trace| trace.taken(way.end(), packet));
        let passed = owners.iter().find(seen).copied();
        let way = match (passed, owners.first()) {
            (Some(way), _) => way,
            (None, first) => {
                let first = first.copied();
                if let Some(cause) = self.why_not(out, hop, first, &ways, packet)? {
                    let seen = first.map_or(&[][..], |way| &way.0[..self.seen_up_to(way, hop, packet)]);
                    self.passed.extend(seen);
                    return Err(Stop::Cause(cause));
                }
                let Some(way) = first else { return Err(Stop::Cause(self.vanished(leaving, None, packet)?)) };
                if self.trace.is_some_and(|trace| trace.heard(way.end())) {
                    return Err(Stop::Cause(self.vanished(leaving, Some(way), packet)?));
                }
                way
            }
        };
        self.passed.extend(&way.0);
        Ok(way.end())
    }

    /// The source that the packet leaves with, as was seen: source NAT comes last.
    fn notice_source(&mut self, out: Spot, forwards: bool, packet: &mut Travelling) {
        let seen = self.trace.and_then(|trace| trace.first(out, true, packet)).and_then(|frame| frame.ip());
        let now = seen.map(|ip| ip.source);
        let translated = packet.from.zip(now).filter(|(before, after)| before != after);
        packet.from = now.or(packet.from);
        if (forwards || translated.is_some()) && !packet.answer {
            self.forwarded.push(Forwarded { out, translated });
        }
    }

    /// How far along the way the packet, or the question for its next hop, was seen.
    pub fn seen_up_to(&self, way: &Way, hop: IpAddr, packet: &Travelling) -> usize {
        let Some(trace) = self.trace else { return 0 };
        // Once the packet has left, where the question got to says nothing.
        let left = trace.first(way.0[0], true, packet).is_some();
        let carries = |frame: &crate::Frame| packet.is_in(frame) || !left && is_question(frame, hop);
        let last = way.0.iter().rposition(|spot| trace.find(*spot, carries).is_some());
        last.map_or(0, |last| last + 1)
    }
}
