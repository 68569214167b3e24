//! Why a packet has no way on: no route, one that forbids, a policy rule, an MTU.

use super::{cause::version, scene::Spot, trace::Travelling, walk::Walk};
use crate::{
    Frame, Result,
    probe::{frame::Packet, policy::PolicyRule},
    state::{Route, State},
};

impl Walk<'_> {
    /// There is no route: because one, or a policy rule, forbids it, a device is down, or nobody made one.
    pub fn no_route(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> Result<String> {
        let (state, name) = (&self.scene.places[place], self.scene.name(place));
        if packet.answer
            && let Some(hop) = self.forwarded.last().filter(|hop| hop.translated.is_none())
        {
            let (router, dev) = (self.scene.name(hop.out.place), self.scene.dev(hop.out));
            return Ok(format!(
                "{name} has no route back to {}: {router} lets the packet out by {dev} with that source, which nobody there knows (no masquerade, or one that does not match)",
                packet.to
            ));
        }
        let what = if packet.answer { "no route back to" } else { "no route to" };
        let mut text = format!("{name} has {what} {}", packet.to);
        let down = state.down();
        if let Some(what) = self.forbidden(place, by, packet)? {
            text += &format!(": {what} forbids it");
        } else if !down.is_empty() {
            text += &format!(": {} is down there, and the routes of a device that is down are gone", down.join(", "));
        } else if !state
            .addresses
            .iter()
            .any(|own| own.scope == "global" && own.address.addr().is_ipv4() == packet.to.is_ipv4())
        {
            text += &format!(": no device of it has an {} address", version(packet.to));
        }
        Ok(text)
    }

    /// The route, or the policy rule, that forbids a packet which came in by a link or is the place's own: the kernel goes
    /// through the rules by their places, until one says no or leads to a table that has a route.
    pub fn forbidden(&self, place: usize, by: Option<Spot>, packet: &Travelling) -> Result<Option<String>> {
        let state = &self.scene.places[place];
        let iif = by.map_or("lo", |spot| self.scene.dev(spot));
        let is_first = by.is_none() && !packet.answer;
        let mark = self.journey.mark.filter(|_| is_first).unwrap_or(0);
        let oif = self.journey.device.as_deref().filter(|_| is_first);
        let mut rules = state.namespace.policy().list()?;
        rules.retain(|rule| rule.v6 == packet.to.is_ipv6());
        let mut from = 0;
        for rule in &rules {
            if rule.priority < from || !holds(rule, iif, oif, mark, packet) {
                continue;
            }
            if FORBIDS.contains(&rule.action.as_str()) {
                return Ok(Some(format!("the policy rule `{rule}`")));
            }
            // One that leads to no rule is passed over.
            from = rule.goto.filter(|goto| rules.iter().any(|other| other.priority == *goto)).unwrap_or(from);
            match rule.table.and_then(|table| best(state, table, packet)) {
                Some(route) if FORBIDS.contains(&route.kind.as_str()) => return Ok(Some(format!("`{route}`"))),
                Some(route) if route.kind != "throw" && !is_suppressed(rule, route) => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// A router whose way on has a smaller MTU says so, which may be heard or not.
    pub fn too_large(&self, out: Spot, packet: &Travelling) -> Option<String> {
        let (whole, link) = (packet.whole?, self.scene.link(out)?);
        if whole <= link.mtu as usize {
            return None;
        }
        let (error, wanted) = if packet.to.is_ipv4() { ("frag-needed", (3, 4)) } else { ("packet-too-big", (2, 0)) };
        let is_it = |frame: &Frame| {
            !frame.is_out() && matches!(frame.packet, Packet::Icmp { kind, code, .. } if (kind, code) == wanted)
        };
        let start = self.trace.zip(self.scene.place_of(&self.journey.from));
        let heard =
            start.is_some_and(|(trace, start)| trace.spots(start).any(|spot| trace.find(spot, is_it).is_some()));
        let (big, mtu, name) = (self.scene.say(out), link.mtu, self.scene.name(out.place));
        let vain = if heard { "" } else { ", which does not get back" };
        let says = format!("{name} says so with an ICMP error ({error}){vain}");
        Some(format!("a packet of {whole} bytes is too large for {big}, whose MTU is {mtu}: {says}"))
    }
}

const FORBIDS: [&str; 3] = ["unreachable", "prohibit", "blackhole"];

/// The table's route that the kernel takes: the one with the longest prefix.
fn best<'a>(state: &'a State, table: u32, packet: &Travelling) -> Option<&'a Route> {
    let covers = |route: &&Route| route.covers(packet.to) && route.table == table && !route.linkdown;
    // Of several of one length, the lowest metric.
    let rank = |route: &&Route| (route.prefix_len(), std::cmp::Reverse(route.metric));
    state.routes.iter().filter(covers).max_by_key(rank)
}

/// Whether the rule takes no route of such a short prefix.
fn is_suppressed(rule: &PolicyRule, route: &Route) -> bool {
    rule.suppress_prefixlength.is_some_and(|shortest| u32::from(route.prefix_len()) <= shortest)
}

/// Whether the rule is known to hold for a packet, which may be bound to a device.
fn holds(rule: &PolicyRule, iif: &str, oif: Option<&str>, mark: u32, packet: &Travelling) -> bool {
    let others = [" tos ", " uidrange ", " ipproto ", " sport ", " dport ", " tun_id ", " suppress_ifgroup "];
    if others.iter().any(|other| rule.text.contains(other)) {
        return false;
    }
    let from = rule.from.is_none_or(|from| packet.from.is_some_and(|source| from.contains(&source)));
    let to = rule.to.is_none_or(|to| to.contains(&packet.to));
    let iif = rule.iif.as_deref().is_none_or(|name| name == iif);
    let marked = rule.fwmark.is_none_or(|wanted| (wanted ^ mark) & rule.fwmask.unwrap_or(u32::MAX) == 0);
    let bound = rule.oif.as_deref().is_none_or(|name| oif == Some(name));
    (from && to && iif && marked && bound) != rule.not
}
