//! The namespaces around a packet's way, and the wires between them.

use std::collections::HashMap;

use crate::{
    Namespace, Result,
    state::{Link, Numbers, State},
};

/// The state of every namespace that veth pairs lead to, from where one starts.
pub(super) struct Scene {
    /// The namespaces.
    pub places: Vec<State>,
    /// The other end of each veth.
    peers: HashMap<Spot, Spot>,
}

/// A link in one of the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    /// Which of the places.
    pub place: usize,
    /// The link's index.
    pub link: u32,
}

/// The links that a frame passes, the one it leaves by first: over a bridge that is port, bridge, port.
#[derive(Clone, Debug)]
pub(super) struct Way(pub Vec<Spot>);

impl Way {
    /// Where it ends: the link that is not a port, on which the frame is handed to the stack.
    pub fn end(&self) -> Spot {
        *self.0.last().expect("a way has at least its start")
    }
}

impl Scene {
    /// All that can be reached from these over veth pairs, as it is now.
    pub fn around(start: &[Namespace]) -> Result<Self> {
        let known = Namespace::held();
        let (mut scene, mut identities) = (Self { places: Vec::new(), peers: HashMap::new() }, HashMap::new());
        let mut waiting: Vec<Namespace> = start.iter().rev().cloned().collect();
        let mut wires = Vec::new();
        while let Some(namespace) = waiting.pop() {
            let Ok(identity) = namespace.identity() else { continue };
            if identities.contains_key(&identity) {
                continue;
            }
            let place = scene.places.len();
            identities.insert(identity, place);
            let state = State::of(&namespace)?;
            let numbers = Numbers::of(&namespace, &known)?;
            for link in &state.links {
                let Some(peer) = link.peer else { continue };
                let there = if peer.nsid.is_none() { Some(&namespace) } else { numbers.namespace(peer) };
                let Some(there) = there else { continue };
                wires.push((Spot { place, link: link.index }, there.identity().ok(), peer.index));
                waiting.insert(0, there.clone());
            }
            scene.places.push(state);
        }
        for (here, there, link) in wires {
            if let Some(place) = there.and_then(|identity| identities.get(&identity)) {
                scene.peers.insert(here, Spot { place: *place, link });
            }
        }
        Ok(scene)
    }

    /// Which of the places this namespace is.
    pub fn place_of(&self, namespace: &Namespace) -> Option<usize> {
        self.places.iter().position(|state| state.namespace.is_same(namespace).unwrap_or(false))
    }

    /// The link at a spot; none where it has gone since.
    pub fn link(&self, spot: Spot) -> Option<&Link> {
        self.places.get(spot.place)?.link_at(spot.link)
    }

    /// The spot of a place's device.
    pub fn spot(&self, place: usize, dev: &str) -> Option<Spot> {
        self.places[place].link(dev).map(|link| Spot { place, link: link.index })
    }

    /// The other end of the veth at a spot.
    pub fn peer(&self, spot: Spot) -> Option<Spot> {
        self.peers.get(&spot).copied()
    }

    /// Whether what leaves by the link goes over no veth and no bridge of its own: a program carries it on, a tunnel, or the
    /// device below it.
    pub fn is_wireless(&self, spot: Spot) -> bool {
        let wired = |link: &Link| link.is_bridge() || link.kind == "veth" || link.name == "lo";
        self.link(spot).is_some_and(|link| !wired(link))
    }

    /// The name of the place.
    pub fn name(&self, place: usize) -> &str {
        self.places[place].namespace.name()
    }

    /// `veth1-0 in host`
    pub fn say(&self, spot: Spot) -> String {
        format!("{} in {}", self.dev(spot), self.name(spot.place))
    }

    /// The name of the link at a spot.
    pub fn dev(&self, spot: Spot) -> &str {
        self.link(spot).map_or("a link that is gone", |link| &link.name)
    }

    /// `netns1 veth1-1 > host veth1-0 > br0`
    pub fn say_way(&self, spots: &[Spot]) -> String {
        let mut place = None;
        let said = spots.iter().map(|spot| match place.replace(spot.place) {
            Some(last) if last == spot.place => self.dev(*spot).to_owned(),
            _ => format!("{} {}", self.name(spot.place), self.dev(*spot)),
        });
        said.collect::<Vec<_>>().join(" > ")
    }

    /// Every way that a frame could take which the stack sends from `start`, whatever state the links on it are in.
    pub fn ways(&self, start: Spot) -> Vec<Way> {
        let mut ways = Vec::new();
        let is_bridge = self.link(start).is_some_and(Link::is_bridge);
        if is_bridge {
            self.leave_bridge(vec![start], None, &mut ways);
        } else {
            self.cross(vec![start], &mut ways);
        }
        ways
    }

    /// From the last spot of `way`, over its wire.
    fn cross(&self, mut way: Vec<Spot>, ways: &mut Vec<Way>) {
        let Some(there) = way.last().and_then(|spot| self.peer(*spot)) else { return };
        if way.contains(&there) {
            return;
        }
        way.push(there);
        let master = self.link(there).and_then(|link| self.places[there.place].master_of(link));
        let Some(bridge) = master.filter(|master| master.is_bridge()) else {
            ways.push(Way(way));
            return;
        };
        let bridge = Spot { place: there.place, link: bridge.index };
        if way.contains(&bridge) {
            return;
        }
        way.push(bridge);
        ways.push(Way(way.clone()));
        self.leave_bridge(way, Some(there), ways);
    }

    /// From the bridge that is the last spot of `way`, by every port but that.
    fn leave_bridge(&self, way: Vec<Spot>, but: Option<Spot>, ways: &mut Vec<Way>) {
        let Some(bridge) = way.last().copied() else { return };
        let Some(link) = self.link(bridge) else { return };
        for port in self.places[bridge.place].ports_of(link) {
            let port = Spot { place: bridge.place, link: port.index };
            if Some(port) != but {
                let mut way = way.clone();
                way.push(port);
                self.cross(way, ways);
            }
        }
    }
}
