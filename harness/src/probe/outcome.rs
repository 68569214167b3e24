//! What comes back from the network: one type for every probe that sends something and listens.

use std::fmt;

use crate::probe::Seen;

/// What a probe that sends something got back.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// What was heard, as patterns match it.
    pub heard: Heard<String>,
    /// What else is known, for a reader: `no neighbour: 4 ARP requests unanswered`.
    pub note: Option<String>,
}

/// What was heard. Patterns see it with `&str` in place of every `String`; addresses are as [`std::net::IpAddr`] prints them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Heard<S> {
    /// An ICMP echo reply.
    Reply {
        /// Who sent it.
        from: S,
        /// The TTL (IPv6: hop limit) that it arrived with: 64 where no router was on the way.
        ttl: u8,
        /// Which of the look's requests it answers; 1: the first, none was lost.
        seq: u16,
        /// The payload's length in bytes.
        size: usize,
        /// Milliseconds from request to reply.
        rtt_ms: f64,
    },
    /// No echo reply, and no error but, maybe, this host's own for want of a neighbour.
    NoReply,
    /// An ICMP error, from a router on the way or from the target.
    Unreachable {
        /// Who says so.
        from: S,
        /// Its code in the words of `nft`'s `reject with`: `host-unreachable`, `port-unreachable`, `frag-needed`, `no-route`.
        code: S,
        /// The next hop's MTU in bytes, with `frag-needed` and `packet-too-big`; else 0.
        mtu: u32,
    },
    /// The TTL ran out on the way (ICMP time exceeded).
    TimeExceeded {
        /// The router where it did.
        from: S,
    },
    /// This host's kernel would not send.
    LocalError {
        /// The error's number: `libc::ENETUNREACH`.
        errno: i32,
        /// Its name: `ENETUNREACH`.
        name: S,
    },
    /// A TCP connection was made.
    Connected {
        /// The address that it was made from.
        local: S,
    },
    /// An HTTP answer.
    Status {
        /// The status code.
        code: u16,
        /// The client's address as the server saw it (test servers only).
        client: S,
        /// The server's name (test servers only): its namespace's.
        server: S,
        /// The headers, one a line, as `location: /networks/net1`; their names are in lower case.
        headers: S,
        /// The body, up to 64 KiB of it; what is no UTF-8 stands as U+FFFD.
        body: S,
    },
    /// The target said no: TCP reset in answer to a SYN, or ICMP port unreachable for a UDP port.
    Refused,
    /// The connection was reset after it had been made.
    Reset,
    /// The connection was made, and no whole answer came over it.
    Mute,
    /// No answer to a TCP SYN, or none to a request.
    TimedOut,
    /// A UDP answer.
    Answer {
        /// The address that it came from.
        from: S,
        /// The client's address as the server saw it (test servers only).
        client_seen: S,
        /// The client's port as the server saw it (test servers only).
        port_seen: u16,
        /// The server's name (test servers only): its namespace's.
        server: S,
        /// What it says, whole; what is no UTF-8 stands as U+FFFD.
        payload: S,
    },
    /// A UDP answer from another address or port than was asked, which a program with a connected socket does not hear.
    Stray {
        /// Where it came from: `10.20.99.99:53`.
        from: S,
        /// What it says, whole; what is no UTF-8 stands as U+FFFD.
        payload: S,
    },
    /// No UDP answer.
    Silence,
    /// A DNS answer with an address.
    Address(S),
    /// A DNS answer without an address for the name.
    NoSuchName,
    /// The DNS server answers, but would not or could not tell: `SERVFAIL`, `REFUSED`.
    Rcode(S),
    /// An answer to a DNS question that is none of DNS's.
    Malformed,
    /// No DNS server answered.
    NoAnswer,
}

impl Outcome {
    /// Whether something came back from the far end: a reply or an answer, not an error and not silence.
    #[must_use]
    pub fn answered(&self) -> bool {
        use Heard::{Address, Answer, Connected, Malformed, NoSuchName, Rcode, Reply, Status, Stray};
        matches!(
            self.heard,
            Reply { .. }
                | Connected { .. }
                | Status { .. }
                | Answer { .. }
                | Stray { .. }
                | Address(_)
                | NoSuchName
                | Rcode(_)
                | Malformed
        )
    }

    /// Whether anything came back, a refusal included, or nothing; `None`: the packet was not even sent.
    pub(crate) fn came_back(&self) -> Option<bool> {
        use Heard::{LocalError, NoAnswer, NoReply, Silence, TimedOut};
        match self.heard {
            NoReply | TimedOut | Silence | NoAnswer => Some(false),
            LocalError { .. } => None,
            _ => Some(true),
        }
    }

    pub(crate) fn local_error(errno: i32) -> Self {
        Heard::LocalError { errno, name: errno_name(errno) }.into()
    }
}

impl From<Heard<String>> for Outcome {
    fn from(heard: Heard<String>) -> Self {
        Self { heard, note: None }
    }
}

impl Seen for Outcome {
    type As<'a> = Heard<&'a str>;

    fn seen(&self) -> Heard<&str> {
        use Heard::*;
        match &self.heard {
            Reply { from, ttl, seq, size, rtt_ms } => {
                Reply { from, ttl: *ttl, seq: *seq, size: *size, rtt_ms: *rtt_ms }
            }
            NoReply => NoReply,
            Unreachable { from, code, mtu } => Unreachable { from, code, mtu: *mtu },
            TimeExceeded { from } => TimeExceeded { from },
            LocalError { errno, name } => LocalError { errno: *errno, name },
            Connected { local } => Connected { local },
            Status { code, client, server, headers, body } => Status { code: *code, client, server, headers, body },
            Refused => Refused,
            Reset => Reset,
            Mute => Mute,
            TimedOut => TimedOut,
            Answer { from, client_seen, port_seen, server, payload } => {
                Answer { from, client_seen, port_seen: *port_seen, server, payload }
            }
            Stray { from, payload } => Stray { from, payload },
            Silence => Silence,
            Address(address) => Address(address),
            NoSuchName => NoSuchName,
            Rcode(code) => Rcode(code),
            Malformed => Malformed,
            NoAnswer => NoAnswer,
        }
    }
}

/// In the words of `ping(8)` where it has some.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Heard::*;
        match &self.heard {
            Reply { from, ttl, seq, size, rtt_ms } => {
                write!(f, "{} bytes from {from}: icmp_seq={seq} ttl={ttl} time={rtt_ms:.3} ms", size + 8)?;
            }
            NoReply => write!(f, "no reply")?,
            Unreachable { from, code, mtu: 0 } => write!(f, "From {from}: {code}")?,
            Unreachable { from, code, mtu } => write!(f, "From {from}: {code} (mtu = {mtu})")?,
            TimeExceeded { from } => write!(f, "From {from}: time to live exceeded")?,
            LocalError { errno, name } => {
                let message = std::io::Error::from_raw_os_error(*errno);
                write!(f, "local error {name}: {message}")?;
            }
            Connected { local } => write!(f, "connected from {local}")?,
            Status { code, client, server, body, .. } => {
                write!(f, "HTTP {code}")?;
                if server.is_empty() {
                    write!(f, ": {}", start_of(body))?;
                } else {
                    write!(f, " from {server}, which saw the client {client}")?;
                }
            }
            Refused => write!(f, "connection refused")?,
            Reset => write!(f, "connection reset")?,
            Mute => write!(f, "connected, but no whole answer")?,
            TimedOut => write!(f, "timed out")?,
            Answer { from, client_seen, port_seen, server, payload } => {
                write!(f, "answer from {from}")?;
                if server.is_empty() {
                    write!(f, ": {}", start_of(payload))?;
                } else {
                    write!(f, " ({server}), which saw the client {client_seen} port {port_seen}")?;
                }
            }
            Stray { from, payload } => {
                write!(f, "an answer from {from}, which was not asked: {}", start_of(payload))?;
            }
            Silence => write!(f, "no answer")?,
            Address(address) => write!(f, "{address}")?,
            NoSuchName => write!(f, "no such name (NXDOMAIN, or no address)")?,
            Rcode(code) => write!(f, "{code}")?,
            Malformed => write!(f, "an answer that is none of DNS's")?,
            NoAnswer => write!(f, "no server answered")?,
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

/// The text in quotes; of a long one its start.
pub(crate) fn start_of(text: &str) -> String {
    const SHOWN: usize = 60;
    let more = if text.chars().count() > SHOWN { "..." } else { "" };
    format!("{:?}{more}", text.chars().take(SHOWN).collect::<String>())
}

/// `ENETUNREACH`
pub(crate) fn errno_name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}
