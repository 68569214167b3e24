//! The netfilter netlink socket: requests in, refusals, dumps and news out.

use std::io;

use nix::{
    poll::PollFlags,
    sys::socket::{setsockopt, sockopt},
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::attribute::Attributes;
use crate::{Deadline, Error, Namespace, Result};

pub(crate) const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const HEADER: usize = 16;
/// The kernel writes no more in one go.
const BUFFER: usize = 1 << 16;

/// A socket to the namespace's netfilter.
///
/// Netfilter works on requests within the call that sends them: when it returns, all answers are there, and none is
/// waited for.
pub(crate) struct NetfilterSocket {
    namespace: Namespace,
    socket: Socket,
}

/// What the kernel refused.
pub(crate) struct Refusal {
    /// The sequence number of the request.
    pub sequence: u32,
    pub errno: i32,
    /// What the kernel has to say about it beyond the number.
    text: Option<String>,
}

/// A part of a dump.
pub(crate) struct Dumped {
    pub family: u8,
    /// The lower bits of the number that every change of the ruleset raises.
    pub generation: u16,
    pub attributes: Attributes,
}

/// `nlmsghdr`, then the body.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `nfgenmsg`, then attributes.
pub(crate) fn body(family: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    [vec![family, 0, 0, 0], parts.concat()].concat()
}

impl NetfilterSocket {
    pub fn open(namespace: &Namespace) -> Result<Self> {
        Self::open_for(namespace, None)
    }

    /// Subscribed to `group`, one of `NFNLGRP_*`.
    pub fn subscribe(namespace: &Namespace, group: u32) -> Result<Self> {
        Self::open_for(namespace, Some(group))
    }

    fn open_for(namespace: &Namespace, group: Option<u32>) -> Result<Self> {
        let opened = namespace.run(|| -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            group.map_or(Ok(()), |group| socket.add_membership(group))?;
            Ok(socket)
        })?;
        let socket = opened.map_err(|error| Error::kernel("opening a netfilter socket", namespace.name(), error))?;
        Ok(Self { namespace: namespace.clone(), socket })
    }

    pub fn send(&self, doing: &str, bytes: &[u8]) -> Result<()> {
        self.make_room(bytes.len());
        let sent = retry(|| self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0));
        sent.map(|_| ()).map_err(|error| Error::kernel(doing, self.namespace.name(), error))
    }

    /// A batch has to be sent in one go, or it would not be one. The kernel doubles what it is told; what it does not
    /// grant shows when the batch is sent.
    fn make_room(&self, length: usize) {
        const GRANTED_UNASKED: usize = 100_000;
        if length > GRANTED_UNASKED && setsockopt(&self.socket, sockopt::SndBufForce, &length).is_err() {
            let _ = setsockopt(&self.socket, sockopt::SndBuf, &length);
        }
    }

    /// What was refused of what was sent; nothing: all has happened.
    pub fn refusals(&self) -> Result<Vec<Refusal>> {
        let mut refused = Vec::new();
        while let Some(bytes) = self.receive("reading netfilter's answer")? {
            refused.extend(messages(&bytes).filter_map(|found| refusal(found.kind, found.sequence, found.body)));
        }
        Ok(refused)
    }

    /// The error that a refusal makes; `doing` is what the request was about.
    pub fn error(&self, doing: &str, refusal: &Refusal) -> Error {
        let why = refusal.text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let namespace = self.namespace.name();
        if refusal.errno == libc::EOPNOTSUPP {
            return Error::Unsupported(format!("{doing} in namespace {namespace}: this kernel cannot do it{why}"));
        }
        Error::kernel(format!("{doing}{why}"), namespace, io::Error::from_raw_os_error(refusal.errno))
    }

    /// Everything of a kind, of those that the attributes in `parts` pick.
    pub fn dump(&self, doing: &str, kind: u16, family: u8, parts: &[Vec<u8>]) -> Result<Vec<Dumped>> {
        self.send(doing, &message(kind, REQUEST | DUMP, 1, &body(family, parts)))?;
        let mut dumped = Vec::new();
        while let Some(bytes) = self.receive(doing)? {
            for found in messages(&bytes) {
                match i32::from(found.kind) {
                    libc::NLMSG_ERROR => {
                        if let Some(refusal) = refusal(found.kind, found.sequence, found.body) {
                            return Err(self.error(doing, &refusal));
                        }
                    }
                    libc::NLMSG_DONE | libc::NLMSG_NOOP => {}
                    _ => dumped.extend(part(found.body)),
                }
            }
        }
        Ok(dumped)
    }

    /// Waits for news of the group that is subscribed to; `false` where the deadline passed without any.
    pub fn wait(&self, doing: &str, deadline: Deadline) -> Result<bool> {
        let failed = |error: io::Error| Error::kernel(doing, self.namespace.name(), error);
        if deadline.poll(&self.socket, PollFlags::POLLIN).map_err(failed)?.is_empty() {
            return Ok(false);
        }
        while self.receive(doing)?.is_some() {}
        Ok(true)
    }

    /// The next datagram, where there is one.
    fn receive(&self, doing: &str) -> Result<Option<Vec<u8>>> {
        loop {
            let mut buffer = Vec::with_capacity(BUFFER);
            match retry(|| self.socket.recv(&mut buffer, 0)) {
                Ok(_) => return Ok(Some(buffer)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // More was refused, or is new, than there is room for: what came first is still there.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(Error::kernel(doing, self.namespace.name(), error)),
            }
        }
    }
}

struct Found<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of a datagram.
fn messages(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let word = |place: usize| rest.get(place..place + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (length, sequence) = (word(0)? as usize, word(8)?);
        let kind = u16::from_ne_bytes([*rest.get(4)?, *rest.get(5)?]);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Found { kind, sequence, body })
    })
}

/// What a `struct nlmsgerr` says; its error number zero is an acknowledgement.
fn refusal(kind: u16, sequence: u32, body: &[u8]) -> Option<Refusal> {
    /// `NLMSGERR_ATTR_MSG`.
    const TEXT: u16 = 1;
    if i32::from(kind) != libc::NLMSG_ERROR {
        return None;
    }
    let errno = -i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    // With NETLINK_CAP_ACK no more of the request than its header comes back.
    let text = body.get(4 + HEADER..).and_then(|attributes| Attributes::of(attributes).string(TEXT));
    (errno != 0).then_some(Refusal { sequence, errno, text })
}

fn part(body: &[u8]) -> Option<Dumped> {
    let [family, _, high, low, attributes @ ..] = body else {
        return None;
    };
    let generation = u16::from_be_bytes([*high, *low]);
    Some(Dumped { family: *family, generation, attributes: Attributes::of(attributes) })
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
