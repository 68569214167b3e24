//! One ICMP echo exchange: what a ping sends and hears.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::Instant,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::Socket;

use crate::{
    Deadline, Error, Result,
    probe::{
        icmp,
        outcome::{Heard, Outcome},
        ping::Ping,
        traffic::{self, Afar, Lost},
    },
};

/// A request, and what comes of it.
pub(crate) struct Exchange<'a> {
    ping: &'a Ping,
    socket: &'a Socket,
    to: SocketAddr,
    identifier: u16,
    sent: Vec<Instant>,
    lost: Lost,
}

impl<'a> Exchange<'a> {
    /// Ready to send on this socket. Its identifier is no other look's of this process, and hardly another process's.
    pub fn new(ping: &'a Ping, socket: &'a Socket, to: SocketAddr) -> Self {
        let identifier = traffic::fresh_token() as u16 ^ std::process::id().wrapping_mul(0x9e37) as u16;
        Self { ping, socket, to, identifier, sent: Vec::new(), lost: Lost::default() }
    }

    /// Sends, and listens until the deadline.
    pub fn run(mut self, deadline: Deadline) -> Result<Outcome> {
        if let Err(error) = self.send() {
            let outcome = traffic::local_error(error).map_err(|error| self.error(error))?;
            return Ok(self.with_mtu(outcome));
        }
        loop {
            let ready = traffic::wait_readable(self.socket, deadline).map_err(|error| self.error(error))?;
            if ready.readable_or_writable
                && let Some(outcome) = self.hear()
            {
                return Ok(outcome);
            }
            if ready.failed
                && let Some(outcome) = self.errors()?
            {
                return Ok(outcome);
            }
            if deadline.passed() {
                return Ok(Outcome { heard: Heard::NoReply, note: self.lost.note() });
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        // An error that an earlier packet left on the socket would be taken for this one's.
        self.socket.take_error()?;
        let seq = self.sent.len() as u16 + 1;
        let message = icmp::echo_request(self.to.is_ipv6(), self.identifier, seq, self.ping.payload());
        self.sent.push(Instant::now());
        self.lost.sent(self.socket.send_to(&message, &self.to.into()))
    }

    /// Reads what has arrived, up to the first reply to one of our requests.
    fn hear(&self) -> Option<Outcome> {
        let mut buffer = vec![0; 65_536];
        loop {
            let heard = match receive(self.socket, &mut buffer) {
                Ok(heard) => heard,
                // Nothing more, or an error that is on the error queue too: it is read there.
                Err(_) => return None,
            };
            let Some((from, ttl, message)) = heard else { continue };
            if let Some(sent) = self.is_ours(message, icmp::ECHO_REPLY, icmp::V6_ECHO_REPLY) {
                return Some(self.reply(from, ttl, sent, message.len()));
            }
        }
    }

    fn reply(&self, from: IpAddr, ttl: u8, seq: u16, length: usize) -> Outcome {
        let rtt = self.sent[usize::from(seq) - 1].elapsed();
        let (from, size) = (from.to_string(), length - icmp::HEADER);
        Heard::Reply { from, ttl, seq, size, rtt_ms: rtt.as_secs_f64() * 1000.0 }.into()
    }

    /// The sequence number, where `message` is an echo of this exchange.
    fn is_ours(&self, message: &[u8], v4: u8, v6: u8) -> Option<u16> {
        let (kind, identifier, seq) = icmp::echo(message)?;
        let wanted = if self.to.is_ipv6() { v6 } else { v4 };
        let ours = kind == wanted && identifier == self.identifier;
        (ours && (1..=self.sent.len()).contains(&seq.into())).then_some(seq)
    }

    /// Reads the error queue, up to the first that ends the exchange.
    fn errors(&mut self) -> Result<Option<Outcome>> {
        while let Some(late) = traffic::next_error(self.socket).map_err(|error| self.error(error))? {
            if self.is_ours(&late.payload, icmp::ECHO_REQUEST, icmp::V6_ECHO_REQUEST).is_none() {
                continue;
            }
            match traffic::from_afar(self.ping.namespace(), &late).map_err(|error| self.error(error))? {
                Afar::Local => continue,
                Afar::Neighbour => {}
                Afar::Error(heard) => return Ok(Some(heard.into())),
            }
            self.lost.without_neighbour += 1;
            if let Err(error) = self.send() {
                return traffic::local_error(error).map(Some).map_err(|error| self.error(error));
            }
        }
        self.socket.take_error().map_err(|error| self.error(error))?;
        Ok(None)
    }

    /// With the MTU that a packet was too long for, which the kernel tells on the error queue.
    fn with_mtu(&self, mut outcome: Outcome) -> Outcome {
        if let Ok(Some(late)) = traffic::next_error(self.socket)
            && late.errno == libc::EMSGSIZE
        {
            outcome.note = Some(format!("mtu = {}", late.info));
        }
        outcome
    }

    fn error(&self, error: io::Error) -> Error {
        self.ping.error(error)
    }
}

/// Receives one ICMP message: who sent it, the TTL that it arrived with, and the message.
fn receive<'b>(socket: &Socket, buffer: &'b mut [u8]) -> io::Result<Option<(IpAddr, u8, &'b [u8])>> {
    let mut control = vec![0; 256];
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let length = message.bytes;
    let hops = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(hops) => Some(hops as u8),
        _ => None,
    });
    let from = message.address.and_then(|address| address.as_sockaddr_in6().map(|address| address.ip()));
    let bytes = &buffer[..length];
    Ok(match from {
        Some(from) => Some((from.into(), hops.unwrap_or(0), bytes)),
        None => from_ipv4(bytes),
    })
}

/// A raw IPv4 socket gives the IP header too.
fn from_ipv4(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let header = usize::from(packet[0] & 0x0f) * 4;
    Some((from.into(), packet[8], packet.get(header..)?))
}
