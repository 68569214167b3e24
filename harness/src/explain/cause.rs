//! What a namespace's own settings do to a packet: forwarding, neighbours, filters.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    scene::{Spot, Way},
    trace::Travelling,
    walk::{Step, Walk},
    wire::{Crossing, Whom},
};
use crate::{
    Carries, Namespace, Result,
    state::{Link, Question, State},
};

impl Walk<'_> {
    /// What was sent to a loopback address has such a source too, which the kernel lets out by no device unless it is
    /// told to: `route_localnet` in Documentation/networking/ip-sysctl.rst.
    pub fn kept_on_loopback(&self, place: usize, asked: IpAddr, to: IpAddr) -> Result<Option<String>> {
        let (namespace, name) = (&self.scene.places[place].namespace, self.scene.name(place));
        if to.is_ipv6() {
            return Ok(Some(format!(
                "{name} passes what is for {asked} on to {to}, and nothing from {asked} leaves a host: there is no route_localnet for IPv6"
            )));
        }
        let Some(dev) = Question::to(to).ask(namespace)?.ok().and_then(|route| route.dev) else { return Ok(None) };
        let kept = strictest(namespace, &dev, "route_localnet")? == 0 && self.scene.places[place].address(to).is_none();
        let sysctl = per_device("ipv4", &dev, "route_localnet");
        Ok(kept.then(|| format!("{name} passes what is for {asked} on to {to}, and nothing from 127.0.0.0/8 leaves by {dev} ({sysctl}=0; `sysctl -w {sysctl}=1`)")))
    }

    /// The router does not forward.
    pub fn does_not_forward(&self, by: Spot, packet: &Travelling) -> Result<Option<String>> {
        let namespace = &self.scene.places[by.place].namespace;
        let (name, dev) = (self.scene.name(by.place), self.scene.dev(by));
        let sysctl = if packet.to.is_ipv4() {
            per_device("ipv4", dev, "forwarding")
        } else {
            "net.ipv6.conf.all.forwarding".into()
        };
        let off = namespace.sysctl_if_there(&sysctl)?.is_some_and(|value| value == "0");
        Ok(off.then(|| {
            let general = if packet.to.is_ipv4() { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
            format!("{name} does not forward {}: it gets the packet for {} by {dev} and drops it ({sysctl}=0; `sysctl -w {general}=1`)", version(packet.to), packet.to)
        }))
    }

    /// The kernel's reverse path filter refuses the packet's source.
    pub fn refused(&self, by: Spot, packet: &Travelling) -> Result<Option<String>> {
        let Some(from) = packet.from else { return Ok(None) };
        let state = &self.scene.places[by.place];
        let question = Question { from: Some(from), iif: Some(by.link), ..Question::to(packet.to) };
        if from.is_ipv6() || question.ask(&state.namespace)?.is_ok() {
            return Ok(None);
        }
        self.reverse_path(by, from)
    }

    /// Why `from` is no source that the reverse path filter of the device lets in.
    fn reverse_path(&self, by: Spot, from: IpAddr) -> Result<Option<String>> {
        let (state, dev) = (&self.scene.places[by.place], self.scene.dev(by));
        let (namespace, name) = (&state.namespace, self.scene.name(by.place));
        if state.address(from).is_some() {
            return Ok(Some(format!("{name} drops what comes in by {dev} from {from}: that is an address of its own")));
        }
        let mode = strictest(namespace, dev, "rp_filter")?;
        let back = Question::to(from).ask(namespace)?;
        let filter = format!("rp_filter={mode} on {dev}");
        let drops = format!("{name} drops what comes in by {dev} from {from}");
        Ok(match (mode, back) {
            (0, _) => None,
            (_, Err(_)) => Some(format!("{drops}: {filter}, and it has no route back to that source")),
            (_, Ok(route)) if route.dev.as_deref() == Some(dev) => None,
            (1, Ok(route)) => {
                let other = route.dev.unwrap_or_default();
                Some(format!("{drops}: {filter}, and its route back is by {other} (reverse path filter, strict)"))
            }
            (_, Ok(_)) if !has_ipv4(state, dev) => Some(format!(
                "{drops}: {filter}, which is not loose on a device without an IPv4 address: every source whose route is by another device is refused"
            )),
            (_, Ok(_)) => None,
        })
    }

    /// Why the packet does not get from `out` to its next hop.
    pub fn why_not(
        &self,
        out: Spot,
        hop: IpAddr,
        way: Option<&Way>,
        ways: &[Way],
        packet: &Travelling,
    ) -> Result<Option<String>> {
        if let Some(cause) = self.leaves_by_a_port(out, hop).or_else(|| self.unusable(out, packet.from)) {
            return Ok(Some(cause));
        }
        let Some(way) = way else { return Ok(Some(self.nobody_has(out, hop))) };
        if let Some(cause) = self.old_neighbour(out, hop, way) {
            return Ok(Some(cause));
        }
        let asks = self.neighbour_missing(out, hop);
        let passed = self.seen_up_to(way, hop, packet);
        let question = if hop.is_ipv4() { Whom::All } else { Whom::Group };
        let station = self.scene.link(way.end()).and_then(|link| link.mac).filter(|_| !asks);
        let crossing = Crossing { to: station.map_or(question, Whom::One), whole: packet.whole };
        if let Some(cause) = self.scene.blocked(way, passed, &crossing) {
            return Ok(Some(cause));
        }
        let mute = if asks { self.does_not_tell(way.end(), hop, packet)? } else { None };
        Ok(mute.or_else(|| self.scene.shared_mac(out, ways)))
    }

    /// What leaves by a bridge's port is answered on the bridge.
    pub fn leaves_by_a_port(&self, out: Spot, hop: IpAddr) -> Option<String> {
        let state = &self.scene.places[out.place];
        let link = self.scene.link(out)?;
        let bridge = state.master_of(link)?;
        let (port, bridge, name) = (&link.name, &bridge.name, self.scene.name(out.place));
        let bound = self.journey.device.as_deref() == Some(port);
        let usable = state.neighbour(hop, port).is_some_and(|neighbour| neighbour.is_usable());
        if usable && !bound {
            return None;
        }
        let what = match state.neighbour(hop, port) {
            Some(neighbour) => format!("its neighbour entry there is {}", neighbour.state),
            None => "no neighbour is found there".into(),
        };
        let address = state.addresses.iter().find(|own| own.dev == *port && own.scope == "global");
        let remedy = address.map(|own| format!("; {} belongs on {bridge}", own.address)).unwrap_or_default();
        Some(format!(
            "{name} sends what is for {hop} out of {port}, which is a port of {bridge}: what comes back is delivered on {bridge}, so {what}{remedy}"
        ))
    }

    /// IPv6: an address that is a duplicate, or not yet known to be none, is not used.
    pub fn unusable(&self, at: Spot, address: Option<IpAddr>) -> Option<String> {
        let address = address?;
        let own = self.scene.places[at.place].address(address)?;
        let name = self.scene.name(at.place);
        if own.dadfailed {
            return Some(format!(
                "{address} on {} in {name} is a duplicate (dadfailed): another on that segment has it, so {name} does not use it",
                own.dev
            ));
        }
        own.tentative.then(|| format!("{address} on {} in {name} is tentative: duplicate address detection has not ended, so {name} does not use it yet", own.dev))
    }

    /// The next hop's address is nobody's, or of somebody whom no wire leads to.
    pub fn nobody_has(&self, out: Spot, hop: IpAddr) -> String {
        let (name, start) = (self.scene.name(out.place), self.scene.say(out));
        let asked = format!("{name} looks for {hop} behind {}", self.scene.dev(out));
        let mut homes =
            self.scene.places.iter().enumerate().filter_map(|(place, state)| Some((place, state.address(hop)?)));
        let Some((place, own)) = homes.next() else {
            if let Some(down) = self.scene.link(out).filter(|link| !link.up) {
                return format!("{} in {name} is down", down.name);
            }
            return format!("{asked}, where nobody has that address, nor does any other namespace of this lab");
        };
        let home = format!("{} in {}", own.dev, self.scene.name(place));
        let there = self.scene.spot(place, &own.dev);
        let wired = there.and_then(|spot| self.scene.peer(spot));
        let port = wired.filter(|spot| self.scene.places[spot.place].links.iter().any(Link::is_bridge));
        let Some(port) = port else {
            return format!("{asked}, but it is on {home}, and no wire leads there from {start}");
        };
        let link = self.scene.link(port);
        let master = link.and_then(|link| self.scene.places[port.place].master_of(link));
        match master {
            Some(bridge) => {
                format!("{asked}, but it is on {home}, whose port {} belongs to {}", self.scene.say(port), bridge.name)
            }
            None => format!(
                "{asked}, but it is on {home}, whose other end {} is attached to no bridge",
                self.scene.say(port)
            ),
        }
    }

    pub fn neighbour_missing(&self, out: Spot, hop: IpAddr) -> bool {
        let known = self.scene.places[out.place].neighbour(hop, self.scene.dev(out));
        !known.is_some_and(|neighbour| neighbour.is_usable())
    }

    /// A neighbour entry with the MAC address of somebody else.
    fn old_neighbour(&self, out: Spot, hop: IpAddr, way: &Way) -> Option<String> {
        let known =
            self.scene.places[out.place].neighbour(hop, self.scene.dev(out)).filter(|known| known.is_usable())?;
        let (end, mac) = (way.end(), known.mac?);
        // A bridge takes what is for itself, or for the port that it comes in by.
        let port = way.0.len().checked_sub(2).map(|at| way.0[at]).filter(|port| port.place == end.place);
        let takes = std::iter::once(end)
            .chain(port)
            .any(|spot| self.scene.link(spot).is_some_and(|link| link.mac == Some(mac)));
        if takes {
            return None;
        }
        let real = self.scene.link(end)?.mac?;
        Some(format!(
            "{} sends what is for {hop} to {mac} (neighbour entry {} on {}), but {} has {real}: the entry is of one that had the address before",
            self.scene.name(out.place),
            known.state,
            known.dev,
            self.scene.say(end)
        ))
    }

    /// The next hop is asked for its MAC address, and does not tell.
    fn does_not_tell(&self, end: Spot, hop: IpAddr, packet: &Travelling) -> Result<Option<String>> {
        let (namespace, name) = (&self.scene.places[end.place].namespace, self.scene.name(end.place));
        let dev = self.scene.dev(end);
        if let Some(cause) = self.unusable(end, Some(hop)) {
            return Ok(Some(cause));
        }
        if hop.is_ipv6() {
            return Ok(None);
        }
        if self.scene.link(end).is_some_and(|link| !link.does_arp()) {
            return Ok(Some(format!("{dev} in {name} does no ARP (NOARP)")));
        }
        let ignore = strictest(namespace, dev, "arp_ignore")?;
        let on_it = self.scene.places[end.place].address(hop).is_some_and(|own| own.dev == dev);
        if ignore == 8 || (1..=2).contains(&ignore) && !on_it {
            return Ok(Some(format!("{name} does not answer ARP requests for {hop} on {dev} (arp_ignore={ignore})")));
        }
        let Some(from) = packet.from else { return Ok(None) };
        let refused = self.reverse_path(end, from)?;
        Ok(refused.map(|cause| format!("{name} does not answer the ARP request for {hop}: {cause}")))
    }

    /// The packet has come to whom it is for, who keeps silent.
    pub fn keeps_silent(&self, place: usize, packet: &Travelling) -> Step<Option<String>> {
        let (namespace, name) = (&self.scene.places[place].namespace, self.scene.name(place));
        Ok(match packet.carries {
            Carries::Echo => {
                let v4 = packet.to.is_ipv4();
                let sysctl = if v4 { "net.ipv4.icmp_echo_ignore_all" } else { "net.ipv6.icmp.echo_ignore_all" };
                let muted = namespace.sysctl_if_there(sysctl)?.is_some_and(|value| value != "0");
                muted.then(|| format!("ICMP muted: the echo request gets to {name}, which answers none ({sysctl}=1); this is no fault of the network"))
            }
            Carries::Tcp(port) => self.nobody_listens(place, "tcp", port, packet.to)?,
            Carries::Udp(port) => self.nobody_listens(place, "udp", port, packet.to)?,
        })
    }

    fn nobody_listens(&self, place: usize, protocol: &str, port: u16, to: IpAddr) -> Result<Option<String>> {
        let name = self.scene.name(place);
        let listening = self.scene.places[place].namespace.run(|| listening(protocol, port))?;
        let takes = |own: &IpAddr| *own == to || own.is_unspecified() && (own.is_ipv6() || to.is_ipv4());
        if listening.iter().any(takes) || self.has_published(place) {
            return Ok(None);
        }
        let protocol = protocol.to_uppercase();
        if !listening.is_empty() {
            // Several sockets may listen at one address (SO_REUSEPORT).
            let own = listening.into_iter().collect::<BTreeSet<IpAddr>>();
            let own = own.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            return Ok(Some(format!("{name} listens on {protocol} port {port} of {own} only, and not of {to}")));
        }
        let router = self.scene.places[place].links.iter().any(Link::is_bridge);
        Ok(Some(if router && self.published.is_empty() {
            format!(
                "{protocol} port {port} of {name} is passed on to nobody: no destination NAT is known to take the packet, and nothing listens there itself"
            )
        } else {
            format!("nothing listens on {protocol} port {port} in {name}")
        }))
    }
}

/// The higher of a sysctl's values for all devices and for this one, which is what counts of `rp_filter`, `arp_ignore` and
/// `route_localnet`.
fn strictest(namespace: &Namespace, dev: &str, name: &str) -> Result<u8> {
    let value = |dev: &str| -> Result<u8> {
        let text = namespace.sysctl_if_there(&per_device("ipv4", dev, name))?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    Ok(value("all")?.max(value(dev)?))
}

fn per_device(family: &str, dev: &str, name: &str) -> String {
    format!("net.{family}.conf.{}.{name}", dev.replace('.', "/"))
}

fn has_ipv4(state: &State, dev: &str) -> bool {
    state.addresses.iter().any(|own| own.dev == dev && own.address.addr().is_ipv4())
}

pub(super) fn version(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The addresses at which a socket waits for anybody at the port, called from inside: `/proc/net/tcp`, proc(5).
fn listening(protocol: &str, port: u16) -> Vec<IpAddr> {
    // TCP_LISTEN, and of UDP TCP_CLOSE: not connected.
    let waits = if protocol == "tcp" { "0A" } else { "07" };
    let files = [format!("/proc/thread-self/net/{protocol}"), format!("/proc/thread-self/net/{protocol}6")];
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let lines = texts.flat_map(|text| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    let own = lines.filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, own) = words.get(1)?.split_once(':')?;
        let is_it = words.get(3) == Some(&waits) && u16::from_str_radix(own, 16) == Ok(port);
        is_it.then(|| hexadecimal(address)).flatten()
    });
    own.collect()
}

/// An address as `/proc/net` prints it: words of 32 bits, each in the machine's order.
fn hexadecimal(text: &str) -> Option<IpAddr> {
    let words = (0..text.len()).step_by(8).map(|at| u32::from_str_radix(text.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()),
        _ => None,
    }
}
