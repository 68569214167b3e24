//! A socket of rtnetlink, and the exchange of messages over it.
//!
//! Written here instead of using the connection that `rtnetlink` has: the kernel does what a message asks for while it is
//! being sent, so that there is nothing to do meanwhile, and several messages in one datagram cost one system call.
//! And the kernel makes one dump a socket at a time (`EBUSY`), so that users of one socket must take turns anyway.

use std::{collections::HashMap, io};

use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLMSG_DONE, NLMSG_ERROR,
        NetlinkMessage, NetlinkPayload,
    },
    packet_route::RouteNetlinkMessage,
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// As many messages go out at once as have answers that surely fit into a socket's buffer (212,992 bytes by default).
const AT_ONCE: usize = 32;

/// As large as the kernel's largest (32 KiB since Linux 4.9), and as much again.
const LARGEST: usize = 1 << 16;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`.
const REASON: u16 = 1;

/// What the kernel sent for one message, or why it refused.
pub(super) type Answer = Result<Vec<RouteNetlinkMessage>, Refusal>;

/// The kernel's refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its error number.
    pub error: io::Error,
    /// Its reason in words, where it gives one: `Nexthop has invalid gateway`.
    pub reason: Option<String>,
}

/// What the kernel listed.
pub(super) struct Dump {
    /// The list, or why there is none.
    pub answer: Answer,
    /// Whether it was being changed meanwhile, so that parts may be missing or doubled (`NLM_F_DUMP_INTR`).
    pub interrupted: bool,
}

/// A socket of rtnetlink.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens one in the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Refusals without a copy of the request, and with a reason in words: comfort, which old kernels do not have.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(LARGEST) })
    }

    /// Sends messages with their flags, and collects what the kernel sends for each. No message may ask for a dump.
    pub(super) fn exchange(
        &mut self,
        messages: impl IntoIterator<Item = (RouteNetlinkMessage, u16)>,
    ) -> io::Result<Vec<Answer>> {
        let mut messages = messages.into_iter().peekable();
        let mut answers = Vec::new();
        while messages.peek().is_some() {
            let mut batch = Batch::default();
            let mut datagram = Vec::new();
            for (message, flags) in messages.by_ref().take(AT_ONCE) {
                self.sequence = self.sequence.wrapping_add(1);
                write(&mut datagram, message, flags, self.sequence);
                batch.expect(self.sequence, flags);
            }
            self.send(&datagram)?;
            while !batch.is_answered() {
                self.receive(&mut batch)?;
            }
            answers.extend(batch.finish());
        }
        Ok(answers)
    }

    /// Asks for a dump.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Dump> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        write(&mut datagram, message, flags, self.sequence);
        let mut batch = Batch::default();
        batch.expect(self.sequence, flags);
        self.send(&datagram)?;
        while !batch.is_answered() {
            self.receive(&mut batch)?;
        }
        let interrupted = batch.interrupted;
        Ok(Dump { answer: batch.finish().pop().unwrap_or_else(|| Ok(Vec::new())), interrupted })
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.buffer.clear();
        match self.socket.recv(&mut self.buffer, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        };
        let mut rest = self.buffer.as_slice();
        while let Some(length) = number(rest, 0).map(|length| length as usize) {
            let Some(message) = rest.get(..length).filter(|_| length >= HEADER) else { break };
            batch.take(message);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Messages that were sent, and what has come back for each.
#[derive(Default)]
struct Batch {
    places: HashMap<u32, usize>,
    answers: Vec<Answer>,
    /// Whether each is to be ended by an acknowledgement.
    acknowledged: Vec<bool>,
    open: usize,
    interrupted: bool,
}

impl Batch {
    fn expect(&mut self, sequence: u32, flags: u16) {
        self.places.insert(sequence, self.answers.len());
        self.answers.push(Ok(Vec::new()));
        self.acknowledged.push(flags & NLM_F_ACK != 0);
        self.open += 1;
    }

    fn is_answered(&self) -> bool {
        self.open == 0
    }

    fn finish(self) -> Vec<Answer> {
        self.answers
    }

    fn take(&mut self, message: &[u8]) {
        let (Some(kind), Some(flags)) = (half(message, 4), half(message, 6)) else { return };
        // What is left of an exchange that broke off is nobody's any more.
        let Some(place) = number(message, 8).and_then(|sequence| self.places.get(&sequence).copied()) else { return };
        self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        let ends = match kind {
            NLMSG_ERROR | NLMSG_DONE => {
                // The end of a dump carries its error in the same place.
                let code = number(message, HEADER).map_or(0, |code| code as i32);
                if code != 0 {
                    let reason = (kind == NLMSG_ERROR).then(|| reason(message, flags)).flatten();
                    let error = io::Error::from_raw_os_error(code.saturating_neg());
                    self.answers[place] = Err(Refusal { error, reason });
                }
                true
            }
            _ => {
                self.keep(place, message);
                flags & NLM_F_MULTIPART == 0 && !self.acknowledged[place]
            }
        };
        self.open -= usize::from(ends);
    }

    fn keep(&mut self, place: usize, message: &[u8]) {
        let Ok(found) = &mut self.answers[place] else { return };
        match NetlinkMessage::deserialize(message) {
            Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) => found.push(message),
            Ok(_) => {}
            // A device of a kind that the crate misreads must not hide all others.
            Err(error) => tracing::warn!("skipping a message of rtnetlink's that cannot be read: {error}"),
        }
    }
}

fn write(datagram: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = datagram.len();
    // Each starts at a multiple of four (NLMSG_ALIGNTO).
    datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut datagram[start..]);
}

/// The kernel's own words, which follow the error and the request that it is about (`NLM_F_ACK_TLVS`).
fn reason(message: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = if flags & NLM_F_CAPPED != 0 { HEADER } else { number(message, HEADER + 4)? as usize };
    let mut rest = message.get((HEADER + 4 + request).next_multiple_of(4)..)?;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let value = rest.get(4..usize::from(length))?;
        if kind == REASON {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(usize::from(length).next_multiple_of(4)..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
