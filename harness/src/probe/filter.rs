//! Filters for frames: what to count on a tap.

use std::{fmt, net::IpAddr, ops::Not, sync::Arc};

use crate::{
    Mac, Target,
    probe::frame::{Direction, Frame, Packet},
};

/// Which frames count, and the words for it. Combined with [`and`](Self::and), [`or`](Self::or) and `!`.
///
/// Any closure over a [`Frame`] is one too.
///
/// ```
/// use netproof::probe::filter::{Filter, arp_request_for, outgoing};
/// let asked = arp_request_for(std::net::Ipv4Addr::new(10, 20, 30, 41)).and(outgoing());
/// assert_eq!(asked.to_string(), "arp request for 10.20.30.41 and outgoing");
/// let long = Filter::from(|frame: &netproof::probe::frame::Frame| frame.bytes.len() > 1514).named("longer than 1514");
/// ```
#[derive(Clone)]
pub struct Filter {
    text: String,
    matches: Arc<dyn Fn(&Frame) -> bool + Send + Sync>,
}

impl Filter {
    fn new(text: impl Into<String>, matches: impl Fn(&Frame) -> bool + Send + Sync + 'static) -> Self {
        Self { text: text.into(), matches: Arc::new(matches) }
    }

    /// Whether the frame counts.
    #[must_use]
    pub fn matches(&self, frame: &Frame) -> bool {
        (self.matches)(frame)
    }

    /// The same, with other words for it.
    #[must_use]
    pub fn named(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// Frames that both match.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::new(format!("{self} and {other}"), move |frame| self.matches(frame) && other.matches(frame))
    }

    /// Frames that either matches.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::new(format!("({self} or {other})"), move |frame| self.matches(frame) || other.matches(frame))
    }
}

impl Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::new(format!("not ({self})"), move |frame| !self.matches(frame))
    }
}

impl<F: Fn(&Frame) -> bool + Send + Sync + 'static> From<F> for Filter {
    fn from(matches: F) -> Self {
        Self::new("frames of a closure's choice", matches)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({})", self.text)
    }
}

/// Every frame (sentinels never count).
#[must_use]
pub fn any() -> Filter {
    Filter::new("any frame", |_| true)
}

/// Frames that left by the device.
#[must_use]
pub fn outgoing() -> Filter {
    Filter::new("outgoing", Frame::is_out)
}

/// Frames that came in by the device, whomever they are for.
#[must_use]
pub fn incoming() -> Filter {
    Filter::new("incoming", |frame| !frame.is_out())
}

/// Frames that went this way: [`Direction::Other`] for those to another's MAC address.
#[must_use]
pub fn direction(direction: Direction) -> Filter {
    Filter::new(format!("direction {direction}"), move |frame| frame.direction == direction)
}

/// Frames that were seen on the device with this index: of a tap on `any`.
#[must_use]
pub fn on_device(index: u32) -> Filter {
    Filter::new(format!("on device {index}"), move |frame| frame.index == index)
}

/// Frames with a tag of this VLAN; `!` of it, those without one too. 0: with a tag that has only a priority.
#[must_use]
pub fn vlan(id: u16) -> Filter {
    Filter::new(format!("vlan {id}"), move |frame| frame.vlan() == Some(id))
}

/// Frames from this MAC address.
#[must_use]
pub fn from_mac(mac: Mac) -> Filter {
    Filter::new(format!("ether src {mac}"), move |frame| frame.source == mac)
}

/// Frames to this MAC address.
#[must_use]
pub fn to_mac(mac: Mac) -> Filter {
    Filter::new(format!("ether dst {mac}"), move |frame| frame.destination == mac)
}

/// ARP requests for the target, whoever asks.
///
/// # Panics
/// Where its address is IPv6: see [`neighbour_request_for`].
#[track_caller]
pub fn arp_request_for(target: impl Into<Target>) -> Filter {
    about(only_v4(target), "arp request for", |frame, address| match frame.packet {
        Packet::Arp { op: 1, target_ip, .. } => address == target_ip,
        _ => false,
    })
}

/// ARP requests that the sender makes.
///
/// # Panics
/// Where its address is IPv6, which asks by neighbour solicitations.
#[track_caller]
pub fn arp_request_from(sender: impl Into<Target>) -> Filter {
    about(only_v4(sender), "arp request from", |frame, address| match frame.packet {
        Packet::Arp { op: 1, sender_ip, .. } => address == sender_ip,
        _ => false,
    })
}

/// ARP replies in which the sender says where it is.
///
/// # Panics
/// Where its address is IPv6: see [`neighbour_reply_from`].
#[track_caller]
pub fn arp_reply_from(sender: impl Into<Target>) -> Filter {
    about(only_v4(sender), "arp reply from", |frame, address| match frame.packet {
        Packet::Arp { op: 2, sender_ip, .. } => address == sender_ip,
        _ => false,
    })
}

/// Any ARP frame.
#[must_use]
pub fn arp() -> Filter {
    Filter::new("arp", |frame| matches!(frame.packet, Packet::Arp { .. }))
}

/// ARP frames in which an address is announced: sender and target address are the same (RFC 5227).
///
/// # Panics
/// Where it is IPv6: see [`announcement_of`].
#[track_caller]
pub fn arp_announcement_of(address: impl Into<Target>) -> Filter {
    about(only_v4(address), "arp announcement of", |frame, address| match frame.packet {
        Packet::Arp { sender_ip, target_ip, .. } => address == sender_ip && sender_ip == target_ip,
        _ => false,
    })
}

/// Neighbour solicitations for the target: IPv6's ARP requests.
///
/// # Panics
/// Where its address is IPv4: see [`neighbour_request_for`].
#[track_caller]
pub fn neighbour_solicitation_for(target: impl Into<Target>) -> Filter {
    about(only_v6(target), "neighbour solicitation for", |frame, address| match frame.packet {
        Packet::NeighbourSolicitation { target, .. } => address == target,
        _ => false,
    })
}

/// Neighbour advertisements about the target: IPv6's ARP replies.
///
/// # Panics
/// Where its address is IPv4: see [`neighbour_reply_from`].
#[track_caller]
pub fn neighbour_advertisement_of(target: impl Into<Target>) -> Filter {
    about(only_v6(target), "neighbour advertisement of", |frame, address| match frame.packet {
        Packet::NeighbourAdvertisement { target, .. } => address == target,
        _ => false,
    })
}

/// Announcements of an address: of ARP (RFC 5227), or neighbour advertisements where it is IPv6.
pub fn announcement_of(address: impl Into<Target>) -> Filter {
    let target = address.into();
    if target.address.is_ipv4() { arp_announcement_of(target) } else { neighbour_advertisement_of(target) }
}

/// Requests for the target's MAC address: ARP requests, or neighbour solicitations where its address is IPv6.
pub fn neighbour_request_for(target: impl Into<Target>) -> Filter {
    let target = target.into();
    if target.address.is_ipv4() { arp_request_for(target) } else { neighbour_solicitation_for(target) }
}

/// Answers that tell the sender's MAC address: ARP replies, or neighbour advertisements where its address is IPv6.
pub fn neighbour_reply_from(sender: impl Into<Target>) -> Filter {
    let sender = sender.into();
    if sender.address.is_ipv4() { arp_reply_from(sender) } else { neighbour_advertisement_of(sender) }
}

/// IP packets from this address; ARP is none, and is picked by [`arp_request_from`] and [`arp_reply_from`].
pub fn ip_from(sender: impl Into<Target>) -> Filter {
    about(sender, "from", |frame, address| frame.ip().is_some_and(|ip| ip.source == address))
}

/// IP packets to this address.
pub fn ip_to(target: impl Into<Target>) -> Filter {
    about(target, "to", |frame, address| frame.ip().is_some_and(|ip| ip.destination == address))
}

/// ICMP and ICMPv6 echo requests and replies.
#[must_use]
pub fn icmp_echo() -> Filter {
    Filter::new("icmp echo", |frame| matches!(frame.packet, Packet::Echo { .. }))
}

/// ICMP and ICMPv6 echo requests.
#[must_use]
pub fn echo_request() -> Filter {
    Filter::new("icmp echo request", |frame| matches!(frame.packet, Packet::Echo { reply: false, .. }))
}

/// ICMP and ICMPv6 echo replies.
#[must_use]
pub fn echo_reply() -> Filter {
    Filter::new("icmp echo reply", |frame| matches!(frame.packet, Packet::Echo { reply: true, .. }))
}

/// Echo requests and replies from this address.
pub fn icmp_echo_from(sender: impl Into<Target>) -> Filter {
    icmp_echo().and(ip_from(sender))
}

/// Echo requests to this address.
pub fn echo_request_to(target: impl Into<Target>) -> Filter {
    echo_request().and(ip_to(target))
}

/// Echo replies from this address.
pub fn echo_reply_from(sender: impl Into<Target>) -> Filter {
    echo_reply().and(ip_from(sender))
}

/// ICMP redirects, of both IP versions.
#[must_use]
pub fn redirect() -> Filter {
    Filter::new("icmp redirect", |frame| match frame.packet {
        Packet::Icmp { ip, kind, .. } => kind == if ip.source.is_ipv4() { 5 } else { 137 },
        _ => false,
    })
}

/// Router advertisements.
#[must_use]
pub fn router_advertisement() -> Filter {
    Filter::new("router advertisement", |frame| match frame.packet {
        Packet::Icmp { ip, kind, .. } => ip.source.is_ipv6() && kind == 134,
        _ => false,
    })
}

/// TCP segments to this port.
#[must_use]
pub fn tcp_to_port(port: u16) -> Filter {
    Filter::new(format!("tcp dst port {port}"), move |frame| match frame.packet {
        Packet::Tcp { destination_port, .. } => destination_port == port,
        _ => false,
    })
}

/// TCP segments from this port.
#[must_use]
pub fn tcp_from_port(port: u16) -> Filter {
    Filter::new(format!("tcp src port {port}"), move |frame| match frame.packet {
        Packet::Tcp { source_port, .. } => source_port == port,
        _ => false,
    })
}

/// UDP datagrams to this port.
#[must_use]
pub fn udp_to_port(port: u16) -> Filter {
    Filter::new(format!("udp dst port {port}"), move |frame| match frame.packet {
        Packet::Udp { destination_port, .. } => destination_port == port,
        _ => false,
    })
}

/// UDP datagrams from this port.
#[must_use]
pub fn udp_from_port(port: u16) -> Filter {
    Filter::new(format!("udp src port {port}"), move |frame| match frame.packet {
        Packet::Udp { source_port, .. } => source_port == port,
        _ => false,
    })
}

/// A filter that can match nothing would make any claim of absence true.
#[track_caller]
fn only_v4(target: impl Into<Target>) -> Target {
    let target = target.into();
    assert!(target.address.is_ipv4(), "{target} is an IPv6 address, of which ARP never speaks");
    target
}

#[track_caller]
fn only_v6(target: impl Into<Target>) -> Target {
    let target = target.into();
    assert!(target.address.is_ipv6(), "{target} is an IPv4 address, of which neighbour discovery never speaks");
    target
}

fn about(
    target: impl Into<Target>,
    words: &str,
    matches: impl Fn(&Frame, IpAddr) -> bool + Send + Sync + 'static,
) -> Filter {
    let target = target.into();
    let address = target.address;
    Filter::new(format!("{words} {target}"), move |frame| matches(frame, address))
}
