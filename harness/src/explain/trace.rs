//! What passes on every device while a probe looks once more.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::scene::{Scene, Spot};
use crate::{
    Carries, Result, Tap,
    probe::frame::{Frame, Packet},
};

/// Devices beyond these are not listened to: closing a packet socket takes 12 ms.
const MOST: usize = 32;

/// A packet in the middle of its way: how its frames are told from others.
#[derive(Clone, Debug)]
pub(super) struct Travelling {
    /// Its source, once it is known.
    pub from: Option<IpAddr>,
    /// Whom it is for, now.
    pub to: IpAddr,
    /// What it carries; the port as it is now.
    pub carries: Carries,
    /// Whether it is the answer.
    pub answer: bool,
    /// The IP packet's length in bytes, where it must not be fragmented.
    pub whole: Option<usize>,
}

impl Travelling {
    /// The answer to it, which is for `to`.
    pub fn answered(&self, to: IpAddr) -> Self {
        Self { from: Some(self.to), to, answer: true, ..self.clone() }
    }

    /// What a sentence about it begins with.
    pub fn what(&self) -> &'static str {
        if self.answer { "the answer" } else { "the packet" }
    }

    /// Whether the frame carries it.
    pub fn is_in(&self, frame: &Frame) -> bool {
        let Some(ip) = frame.ip() else { return false };
        if ip.destination != self.to {
            return false;
        }
        match (&frame.packet, self.carries) {
            (Packet::Echo { reply, .. }, Carries::Echo) => *reply == self.answer,
            (Packet::Tcp { source_port, destination_port, .. }, Carries::Tcp(port))
            | (Packet::Udp { source_port, destination_port, .. }, Carries::Udp(port)) => {
                port == if self.answer { *source_port } else { *destination_port }
            }
            // A fragment but the first does not say what it carries.
            (Packet::Ip { .. }, _) => self.from == Some(ip.source),
            _ => false,
        }
    }
}

/// Whether the frame asks for the MAC address of `hop`.
pub(super) fn is_question(frame: &Frame, hop: IpAddr) -> bool {
    match &frame.packet {
        Packet::Arp { op: 1, target_ip, .. } => IpAddr::from(*target_ip) == hop,
        Packet::NeighbourSolicitation { target, .. } => IpAddr::from(*target) == hop,
        _ => false,
    }
}

/// The frames that passed, by device.
pub(super) struct Trace(HashMap<Spot, Vec<Arc<Frame>>>);

impl Trace {
    /// Listens on the scene's devices while `look` is at work.
    pub fn of(scene: &Scene, near: &[usize], look: impl FnOnce()) -> Result<Self> {
        let mut taps: Vec<(Spot, Tap)> = Vec::new();
        for spot in worth_hearing(scene, near) {
            // One that went away meanwhile is not heard.
            if let Ok(tap) = scene.places[spot.place].namespace.tap(scene.dev(spot)) {
                taps.push((spot, tap));
            }
        }
        look();
        taps.iter().map(|(spot, tap)| Ok((*spot, tap.captured()?))).collect::<Result<_>>().map(Self)
    }

    /// The first frame on the device that carries the packet, out of it or into it.
    pub fn first(&self, at: Spot, out: bool, packet: &Travelling) -> Option<&Frame> {
        self.find(at, |frame| frame.is_out() == out && packet.is_in(frame))
    }

    /// Whether the device handed the packet to the stack: frames for another's MAC address may pass it too.
    pub fn taken(&self, at: Spot, packet: &Travelling) -> bool {
        self.find(at, |frame| frame.is_taken() && packet.is_in(frame)).is_some()
    }

    /// Whether the device was listened to.
    pub fn heard(&self, at: Spot) -> bool {
        self.0.contains_key(&at)
    }

    /// The first frame on the device that `wanted` picks.
    pub fn find(&self, at: Spot, wanted: impl Fn(&Frame) -> bool) -> Option<&Frame> {
        self.0.get(&at)?.iter().find(|frame| wanted(frame)).map(AsRef::as_ref)
    }

    /// The devices of a place that were listened to.
    pub fn spots(&self, place: usize) -> impl Iterator<Item = Spot> {
        self.0.keys().copied().filter(move |spot| spot.place == place)
    }
}

/// Every device that is up; of many, ports of bridges only where their other end is near.
fn worth_hearing(scene: &Scene, near: &[usize]) -> Vec<Spot> {
    let mut spots = Vec::new();
    for (place, state) in scene.places.iter().enumerate() {
        let up = state.links.iter().filter(|link| link.up && !link.flags.iter().any(|flag| flag == "LOOPBACK"));
        spots.extend(up.map(|link| Spot { place, link: link.index }));
    }
    let is_near = |spot: &Spot| {
        let far = |spot: Spot| !near.contains(&spot.place);
        let wired = scene.peer(*spot);
        !far(*spot)
            || wired.is_none_or(|peer| !far(peer) || scene.link(*spot).is_some_and(|link| link.master.is_none()))
    };
    if spots.len() > MOST {
        spots.retain(is_near);
        spots.truncate(MOST);
    }
    spots
}
