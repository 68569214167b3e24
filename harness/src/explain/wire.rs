//! What keeps a frame from passing a way of wires and bridges.

use super::scene::{Scene, Spot, Way};
use crate::{
    Mac,
    state::{Link, PortState},
};

/// A frame on its way.
pub(super) struct Crossing {
    /// Whom it is for.
    pub to: Whom,
    /// The IP packet's length in bytes, where it must not be fragmented.
    pub whole: Option<usize>,
}

/// Whom a frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// Everyone: an ARP request.
    All,
    /// A group: a neighbour solicitation.
    Group,
    /// One station.
    One(Mac),
}

impl Scene {
    /// What keeps the frame from passing the way. It was seen at the first `passed` links; the last of these may be a
    /// bridge that sends it no further.
    pub fn blocked(&self, way: &Way, passed: usize, frame: &Crossing) -> Option<String> {
        (passed.saturating_sub(1)..way.0.len()).find_map(|at| self.blocked_at(&way.0, at, frame))
    }

    fn blocked_at(&self, way: &[Spot], at: usize, frame: &Crossing) -> Option<String> {
        let spot = way[at];
        let Some(link) = self.link(spot) else { return Some(format!("{} is gone", self.say(spot))) };
        let before = at.checked_sub(1).map(|before| way[before]);
        self.down(spot, link)
            .or_else(|| self.port_blocks(spot, link))
            .or_else(|| before.and_then(|before| self.too_long(before, spot, frame)))
            .or_else(|| self.bridge_blocks(way, at, frame))
    }

    fn down(&self, spot: Spot, link: &Link) -> Option<String> {
        if link.up {
            return None;
        }
        let (what, then) = match self.places[spot.place].master_of(link) {
            _ if link.is_bridge() => (String::new(), "so none of its ports forwards"),
            Some(bridge) => (format!(", a port of {},", bridge.name), "so what is behind it is cut off"),
            None => (String::new(), "so nothing passes it"),
        };
        Some(format!("{}{what} is down, {then} (`ip link set {} up`)", self.say(spot), link.name))
    }

    fn port_blocks(&self, spot: Spot, link: &Link) -> Option<String> {
        let port = link.port?;
        let bridge = self.places[spot.place].master_of(link)?;
        // Without a carrier it is the other end that is to blame; with the bridge down, the bridge.
        if port.state == PortState::Forwarding || !link.carrier || !bridge.up {
            return None;
        }
        let stp = if bridge.bridge.is_some_and(|bridge| bridge.stp) {
            format!(": {} runs STP, whose forward delay has not passed, or which blocks the port", bridge.name)
        } else {
            String::new()
        };
        let state = port.state;
        Some(format!("{}, a port of {}, is in state {state} and forwards nothing{stp}", self.say(spot), bridge.name))
    }

    /// A veth drops what is longer than the receiver's MTU by more than a VLAN tag, a bridge what its port cannot send.
    fn too_long(&self, before: Spot, spot: Spot, frame: &Crossing) -> Option<String> {
        const SPARE: usize = 4;
        let (whole, link) = (frame.whole?, self.link(spot)?);
        let fits = whole <= link.mtu as usize + SPARE || link.is_bridge();
        (!fits).then(|| {
            format!(
                "a packet of {whole} bytes is dropped between {} and {}, whose MTU is {}: no router is there that could say so",
                self.say(before),
                self.say(spot),
                link.mtu
            )
        })
    }

    /// What the bridge at `at` does with the frame, by where it came in and where it must leave.
    fn bridge_blocks(&self, way: &[Spot], at: usize, frame: &Crossing) -> Option<String> {
        let bridge = self.link(way[at]).filter(|link| link.is_bridge())?;
        let port = |at: usize| way.get(at).and_then(|spot| self.link(*spot)).filter(|link| link.master.is_some());
        let (came_in, leaves) = (at.checked_sub(1).and_then(port), port(at + 1));
        self.isolated(way[at], bridge, came_in, leaves)
            .or_else(|| self.other_vlan(way[at], bridge, came_in, leaves))
            .or_else(|| self.locked(way[at], bridge, came_in))
            .or_else(|| self.sent_elsewhere(way[at], bridge, leaves?, frame))
    }

    fn isolated(&self, at: Spot, bridge: &Link, came_in: Option<&Link>, leaves: Option<&Link>) -> Option<String> {
        let is = |link: Option<&Link>| link.is_some_and(|link| link.port.is_some_and(|port| port.isolated));
        if !is(came_in) || !is(leaves) {
            return None;
        }
        let (a, b) = (&came_in?.name, &leaves?.name);
        Some(format!(
            "{a} and {b} are isolated ports of {} in {}: no frame passes from one to the other",
            bridge.name,
            self.name(at.place)
        ))
    }

    fn other_vlan(&self, at: Spot, bridge: &Link, came_in: Option<&Link>, leaves: Option<&Link>) -> Option<String> {
        if !bridge.bridge?.vlan_filtering {
            return None;
        }
        let (from, to) = (came_in.unwrap_or(bridge), leaves.unwrap_or(bridge));
        let vlan = from.vlans.iter().find(|vlan| vlan.pvid).map(|vlan| vlan.vid);
        if vlan.is_some_and(|vlan| to.vlans.iter().any(|other| other.vid == vlan)) {
            return None;
        }
        let vlan = vlan.map_or("no VLAN".into(), |vlan| format!("VLAN {vlan}"));
        let place = self.name(at.place);
        Some(format!(
            "what comes in by {} belongs to {vlan} of {} in {place}, and {} does not",
            from.name, bridge.name, to.name
        ))
    }

    fn locked(&self, at: Spot, bridge: &Link, came_in: Option<&Link>) -> Option<String> {
        let port = came_in.filter(|link| link.port.is_some_and(|port| port.locked))?;
        Some(format!(
            "{} is a locked port of {} in {}: only stations with an FDB entry may speak",
            port.name,
            bridge.name,
            self.name(at.place)
        ))
    }

    /// The FDB leads elsewhere, or nowhere, or the port is closed to what has no entry.
    fn sent_elsewhere(&self, at: Spot, bridge: &Link, leaves: &Link, frame: &Crossing) -> Option<String> {
        let (port, place) = (leaves.port?, self.name(at.place));
        let closed = |flag: &str, what: &str| {
            format!("{} in {place}, a port of {}, has {flag} off: no {what} leaves by it", leaves.name, bridge.name)
        };
        let mac = match frame.to {
            Whom::All => return (!port.bcast_flood).then(|| closed("bcast_flood", "ARP request")),
            Whom::Group => return (!port.mcast_flood).then(|| closed("mcast_flood", "neighbour solicitation")),
            Whom::One(mac) => mac,
        };
        let of_bridge = |name: &Option<String>| name.as_deref() == Some(&bridge.name);
        let entry = self.places[at.place].fdb.iter().find(|entry| entry.mac == mac && of_bridge(&entry.master));
        match entry {
            Some(entry) if entry.dev == leaves.name => None,
            Some(entry) if entry.permanent && entry.dev != bridge.name && self.has_mac(at.place, &entry.dev, mac) => {
                Some(format!(
                    "{mac} is the MAC address of {} in {place} too, a port of {}: the bridge keeps frames for it to itself",
                    entry.dev, bridge.name
                ))
            }
            Some(entry) => Some(format!(
                "{} in {place} has learned {mac} on {}, not on {}, and sends the frames there",
                bridge.name, entry.dev, leaves.name
            )),
            None if !port.flood => Some(format!(
                "{} in {place} has no FDB entry for {mac}, and its port {} has flood off: unknown unicast does not leave by it",
                bridge.name, leaves.name
            )),
            None => None,
        }
    }

    fn has_mac(&self, place: usize, dev: &str, mac: Mac) -> bool {
        self.places[place].link(dev).is_some_and(|link| link.mac == Some(mac))
    }

    /// A MAC address that two ends of a segment have: frames go to whoever spoke last.
    pub fn shared_mac(&self, start: Spot, ways: &[Way]) -> Option<String> {
        let mut ends: Vec<Spot> = std::iter::once(start).chain(ways.iter().map(Way::end)).collect();
        ends.dedup();
        for (count, one) in ends.iter().enumerate() {
            for other in &ends[count + 1..] {
                let mac = self.link(*one).and_then(|link| link.mac);
                if one != other && mac.is_some() && mac == self.link(*other).and_then(|link| link.mac) {
                    let (mac, one, other) = (mac.unwrap_or_default(), self.say(*one), self.say(*other));
                    return Some(format!(
                        "{one} and {other} have the same MAC address {mac}: frames for it go to whoever spoke last"
                    ));
                }
            }
        }
        None
    }
}
