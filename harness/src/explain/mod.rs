//! Explanations: where a packet goes missing, and why.
//!
//! An explanation lets the probe look once more while it listens on every device around, then walks the packet's way and
//! its answer's: routes as the kernel says, neighbours, wires, bridges, filters. What was seen says how far the
//! packet came; the state of the hop where it was not seen any more says why.

use std::{fmt, time::Duration};

use self::{
    scene::Scene,
    trace::Trace,
    walk::{Stop, Walk},
};
use crate::{
    Carries, Deadline, Journey, Namespace, Probe, Result,
    probe::ping::Ping,
    state::{Link, State},
};

mod beyond;
mod cause;
mod filter;
mod lost;
mod nat;
mod route;
mod scene;
mod trace;
mod walk;
mod wire;

/// Why a packet, or the answer to it, does not come.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// One or two sentences: the hop, and the cause. None: both come.
    pub cause: Option<String>,
    /// The links that were passed, by the packet or by the question for its next hop, in order: `netns1 veth1-1 > host veth1-0 > br0`.
    pub way: String,
    /// What is done to the packet on its way, in order: `host lets it out by eth0 with 192.0.2.2 as its source`.
    pub done: Vec<String>,
}

/// Explains what becomes of the journey's packet. `look` sends one like it; an echo request is sent here, so that
/// probes which only read can be explained too.
pub fn explain(journey: &Journey, look: impl FnOnce()) -> Result<Explanation> {
    let start: Vec<Namespace> = std::iter::once(&journey.from).chain(&journey.to.namespace).cloned().collect();
    let before = Scene::around(&start)?;
    let near: Vec<usize> = start.iter().filter_map(|namespace| before.place_of(namespace)).collect();
    let send = || match journey.carries {
        // Where it cannot even be sent, the walk tells why.
        Carries::Echo => drop(Ping::along(journey).look(Deadline::after(Duration::from_secs(5)))),
        Carries::Tcp(_) | Carries::Udp(_) => look(),
    };
    let trace = Trace::of(&before, &near, send)?;
    // Neighbours and FDB entries are as the look has left them.
    let scene = Scene::around(&start)?;
    walked(&scene, Some(&trace), journey)
}

fn walked(scene: &Scene, trace: Option<&Trace>, journey: &Journey) -> Result<Explanation> {
    let mut walk = Walk::new(scene, trace, journey);
    let ended = match (there_and_back(&mut walk), walk.doubt.take()) {
        (Err(Stop::Cause(cause)), Some(doubt)) => Err(Stop::Cause(format!("{cause}; or {doubt}"))),
        (ended, _) => ended,
    };
    let cause = match (ended, walk.stale.take()) {
        (Ok(()), stale) => stale,
        (Err(Stop::Cause(cause)), Some(stale)) => Some(format!("{stale}; {cause}")),
        (Err(Stop::Cause(cause)), None) => Some(cause),
        (Err(Stop::Error(error)), _) => return Err(error),
    };
    let done = walk.forwarded.iter().map(|hop| {
        let (name, dev) = (scene.name(hop.out.place), scene.dev(hop.out));
        match hop.translated {
            Some((_, after)) => format!("{name} lets it out by {dev} with {after} as its source"),
            None => format!("{name} forwards it by {dev}"),
        }
    });
    let done = done.collect();
    Ok(Explanation { cause, way: scene.say_way(&walk.passed), done })
}

fn there_and_back(walk: &mut Walk<'_>) -> walk::Step {
    let start = walk.scene.place_of(&walk.journey.from).unwrap_or(0);
    let there = walk.leg(start, walk.packet())?;
    let dropped = walk.not_let_in(&there);
    walk::stop(dropped.map(|cause| format!("the packet gets there, but {cause}")))?;
    let silent = walk.keeps_silent(there.place, &there.packet)?;
    // A refusal that was sent is an answer which may be lost.
    let speaks = there.packet.from.is_some_and(|to| walk.sends(there.place, &there.packet.answered(to)));
    walk::stop(silent.clone().filter(|_| !speaks))?;
    let wanted = walk.journey.to.namespace.as_ref().and_then(|namespace| walk.scene.place_of(namespace));
    if walk.published.is_empty() && wanted.is_some_and(|wanted| wanted != there.place) {
        let (taker, meant) = (walk.scene.name(there.place), walk.journey.to.label.as_str());
        return walk::stop(Some(format!(
            "{} is an address of {taker} too, which takes what is for {meant}",
            there.packet.to
        )));
    }
    walk.turn(there.clone());
    let Some(to) = there.packet.from else { return Ok(()) };
    let back = walk.leg(there.place, there.packet.answered(to)).map_err(|stop| match stop {
        Stop::Cause(cause) => Stop::Cause(format!("the packet gets there, the answer does not get back: {cause}")),
        error => error,
    })?;
    let by = back.by.map(|spot| walk.scene.dev(spot).to_owned());
    if let (Some(bound), Some(by)) = (&walk.journey.device, by)
        && *bound != by
    {
        let deaf = format!("the answer comes back by {by}, and a socket that is bound to {bound} does not hear it");
        return walk::stop(Some(deaf));
    }
    let dropped = walk.dropped_on_arrival(&back);
    walk::stop(dropped.map(|cause| format!("the answer comes back, but {cause}")))?;
    walk::stop(silent)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => f.write_str(cause)?,
            None if self.done.is_empty() => {
                f.write_str("nothing stands in the way: the packet gets there, and the answer comes back")?;
            }
            None => write!(
                f,
                "nothing stands in the way: the packet gets there ({}), and the answer comes back",
                self.done.join(", then ")
            )?,
        }
        if !self.way.is_empty() {
            write!(f, "\nway: {}", self.way)?;
        }
        Ok(())
    }
}

/// The bridge ports around these namespaces that are not as new ones are: `veth1-0 in host, a port of br0, has learning off`.
pub(crate) fn unusual_ports(concerned: &[Namespace]) -> Option<String> {
    let scene = Scene::around(concerned).ok()?;
    let unusual = |state: &State| {
        let ports = state.links.iter().filter_map(|link| {
            let (options, bridge) = (link.port?.options(), state.master_of(link)?);
            let name = state.namespace.name();
            let line = || format!("{} in {name}, a port of {}, has{options}", link.name, bridge.name);
            (!options.is_empty()).then(line)
        });
        ports.collect::<Vec<_>>()
    };
    let all: Vec<String> = scene.places.iter().flat_map(unusual).collect();
    (!all.is_empty()).then(|| format!("mind that {}", all.join("; ")))
}

/// The state of the namespaces that a failure concerns, and of the routers and bridges between them.
pub(crate) fn evidence(concerned: &[Namespace]) -> String {
    let scene = match Scene::around(concerned) {
        Ok(scene) => scene,
        Err(error) => return format!("  state: {error}\n"),
    };
    let is_near = |state: &&State| {
        let same = |namespace: &Namespace| namespace.is_same(&state.namespace).unwrap_or(false);
        concerned.iter().any(same) || state.links.iter().any(Link::is_bridge)
    };
    let (near, far): (Vec<&State>, Vec<&State>) = scene.places.iter().partition(is_near);
    let mut text = String::new();
    for state in near {
        text += &format!("  state of {}:\n", state.namespace.name());
        state.to_string().lines().for_each(|line| text += &format!("    {line}\n"));
    }
    if !far.is_empty() {
        let names: Vec<&str> = far.iter().map(|state| state.namespace.name()).collect();
        text += &format!("  not shown: {}\n", names.join(", "));
    }
    text
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_firewall;
#[cfg(test)]
mod tests_nat;
#[cfg(test)]
mod tests_route;
